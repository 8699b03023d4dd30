"""Coarse templates of a whole library, from which a search starts.

They are the model at a lattice of labels, averaged over cells of equal steps in ln λ, computed once
for each model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from ..model.interpolation import Interpolation, make_interpolation
from ..model.model import ForwardModel, Model, evaluate
from ..spectra.broaden import sample
from ..units import SPEED_OF_LIGHT

Floats = NDArray[np.float64]
Single = NDArray[np.float32]

_CELL = 5.0
"""Width of a cell, km/s, at least."""
_TEMPLATES = 150
"""Labels of the lattice, at the most."""
_VALUES = 7
"""Values of one label in the lattice, at the most."""


@dataclass(frozen=True, eq=False)
class Coarse:
    """A model in cells: M cells from ln λ `first` in steps of `step` (km/s), `lattice` of labels
    and the flux there, less one, (T, M), with its Fourier transform (T, F)."""

    first: float
    step: float
    lattice: tuple[Floats, ...]
    manifold: Interpolation
    templates: Single
    transformed: NDArray[np.complex64]

    def smoothed(self, sigma: float) -> Single:
        """The templates convolved with a Gaussian of standard deviation `sigma` (km/s)."""
        frequency = np.arange(self.transformed.shape[1]) / (_padded(self.templates) * self.step)
        transfer = np.exp(-2.0 * (np.pi * frequency * sigma) ** 2).astype(np.float32)
        smooth = irfft(self.transformed * transfer, _padded(self.templates))
        return np.asarray(smooth[:, : self.templates.shape[1]], np.float32)


_KNOWN: WeakKeyDictionary[Model, Coarse] = WeakKeyDictionary()


def coarse_of(model: Model) -> Coarse:
    """The coarse templates of a model, computed when first asked for."""
    if model not in _KNOWN:
        _KNOWN[model] = _make_coarse(model)
    return _KNOWN[model]


def _make_coarse(model: Model) -> Coarse:
    lattice = _lattice(model)
    velocity_step = model.forward.velocity_step
    width = max(round(_CELL / velocity_step), 1)
    width = min(width, model.forward.to_log.size)
    points = [jnp.asarray(point, jnp.float32) for point in product(*lattice)]
    rows = [np.asarray(_cells(model.forward, point, width)) for point in points]
    templates = np.stack(rows)
    first = np.log(model.wavelength[0]) + 0.5 * (width - 1) * velocity_step / SPEED_OF_LIGHT
    return Coarse(
        float(first),
        width * velocity_step,
        tuple(lattice),
        make_interpolation(dict(zip(model.axes, lattice, strict=True)), "spline"),
        templates,
        np.asarray(rfft(templates, _padded(templates)), np.complex64),
    )


def _padded(templates: Single) -> int:
    """Length of the Fourier transform of templates (T, M): what leaves at one end does not come
    in at the other."""
    return int(next_fast_len(templates.shape[1] + 256, real=True))


@partial(jax.jit, static_argnames="width")
def _cells(emulator: ForwardModel, labels: Array, width: int) -> Array:
    """Flux less one, averaged over cells of `width` steps in ln λ, (M,)."""
    flux = sample(evaluate(emulator, labels), emulator.to_log) - 1.0
    count = flux.size // width
    return flux[: count * width].reshape(count, width).mean(axis=1)


def _lattice(model: Model) -> list[Floats]:
    """Values of each label: as many as at the nodes, but few enough altogether."""
    counts = [min(len(axis), _VALUES) for axis in model.axes.values()]
    while np.prod(counts) > _TEMPLATES:
        counts[int(np.argmax(counts))] -= 1
    return [
        np.linspace(axis[0], axis[-1], n)
        for n, axis in zip(counts, model.axes.values(), strict=True)
    ]
