"""Medians and inverses, against those of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from blase3d.runtime.arrays import median, medians, symmetric_inverse


@pytest.mark.parametrize("count", [1, 2, 3, 50, 2401])
def test_a_median_is_that_of_numpy(count):
    values = np.random.default_rng(count).normal(size=count)
    assert median(values) == np.median(values)
    assert median(np.sort(values)) == np.median(values)
    rows = np.stack([values, -(values**2)])
    np.testing.assert_array_equal(medians(rows), np.median(rows, axis=1))


@pytest.mark.parametrize("shape", [(0,), (1,), (6,), (3, 4)])
@pytest.mark.parametrize("rcond", [1e-15, 1e-6])
def test_an_inverse_is_the_pseudoinverse(shape, rcond):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(*shape, shape[-1]))
    rows[..., 1:2] = rows[..., :1]  # singular
    matrices = rows @ np.swapaxes(rows, -1, -2)
    expected = np.linalg.pinv(matrices, rcond=rcond, hermitian=True)
    np.testing.assert_allclose(symmetric_inverse(matrices, rcond), expected, rtol=1e-6, atol=1e-6)
