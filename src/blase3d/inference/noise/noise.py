"""Noise of the pixels: the record, outliers, and what a noise model has to provide.

A pixel whose distance from the model exceeds `OUTLIER` typical deviations has the weight
(OUTLIER × deviation / distance)² instead of one. As with the wings of Student's t distribution, its
pull on the fit decreases with its distance. In normal noise this affects one pixel in two million.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import jax
import numpy as np
from jax import Array

from ...runtime.arrays import Bools, Floats, median
from ...runtime.units import SIGMA_PER_MAD
from ...spectra.spectrum import Spectrum
from .mismatch import PixelMismatch, mismatch_error

OUTLIER = 5.0
"""Distance beyond which a pixel is an outlier, in typical deviations."""
SMALL = 5e-3
"""Distance within which no pixel is an outlier, in units of the continuum: the error of
most models."""
_SMALLEST = 1e-4
"""Smallest error of a spectrum that states none, in units of the continuum."""
_FAINT = 1e-3
"""Smallest continuum that residuals are divided by, in units of its median."""


@dataclass(frozen=True, eq=False)
class Noise:
    """Errors of the pixels (Q,) of a spectrum.

    Attributes
    ----------
    spectrum : Spectrum
        The spectrum, cut to the model.
    error : (Q,)
        Stated errors in the unit of the data; without stated errors, one value for all.
    robust : (Q,)
        Weights of the pixels: one, and less for outliers.
    factor : float
        Factor of the errors: one where they are stated.
    jitter : float
        Additional error, in units of the continuum.
    mismatch : (Q,) or float
        Error of the model beside real stars (`mismatch.py`), in units of the continuum.
    alike : (Q,) or float
        Number of pixels that have the mismatch in common: so many times its variance counts.
    independent : float
        Expectation of chi-square over the number of pixels: one where none are alike.
    independent_in_lines : float
        The same with pixels weighted by their information on the strengths of lines.
    """

    spectrum: Spectrum
    error: Floats
    robust: Floats
    factor: float = 1.0
    jitter: float = 0.0
    mismatch: Floats | float = 0.0
    alike: Floats | float = 1.0
    independent: float = 1.0
    independent_in_lines: float = 1.0

    @property
    def stated(self) -> bool:
        """Whether the spectrum states its errors."""
        return self.spectrum.error is not None

    @property
    def used(self) -> Bools:
        """(Q,) False for masked pixels."""
        return self.spectrum.good

    def total(self, continuum: Floats) -> Floats:
        """Errors (Q,) with jitter and mismatch, in the unit of the data."""
        relative = self.jitter**2 + np.square(self.mismatch)
        # a root of squares takes a tenth of the time of np.hypot
        return np.asarray(np.sqrt((self.error * self.factor) ** 2 + relative * continuum**2))

    def counted(self, continuum: Floats) -> Floats:
        """Errors (Q,) that pixels count with, as if all were independent."""
        common = (self.alike - 1.0) * np.square(self.mismatch * continuum)
        return np.asarray(np.sqrt(self.total(continuum) ** 2 + common))

    def weight(self, continuum: Floats) -> Floats:
        """Inverse of these errors (Q,), reduced for outliers."""
        return np.sqrt(self.robust) / self.counted(continuum)

    @property
    def n_outliers(self) -> int:
        """Number of pixels of reduced weight."""
        return int((self.robust[self.used] < 1.0).sum())


Padding = Callable[[Floats], Array]
"""Takes values (Q,) of the pixels to the padded arrays (O·Q,) of `Data`: zero for masked pixels."""
Whitening = Callable[[Array], Array]
"""Takes rows (N, O·Q) of the data, in the unit of the computation, to rows of independent pixels of
unit variance; linear, and a pytree."""


class NoiseModel(Protocol):
    """A model of the noise: the errors, from those stated and the misfit, and whitening."""

    def estimate(self, noise: Noise, ratio: Floats, level: Floats) -> Noise:
        """Return the noise at a misfit.

        Parameters
        ----------
        noise : Noise
            The noise so far, with the weights of outliers at this misfit.
        ratio : (Q,)
            Data minus model over the stated errors; zero for masked pixels.
        level : (Q,)
            Continuum over the stated errors.
        """
        ...

    def whitening(self, noise: Noise, continuum: Floats, unit: float, pad: Padding) -> Whitening:
        """Return the whitening of rows in units of `unit`, with a continuum (Q,) in that of the
        data; masked pixels become zero."""
        ...


@partial(jax.tree_util.register_dataclass, data_fields=("weight",), meta_fields=())
@dataclass(frozen=True)
class Independent:
    """Whitening of independent pixels of inverse errors `weight` (O·Q,)."""

    weight: Array

    def __call__(self, rows: Array) -> Array:
        """Rows (N, O·Q) in units of the errors."""
        return rows * self.weight


def independent(noise: Noise, continuum: Floats, unit: float, pad: Padding) -> Whitening:
    """Return the whitening of independent pixels, as `NoiseModel.whitening` does."""
    return Independent(pad(noise.weight(continuum) * unit))


def first_noise(spectrum: Spectrum, unit: float) -> Noise:
    """Return the stated errors, or `unit` for every pixel of a spectrum without errors."""
    error = np.full(len(spectrum), unit) if spectrum.error is None else spectrum.error
    return Noise(spectrum, error, np.ones(len(spectrum)))


def noise_at(
    model: NoiseModel,
    noise: Noise,
    flux: Floats,
    continuum: Floats,
    robust: bool = True,
    mismatch: PixelMismatch | None = None,
) -> Noise:
    """Return the noise at a fitted flux (Q,) with its continuum (Q,), in the unit of the data.

    Without stated errors, the scatter of the pixels is their error under every noise model.
    `mismatch` is that of the model with real stars, where it is known.
    """
    used = noise.used
    left = np.where(used, noise.spectrum.flux - flux, 0.0)
    noise = replace(noise, factor=1.0, jitter=0.0)
    if mismatch is not None:
        noise = _with_mismatch(noise, left, continuum, mismatch)
    error = noise.total(continuum)
    ratio = left / error
    level = np.abs(continuum) / error
    typical_level = median(level[used])
    smallest = _SMALLEST * typical_level
    deviation = SIGMA_PER_MAD * median(np.abs(ratio[used]))
    deviation = max(deviation, 1.0 if noise.stated else smallest, 1e-30)
    weights = np.ones_like(ratio)
    if robust:
        limit = max(OUTLIER * deviation, SMALL * typical_level)
        weights = (limit / np.maximum(np.abs(ratio), limit)) ** 2
    noise = replace(noise, robust=weights)
    if noise.stated:
        noise = model.estimate(noise, ratio, level)
    elif mismatch is None:
        scatter = float(np.sqrt(np.mean((weights * ratio**2)[used])))
        noise = replace(noise, factor=max(scatter, smallest))
    return with_shares(noise, flux, continuum)


def with_shares(noise: Noise, flux: Floats, continuum: Floats) -> Noise:
    """Return the noise with the shares of its pixels that count as independent, at a fitted flux
    (Q,) with its continuum (Q,); the same noise, if no mismatch is known."""
    if isinstance(noise.alike, float):
        return noise
    used, counted = noise.used, noise.counted(continuum)
    share = np.square(noise.total(continuum) / counted)[used]
    information = np.square((continuum - flux) / counted)[used] + 1e-30
    in_lines = float(share @ information / information.sum())
    return replace(noise, independent=float(share.mean()), independent_in_lines=in_lines)


def _with_mismatch(noise: Noise, left: Floats, continuum: Floats, mismatch: PixelMismatch) -> Noise:
    """The noise with a mismatch, from residuals `left` (Q,).

    Without stated errors, that of the noise is the scatter between neighbouring pixels.
    """
    used, level = noise.used, np.abs(continuum)
    typical = median(level[used])
    level = np.maximum(level, _FAINT * typical)
    if not noise.stated:
        third = np.diff((left / noise.error)[used], 3) / np.sqrt(20.0)
        scatter = SIGMA_PER_MAD * median(np.abs(third))
        smallest = _SMALLEST * typical / float(noise.error[0])
        noise = replace(noise, factor=max(scatter, smallest))
    error = noise.factor * noise.error / level
    found = mismatch_error(left / level, error, mismatch.variance, used)
    return replace(noise, mismatch=found, alike=mismatch.alike)
