"""Lines over a whole grid from its spectra: the first ones, those that lack, and the fit.

The coefficients of all lines are fitted to all nodes at once by Adam on small batches of nodes, so
that blended lines cannot trade strength from node to node. Widths and centres are held to their
mean over the grid with a firmness.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray

from ..lines.catalogue import cluster
from ..lines.detect import detect, detect_missing
from ..lines.lines import Lines, fwhm, padded
from ..lines.render import ONE_ORDER, Layout, optical_depth, round_up, transmitted
from ..model.line_grid import Surface, joined, params_at, slope_of_ln_area, surface_layout, total_of
from ..recipe import Composition, JointFit, Recipe
from .single_node import DRIFT, REACH_MARGIN

_SPREAD = 0.3
"""A change of a ln width of this counts like a change of 1 in ln area (and so does a shift by
`DRIFT` widths), so that one learning rate serves all coefficients."""
_NEW, _FOUND = 3.0, 0.1
"""Ridge of the first coefficients of lines that are added, and of those first detected."""
_FAINTEST, _FAINTEST_NEW = 1e-3, 3e-2
"""Least strength, relative to its strongest node, that a line starts with."""
_ROOTED = 100.0
"""How much firmer than shapes over the grid a line is held near its place."""
_WIDENED = 2.0
"""How many times its first width makes a line one of wings."""
_B2 = 0.99
_LEAST_EPOCHS = 4
"""Times that a joint fit sees each node at the least, however many there are."""


def detect_surface(
    wavelength: NDArray[np.float64],
    flux: NDArray[np.float32],
    modes: NDArray[np.float64],
    recipe: Recipe,
) -> Surface:
    """First lines of the spectra `flux` (N, P) of a grid: detections of all nodes clustered.

    A line starts with the width of its strongest detection, and its area follows the optical
    depth at its centre from node to node.
    """
    found = [
        detect(
            wavelength,
            node.astype(np.float64),
            recipe.detection.prominence,
            recipe.detection.distance,
        )
        for node in flux
    ]
    lines = cluster(found, recipe.joint.cluster_width)
    depth = -np.log(np.clip(_at(lines, wavelength, flux), 1e-2, 1.0 - 1e-4))
    return _started(lines, depth, modes, recipe, _FAINTEST, _FOUND)


def with_missing(
    surface: Surface,
    wavelength: NDArray[np.float64],
    flux: NDArray[np.float32],
    model: NDArray[np.float32],
    modes: NDArray[np.float64],
    recipe: Recipe,
) -> Surface:
    """The surface with lines added where its flux `model` (N, P) absorbs too little."""
    pairs = zip(flux.astype(np.float64), model.astype(np.float64), strict=True)
    found = [
        detect_missing(
            wavelength, node, lines, recipe.detection.redetection, recipe.detection.distance
        )
        for node, lines in pairs
    ]
    lines = cluster(found, recipe.joint.cluster_width, _in_place(surface, modes))
    lacking = np.maximum(model - flux, 0.0) / np.maximum(flux, 0.1)
    depth = _at(lines, wavelength, lacking)
    return joined([surface, _started(lines, depth, modes, recipe, _FAINTEST_NEW, _NEW)])


def _in_place(surface: Surface, modes: NDArray[np.float64]) -> Lines:
    """Lines that still are what was detected, where they are at the node where they are strongest.

    Some have moved or widened to serve as the wings of others: what they were found for lacks.
    """
    params = surface.at(modes)
    strongest = params[params[:, :, 1].argmax(axis=0), np.arange(len(surface))]
    lines = Lines(surface.reference + strongest[:, 0], strongest, surface.profile)
    return lines.take(lines.fwhm <= _WIDENED * fwhm(surface.base, surface.profile))


def _at(
    lines: Lines, wavelength: NDArray[np.float64], values: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Values (N, P) at the references of lines, (N, C)."""
    if len(lines) == 0:
        return np.zeros((len(values), 0))
    return np.stack([np.interp(lines.reference, wavelength, node) for node in values])


def _started(
    lines: Lines,
    depth: NDArray[np.float64],
    modes: NDArray[np.float64],
    recipe: Recipe,
    faintest: float,
    ridge: float,
) -> Surface:
    """Lines whose areas follow `depth` (N, C) over the nodes, as far as the modes can."""
    count, n_modes, root = len(lines), modes.shape[1], recipe.joint.area_root
    area: NDArray[np.floating] = np.zeros((n_modes, count))
    if count:
        strongest = np.maximum(depth.max(axis=0), 1e-9)
        ratio = np.log(np.clip(depth / strongest, faintest, 1.0))
        normal = modes.T @ modes + ridge * np.eye(n_modes)
        area = np.linalg.solve(normal, modes.T @ total_of(ratio, root))
    shape = np.zeros((min(recipe.joint.shape_functions, n_modes), count, 3), np.float32)
    return Surface(
        lines.reference, lines.params, area.astype(np.float32), shape, root, recipe.profile
    )


def fit_surface(
    surface: Surface,
    wavelength: NDArray[np.float64],
    flux: NDArray[np.float32],
    modes: NDArray[np.float64],
    recipe: Recipe,
    background: NDArray[np.float32] | None = None,
    seed: int = 0,
) -> tuple[Surface, NDArray[np.float32]]:
    """Fit the lines of a surface to all nodes of a grid at once.

    Parameters
    ----------
    surface : Surface
        First values.
    wavelength : (P,)
        Å.
    flux : (N, P)
        Spectra of the nodes, in units of the continuum.
    modes : (N, K)
        The smooth functions at the nodes.
    recipe : Recipe
        Settings.
    background : (N, P), optional
        Summed depth of lines that are not fitted.
    seed : int
        Of the order of the batches.

    Returns
    -------
    Surface, (N, P) float32
        The fitted lines, and their flux at the nodes.
    """
    if background is None:
        background = np.zeros((len(flux), 1), np.float32)
    if len(surface) == 0:
        clear = np.asarray(transmitted(jnp.asarray(background), recipe.composition))
        return surface, np.broadcast_to(clear, flux.shape)
    layout = surface_layout(wavelength, surface, modes, recipe, REACH_MARGIN)
    whole = _padded(surface)
    fit = _Fit(
        jnp.asarray(whole.base),
        _units(whole),
        layout,
        jnp.asarray(flux),
        jnp.asarray(background),
        jnp.asarray(modes, jnp.float32),
        surface.root,
    )
    area, shape = _descend(
        jnp.asarray(whole.area),
        jnp.asarray(whole.shape),
        fit,
        jnp.asarray(_batches(len(flux), recipe.joint, seed)),
        recipe.joint.learning_rate,
        recipe.joint.shape_ridge,
        recipe.composition,
    )
    model = _render_all(area, shape, fit, recipe.composition)
    n = len(surface)
    fitted = replace(surface, area=np.asarray(area)[:, :n], shape=np.asarray(shape)[:, :n])
    return fitted, np.asarray(model)


def depth_of(
    surface: Surface,
    wavelength: NDArray[np.float64],
    modes: NDArray[np.float64],
    recipe: Recipe,
) -> NDArray[np.float32]:
    """Summed depth (N, P) of the lines of a surface at nodes."""
    layout = surface_layout(wavelength, surface, modes, recipe)
    render = jax.jit(
        partial(optical_depth, composition=recipe.composition), compiler_options=ONE_ORDER
    )
    return np.stack([np.asarray(render(jnp.asarray(p), layout)) for p in surface.at(modes)])


def _padded(surface: Surface) -> Surface:
    """More lines, without area, so that similar fits share one compilation."""
    count = round_up(len(surface), bits=3)
    more = count - len(surface)
    return replace(
        surface,
        reference=np.pad(surface.reference, (0, more)),
        base=padded(surface.base, count),
        area=np.pad(surface.area, ((0, 0), (0, more))),
        shape=np.pad(surface.shape, ((0, 0), (0, more), (0, 0))),
    )


def _units(surface: Surface) -> Array:
    """What a coefficient of one is in shift, ln sigma and ln gamma, (C, 3)."""
    width = jnp.asarray(fwhm(surface.base, surface.profile), jnp.float32)
    spread = jnp.full_like(width, _SPREAD)
    return jnp.stack([DRIFT * width, spread, spread], axis=1)


def _batches(count: int, settings: JointFit, seed: int) -> NDArray[np.int32]:
    """Nodes in random order, in (steps, batch), every one about once an epoch; as many epochs as
    the recipe says, or as make up its steps, but no fewer than `_LEAST_EPOCHS`."""
    rng = np.random.default_rng(seed)
    size = min(settings.batch, count)
    per_epoch = max(count // size, 1)
    epochs = min(settings.epochs, max(-(-settings.steps // per_epoch), _LEAST_EPOCHS))
    orders = [rng.permutation(count)[: per_epoch * size] for _ in range(epochs)]
    return np.concatenate(orders).reshape(-1, size).astype(np.int32)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("base", "unit", "layout", "flux", "background", "modes"),
    meta_fields=("root",),
)
@dataclass(frozen=True)
class _Fit:
    """What stays as it is during a fit."""

    base: Array
    unit: Array
    layout: Layout
    flux: Array
    background: Array
    modes: Array
    root: int


def _flux_of(params: Array, fit: _Fit, node: Array, composition: Composition) -> Array:
    depth = optical_depth(params, fit.layout, composition) + fit.background[node]
    return transmitted(depth, composition)


@partial(jax.jit, static_argnames="composition", compiler_options=ONE_ORDER)
def _descend(
    area: Array,
    shape: Array,
    fit: _Fit,
    batches: Array,
    rate: float,
    firmness: float,
    composition: Composition,
) -> tuple[Array, Array]:
    """Coefficients after one step of Adam for each of `batches` (steps, B) of nodes."""
    steps, size = batches.shape
    adam = optax.scale_by_adam(b2=_B2)
    loose = jnp.arange(shape.shape[0]) == 0  # the mean shape of a line is free, near its place

    def misfit(params: Array, node: Array) -> Array:
        return jnp.sum((_flux_of(params, fit, node, composition) - fit.flux[node]) ** 2)

    def gradient(state: tuple[Array, Array], nodes: Array) -> tuple[Array, Array]:
        modes = fit.modes[nodes]
        few = modes[:, : shape.shape[0]]
        params = jax.vmap(params_at, (None, None, None, 0, None))(
            fit.base, state[0], state[1] * fit.unit, modes, fit.root
        )
        slopes = jax.lax.map(lambda pair: jax.grad(misfit)(*pair), (params, nodes)) / size
        by_shape = jnp.tensordot(few.T, slopes[:, :, jnp.array([0, 2, 3])], axes=1) * fit.unit
        held = 2.0 * firmness * jnp.where(loose[:, None, None], _strayed(state[1]), state[1])
        by_total = slopes[:, :, 1] * slope_of_ln_area(modes @ state[0], fit.root)
        return modes.T @ by_total, by_shape + held

    def step(i: Array, carry: tuple[tuple[Array, Array], optax.OptState]) -> tuple:
        state, memory = carry
        change, memory = adam.update(gradient(state, batches[i]), memory)
        pace = rate * 0.5 * (1.0 + jnp.cos(jnp.pi * i / steps))
        return jax.tree.map(lambda s, c: s - pace * c, state, change), memory

    start = (area, shape / fit.unit)
    (area, scaled), _ = jax.lax.fori_loop(0, steps, step, (start, adam.init(start)))
    return area, scaled * fit.unit


def _strayed(shape: Array) -> Array:
    """How much farther than its first width a line has moved, in units of coefficients (W, C, 3),
    times how much firmer it is held there.

    Lines stay where they were found: one that serves in the place of another would be missed in its
    own, and could leave the pixels where the layout has it, unseen by the fit.
    """
    moved = shape - jnp.clip(shape, -1.0 / DRIFT, 1.0 / DRIFT)
    return _ROOTED * moved.at[:, :, 1:].set(0.0)


@partial(jax.jit, static_argnames="composition", compiler_options=ONE_ORDER)
def _render_all(area: Array, shape: Array, fit: _Fit, composition: Composition) -> Array:
    """Flux (N, P) of the lines at all nodes."""

    def one(node: Array) -> Array:
        params = params_at(fit.base, area, shape, fit.modes[node], fit.root)
        return _flux_of(params, fit, node, composition)

    return jax.lax.map(one, jnp.arange(fit.flux.shape[0]))
