"""The state of the page: labels, velocities, resolution, and the wavelengths in the window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...model.model import Model
from ...model.queries import choose_line, middle_node
from ...parameters import parameter
from ...runtime.units import SPEED_OF_LIGHT

Interval = tuple[float, float]
"""Lower and upper end, Å."""

NARROWEST = 20
"""Least width of the window, in pixels of the model."""
_FIRST = 6.0
"""Width of the whole range over that of the first window."""


@dataclass(frozen=True)
class ViewState:
    """The state of the page.

    Attributes
    ----------
    labels : dict of float
        Every label of the model.
    window : (low, high)
        Observed wavelengths shown, Å.
    rv, vsini : float
        km/s.
    resolution : float
        λ/Δλ; infinite for none.
    columns : int
        Width of the window on the screen, pixels.
    of_library : bool
        Whether a calibrated model has the lines of its library, since a star was fitted with these.
    """

    labels: Mapping[str, float]
    window: Interval
    rv: float = 0.0
    vsini: float = 0.0
    resolution: float = np.inf
    columns: int = 1000
    of_library: bool = False

    @property
    def doppler_factor(self) -> float:
        """Observed over emitted wavelength."""
        return 1.0 + self.rv / SPEED_OF_LIGHT

    @property
    def observation(self) -> dict[str, float | None]:
        """rv, vsini and resolution as `Model.flux` takes them: None for no effect."""
        resolution = self.resolution if np.isfinite(self.resolution) else None
        return {"rv": self.rv or None, "vsini": self.vsini or None, "resolution": resolution}


def first_state(model: Model) -> ViewState:
    """A node at the middle of the library, with a window around its strongest line."""
    labels = middle_node(model)
    low, high = model_range(model)
    middle = (low + high) / 2
    if model.reference.size:
        middle = float(model.lines(**labels).center[choose_line(model, labels)])
    return ViewState(labels, fit_window(middle, (high - low) / _FIRST, model))


def model_shown(model: Model, state: ViewState) -> Model:
    """The model with the lines that are shown."""
    return model.with_library_lines() if state.of_library else model


def model_range(model: Model) -> Interval:
    """The wavelength range of a model, Å."""
    return float(model.wavelength[0]), float(model.wavelength[-1])


def narrowest(model: Model) -> float:
    """Least width of the window, Å."""
    return NARROWEST * float(np.median(np.diff(model.wavelength)))


def fit_window(middle: float, width: float, model: Model) -> Interval:
    """A window about a wavelength (Å), moved and cut to lie within the model."""
    low, high = model_range(model)
    width = min(max(width, narrowest(model)), high - low)
    start = min(max(middle - width / 2, low), high - width)
    return start, start + width


def is_possible(state: ViewState, model: Model) -> bool:
    """Whether every value is finite and in range. A browser may send anything."""
    pairs = [(state.labels[name], bounds) for name, bounds in model.bounds.items()]
    pairs += [(getattr(state, name), parameter(name).range) for name in ("rv", "vsini")]
    pairs += [(value, model_range(model)) for value in state.window]
    possible = all(low <= value <= high for value, (low, high) in pairs)
    return possible and state.window[0] < state.window[1] and state.resolution > 0.0
