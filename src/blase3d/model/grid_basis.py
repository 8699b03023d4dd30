"""Functions over the nodes of a grid that the areas of its lines follow.

The first are smooth, whatever the library is (`smooth_basis`). The others are the library's own
(`data_basis`): the principal components, over the nodes, of what the smooth ones leave of its
spectra. Lines have that in common: a molecule that forms in one corner of the grid brings all its
lines at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, orth

from ..recipe import JointFit, Recipe
from .completion import roughness
from .interpolation import coordinates
from .line_grid import LineGrid

DATA_STEP = 1e-3
"""Functions of the data are multiples of this: equal on every machine, and small in a file."""
_POWER, _LEAST = 0.75, 0.02
"""A function of the data has the rms of its component, relative to that of the spectra, to this
power, and at least this. Then coefficients of equal size are typical of the library."""
_NEGLIGIBLE = 1e-4
"""Components this weak, relative to the spectra, are rounding errors."""
_LEAST_SMOOTH = 0.02
"""Least rms of a smooth function, relative to the smoothest."""


def grid_basis(
    axes: Mapping[str, NDArray[np.float64]],
    recipe: Recipe,
    data: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Return the functions at the nodes of the box, last label fastest, (box, K).

    Smooth ones, and those of the `data` (box, K'); or, where each node was fitted by itself, one
    for every node.
    """
    if not isinstance(recipe.fit, JointFit):
        return np.eye(int(np.prod([len(axis) for axis in axes.values()])))
    smooth = smooth_basis(coordinates(axes), recipe.fit.smooth_functions)
    return smooth if data is None else np.concatenate([smooth, data], axis=1)


def functions_with_residual(lines: LineGrid, recipe: Recipe, data_count: int) -> int:
    """Return how many functions areas follow where the residual is added.

    None of the data, whose number is `data_count`, and at least as many as widths follow.
    """
    count = len(lines.area)
    if not isinstance(recipe.fit, JointFit) or recipe.fit.functions_with_residual == 0:
        return count
    return min(max(recipe.fit.functions_with_residual, len(lines.shape)), count - data_count)


def smooth_basis(axes: Sequence[NDArray[np.float64]], count: int) -> NDArray[np.float64]:
    """Return the `count` smoothest functions on the nodes of a box, (box, count).

    They are the products of the eigenvectors, along each axis, of the roughness (squared second
    differences between neighbours, and weakly squared first ones: Demmler & Reinsch 1975), in
    order of the sum of their eigenvalues. The first is constant. Each has unit rms but for a
    factor that falls with its roughness, so that coefficients of equal size make a smooth
    function. The last function along an axis of three nodes or more is left out: it alternates
    from node to node, and does not constrain anything between them.
    """
    values, vectors = zip(*(_axis_basis(np.asarray(axis)) for axis in axes), strict=True)
    shape = tuple(len(found) for found in values)
    rough = np.add.reduce(np.meshgrid(*values, indexing="ij")).ravel()
    chosen = np.argsort(rough, kind="stable")[:count]
    indices = np.unravel_index(chosen, shape)
    functions = np.ones((1, len(chosen)))
    for basis, index in zip(vectors, indices, strict=True):
        functions = (functions[:, None, :] * basis[None, :, index]).reshape(-1, len(chosen))
    first = rough[chosen[1]] if len(chosen) > 1 else 1.0
    return functions * np.maximum(1.0 / np.sqrt(1.0 + rough[chosen] / first), _LEAST_SMOOTH)


def _axis_basis(axis: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Roughness (m,) of the smoothest functions on n values, and the functions (n, m)."""
    count = axis.size
    rough = roughness([axis], slope=0.1).toarray()
    values, vectors = np.linalg.eigh(rough.T @ rough)
    values, vectors = values[: max(2, count - 1)], vectors[:, : max(2, count - 1)]
    sign = np.where(vectors[-1] < 0.0, -1.0, 1.0)  # the same on every machine
    return np.maximum(values, 0.0), vectors * sign * np.sqrt(count)


def data_basis(
    smooth: NDArray[np.floating], roots: NDArray[np.floating], count: int
) -> NDArray[np.float64]:
    """Return the functions of the data at the nodes, (N, `count`) or fewer.

    Parameters
    ----------
    smooth : (N, K)
        The smooth functions at the nodes.
    roots : (N, P)
        `evaluate.opacity_root` of the spectra of the nodes, at some pixels.
    """
    varying = roots - roots.mean(axis=0)
    (strongest,), _ = _components(varying, 1)
    span = orth(smooth)
    varying -= span @ (span.T @ varying)
    sizes, vectors = _components(varying, count)
    relative = sizes / max(strongest, np.finfo(float).tiny)
    relative = relative[relative > _NEGLIGIBLE]
    vectors = vectors[:, : relative.size]
    vectors /= np.linalg.norm(vectors, axis=0)
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(relative.size)]
    rms = np.maximum(relative**_POWER, _LEAST)
    return rounded(vectors * np.where(largest < 0, -1, 1) * np.sqrt(len(vectors)) * rms)


def _components(
    values: NDArray[np.floating], count: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the largest `count` singular values of `values` (N, P), or all, and multiples of the
    left singular vectors.

    They follow from the products of the rows, or of the columns if these are fewer, in a part of
    the time and memory of a decomposition of the values.
    """
    few_rows = len(values) <= len(values.T)
    products = values @ values.T if few_rows else values.T @ values
    last = len(products) - 1
    squares, vectors = eigh(products, subset_by_index=(max(last - count + 1, 0), last))
    sizes, vectors = np.sqrt(np.maximum(squares[::-1], 0.0)), vectors[:, ::-1]
    return sizes, vectors if few_rows else values @ vectors


def rounded(functions: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return functions of the data as multiples of the step in which files have them."""
    return np.round(functions / DATA_STEP) * DATA_STEP
