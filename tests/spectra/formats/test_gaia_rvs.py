"""RVS spectra of Gaia DR3 in the files of DataLink and of the bulk download."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits, votable
from astropy.table import Table
from tests.spectra.formats.truth import expected

from blase3d.errors import SpectrumError
from blase3d.spectra.formats import read_spectrum

REAL = Path(__file__).parents[4] / "shared" / "data" / "observed"
SOURCE = 2052747119115620352
NM = np.round(846.0 + 0.01 * np.arange(2401), 2)
FLUX = 1.0 - 0.4 * np.exp(-(((NM - 854.4) / 0.2) ** 2))
ERROR = 0.01 + 0.001 * np.cos(NM)
MASK = np.isin(np.arange(2401), [0, 1, 2400])


def table(*sources):
    flux = np.where(MASK, np.nan, FLUX)
    columns = {"wavelength": NM, "flux": flux, "flux_error": np.where(MASK, np.nan, ERROR)}
    parts = [
        {"source_id": np.full(2401, source), "ra": np.full(2401, 291.4), **columns}
        for source in sources
    ]
    names = parts[0] if parts else columns
    return Table({name: np.concatenate([p[name] for p in parts or [columns]]) for name in names})


def raw(*sources):
    """One row for each source; arrays without wavelengths."""
    flux, error = (np.where(MASK, np.nan, values) for values in (FLUX, ERROR))
    count = len(sources)
    return Table(
        {"source_id": sources, "ra": [291.4] * count, "flux": [flux] * count}
        | {"flux_error": [error] * count}
    )


def found(name=f"Gaia DR3 {SOURCE}"):
    return expected(
        "gaia-rvs",
        wavelength=NM * 10,
        flux=FLUX,
        error=ERROR,
        mask=MASK,
        resolution=11500.0,
        meta={"object": name, "telescope": "Gaia", "frame": "star"},
    )


def combined_csv(folder):
    table(SOURCE).write(folder / "rvs.csv", format="ascii.csv")
    return folder / "rvs.csv", {}, found()


def individual_csv(folder):
    path = folder / f"RVS-Gaia DR3 {SOURCE}.csv"
    table().write(path, format="ascii.csv")
    return path, {}, found()


def raw_csv(folder):
    cells = [
        json.dumps([None if m else v for v, m in zip(values.tolist(), MASK, strict=True)])
        for values in (FLUX, ERROR)
    ]
    head = "# %ECSV 1.0\n# ---\n# delimiter: ','\nsource_id,ra,flux,flux_error\n"
    lines = [f'{SOURCE + 1 - i},291.4,"{cells[0]}","{cells[1]}"\n' for i in range(2)]
    (folder / "rvs.ecsv").write_text(head + "".join(lines))
    return folder / "rvs.ecsv", {"source": str(SOURCE)}, found()


def combined_fits(folder):
    table(SOURCE, SOURCE + 1).write(folder / "rvs.fits")
    return folder / "rvs.fits", {"source": str(SOURCE + 1)}, found(f"Gaia DR3 {SOURCE + 1}")


def raw_fits(folder):
    raw(SOURCE).write(folder / "rvs.fits")
    return folder / "rvs.fits", {}, found()


def individual_votable(folder):
    """One table for a source, whose identifier is a parameter."""
    document = votable.from_table(table())
    element = document.get_first_table()
    for name, value in {"source_id": SOURCE, "ra": 291.4}.items():
        kind = "long" if name == "source_id" else "double"
        element.params.append(votable.tree.Param(document, name=name, value=value, datatype=kind))
    document.to_xml(str(folder / "rvs.xml"))
    return folder / "rvs.xml", {}, found()


def raw_votable(folder):
    raw(SOURCE).write(folder / "rvs.vot", format="votable")
    return folder / "rvs.vot", {}, found()


SAMPLES = {
    "Gaia RVS, CSV": combined_csv,
    "Gaia RVS, CSV of one source": individual_csv,
    "Gaia RVS, bulk ECSV": raw_csv,
    "Gaia RVS, FITS": combined_fits,
    "Gaia RVS, FITS of arrays": raw_fits,
    "Gaia RVS, VOTable of one source": individual_votable,
    "Gaia RVS, VOTable of arrays": raw_votable,
}


def test_of_several_sources_one_is_chosen(tmp_path):
    path, _, _ = combined_fits(tmp_path)
    with pytest.raises(SpectrumError, match=f"has 2 spectra .{SOURCE}, .*--source NAME"):
        read_spectrum(path)
    with pytest.raises(SpectrumError, match="none is 17; choose"):
        read_spectrum(path, source="17")


def test_a_source_in_a_file_of_one_spectrum_is_refused(tmp_path):
    (tmp_path / "star.txt").write_text("6110 1\n6111 1\n")
    with pytest.raises(SpectrumError, match="one spectrum; leave out the source"):
        read_spectrum(tmp_path / "star.txt", "vacuum", source="17")


def test_spectra_of_the_photometers_are_refused(tmp_path):
    count = 343
    columns = {"source_id": [SOURCE] * count, "wavelength": np.linspace(336.0, 1020.0, count)}
    one = Table({**columns, "flux": np.ones(count), "flux_error": np.ones(count)})
    one.write(tmp_path / "xp.csv", format="ascii.csv")
    with pytest.raises(SpectrumError, match="343 samples from 336 to 1020 nm, as BP and RP"):
        read_spectrum(tmp_path / "xp.csv")


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared is not there")
@pytest.mark.parametrize(("name", "masked"), [("hd176650", 0), ("kepler93", 7)])
def test_spectra_of_the_archive(name, masked):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        star = read_spectrum(REAL / f"gaia-rvs-{name}.csv")
    assert (len(star), star.n_masked, star.resolution) == (2401, masked, 11500.0)
    assert star.meta["frame"] == "star"


def test_a_header_with_the_source(tmp_path):
    hdu = fits.table_to_hdu(table())
    hdu.header["HIERARCH SOURCE_ID"] = SOURCE
    hdu.writeto(tmp_path / "rvs.fits")
    assert read_spectrum(tmp_path / "rvs.fits").meta["object"] == f"Gaia DR3 {SOURCE}"
