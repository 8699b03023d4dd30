"""The forward model: the arrays that turn labels into flux, and the pure functions over them.

    labels ─► weights of the nodes ─► functions over the grid ─► lines ─► flux ─► + residual

Line parameters are sums of functions over the nodes (`grid_basis`, `line_grid`), interpolated
between them. The residual, which corrects what the lines leave at the nodes, is a sum of a few
principal components over nodes and pixels, in `opacity_root`, where it is smooth over the labels.
It is added to lines whose areas follow the smoothest functions alone. The other functions bring
lines nearer to the spectra, also between the nodes, but the remainder would be less smooth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ..lines.render import Layout, optical_depth, transmitted
from ..recipe import Composition
from ..spectra.broaden import numbered, sample
from .interpolation import Interpolation
from .line_grid import params_at

_SOFT = 1e-6
"""Opacity below which `opacity_root` goes from a fourth root to a straight line."""


_FAINT = 1e-12
"""Smallest flux whose opacity float32 holds."""


@partial(jax.jit, inline=True)  # one compilation, not one for each operation
def opacity_root(flux: Array) -> Array:
    """Fourth root of the opacity 1/flux − 1, with a finite slope at zero, odd in the opacity.

    Of the powers and logarithms of the opacity, of the optical depth −ln flux and of the flux, it
    interpolates best between the nodes (`benchmarks/accuracy.py`).
    """
    opacity = 1.0 / flux - 1.0
    sign = _sign(opacity)
    soft = jnp.asarray(_SOFT, opacity.dtype)
    # a power takes five times as long
    return sign * (jnp.sqrt(jnp.sqrt(sign * opacity + soft)) - jnp.sqrt(jnp.sqrt(soft)))


@partial(jax.jit, inline=True)
def flux_of_opacity_root(value: Array) -> Array:
    """The inverse of `opacity_root`."""
    sign = _sign(value)
    return 1.0 / (1.0 + sign * ((sign * value + _SOFT**0.25) ** 4 - _SOFT))


def between_pixels(forward: ForwardModel, flux: Array, index: Array, whole: Array) -> Array:
    """The flux (P,) at fractional pixels of the model, `index` + `whole`, both (Q,).

    It is interpolated in `opacity_root`, where the steep sides of saturated lines are smoother:
    spectra at every other pixel then predict the others 1.7 times better than in flux
    (`benchmarks/sampling.py`). The sum of lines can be negative, and has no opacity.
    """
    if forward.composition == "sum":
        return sample(flux, index, whole)
    root = opacity_root(jnp.maximum(flux, _FAINT))
    return flux_of_opacity_root(sample(root, index, whole))


@partial(jax.jit, inline=True)
def flux_slope(value: Array) -> Array:
    """The derivative of `flux_of_opacity_root`."""
    _, slope = jax.jvp(flux_of_opacity_root, (value,), (jnp.ones_like(value),))
    return slope


def _sign(value: Array) -> Array:
    """One or minus one, never zero: the slopes of `jnp.sign` and `jnp.abs` vanish there."""
    return jnp.where(value < 0.0, -1.0, 1.0)


@partial(jax.tree_util.register_dataclass, data_fields=("nodes", "pixels", "scale"), meta_fields=())
@dataclass(frozen=True)
class PcaResidual:
    """The residual of the lines at the nodes, in `opacity_root`, as R principal components.

    Attributes
    ----------
    nodes : (box, R)
        Amplitudes at the nodes of the box.
    pixels : (R, P)
        Components, in whole numbers, so that they are small in a file.
    scale : (P,)
        Factor of each pixel.
    """

    nodes: Array
    pixels: Array
    scale: Array

    @property
    def windows(self) -> tuple[PcaResidual, ...]:
        """The residual itself, which has one window."""
        return (self,)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.scale.shape[0]

    def at(self, weights: Array) -> Array:
        """Return the correction of `opacity_root` (..., P) at weights of the nodes (..., box)."""
        return ((weights @ self.nodes) @ self.pixels) * self.scale

    def take(self, pixels: slice) -> PcaResidual:
        """Return the residual of these pixels."""
        return PcaResidual(self.nodes, self.pixels[:, pixels], self.scale[pixels])

    def of_nodes(self, which: NDArray[np.int64]) -> PcaResidual:
        """Return the residual without the other nodes of the box."""
        return PcaResidual(self.nodes[which], self.pixels, self.scale)


@partial(jax.tree_util.register_dataclass, data_fields=("windows",), meta_fields=())
@dataclass(frozen=True)
class WindowedResidual:
    """A residual with principal components of its own in each window of wavelength.

    Attributes
    ----------
    windows : tuple of PcaResidual
        In order of wavelength; windows touch.
    """

    windows: tuple[PcaResidual, ...]

    @property
    def size(self) -> int:
        """Number of pixels."""
        return sum(window.size for window in self.windows)

    def at(self, weights: Array) -> Array:
        """Return the correction of `opacity_root` (..., P) at weights of the nodes (..., box)."""
        return jnp.concatenate([window.at(weights) for window in self.windows], axis=-1)

    def take(self, pixels: slice) -> AnyResidual:
        """Return the residual of these pixels, of which there are some."""
        first, last, step = pixels.indices(self.size)
        found, start = [], 0
        for window in self.windows:
            low, high = max(first - start, 0), min(last - start, window.size)
            low += -(start + low - first) % step
            if low < high:
                found.append(window.take(slice(low, high, step)))
            start += window.size
        return joined_residual(found)

    def of_nodes(self, which: NDArray[np.int64]) -> AnyResidual:
        """Return the residual without the other nodes of the box."""
        return WindowedResidual(tuple(window.of_nodes(which) for window in self.windows))


AnyResidual = PcaResidual | WindowedResidual


def joined_residual(parts: Sequence[AnyResidual]) -> AnyResidual:
    """Return one residual of those of sections that touch, in order of wavelength."""
    windows = [window for part in parts for window in part.windows]
    return windows[0] if len(windows) == 1 else WindowedResidual(tuple(windows))


@partial(
    jax.tree_util.register_dataclass,
    data_fields=(
        "interpolation",
        "basis",
        "base",
        "area",
        "shape",
        "residual",
        "layout",
        "to_log",
        "to_log_whole",
    ),
    meta_fields=("smooth_count", "root", "composition", "velocity_step"),
)
@dataclass(frozen=True)
class ForwardModel:
    """The arrays that turn labels into flux.

    Attributes
    ----------
    interpolation : Interpolation
        Labels to weights of the nodes of the box.
    basis : (box, K)
        The functions that lines follow, at the nodes of the box.
    base, area, shape, root : (C, 4), (K, C), (W, C, 3), int
        Lines, as in `LineGrid`.
    residual : PcaResidual, WindowedResidual or None
        Correction of the flux.
    layout : Layout
        Of the lines on the pixels.
    to_log, to_log_whole : (M,)
        Pixels at equal steps of `velocity_step` (km/s) in ln λ: fractions, float32, and whole
        ones, int32, to which they are added.
    smooth_count : int
        Number of the first functions, which areas follow where the residual is added.
    composition : str
        How lines compose.
    """

    interpolation: Interpolation
    basis: Array
    base: Array
    area: Array
    shape: Array
    residual: AnyResidual | None
    layout: Layout
    to_log: Array
    to_log_whole: Array
    smooth_count: int
    root: int
    composition: Composition
    velocity_step: float

    @partial(jax.jit, inline=True)
    def native_position(self, index: Array, whole: Array | None = None) -> tuple[Array, Array]:
        """Return the pixels of the model at fractional steps in ln λ (Q,), as distances from whole
        pixels, and these. `whole` (Q,) is added to `index`.

        The whole pixels are those at `whole`, so they do not depend on roundings of `index`, and
        the number of a step is gathered with its pixel (`broaden.sample`).
        """
        last = self.to_log.size - 2
        base = jnp.zeros((), jnp.int32) if whole is None else whole
        left = base + jnp.floor(jax.lax.stop_gradient(index)).astype(jnp.int32)
        near = self.to_log_whole[jnp.clip(base, 0, last)] if whole is not None else base
        steps = jnp.diff(self.to_log) + jnp.diff(self.to_log_whole)
        table = jnp.column_stack([self.to_log[:-1], self.to_log_whole[:-1], steps])
        fraction, pixel, step, number = numbered(table)[jnp.clip(left, 0, last)].T
        return (pixel - near) + (fraction + (index - (number - base)) * step), near


def line_params(forward: ForwardModel, labels: Array) -> Array:
    """Parameters (C, 4) of the lines at labels (L,)."""
    return _line_params(forward, forward.interpolation.weights(labels), len(forward.area))


def smooth_line_params(forward: ForwardModel, labels: Array) -> Array:
    """The parameters (C, 4) of the lines to which the residual is added."""
    return _line_params(forward, forward.interpolation.weights(labels), forward.smooth_count)


def _line_params(forward: ForwardModel, weights: Array, count: int) -> Array:
    basis = weights @ forward.basis[:, :count]
    area = forward.area[:count]
    return params_at(forward.base, area, forward.shape, basis, forward.root)


def add_residual(forward: ForwardModel, flux: Array, weights: Array) -> Array:
    """The flux (P,) of lines, corrected by the residual at weights (box,) of the nodes."""
    residual = forward.residual
    if residual is None:
        return flux
    return flux_of_opacity_root(opacity_root(flux) + residual.at(weights))


def evaluate(forward: ForwardModel, labels: Array, *, residual: bool = True) -> Array:
    """Normalised flux (P,) at labels (L,) on the pixels of the model."""
    weights = forward.interpolation.weights(labels)
    count = forward.smooth_count if residual else len(forward.area)
    params = _line_params(forward, weights, count)
    depth = optical_depth(params, forward.layout, forward.composition)
    flux = transmitted(depth, forward.composition)
    return add_residual(forward, flux, weights) if residual else flux
