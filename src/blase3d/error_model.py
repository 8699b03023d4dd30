"""The error that a model expects of itself between its nodes.

An interpolant errs by about what it differs from the next best one (`manifold.lowered_degree`),
times a share that the nodes tell: each interior node is left out in turn, along each label,
predicted from the others with both degrees, and

    share = rms(best − truth) / rms(best − lowered)

A label of three nodes cannot spare one: its share is taken to be that of parabolas through three
nodes of the other labels.

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

from .emulator import emulate, flux_of_strength, strength
from .manifold import (
    LOGARITHMIC,
    best_degree,
    coordinates,
    lowered_degree,
    make_manifold,
    spline_through,
)
from .model import Model
from .residual import DARKEST

_MODES = 12
_CELLS = 200
"""Cells, at the most, whose middles are looked at."""
_PIXELS = 4000
"""Pixels, at the most, that leave-one-out looks at."""
_UNKNOWN = 1.0
"""Share along labels of three nodes where no label has more: the whole."""


def emulator_error(model: Model, shares: dict[str, float]) -> NDArray[np.float32]:
    """Modes (K, P) of the error of a model between its nodes, in units of the continuum.

    Parameters
    ----------
    model : Model
        Without error modes yet.
    shares : dict
        Of each label, from `error_shares`; labels without one have no error: their axis has one
        or two nodes, and there is nothing to compare.
    """
    names = list(model.axes)
    lowered = {
        name: replace(
            model.emulator,
            manifold=make_manifold(model.axes, "spline", lowered=names.index(name)),
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


def error_shares(
    model: Model, flux: NDArray[np.float32], complete: NDArray[np.float64]
) -> dict[str, float]:
    """How far the error of interpolation is from the difference to a lower degree, by label.

    Parameters
    ----------
    flux : (N, P)
        The spectra of the nodes, in units of the continuum.
    complete : (box, N)
        From values at the nodes to values in the whole box (`manifold.fill_holes`).
    """
    if model.recipe.manifold != "spline":
        return {}
    some = flux[:, :: -(-flux.shape[1] // _PIXELS)]
    values = complete @ np.asarray(strength(jnp.asarray(np.maximum(some, DARKEST))))
    box = values.reshape(*(len(axis) for axis in model.axes.values()), -1)
    places = zip(model.axes, coordinates(model.axes), strict=True)
    along = {
        name: (axis, np.moveaxis(box, k, 0))
        for k, (name, axis) in enumerate(places)
        if len(axis) > 2
    }
    known = {name: given for name, given in along.items() if len(given[0]) > 3}
    parabolas = _ratio(pair for given in known.values() for pair in _by_parabolas(*given))
    return {name: _ratio(_left_out(*along[name])) if name in known else parabolas for name in along}


Differences = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Of a node that is left out: flux of the best interpolant less the truth, and less the lowered."""


def _ratio(pairs: Iterable[Differences]) -> float:
    """The share that differences tell."""
    sums = np.sum([[np.sum(error**2), np.sum(step**2)] for error, step in pairs], axis=0)
    if not sums.any():
        return _UNKNOWN
    return float(np.sqrt(sums[0] / sums[1])) if sums[1] else 0.0


def _left_out(axis: NDArray[np.float64], values: NDArray[np.float64]) -> Iterator[Differences]:
    """Each inner node of an axis (n,), predicted from all others: `values` (n, ..., pixels)."""
    count = len(axis)
    # the pair of degrees that the whole axis has, where the others can bear it
    degrees = best_degree(count - 1), lowered_degree(count if count > 4 else count - 1)
    for i in range(1, count - 1):
        yield _differences(axis, values, i, np.delete(np.arange(count), i), degrees)


def _by_parabolas(axis: NDArray[np.float64], values: NDArray[np.float64]) -> Iterator[Differences]:
    """Each inner node, predicted from its neighbours and the next node after one of them."""
    count = len(axis)
    for i in range(1, count - 1):
        further = next(k for k in (i + 3, i - 3, i + 2, i - 2) if 0 <= k < count)
        yield _differences(axis, values, i, np.sort([i - 1, i + 1, further]), (2, 1))


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
