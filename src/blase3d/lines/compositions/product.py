"""F = Π(1 − aV): transmissions multiply, as in the original code."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

_DEEPEST = 1.0 - 1e-6
"""Largest aV, in float32: a line with more transmits what this leaves."""


def depth(absorbed: Array) -> Array:
    """−ln(1 − aV)."""
    return -jnp.log1p(-jnp.minimum(absorbed, _DEEPEST))


def flux(depth: Array) -> Array:
    """exp(−depth)."""
    return jnp.exp(-depth)
