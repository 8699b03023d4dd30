"""Readers of spectroscopic surveys, on files written to their data models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from tests.spectra.formats import survey_files as files
from tests.spectra.formats import truth

from blase3d.errors import SpectrumError
from blase3d.runtime.units import FWHM_PER_SIGMA, SPEED_OF_LIGHT, air_to_vacuum
from blase3d.spectra.formats import read_spectrum

OBSERVED = Path(__file__).parents[3].parent / "shared" / "data" / "observed"
SDSS_RESOLUTION = 1.0 / (FWHM_PER_SIGMA * 0.9e-4 * np.log(10.0))
SDSS_META = {"object": "0266-51602-0031", "ra": 147.3, "dec": -0.007, "frame": "heliocentric"}
LAMOST_META = {"object": "LAMOST J004137.41+351733.8", "frame": "heliocentric"}


def sample(write, reader, *stars, options=None, **changes):
    """A sample of the contract suite: the truth on the wavelengths of `stars`, one for each arm."""

    def written(folder):
        wavelength = np.concatenate([star.wavelength for star in stars])
        if changes.get("medium") == "air":
            wavelength = air_to_vacuum(wavelength)
        rows = np.argsort(wavelength, kind="stable")
        columns = {"wavelength": wavelength[rows]}
        for name in ("flux", "error", "mask"):
            columns[name] = np.tile(getattr(truth, name.upper()), len(stars))[rows]
        if len(stars) > 1:
            columns["order"] = np.repeat(np.arange(len(stars)), 401)[rows]
        path = write(folder / "star.fits")
        return path, options or {}, truth.expected(reader, **columns | changes)

    return written


def desi_resolution(sigma):
    """The median of λ/Δλ, for pixels of 0.8 Å."""
    variance = files.desi_diagonals(sigma) @ np.arange(5, -6, -1) ** 2
    wavelength = np.concatenate([star.wavelength for star in files.DESI.values()])
    return np.median(wavelength) / (FWHM_PER_SIGMA * 0.8 * np.sqrt(variance))


SAMPLES = {
    "sdss": sample(files.sdss_lite, "sdss", files.SDSS, resolution=SDSS_RESOLUTION, meta=SDSS_META),
    "sdss-image": sample(files.sdss_image, "sdss-image", files.SDSS, meta=SDSS_META),
    "sdss-plate": sample(
        files.sdss_plate,
        "sdss-plate",
        files.SDSS,
        options={"source": "2"},
        resolution=SDSS_RESOLUTION,
        meta={"object": "0266-51602-0002", "ra": 11.0},
    ),
    "lamost-image": sample(
        files.lamost_image, "lamost", files.LAMOST, resolution=1800.0, meta=LAMOST_META
    ),
    "lamost-table": sample(
        files.lamost_table, "lamost", files.LAMOST, resolution=1800.0, meta=LAMOST_META
    ),
    "lamost-mrs": sample(
        files.lamost_mrs, "lamost", *files.MRS, resolution=7500.0, meta=LAMOST_META
    ),
    "apogee-star": sample(
        files.apogee_star,
        "apogee-star",
        files.APOGEE,
        resolution=22500.0,
        meta={"frame": "star", "pipeline_rv": 12.3, "object": "2M00000000+7472074"},
    ),
    "apogee-aspcap": sample(files.apogee_aspcap, "apogee-star", files.APOGEE, resolution=22500.0),
    "apogee-visit": sample(
        files.apogee_visit,
        "apogee-visit",
        *files.VISIT,
        resolution=22500.0,
        meta={"frame": "observatory"},
    ),
    "mwm": sample(files.mwm, "mwm", files.APOGEE, resolution=22500.0, meta={"frame": "star"}),
    "galah": sample(
        files.galah,
        "galah",
        files.GALAH,
        medium="air",
        resolution=28000.0,
        meta={"frame": "barycentric", "object": "a star"},
    ),
    "galah-dr4": sample(files.galah_dr4, "galah", files.GALAH, medium="air", resolution=26000.0),
    "mastar": sample(
        files.mastar,
        "mastar",
        files.MASTAR,
        options={"source": "7-1002-7957-57801"},
        resolution=np.median(files.MASTAR.wavelength) / (FWHM_PER_SIGMA * files.MASTAR_SIGMA),
        meta={"frame": "star", "ra": 211.5, "mjd": 57801.0, "pipeline_rv": -12.5},
    ),
    "desi": sample(
        files.desi,
        "desi",
        *files.DESI.values(),
        options={"source": str(files.DESI_TARGETS[0])},
        resolution=desi_resolution(1.0),
        meta={"frame": "barycentric", "object": str(files.DESI_TARGETS[0]), "ra": 210.5},
    ),
    "rave": sample(
        files.rave, "rave", files.RAVE, medium="air", resolution=7500.0, meta={"frame": "star"}
    ),
}


def same(spectrum, star, wavelength, rows):
    """Check that pixels `rows` are those of the star."""
    np.testing.assert_allclose(spectrum.wavelength[rows], wavelength, rtol=1e-7)
    np.testing.assert_array_equal(spectrum.mask[rows], truth.MASK)
    good = ~truth.MASK
    np.testing.assert_allclose(spectrum.flux[rows][good], star.flux[good], rtol=1e-6)
    np.testing.assert_allclose(spectrum.error[rows][good], star.error[good], rtol=1e-6)


@pytest.mark.skipif(not OBSERVED.exists(), reason="needs ../shared/data")
def test_real_sdss_file():
    spectrum = read_spectrum(OBSERVED / "sdss-spec.fits")
    assert len(spectrum) == 3842
    assert 200 < spectrum.n_masked < 230
    assert 1500.0 < spectrum.resolution < 2300.0
    assert np.median(spectrum.flux[spectrum.good] / spectrum.error[spectrum.good]) > 7.0
    assert spectrum.meta["object"] == "0266-51602-0031"
    assert spectrum.meta["barycentric_correction"] == pytest.approx(4.97, abs=0.01)


def test_sdss_five_is_barycentric(tmp_path):
    path = files.sdss_lite(tmp_path / "spec.fits", VERS2D="v6_1_3")
    assert read_spectrum(path).meta["frame"] == "barycentric"


def test_lamost_single_exposures_and_rows_of_pixels(tmp_path):
    single = read_spectrum(files.lamost_mrs(tmp_path / "single.fits", coadded=False))
    rows = read_spectrum(files.lamost_mrs_rows(tmp_path / "rows.fits"))
    for spectrum in (single, rows):
        for number, star in enumerate(files.MRS):
            same(spectrum, star, star.wavelength, spectrum.order == number)


def test_lamost_image_of_the_pilot_survey(tmp_path):
    """Its third row is a flux; the header has the wavelengths."""
    spectrum = read_spectrum(files.lamost_image(tmp_path / "pilot.fits", pilot=True))
    same(spectrum, files.LAMOST, files.LAMOST.wavelength, slice(None))


@pytest.mark.parametrize("write", [files.lamost_image, files.lamost_table])
def test_lamost_without_the_name_of_the_telescope(tmp_path, write):
    path = write(tmp_path / "star.fits")
    with fits.open(path, mode="update") as hdus:
        for name in set(files.LAMOST_CARDS) - {"HELIO_RV"}:
            del hdus[0].header[name]
    spectrum = read_spectrum(path)
    assert (spectrum.meta["reader"], spectrum.resolution) == ("lamost", 1800.0)


def test_apogee_star_of_one_visit(tmp_path):
    spectrum = read_spectrum(files.apogee_star(tmp_path / "apStar.fits", visits=1))
    same(spectrum, files.APOGEE, files.APOGEE.wavelength, slice(None))


def test_apogee_visit_is_shifted_to_the_barycentre(tmp_path):
    spectrum = read_spectrum(files.apogee_visit(tmp_path / "apVisit.fits", BC=-8.9))
    for number, star in enumerate(files.VISIT):
        shifted = star.wavelength * (1.0 - 8.9 / SPEED_OF_LIGHT)
        same(spectrum, star, shifted, spectrum.order == number)
    assert spectrum.meta["frame"] == "barycentric"
    assert spectrum.meta["barycentric_correction"] == -8.9


def test_galah_slit_mask(tmp_path):
    assert read_spectrum(files.galah(tmp_path / "in.fits", SLITMASK="IN")).resolution == 42000.0


@pytest.mark.parametrize("source", [None, "1234", "0", "a star"])
def test_a_target_is_asked_for(tmp_path, source):
    for write, first in ((files.desi, str(files.DESI_TARGETS[0])), (files.sdss_plate, "1")):
        path = write(tmp_path / f"{write.__name__}.fits")
        with pytest.raises(SpectrumError, match=rf"{path.name}.* spectra.*{first}.*--source"):
            read_spectrum(path, source=source)


def test_desi_exposures_of_one_target(tmp_path):
    spectrum = read_spectrum(files.desi(tmp_path / "spectra.fits", [7, 7]))
    assert set(spectrum.order) == {0, 1, 2, 3}
    assert len(spectrum) == 4 * 401


def test_a_star_of_mastar_with_one_visit_has_its_own_name(tmp_path):
    visits = (("7-1001", 57800), ("7-1002", 57801))
    spectrum = read_spectrum(files.mastar(tmp_path / "stars.fits", visits), source="7-1002")
    same(spectrum, files.MASTAR, files.MASTAR.wavelength, slice(None))
    varying = spectrum.wavelength / (FWHM_PER_SIGMA * files.MASTAR_SIGMA)
    np.testing.assert_allclose(spectrum.pixel_resolution, varying, rtol=1e-6)


@pytest.mark.parametrize("sigma", [0.9, 1.4])
def test_desi_resolution_of_pixels(tmp_path, sigma):
    spectrum = read_spectrum(files.desi(tmp_path / "coadd.fits", [7], sigma))
    expected = spectrum.wavelength / (FWHM_PER_SIGMA * 0.8 * sigma)
    np.testing.assert_allclose(spectrum.pixel_resolution, expected, rtol=2e-3)
    assert spectrum.resolution == pytest.approx(desi_resolution(sigma))


def test_nominal_resolution_only_with_the_sampling_of_the_survey(tmp_path, monkeypatch):
    """A simulated spectrum in the layout of a survey may have any resolution."""
    for name, write in (("LAMOST", files.lamost_table), ("APOGEE", files.apogee_star)):
        monkeypatch.setattr(files, name, files.Star(3.75, 2e-6))
        assert read_spectrum(write(tmp_path / f"{name}.fits")).resolution is None
