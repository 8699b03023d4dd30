"""Lines over a whole grid: line parameters that are smooth functions of the labels.

Every line has, over the nodes of a grid,

    ln a  = base + n ln(1 + Σₖ uₖ Aₖ / n)   k < K
    shift, ln σ, ln γ = base + Σₖ uₖ Sₖ     k < W, W < K

with uₖ functions on the grid, smooth ones and the library's own (`functions`). The n-th roots of
strengths follow the labels freely, widths and centres in the smooth ones. `surface_fit` fits them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ..lines.lines import DEFAULT_PROFILE, fwhm
from ..lines.render import Layout, make_layout, reach
from ..recipe import Recipe

_AREA_STEP, _STRONG, _COARSEST = 0.004, 0.3, 8.0
_SHAPE_STEPS = np.array([2e-4, 0.01, 0.01])
"""Steps of the coefficients of ln area, and of those of shift (Å), ln sigma and ln gamma, in a
model file: far below what a fit can tell. Those of ln area grow as a line absorbs less than
`_STRONG` at its centre, up to `_COARSEST` times."""
_LAYOUT_NODES = 24
"""Nodes, at the most, whose lines say how far a line reaches."""
_LEAST_ROOT = 0.2
"""Below this, relative to where no smooth function adds anything, the root of an area goes to zero
along an exponential: areas stay above zero."""


@dataclass(frozen=True, eq=False)
class Surface:
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
        n of the root of areas that is a sum of smooth functions; 0: it is their logarithm.
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

    def at(self, modes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Parameters (N, C, 4) at nodes where the smooth functions are `modes` (N, K)."""
        change = np.einsum("nk,kcp->ncp", modes[:, : len(self.shape)], self.shape)
        ln_area = ln_area_of(modes[:, : len(self.area)] @ self.area, self.root, np)
        columns = [change[..., 0], ln_area, change[..., 1], change[..., 2]]
        return (self.base + np.stack(columns, axis=-1)).astype(np.float32)

    def rounded(self) -> Surface:
        """The surface with coefficients that are multiples of `steps`, for a small file."""
        area_steps, shape_steps = steps(self.base, self.profile)
        area = np.round(self.area / area_steps) * area_steps
        shape = np.round(self.shape / shape_steps) * shape_steps
        return replace(self, area=area.astype(np.float32), shape=shape.astype(np.float32))

    def smoothed(self, count: int) -> Surface:
        """The surface by the first `count` functions alone."""
        return replace(self, area=self.area[:count])

    def take(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> Surface:
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
    """Steps of the coefficients of lines of this `base` (C, 4): ln area (C,) and shape (3,)."""
    depth = np.exp(base[:, 1].astype(np.float64)) / fwhm(base, profile)
    return _AREA_STEP * np.clip(_STRONG / depth, 1.0, _COARSEST), _SHAPE_STEPS


def joined(parts: list[Surface]) -> Surface:
    """All lines of several surfaces, in order of reference."""
    together = _stacked(parts)
    return together.take(np.argsort(together.reference, kind="stable"))


def _stacked(parts: list[Surface]) -> Surface:
    return replace(
        parts[0],
        reference=np.concatenate([part.reference for part in parts]),
        base=np.concatenate([part.base for part in parts]),
        area=np.concatenate([part.area for part in parts], axis=1),
        shape=np.concatenate([part.shape for part in parts], axis=1),
    )


def params_at(base: Array, area: Array, shape: Array, modes: Array, root: int) -> Array:
    """Line parameters (C, 4) where the smooth functions are `modes` (K,)."""
    change = jnp.tensordot(modes[: shape.shape[0]], shape, axes=1)
    columns = [change[:, 0], ln_area_of(modes @ area, root), change[:, 1], change[:, 2]]
    return base + jnp.stack(columns, axis=1)


def ln_area_of(total: Any, root: int, lib: Any = jnp) -> Any:
    """ln(area), from `base`, where the smooth functions add up to `total`, by JAX or by NumPy."""
    if not root:
        return total
    ratio = 1.0 + total / root
    faint = math.log(_LEAST_ROOT) + ratio / _LEAST_ROOT - 1.0
    usual = lib.log(lib.maximum(ratio, _LEAST_ROOT))
    return root * lib.where(ratio < _LEAST_ROOT, faint, usual)


def slope_of_ln_area(total: Array, root: int) -> Array:
    """The derivative of `ln_area_of`."""
    return 1.0 / jnp.maximum(1.0 + total / root, _LEAST_ROOT) if root else jnp.ones_like(total)


def total_of(ln_area: NDArray[np.float64], root: int) -> NDArray[np.float64]:
    """The inverse of `ln_area_of`."""
    if not root:
        return ln_area
    below = ln_area / root - math.log(_LEAST_ROOT)
    ratio = _LEAST_ROOT * np.where(below < 0.0, 1.0 + below, np.exp(below))
    return root * (ratio - 1.0)


def surface_layout(
    wavelength: NDArray[np.float64],
    surface: Surface,
    modes: NDArray[np.float64],
    recipe: Recipe,
    margin: float = 1.0,
) -> Layout:
    """The layout of lines that reach as far as anywhere among nodes spread over the grid."""
    far = margin * farthest(surface, modes, recipe)
    half = np.minimum(far, wing_limit(wavelength, surface.reference, recipe.wing_cut))
    return make_layout(wavelength, surface.reference, half, surface.profile)


def wing_limit(
    wavelength: NDArray[np.float64], reference: NDArray[np.float64], wing_cut: int
) -> NDArray[np.float64]:
    """Return half of `wing_cut` pixels (Å) at each line, (C,); infinity if it is 0."""
    if not wing_cut:
        return np.full(reference.size, np.inf)
    pixel = np.searchsorted(wavelength, reference).clip(0, wavelength.size - 1)
    return 0.5 * wing_cut * np.gradient(wavelength)[pixel]


def farthest(
    surface: Surface, modes: NDArray[np.float64], recipe: Recipe, most: int = _LAYOUT_NODES
) -> NDArray[np.float64]:
    """How far (Å) each line reaches where it reaches farthest of at most so many nodes, (C,)."""
    far = np.zeros(len(surface))
    for node in modes[:: -(-len(modes) // most)]:
        params = surface.at(node[None])[0]
        far = np.maximum(far, reach(params, recipe.wing_tolerance, surface.profile))
    return far
