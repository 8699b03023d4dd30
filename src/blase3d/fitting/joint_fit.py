"""Lines of a whole grid, fitted to its spectra: detection, addition of missing lines, the fit.

The coefficients of all lines are fitted to all nodes at once, by Adam on small batches of nodes, so
that blended lines cannot exchange strength from node to node. Shifts and widths have a ridge
penalty that pulls them towards their mean over the grid.

Spectra are read as they are needed, and sums over the nodes are those of blocks of
`catalogue.NODES_AT_ONCE`, so that memory does not grow with the grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray

from ..lines.catalogue import NODES_AT_ONCE, cluster
from ..lines.detect import detect, detect_missing
from ..lines.lines import Lines, fwhm, padded
from ..lines.render import ONE_ORDER, Layout, optical_depth, round_up, transmitted
from ..model.line_grid import (
    LineGrid,
    joined,
    line_grid_layout,
    params_at,
    slope_of_ln_area,
    total_of,
)
from ..recipe import Composition, JointFit, Recipe
from ..runtime.arrays import Floats
from ..runtime.rows import Rows, each_row, empty_rows, row_blocks, rows_at
from .single_node import REACH_MARGIN, SHIFT_UNIT

_WIDTH_UNIT = 0.3
"""Change of a ln width that counts like a change of 1 in ln area, as does a shift by `SHIFT_UNIT`
widths: one learning rate then suits all coefficients."""
_RIDGE_ADDED, _RIDGE_DETECTED = 3.0, 0.1
"""Ridge penalty in the first coefficients of ln area, for lines added and lines first detected."""
_FAINTEST, _FAINTEST_ADDED = 1e-3, 3e-2
"""Least strength that a line starts with at a node, relative to its strongest node."""
_STRAY_PENALTY = 100.0
"""Penalty on a mean shift of more than one width, relative to the ridge penalty on shapes."""
_WIDENED = 2.0
"""A line this many times wider than detected models a wing, and no longer the line it was."""
_ADAM_B2 = 0.99
"""Decay rate of the squared gradients in Adam; the common 0.999 is slow for so few steps."""
_ADAM = optax.scale_by_adam(b2=_ADAM_B2)
_LEAST_EPOCHS = 4
"""Least passes over the nodes, however many nodes there are."""
_EARLY_STEPS = 700
"""Most steps of a round before the last, which only shows where lines are missing."""
_EARLY_WINGS = 10.0
"""Wing tolerance of such a round, relative to the last."""
_STEPS_AT_ONCE = 16
"""Steps whose spectra are in memory."""


def detect_line_grid(wavelength: Floats, flux: Rows, basis: Floats, recipe: Recipe) -> LineGrid:
    """Return the first lines of a grid: detections at all nodes, clustered.

    A line starts with the width of its strongest detection, and its area follows the optical
    depth at its centre from node to node.

    Parameters
    ----------
    wavelength : (P,)
        Å.
    flux : (N, P)
        Spectra of the nodes, in units of the continuum.
    basis : (N, K)
        Basis functions at the nodes.
    recipe : Recipe
        Settings of detection and joint fit.
    """
    least, distance = recipe.detection.prominence, recipe.detection.distance
    found = (
        detect(wavelength, node.astype(np.float64), least, distance) for node in each_row(flux)
    )
    lines = cluster(found, recipe.joint.cluster_width)

    def depth(nodes: slice) -> Floats:
        return -np.log(np.clip(_at(lines, wavelength, flux[nodes]), 1e-2, 1.0 - 1e-4))

    return _started(lines, depth, basis, recipe, _FAINTEST, _RIDGE_DETECTED)


def add_missing_lines(
    lines: LineGrid,
    wavelength: Floats,
    flux: Rows,
    model: Rows,
    basis: Floats,
    recipe: Recipe,
) -> LineGrid:
    """Return `lines` with more where their flux `model` (N, P) absorbs too little."""
    least, distance = recipe.detection.redetection, recipe.detection.distance
    found = (
        detect_missing(
            wavelength, node.astype(np.float64), ours.astype(np.float64), least, distance
        )
        for node, ours in zip(each_row(flux), each_row(model), strict=True)
    )
    added = cluster(found, recipe.joint.cluster_width, _still_in_place(lines, basis))

    def depth(nodes: slice) -> Floats:
        missing = (
            np.maximum(ours - node, 0.0) / np.maximum(node, 0.1)
            for node, ours in zip(flux[nodes], model[nodes], strict=True)
        )
        return _at(added, wavelength, missing)

    return joined([lines, _started(added, depth, basis, recipe, _FAINTEST_ADDED, _RIDGE_ADDED)])


def _still_in_place(lines: LineGrid, basis: Floats) -> Lines:
    """Return the lines at their strongest node, without those that have widened.

    Some lines move or widen to model the wing of another. The feature they were detected for is
    then unmodelled, and they must not prevent a detection there.
    """
    strongest = np.full((len(lines), 4), -np.inf, np.float32)
    for nodes in row_blocks(len(basis), NODES_AT_ONCE):
        params = lines.at(basis[nodes])
        params = params[params[:, :, 1].argmax(axis=0), np.arange(len(lines))]
        strongest = np.where(params[:, 1:2] > strongest[:, 1:2], params, strongest)
    now = Lines(lines.reference + strongest[:, 0], strongest, lines.profile)
    return now.take(now.fwhm <= _WIDENED * fwhm(lines.base, lines.profile))


def _at(lines: Lines, wavelength: Floats, values: Iterable[NDArray[np.float32]]) -> Floats:
    """Return the values (P,) of each node at the references of lines, (N, C)."""
    return np.stack([np.interp(lines.reference, wavelength, node) for node in values])


def _started(
    lines: Lines,
    depth: Callable[[slice], Floats],
    basis: Floats,
    recipe: Recipe,
    faintest: float,
    ridge: float,
) -> LineGrid:
    """Return lines whose areas follow their `depth` at some nodes, (N, C), as far as the basis
    functions can."""
    count, n_basis, root = len(lines), basis.shape[1], recipe.joint.area_root
    area: NDArray[np.floating] = np.zeros((n_basis, count))
    if count:
        blocks = row_blocks(len(basis), NODES_AT_ONCE)
        strongest = np.max([depth(nodes).max(axis=0) for nodes in blocks], axis=0)
        strongest = np.maximum(strongest, 1e-9)

        def projected(nodes: slice) -> Floats:
            ratio = np.log(np.clip(depth(nodes) / strongest, faintest, 1.0))
            return basis[nodes].T @ total_of(ratio, root)

        normal = basis.T @ basis + ridge * np.eye(n_basis)
        area = np.linalg.solve(normal, reduce(np.add, map(projected, blocks)))
    shape = np.zeros((min(recipe.joint.shape_functions, n_basis), count, 3), np.float32)
    return LineGrid(
        lines.reference, lines.params, area.astype(np.float32), shape, root, recipe.profile
    )


def fit_line_grid(
    start: LineGrid,
    wavelength: Floats,
    flux: Rows,
    basis: Floats,
    recipe: Recipe,
    background: Rows | None = None,
    seed: int = 0,
) -> tuple[LineGrid, Rows]:
    """Fit lines to all nodes of a grid at once.

    Parameters
    ----------
    start : LineGrid
        First values.
    wavelength : (P,)
        Å.
    flux : (N, P)
        Spectra of the nodes, in units of the continuum.
    basis : (N, K)
        Basis functions at the nodes.
    recipe : Recipe
        Settings of the joint fit.
    background : (N, P), optional
        Summed depth of lines that are not fitted.
    seed : int
        Seed of the order of the batches.

    Returns
    -------
    LineGrid, (N, P) float32
        The fitted lines, and their flux at the nodes.
    """
    if background is None:
        background = np.zeros((len(flux), 1), np.float32)
    nodes = _Nodes(flux, background, basis.astype(np.float32))
    if len(start) == 0:
        return start, _without_lines(nodes, recipe.composition)
    whole = _padded(start)
    fit = _Fit(
        jnp.asarray(whole.base),
        _units(whole),
        line_grid_layout(wavelength, start, basis, recipe, REACH_MARGIN),
        start.root,
    )
    batches = _batches(len(flux), recipe.joint, seed)
    area, shape = _descend(
        jnp.asarray(whole.area), jnp.asarray(whole.shape), fit, nodes, batches, recipe
    )
    n = len(start)
    fitted = replace(start, area=np.asarray(area)[:, :n], shape=np.asarray(shape)[:, :n])
    return fitted, _render_all(area, shape, fit, nodes, recipe.composition)


def early_round(recipe: Recipe) -> Recipe:
    """Return the recipe of a round before the last."""
    steps = min(recipe.joint.steps, _EARLY_STEPS)
    return recipe.replace(steps=steps, wing_tolerance=_EARLY_WINGS * recipe.wing_tolerance)


def total_depth(lines: LineGrid, wavelength: Floats, basis: Floats, recipe: Recipe) -> Rows:
    """Return the summed depth (N, P) of lines where the basis functions are `basis` (N, K)."""
    layout = line_grid_layout(wavelength, lines, basis, recipe)
    render = jax.jit(
        partial(optical_depth, composition=recipe.composition), compiler_options=ONE_ORDER
    )
    depth = empty_rows(len(basis), wavelength.size)
    for nodes in row_blocks(len(basis), NODES_AT_ONCE):
        for n, params in enumerate(lines.at(basis[nodes]), nodes.start):
            depth[n : n + 1] = np.asarray(render(jnp.asarray(params), layout))
    return depth


def _padded(lines: LineGrid) -> LineGrid:
    """Return more lines, without area, so that similar fits share one compilation."""
    count = round_up(len(lines), bits=3)
    more = count - len(lines)
    return replace(
        lines,
        reference=np.pad(lines.reference, (0, more)),
        base=padded(lines.base, count),
        area=np.pad(lines.area, ((0, 0), (0, more))),
        shape=np.pad(lines.shape, ((0, 0), (0, more), (0, 0))),
    )


def _units(lines: LineGrid) -> Array:
    """Return the shift, ln sigma and ln gamma of a coefficient of one, (C, 3)."""
    width = jnp.asarray(fwhm(lines.base, lines.profile), jnp.float32)
    spread = jnp.full_like(width, _WIDTH_UNIT)
    return jnp.stack([SHIFT_UNIT * width, spread, spread], axis=1)


def _batches(count: int, settings: JointFit, seed: int) -> NDArray[np.int32]:
    """Return nodes in random order, (steps, batch), each about once per epoch."""
    rng = np.random.default_rng(seed)
    size = min(settings.batch, count)
    per_epoch = max(count // size, 1)
    epochs = min(settings.epochs, max(-(-settings.steps // per_epoch), _LEAST_EPOCHS))
    orders = [rng.permutation(count)[: per_epoch * size] for _ in range(epochs)]
    return np.concatenate(orders).reshape(-1, size).astype(np.int32)


@dataclass(frozen=True, eq=False)
class _Nodes:
    """Spectra of the nodes, (N, P); depth of lines that are not fitted, (N, P) or (N, 1); and basis
    functions, (N, K)."""

    flux: Rows
    background: Rows
    basis: NDArray[np.float32]

    def at(self, batches: NDArray[np.int32]) -> _Batch:
        """Return those of some batches (S, B)."""
        index = batches.ravel()
        parts = rows_at(self.flux, index), rows_at(self.background, index), self.basis[index]
        return _Batch(*(jnp.asarray(part.reshape(*batches.shape, -1)) for part in parts))


class _Batch(NamedTuple):
    """One batch of nodes or more: (..., P), (..., P) or (..., 1), and (..., K)."""

    flux: Array
    background: Array
    basis: Array


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("base", "unit", "layout"),
    meta_fields=("root",),
)
@dataclass(frozen=True)
class _Fit:
    """Constants of a fit."""

    base: Array
    unit: Array
    layout: Layout
    root: int


def _descend(
    area: Array, shape: Array, fit: _Fit, nodes: _Nodes, batches: NDArray[np.int32], recipe: Recipe
) -> tuple[Array, Array]:
    """Return the coefficients after one step of Adam for each of `batches` (steps, B) of nodes."""
    settings, steps = recipe.joint, len(batches)
    some = np.arange(min(_STEPS_AT_ONCE, steps))
    state = area, shape / fit.unit
    memory = _ADAM.init(state)
    for first in range(0, steps, some.size):
        # of the last steps, some may be there again: they are not done
        index = batches[np.minimum(first + some, steps - 1)]
        state, memory = _take_steps(
            state,
            memory,
            fit,
            nodes.at(index),
            first,
            min(first + some.size, steps),
            steps,
            settings.learning_rate,
            settings.shape_ridge,
            recipe.composition,
        )
        jax.block_until_ready(state)  # or the spectra of all steps would wait in memory
    return state[0], state[1] * fit.unit


@partial(jax.jit, static_argnames="composition", compiler_options=ONE_ORDER)
def _take_steps(
    state: tuple[Array, Array],
    memory: optax.OptState,
    fit: _Fit,
    batches: _Batch,
    first: int,
    stop: int,
    steps: int,
    rate: float,
    ridge: float,
    composition: Composition,
) -> tuple[tuple[Array, Array], optax.OptState]:
    """Return the scaled coefficients and the memory of Adam after the steps from `first` to `stop`
    of `steps`, one for each of `batches`."""
    size = batches.flux.shape[1]
    mean = jnp.arange(state[1].shape[0]) == 0  # the mean shift and widths have no ridge penalty

    def misfit(params: Array, flux: Array, background: Array) -> Array:
        return jnp.sum((_flux_of(params, fit, background, composition) - flux) ** 2)

    def gradient(state: tuple[Array, Array], batch: _Batch) -> tuple[Array, Array]:
        basis = batch.basis
        few = basis[:, : state[1].shape[0]]
        params = jax.vmap(params_at, (None, None, None, 0, None))(
            fit.base, state[0], state[1] * fit.unit, basis, fit.root
        )
        of_nodes = params, batch.flux, batch.background
        slopes = jax.lax.map(lambda node: jax.grad(misfit)(*node), of_nodes) / size
        by_shape = jnp.tensordot(few.T, slopes[:, :, jnp.array([0, 2, 3])], axes=1) * fit.unit
        held = 2.0 * ridge * jnp.where(mean[:, None, None], _strayed(state[1]), state[1])
        by_total = slopes[:, :, 1] * slope_of_ln_area(basis @ state[0], fit.root)
        return basis.T @ by_total, by_shape + held

    def step(i: Array, carry: tuple[tuple[Array, Array], optax.OptState]) -> tuple:
        state, memory = carry
        batch = jax.tree.map(lambda part: part[i - first], batches)
        change, memory = _ADAM.update(gradient(state, batch), memory)
        pace = rate * 0.5 * (1.0 + jnp.cos(jnp.pi * i / steps))
        return jax.tree.map(lambda s, c: s - pace * c, state, change), memory

    return jax.lax.fori_loop(first, stop, step, (state, memory))


def _strayed(shape: Array) -> Array:
    """Return how far lines have moved beyond one width from where they were found, in units of
    coefficients (W, C, 3), times its penalty.

    A line that moves to model another leaves its own feature unmodelled, and could leave the
    pixels that the layout gives it, where the fit no longer sees its misfit.
    """
    moved = shape - jnp.clip(shape, -1.0 / SHIFT_UNIT, 1.0 / SHIFT_UNIT)
    return _STRAY_PENALTY * moved.at[:, :, 1:].set(0.0)


def _flux_of(params: Array, fit: _Fit, background: Array, composition: Composition) -> Array:
    return transmitted(optical_depth(params, fit.layout, composition) + background, composition)


def _render_all(
    area: Array, shape: Array, fit: _Fit, nodes: _Nodes, composition: Composition
) -> Rows:
    """Return the flux (N, P) of the lines at all nodes."""
    model = empty_rows(*nodes.flux.shape)
    for n, background in enumerate(each_row(nodes.background)):
        row = _render(area, shape, fit, background, nodes.basis[n], composition)
        model[n : n + 1] = np.asarray(row)
    return model


@partial(jax.jit, static_argnames="composition", compiler_options=ONE_ORDER)
def _render(
    area: Array,
    shape: Array,
    fit: _Fit,
    background: Array,
    basis: Array,
    composition: Composition,
) -> Array:
    params = params_at(fit.base, area, shape, basis, fit.root)
    return _flux_of(params, fit, background, composition)


def _without_lines(nodes: _Nodes, composition: Composition) -> Rows:
    """Return the flux (N, P) of the background alone."""
    model = empty_rows(*nodes.flux.shape)
    for some in row_blocks(len(model)):
        model[some] = np.asarray(transmitted(jnp.asarray(nodes.background[some]), composition))
    return model
