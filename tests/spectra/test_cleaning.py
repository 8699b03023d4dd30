"""Padding, sentinels, disorder and duplicates."""

from __future__ import annotations

import numpy as np
import pytest

from blase3d.errors import SpectrumError
from blase3d.spectra.cleaning import has_blaze, orders_of, without_data
from blase3d.spectra.formats import RawSpectrum
from blase3d.spectra.formats.raw import spectrum_of

WAVE = np.linspace(5000.0, 5010.0, 101)
FLUX = 1.0 + 0.01 * np.cos(np.arange(101.0))


def cleaned(**arrays):
    return spectrum_of(RawSpectrum({"wavelength": WAVE, "flux": FLUX, **arrays}), "vacuum", None)


@pytest.mark.parametrize("filler", [0.0, -999.0, -9999.0, np.nan, 1e38, np.inf])
@pytest.mark.parametrize("where", [slice(0, 1), slice(96, 101), slice(40, 46)])
def test_padding_and_gaps_are_masked(filler, where):
    flux = FLUX.copy()
    flux[where] = filler
    assert np.flatnonzero(cleaned(flux=flux).mask).tolist() == list(range(*where.indices(101)))


def test_measured_zeros_and_negative_fluxes_are_kept():
    flux = 1000.0 * FLUX
    flux[[20, 30, 31]], flux[50] = 0.0, -99.0
    assert not without_data(flux).any()
    assert not without_data(-FLUX).any()


def test_padding_is_that_of_each_order():
    flux = np.append(FLUX, FLUX)
    flux[[100, 101, 201]] = 0.0
    order = np.repeat([0, 1], 101)
    assert np.flatnonzero(without_data(flux, order)).tolist() == [100, 101, 201]
    assert np.flatnonzero(without_data(flux)).tolist() == [201]


def test_errors_of_zero_everywhere_are_not_used():
    for value in (0.0, np.nan, -1.0):
        found = cleaned(error=np.full(101, value))
        assert found.error is None
        assert found.meta["notes"] == ["the errors are zero or missing everywhere: none are used"]
    some = np.where(np.arange(101) == 7, 0.0, 0.1)
    assert np.flatnonzero(cleaned(error=some).mask).tolist() == [7]


def test_pixels_without_a_wavelength_are_left_out_and_the_others_sorted():
    rng = np.random.default_rng(5)
    shuffled = rng.permutation(101)
    wave = np.concatenate([[np.nan, 0.0], WAVE[shuffled], [-1.0, np.inf]])
    flux = np.concatenate([[9.0, 9.0], FLUX[shuffled], [9.0, 9.0]])
    found = cleaned(wavelength=wave, flux=flux)
    np.testing.assert_array_equal(found.wavelength, WAVE)
    np.testing.assert_array_equal(found.flux, FLUX)
    assert found.meta["notes"] == ["4 pixels without a wavelength were left out"]
    with pytest.raises(SpectrumError, match="none of the 101 is finite"):
        cleaned(wavelength=np.zeros(101))


def test_descending_wavelengths_are_reversed():
    found = cleaned(wavelength=WAVE[::-1], flux=FLUX[::-1])
    np.testing.assert_array_equal(found.flux, FLUX)
    assert found.order is None
    assert "notes" not in found.meta


def test_of_doubled_pixels_the_usable_one_is_kept():
    wave, flux = np.insert(WAVE, 50, WAVE[50]), np.insert(FLUX, 50, np.nan)
    found = cleaned(wavelength=wave, flux=flux)
    np.testing.assert_array_equal(found.wavelength, WAVE)
    np.testing.assert_array_equal(found.flux, FLUX)
    assert not found.mask.any()


@pytest.mark.parametrize("flat", [False, True])
def test_overlapping_orders_are_kept_apart(flat):
    wave, flux = np.stack([WAVE, WAVE + 5.0]), np.stack([FLUX, 2.0 * FLUX])
    if flat:
        wave, flux = wave.ravel(), flux.ravel()
    found = cleaned(wavelength=wave, flux=flux)
    assert len(found) == 202
    assert (np.diff(found.wavelength) > 0).all()
    for number in (0, 1):
        mine = found.order == number
        np.testing.assert_allclose(found.wavelength[mine], WAVE + 5.0 * number, rtol=1e-15)
        np.testing.assert_array_equal(found.flux[mine], (1.0 + number) * FLUX)
    assert bool(found.meta.get("notes")) == flat  # orders that are only inferred are noted


def test_one_step_back_in_a_few_pixels_is_no_order():
    assert orders_of(np.array([1.0, 3.0, 2.0, 4.0])) is None
    assert orders_of(WAVE) is None


def test_a_value_for_each_order_holds_for_its_pixels():
    wave, flux = np.stack([WAVE, WAVE + 5.0]), np.stack([FLUX, FLUX])
    found = cleaned(wavelength=wave, flux=flux, order=np.array([61, 60]), mask=wave > 5014.0)
    assert set(found.order[found.wavelength < 5005.0].tolist()) == {61}
    assert found.n_masked == int((wave > 5014.0).sum())
    with pytest.raises(SpectrumError, match=r"the flux has shape \(3,\), expected \(2, 101\)"):
        cleaned(wavelength=wave, flux=np.ones(3))


def test_a_blaze_is_recognised_and_a_slope_is_none():
    x = np.linspace(-0.5, 0.5, 400)
    lines = 1.0 - 0.5 * (np.arange(400) % 20 == 3)
    orders = np.stack([level * lines for level in (1.0, 2.0, 3.0, 4.0)])
    assert has_blaze(orders * np.sinc(x) ** 2)
    assert not has_blaze(orders)
    assert not has_blaze(orders * (1.0 + 0.9 * x))
    assert not has_blaze(orders[:2] * np.sinc(x) ** 2)
    padded = orders.copy()
    padded[:, :90] = np.nan
    assert not has_blaze(padded)
