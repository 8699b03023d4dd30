"""Joint fits: lines that are smooth functions of the labels are recovered from whole grids."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from blase3d.fitting import joint_fit
from blase3d.fitting.joint_fit import (
    add_missing_lines,
    detect_line_grid,
    fit_line_grid,
    total_depth,
)
from blase3d.libraries.toy import LINES, WAVELENGTH, line_depth, toy_flux, toy_grid, toy_params
from blase3d.lines import catalogue
from blase3d.lines.lines import fwhm
from blase3d.lines.render import make_layout, render
from blase3d.model.grid_basis import smooth_basis
from blase3d.model.interpolation import coordinates
from blase3d.model.line_grid import (
    LineGrid,
    joined,
    largest_reach,
    line_grid_layout,
    ln_area_of,
    params_at,
    slope_of_ln_area,
    steps,
    total_of,
)
from blase3d.recipe import DEFAULT
from blase3d.runtime import rows

AXES = {"teff": (5000.0, 5500.0, 6000.0, 6500.0), "logg": (4.0, 4.5, 5.0), "feh": (-0.5, 0.5)}
GRID = toy_grid(AXES)
FLUX = np.stack([toy_flux(labels, WAVELENGTH) for labels in GRID.labels]).astype(np.float32)
MODES = smooth_basis(coordinates(GRID.axes), 1000)
TRUE = DEFAULT.replace(composition="sum", smooth_functions=1000, epochs=60)
"""Lines compose as in the toy universe."""
DEEP = TRUE.replace(redetection=0.05)
"""Adds deep lines alone."""
PARAMS = np.stack([toy_params(labels) for labels in GRID.labels])
INSIDE = LINES[:, 0] < WAVELENGTH[-1]
BLENDED = np.isin(LINES[:, 0], (8487.35, 8487.67, 8505.76, 8506.04))
STRONG = INSIDE & ~BLENDED & (LINES[:, 1] > 0.03)


def truth():
    """The toy lines, as far as the smooth functions can follow them."""
    params = PARAMS.copy()
    params[:, :, 0] -= LINES[:, 0]
    base = params.mean(axis=0)
    found = np.linalg.lstsq(MODES, (params - base).reshape(len(params), -1), rcond=None)[0]
    found = found.reshape(-1, *base.shape).astype(np.float32)
    shape = found[: TRUE.joint.shape_functions][:, :, [0, 2, 3]]
    return LineGrid(LINES[:, 0], base.astype(np.float32), found[:, :, 1], shape)


def rms(difference):
    """Root mean square."""
    return float(np.sqrt(np.mean(np.asarray(difference, np.float64) ** 2)))


def disturbed(size):
    """The truth, with random errors in all coefficients."""
    start, rng = truth(), np.random.default_rng(1)
    area = (
        start.area
        + size * rng.normal(size=start.area.shape) * (np.arange(len(start.area)) < 4)[:, None]
    )
    shape = start.shape.copy()
    shape[0] += size * rng.normal(size=shape[0].shape) * [0.02, 0.5, 0.5]
    return replace(start, area=area.astype(np.float32), shape=shape.astype(np.float32))


def test_the_smooth_functions_can_follow_the_toy_lines():
    """Except for the alternating one along each axis, which is left out."""
    found = truth().at(MODES)
    np.testing.assert_allclose(found[:, :, 1], PARAMS[:, :, 1], atol=0.12)
    np.testing.assert_allclose(found[:, :, 0] + LINES[:, 0], PARAMS[:, :, 0], atol=2e-3)


@pytest.fixture(scope="module")
def come_back():
    """A fit that starts near the truth."""
    return fit_line_grid(disturbed(0.15), WAVELENGTH, FLUX, MODES, TRUE)


@pytest.mark.long
def test_known_lines_are_recovered_from_a_disturbed_start(come_back):
    fitted, model = come_back
    assert rms(model - FLUX) < 2e-3
    before = disturbed(0.15).at(MODES)[:, STRONG, 1] - PARAMS[:, STRONG, 1]
    after = fitted.at(MODES)[:, STRONG, 1] - PARAMS[:, STRONG, 1]
    assert rms(after) < 0.05
    assert rms(after) < 0.25 * rms(before)
    centers = LINES[STRONG, 0] + fitted.at(MODES)[:, STRONG, 0]
    assert np.abs(centers - PARAMS[:, STRONG, 0]).max() < 0.01


def test_the_flux_is_that_of_the_lines(come_back):
    fitted, model = come_back
    np.testing.assert_allclose(
        np.exp(-total_depth(fitted, WAVELENGTH, MODES, TRUE)), model, atol=2e-4
    )
    params = fitted.at(MODES[3:4])[0].astype(float)
    params[:, 0] += fitted.reference
    np.testing.assert_allclose(np.exp(-line_depth(WAVELENGTH, params)), model[3], atol=5e-4)


@pytest.mark.long
def test_a_fit_is_the_same_every_time_and_depends_on_the_seed_little():
    short = TRUE.replace(epochs=4)
    one, two, other = (
        fit_line_grid(disturbed(0.1), WAVELENGTH, FLUX, MODES, short, seed=seed)[0]
        for seed in (0, 0, 1)
    )
    for name in ("area", "shape"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert 0 < np.abs(one.area - other.area).max() < 0.3


@pytest.fixture
def flux_on_disk(monkeypatch):
    """The spectra in a temporary file, as all larger matrices are."""
    monkeypatch.setattr(rows, "IN_MEMORY", 0)
    kept = rows.empty_rows(*FLUX.shape)
    kept[:] = FLUX
    return kept


def test_spectra_on_disk_have_the_same_fit(flux_on_disk):
    """To the last bit, with lines from elsewhere too."""
    short, start = TRUE.replace(epochs=10), disturbed(0.1)
    outside = LINES[:, 0] < 8486
    far, near = start.take(outside), start.take(~outside)
    depth = total_depth(far, WAVELENGTH, MODES, short)
    assert isinstance(depth, rows.RowsOnDisk)
    read, kept = (
        fit_line_grid(near, WAVELENGTH, flux, MODES, short, background)
        for flux, background in ((flux_on_disk, depth), (FLUX, depth[:]))
    )
    for name in ("area", "shape"):
        np.testing.assert_array_equal(getattr(read[0], name), getattr(kept[0], name))
    np.testing.assert_array_equal(read[1][:], kept[1][:])


def test_blocks_of_nodes_have_the_same_first_lines(flux_on_disk, monkeypatch):
    without = truth().take(LINES[:, 0] != 8490.60)
    model = np.exp(-total_depth(without, WAVELENGTH, MODES, TRUE)[:])

    def first_lines(flux):
        added = add_missing_lines(without, WAVELENGTH, flux, model, MODES, DEEP)
        return detect_line_grid(WAVELENGTH, flux, MODES, TRUE), added

    whole = first_lines(FLUX)
    monkeypatch.setattr(joint_fit, "NODES_AT_ONCE", 7)
    monkeypatch.setattr(catalogue, "NODES_AT_ONCE", 7)
    for blocks, expected in zip(first_lines(flux_on_disk), whole, strict=True):
        np.testing.assert_allclose(blocks.reference, expected.reference, rtol=1e-14)
        np.testing.assert_array_equal(blocks.base, expected.base)
        np.testing.assert_allclose(blocks.area, expected.area, atol=1e-5)


def test_detection_over_the_grid_finds_the_lines():
    found = detect_line_grid(WAVELENGTH, FLUX, MODES, TRUE)
    apart = np.abs(np.subtract.outer(LINES[INSIDE & ~BLENDED, 0], found.reference))
    assert apart.min(axis=1).max() < 0.05
    assert len(found) < 1.4 * INSIDE.sum()
    # their areas follow those of the nodes from the start
    for n in np.flatnonzero(STRONG):
        i = int(np.abs(found.reference - LINES[n, 0]).argmin())
        area = found.at(MODES)[:, i, 1]
        assert np.corrcoef(area, PARAMS[:, n, 1])[0, 1] > 0.6


def test_a_missing_line_is_added_and_nothing_else():
    without = truth().take(LINES[:, 0] != 8490.60)
    model = np.exp(-total_depth(without, WAVELENGTH, MODES, TRUE))
    more = add_missing_lines(without, WAVELENGTH, FLUX, model, MODES, DEEP)
    added = np.setdiff1d(more.reference, without.reference)
    np.testing.assert_allclose(added, [8490.60], atol=0.05)
    assert (np.diff(more.reference) >= 0).all()
    full = np.exp(-total_depth(truth(), WAVELENGTH, MODES, TRUE))
    again = add_missing_lines(truth(), WAVELENGTH, full, full, MODES, TRUE)
    np.testing.assert_array_equal(again.reference, truth().reference)


@pytest.mark.long
def test_a_line_stays_where_it_was_found():
    """It does not move to model another line, which is to be added instead."""
    one = truth().take(LINES[:, 0] == 8490.60)
    narrow = one.base - np.array([0.0, 0.0, 1.0, 1.0], np.float32)
    width = float(fwhm(narrow)[0])
    beside = replace(one, reference=one.reference + 2.5 * width, base=narrow)
    seen = np.abs(WAVELENGTH - 8490.60) < 1.2

    def moved(ridge):
        recipe = TRUE.replace(shape_ridge=ridge, epochs=1000)
        fitted, _ = fit_line_grid(beside, WAVELENGTH[seen], FLUX[:, seen], MODES, recipe)
        return abs(fitted.at(MODES)[:, 0, 0].mean()) / width

    assert moved(0.0) > 1.5
    assert moved(DEFAULT.joint.shape_ridge) < 1.25


@pytest.mark.parametrize("gone", ["wide", "away"])
def test_a_line_that_models_a_wing_does_not_hide_a_missing_line(gone):
    """Neither where it was detected nor where it has moved."""
    start, here = truth(), LINES[:, 0] == 8490.60
    shape = start.shape.copy()
    shape[0, here] += [0.0, np.log(4.0), 0.0] if gone == "wide" else [3.0, 0.0, 0.0]
    moved = replace(start, shape=shape)
    model = np.exp(-total_depth(start.take(~here), WAVELENGTH, MODES, TRUE))
    more = add_missing_lines(moved, WAVELENGTH, FLUX, model, MODES, DEEP)
    added = more.reference[np.isin(more.reference, start.reference, invert=True)]
    if added.size == 0:  # at the very same wavelength
        added = np.repeat(8490.60, len(more) - len(start))
    assert added.size == 1
    np.testing.assert_allclose(added, 8490.60, atol=0.05)
    stays = add_missing_lines(start, WAVELENGTH, FLUX, model, MODES, DEEP)
    assert len(stays) == len(start)


@pytest.mark.long
def test_lines_from_elsewhere_are_background():
    """With the strong line at 8498 given, a window in its wing is fitted as well as with it."""
    part = slice(920, 1200)  # 8498.4 to 8504, in its wing
    far = truth().take(np.abs(LINES[:, 0] - 8498.02) < 0.01)
    near = (LINES[:, 0] > 8498.4) & (LINES[:, 0] < 8504.0)
    background = total_depth(far, WAVELENGTH[part], MODES, TRUE)
    errors = [
        rms(
            fit_line_grid(
                truth().take(near),
                WAVELENGTH[part],
                FLUX[:, part],
                MODES,
                TRUE.replace(epochs=20),
                given,
            )[1]
            - FLUX[:, part]
        )
        for given in (background, None)
    ]
    assert errors[0] < 5e-3
    assert errors[1] > 5 * errors[0]


def test_without_lines_the_flux_is_that_of_the_background():
    none = truth().take(np.zeros(len(LINES), bool))
    depth = np.full((len(FLUX), 50), 0.2, np.float32)
    fitted, model = fit_line_grid(none, WAVELENGTH[:50], FLUX[:, :50], MODES, TRUE, depth)
    assert len(fitted) == 0
    np.testing.assert_allclose(model, np.exp(-0.2), rtol=1e-6)
    _, model = fit_line_grid(none, WAVELENGTH[:50], FLUX[:, :50], MODES, TRUE)
    assert model.shape == (len(FLUX), 50)
    np.testing.assert_array_equal(model, 1.0)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("root", [0, 8])
def test_the_gradient_of_the_descent_is_that_of_the_misfit(monkeypatch, root):
    """One step of plain descent, against finite differences of misfit plus ridge penalty."""
    start = disturbed(0.1).take(np.flatnonzero(INSIDE)[:4])
    pixels, nodes = slice(0, 400), np.array([[3, 10, 17]])
    reach = 2.0 * np.ones(len(start))
    fit = joint_fit._Fit(
        jnp.asarray(start.base, jnp.float64),
        jnp.ones((len(start), 3)),
        make_layout(WAVELENGTH[pixels], start.reference, reach),
        root,
    )
    flux = FLUX[:, pixels].astype(np.float64)
    spectra = joint_fit._Nodes(flux, np.zeros((len(flux), 1)), MODES)
    ridge = 0.3
    recipe = TRUE.replace(learning_rate=1.0, shape_ridge=ridge)
    monkeypatch.setattr(joint_fit, "_ADAM", optax.identity())
    area, shape = (jnp.asarray(v, jnp.float64) for v in (start.area, start.shape))
    moved = joint_fit._descend(area, shape, fit, spectra, nodes, recipe)
    slopes = area - moved[0], shape - moved[1]

    @jax.jit
    def misfit(area, shape):
        total = 0.0
        for node in nodes[0]:
            params = params_at(fit.base, area, shape, MODES[node], root)
            model = joint_fit._flux_of(params, fit, 0.0, "sum")
            total += jnp.sum((model - flux[node]) ** 2) / nodes.size
        return total + ridge * jnp.sum(shape[1:] ** 2)

    h = 1e-5
    for k, line in ((0, 1), (3, 2)):
        either = [float(misfit(area.at[k, line].add(sign * h), shape)) for sign in (1, -1)]
        expected = (either[0] - either[1]) / (2 * h)
        assert float(slopes[0][k, line]) == pytest.approx(expected, rel=2e-3, abs=1e-6)
    for place in ((0, 1, 0), (0, 2, 1), (2, 0, 2)):
        either = [float(misfit(area, shape.at[place].add(sign * h))) for sign in (1, -1)]
        expected = (either[0] - either[1]) / (2 * h)
        assert float(slopes[1][place]) == pytest.approx(expected, rel=2e-3, abs=1e-6)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("root", [0, 1, 8])
def test_areas_are_powers_of_sums(root):
    """(1 + total/n)ⁿ, or the exponential; positive for any total; one smooth curve."""
    total = np.linspace(-30.0, 20.0, 5001)
    ln_area = ln_area_of(total, root, np)
    np.testing.assert_allclose(ln_area_of(jnp.asarray(total), root), ln_area, rtol=1e-12)
    above = total > -0.7 * root if root else total < np.inf
    power = (1.0 + total / root) ** root if root else np.exp(total)
    np.testing.assert_allclose(np.exp(ln_area[above]), power[above], rtol=1e-9)
    slope = np.asarray(slope_of_ln_area(jnp.asarray(total), root))
    np.testing.assert_allclose(slope[1:-1], np.gradient(ln_area, total)[1:-1], rtol=0.02)
    np.testing.assert_allclose(total_of(ln_area, root), total, atol=1e-9)


def test_joined_lines_are_all_lines():
    whole = truth()
    odd = np.arange(len(whole)) % 2 == 1
    again = joined([whole.take(odd), whole.take(~odd)])
    for name in ("reference", "base", "area", "shape"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    np.testing.assert_array_equal(again.take(np.array([3, 1])).area, whole.area[:, [3, 1]])


def test_rounding_is_to_the_steps_and_changes_little():
    whole = truth()
    rounded = whole.rounded()
    for ours, theirs, step in zip(
        (whole.area, whole.shape), (rounded.area, rounded.shape), steps(whole.base), strict=True
    ):
        assert (np.abs(ours - theirs) <= 0.501 * step).all()
        np.testing.assert_allclose(theirs / step, np.round(theirs / step), atol=1e-3)
    np.testing.assert_array_equal(rounded.rounded().area, rounded.area)
    flux = [np.exp(-total_depth(s, WAVELENGTH, MODES[:3], TRUE)) for s in (whole, rounded)]
    assert rms(flux[0] - flux[1]) < 6e-4


def test_lines_reach_as_far_as_at_any_node():
    far = largest_reach(truth(), MODES, TRUE)
    strongest = int(np.argmax(LINES[:, 1]))
    assert far.argmax() == strongest
    params = truth().at(MODES)
    one = largest_reach(truth(), MODES[5:6], TRUE)
    assert (far >= 0.999 * one).all()
    assert params.shape == (len(GRID), len(LINES), 4)


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_the_core_of_a_line_is_rendered_where_it_was_shifted_to(shift):
    lines = truth()
    shifted = replace(lines, base=lines.base + np.float32([shift, 0.0, 0.0, 0.0]))
    layout = line_grid_layout(WAVELENGTH, shifted, MODES, TRUE)
    whole = make_layout(WAVELENGTH, lines.reference, largest_reach(shifted, MODES, TRUE))
    params = jnp.asarray(shifted.at(MODES[:1])[0])
    assert (np.asarray(layout.far.slots) < len(lines)).any()
    ours, expected = (np.asarray(jax.jit(render)(params, each)) for each in (layout, whole))
    np.testing.assert_allclose(ours, expected, atol=2 * TRUE.wing_tolerance)
