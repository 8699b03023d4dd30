"""What labels of few values borrow from the others.

Along two to four values of a label, the usual number for abundances, the curve of a spectrum is
known to an order that its course between the nodes exceeds. But line strengths, whatever the
label, go up and down one curve of growth: hotter is much like poorer in metals. So the bend along
one label shows in how slopes along it change with the others. With S the strength (`emulator`) of
any pixel, x the label of n values and y the others,

    ∂ⁿS/∂xⁿ = Σₗ rₗ ∂/∂yₗ ∂ⁿ⁻¹S/∂xⁿ⁻¹

with rates r that are the same at all wavelengths. They are found from the nodes, by least squares
over the pixels, one order below, where both sides are known: at every node of the other labels,
with the errors of the flux for weights. How well they hold in the next order no node can tell: what
is borrowed counts twice as the model's error (`error_model`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .evaluate import slope_of_flux
from .interpolation import SHORT, highest_difference, slopes_between, unit_axes

_RIDGE = 1e-6
"""Of the rates, relative to the squares of what they explain: what does nothing lends nothing."""


def borrow(
    axes: Mapping[str, NDArray[np.float64]], strengths: NDArray[np.floating]
) -> dict[str, NDArray[np.float64]]:
    """The rates (..., L − 1), at the nodes of the other labels (`manifold.Borrowed`), of all labels
    that have few values and others to borrow from.

    Parameters
    ----------
    axes : dict
        Values of each label at the nodes of the box.
    strengths : (..., P)
        `emulator.strength` of the spectra of the box, one dimension for each label, at some pixels.
    """
    units = unit_axes(axes)
    varying = sum(unit.size > 1 for unit in units)
    return {
        name: _rates(units, k, strengths)
        for k, name in enumerate(axes)
        if 1 < units[k].size <= SHORT and varying > 1
    }


def _rates(
    units: list[NDArray[np.float64]], k: int, strengths: NDArray[np.floating]
) -> NDArray[np.float64]:
    along = np.moveaxis(strengths, k, -2)
    felt = np.asarray(slope_of_flux(jnp.asarray(along.mean(axis=-2))), np.float64)
    others = [unit for i, unit in enumerate(units) if i != k]
    known = np.tensordot(along, highest_difference(units[k]), axes=(-2, 0)) * felt
    below = np.tensordot(along, _mean_difference(units[k]), axes=(-2, 0))
    changes = np.stack(
        [
            np.moveaxis(np.tensordot(slopes_between(unit), below, axes=(1, i)), 0, i) * felt
            for i, unit in enumerate(others)
        ],
        axis=-2,
    )
    normal = changes @ np.swapaxes(changes, -1, -2)
    ridge = _RIDGE * np.sum(known**2, axis=-1) + 1e-30
    normal += ridge[..., None, None] * np.eye(len(others))
    return np.asarray(np.linalg.solve(normal, changes @ known[..., None])[..., 0], np.float64)


def _mean_difference(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (n,) of values at x (n,) in the mean derivative of order n − 2: that of the
    polynomial of this degree that is nearest to them."""
    design = np.vander(x - x.mean(), x.size - 1)
    return math.factorial(x.size - 2) * np.linalg.pinv(design)[0]
