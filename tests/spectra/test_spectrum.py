"""The Spectrum record, and spectra in files."""

from __future__ import annotations

import json
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from blase3d.errors import InputError, SpectrumError
from blase3d.runtime.units import vacuum_to_air
from blase3d.spectra.formats import read_spectrum, write_spectrum
from blase3d.spectra.spectrum import Spectrum

pytestmark = pytest.mark.lowest

SUFFIXES = (".npz", ".ecsv", ".csv", ".fits")
SHARED = Path(__file__).parents[2].parent / "shared" / "data"
WAVE = np.linspace(8400.0, 8410.0, 101)
FLUX = 1.0 - 0.5 * np.exp(-(((WAVE - 8405.0) / 0.3) ** 2))


@pytest.fixture
def spectrum():
    mask = np.zeros(101, dtype=bool)
    mask[3:6] = True
    meta = {"object": "a star", "labels": {"teff": 5772.0}}
    return Spectrum(WAVE, FLUX, np.full(101, 0.01), mask, np.full(101, 2.0), 55_000.0, meta)


def save(path, **changes):
    """An .npz file of a good spectrum with some arrays changed, or left out by None."""
    meta = json.dumps({"medium": "vacuum", "resolution": 1e5})
    arrays = {"wavelength": WAVE, "flux": FLUX, "meta": np.array(meta), **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


# --- the record --------------------------------------------------------------------------------


def test_without_mask_all_pixels_are_good():
    spectrum = Spectrum(WAVE, FLUX)
    assert spectrum.n_masked == 0
    assert spectrum.good.all()
    assert len(spectrum) == 101
    assert repr(spectrum) == "<Spectrum of 101 pixels from 8400 to 8410 Å, 0 masked>"
    assert spectrum.error is None
    np.testing.assert_array_equal(spectrum.flux, FLUX)


def test_unusable_pixels_are_masked_and_made_harmless():
    flux, error = FLUX.copy(), np.full(101, 0.1)
    flux[[0, 10, 100]] = np.nan, np.inf, -np.inf
    error[[20, 21, 22, 23]] = 0.0, -1.0, np.nan, np.inf
    mask = np.zeros(101, dtype=bool)
    mask[[10, 50]] = True
    spectrum = Spectrum(WAVE, flux, error, mask)
    assert np.flatnonzero(spectrum.mask).tolist() == [0, 10, 20, 21, 22, 23, 50, 100]
    assert spectrum.n_masked == 8
    assert np.isfinite(spectrum.flux).all()
    np.testing.assert_array_equal(spectrum.error, 0.1)
    assert spectrum.flux[10] == pytest.approx((FLUX[9] + FLUX[11]) / 2)
    np.testing.assert_array_equal(spectrum.flux[spectrum.good], FLUX[spectrum.good])
    assert spectrum.flux[50] == FLUX[50]  # masked by hand: kept, to be looked at


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=30))
def test_any_flux_gives_finite_pixels_or_is_refused(values):
    flux = np.array(values)
    if not np.isfinite(flux).any():
        with pytest.raises(SpectrumError, match=r"all .* masked"):
            Spectrum(5000.0 + np.arange(len(flux)), flux)
        return
    spectrum = Spectrum(5000.0 + np.arange(len(flux)), flux)
    assert np.isfinite(spectrum.flux).all()
    np.testing.assert_array_equal(spectrum.mask, ~np.isfinite(flux))


def test_the_record_cannot_be_changed_and_leaves_its_input_alone(spectrum):
    flux = FLUX.copy()
    made = Spectrum(WAVE, flux)
    with pytest.raises(ValueError, match="read-only"):
        made.flux[0] = 0.0
    flux[0] = 1.0  # still writeable
    with pytest.raises(AttributeError):
        made.flux = flux
    copy = pickle.loads(pickle.dumps(spectrum))
    np.testing.assert_array_equal(copy.mask, spectrum.mask)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wavelength": WAVE[::-1]}, "strictly increasing.*sort by wavelength"),
        ({"wavelength": np.repeat(WAVE[:51], 2)[:101]}, "8400.0 twice at pixel 0"),
        ({"wavelength": WAVE - 8405.0}, "finite positive Å"),
        ({"wavelength": np.where(WAVE > 8409, np.nan, WAVE)}, "nan at pixel"),
        ({"wavelength": np.empty(0), "flux": np.empty(0)}, "empty"),
        ({"wavelength": WAVE[None]}, r"wavelength has shape \(1, 101\)"),
        ({"flux": FLUX[:-1]}, r"flux has shape \(100,\), expected \(101,\)"),
        ({"error": np.ones(3)}, "error has shape"),
        ({"mask": np.zeros(3, dtype=bool)}, "mask has shape"),
        ({"continuum": np.ones(3)}, "continuum has shape"),
        ({"flux": np.full(101, "bright")}, "flux is not numeric"),
        ({"flux": np.full(101, np.nan)}, "all 101 pixels"),
        ({"error": np.zeros(101)}, "all 101 pixels"),
        ({"resolution": -1.0}, "resolution -1.0"),
        ({"resolution": "high"}, "resolution 'high'"),
    ],
)
def test_what_cannot_be_a_spectrum_is_refused_in_one_sentence(changes, message):
    with pytest.raises(SpectrumError, match=message):
        Spectrum(**{"wavelength": WAVE, "flux": FLUX, **changes})


# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip(spectrum, suffix, tmp_path):
    path = tmp_path / f"star{suffix}"
    write_spectrum(spectrum, path)
    again = read_spectrum(path)
    for name in ("wavelength", "flux", "error", "mask", "continuum"):
        np.testing.assert_array_equal(getattr(again, name), getattr(spectrum, name))
    assert again.resolution == 55_000.0
    assert again.meta == {**spectrum.meta, "medium": "vacuum"}
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_writing_replaces_whole_and_a_failure_leaves_the_old(suffix, spectrum, tmp_path):
    path = tmp_path / f"star{suffix}"
    write_spectrum(spectrum, path)
    write_spectrum(Spectrum(WAVE[:50], FLUX[:50]), path)
    assert len(read_spectrum(path)) == 50
    broken = Spectrum(WAVE, FLUX, meta={("not", "json"): 1})
    with pytest.raises(TypeError):
        write_spectrum(broken, path)
    assert len(read_spectrum(path)) == 50
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_air_is_converted_to_vacuum(tmp_path):
    air = vacuum_to_air(WAVE)
    stated = save(tmp_path / "stated.npz", wavelength=air, meta=np.array('{"medium": "Air"}'))
    silent = save(tmp_path / "silent.npz", wavelength=air, meta=None)
    for spectrum in (read_spectrum(stated), read_spectrum(silent, medium="air")):
        np.testing.assert_allclose(spectrum.wavelength, WAVE, rtol=0, atol=1e-8)
        assert spectrum.meta["medium"] == "vacuum"
        assert spectrum.meta["converted_from"] == "air"
    np.testing.assert_array_equal(read_spectrum(silent, medium="vacuum").wavelength, air)


def test_a_medium_is_asked_for_and_not_guessed(tmp_path):
    silent = save(tmp_path / "silent.npz", meta=None)
    with pytest.raises(SpectrumError, match=r"states no medium .* --medium air or --medium vacuum"):
        read_spectrum(silent)
    unknown = save(tmp_path / "unknown.npz", meta=np.array('{"medium": "helium"}'))
    with pytest.raises(SpectrumError, match="has medium 'helium'"):
        read_spectrum(unknown)
    assert read_spectrum(unknown, medium="vacuum").meta["medium"] == "vacuum"
    stated = save(tmp_path / "stated.npz")
    with pytest.warns(
        UserWarning, match=r"stated\.npz: the file states wavelengths in vacuum; air"
    ):
        found = read_spectrum(stated, medium="air")
    np.testing.assert_array_equal(found.wavelength, WAVE)
    assert found.meta["notes"] == ["the file states wavelengths in vacuum; air is not used"]
    with pytest.raises(SpectrumError, match="medium 'water'"):
        read_spectrum(stated, medium="water")


def test_resolution_is_the_callers_or_the_files(tmp_path):
    path = save(tmp_path / "star.npz")
    assert read_spectrum(path).resolution == 1e5
    assert read_spectrum(path, resolution=2e4).resolution == 2e4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flux": None}, "has no flux, it has wavelength, meta"),
        ({"flux": None, "wavelength": None}, "no wavelength and no flux"),
        ({"flux": FLUX[:-1]}, "flux has shape"),
        ({"wavelength": np.zeros(101)}, "none of the 101 is finite and positive"),
        ({"flux": np.full(101, np.nan)}, "all 101 pixels"),
        ({"flux": np.full(101, "bright")}, "flux is not numeric"),
        ({"flux": np.array([{}] * 101, dtype=object)}, "cannot be read as an .npz"),
        ({"meta": np.array("[1]")}, "meta that is not a JSON object"),
        ({"meta": np.array("{")}, "meta that is not a JSON object"),
        ({"meta": np.array('{"medium": "vacuum", "resolution": "high"}')}, "resolution 'high'"),
        ({"flux": np.tile(FLUX, (2, 1))}, "a grid of 2 spectra, expected one"),
        ({"mask": np.full(101, "perhaps")}, "mask has other words"),
    ],
)
def test_bad_npz_files_are_named(changes, message, tmp_path):
    path = save(tmp_path / "bad.npz", **changes)
    with pytest.raises(SpectrumError, match=message) as caught:
        read_spectrum(path)
    assert "bad.npz" in str(caught.value)


@pytest.mark.parametrize("keep", [0, 10, 300, 1000])
@pytest.mark.parametrize("suffix", [".npz", ".fits"])
def test_files_cut_short(keep, suffix, spectrum, tmp_path):
    path = tmp_path / f"short{suffix}"
    write_spectrum(spectrum, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SpectrumError, match="short"):
        read_spectrum(path)


@pytest.mark.parametrize("suffix", [".npz", ".fits"])
def test_flipped_bytes_are_noticed(suffix, spectrum, tmp_path):
    path = tmp_path / f"flipped{suffix}"
    write_spectrum(spectrum, path)
    content = bytearray(path.read_bytes())
    where = {".npz": 600, ".fits": len(content) - 2000}[suffix]
    content[where] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(SpectrumError, match="damaged"):
        read_spectrum(path)


@pytest.mark.parametrize("name", ["star.npz", "star.ecsv", "star.fits", "star.csv"])
def test_something_else_under_the_name(name, tmp_path):
    with pytest.raises(SpectrumError, match="there is no file"):
        read_spectrum(tmp_path / name)
    (tmp_path / name).write_bytes(b"\x00\xffnothing of the kind\n1 2")
    with pytest.raises(SpectrumError, match=name):
        read_spectrum(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(SpectrumError, match="is a folder"):
        read_spectrum(tmp_path / name)


def test_unknown_endings_and_folders(spectrum, tmp_path):
    (tmp_path / "star.dat").write_text("1 2")
    with pytest.raises(
        SpectrumError,
        match=r"no spectrum in a known format: expected an \.npz file, .* or a table in text",
    ):
        read_spectrum(tmp_path / "star.dat")
    with pytest.raises(SpectrumError, match="no ending that is known"):
        write_spectrum(spectrum, tmp_path / "star")
    with pytest.raises(InputError, match="there is no folder"):
        write_spectrum(spectrum, tmp_path / "none" / "star.npz")


def test_a_grid_of_one_node_is_a_spectrum(tmp_path):
    path = save(
        tmp_path / "one.npz",
        flux=FLUX[None].astype(np.float32),
        continuum=np.ones((1, 101), np.float32),
        labels=np.array([[4780.0, 4.63]]),
        label_names=np.array(["teff", "logg"]),
    )
    spectrum = read_spectrum(path)
    np.testing.assert_allclose(spectrum.flux, FLUX, rtol=1e-7)
    assert spectrum.continuum is not None
    assert spectrum.meta["labels"] == {"teff": 4780.0, "logg": 4.63}


def test_a_plain_csv_as_users_write_it(tmp_path):
    path = tmp_path / "star.csv"
    path.write_text(
        "wavelength,flux,error,mask\n5000,1,0.1,False\n5001,,0.1,True\n5002,3,0,False\n"
    )
    spectrum = read_spectrum(path, medium="vacuum", resolution=1e4)
    np.testing.assert_array_equal(spectrum.wavelength, [5000.0, 5001.0, 5002.0])
    assert spectrum.mask.tolist() == [False, True, True]
    assert spectrum.resolution == 1e4
    path.write_text("# medium: vacuum\n# wavelength_unit: nm\nwavelength,flux\n500,1\n501,2\n")
    np.testing.assert_allclose(read_spectrum(path).wavelength, [5000.0, 5010.0])
    path.write_text("# medium: vacuum\nwavelength,flux\n500,1\n501,2,3\n")
    with pytest.raises(SpectrumError, match="cannot be read as a table"):
        read_spectrum(path)
    path.write_text("# medium: vacuum\nheight,flux\n500,1\n")
    with pytest.raises(SpectrumError, match="no wavelength, it has height, flux"):
        read_spectrum(path)
    path.write_text("# medium: vacuum\nwavelength,flux\n5000,much\n5001,1\n")
    with pytest.raises(SpectrumError, match="flux is not numeric"):
        read_spectrum(path)


ECSV = """# %ECSV 1.0
# ---
# datatype:
# - {{name: wavelength, unit: {unit}, datatype: float64}}
# - {{name: flux, unit: Jy, datatype: float64}}
# - {{name: error, unit: {error}, datatype: float64}}
# meta: !!omap
# - {{medium: vacuum}}
# - {{resolution: 20000}}
# schema: astropy-2.0
wavelength flux error
500.0 1.0 100.0
501.0 2.0 100.0
"""


def test_units_of_ecsv_are_honoured(tmp_path):
    path = tmp_path / "star.ecsv"
    path.write_text(ECSV.format(unit="nm", error="mJy"))
    spectrum = read_spectrum(path)
    np.testing.assert_allclose(spectrum.wavelength, [5000.0, 5010.0])
    np.testing.assert_allclose(spectrum.error, 0.1)
    assert spectrum.resolution == 20_000
    path.write_text(ECSV.format(unit="s", error="Jy"))
    with pytest.raises(SpectrumError, match="expected a unit of length"):
        read_spectrum(path)
    path.write_text(ECSV.format(unit="nm", error="K"))
    with pytest.raises(SpectrumError, match="error in K and its flux in Jy"):
        read_spectrum(path)


@pytest.mark.parametrize(
    ("cards", "scale"),
    [
        ({"CTYPE1": "WAVE", "CDELT1": 0.1, "CRVAL1": 8400.0}, 1.0),
        ({"CTYPE1": "AWAV", "CD1_1": 0.1, "CRVAL1": 8400.0, "CUNIT1": "Angstrom"}, 1.0),
        ({"CTYPE1": "WAVE", "CDELT1": 0.01, "CRVAL1": 840.1, "CRPIX1": 11, "CUNIT1": "nm"}, 10.0),
    ],
)
def test_fits_images_with_linear_wavelengths(cards, scale, tmp_path):
    path = tmp_path / "image.fits"
    image = fits.PrimaryHDU(FLUX, fits.Header(cards))
    error = fits.ImageHDU(np.full(101, 0.1), name="ERROR")
    fits.HDUList([image, error]).writeto(path)
    spectrum = read_spectrum(path)
    found = spectrum.wavelength
    if cards["CTYPE1"] == "AWAV":
        assert spectrum.meta["converted_from"] == "air"
        found = vacuum_to_air(found)
    np.testing.assert_allclose(found, WAVE, rtol=1e-12)
    np.testing.assert_array_equal(spectrum.flux, FLUX)
    np.testing.assert_array_equal(spectrum.error, 0.1)


def test_a_fits_image_of_unknown_medium_is_asked_about(tmp_path):
    path = tmp_path / "image.fits"
    cards = {"CTYPE1": "LINEAR", "CDELT1": 0.1, "CRVAL1": 8400.0}
    fits.PrimaryHDU(FLUX, fits.Header(cards)).writeto(path)
    with pytest.raises(SpectrumError, match="states no medium"):
        read_spectrum(path)
    np.testing.assert_allclose(read_spectrum(path, "vacuum").wavelength, WAVE, rtol=1e-12)


class FoundBySpecutils:
    """What specutils returns, as far as it is used; a real installation is not needed for it."""

    def __init__(self):
        from astropy import units
        from astropy.nddata import VarianceUncertainty

        self.spectral_axis = WAVE / 10.0 * units.nm
        self.flux = FLUX * units.Jy
        self.uncertainty = VarianceUncertainty(np.full(101, 0.04))
        self.mask = None

    @classmethod
    def read(cls, path):
        if "odd" in path:
            raise OSError("no reader found")
        return cls()


class InPixels(FoundBySpecutils):
    """An axis that specutils did not understand."""

    def __init__(self):
        from astropy import units

        super().__init__()
        self.spectral_axis = np.full(101, 3.9) * units.AA


def test_other_fits_layouts_are_read_by_specutils(tmp_path, monkeypatch):
    path, odd = tmp_path / "cube.fits", tmp_path / "odd.fits"
    for name in (path, odd):
        fits.PrimaryHDU(np.zeros((3, 4))).writeto(name)
    fake = types.SimpleNamespace(Spectrum=FoundBySpecutils)
    monkeypatch.setitem(sys.modules, "specutils", fake)
    spectrum = read_spectrum(path, medium="vacuum")
    np.testing.assert_allclose(spectrum.wavelength, WAVE)
    np.testing.assert_allclose(spectrum.error, 0.2)
    with pytest.raises(SpectrumError, match="no layout that blase3D or specutils reads"):
        read_spectrum(odd, medium="vacuum")
    monkeypatch.setattr(fake, "Spectrum", InPixels)
    with pytest.raises(SpectrumError, match=r"its wavelengths would be near 3\.9 Å"):
        read_spectrum(path, medium="vacuum")


def test_the_observed_sun():
    path = SHARED / "observed" / "sun-uves.npz"
    if not path.exists():
        pytest.skip("../shared/data is not here")
    spectrum = read_spectrum(path)
    assert len(spectrum) == 29_200
    assert spectrum.resolution is None
    assert spectrum.meta["object"] == "Sun"
