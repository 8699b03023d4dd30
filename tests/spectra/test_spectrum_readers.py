"""The contract of spectrum readers, on one spectrum written in every format.

A reader that another package adds by an entry point meets the same contract.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from blase3d.errors import SpectrumError
from blase3d.runtime.units import vacuum_to_air
from blase3d.spectra.formats import READERS, SpectrumFile, read_spectrum

WAVE = np.linspace(8400.0, 8410.0, 101)
FLUX = 1.0 - 0.5 * np.exp(-(((WAVE - 8405.0) / 0.3) ** 2))
ERROR = np.full(101, 0.01)
MASKED = [3, 4, 5]
MASK = np.isin(np.arange(101), MASKED)
MEDIA = {"air": vacuum_to_air(WAVE), "vacuum": WAVE}

PLUGIN = """
    import json
    import numpy as np
    from blase3d.spectra.formats import RawSpectrum, SpectrumReader

    def matches(file):
        return file.ending == "odd"

    def read(file):
        content = json.loads(file.path.read_text())
        medium = content.pop("medium")
        arrays = {name: np.array(values) for name, values in content.items()}
        return RawSpectrum(arrays, medium, {1: 3e4, 2: 4e4})

    READER = SpectrumReader("odd", "an .odd file", matches, read)
    WRONG = "no reader"
"""


@dataclass(frozen=True)
class Case:
    """A format: how its reader's files are written, and what they keep."""

    reader: str
    file: str
    write: Callable[[Path, str], object]
    """Write the spectrum to a path, with wavelengths in air or vacuum."""
    media: tuple[str, ...] = ("air", "vacuum")
    error: bool = True
    mask: bool = True

    def __str__(self) -> str:
        return f"{self.reader}-{self.file}"


def npz(path: Path, medium: str) -> None:
    meta = json.dumps({"medium": medium, "wavelength_unit": "nm"})
    np.savez(path, wavelength=MEDIA[medium] / 10, flux=FLUX, error=ERROR, mask=MASK, meta=meta)


def rows(medium: str) -> list[str]:
    values = zip(MEDIA[medium] / 10, FLUX, ERROR * 1000, MASK, strict=True)
    return [f"{w!r} {f!r} {e!r} {bool(m)}" for w, f, e, m in (map(_plain, v) for v in values)]


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value


def csv(path: Path, medium: str) -> None:
    columns = zip(MEDIA[medium] / 10, FLUX, ERROR, MASK.astype(int), strict=True)
    lines = [",".join(str(_plain(value)) for value in row) for row in columns]
    head = [f"# medium: {medium}", "# wavelength_unit: nm", "wavelength,flux,error,mask"]
    path.write_text("\n".join([*head, *lines]))


def ecsv(path: Path, medium: str) -> None:
    kinds = {"wavelength": "nm", "flux": "Jy", "error": "mJy"}
    head = ["%ECSV 1.0", "---", "datatype:"]
    head += [f"- {{name: {k}, unit: {u}, datatype: float64}}" for k, u in kinds.items()]
    head += ["- {name: mask, datatype: bool}", "meta: !!omap", f"- {{medium: {medium}}}"]
    head += ["schema: astropy-2.0"]
    lines = [*(f"# {line}" for line in head), "wavelength flux error mask", *rows(medium)]
    path.write_text("\n".join(lines))


def fits_table(path: Path, medium: str) -> None:
    columns = [
        fits.Column("WAVELENGTH", "D", unit="nm", array=MEDIA[medium] / 10),
        fits.Column("FLUX", "D", array=FLUX),
        fits.Column("ERROR", "D", array=ERROR),
        fits.Column("MASK", "L", array=MASK),
    ]
    table = fits.BinTableHDU.from_columns(columns, fits.Header({"MEDIUM": medium}))
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, checksum=True)


def fits_image(path: Path, medium: str) -> None:
    cards = {"CRVAL1": 840.0, "CDELT1": 0.01, "CUNIT1": "nm", "CTYPE1": "WAVE"}
    image = fits.PrimaryHDU(FLUX, fits.Header(cards))
    fits.HDUList([image, fits.ImageHDU(ERROR, name="SIGMA")]).writeto(path, checksum=True)


def hpf(path: Path, medium: str) -> None:
    flux = np.where(MASK, np.nan, FLUX)
    images = {"Sci Flux": flux, "Sci Error": ERROR, "Sci Wavl": WAVE}
    hdus = [fits.ImageHDU(image[None], name=name) for name, image in images.items()]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path, checksum=True)


def cube(path: Path, medium: str) -> None:
    fits.PrimaryHDU(np.zeros((3, 4))).writeto(path, checksum=True)


def odd(path: Path, medium: str) -> None:
    arrays = {"wavelength": MEDIA[medium], "flux": FLUX, "error": ERROR, "mask": MASK}
    order = np.where(WAVE < 8405.0, 1, 2)
    content = {name: values.tolist() for name, values in {**arrays, "order": order}.items()}
    path.write_text(json.dumps({**content, "medium": medium}))


CASES = [
    Case("npz", "star.npz", npz),
    Case("text", "star.csv", csv),
    Case("text", "star.ecsv", ecsv),
    Case("fits-table", "star.fits", fits_table),
    Case("fits-image", "star.fit", fits_image, ("vacuum",), mask=False),
    Case("hpf", "star.fits", hpf, ("vacuum",)),
    Case("specutils", "star.fits", cube, ("vacuum",), mask=False),
]
ODD = Case("odd", "star.odd", odd)


class Specutils:
    """What specutils returns, as far as it is used; a real installation is not needed for it."""

    def __init__(self) -> None:
        from astropy import units
        from astropy.nddata import VarianceUncertainty

        self.spectral_axis = WAVE / 10.0 * units.nm
        self.flux = FLUX * units.Jy
        self.uncertainty = VarianceUncertainty(ERROR**2)
        self.mask = None

    @classmethod
    def read(cls, path: str) -> Specutils:
        fits.getdata(path)  # which raises if it is damaged
        return cls()


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed package whose entry points name a reader, a wrong object and nothing."""
    site = tmp_path / "site"
    info = site / "odd_spectra-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "odd_spectra.py").write_text(textwrap.dedent(PLUGIN))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-spectra\nVersion: 1.0\n")
    points = "odd = odd_spectra:READER\nwrong = odd_spectra:WRONG\nlost = nowhere:READER\n"
    (info / "entry_points.txt").write_text(f"[blase3d.spectra]\n{points}")
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("odd_spectra", None)


@pytest.fixture(params=[*CASES, ODD], ids=str)
def case(request, monkeypatch):
    if request.param is ODD:
        request.getfixturevalue("plugin")
    if request.param.reader == "specutils":
        monkeypatch.setitem(sys.modules, "specutils", types.SimpleNamespace(Spectrum=Specutils))
    return request.param


def test_every_case_has_its_reader():
    assert {case.reader for case in CASES} <= {reader.name for reader in READERS.all()}


def test_a_file_is_recognised_by_its_reader(case, tmp_path):
    case.write(tmp_path / case.file, case.media[-1])
    with SpectrumFile(tmp_path / case.file) as file:
        assert READERS.choose(file, file.path).name == case.reader
        known = [reader.name for reader in READERS.members if reader.matches(file)]
        assert set(known) <= {case.reader}


def test_flux_errors_masks_units_and_medium_are_kept(case, tmp_path):
    for medium in case.media:
        path = tmp_path / f"{medium}-{case.file}"
        case.write(path, medium)
        found = read_spectrum(path, None if case.reader != "specutils" else "vacuum")
        np.testing.assert_allclose(found.wavelength, WAVE, rtol=1e-12, atol=1e-8)
        np.testing.assert_allclose(found.flux[~found.mask], FLUX[~found.mask], rtol=1e-12)
        np.testing.assert_allclose(found.error, ERROR, rtol=1e-12)
        assert np.flatnonzero(found.mask).tolist() == (MASKED if case.mask else [])
        assert found.meta["medium"] == "vacuum"
        assert found.meta.get("converted_from") == ("air" if medium == "air" else None)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_a_file_cut_short_is_refused_in_one_sentence(case, tmp_path, keep):
    path = tmp_path / case.file
    case.write(path, case.media[-1])
    content = path.read_bytes()
    if case.reader == "text" and keep:  # a table of fewer rows is a table
        content = content[: int(keep * len(content))].rpartition(b"\n")[0] + b"\n9 9 9 9 9 9,9,9"
        keep = 1.0
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(SpectrumError, match=path.name) as caught:
        read_spectrum(path, "vacuum")
    assert "\n" not in str(caught.value)


def test_another_file_under_the_name_is_refused_in_one_sentence(case, tmp_path):
    path = tmp_path / case.file
    for content in (b"\x00\xff nothing of the kind\n1 2", b"<html>Log in!</html>", os.urandom(99)):
        path.write_bytes(content)
        with pytest.raises(SpectrumError, match=path.name) as caught:
            read_spectrum(path, "vacuum")
        assert "\n" not in str(caught.value)


class _Harmful:
    """What unpickling would run: it makes a folder."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_nothing_in_a_file_is_run(tmp_path):
    arrays = {"wavelength": WAVE, "flux": np.array([_Harmful(tmp_path / "mark")], dtype=object)}
    np.savez(tmp_path / "star.npz", **arrays)
    (tmp_path / "star.ecsv").write_text(
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: wavelength, datatype: float64}\n"
        f"# meta: !!python/object/apply:os.mkdir ['{tmp_path / 'mark'}']\nwavelength\n1\n"
    )
    for name in ("star.npz", "star.ecsv"):
        with pytest.raises(SpectrumError, match=name):
            read_spectrum(tmp_path / name)
    assert not (tmp_path / "mark").exists()


def test_an_unknown_format_names_the_known_ones(tmp_path, plugin):
    (tmp_path / "star.txt").write_text("nothing\n")
    with pytest.raises(SpectrumError, match="in a known format") as caught:
        read_spectrum(tmp_path / "star.txt")
    text = str(caught.value)
    assert "a FITS file, a VOTable or a table in text" in text
    assert all(reader.what in text for reader in READERS._installed()[0])
    assert "spectrum reader wrong (odd_spectra:WRONG) is a str, expected a SpectrumReader" in text
    assert "spectrum reader lost (nowhere:READER) cannot be loaded: No module" in text


def test_a_resolution_of_each_order_becomes_one_of_each_pixel(tmp_path, plugin):
    odd(tmp_path / "star.odd", "vacuum")
    found = read_spectrum(tmp_path / "star.odd")
    np.testing.assert_array_equal(found.pixel_resolution, np.where(WAVE < 8405.0, 3e4, 4e4))
    assert found.resolution == 4e4  # the median
    assert read_spectrum(tmp_path / "star.odd", resolution=1e4).pixel_resolution is None
    content = json.loads((tmp_path / "star.odd").read_text())
    for changes, message in (({"order": [3] * 101}, "order 3 too"), ({"order": None}, "a column")):
        changed = {k: v for k, v in {**content, **changes}.items() if v is not None}
        (tmp_path / "star.odd").write_text(json.dumps(changed))
        with pytest.raises(SpectrumError, match=message):
            read_spectrum(tmp_path / "star.odd")


def test_the_former_name_of_the_resolution_of_pixels_warns():
    from blase3d.spectra.spectrum import Spectrum

    with pytest.warns(DeprecationWarning, match="pixel_resolution"):
        spectrum = Spectrum(WAVE, FLUX, resolving=np.full(101, 3e4))
    with pytest.warns(DeprecationWarning, match="pixel_resolution"):
        np.testing.assert_array_equal(spectrum.resolving, spectrum.pixel_resolution)
