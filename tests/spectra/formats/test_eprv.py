"""Spectra in the EPRV data standard, level 2: https://eprv-data-standard.readthedocs.io."""

from __future__ import annotations

import numpy as np
import pytest
from tests.spectra.formats.orders import (
    BAD,
    BLAZE,
    DARK,
    OBSERVED,
    RAW,
    RAW_ERROR,
    VELOCITY,
    barycentric,
    expected_orders,
    shifted,
    write,
)

from blase3d.spectra.formats import read_spectrum

HEADER = {"INSTRUME": "KPF", "DATALVL": "L2", "NUMTRACE": 2, "TRACE1": "SKY", "TRACE2": "SCI"}


def images(scale=1.0):
    sky = np.ones_like(RAW)
    return {
        "TRACE1_FLUX": sky,
        "TRACE1_WAVE": OBSERVED,
        "TRACE1_VAR": sky,
        "TRACE2_FLUX": RAW,
        "TRACE2_WAVE": OBSERVED * scale,
        "TRACE2_VAR": RAW_ERROR**2,
        "TRACE2_BLAZE": BLAZE,
        "TRACE2_QUALITY": BAD.astype(np.uint8),
        "BARYCORR_KMS": VELOCITY,
    }


def eprv(folder):
    path = write(folder / "kpf_SL2_20240506T070809.fits", HEADER, images())
    wanted = expected_orders(
        "eprv",
        shifted(),
        mask=BAD | DARK,
        resolution=98_000.0,
        meta={"instrument": "KPF", **barycentric(12.6)},
    )
    return path, {}, wanted


SAMPLES = {"eprv": eprv}


def test_microns_and_a_correction_of_each_pixel(tmp_path):
    found = {**images(1e-4), "BARYCORR_KMS": np.full(OBSERVED.shape, 12.5)}
    spectrum = read_spectrum(write(tmp_path / "L2.fits", HEADER, found))
    np.testing.assert_allclose(spectrum.wavelength, np.sort(shifted(12.5).ravel()))


def test_traces_of_the_star_are_summed_if_they_share_their_wavelengths(tmp_path):
    header = {**HEADER, "TRACE1": "SCI"}
    slices = {f"TRACE1_{name}": images()[f"TRACE2_{name}"] for name in ("FLUX", "VAR", "BLAZE")}
    same = {**images(), **slices}
    apart = {**same, "TRACE2_WAVE": OBSERVED + 0.4}
    one = read_spectrum(write(tmp_path / "one.fits", HEADER, same))
    two = read_spectrum(write(tmp_path / "two.fits", header, same))
    first = read_spectrum(write(tmp_path / "apart.fits", header, apart))
    np.testing.assert_allclose(two.flux[two.good], 2.0 * one.flux[two.good], rtol=1e-6)
    np.testing.assert_allclose(two.error[two.good], 2**0.5 * one.error[two.good], rtol=1e-6)
    np.testing.assert_allclose(first.flux[two.good], one.flux[two.good], rtol=1e-6)


def test_a_telluric_model_masks(tmp_path):
    telluric = np.ones_like(RAW)
    telluric[0, 50] = 0.2
    found = {**images(), "TRACE2_TELLURIC": telluric}
    spectrum = read_spectrum(write(tmp_path / "L2.fits", HEADER, found))
    assert spectrum.mask[np.searchsorted(spectrum.wavelength, shifted()[0, 50])]
    assert spectrum.meta["barycentric_correction"] == pytest.approx(12.6)
