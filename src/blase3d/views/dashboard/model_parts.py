"""The flux in a window, fast: of the part of the model that the window needs.

Every part has shapes of its own, so each is compiled once, which takes seconds. Parts are
therefore few: of the whole model, halves, quarters and so on, each level beginning at every half of
its size, so that a window of half that size lies in one of them whole. Until the best part is
compiled, the best of those that are serves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ...model.instrument import observe
from ...model.model import Model
from ...parameters import parameter
from ...units import SPEED_OF_LIGHT
from .settings import Settings, Window

Floats = NDArray[np.float64]

_SMALLEST = 32_768
"""Pixels; a smaller part is not worth its compilation."""
_MARGIN = 1.0 + (parameter("rv").high + parameter("vsini").high) / SPEED_OF_LIGHT
"""How far beyond a window the light in it may have been emitted, at the most."""

Span = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of the model, and the places of its own pixels as `Model.split_places` has them."""

    model: Model
    whole: Array
    place: Array

    def flux(self, settings: Settings) -> NDArray[np.float32]:
        """The flux (P,) on the pixels of the part, as `settings` have it seen."""
        vector = np.array([settings.labels[name] for name in self.model.label_names], np.float32)
        sight = (settings.rv, settings.vsini, settings.resolution)
        return np.asarray(
            _seen(self.model.emulator, vector, self.place, *map(np.float32, sight), self.whole)
        )


class Pieces:
    """The parts of a model, as they come to be compiled."""

    def __init__(self, model: Model):
        self.model = model
        self._ready: dict[Span, Piece] = {}

    def best(self, window: Window) -> Piece:
        """The smallest compiled part with all of a window; the whole is compiled if none is."""
        spans = [span for span in self._spans(window) if span in self._ready]
        return self._ready[spans[-1]] if spans else self._compiled((0, self.model.wavelength.size))

    def is_best(self, window: Window) -> bool:
        """Whether no smaller part would serve the window."""
        return [*self._spans(window)][-1] in self._ready

    def warm(self, window: Window) -> None:
        """Compile the smallest part with all of a window; for a thread, as it takes seconds."""
        self._compiled([*self._spans(window)][-1])

    def _spans(self, window: Window) -> Iterator[Span]:
        """Pixels of the parts with all of a window, largest first."""
        pixels = self.model.wavelength
        size = pixels.size
        yield 0, size
        first = max(int(np.searchsorted(pixels, window[0] / _MARGIN)) - 1, 0)
        last = min(int(np.searchsorted(pixels, window[1] * _MARGIN)) + 1, size)
        while size > _SMALLEST and 2 * (last - first) <= (size := size // 2):
            start = first // (size // 2) * (size // 2)
            yield start, min(start + size, pixels.size)

    def _compiled(self, span: Span) -> Piece:
        low, high = self.model.wavelength[[span[0], span[1] - 1]]
        part = self.model.part(float(low), float(high))
        piece = Piece(part, *part.split_places(part.wavelength))
        piece.flux(Settings({name: low for name, (low, _) in part.bounds.items()}, (low, high)))
        self._ready[span] = piece
        return piece


@jax.jit
def _seen(
    emulator: object,
    labels: Array,
    place: Array,
    rv: Array,
    vsini: Array,
    resolution: Array,
    whole: Array,
) -> Array:
    flux = observe(emulator, labels, place, rv, vsini, resolution, whole=whole)  # type: ignore[arg-type]
    return jnp.asarray(flux, jnp.float32)
