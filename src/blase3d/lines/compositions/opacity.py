"""F = 1/(1 + Σ aV): opacities add in an atmosphere whose source function rises steeply and
linearly (Milne–Eddington, e.g. Gray 2005, ch. 13)."""

from __future__ import annotations

from jax import Array


def depth(absorbed: Array) -> Array:
    """aV itself."""
    return absorbed


def flux(depth: Array) -> Array:
    """1/(1 + depth)."""
    return 1.0 / (1.0 + depth)
