"""Interpolation: exact at nodes and for polynomials, smooth, and tested on a real library."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import jax
import numpy as np
import pytest

from blase3d.model.grid_basis import smooth_basis
from blase3d.model.interpolation import (
    Interpolation,
    coordinates,
    make_interpolation,
)
from blase3d.runtime.precision import in_float32

KINDS = ["linear", "cubic", "spline"]
"""Kinds that go through the nodes."""
UNEQUAL = (3000.0, 3100.0, 3400.0, 4000.0, 4100.0, 5200.0)
AXES = [UNEQUAL, (4.0, 4.5, 5.5), (-0.5, 0.0)]
"""Not called teff, so that splines are in the labels themselves."""
BOX = np.array(list(product(*AXES)))
ROOT = Path(__file__).parents[2]
SURFACE = ROOT / "../shared/data/original/line-8185.51-feh0-657-nodes.csv"


def interpolation_of(axes, kind):
    """Interpolation on axes without particular names."""
    return make_interpolation({f"x{k}": np.array(axis) for k, axis in enumerate(axes)}, kind)


def inner_points(axes, count=30):
    """Points strictly inside a box."""
    rng = np.random.default_rng(5)
    lower, upper = np.array([a[0] for a in axes]), np.array([a[-1] for a in axes])
    return lower + (upper - lower) * rng.uniform(0.01, 0.99, (count, len(axes)))


_weights = jax.jit(jax.vmap(Interpolation.weights, in_axes=(None, 0)))
_slopes = jax.jit(
    jax.grad(lambda labels, interpolation, values: interpolation.weights(labels) @ values)
)


def interpolate(interpolation, values, points):
    """Values (N,) at the nodes, interpolated at points (M, L)."""
    weights = _weights(interpolation, np.asarray(points))
    return np.asarray(weights, np.float64) @ values


@pytest.mark.parametrize("kind", KINDS)
@in_float32
def test_exact_at_every_node(kind):
    weights = _weights(interpolation_of(AXES, kind), BOX)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, np.eye(len(BOX)), atol=1e-5)  # 6e-6 by JAX 0.12


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("kind", KINDS)
def test_exact_at_every_node_in_float64(kind):
    weights = _weights(interpolation_of(AXES, kind), BOX)
    np.testing.assert_allclose(weights, np.eye(len(BOX)), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_sum_to_one(kind):
    interpolation = interpolation_of(AXES, kind)
    total = interpolate(interpolation, np.ones(len(BOX)), inner_points(AXES))
    np.testing.assert_allclose(total, 1.0, atol=1e-5)


def polynomial(points, degrees):
    """A product of polynomials of these degrees in labels scaled to the box."""
    unit = (np.asarray(points) - BOX[0]) / (BOX[-1] - BOX[0])
    value = 1.0
    for x, degree in zip(unit.T, degrees, strict=True):
        value = value * sum((k + 1) * (x - 0.3) ** k for k in range(degree + 1))
    return value


@pytest.mark.parametrize(
    ("kind", "degrees", "exact"),
    [
        ("linear", (1, 1, 1), True),
        ("linear", (2, 1, 1), False),
        ("cubic", (3, 2, 1), True),  # as high as 6, 3 and 2 values allow
        ("cubic", (4, 2, 1), False),
        ("cubic", (3, 3, 1), False),
        ("cubic", (3, 2, 2), False),
        ("spline", (2, 2, 1), True),  # beyond, its ends are natural
        ("spline", (3, 2, 1), False),
        ("spline", (2, 2, 2), False),
        ("ridge", (1, 1, 1), True),
        ("ridge", (2, 1, 1), False),
    ],
)
def test_polynomials_of_its_degree_are_reproduced(kind, degrees, exact):
    interpolation = interpolation_of(AXES, kind)
    points = inner_points(AXES)
    got = interpolate(interpolation, polynomial(BOX, degrees), points)
    error = np.abs(got - polynomial(points, degrees)).max()
    assert (error < 2e-4) == exact  # float32, values up to 30


@pytest.mark.usefixtures("double")
def test_in_float64_to_the_last_digits():
    points = inner_points(AXES)
    for kind, degrees in (("cubic", (3, 2, 1)), ("spline", (2, 2, 1)), ("ridge", (1, 1, 1))):
        got = interpolate(interpolation_of(AXES, kind), polynomial(BOX, degrees), points)
        np.testing.assert_allclose(got, polynomial(points, degrees), rtol=1e-10)


@pytest.mark.usefixtures("double")
def test_no_function_through_the_values_bends_less_than_the_spline():
    """∫ f‴² of the natural quintic is below that of the cubic's and of a polynomial's."""
    x, fine = np.array(UNEQUAL), np.linspace(UNEQUAL[0], UNEQUAL[-1], 20_001)
    values = np.sin(np.arange(x.size) * 1.7)
    curves = {
        kind: interpolate(interpolation_of([UNEQUAL], kind), values, fine[:, None])
        for kind in ("cubic", "spline")
    }
    curves["polynomial"] = np.polyval(np.polyfit(x - x[0], values, x.size - 1), fine - x[0])
    bend = {kind: np.sum(np.diff(curve, 3) ** 2) for kind, curve in curves.items()}
    assert bend["spline"] < 0.9 * min(bend["cubic"], bend["polynomial"])


@pytest.mark.usefixtures("double")
def test_a_ridge_averages_noise_that_a_spline_goes_through():
    axis = np.linspace(0.0, 3.0, 13)
    points = np.linspace(0.1, 2.9, 50)[:, None]
    noise = np.random.default_rng(3).normal(0.0, 0.1, (axis.size, 200))
    error = {}
    for kind in ("ridge", "spline"):
        got = interpolate(interpolation_of([axis], kind), np.sin(axis)[:, None] + noise, points)
        error[kind] = np.sqrt(np.mean((got - np.sin(points)) ** 2))
    assert error["ridge"] < 0.75 * error["spline"]


@pytest.mark.parametrize(
    ("kind", "smooth"), [("spline", True), ("cubic", True), ("ridge", True), ("linear", False)]
)
@pytest.mark.usefixtures("double")
def test_the_gradient_across_a_cell_edge(kind, smooth):
    """Continuous for a spline; for linear interpolation it jumps, which pulls fits to the edges."""
    interpolation = interpolation_of([UNEQUAL], kind)
    values = np.sin(np.arange(len(UNEQUAL)) * 1.7)

    def slope(teff):
        return _slopes(np.array([teff]), interpolation, values)[0]

    jumps = [abs(slope(edge + 1e-6) - slope(edge - 1e-6)) for edge in UNEQUAL[1:-1]]
    scale = np.abs(np.diff(values) / np.diff(UNEQUAL)).max()
    assert (max(jumps) < 1e-4 * scale) == smooth


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("double")
def test_gradient_against_finite_differences(kind):
    interpolation = interpolation_of(AXES, kind)
    values = np.cos(BOX @ [0.002, 1.3, 2.1])
    for point in inner_points(AXES, 5):
        exact = _slopes(point, interpolation, values)
        for k, step in enumerate((1e-3, 1e-6, 1e-6)):
            h = step * np.eye(3)[k]
            either = interpolate(interpolation, values, [point + h, point - h])
            assert exact[k] == pytest.approx((either[0] - either[1]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_that_does_not_vary(kind):
    interpolation = interpolation_of([(4000.0, 5000.0), (4.5,), (0.0, 0.5)], kind)
    weights = interpolation.weights(np.array([4250.0, 4.5, 0.0]))
    np.testing.assert_allclose(weights, [0.75, 0.0, 0.25, 0.0], atol=1e-6)


@pytest.mark.parametrize("axis", [(1.0, 2.0), (1.0, 1.5, 3.0), (1.0, 1.5, 3.0, 3.1)])
def test_short_axes_get_the_degree_that_they_determine(axis):
    interpolation = interpolation_of([axis], "cubic")
    degree = len(axis) - 1
    points = np.linspace(axis[0], axis[-1], 17)[:, None]
    got = interpolate(interpolation, (np.array(axis) - 1.2) ** degree, points)
    np.testing.assert_allclose(got, (points[:, 0] - 1.2) ** degree, atol=2e-5)


@pytest.mark.usefixtures("double")
def test_teff_enters_a_spline_by_its_logarithm():
    axes = {"teff": np.array(UNEQUAL), "feh": np.array([-0.5, 0.0])}
    np.testing.assert_array_equal(coordinates(axes)[0], np.log(UNEQUAL))
    nodes = np.array(list(product(*axes.values())))
    points = inner_points(list(axes.values()))
    errors = {}
    for kind in KINDS:
        interpolation = make_interpolation(axes, kind)
        got = interpolate(interpolation, np.log(nodes[:, 0]) ** 2 + nodes[:, 1], points)
        errors[kind] = np.abs(got - np.log(points[:, 0]) ** 2 - points[:, 1]).max()
    assert max(errors["spline"], errors["cubic"]) < 1e-9
    assert errors["linear"] > 1e-3


# Smooth functions on a grid

BOXES = [
    [np.arange(8.0), np.arange(5.0)],
    [np.array(UNEQUAL), np.array([4.0, 4.5, 5.5]), np.array([-0.5, 0.0])],
    [np.arange(4.0), np.arange(3.0), np.arange(3.0), np.array([0.0, 0.4])],
    [np.array([5000.0])],
    [np.array([5000.0, 6000.0])],
    [np.array([5000.0, 6000.0]), np.array([4.5])],
]


@pytest.mark.parametrize("axes", BOXES)
def test_the_first_function_is_constant_and_all_are_orthogonal(axes):
    modes = smooth_basis(axes, 1000)
    box = int(np.prod([len(axis) for axis in axes]))
    assert len(modes) == box
    np.testing.assert_allclose(modes[:, 0], 1.0, rtol=1e-9)
    products = modes.T @ modes / box
    np.testing.assert_allclose(products - np.diag(np.diag(products)), 0.0, atol=1e-9)
    assert (np.diff(np.diag(products)) < 1e-9).all()  # the rougher, the smaller
    assert np.diag(products).min() > 0


@pytest.mark.parametrize("axes", BOXES)
def test_the_last_function_along_an_axis_is_left_out(axes):
    modes = smooth_basis(axes, 1000)
    left = [n - 1 if n > 2 else n for n in map(len, axes)]
    assert modes.shape[1] == np.prod(left)
    for k, axis in enumerate(axes):
        if len(axis) < 3:
            continue
        table = np.moveaxis(modes.reshape(*map(len, axes), -1), k, 0)
        for mode in np.moveaxis(table, -1, 0):
            turns = mode[1:] * mode[:-1] < -1e-9
            assert turns.sum(axis=0).max() < len(axis) - 1  # none alternates at every node


def test_fewer_functions_are_the_first_of_more():
    for axes in BOXES:
        np.testing.assert_array_equal(smooth_basis(axes, 4), smooth_basis(axes, 1000)[:, :4])


def test_few_functions_describe_smooth_variation():
    axes = BOXES[0]
    nodes = np.array(list(product(*axes)))
    smooth = np.sin(nodes[:, 0] / 3) * (1 + 0.1 * nodes[:, 1])
    noise = np.random.default_rng(2).normal(size=len(nodes))
    modes = smooth_basis(axes, 15)
    left = [
        np.std(values - modes @ np.linalg.lstsq(modes, values, rcond=None)[0]) / np.std(values)
        for values in (smooth, noise)
    ]
    assert left[0] < 0.03
    assert left[1] > 0.5


@pytest.mark.skipif(not SURFACE.exists(), reason="there is no ../shared/data")
@pytest.mark.long
def test_a_real_surface_every_second_teff_held_out():
    """Strength of one line (8185.51 Å) at 73 Teff x 9 log g.

    The table turns out to be a polynomial (of total degree 8, to the last digit): it has none of
    the scatter of fitted lines. So it shows that the spline converges on a smooth surface with
    the unequal steps of PHOENIX (100 K, then 200 K), and how much better than a linear one; it
    says nothing about how smooth the parameters of lines are.
    """
    table = np.genfromtxt(SURFACE, delimiter=",", names=True)
    teff, logg = np.unique(table["teff"]), np.unique(table["logg"])
    values = np.full((len(teff), len(logg)), np.nan)
    values[np.searchsorted(teff, table["teff"]), np.searchsorted(logg, table["logg"])] = table[
        "amp"
    ]
    assert values.shape == (73, 9)
    assert np.isfinite(values).all()
    points = np.array(list(product(teff[1::2], logg)))
    errors = {}
    for kind in KINDS:
        interpolation = interpolation_of([teff[::2], logg], kind)
        got = interpolate(interpolation, values[::2].ravel(), points)
        errors[kind] = np.abs(got - values[1::2].ravel())
    x, y = (table["teff"] - 7000) / 5000, (table["logg"] - 4) / 2
    powers = np.stack([x**i * y**j for i in range(9) for j in range(9 - i)], axis=1)
    fit = powers @ np.linalg.lstsq(powers, table["amp"], rcond=None)[0]
    assert np.abs(fit - table["amp"]).max() < 1e-9
    assert 1e-4 < np.median(errors["linear"]) < 1e-2
    assert errors["cubic"].max() < 1e-4
    assert np.median(errors["spline"]) < 1e-4
    assert errors["spline"].max() < 2e-3  # at the ends, which are natural and this surface is not
    assert np.median(errors["spline"]) < 0.01 * np.median(errors["linear"])


GRAVITIES = np.array([3.0, 3.5, 4.0, 4.5, 5.0])


def microturbulence(logg):
    """A relation that changes between log g 2.5 and 3.5, and a parabola."""
    x = np.clip(np.asarray(logg) - 2.5, 0.0, 1.0)
    return 0.9 * x**2 * (3.0 - 2.0 * x) - 0.1 * logg + 0.02 * logg**2


@pytest.mark.parametrize("lowered", [None, "logg"])
def test_a_transition_is_separated_from_the_spline(lowered):
    axes = {"teff": np.array([5000.0, 5250.0]), "logg": GRAVITIES}
    found = make_interpolation(axes, "spline", None, lowered, {"logg": (2.5, 3.5)})
    box = np.array(list(product(*axes.values())))
    points = np.column_stack([np.full(25, 5100.0), np.linspace(3.0, 5.0, 25)])
    values = microturbulence(box[:, 1])
    given = interpolate(found, values, points)
    np.testing.assert_allclose(given, microturbulence(points[:, 1]), atol=2e-6)
    np.testing.assert_allclose(interpolate(found, values, box), values, atol=2e-6)
    without = interpolate(make_interpolation(axes, "spline"), values, points)
    assert np.abs(without - microturbulence(points[:, 1])).max() > 0.02


def test_a_transition_inside_the_axis_changes_pieces_at_its_ends():
    axes = {"logg": np.arange(0.0, 5.1, 0.5)}
    found = make_interpolation(axes, "spline", transitions={"logg": (2.7, 3.2)})
    np.testing.assert_allclose(found.axes[0].knots * 5.0, sorted([*axes["logg"], 2.7, 3.2]))
    points = np.linspace(0.0, 5.0, 41)[:, None]
    x = np.clip((axes["logg"] - 2.7) / 0.5, 0.0, 1.0)
    given = interpolate(found, x**2 * (3.0 - 2.0 * x), points)
    t = np.clip((points[:, 0] - 2.7) / 0.5, 0.0, 1.0)
    np.testing.assert_allclose(given, t**2 * (3.0 - 2.0 * t), atol=2e-5)


@pytest.mark.parametrize("ends", [(1.0, 2.0), (5.0, 6.0)])
def test_a_transition_outside_of_the_axis_changes_nothing(ends):
    axes = {"logg": GRAVITIES}
    found = make_interpolation(axes, "spline", transitions={"logg": ends})
    plain = make_interpolation(axes, "spline")
    np.testing.assert_array_equal(found.axes[0].pieces, plain.axes[0].pieces)
