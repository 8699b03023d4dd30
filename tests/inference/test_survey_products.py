"""Products of residuals of many stars, against the likelihood of one."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from blase3d.inference.likelihood.data import Data
from blase3d.inference.likelihood.error_budget import ErrorArrays
from blase3d.inference.likelihood.likelihood import fitted_arrays, segment_products
from blase3d.inference.noise.noise import Independent
from blase3d.inference.survey.products import (
    Polynomials,
    Stars,
    continua,
    products_of,
    scores_of,
)
from blase3d.spectra.continuum import chebyshev_basis

STARS, PIXELS, FREE, MODES = 2, 512, 3, 2


def example(degree, modes):
    """Polynomials, predictions, slopes and data of some stars, with masked pixels."""
    rng = np.random.default_rng(3)
    x = np.linspace(5000.0, 5100.0, PIXELS)
    depth = np.abs(np.sin(x[None] * rng.uniform(0.5, 2.0, (STARS, 1))))
    flux, slopes = 1.0 - 0.5 * depth, rng.normal(size=(STARS, FREE, PIXELS))
    weight = rng.uniform(50.0, 100.0, (STARS, PIXELS))
    weight[:, 100:120] = 0.0
    observed = flux * (1.0 + 1e-3 * (x - 5050.0)) + rng.normal(0.0, 0.02, flux.shape)
    rows = 2.0 * rng.normal(size=(STARS, modes, PIXELS))
    gram = rows @ np.swapaxes(rows, 1, 2)
    basis = [
        chebyshev_basis(x, n).T if n >= 0 else np.zeros((0, PIXELS)) for n in (degree, 2 * degree)
    ]
    given = [*basis, flux, slopes, observed, weight, rows, gram]
    first, twice, flux, slopes, *data = (jnp.asarray(one, jnp.float32) for one in given)
    return Polynomials(first, twice), flux, slopes, Stars(*data)


def alone(polynomials, stars, k):
    """The data of one star for the likelihood."""
    errors = ErrorArrays(Independent(stars.weight[k]), stars.modes[k], stars.gram[k])
    basis = polynomials.basis[None]
    return Data(None, None, None, stars.observed[k], basis, errors, None, None, None)


@pytest.mark.parametrize("degree", [-1, 0, 5])
@pytest.mark.parametrize("modes", [0, MODES])
def test_products_are_those_of_the_likelihood(degree, modes):
    polynomials, flux, slopes, stars = example(degree, modes)
    products = np.asarray(products_of(polynomials, flux, slopes, stars))
    scores = np.asarray(scores_of(polynomials, flux, slopes, stars))
    continuum, *_ = continua(polynomials, flux, stars)
    for k in range(STARS):
        data = alone(polynomials, stars, k)
        segments = np.asarray(segment_products(data, flux[k], slopes[k]), np.float64)
        expected = segments.sum(axis=0)
        size = np.sqrt(np.diag(expected))
        np.testing.assert_allclose(
            products[k] / np.outer(size, size), expected / np.outer(size, size), atol=1e-5
        )
        count = PIXELS // 64
        np.testing.assert_allclose(scores[k, :count], segments[:count, 1:, 0], atol=1e-3 * size[0])
        np.testing.assert_allclose(
            scores[k].sum(axis=0), expected[1:, 0], atol=1e-5 * size[0] * size[1:].max()
        )
        np.testing.assert_allclose(continuum[k], fitted_arrays(data, flux[k])[1], atol=1e-5)
