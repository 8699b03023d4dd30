"""Lines over a grid: line parameters as functions of the labels.

Every line has, over the nodes of a grid,

    ln a  = base + n ln(1 + Σₖ uₖ Aₖ / n)   k < K
    shift, ln σ, ln γ = base + Σₖ uₖ Sₖ     k < W, W < K

with functions uₖ over the grid (`grid_basis`). The n-th roots of areas follow all of them, widths
and centres the smoothest. `fitting.joint_fit` fits the coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ..lines.lines import DEFAULT_PROFILE, NO_AREA, fwhm
from ..lines.render import Layout, core, make_layout, reach
from ..recipe import Recipe

_AREA_STEP, _STRONG, _COARSEST = 0.004, 0.3, 8.0
_SHAPE_STEPS = np.array([2e-4, 0.01, 0.01])
"""Steps of the coefficients of ln area, and of shift (Å), ln sigma and ln gamma, in a model file:
far below the errors of a fit. Those of ln area grow, up to `_COARSEST` times, where a line absorbs
less than `_STRONG` at its centre."""
_LAYOUT_NODES = 24
"""Largest number of nodes at which the reach of a line is computed."""
_LEAST_ROOT = 0.2
"""Root of an area, relative to its `base`, below which it goes to zero as an exponential: areas
stay positive."""


@dataclass(frozen=True, eq=False)
class LineGrid:
    """C lines over a grid.

    Attributes
    ----------
    reference : (C,) float64
        Wavelengths that name the lines, Å in vacuum.
    base : (C, 4) float32
        Columns of `lines.PARAMETERS`.
    area : (K, C) float32
        Coefficients of ln area.
    shape : (W, C, 3) float32
        Coefficients of shift (Å), ln sigma and ln gamma.
    root : int
        n of the root of areas that is a sum of the functions; 0: their logarithm is.
    profile : str
        Name of the profile of the lines.
    """

    reference: NDArray[np.float64]
    base: NDArray[np.float32]
    area: NDArray[np.float32]
    shape: NDArray[np.float32]
    root: int = 0
    profile: str = DEFAULT_PROFILE

    def __len__(self) -> int:
        return self.reference.size

    def at(self, basis: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the parameters (N, C, 4) at nodes where the functions are `basis` (N, K)."""
        change = np.tensordot(basis[:, : len(self.shape)], self.shape, axes=1)
        ln_area = ln_area_of(basis[:, : len(self.area)] @ self.area, self.root, np)
        columns = [change[..., 0], ln_area, change[..., 1], change[..., 2]]
        return (self.base + np.stack(columns, axis=-1)).astype(np.float32)

    def rounded(self) -> LineGrid:
        """Return the lines with coefficients that are multiples of `steps`, for a small file."""
        area_steps, shape_steps = steps(self.base, self.profile)
        area = np.round(self.area / area_steps) * area_steps
        shape = np.round(self.shape / shape_steps) * shape_steps
        return replace(self, area=area.astype(np.float32), shape=shape.astype(np.float32))

    def smoothed(self, count: int) -> LineGrid:
        """Return the lines as they follow the first `count` functions alone."""
        return replace(self, area=self.area[:count])

    def padded(self, count: int) -> LineGrid:
        """Return `count` lines, the last of which absorb nothing and are far away."""
        more = count - len(self)
        blank = np.tile(np.array([0.0, NO_AREA, 0.0, 0.0], np.float32), (more, 1))
        return replace(
            self,
            reference=np.append(self.reference, np.full(more, 1e9)),
            base=np.concatenate([self.base, blank]),
            area=np.pad(self.area, ((0, 0), (0, more))),
            shape=np.pad(self.shape, ((0, 0), (0, more), (0, 0))),
        )

    def take(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> LineGrid:
        """The lines of these indices (or of this mask), in that order."""
        return replace(
            self,
            reference=self.reference[which],
            base=self.base[which],
            area=self.area[:, which],
            shape=self.shape[:, which],
        )


def steps(
    base: NDArray[np.float32], profile: str = DEFAULT_PROFILE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the steps of the coefficients of ln area (C,) and shape (3,), for lines of `base`."""
    depth = np.exp(base[:, 1].astype(np.float64)) / fwhm(base, profile)
    return _AREA_STEP * np.clip(_STRONG / depth, 1.0, _COARSEST), _SHAPE_STEPS


def joined(grids: list[LineGrid]) -> LineGrid:
    """Return all lines of several grids, in order of reference."""
    together = replace(
        grids[0],
        reference=np.concatenate([grid.reference for grid in grids]),
        base=np.concatenate([grid.base for grid in grids]),
        area=np.concatenate([grid.area for grid in grids], axis=1),
        shape=np.concatenate([grid.shape for grid in grids], axis=1),
    )
    return together.take(np.argsort(together.reference, kind="stable"))


def params_at(base: Array, area: Array, shape: Array, basis: Array, root: int) -> Array:
    """Return line parameters (C, 4) where the functions are `basis` (K,)."""
    change = jnp.tensordot(basis[: shape.shape[0]], shape, axes=1)
    columns = [change[:, 0], ln_area_of(basis @ area, root), change[:, 1], change[:, 2]]
    return base + jnp.stack(columns, axis=1)


def ln_area_of(total: Any, root: int, lib: Any = jnp) -> Any:
    """Return ln area, relative to `base`, where the functions add up to `total`.

    `lib` is JAX's NumPy or NumPy itself.
    """
    if not root:
        return total
    ratio = 1.0 + total / root
    faint = math.log(_LEAST_ROOT) + ratio / _LEAST_ROOT - 1.0
    logarithm = lib.log(lib.maximum(ratio, _LEAST_ROOT))
    return root * lib.where(ratio < _LEAST_ROOT, faint, logarithm)


def slope_of_ln_area(total: Array, root: int) -> Array:
    """Return the derivative of `ln_area_of`."""
    return 1.0 / jnp.maximum(1.0 + total / root, _LEAST_ROOT) if root else jnp.ones_like(total)


def total_of(ln_area: NDArray[np.float64], root: int) -> NDArray[np.float64]:
    """Return the inverse of `ln_area_of`."""
    if not root:
        return ln_area
    below = ln_area / root - math.log(_LEAST_ROOT)
    ratio = _LEAST_ROOT * np.where(below < 0.0, 1.0 + below, np.exp(below))
    return root * (ratio - 1.0)


def line_grid_layout(
    wavelength: NDArray[np.float64],
    lines: LineGrid,
    basis: NDArray[np.float64],
    recipe: Recipe,
    margin: float = 1.0,
) -> Layout:
    """Return the layout of lines out to `margin` times their largest reach at these nodes.

    `basis` (N, K) has the functions at the nodes.
    """
    far = margin * largest_reach(lines, basis, recipe)
    half = np.minimum(far, wing_limit(wavelength, lines.reference, recipe.wing_cut))

    def end_of_core(params: NDArray[np.float32], profile: str) -> NDArray[np.float64]:
        return np.abs(params[:, 0]) + core(params, recipe.wing_tolerance, profile)

    near = margin * _largest(end_of_core, lines, basis)
    return make_layout(wavelength, lines.reference, half, lines.profile, near)


def wing_limit(
    wavelength: NDArray[np.float64], reference: NDArray[np.float64], wing_cut: int
) -> NDArray[np.float64]:
    """Return half of `wing_cut` pixels (Å) at each line, (C,); infinity if it is 0."""
    if not wing_cut:
        return np.full(reference.size, np.inf)
    pixel = np.searchsorted(wavelength, reference).clip(0, wavelength.size - 1)
    return 0.5 * wing_cut * np.gradient(wavelength)[pixel]


def largest_reach(
    lines: LineGrid, basis: NDArray[np.float64], recipe: Recipe, most: int = _LAYOUT_NODES
) -> NDArray[np.float64]:
    """Return how far (Å) each line reaches at the node where it reaches farthest, (C,).

    At most `most` of the nodes are taken, spread over the grid.
    """
    return _largest(partial(reach, tolerance=recipe.wing_tolerance), lines, basis, most)


def _largest(
    distance: Callable[..., NDArray[np.float64]],
    lines: LineGrid,
    basis: NDArray[np.float64],
    most: int = _LAYOUT_NODES,
) -> NDArray[np.float64]:
    nodes = lines.at(basis[:: -(-len(basis) // most)])
    return np.max([distance(params, profile=lines.profile) for params in nodes], axis=0)
