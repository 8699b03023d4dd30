"""The forward model: opacity root, residual, and continuity from cell to cell."""

from __future__ import annotations

import gc
import time
import tracemalloc
from dataclasses import replace
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_models import model_of, true_params

from blase3d.libraries.toy import toy_grid
from blase3d.model import residual
from blase3d.model.completion import fill_holes
from blase3d.model.evaluate import (
    PcaResidual,
    add_residual,
    evaluate,
    flux_of_opacity_root,
    joined_residual,
    opacity_root,
)
from blase3d.model.interpolation import coordinates
from blase3d.model.residual import make_residual
from blase3d.runtime import rows

FLUX = np.concatenate([np.geomspace(1e-4, 0.9, 50), 1.0 - np.geomspace(1e-7, 0.1, 30), [1.0]])


def test_opacity_root_and_flux_are_inverse():
    for flux in (FLUX, 1.0 / FLUX[30:]):  # emission too
        np.testing.assert_allclose(
            flux_of_opacity_root(opacity_root(jnp.asarray(flux))), flux, rtol=2e-5
        )


def test_opacity_root_rises_with_absorption_and_is_odd():
    value = np.asarray(opacity_root(jnp.asarray(np.sort(FLUX))))
    assert (np.diff(value) <= 0).all()
    assert float(opacity_root(jnp.float32(1.0))) == 0.0
    opacity = np.geomspace(1e-5, 0.5, 20)
    above, below = (np.asarray(opacity_root(jnp.asarray(1 / (1 + s * opacity)))) for s in (1, -1))
    np.testing.assert_allclose(above, -below, rtol=0.03, atol=3e-4)


@pytest.mark.usefixtures("double")
def test_slopes_are_finite_and_right_also_at_the_continuum():
    for flux in (1e-4, 0.3, 1.0 - 1e-4, 1.0, 1.0 + 1e-4, 1.5):
        exact = float(jax.grad(opacity_root)(flux))
        h = 1e-9
        either = [float(opacity_root(jnp.float64(flux + sign * h))) for sign in (1, -1)]
        assert np.isfinite(exact)
        assert exact == pytest.approx((either[0] - either[1]) / (2 * h), rel=2e-3)
        back = float(jax.grad(flux_of_opacity_root)(float(opacity_root(jnp.float64(flux)))))
        assert back * exact == pytest.approx(1.0, rel=1e-9)


def test_a_residual_of_zero_changes_nothing():
    rest = PcaResidual(jnp.zeros((3, 1)), jnp.zeros((1, FLUX.size)), jnp.ones(FLUX.size))
    world = model_of(toy_grid({"teff": (5500.0,), "logg": (4.5,), "feh": (0.0,)}), rest=None)
    emulator = replace(world.forward, residual=rest)
    changed = add_residual(emulator, jnp.asarray(FLUX, jnp.float32), jnp.ones(3) / 3)
    np.testing.assert_allclose(changed, FLUX, rtol=2e-5)


# The residual as few modes

AXES = {"teff": (5000.0, 5500.0, 6000.0, 6500.0), "logg": (4.0, 5.0), "feh": (-0.5, 0.5)}
GRID = toy_grid(AXES)
TRUTH = np.stack([spectrum.flux / spectrum.continuum for spectrum in GRID]).astype(np.float32)


def lines_beside_the_truth(seed=0):
    """The spectra with smooth errors of a few per mille, out to the line core."""
    x = np.linspace(0, 40, TRUTH.shape[1])
    t = GRID.labels[:, 0:1] / 1000 + GRID.labels[:, 2:3]
    noise = np.random.default_rng(seed).normal(0.0, 1e-5, TRUTH.shape)
    return (TRUTH * (1 - 0.003 * (1 + np.sin(x + t)) + noise)).astype(np.float32)


def at_nodes(rest, lines, complete_only=slice(None)):
    """The flux of lines and residual at the nodes of the box."""
    change = (np.asarray(rest.nodes) @ np.asarray(rest.pixels)) * np.asarray(rest.scale)
    return np.asarray(
        flux_of_opacity_root(opacity_root(jnp.asarray(lines)) + change[complete_only])
    )


@pytest.mark.parametrize("allowed", [3e-5, 1e-4, 1e-3])
def test_a_residual_reaches_the_allowed_error_at_the_nodes(allowed):
    lines = lines_beside_the_truth()
    rest = make_residual(lines, TRUTH, np.eye(len(GRID)), allowed)
    errors = np.sqrt(np.mean((at_nodes(rest, lines) - TRUTH) ** 2, axis=1, dtype=np.float64))
    assert errors.max() <= allowed
    pixels = np.asarray(rest.pixels)
    np.testing.assert_array_equal(pixels, np.round(pixels))


def test_a_residual_that_does_not_reach_the_allowed_error_says_so(monkeypatch, caplog):
    monkeypatch.setattr(residual, "residual_errors", lambda *_: np.array([1e-4, 2e-4]))
    make_residual(TRUTH[:2] * np.float32(0.999), TRUTH[:2], np.eye(2), 1e-4)
    assert "the error of the worst node is 2.0e-04, not 1.0e-04" in caplog.text


def test_a_residual_of_many_nodes_is_found_along_a_few_directions(monkeypatch):
    monkeypatch.setattr(residual, "_EXACT", 1)
    monkeypatch.setattr(residual, "_BLOCK", 4)
    lines = lines_beside_the_truth()
    rest = make_residual(lines, TRUTH, np.eye(len(GRID)), 1e-4)
    errors = np.sqrt(np.mean((at_nodes(rest, lines) - TRUTH) ** 2, axis=1, dtype=np.float64))
    assert errors.max() <= 1e-4
    monkeypatch.undo()
    exact = make_residual(lines, TRUTH, np.eye(len(GRID)), 1e-4)
    assert rest.pixels.shape[0] <= exact.pixels.shape[0] + 1


@pytest.mark.parametrize("exact", [1, 1000])
def test_lines_without_a_rest_need_no_components(monkeypatch, exact):
    monkeypatch.setattr(residual, "_EXACT", exact)
    truth = np.maximum(TRUTH, 10.0 * residual.DARKEST)
    rest = make_residual(truth, truth, np.eye(len(GRID)), 1e-4)
    assert rest.nodes.shape == (len(GRID), 0)


@pytest.mark.parametrize("exact", [1, 1000])
def test_a_residual_of_spectra_on_disk_is_that_of_spectra_in_memory(monkeypatch, exact):
    monkeypatch.setattr(residual, "_EXACT", exact)
    lines = lines_beside_the_truth()
    rest = make_residual(lines, TRUTH, np.eye(len(GRID)), 1e-4)
    monkeypatch.setattr(rows, "IN_MEMORY", 0)
    again = make_residual(on_disk(lines), on_disk(TRUTH), np.eye(len(GRID)), 1e-4)
    for name in ("nodes", "pixels", "scale"):
        np.testing.assert_array_equal(getattr(again, name), getattr(rest, name))


def test_twice_the_nodes_take_no_more_memory(monkeypatch):
    """But for their amplitudes along few directions."""
    monkeypatch.setattr(residual, "_EXACT", 1)
    monkeypatch.setattr(residual, "_BLOCK", 16)
    monkeypatch.setattr(rows, "IN_MEMORY", 0)
    monkeypatch.setattr(rows.RowsOnDisk, "__getitem__", read_when_released)
    few, many = (peak_of_residual(count) for count in (400, 800))
    assert many < 1.2 * few
    assert many < 0.5 * 800 * WIDTH * 4  # of one array of the spectra


def test_changes_between_many_nodes_are_judged_by_fewer_pixels():
    sizes = {n: len(range(*residual.pixel_sample(300_000, n).indices(300_000))) for n in NODES}
    assert sizes[12] == sizes[1314] == 4000
    assert all(n * size <= 1 << 23 for n, size in sizes.items())


NODES = (12, 1314, 8541, 94_000)
WIDTH = 4000


READ = rows.RowsOnDisk.__getitem__


def read_when_released(on_disk, some):
    """Rows, read after JAX has let go of those that it has done with.

    It holds arrays that it was given, half a megabyte here, until its threads have ended and it is
    called again or garbage is collected. How many they are is chance.
    """
    time.sleep(1e-3)
    gc.collect(0)
    return READ(on_disk, some)


def peak_of_residual(count):
    """Bytes of a residual of so many nodes, of two components."""
    x, label = np.linspace(0, 60, WIDTH), np.linspace(0, 3, count)[:, None]
    lines = (0.7 + 0.1 * label * np.exp(-((x - 30.0) ** 2))).astype(np.float32)
    change = 0.02 * (np.sin(x) * label + np.cos(x) * label**2)
    flux = np.asarray(flux_of_opacity_root(opacity_root(jnp.asarray(lines)) + change))
    inputs = on_disk(lines), on_disk(flux), np.eye(count), 1e-3
    make_residual(*inputs)  # compiled
    # threads that earlier tests have left allocate memory too, now and then
    return min(peak_of(lambda: make_residual(*inputs)) for _ in range(2))


def peak_of(work):
    """Largest memory that is allocated at one time, bytes."""
    gc.collect()  # of earlier tests
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def on_disk(values):
    """The rows in a temporary file."""
    kept = rows.RowsOnDisk(*values.shape)
    kept[:] = values
    return kept


def test_directions_end_where_the_rest_is_small(monkeypatch):
    """A rest far below the rounding errors of the sum of squares is known."""
    monkeypatch.setattr(residual, "_BLOCK", 4)
    rng = np.random.default_rng(3)
    strong = 1e4 * rng.normal(size=(60, 3)) @ rng.normal(size=(3, 200))
    values = (strong + 1e-3 * rng.normal(size=strong.shape)).astype(np.float32)
    # the values themselves are rounded by up to 4e-3, so that a mean square of 1e-4 may be left
    along, directions = residual._along(values.copy(), 1e-3)
    assert along.shape == (60, 4)
    np.testing.assert_allclose(directions @ directions.T, np.eye(4), atol=1e-5)
    np.testing.assert_allclose(along @ directions, values, atol=0.05)


def test_a_larger_allowed_error_takes_fewer_components():
    lines = lines_beside_the_truth()
    counts = [
        make_residual(lines, TRUTH, np.eye(len(GRID)), allowed).pixels.shape[0]
        for allowed in (2e-5, 1e-3, 1e-1)
    ]
    assert counts[0] > counts[1] > counts[2] == 0


def test_all_nodes_reach_the_same_error():
    """One node has most of the residual, and no node is fitted more precisely than requested."""
    lines = lines_beside_the_truth()
    lines[0] *= 1.0 - 0.02 * (TRUTH[0] < 0.95)
    rest = make_residual(lines, TRUTH, np.eye(len(GRID)), 2e-4)
    errors = np.sqrt(np.mean((at_nodes(rest, lines) - TRUTH) ** 2, axis=1))
    assert 1.7e-4 < errors.max() <= 2e-4
    assert np.median(errors) > 1e-4


def test_holes_are_filled_from_their_neighbours():
    present = np.delete(np.arange(len(GRID)), [5])
    complete = fill_holes(coordinates(GRID.axes), GRID.box_index[present])
    lines = lines_beside_the_truth()
    rest = make_residual(lines[present], TRUTH[present], complete, 3e-5)
    found = at_nodes(rest, lines)
    left, without = (np.sqrt(np.mean((f - TRUTH) ** 2, axis=1)) for f in (found, lines))
    assert left[present].max() < 4e-5
    assert left[5] < 0.7 * without[5]


# Continuity

WIDE = {"teff": (5000.0, 5500.0, 6000.0, 6500.0), "logg": (4.0, 4.5, 5.0), "feh": (-0.5, 0.0, 0.5)}


@pytest.fixture(scope="module")
def world():
    """The true lines and a residual, both splines over the grid."""
    grid = toy_grid(WIDE)
    x = np.linspace(0, 20, len(grid.wavelength))
    rest = 0.02 * np.sin(x * grid.labels[:, 0:1] / 4000 + 5 * grid.labels[:, 2:3])
    return model_of(grid, true_params(grid), rest)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_value_and_gradient_are_continuous_across_cell_faces(world, axis):
    """At an inner node value of each label, coming from either side."""
    emulator = jax.tree.map(
        lambda v: v.astype(jnp.float64) if v.dtype == jnp.float32 else v, world.forward
    )
    face = [5500.0, 4.5, 0.0][axis]
    size = [500.0, 0.5, 0.5][axis]
    pixels = jnp.asarray(np.random.default_rng(0).normal(size=len(world.wavelength)))

    @jax.jit
    def value_and_slope(labels):
        return jax.value_and_grad(lambda at: evaluate(emulator, at) @ pixels)(labels)

    for other in product((0.3, 0.8), repeat=2):
        labels = np.array([5000.0, 4.0, -0.5]) + np.insert(other, axis, 0.0) * [500.0, 0.5, 0.5]
        sides = []
        for sign in (-1, 1):
            labels[axis] = face + sign * 1e-7 * size
            sides.append(value_and_slope(jnp.asarray(labels)))
        (below, slope_below), (above, slope_above) = sides
        assert float(above) == pytest.approx(float(below), abs=1e-4)
        scale = np.abs(np.asarray(slope_below)).max() + 1e-9
        np.testing.assert_allclose(slope_above, slope_below, atol=1e-4 * scale, rtol=1e-4)


@pytest.mark.parametrize("pixels", [slice(None), slice(2, 17), slice(3, 19, 4), slice(0, 20, 7)])
def test_windows_of_a_residual_are_cut_as_one(pixels):
    rng = np.random.default_rng(1)
    sizes = (3, 9, 8)
    windows = [
        PcaResidual(*(jnp.asarray(rng.normal(size=s)) for s in ((4, 2), (2, size), (size,))))
        for size in sizes
    ]
    weights = jnp.asarray(rng.normal(size=4))
    both = joined_residual(windows)
    np.testing.assert_allclose(both.take(pixels).at(weights), both.at(weights)[pixels], rtol=1e-6)
