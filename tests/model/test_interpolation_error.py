"""Expected error of a model between its nodes."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import make_interp_spline
from toy_models import model_of

from blase3d.libraries.toy import toy_grid
from blase3d.model import interpolation_error
from blase3d.model.evaluate import evaluate, flux_of_opacity_root, opacity_root
from blase3d.model.interpolation import coordinates, make_interpolation
from blase3d.model.interpolation_error import error_draws, error_shares, make_error_modes
from blase3d.model.residual import Components
from blase3d.model.short_axes import fit_cross_derivatives

pytestmark = pytest.mark.long

AXES = {
    "teff": np.linspace(4800.0, 6800.0, 5),
    "logg": np.array([4.0, 4.5, 5.0]),
    "feh": np.array([-0.5, 0.0]),
}


@pytest.fixture(scope="module")
def grid():
    return toy_grid(AXES)


@pytest.fixture(scope="module")
def model(grid):
    return model_of(grid)


def normalised(grid):
    spectra = [grid[i] for i in range(len(grid))]
    return np.array([spectrum.flux / spectrum.continuum for spectrum in spectra])


def opacity_roots(grid):
    flux = jnp.asarray(normalised(grid), jnp.float32)
    return np.asarray(opacity_root(flux)).reshape(*(len(axis) for axis in grid.axes.values()), -1)


def shares_of(model, grid):
    return error_shares(model, opacity_roots(grid))


def test_cross_derivatives_of_few_nodes_count_twice(grid):
    model = model_of(grid, rates=fit_cross_derivatives(grid.axes, opacity_roots(grid)))
    shares = shares_of(model, grid)
    assert set(shares) == set(AXES)
    assert shares["logg"] == shares["feh"] == 2.0


def test_two_nodes_without_cross_derivatives_have_no_share(model, grid):
    assert set(shares_of(model, grid)) == {"teff", "logg"}


def test_more_have_the_share_of_nodes_left_out(model, grid):
    """Against curves through four of the five: the spline of an axis of five, and the cubic."""
    x, value = coordinates(AXES)[0], opacity_roots(grid).astype(np.float64)

    def without(i, degree):
        others = np.delete(np.arange(5), i)
        flat = [(k, np.zeros(value.shape[1:])) for k in (3, 4)]
        ends = (flat, flat) if degree == 5 else None
        curve = make_interp_spline(x[others], value[others], k=degree, bc_type=ends)
        return np.asarray(flux_of_opacity_root(jnp.asarray(curve(x[i]))))

    error = step = 0.0
    for i in (1, 2, 3):
        best, lowered = (without(i, degree) for degree in (5, 3))
        error += np.sum((best - np.asarray(flux_of_opacity_root(jnp.asarray(value[i])))) ** 2)
        step += np.sum((best - lowered) ** 2)
    assert shares_of(model, grid)["teff"] == pytest.approx(np.sqrt(error / step), rel=0.02)


def test_a_single_label_has_no_cross_derivatives_and_the_full_difference_counts():
    one = {"teff": AXES["teff"][:3], "logg": AXES["logg"][:1], "feh": AXES["feh"][:1]}
    grid = toy_grid(one)
    assert shares_of(model_of(grid), grid) == {"teff": 1.0}
    two = toy_grid({**one, "teff": AXES["teff"][:2]})
    assert shares_of(model_of(two), two) == {}


def test_cross_derivatives_count_by_their_share(grid):
    """Of the difference of models with and without them."""
    rates = fit_cross_derivatives(grid.axes, opacity_roots(grid))["feh"]
    model = model_of(grid, rates={"feh": rates})
    whole, half = (make_error_modes(error_draws(model, {"feh": share})) for share in (1.0, 0.5))
    at = jnp.asarray([5050.0, 4.25, -0.25])
    one, other = (np.asarray(evaluate(m.forward, at)) for m in (model, model_of(grid)))
    np.testing.assert_allclose(4.0 * (half**2).sum(axis=0), (whole**2).sum(axis=0), rtol=1e-3)
    assert 0.2 < np.sqrt(np.mean((one - other) ** 2) / np.mean((whole**2).sum(axis=0))) < 5.0


def test_modes_have_the_variance_of_the_differences(model):
    """Of the two splines, in the middle of the cells, times the shares."""
    whole = make_error_modes(error_draws(model, {"teff": 1.0}))
    half = make_error_modes(error_draws(model, {"teff": 0.5}))
    assert whole.shape[1] == model.wavelength.size
    np.testing.assert_allclose((half**2).sum(axis=0), 0.25 * (whole**2).sum(axis=0), rtol=1e-3)
    assert make_error_modes(error_draws(model, {})).shape == (0, model.wavelength.size)


def test_draws_of_amplitudes_in_blocks_are_those_of_the_whole_model(grid, monkeypatch):
    """Flux by splines less flux by the next best ones, with the residual of all nodes."""
    rest = 1e-2 * np.sin(np.arange(grid.wavelength.size) * np.arange(1, 31)[:, None] / 50)
    model = model_of(grid, rest=rest)
    monkeypatch.setattr(interpolation_error, "_COMPONENTS", 7)
    bare = replace(model, residual=None)
    draws = error_draws(bare, {"teff": 0.5}, Components.of(model.residual))
    lowered = make_interpolation(grid.axes, "spline", {}, "teff")
    best, other = model.forward, replace(model.forward, interpolation=lowered)
    cells = interpolation_error._middles(model)
    for labels, draw in zip(jnp.asarray(cells, jnp.float32), draws, strict=True):
        difference = evaluate(best, labels) - evaluate(other, labels)
        expected = 0.5 * np.asarray(difference) / np.sqrt(len(cells))
        np.testing.assert_allclose(draw, expected, atol=2e-7)
    assert np.ptp(draws) > 1e-4


def test_expected_errors_are_about_as_large_as_true_ones(model, grid):
    """In the middle of the cells along Teff, where all else is at a node."""
    expected = make_error_modes(error_draws(model, {"teff": shares_of(model, grid)["teff"]}))
    middles = {**AXES, "teff": 0.5 * (AXES["teff"][1:] + AXES["teff"][:-1])}
    between = toy_grid(middles)
    found = [
        np.asarray(evaluate(model.forward, jnp.asarray(list(labels.values()), jnp.float32)))
        for labels in map(between.labels_of, range(len(between)))
    ]
    true = np.sqrt(np.mean((np.array(found) - normalised(between)) ** 2))
    stated = np.sqrt(np.mean((expected**2).sum(axis=0)))
    assert 0.5 * true < stated < 4.0 * true
