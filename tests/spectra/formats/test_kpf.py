"""Spectra of KPF, written as its pipeline's documentation describes level 1.

https://kpf-pipeline.readthedocs.io/en/latest/info/data_format.html
"""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from tests.spectra.formats.orders import (
    BAD,
    BLAZE,
    DARK,
    OBSERVED,
    RAW,
    RAW_ERROR,
    barycentric,
    expected_orders,
    shifted,
    write,
)

from blase3d.errors import SpectrumError
from blase3d.spectra.formats import read_spectrum

SHARE = {1: 0.2, 2: 0.5, 3: 0.3}
"""Light of the slices."""
OFFSET = {1: -0.02, 2: 0.0, 3: 0.02}
"""Å by which their wavelengths differ."""


def images(chip, blaze=True):
    found = {}
    for i, share in SHARE.items():
        found[f"{chip}_SCI_FLUX{i}"] = (share * RAW).astype(np.float32)
        found[f"{chip}_SCI_VAR{i}"] = np.where(BAD, 0.0, share * RAW_ERROR**2)
        found[f"{chip}_SCI_WAVE{i}"] = OBSERVED + OFFSET[i]
        if blaze:
            found[f"{chip}_SCI_BLAZE{i}"] = share * BLAZE
    return found


def corrections(velocity):
    column = fits.Column("BARYVEL", "D", array=np.full(67, 1e3 * velocity))
    return [fits.BinTableHDU.from_columns([column], name="BARY_CORR")]


def kpf(folder):
    header = {"INSTRUME": "KPF", "TELESCOP": "a telescope"}
    path = write(folder / "KP.20240506.1_L1.fits", header, images("RED"), corrections(12.5))
    wanted = expected_orders(
        "kpf",
        shifted(12.5),
        (102, 101, 100),
        mask=BAD | DARK,
        resolution=98_000.0,
        meta={"instrument": "KPF", **barycentric(12.5)},
    )
    return path, {}, wanted


def without_blaze(folder):
    path = write(folder / "L1.fits", {}, images("GREEN", blaze=False))
    wanted = expected_orders(
        "kpf",
        OBSERVED,
        (137, 136, 135),
        flux=RAW,
        error=RAW_ERROR,
        resolution=98_000.0,
        meta={"frame": "observatory", "blaze": "included"},
    )
    return path, {}, wanted


SAMPLES = {"kpf": kpf, "kpf without a blaze": without_blaze}


def test_both_ccds_are_read(tmp_path):
    found = images("GREEN") | images("RED")
    spectrum = read_spectrum(write(tmp_path / "L1.fits", {}, found))
    assert np.unique(spectrum.order).tolist() == [100, 101, 102, 135, 136, 137]


def test_a_slice_without_light_is_left_out(tmp_path):
    found = images("GREEN", blaze=False)
    found["GREEN_SCI_FLUX3"] = np.zeros_like(RAW)
    spectrum = read_spectrum(write(tmp_path / "L1.fits", {}, found))
    light = np.sort(spectrum.flux[spectrum.good])
    np.testing.assert_allclose(light, np.sort(0.7 * RAW[~BAD]), rtol=1e-6)


def test_corrections_that_are_all_zero_are_none(tmp_path):
    path = write(tmp_path / "L1.fits", {}, images("GREEN"), corrections(0.0))
    assert read_spectrum(path).meta["frame"] == "observatory"
    path = write(tmp_path / "L1b.fits", {}, images("GREEN"), corrections(-3.0))
    assert read_spectrum(path).meta["barycentric_correction"] == pytest.approx(-3.0)


def test_a_ccd_without_flux_is_left_out(tmp_path):
    dark = {name: np.zeros_like(RAW) for name in images("GREEN", blaze=False)}
    lit = read_spectrum(write(tmp_path / "L1.fits", {}, {**dark, **images("RED")}))
    assert np.unique(lit.order).tolist() == [100, 101, 102]
    with pytest.raises(SpectrumError, match="no flux in its science traces"):
        read_spectrum(write(tmp_path / "dark.fits", {}, dark))
