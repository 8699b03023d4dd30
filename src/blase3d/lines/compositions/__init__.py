"""Composition rules: how overlapping lines absorb together. A new one is one module, one row here,
and its name in `recipe.Composition`.

A line that absorbs y = aV (area times profile) at a pixel contributes a depth to it. Depths add
up, and the rule says what flux the sum transmits.
"""

from __future__ import annotations

from typing import Protocol

from jax import Array

from . import opacity, product
from . import sum as optical_depth


class CompositionRule(Protocol):
    """Interface of a composition rule."""

    def depth(self, absorbed: Array, /) -> Array:
        """Depth that a line contributes where it absorbs y = aV."""

    def flux(self, depth: Array, /) -> Array:
        """Flux, in units of the continuum, that lines of this summed depth transmit."""


COMPOSITIONS: dict[str, CompositionRule] = {
    "opacity": opacity,
    "sum": optical_depth,
    "product": product,
}
"""All rules by the name that `Recipe.composition` gives."""
