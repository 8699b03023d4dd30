"""VOTables: columns by name and by UCD, units, parameters."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import votable
from astropy.table import Table
from tests.spectra.formats.truth import AIR, ERROR, FLUX, MASK, expected

from blase3d.errors import SpectrumError
from blase3d.spectra.formats import read_spectrum

UCDS = {"L": "em.wl", "I": "phot.flux.density;em.wl", "D": "stat.error;phot.flux.density;em.wl"}


def write(path, names=("WAVE", "FLUX", "ERR", "QUAL"), ucds=(), kind="tabledata", **params):
    columns = (AIR / 10, FLUX, ERROR, MASK.astype(np.int16))
    table = Table(dict(zip(names, columns, strict=False)))
    table[names[0]].unit = "nm"
    document = votable.from_table(table)
    element = document.get_first_table()
    element.format = kind
    for field in element.fields:
        field.ucd = dict(ucds).get(field.name)
    for name, value in params.items():
        element.params.append(
            votable.tree.Param(document, name=name, value=value, datatype="char", arraysize="*")
        )
    document.to_xml(str(path))


def by_name(folder):
    write(folder / "star.vot", Target="HD 1", MEDIUM="air")
    return folder / "star.vot", {}, expected("votable", medium="air", meta={"object": "HD 1"})


def by_ucd(folder):
    write(folder / "star.xml", (*UCDS, "Q"), UCDS, kind="binary")
    none = np.zeros(401, bool)
    return folder / "star.xml", {"medium": "air"}, expected("votable", medium="air", mask=none)


SAMPLES = {"VOTable": by_name, "VOTable, UCDs": by_ucd}


def test_values_elsewhere_are_not_fetched(tmp_path):
    path, _, _ = by_ucd(tmp_path)
    text = path.read_text()
    assert "<STREAM" in text
    path.write_text(text.replace("<STREAM", '<STREAM href="file:///etc/hostname"'))
    with pytest.raises(SpectrumError, match="refers to another file"):
        read_spectrum(path, "air")


def test_a_table_without_a_spectrum_is_refused(tmp_path):
    write(tmp_path / "star.vot", ("a", "b", "c", "d"))
    with pytest.raises(SpectrumError, match="no table with a wavelength and a flux"):
        read_spectrum(tmp_path / "star.vot", "air")
    columns = {"wavelength": "a", "flux": "b", "error": "c"}
    found = read_spectrum(tmp_path / "star.vot", "air", columns=columns)
    np.testing.assert_allclose(found.error, ERROR)
