"""The input of every method, a library, and its output, an emulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

DARKEST = 1e-4
"""Flux below which methods that take logarithms see this."""

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Library:
    """Spectra (N, P) in units of the continuum at labels (N, L)."""

    wavelength: Floats
    names: tuple[str, ...]
    labels: Floats
    flux: Floats

    @property
    def axes(self) -> dict[str, Floats]:
        """The values of each label."""
        return {name: np.unique(self.labels[:, k]) for k, name in enumerate(self.names)}

    def take(self, chosen: NDArray[Any]) -> Library:
        """Some of the spectra."""
        return replace(self, labels=self.labels[chosen], flux=self.flux[chosen])

    def box(self, values: Floats) -> Floats:
        """Rows of the nodes in the order of the box, last label fastest."""
        axes = self.axes.values()
        columns = zip(axes, self.labels.T, strict=True)
        place = [np.searchsorted(axis, column) for axis, column in columns]
        order = np.ravel_multi_index(tuple(place), tuple(len(axis) for axis in axes))
        return values[np.argsort(order)]


@dataclass(frozen=True)
class Emulator:
    """The result of a method: a function from labels (L,) to flux (P,), and its size on disk."""

    flux: Callable[[Floats], Floats]
    size: int


class NotAvailable(Exception):
    """A method cannot be used here, for the reason given."""
