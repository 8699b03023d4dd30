"""Spectra of HPF: both forms, made here in small, and the real ones where they are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from tests.spectra.formats.truth import expected

from blase3d.runtime.units import SPEED_OF_LIGHT
from blase3d.spectra.formats import read_spectrum, write_spectrum
from blase3d.spectra.formats.hpf import RESOLUTION

OBSERVED = Path(__file__).parents[3].parent / "shared" / "data" / "observed"
WAVE = np.stack([np.linspace(low, low + 10.0, 50) for low in (8400.0, 8412.0, 8424.0)])
FLUX = 100.0 + np.arange(150.0).reshape(3, 50)
VISIT = {"QRA": "07:52:37.00", "QDEC": "+55:12:34.00", "DATE-OBS": "2021-02-12T07:29:05.148777"}


def save(path, spread, **cards):
    """A file with errors of 2 in all pixels, one bad pixel, and one line of the sky."""
    flux, sky = FLUX.copy(), np.ones_like(FLUX)
    flux[1, 7] = np.nan
    sky[2, 3] = 500.0
    values = {"Error": 2.0, "Variance": 4.0}[spread]
    images = {
        "Sci Flux": flux,
        "Sky Flux": sky,
        f"Sci {spread}": np.full_like(FLUX, values),
        f"Sky {spread}": np.full_like(FLUX, values),
        "Sci Wavl": WAVE,
    }
    header = fits.Header({"OBJECT": "a star", **cards})
    hdus = [fits.PrimaryHDU(header=header)]
    hdus += [fits.ImageHDU(image, name=name) for name, image in images.items()]
    fits.HDUList(hdus).writeto(path)
    return path


def sample(spread):
    def write(folder):
        """Sorted already: the orders do not overlap."""
        bad = np.zeros(150, bool)
        bad[[57, 103]] = True
        cards = {"TELESCOP": "HET", "INSTRUME": "HPF", "BRVCORR": -14_000.0}
        wanted = expected(
            "hpf",
            wavelength=WAVE.ravel() * (1.0 - 14.0 / SPEED_OF_LIGHT),
            flux=FLUX.ravel(),
            error=np.full(150, 2.0),
            mask=bad,
            order=np.repeat([0, 1, 2], 50),
            resolution=RESOLUTION,
            meta={
                "object": "a star",
                "telescope": "HET",
                "frame": "barycentric",
                "barycentric_correction": -14.0,
                "blaze": "included",
            },
        )
        return save(folder / "hpf.fits", spread, **cards), {}, wanted

    return write


SAMPLES = {"hpf goldilocks": sample("Error"), "hpf optimal": sample("Variance")}


@pytest.mark.parametrize("spread", ["Error", "Variance"])
def test_both_forms(tmp_path, spread):
    spectrum = read_spectrum(save(tmp_path / "hpf.fits", spread, BRVCORR=-14_000.0))
    stretch = 1.0 - 14.0 / SPEED_OF_LIGHT
    np.testing.assert_allclose(spectrum.wavelength, WAVE.ravel() * stretch, rtol=1e-12)
    np.testing.assert_array_equal(spectrum.order, np.repeat([0, 1, 2], 50))
    np.testing.assert_array_equal(spectrum.error, 2.0)
    np.testing.assert_array_equal(np.flatnonzero(spectrum.mask), [57, 103])
    assert spectrum.resolution == RESOLUTION
    assert spectrum.meta["object"] == "a star"
    assert spectrum.meta["barycentric_correction"] == -14.0


def test_without_the_header_the_correction_is_computed(tmp_path):
    """Of the visit of HR 3039, whose header has −14.1989 km/s."""
    spectrum = read_spectrum(save(tmp_path / "hpf.fits", "Error", **VISIT))
    assert spectrum.meta["barycentric_correction"] == pytest.approx(-14.1989, abs=0.01)
    unknown = read_spectrum(save(tmp_path / "bare.fits", "Error"))
    assert "barycentric_correction" not in unknown.meta
    np.testing.assert_array_equal(unknown.wavelength, WAVE.ravel())


@pytest.mark.parametrize("suffix", [".npz", ".ecsv", ".csv", ".fits"])
def test_orders_go_into_files_and_back(tmp_path, suffix):
    spectrum = read_spectrum(save(tmp_path / "hpf.fits", "Error"))
    write_spectrum(spectrum, tmp_path / f"copy{suffix}")
    found = read_spectrum(tmp_path / f"copy{suffix}")
    np.testing.assert_array_equal(found.order, spectrum.order)
    np.testing.assert_array_equal(found.mask, spectrum.mask)


def test_a_resolution_of_each_pixel_goes_into_files_and_back(tmp_path):
    varying = np.linspace(2e4, 3e4, 150)
    path = tmp_path / "star.csv"
    rows = "\n".join(f"{w},{f},{r}" for w, f, r in zip(WAVE.flat, FLUX.flat, varying, strict=True))
    path.write_text(f"# medium: vacuum\nwavelength,flux,resolution\n{rows}\n")
    spectrum = read_spectrum(path)
    np.testing.assert_allclose(spectrum.pixel_resolution, varying)
    assert spectrum.resolution == pytest.approx(25_000.0)
    assert read_spectrum(path, resolution=1e4).pixel_resolution is None
    write_spectrum(spectrum, tmp_path / "star.npz")
    np.testing.assert_allclose(read_spectrum(tmp_path / "star.npz").pixel_resolution, varying)


@pytest.mark.parametrize(
    ("name", "velocity"), [("hpf-goldilocks-A0V", -14.199), ("hpf-optimal-GJ699", 26.496)]
)
def test_the_real_files(name, velocity):
    path = OBSERVED / f"{name}.fits"
    if not path.exists():
        pytest.skip("../shared/data is not here")
    spectrum = read_spectrum(path)
    assert len(spectrum) == 28 * 2048
    assert np.unique(spectrum.order).size == 28
    assert 0 < spectrum.n_masked < 2000
    assert spectrum.meta["barycentric_correction"] == pytest.approx(velocity, abs=0.01)
    assert spectrum.meta["blaze"] == "included"
    assert spectrum.meta["telescope"] == "HET"
    signal = np.median((spectrum.flux / spectrum.error)[spectrum.good])
    assert 100 < signal < 1000


def test_one_stacked_order():
    """A table with the error as `uncertainty`, by one of its users."""
    path = OBSERVED / "hpf-wasp69-stack.fits"
    if not path.exists():
        pytest.skip("../shared/data is not here")
    spectrum = read_spectrum(path, "vacuum")
    assert len(spectrum) == 2048
    assert 50 < np.median((spectrum.flux / spectrum.error)[spectrum.good]) < 5000
