"""Model and spectrum of different ranges: their overlap is used."""

from __future__ import annotations

import numpy as np
import pytest
from toy_models import model_of

from blase3d.errors import InputError
from blase3d.inference import infer
from blase3d.libraries.toy import WAVELENGTH, toy_continuum, toy_flux, toy_grid
from blase3d.spectra.spectrum import Spectrum, cut

pytestmark = pytest.mark.long

TRUTH = {"teff": 5730.0, "logg": 4.32, "feh": -0.13}
KNOWN = {"resolution": np.inf, "vsini": 0.0}


@pytest.fixture(scope="module")
def model():
    """The true lines between 8482 and 8510 Å."""
    return model_of(toy_grid().cut(8482.0, 8510.0))


def observed(low, high):
    """The star between two wavelengths, at pixels between those of the model."""
    pixels = WAVELENGTH[(low <= WAVELENGTH) & (high >= WAVELENGTH)] + 0.007
    flux = toy_flux(TRUTH, pixels) * toy_continuum(TRUTH["teff"], pixels)
    noise = np.random.default_rng(3).normal(size=pixels.size)
    error = np.full(pixels.size, 2e-3 * np.median(flux))
    return Spectrum(pixels, flux + error * noise, error=error)


@pytest.mark.parametrize("span", [(8495.0, 8519.9), (8480.1, 8500.0), (8480.1, 8519.9)])
def test_the_overlap_is_used_and_the_rest_is_told(model, span):
    star = observed(*span)
    answer = infer(star, model, fixed=KNOWN)
    low, high = max(span[0], 8482.0), min(span[1], 8510.0)
    assert any(f"cut to the range of the model, {low:.1f}–{high:.1f}" in f for f in answer.flags)
    for name, truth in TRUTH.items():
        found = answer.labels[name]
        assert abs(found.value - truth) < 5 * found.sigma
    inside = (star.wavelength >= 8482.0) & (star.wavelength <= 8510.0)
    again = infer(cut(star, inside), model, fixed=KNOWN)
    assert not any("cut to" in flag for flag in again.flags)
    for name in TRUTH:
        assert again.labels[name].value == answer.labels[name].value


def test_a_spectrum_inside_the_model_is_used_whole(model):
    answer = infer(observed(8485.0, 8506.0), model, fixed=KNOWN)
    assert not any("cut to" in flag for flag in answer.flags)
    assert abs(answer.labels["teff"].value - TRUTH["teff"]) < 5 * answer.labels["teff"].sigma


def test_no_overlap_is_one_sentence(model):
    with pytest.raises(InputError, match=r"covers 8512–8520 Å .* 8482–8510 Å, .* do not overlap"):
        infer(observed(8512.0, 8520.0), model, fixed=KNOWN)
