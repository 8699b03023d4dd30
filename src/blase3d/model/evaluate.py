"""The emulator: the arrays that turn labels into flux, and the pure functions over them.

    labels ─► weights of the nodes ─► smooth functions ─► lines ─► depth + residual ─► flux

Line parameters are sums of functions over the nodes (`functions`, `surface`), interpolated
between them by the manifold. The residual, what the lines do not express, is a sum of a few modes
over nodes and pixels, in the space of `strength`, where it is smooth over the labels. It is added
to lines whose areas follow the smoothest functions alone: the others bring lines nearer to the
spectra, between the nodes too, but what is added to them would be less smooth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from ..lines.render import Layout, optical_depth, transmitted
from ..recipe import Composition
from .interpolation import Manifold
from .line_grid import params_at

_SOFT = 1e-6
"""Opacity below which `strength` goes from a fourth root to a straight line."""


def strength(flux: Array) -> Array:
    """Fourth root of the opacity 1/flux − 1, with a finite slope at zero, odd in the opacity.

    Chosen by measurement (`benchmarks/accuracy.py`): of the powers and logarithms of the opacity,
    of the optical depth −ln flux and of the flux, it interpolates best between the nodes.
    """
    opacity = 1.0 / flux - 1.0
    sign = _sign(opacity)
    soft = jnp.asarray(_SOFT, opacity.dtype)
    # a power takes five times as long
    return sign * (jnp.sqrt(jnp.sqrt(sign * opacity + soft)) - jnp.sqrt(jnp.sqrt(soft)))


def flux_of_strength(value: Array) -> Array:
    """The inverse of `strength`."""
    sign = _sign(value)
    return 1.0 / (1.0 + sign * ((sign * value + _SOFT**0.25) ** 4 - _SOFT))


def slope_of_flux(value: Array) -> Array:
    """The derivative of `flux_of_strength`."""
    _, slope = jax.jvp(flux_of_strength, (value,), (jnp.ones_like(value),))
    return slope


def _sign(value: Array) -> Array:
    """One or minus one: at zero too, where the slopes of `jnp.sign` and `jnp.abs` are lost."""
    return jnp.where(value < 0.0, -1.0, 1.0)


@partial(jax.tree_util.register_dataclass, data_fields=("nodes", "pixels", "scale"), meta_fields=())
@dataclass(frozen=True)
class Residual:
    """What lines do not express, in `strength`: R modes, `nodes` (box, R) times `pixels` (R, P),
    which are whole numbers (so that they take little room in a file), times `scale` (P,)."""

    nodes: Array
    pixels: Array
    scale: Array


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("manifold", "modes", "base", "area", "shape", "residual", "layout", "to_log"),
    meta_fields=("smooth", "own", "root", "composition", "velocity_step"),
)
@dataclass(frozen=True)
class Emulator:
    """The arrays that turn labels into flux.

    Attributes
    ----------
    manifold : Manifold
        Labels to weights of the nodes of the box.
    modes : (box, K)
        The functions that lines follow at the nodes of the box: smooth ones, and the library's own.
    base, area, shape, root : (C, 4), (K, C), (W, C, 3), int
        Lines as in `surface.Surface`.
    residual : Residual or None
        What they do not express.
    smooth : int
        The first functions, by which areas go where the residual is added.
    own : int
        The last functions, which are the library's own.
    layout : Layout
        Of the lines on the pixels.
    to_log : (M,)
        The pixels, in fractions, that stand at equal steps of `velocity_step` (km/s) in ln λ.
    composition : str
        How lines compose.
    """

    manifold: Manifold
    modes: Array
    base: Array
    area: Array
    shape: Array
    residual: Residual | None
    layout: Layout
    to_log: Array
    smooth: int
    own: int
    root: int
    composition: Composition
    velocity_step: float


def line_params(emulator: Emulator, labels: Array) -> Array:
    """Parameters (C, 4) of the lines at labels (L,)."""
    return _line_params(emulator, emulator.manifold.weights(labels), len(emulator.area))


def smooth_params(emulator: Emulator, labels: Array) -> Array:
    """The same as the residual is added to them: by the smooth functions alone."""
    return _line_params(emulator, emulator.manifold.weights(labels), emulator.smooth)


def _line_params(emulator: Emulator, weights: Array, count: int) -> Array:
    modes = weights @ emulator.modes[:, :count]
    area = emulator.area[:count]
    return params_at(emulator.base, area, emulator.shape, modes, emulator.root)


def with_residual(emulator: Emulator, flux: Array, weights: Array) -> Array:
    """The flux (P,) of lines, and what they do not express at weights (box,) of the nodes."""
    rest = emulator.residual
    if rest is None:
        return flux
    return flux_of_strength(strength(flux) + ((weights @ rest.nodes) @ rest.pixels) * rest.scale)


def emulate(emulator: Emulator, labels: Array, *, residual: bool = True) -> Array:
    """Normalised flux (P,) at labels (L,) on the emulator's own pixels."""
    weights = emulator.manifold.weights(labels)
    count = emulator.smooth if residual else len(emulator.area)
    params = _line_params(emulator, weights, count)
    depth = optical_depth(params, emulator.layout, emulator.composition)
    flux = transmitted(depth, emulator.composition)
    return with_residual(emulator, flux, weights) if residual else flux
