"""F = Π(1 − aV): transmissions multiply, as in the original code."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

_DEEPEST = 1.0 - 1e-6
"""Largest aV, in float32: a line with more transmits what this leaves."""


def depth(absorbed: Array) -> tuple[Array, Array]:
    """−ln(1 − aV)."""
    inside = absorbed < _DEEPEST
    clipped = jnp.where(inside, absorbed, _DEEPEST)
    return -jnp.log1p(-clipped), jnp.where(inside, 1.0 / (1.0 - clipped), 0.0)


def flux(depth: Array) -> Array:
    """exp(−depth)."""
    return jnp.exp(-depth)
