"""The flux in a window, fast: of the smallest cut of the model that is compiled and covers it.

`Model.part` makes few coarse cuts. Each has shapes of its own and is compiled once, which takes
seconds, in a thread. Until then the smallest compiled cut that covers the window is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ...model.evaluate import ForwardModel
from ...model.instrument import Broadening, observe
from ...model.model import Model
from ...parameters import parameter
from ...runtime.arrays import Floats
from .state import Interval, ViewState, model_shown

_FASTEST = parameter("rv").high + parameter("vsini").high
"""Largest Doppler shift and rotation together, km/s."""


@dataclass(frozen=True, eq=False)
class _Cut:
    """A cut of the model, with its pixels as `Model.split_log_pixels` returns them."""

    model: Model
    whole: Array
    fraction: Array

    def covers(self, other: Model) -> bool:
        """Whether all pixels of another cut are within this one."""
        (low, high), (first, last) = self.model.wavelength[[0, -1]], other.wavelength[[0, -1]]
        return bool(low <= first and last <= high)

    def flux(self, state: ViewState) -> NDArray[np.float32]:
        """The flux (P,) on the pixels of the cut."""
        model = model_shown(self.model, state)
        labels = np.array([state.labels[name] for name in self.model.label_names], np.float32)
        observation = map(np.float32, (state.rv, state.vsini, state.resolution))
        return np.asarray(_observe(model.forward, labels, self.fraction, *observation, self.whole))


class CompiledModel:
    """A model, and the cuts of it that have been compiled."""

    def __init__(self, model: Model):
        self.model = model
        self._ready: dict[Model, _Cut] = {}

    def flux(self, state: ViewState) -> tuple[Floats, NDArray[np.float32]]:
        """Wavelengths (P,) of a compiled cut that covers the window, and its flux there (P,)."""
        wanted = self._cut_for(state.window)
        ready = [cut for cut in [*self._ready.values()] if cut.covers(wanted)]
        cut = min(ready, key=lambda one: one.whole.size) if ready else self._compile(self.model)
        return cut.model.wavelength, cut.flux(state)

    def is_compiled(self, window: Interval) -> bool:
        """Whether the smallest cut that covers a window is compiled."""
        return self._cut_for(window) in self._ready

    def compile(self, window: Interval) -> None:
        """Compile the smallest cut that covers a window. It takes seconds."""
        self._compile(self._cut_for(window))

    def _cut_for(self, window: Interval) -> Model:
        return self.model.part(*window, _FASTEST, coarse=True)

    def _compile(self, model: Model) -> _Cut:
        cut = _Cut(model, *model.split_log_pixels(model.wavelength))
        low, high = model.wavelength[[0, -1]]
        cut.flux(ViewState({name: least for name, (least, _) in model.bounds.items()}, (low, high)))
        self._ready[model] = cut
        return cut


@jax.jit
def _observe(
    forward: ForwardModel,
    labels: Array,
    fraction: Array,
    rv: Array,
    vsini: Array,
    resolution: Array,
    whole: Array,
) -> Array:
    broadening = Broadening(rv=rv, vsini=vsini, resolution=resolution)
    flux = observe(forward, labels, fraction, broadening, whole=whole)
    return jnp.asarray(flux, jnp.float32)
