"""Coarse templates of a model, with which a search starts.

They are spectra at a lattice of labels, averaged over bins of equal width in ln λ. They are
computed once for each model, and kept in the cache folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product
from weakref import WeakKeyDictionary

import jax
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from ..model.evaluate import ForwardModel, between_pixels, evaluate
from ..model.interpolation import Interpolation, make_interpolation
from ..model.model import Model
from ..runtime.arrays import Floats, Singles
from ..runtime.kept import kept_arrays
from ..runtime.units import SPEED_OF_LIGHT

_BIN = 5.0
"""Width of a bin, km/s, at least: lines of a slow star at high resolution are about as wide."""
_TEMPLATES = 150
"""Points of the lattice, at most: each costs an evaluation of the model."""
_VALUES = 7
"""Values of one label in the lattice, at most."""
_PADDING = 256
"""Bins beyond the end, for the Fourier transform: broad lines do not wrap around."""


@dataclass(frozen=True, eq=False)
class Templates:
    """Spectra of a model on M bins.

    Attributes
    ----------
    first : float
        ln λ of the first bin.
    step : float
        Width of a bin, km/s.
    lattice : tuple of arrays
        Values of each label.
    interpolation : Interpolation
        Interpolation between the T points of the lattice.
    departure : (T, M)
        Normalised flux minus one.
    transformed : (T, F)
        Its Fourier transform.
    """

    first: float
    step: float
    lattice: tuple[Floats, ...]
    interpolation: Interpolation
    departure: Singles
    transformed: NDArray[np.complex64]

    def smoothed(self, sigma: float) -> Singles:
        """The departures convolved with a Gaussian of standard deviation `sigma` (km/s)."""
        length = _padded_length(self.departure)
        frequency = np.arange(self.transformed.shape[1]) / (length * self.step)
        transfer = np.exp(-2.0 * (np.pi * frequency * sigma) ** 2).astype(np.float32)
        smooth = irfft(self.transformed * transfer, length)
        return np.asarray(smooth[:, : self.departure.shape[1]], np.float32)


_KNOWN: WeakKeyDictionary[Model, Templates] = WeakKeyDictionary()
"""Templates of the models that are in use."""


def templates_of(model: Model) -> Templates:
    """Return the templates of a model, which are computed at the first call."""
    if model not in _KNOWN:
        _KNOWN[model] = _make_templates(model)
    return _KNOWN[model]


def _make_templates(model: Model) -> Templates:
    lattice = _lattice(model)
    velocity_step = model.forward.velocity_step
    width = max(round(_BIN / velocity_step), 1)
    width = min(width, model.forward.to_log.size)
    points = [np.asarray(point, np.float32) for point in product(*lattice)]
    (departure,) = kept_arrays(
        "templates",
        [*points, np.array(width), *map(np.asarray, jax.tree.leaves(model.forward))],
        lambda: [np.stack([np.asarray(_binned(model.forward, p, width)) for p in points])],
    )
    first = np.log(model.wavelength[0]) + 0.5 * (width - 1) * velocity_step / SPEED_OF_LIGHT
    return Templates(
        float(first),
        width * velocity_step,
        tuple(lattice),
        make_interpolation(dict(zip(model.axes, lattice, strict=True)), "spline"),
        departure,
        np.asarray(rfft(departure, _padded_length(departure)), np.complex64),
    )


def _padded_length(departure: Singles) -> int:
    """Length of the Fourier transform of departures (T, M)."""
    return int(next_fast_len(departure.shape[1] + _PADDING, real=True))


@partial(jax.jit, static_argnames="width")
def _binned(forward: ForwardModel, labels: Array, width: int) -> Array:
    """Flux minus one, averaged over bins of `width` steps in ln λ, (M,)."""
    flux = evaluate(forward, labels)
    flux = between_pixels(forward, flux, forward.to_log, forward.to_log_whole) - 1.0
    count = flux.size // width
    return flux[: count * width].reshape(count, width).mean(axis=1)


def _lattice(model: Model) -> list[Floats]:
    """Values of each label: as many as the nodes have, within `_VALUES` and `_TEMPLATES`."""
    counts = [min(len(axis), _VALUES) for axis in model.axes.values()]
    while np.prod(counts) > _TEMPLATES:
        counts[int(np.argmax(counts))] -= 1
    return [
        np.linspace(axis[0], axis[-1], n)
        for n, axis in zip(counts, model.axes.values(), strict=True)
    ]
