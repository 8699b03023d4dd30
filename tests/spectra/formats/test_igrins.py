"""Spectra of IGRINS, written as https://igrinscontact.github.io/RRISA_reduced describes them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from tests.spectra.formats.orders import BAD, ERROR, FLUX, FRAME, OBSERVED, expected_orders, write

from blase3d.errors import SpectrumError
from blase3d.spectra.formats import read_spectrum

WAVE = OBSERVED + 10_000.0
"""Å, in the band H."""
HEADER = {"INSTRUME": "IGRINS"}
META = {"instrument": "IGRINS", "frame": "observatory"}


def divided(folder):
    images = {
        "SPEC_DIVIDE_A0V": FLUX,
        "SPEC_DIVIDE_A0V_VARIANCE": np.where(BAD, np.nan, ERROR**2),
        "WAVELENGTH": WAVE / 1e4,
        "TGT_SPEC": FLUX,
    }
    path = write(folder / "SDCH_20240506_0001.spec_a0v.fits", HEADER, images)
    wanted = expected_orders("igrins", WAVE, (98, 99, 100), resolution=45_000.0, meta=META)
    return path, {}, wanted


def extracted(folder):
    """Flux, variance and wavelengths in three files."""
    for ending, image in (
        ("spec", FLUX),
        ("variance", np.where(BAD, np.nan, ERROR**2)),
        ("wave", WAVE / 10.0),
    ):
        hdu = fits.PrimaryHDU(image, fits.Header({**FRAME, **HEADER}))
        hdu.writeto(folder / f"SDCH_1.{ending}.fits")
    wanted = expected_orders(
        "igrins",
        WAVE,
        (98, 99, 100),
        resolution=45_000.0,
        meta={**META, "blaze": "included"},
    )
    return folder / "SDCH_1.spec.fits", {}, wanted


SAMPLES = {"igrins": divided, "igrins spec": extracted}


def test_signal_to_noise_is_that_of_a_resolution_element(tmp_path):
    """Of λ/40,000, which is 0.8 of the pixels here."""
    images = {"SPEC_DIVIDE_A0V": FLUX, "WAVELENGTH": WAVE / 1e4}
    path = write(tmp_path / "SDCH_2.spec_a0v.fits", HEADER, images)
    assert read_spectrum(path).error is None
    pixels = WAVE / 4e4 / np.gradient(WAVE, axis=1)
    ratio = FLUX / ERROR * np.sqrt(pixels)
    fits.PrimaryHDU(ratio).writeto(tmp_path / "SDCH_2.sn.fits")
    spectrum = read_spectrum(path)
    np.testing.assert_allclose(np.sort(spectrum.error), np.sort(ERROR.ravel()), rtol=1e-6)


def test_wavelengths_beside_are_asked_for(tmp_path):
    path, _, _ = extracted(tmp_path)
    (tmp_path / "SDCH_1.wave.fits").unlink()
    with pytest.raises(SpectrumError, match=r"SDCH_1.wave.fits of the pipeline beside it"):
        read_spectrum(path)


def test_the_band_k(tmp_path):
    images = {"SPEC_DIVIDE_A0V": FLUX, "WAVELENGTH": (WAVE + 6000.0) / 1e4}
    spectrum = read_spectrum(write(tmp_path / "SDCK_1.spec_a0v.fits", HEADER, images))
    assert np.unique(spectrum.order).tolist() == [71, 72, 73]
