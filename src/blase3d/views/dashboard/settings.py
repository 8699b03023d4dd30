"""What the page is set to: labels, motion, instrument, and the window on the wavelengths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...model.model import Model
from ...parameters import parameter
from ...units import SPEED_OF_LIGHT
from ..figures.model_queries import choose_line, middle_node

Window = tuple[float, float]

NARROWEST = 20
"""Pixels of the model that a window shows at the least."""
_FIRST = 6.0
"""The first window is this part of the whole."""


@dataclass(frozen=True)
class Settings:
    """What the page is set to.

    Attributes
    ----------
    labels : dict of float
        Every label of the model.
    window : (low, high)
        Å, as observed.
    rv, vsini : float
        km/s.
    resolution : float
        λ/Δλ; infinite for none.
    columns : int
        Pixels of the screen that the window is wide.
    """

    labels: Mapping[str, float]
    window: Window
    rv: float = 0.0
    vsini: float = 0.0
    resolution: float = np.inf
    columns: int = 1000

    @property
    def stretch(self) -> float:
        """Observed over emitted wavelength."""
        return 1.0 + self.rv / SPEED_OF_LIGHT

    @property
    def sight(self) -> dict[str, float | None]:
        """Motion and instrument as `Model.flux` takes them, None for what does nothing."""
        resolution = self.resolution if np.isfinite(self.resolution) else None
        return {"rv": self.rv or None, "vsini": self.vsini or None, "resolution": resolution}


def first_settings(model: Model) -> Settings:
    """A node in the middle of the library, around its strongest line."""
    labels = middle_node(model)
    low, high = whole_of(model)
    at = (low + high) / 2
    if model.reference.size:
        at = float(model.lines(**labels).center[choose_line(model, labels)])
    return Settings(labels, fitted((at, at), (high - low) / _FIRST, model))


def whole_of(model: Model) -> Window:
    """The range of a model, Å."""
    return float(model.wavelength[0]), float(model.wavelength[-1])


def narrowest(model: Model) -> float:
    """Å that a window shows at the least."""
    return NARROWEST * float(np.median(np.diff(model.wavelength)))


def fitted(window: Window, width: float, model: Model) -> Window:
    """A window of this width (Å) about the middle of another, moved and cut to lie in the model."""
    low, high = whole_of(model)
    width = min(max(width, narrowest(model)), high - low)
    start = min(max(sum(window) / 2 - width / 2, low), high - width)
    return start, start + width


def inside(settings: Settings, model: Model) -> bool:
    """Whether every value is finite and possible: a page may send anything."""
    pairs = [(settings.labels[name], bounds) for name, bounds in model.bounds.items()]
    pairs += [(getattr(settings, name), parameter(name).range) for name in ("rv", "vsini")]
    pairs += [(value, whole_of(model)) for value in settings.window]
    possible = all(low <= value <= high for value, (low, high) in pairs)
    return possible and settings.window[0] < settings.window[1] and settings.resolution > 0.0
