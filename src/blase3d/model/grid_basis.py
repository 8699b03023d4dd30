"""The functions over the nodes of a grid that the strengths of its lines follow.

The first are smooth (`manifold.smooth_modes`), whatever the library is. What its spectra do beyond
them, lines have in common: a molecule that is there in a corner of the grid takes all its lines
with it. So the library's *own* functions come after them: the principal components, over the
nodes, of what smooth functions leave of the spectra.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..recipe import JointFit, Recipe
from .interpolation import coordinates, smooth_modes
from .line_grid import Surface

OWN_STEP = 1e-3
"""Own functions are multiples of this: they are the same on every machine, and small in a file."""
_POWER, _LEAST = 0.75, 0.02
"""An own function has the rms that its component has, relative to that of the spectra themselves,
to this power, and this at the least: coefficients of one size are what the library is like."""
_NOTHING = 1e-4
"""Components this weak, relative to the spectra, are rounding."""


def box_functions(
    axes: Mapping[str, NDArray[np.float64]],
    recipe: Recipe,
    own: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """The functions at the nodes of the box, last label fastest, (box, K): smooth ones and the
    library's `own` (box, K'); or, where nodes were cloned by themselves, one for every node."""
    if not isinstance(recipe.fit, JointFit):
        return np.eye(int(np.prod([len(axis) for axis in axes.values()])))
    smooth = smooth_modes(coordinates(axes), recipe.fit.smooth_functions)
    return smooth if own is None else np.concatenate([smooth, own], axis=1)


def functions_with_residual(surface: Surface, recipe: Recipe, own: int) -> int:
    """How many functions areas follow where the residual is added: not the last, the library's
    `own`, and as many as widths at the least."""
    every = len(surface.area)
    if not isinstance(recipe.fit, JointFit) or recipe.fit.functions_with_residual == 0:
        return every
    return min(max(recipe.fit.functions_with_residual, len(surface.shape)), every - own)


def own_functions(
    smooth: NDArray[np.floating], strengths: NDArray[np.floating], count: int
) -> NDArray[np.float64]:
    """The library's own functions at its nodes, (N, `count`), or fewer if there is nothing more.

    Parameters
    ----------
    smooth : (N, K)
        The smooth functions at the nodes.
    strengths : (N, P)
        `emulator.strength` of the spectra of the nodes, at some pixels.
    """
    varying = strengths - strengths.mean(axis=0)
    coefficients, *_ = np.linalg.lstsq(smooth, varying, rcond=None)
    vectors, sizes, _ = np.linalg.svd(varying - smooth @ coefficients, full_matrices=False)
    relative = sizes[:count] / max(np.linalg.norm(varying, 2), np.finfo(float).tiny)
    relative = relative[relative > _NOTHING]
    vectors = vectors[:, : relative.size]
    upright = np.where(vectors[np.abs(vectors).argmax(axis=0), np.arange(relative.size)] < 0, -1, 1)
    rms = np.maximum(relative**_POWER, _LEAST)
    return rounded(vectors * upright * np.sqrt(len(vectors)) * rms)


def rounded(own: NDArray[np.floating]) -> NDArray[np.float64]:
    """Own functions as multiples of the step in which files have them."""
    return np.round(own / OWN_STEP) * OWN_STEP
