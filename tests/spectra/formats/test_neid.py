"""Spectra of NEID, written as https://neid.ipac.caltech.edu/docs/NEID-DRP/dataformat.html says."""

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

from blase3d.runtime.units import SPEED_OF_LIGHT
from blase3d.spectra.formats import read_spectrum

HEADER = {
    "INSTRUME": "NEID",
    "OBS-MODE": "HE",
    **{f"SSBZ{173 - row:03d}": v / SPEED_OF_LIGHT for row, v in enumerate(VELOCITY)},
}


def images():
    variance = np.where(BAD, 0.0, RAW_ERROR**2)
    return {"SCIFLUX": RAW, "SCIVAR": variance, "SCIWAVE": OBSERVED, "SCIBLAZE": BLAZE}


def neid(folder):
    path = write(folder / "neidL2_20240506T070809.fits", HEADER, images())
    wanted = expected_orders(
        "neid",
        shifted(),
        (173, 172, 171),
        mask=BAD | DARK,
        resolution=60_000.0,
        meta=barycentric(pytest.approx(12.6)),
    )
    return path, {}, wanted


def level_one(folder):
    found = images()
    del found["SCIBLAZE"]
    path = write(folder / "neidL1_20240506T070809.fits", {"INSTRUME": "NEID"}, found)
    wanted = expected_orders(
        "neid",
        OBSERVED,
        (173, 172, 171),
        flux=RAW,
        error=RAW_ERROR,
        resolution=110_000.0,
        meta={"frame": "observatory", "blaze": "included"},
    )
    return path, {}, wanted


SAMPLES = {"neid": neid, "neid without a blaze": level_one}


def test_telluric_lines_of_the_model_are_masked(tmp_path):
    transmission = np.ones((*OBSERVED.shape, 2))
    transmission[2, 40, 0] = 0.9  # a line
    transmission[2, 60, 1] = 0.9  # continuous absorption
    path = write(tmp_path / "neid.fits", HEADER, {**images(), "TELLURIC": transmission})
    spectrum = read_spectrum(path)
    wavelength = shifted()[2, [40, 60]]
    index = np.searchsorted(spectrum.wavelength, wavelength)
    assert spectrum.mask[index].tolist() == [True, False]


def test_one_redshift_stands_for_all_orders(tmp_path):
    header = {"INSTRUME": "NEID", "SSBZ100": 1e-5}
    path = write(tmp_path / "neid.fits", header, images())
    meta = read_spectrum(path).meta
    assert meta["barycentric_correction"] == pytest.approx(1e-5 * SPEED_OF_LIGHT)
