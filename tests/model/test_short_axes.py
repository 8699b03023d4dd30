"""Cross derivatives: found where they hold, exact at nodes, better between them."""

from __future__ import annotations

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blase3d.libraries.toy import toy_grid
from blase3d.model.evaluate import flux_of_opacity_root, opacity_root
from blase3d.model.interpolation import Interpolation, make_interpolation
from blase3d.model.short_axes import fit_cross_derivatives

AXES = {
    "x": np.linspace(0.0, 6.0, 7),
    "y": np.array([1.0, 2.0, 3.0]),
    "z": np.array([-0.5, 0.5]),
}
BOX = np.array(list(product(*AXES.values())))
ALONG = np.array([0.15, 0.4, 0.7])
"""Change with the labels of the one quantity that determines everything."""
PIXELS = np.linspace(0.5, 1.5, 40)


def followed(points: np.ndarray, degree: int = 3) -> np.ndarray:
    """Values (N, P) that follow the one quantity, each pixel in its own way."""
    amount = 0.1 * (points @ ALONG)[:, None] * PIXELS
    return 0.3 + sum((1.0 + PIXELS) * amount**k for k in range(1, degree + 1))


def box_of(values: np.ndarray, axes=AXES) -> np.ndarray:
    return values.reshape(*(len(axis) for axis in axes.values()), -1)


def inner_points(count: int = 20, axes=AXES) -> np.ndarray:
    rng = np.random.default_rng(8)
    low, high = (np.array([axis[end] for axis in axes.values()]) for end in (0, -1))
    return low + (high - low) * rng.uniform(0.02, 0.98, (count, len(axes)))


def interpolated(
    interpolation: Interpolation, values: np.ndarray, points: np.ndarray
) -> np.ndarray:
    weights = jax.vmap(interpolation.weights)(jnp.asarray(points))
    return np.asarray(weights, np.float64) @ values


def test_labels_of_two_to_four_values_have_cross_derivatives():
    rates = fit_cross_derivatives(AXES, box_of(followed(BOX)))
    assert {name: of.shape for name, of in rates.items()} == {"y": (7, 2, 2), "z": (7, 3, 2)}


@pytest.mark.parametrize("axes", [{"x": AXES["y"]}, {"x": AXES["y"], "y": np.array([1.0])}])
def test_a_single_label_has_no_cross_derivatives(axes):
    points = np.array(list(product(*axes.values())))
    strengths = 0.3 + points.sum(axis=1)[:, None] * PIXELS
    assert fit_cross_derivatives(axes, box_of(strengths, axes)) == {}


@pytest.mark.long
@pytest.mark.usefixtures("double")
def test_the_next_degree_is_exact_where_one_quantity_determines_everything():
    """A cubic along three nodes, which by themselves determine a parabola."""
    axes = {"x": AXES["x"], "y": AXES["y"]}
    points = np.array(list(product(*axes.values())))
    at = np.insert(inner_points(axes=axes), 2, 0.0, axis=1)
    values = followed(np.insert(points, 2, 0.0, axis=1))
    found = fit_cross_derivatives(axes, box_of(values, axes))["y"]
    # one rate, in units of the spans: y changes the quantity 0.4 / 0.15 times as fast as x
    np.testing.assert_allclose(found, 0.4 / 0.15 * 2.0 / 6.0, rtol=1e-4)
    error = {
        name: interpolated(make_interpolation(axes, "cubic", rates), values, at[:, :2])
        - followed(at)
        for name, rates in (("without", None), ("with", {"y": found}))
    }
    assert np.abs(error["with"]).max() < 1e-7 < 1e-4 < np.abs(error["without"]).max()


@pytest.mark.long
@pytest.mark.usefixtures("double")
def test_nodes_stay_exact_and_constants_constant():
    rng = np.random.default_rng(2)
    rates = {"y": rng.normal(size=(7, 2, 2)), "z": rng.normal(size=(7, 3, 2))}
    interpolation = make_interpolation(AXES, "spline", rates)
    eye = np.eye(len(BOX))
    np.testing.assert_allclose(interpolated(interpolation, eye, BOX), eye, atol=1e-9)
    np.testing.assert_allclose(interpolated(interpolation, np.ones(len(BOX)), inner_points()), 1.0)


@pytest.mark.usefixtures("double")
def test_gradients_are_those_of_the_values_and_continuous_across_cells():
    rng = np.random.default_rng(2)
    rates = {"y": rng.normal(size=(7, 2, 2)), "z": rng.normal(size=(7, 3, 2))}
    interpolation, values = make_interpolation(AXES, "spline", rates), rng.normal(size=len(BOX))
    value = jax.jit(lambda labels: interpolation.weights(labels) @ values)
    slope = jax.jit(jax.grad(value))
    for point in inner_points(5):
        for k, step in enumerate(1e-5 * np.eye(3)):
            expected = float(value(point + step) - value(point - step)) / 2e-5
            assert float(slope(point)[k]) == pytest.approx(expected, rel=1e-5, abs=1e-7)
    for node in ([3.0, 1.7, 0.1], [2.5, 2.0, 0.1], [3.0, 2.0, -0.5]):
        either = [slope(np.add(node, sign * 1e-9)) for sign in (-1.0, 1.0)]
        np.testing.assert_allclose(either[0], either[1], atol=1e-6)


def test_labels_without_relation_contribute_nothing():
    """A label whose effect differs at each pixel from that of the others."""
    rng = np.random.default_rng(6)
    own = rng.normal(0.0, 0.02, PIXELS.size) * np.sin(2.0 * BOX[:, 1])[:, None]
    told = fit_cross_derivatives(AXES, box_of(followed(BOX)))["y"]
    untold = fit_cross_derivatives(AXES, box_of(0.3 + own))["y"]
    assert np.abs(untold).max() < 1e-6 < 1e-2 < np.abs(told).max()


TOY = {
    "teff": np.linspace(5000.0, 6500.0, 7),
    "logg": np.array([4.0, 4.25, 4.5]),
    "feh": np.array([-0.5, 0.0, 0.5]),
}


def normalised(grid):
    return np.array([grid[i].flux / grid[i].continuum for i in range(len(grid))])


@pytest.mark.long
def test_spectra_between_the_nodes_are_better():
    """In the toy universe, whose lines differ in their dependence on the labels, amid the cells."""
    grid = toy_grid(TOY).cut(8490.0, 8510.0)
    strengths = np.asarray(opacity_root(jnp.asarray(normalised(grid))))
    rates = fit_cross_derivatives(TOY, box_of(strengths, TOY))
    assert set(rates) == {"logg", "feh"}
    between = toy_grid({name: 0.5 * (axis[1:] + axis[:-1]) for name, axis in TOY.items()})
    truth, errors = normalised(between.cut(8490.0, 8510.0)), []
    for given in (None, rates):
        found = interpolated(make_interpolation(TOY, "spline", given), strengths, between.labels)
        flux = flux_of_opacity_root(jnp.asarray(found))
        errors.append(np.sqrt(np.mean((np.asarray(flux) - truth) ** 2)))
    assert errors[1] < 0.7 * errors[0]
