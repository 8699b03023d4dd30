"""Expected error of a model between the nodes.

The error of an interpolant is about its difference from the next best one, times a share that is
measured at the nodes. The next best is the spline of the next lower degree
(`interpolation.lowered_degree`). Each inner node is left out in turn, along each label, and
predicted from the others with both degrees:

    share = rms(best − truth) / rms(best − lowered)

Along labels of few values the next best is the polynomial without its cross derivative
(`short_axes`), and the share is two: no node can tell how well that derivative holds, nor the size
of the next one.

The differences of the two in the middle of the cells, times the share of their label, are draws of
the error. The principal components of their covariance over pixels are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ..runtime.arrays import Singles
from ..runtime.rows import Rows, row_blocks
from .evaluate import ForwardModel, PcaResidual, add_residual, evaluate, flux_of_opacity_root
from .interpolation import (
    LOGARITHMIC,
    SHORT,
    Interpolation,
    best_degree,
    coordinates,
    lowered_degree,
    make_interpolation,
    spline_through,
)
from .model import Model
from .residual import Components

_MODES = 12
"""Components that are kept."""
_CELLS = 200
"""Largest number of cells in whose middle the error is evaluated."""
_COMPONENTS = 64
"""Components whose amplitudes are in memory at a time."""
_UNKNOWN, _CROSS = 1.0, 2.0
"""Shares along labels of few values, without and with a cross derivative. With half of the latter,
[Fe/H] of held-out cool dwarfs leaves its 95 % interval too often (`benchmarks/inference.py`)."""


def error_draws(
    model: Model, shares: dict[str, float], residual: Components | None = None
) -> NDArray[np.float32]:
    """Return draws (D, P) of the error between the nodes, whose products are its covariance.

    Parameters
    ----------
    model : Model
        The lines to which the residual is added.
    shares : dict
        Those of `error_shares`; a label without one adds no error.
    residual : Components, optional
        In the box.

    Transitions are left out, as they are where the shares are measured. So the error includes what
    a transition changes between the nodes, which stars need not follow as the library does.
    """
    if not shares:
        return np.empty((0, model.wavelength.size), np.float32)
    splines = [
        make_interpolation(model.axes, "spline", model.cross_derivatives, name)
        for name in (None, *shares)
    ]
    cells = jnp.asarray(_middles(model), jnp.float32)
    best, *lowered = _fluxes(model.forward, splines, cells, residual)
    draws = np.empty((len(cells), len(shares), model.wavelength.size), np.float32)
    for of_cell, of_best, *others in zip(draws, best, *lowered, strict=True):
        for share, other, draw in zip(shares.values(), others, of_cell, strict=True):
            draw[:] = share * (of_best - other)
    draws /= np.sqrt(len(cells))
    return draws.reshape(-1, model.wavelength.size)


def _fluxes(
    forward: ForwardModel,
    splines: Sequence[Interpolation],
    cells: Array,
    residual: Components | None,
) -> list[Iterator[NDArray[np.float32]]]:
    """Return, for each interpolation, the flux (P,) at labels in cells, (cells, L), one by one."""
    forwards = [replace(forward, interpolation=one) for one in splines]
    if residual is None:
        return [map(np.asarray, map(partial(_evaluate, one), cells)) for one in forwards]
    shared = jax.device_put((residual.pixels, residual.scale))
    amplitudes = [_amplitudes(one, cells, residual.amplitudes) for one in splines]

    def at_cells(forward: ForwardModel, rows: Singles) -> Iterator[NDArray[np.float32]]:
        for labels, row in zip(cells, rows[:, None], strict=True):
            in_cell = PcaResidual(jnp.asarray(row), *shared)
            yield np.asarray(_with_residual(forward, labels, in_cell))

    return [at_cells(*pair) for pair in zip(forwards, amplitudes, strict=True)]


def _amplitudes(interpolation: Interpolation, cells: Array, nodes: Rows) -> Singles:
    """Return amplitudes (cells, R) at labels (cells, L), from those at the nodes of the box,
    (R, box), of which some are in memory at a time."""
    weights = np.asarray(_weights(interpolation, cells))
    found = np.empty((len(cells), len(nodes)), np.float32)
    for some in row_blocks(len(nodes), _COMPONENTS):
        found[:, some] = weights @ nodes[some].T
    return found


def strongest_modes(products: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the strongest eigenvectors (D, K) of the products of draws (D, D)."""
    if not products.size:
        return np.empty((0, 0), np.float32)
    return np.linalg.eigh(products)[1][:, -_MODES:]


def make_error_modes(draws: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the modes (K, P) of the error between the nodes, in units of the continuum, from its
    draws (D, P) on all pixels."""
    wide = draws.astype(np.float64)
    return modes_of(wide, strongest_modes(wide @ wide.T))


def modes_of(draws: NDArray[np.floating], vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the modes (K, P) of draws (D, P)."""
    return (vectors.T @ draws).astype(np.float32)


@jax.jit
def _weights(interpolation: Interpolation, labels: Array) -> Array:
    """Weights of the nodes of the box, (..., box), at labels (..., L)."""
    return jax.vmap(interpolation.weights)(labels)


@jax.jit
def _with_residual(forward: ForwardModel, labels: Array, residual: PcaResidual) -> Array:
    """The flux (P,) of lines at labels (L,), corrected by a residual of one node."""
    lines = evaluate(forward, labels)
    return add_residual(replace(forward, residual=residual), lines, jnp.ones(1))


_evaluate = jax.jit(evaluate)


def _middles(model: Model) -> NDArray[np.float64]:
    """Labels in the middle of at most `_CELLS` cells, (cells, L)."""
    middles = [_between(name, axis) if len(axis) > 1 else axis for name, axis in model.axes.items()]
    cells = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1).reshape(-1, len(middles))
    return cells[:: -(-len(cells) // _CELLS)]


def _between(name: str, axis: NDArray[np.float64]) -> NDArray[np.float64]:
    if name in LOGARITHMIC:
        return np.sqrt(axis[1:] * axis[:-1])
    return 0.5 * (axis[1:] + axis[:-1])


def error_shares(model: Model, roots: NDArray[np.float64]) -> dict[str, float]:
    """Return the error of interpolation over the difference to the next best, by label.

    Parameters
    ----------
    roots : (..., P)
        `evaluate.opacity_root` of the spectra of the box, one dimension for each label, at some
        pixels.
    """
    if model.recipe.interpolation != "spline":
        return {}
    shares = {}
    for k, (name, axis) in enumerate(zip(model.axes, coordinates(model.axes), strict=True)):
        if len(axis) > SHORT:
            shares[name] = _ratio(_left_out(axis, np.moveaxis(roots, k, 0)))
        elif name in model.cross_derivatives:
            shares[name] = _CROSS
        elif len(axis) > 2:
            shares[name] = _UNKNOWN
    return shares


Differences = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Flux of the best interpolant less the truth, and less the lowered one, at a node left out."""


def _ratio(pairs: Iterable[Differences]) -> float:
    """The share from differences at many nodes."""
    sums = np.sum([[np.sum(error**2), np.sum(step**2)] for error, step in pairs], axis=0)
    return float(np.sqrt(sums[0] / sums[1])) if sums[1] else 0.0


def _left_out(axis: NDArray[np.float64], values: NDArray[np.float64]) -> Iterator[Differences]:
    """The differences at each inner node of an axis (n,) with `values` (n, ..., pixels)."""
    flat = values.reshape(axis.size, -1)
    for i in range(1, axis.size - 1):
        best, lowered = (
            _flux(_weights_without(axis, i, degree) @ flat)
            for degree in (best_degree(axis.size), lowered_degree(axis.size))
        )
        yield best - _flux(flat[i]), best - lowered


def _weights_without(axis: NDArray[np.float64], i: int, degree: int) -> NDArray[np.float64]:
    """Return the weights (n,) of the values of an axis at its node i in the spline through all
    others."""
    others = np.delete(axis, i)
    return np.insert(spline_through(others, np.eye(others.size), degree)(axis[i]), i, 0.0)


def _flux(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(flux_of_opacity_root(jnp.asarray(values)), np.float64)
