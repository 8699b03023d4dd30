"""The hot kernel: against a plain sum in float64, and its derivatives against each other."""

from __future__ import annotations

from functools import partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blase3d.libraries.toy import WAVELENGTH, absorbed, toy_lines
from blase3d.lines import render as kernel
from blase3d.lines.render import NODES, TILE, at_pixels, core, make_layout, reach, round_up

pytestmark = pytest.mark.x64

optical_depth = jax.jit(kernel.optical_depth)
render = jax.jit(kernel.render, static_argnames="composition")
COMPOSITIONS = ("opacity", "sum", "product")
TOLERANCE = 1e-6
FLOAT32 = 2e-5
"""What float32 may cost: 26 lines added, of which one has an optical depth of 8."""
LINES = toy_lines((5400.0, 4.3, 0.1))
DOUBLED = np.append(np.arange(8480.0, 8500.0, 0.02), np.arange(8500.0, 8540.0, 0.04))
"""Pixels whose step doubles half way."""


def brute_force(params, wavelength, composition, reference=LINES.reference):
    """Optical depth (P,) in float64 without windows."""
    params = np.array(params, dtype=np.float64)
    params[:, 0] += reference
    each = absorbed(wavelength, params)
    return (-np.log1p(-each) if composition == "product" else each).sum(axis=0)


def let_through(depth, composition):
    """Flux from summed depth."""
    return 1.0 / (1.0 + depth) if composition == "opacity" else np.exp(-depth)


def lost(params, wavelength, tolerance):
    """What windows may cost at each pixel: less than the tolerance for each line."""
    params = np.array(params, dtype=np.float64)
    params[:, 0] += LINES.reference
    return np.minimum(absorbed(wavelength, params), tolerance).sum(axis=0)


def layout_of(params, wavelength, tolerance=TOLERANCE, reference=LINES.reference):
    return make_layout(wavelength, reference, reach(params, tolerance))


def shallow(lines):
    """The parameters with areas for which no line absorbs more than 1 − aV allows."""
    params = lines.params.copy()
    params[:, 1] = np.minimum(params[:, 1], np.log(0.15))
    return params


@pytest.mark.parametrize("wavelength", [WAVELENGTH, DOUBLED, WAVELENGTH[:100]])
def test_sum_of_depths_equals_brute_force(wavelength):
    depth = np.asarray(optical_depth(LINES.params, layout_of(LINES.params, wavelength)))
    truth = brute_force(LINES.params, wavelength, "sum")
    slack = lost(LINES.params, wavelength, TOLERANCE) + FLOAT32
    assert depth.shape == wavelength.shape
    assert np.all(np.abs(depth - truth) < slack)


@pytest.mark.parametrize("composition", COMPOSITIONS)
@pytest.mark.parametrize("wavelength", [WAVELENGTH, DOUBLED])
def test_far_wings_equal_brute_force(wavelength, composition):
    params = shallow(LINES)
    near = core(params, TOLERANCE)
    far = reach(params, TOLERANCE)
    layout = make_layout(wavelength, LINES.reference, far, core=near)
    assert (np.asarray(layout.far.slots) < len(params)).sum() > len(params)
    flux = np.asarray(render(params, layout, composition))
    truth = let_through(brute_force(params, wavelength, composition), composition)
    assert np.all(np.abs(flux - truth) < lost(params, wavelength, 2 * TOLERANCE) + FLOAT32)


@pytest.mark.parametrize("ln_gamma", [-4.0, -1.0])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.01])
def test_a_far_wing_is_off_by_a_fifth_of_the_tolerance_at_most(place, ln_gamma):
    """A strong line somewhere in a tile: its wing is steep in the tiles beside it."""
    first, last = WAVELENGTH[6 * TILE], WAVELENGTH[7 * TILE - 1]
    reference = np.array([first + place * (last - first)])
    params = np.array([[0.0, -1.0, -3.0, ln_gamma]], np.float32)
    far, near = reach(params, TOLERANCE), core(params, TOLERANCE)
    split = make_layout(WAVELENGTH, reference, far, core=near)
    assert pairs(split.far, len(reference))
    depth = optical_depth(params, split)
    truth = optical_depth(params, make_layout(WAVELENGTH, reference, far))
    assert np.abs(depth - truth).max() < 0.2 * TOLERANCE + FLOAT32


def test_polynomials_pass_through_their_nodes():
    values = np.random.default_rng(0).normal(size=(3, NODES))
    along = np.stack([np.cos((np.arange(NODES) + 0.5) * np.pi / NODES)] * 3)
    np.testing.assert_allclose(at_pixels(values, along), values, rtol=1e-5, atol=1e-5)


def test_each_pair_is_near_or_far():
    far = reach(LINES.params, TOLERANCE)
    whole = make_layout(WAVELENGTH, LINES.reference, far)
    split = make_layout(WAVELENGTH, LINES.reference, far, core=0.5 * far)
    count = len(LINES.reference)
    near, far = pairs(split.near, count), pairs(split.far, count)
    assert sorted(pairs(whole.near, count)) == sorted(near + far)
    assert not pairs(whole.far, count)


def pairs(chunks, count):
    """Pairs of a tile and a line of some chunks of `count` lines."""
    tile = np.repeat(np.asarray(chunks.tile), chunks.slots.shape[1])
    line = np.asarray(chunks.slots).ravel()
    filled = line < count
    return list(zip(tile[filled], line[filled], strict=True))


@pytest.mark.parametrize("wavelength", [WAVELENGTH, DOUBLED, WAVELENGTH[:100]])
def test_product_equals_brute_force(wavelength):
    params = shallow(LINES)
    flux = np.asarray(render(params, layout_of(params, wavelength), "product"))
    truth = np.exp(-brute_force(params, wavelength, "product"))
    assert np.all(np.abs(flux - truth) < lost(params, wavelength, TOLERANCE) + FLOAT32)


@pytest.mark.parametrize("wavelength", [WAVELENGTH, DOUBLED])
def test_opacity_equals_brute_force(wavelength):
    flux = np.asarray(render(LINES.params, layout_of(LINES.params, wavelength), "opacity"))
    truth = 1.0 / (1.0 + brute_force(LINES.params, wavelength, "opacity"))
    slack = lost(LINES.params, wavelength, TOLERANCE) + FLOAT32
    assert np.all(np.abs(flux - truth) < slack)


def test_compositions_differ():
    params = shallow(LINES)
    layout = layout_of(params, WAVELENGTH)
    flux = {name: np.asarray(render(params, layout, name)) for name in COMPOSITIONS}
    for one, two in combinations(COMPOSITIONS, 2):
        assert np.abs(flux[one] - flux[two]).max() > 0.01
    assert (flux["opacity"] >= flux["sum"] - 1e-6).all()
    assert (flux["sum"] >= flux["product"] - 1e-6).all()


def test_the_windows_matter_less_the_smaller_the_tolerance():
    truth = np.exp(-brute_force(LINES.params, WAVELENGTH, "sum"))
    errors = [
        np.abs(render(LINES.params, layout_of(LINES.params, WAVELENGTH, tol)) - truth).max()
        for tol in (1e-2, 1e-3, 1e-4)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_a_line_outside_the_range_reaches_in():
    outside = LINES.take(LINES.reference > WAVELENGTH[-1])
    assert len(outside) == 1
    layout = layout_of(outside.params, WAVELENGTH, reference=outside.reference)
    flux = np.asarray(render(outside.params, layout))
    truth = brute_force(outside.params, WAVELENGTH, "sum", outside.reference)
    assert flux[-1] < 0.97
    np.testing.assert_allclose(flux, np.exp(-truth), atol=TOLERANCE + 1e-6)


def test_a_line_far_outside_changes_nothing():
    layout = make_layout(WAVELENGTH, [8000.0, 9000.0], [3.0, 3.0])
    params = np.tile(LINES.params[:1], (2, 1))
    np.testing.assert_array_equal(render(params, layout), 1.0)


def test_empty_tiles_and_padding_are_continuum():
    wavelength = WAVELENGTH[: 4 * TILE + 17]
    reference = wavelength[[TILE // 2, -1]]
    params = np.tile(np.float32([0.0, -3.0, -3.0, -12.0]), (2, 1))
    layout = make_layout(wavelength, reference, [0.5, 0.5])
    flux = np.asarray(render(params, layout))
    assert flux.shape == wavelength.shape
    np.testing.assert_array_equal(flux[2 * TILE : 3 * TILE], 1.0)
    truth = brute_force(params, wavelength, "sum", reference)
    np.testing.assert_allclose(flux, np.exp(-truth), atol=1e-5)


@pytest.mark.long
def test_more_lines_than_a_chunk_holds():
    reference = np.full(40, 8481.0)
    params = np.tile(np.float32([0.0, np.log(0.002), -2.5, -3.5]), (40, 1))
    layout = layout_of(params, WAVELENGTH[:100], reference=reference)
    depth = optical_depth(params, layout)
    truth = brute_force(params[:1], WAVELENGTH[:100], "sum", reference[:1])
    np.testing.assert_allclose(depth, 40 * truth, rtol=1e-4)


@pytest.mark.parametrize(("lines_a_tile", "slots"), [(1, 4), (7, 8), (11, 12), (30, 16)])
def test_chunks_have_slots_for_the_lines_of_a_tile(lines_a_tile, slots):
    reference = np.repeat(WAVELENGTH[TILE // 2 :: TILE], lines_a_tile)
    layout = make_layout(WAVELENGTH, reference, np.full(reference.size, 0.05))
    held = np.asarray(layout.near.slots) < reference.size
    assert held.shape[1] == slots
    assert held.sum() == reference.size


@pytest.mark.parametrize("width", [TILE, NODES])
def test_groups_of_chunks_are_of_one_size(width):
    for count in np.unique(np.geomspace(1, 3e6, 2000).astype(int)):
        n_chunks = kernel._n_chunks(np.array([count]), 1, width)
        assert n_chunks % kernel._at_once(n_chunks, width) == 0


def test_chunks_with_more_lines_come_first():
    """So that a loop over the slots of a group can end early."""
    layout = layout_of(LINES.params, WAVELENGTH)
    filled = np.asarray(layout.near.filled)
    assert len(set(filled.tolist())) > 2
    assert np.all(np.diff(filled) <= 0)
    held = np.asarray(layout.near.slots) < len(LINES.params)
    np.testing.assert_array_equal(held, np.arange(held.shape[1]) < filled[:, None])


@pytest.mark.parametrize("lines_a_tile", [1, 16])
def test_lines_of_similar_layouts_are_padded_to_one_number(lines_a_tile):
    reference = np.repeat(WAVELENGTH[TILE // 2 :: TILE], lines_a_tile)
    layout = make_layout(WAVELENGTH, reference, np.full(reference.size, 0.05))
    room = layout.room(reference.size)
    assert reference.size <= room <= layout.near.slots.size
    assert layout.room(reference.size - 1) == room


def test_a_layout_serves_shifted_lines():
    layout = layout_of(LINES.params, WAVELENGTH)
    params = LINES.params + np.float32([0.03, 0, 0, 0])
    truth = np.exp(-brute_force(params, WAVELENGTH, "sum"))
    np.testing.assert_allclose(render(params, layout), truth, atol=1e-4)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
def test_reach_is_honest_and_not_wasteful(tolerance):
    rng = np.random.default_rng(1)
    count = 500
    params = np.stack(
        [
            np.zeros(count),
            rng.uniform(-8, 2, count),
            rng.uniform(-6, 0, count),
            rng.uniform(-7, 0, count),
        ],
        axis=1,
    ).astype(np.float32)
    half = reach(params, tolerance)
    beyond = np.array(
        [absorbed([1.0001 * h, 2 * h], p[None])[0] for h, p in zip(half, params, strict=True)]
    )
    assert beyond.max() < tolerance
    assert np.median(beyond[:, 0]) > 0.5 * tolerance


def test_a_line_without_area_reaches_nowhere():
    assert reach([[0.0, -200.0, 0.0, 0.0]], 1e-5)[0] < 1e-10


@pytest.mark.parametrize("n", [*range(1, 40), 100, 1000, 1025, 12345])
def test_round_up(n):
    up = round_up(n)
    assert n <= up <= 1.125 * n
    assert round_up(up) == up


def test_few_sizes_are_left():
    assert len({round_up(n) for n in range(1000, 2000)}) <= 10


@pytest.mark.parametrize("composition", COMPOSITIONS)
def test_derivatives_forward_and_reverse(composition):
    """Forward against finite differences of the plain sum, reverse against forward."""
    params = shallow(LINES)
    rng = np.random.default_rng(2)
    direction = rng.normal(size=params.shape) * [0.01, 0.1, 0.1, 0.1]
    weight = rng.normal(size=WAVELENGTH.size)
    layout = layout_of(params, WAVELENGTH, 1e-7)

    def flux(params):
        return render(params, layout, composition=composition)

    primal, tangent = jnp.asarray(params), jnp.asarray(direction, jnp.float32)
    _, forward = jax.jit(partial(jax.jvp, flux))((primal,), (tangent,))
    step = 1e-4
    either = [
        let_through(
            brute_force(params + sign * step * direction, WAVELENGTH, composition), composition
        )
        for sign in (1, -1)
    ]
    np.testing.assert_allclose(forward, (either[0] - either[1]) / (2 * step), atol=2e-5)
    assert np.abs(forward).max() > 0.01

    (reverse,) = jax.jit(lambda params, weight: jax.vjp(flux, params)[1](weight))(
        primal, jnp.asarray(weight, forward.dtype)
    )
    np.testing.assert_allclose(
        np.sum(np.asarray(reverse, np.float64) * direction),
        np.asarray(forward, np.float64) @ weight,
        rtol=1e-4,
    )


@partial(jax.jit, static_argnames="composition")
def total_and_slopes(params, layout, composition):
    """Summed flux, its gradient in reverse mode, and its slope along (1, 1, ...) in forward."""

    def total(params):
        return render(params, layout, composition).sum()

    value, gradient = jax.value_and_grad(total)(params)
    _, tangent = jax.jvp(total, (params,), (jnp.ones_like(params),))
    return value, gradient, tangent


@pytest.mark.parametrize("composition", COMPOSITIONS)
@pytest.mark.parametrize(
    "awkward",
    [
        [0.0, -200.0, -2.5, -3.5],  # no area
        [0.0, -3.0, -14.0, -14.0],  # all but a point, on a pixel
        [0.005, -3.0, -14.0, -14.0],  # between two
        [0.0, 8.0, -2.5, -3.5],  # black, and impossible as 1 − aV
        [0.0, -3.0, -14.0, -3.0],
        [0.0, -3.0, -3.0, -14.0],
    ],
)
def test_awkward_lines_have_finite_flux_and_gradients(awkward, composition):
    params = jnp.asarray([awkward, LINES.params[0]], jnp.float32)
    reference = [8482.0, LINES.reference[0]]
    layout = make_layout(WAVELENGTH[:200], reference, [5.0, 5.0])

    value, gradient, tangent = total_and_slopes(params, layout, composition)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient.sum(), tangent, rtol=1e-3, atol=1e-3)


def test_a_line_without_area_has_no_influence():
    params = jnp.asarray([[0.0, -200.0, -2.5, -3.5]], jnp.float32)
    layout = make_layout(WAVELENGTH[:200], [8482.0], [5.0])
    _, gradient, _ = total_and_slopes(params, layout, "sum")
    np.testing.assert_array_equal(gradient, 0.0)
