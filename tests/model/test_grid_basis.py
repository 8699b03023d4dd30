"""Functions over the grid: smooth ones first, then those of the library's own spectra."""

from __future__ import annotations

import numpy as np
import pytest

from blase3d.model.grid_basis import (
    DATA_STEP,
    data_basis,
    functions_with_residual,
    grid_basis,
)
from blase3d.model.line_grid import LineGrid
from blase3d.recipe import DEFAULT, SINGLE, SingleFit

AXES = {
    "teff": np.linspace(4000.0, 7000.0, 7),
    "logg": np.linspace(3.0, 5.0, 5),
    "feh": np.array([-0.5, 0.0, 0.5]),
}
RECIPE = DEFAULT.replace(smooth_functions=12)
SMOOTH = grid_basis(AXES, RECIPE)
RNG = np.random.default_rng(5)
FOLLOWING = SMOOTH @ RNG.normal(size=(12, 400))
"""Values of 400 pixels that follow the smooth functions."""
CORNER = np.zeros(105)
CORNER[[2, 5, 8]] = 1.0, 0.5, 0.1
"""A feature of the cool, metal-rich corner alone."""


def along(function, value):
    """Correlation of a function (N,) with another."""
    return abs(function @ value) / np.linalg.norm(function) / np.linalg.norm(value)


def beyond_smooth(values):
    """Remainder of values at the nodes after a fit of the smooth functions."""
    return values - SMOOTH @ np.linalg.lstsq(SMOOTH, values, rcond=None)[0]


def test_the_common_variation_of_the_spectra_is_found():
    strengths = FOLLOWING + np.outer(CORNER, RNG.normal(size=400))
    own = data_basis(SMOOTH, strengths, 30)
    assert own.shape == (105, 1)
    assert along(own[:, 0], beyond_smooth(CORNER)) > 1 - 1e-4


def test_components_are_in_order_of_strength():
    two = np.stack([CORNER, RNG.normal(size=105)])
    weights = RNG.normal(size=(2, 400)) * [[0.1], [1.0]]
    own = data_basis(SMOOTH, FOLLOWING + two.T @ weights, 30)
    rms = np.sqrt(np.mean(own**2, axis=0))
    assert own.shape == (105, 2)
    assert rms[0] > rms[1] >= 0.02 - DATA_STEP
    assert along(own[:, 0], beyond_smooth(two[1])) > 0.99
    np.testing.assert_array_equal(data_basis(SMOOTH, FOLLOWING + two.T @ weights, 1), own[:, :1])


@pytest.mark.parametrize("pixels", [20, 400])
def test_components_are_those_of_a_singular_value_decomposition(pixels):
    """With fewer pixels than nodes, and with more."""
    strengths = RNG.normal(size=(105, 8)) @ RNG.normal(size=(8, pixels))
    own = data_basis(SMOOTH, strengths, 5)
    rest = beyond_smooth(strengths - strengths.mean(axis=0))
    vectors = np.linalg.svd(rest, full_matrices=False)[0][:, :5]
    assert own.shape == (105, 5)
    for found, vector in zip(own.T, vectors.T, strict=True):
        assert along(found, vector) > 1 - 1e-5


def test_equal_spectra_have_no_components():
    assert data_basis(SMOOTH, np.ones((105, 40)), 5).shape == (105, 0)
    assert data_basis(np.ones((1, 1)), np.ones((1, 40)), 5).shape == (1, 0)


def test_components_are_orthogonal_to_the_smooth_functions_and_whole_steps():
    own = data_basis(SMOOTH, FOLLOWING + RNG.normal(size=(105, 400)), 30)
    assert own.shape == (105, 30)
    assert np.abs(SMOOTH.T @ own).max() < 105 * DATA_STEP
    np.testing.assert_allclose(own / DATA_STEP, np.round(own / DATA_STEP), atol=1e-9)


@pytest.mark.parametrize("order", ["C", "F"])
def test_rounding_errors_have_no_effect(order):
    strengths = FOLLOWING + RNG.normal(size=(105, 400))
    noise = 1e-13 * RNG.normal(size=strengths.shape)
    found = data_basis(SMOOTH, np.asarray(strengths + noise, order=order), 5)
    np.testing.assert_allclose(found, data_basis(SMOOTH, strengths, 5), atol=1e-9)


@pytest.mark.parametrize("strengths", [FOLLOWING, np.ones((105, 400)), FOLLOWING[:, :1]])
def test_no_components_where_smooth_functions_describe_everything(strengths):
    assert data_basis(SMOOTH, strengths, 30).shape == (105, 0)


def test_few_nodes():
    """There cannot be more functions than nodes."""
    axes = {"teff": np.array([5000.0, 6000.0]), "logg": np.array([4.0, 4.5])}
    smooth = grid_basis(axes, DEFAULT)
    assert smooth.shape == (4, 4)
    assert data_basis(smooth, RNG.normal(size=(4, 50)), 30).shape == (4, 0)


def test_data_functions_come_last():
    own = np.full((105, 2), 0.5)
    np.testing.assert_array_equal(grid_basis(AXES, RECIPE, own)[:, :12], SMOOTH)
    np.testing.assert_array_equal(grid_basis(AXES, RECIPE, own)[:, 12:], own)
    np.testing.assert_array_equal(grid_basis(AXES, SINGLE), np.eye(105))


@pytest.mark.parametrize(
    ("changes", "every", "own", "widths", "count"),
    [
        ({}, 60, 30, 30, 30),
        ({"functions_with_residual": 0}, 60, 30, 30, 60),
        ({"functions_with_residual": 40}, 60, 30, 30, 30),  # never those of the library
        ({"functions_with_residual": 20}, 60, 30, 25, 25),  # widths follow so many
        ({}, 10, 4, 6, 6),  # a small grid
        ({"fit": SingleFit()}, 60, 0, 60, 60),
    ],
)
def test_the_residual_is_added_to_smooth_functions(changes, every, own, widths, count):
    parts = np.zeros(1), np.zeros((1, 4)), np.zeros((every, 1)), np.zeros((widths, 1, 3))
    assert functions_with_residual(LineGrid(*parts), DEFAULT.replace(**changes), own) == count
