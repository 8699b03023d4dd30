"""The error that a model expects of itself between its nodes.

An interpolant errs by about what it differs from the next best one, times a share that the nodes
tell. The next best is the spline of the next lower degree (`manifold.lowered_degree`): each inner
node is left out in turn, along each label, predicted from the others with both degrees, and

    share = rms(best − truth) / rms(best − lowered)

Along labels of few values it is the polynomial to which nothing is borrowed, and the share is two:
how well what is borrowed holds, no node can tell, nor what comes after it.

The differences of the two in the middle of the cells, times the share of their label, are taken as
draws of the error, and their covariance over pixels is kept as its strongest modes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .evaluate import emulate, flux_of_strength
from .interpolation import (
    LOGARITHMIC,
    SHORT,
    best_degree,
    coordinates,
    lowered_degree,
    make_manifold,
    spline_through,
)
from .model import Model, rates_of

_MODES = 12
_CELLS = 200
"""Cells, at the most, whose middles are looked at."""
_UNKNOWN, _BORROWED = 1.0, 2.0
"""Shares along few nodes, where nothing is borrowed and where something is. By half of this, [Fe/H]
of held-out cool dwarfs is outside of its 95 % interval too often (`benchmarks/inference.py`)."""


def emulator_error(model: Model, shares: dict[str, float]) -> NDArray[np.float32]:
    """Modes (K, P) of the error of a model between its nodes, in units of the continuum.

    Parameters
    ----------
    model : Model
        Without error modes yet.
    shares : dict
        Of each label, from `error_shares`; labels without one have no error: there is nothing to
        compare.
    """
    rates = rates_of(model)
    lowered = {
        name: replace(
            model.emulator, manifold=make_manifold(model.axes, "spline", rates, lowered=name)
        )
        for name in shares
    }
    if not lowered:
        return np.empty((0, model.wavelength.size), np.float32)
    cells = _middles(model)
    draws = []
    for labels in jnp.asarray(cells, jnp.float32):
        best = np.asarray(_emulate(model.emulator, labels))
        draws += [
            shares[name] * (best - np.asarray(_emulate(other, labels)))
            for name, other in lowered.items()
        ]
    errors = np.stack(draws) / np.sqrt(len(cells))
    _, vectors = np.linalg.eigh(errors @ errors.T)
    return (vectors[:, -_MODES:].T @ errors).astype(np.float32)


_emulate = jax.jit(emulate)


def _middles(model: Model) -> NDArray[np.float64]:
    """Labels in the middle of the cells, or of some of them, (cells, L)."""
    middles = [_between(name, axis) if len(axis) > 1 else axis for name, axis in model.axes.items()]
    cells = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1).reshape(-1, len(middles))
    return cells[:: -(-len(cells) // _CELLS)]


def _between(name: str, axis: NDArray[np.float64]) -> NDArray[np.float64]:
    if name in LOGARITHMIC:
        return np.sqrt(axis[1:] * axis[:-1])
    return 0.5 * (axis[1:] + axis[:-1])


def error_shares(model: Model, strengths: NDArray[np.float64]) -> dict[str, float]:
    """How far the error of interpolation is from the difference to the next best, by label.

    Parameters
    ----------
    strengths : (..., P)
        `emulator.strength` of the spectra of the box, one dimension for each label, at some pixels.
    """
    if model.recipe.interpolation != "spline":
        return {}
    shares, borrowing = {}, rates_of(model)
    for k, (name, axis) in enumerate(zip(model.axes, coordinates(model.axes), strict=True)):
        if len(axis) > SHORT:
            shares[name] = _ratio(_left_out(axis, np.moveaxis(strengths, k, 0)))
        elif name in borrowing:
            shares[name] = _BORROWED
        elif len(axis) > 2:
            shares[name] = _UNKNOWN
    return shares


Differences = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Of a node that is left out: flux of the best interpolant less the truth, and less the lowered."""


def _ratio(pairs: Iterable[Differences]) -> float:
    """The share that differences tell."""
    sums = np.sum([[np.sum(error**2), np.sum(step**2)] for error, step in pairs], axis=0)
    return float(np.sqrt(sums[0] / sums[1])) if sums[1] else 0.0


def _left_out(axis: NDArray[np.float64], values: NDArray[np.float64]) -> Iterator[Differences]:
    """Each inner node of an axis (n,), predicted from all others: `values` (n, ..., pixels)."""
    count = len(axis)
    degrees = best_degree(count), lowered_degree(count)
    for i in range(1, count - 1):
        yield _differences(axis, values, i, np.delete(np.arange(count), i), degrees)


def _differences(
    axis: NDArray[np.float64],
    values: NDArray[np.float64],
    i: int,
    others: NDArray[np.int64],
    degrees: tuple[int, int],
) -> Differences:
    best, lowered = (
        _flux(spline_through(axis[others], values[others], k)(axis[i])) for k in degrees
    )
    return best - _flux(values[i]), best - lowered


def _flux(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(flux_of_strength(jnp.asarray(values)), np.float64)
