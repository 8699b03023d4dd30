"""Spectra of EXPRES, written as Petersburg et al. 2020 (AJ 159, 187) describe them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from tests.spectra.formats.orders import (
    BAD,
    ERROR,
    FLUX,
    OBSERVED,
    barycentric,
    expected_orders,
    shifted,
    write,
)

from blase3d.spectra.formats import read_spectrum


def table(**further):
    columns = {
        "spectrum": FLUX,
        "uncertainty": ERROR,
        "wavelength": OBSERVED,
        "bary_wavelength": shifted(12.5),
        "pixel_mask": ~BAD,
        **further,
    }
    kinds = {name: "80L" if values.dtype == bool else "80D" for name, values in columns.items()}
    return fits.BinTableHDU.from_columns(
        [fits.Column(name, kinds[name], array=values) for name, values in columns.items()]
    )


def expres(folder):
    header = {"INSTRMNT": "EXPRES"}
    path = write(folder / "HD1_240506.1.fits", header, {}, [table()])
    meta = barycentric(pytest.approx(12.5))
    return path, {}, expected_orders("expres", shifted(12.5), resolution=137_500.0, meta=meta)


SAMPLES = {"expres": expres}


def test_the_laser_comb_is_preferred_in_whole_orders(tmp_path):
    comb = shifted(12.5) + 0.01
    comb[2, :40] = np.nan
    path = write(tmp_path / "a.fits", {}, {}, [table(excalibur=OBSERVED, bary_excalibur=comb)])
    spectrum = read_spectrum(path)
    for order, offset in ((0, 0.01), (1, 0.01), (2, 0.0)):
        mine = spectrum.wavelength[spectrum.order == order]
        np.testing.assert_allclose(mine, shifted(12.5)[order] + offset, rtol=1e-9)


def test_telluric_lines_of_the_model_are_masked(tmp_path):
    tellurics = np.ones_like(FLUX)
    tellurics[0, 30] = 0.7
    path = write(tmp_path / "a.fits", {}, {}, [table(tellurics=tellurics)])
    assert read_spectrum(path).n_masked == 2
