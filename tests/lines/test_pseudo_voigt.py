"""The pseudo-Voigt: against the true Voigt, by integration and by finite differences."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import voigt_profile

from blase3d.libraries.toy import absorbed
from blase3d.lines.profiles import pseudo_voigt

SHAPES = [(0.1, 1e-4), (0.1, 0.01), (0.1, 0.03), (0.1, 0.1), (0.1, 0.3), (0.01, 0.1), (1e-4, 0.1)]
"""sigma and gamma (Å) from all but Gaussian to all but Lorentzian."""


def voigt(x, sigma, gamma):
    """The pseudo-Voigt of the package, in the precision that JAX has."""
    columns = pseudo_voigt.columns(0.0, jnp.log(sigma), jnp.log(gamma))
    return np.asarray(pseudo_voigt.full(jnp.asarray(x), *columns))


@pytest.mark.parametrize(("sigma", "gamma"), SHAPES)
def test_within_its_stated_error_of_the_true_voigt(sigma, gamma):
    x = np.linspace(-20, 20, 4001) * (sigma + gamma)
    truth = voigt_profile(x, sigma, gamma)
    assert np.abs(voigt(x, sigma, gamma) - truth).max() < 0.013 * truth.max()


def test_the_stated_error_is_not_generous():
    sigma, x = 0.1, np.linspace(-2, 2, 4001)
    errors = []
    for gamma in np.geomspace(0.003, 1, 40):
        truth = voigt_profile(x, sigma, gamma)
        errors.append(np.abs(voigt(x, sigma, gamma) - truth).max() / truth.max())
    assert 0.012 < max(errors) < 0.013


@pytest.mark.usefixtures("double")
def test_two_roads_to_one_profile():
    x = np.linspace(-1, 1, 201)
    for sigma, gamma in SHAPES:
        other = absorbed(x, [[0.0, np.log(2.0), np.log(sigma), np.log(gamma)]])[0] / 2.0
        np.testing.assert_allclose(voigt(x, sigma, gamma), other, rtol=1e-9)


def test_limits():
    x = np.linspace(-0.5, 0.5, 101)
    gauss = np.exp(-0.5 * (x / 0.1) ** 2) / (0.1 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(voigt(x, 0.1, 1e-7), gauss, atol=2e-5 * gauss.max())
    lorentz = 0.1 / np.pi / (x**2 + 0.01)
    np.testing.assert_allclose(voigt(x, 1e-7, 0.1), lorentz, atol=2e-5 * lorentz.max())


@pytest.mark.parametrize("widths", [(-30.0, -3.0), (-3.0, -30.0), (20.0, -20.0), (-20.0, 20.0)])
def test_extreme_widths_stay_finite_in_float32(widths):
    width, mixing = pseudo_voigt.shape(jnp.float32(widths[0]), jnp.float32(widths[1]))
    assert np.isfinite(width)
    assert width > 0
    assert -1e-5 < mixing < 1.00002
