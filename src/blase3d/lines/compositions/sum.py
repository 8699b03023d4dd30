"""F = exp(−Σ aV): optical depths add, as in a cold screen."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array


def depth(absorbed: Array) -> Array:
    """aV itself."""
    return absorbed


def flux(depth: Array) -> Array:
    """exp(−depth)."""
    return jnp.exp(-depth)
