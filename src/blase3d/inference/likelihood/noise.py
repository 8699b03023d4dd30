"""What the errors of the pixels are: as stated, scaled or with a jitter, and without outliers.

A pixel that lies further from the model than `OUTLIER` times the usual scatter is given the weight
(OUTLIER × scatter / distance)² instead of one: it pulls the less the further off it is, as with
the wings of Student's t distribution. In normal noise one pixel in two million is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from ..problem import Problem

Floats = NDArray[np.float64]

OUTLIER = 5.0
SMALL = 5e-3
"""No pixel is an outlier that is nearer to the model than this part of the continuum."""
_LEAST = 1e-4
"""No spectrum without stated errors is taken to be better than this part of the continuum."""
_NORMAL = 1.4826
"""Standard deviation over median absolute deviation of the normal distribution."""


@dataclass(frozen=True, eq=False)
class Noise:
    """Errors of the pixels (Q,).

    Attributes
    ----------
    error : (Q,)
        As stated, in the unit of the data; where none are stated, the usual flux.
    stated : bool
        Whether the spectrum states its errors.
    factor : float
        What the errors are multiplied by; one where they are stated.
    jitter : float
        Additional error, in units of the continuum.
    robust : (Q,)
        Weights of the pixels, one but for outliers.
    used : (Q,)
        False for masked pixels.
    """

    error: Floats
    stated: bool
    factor: float
    jitter: float
    robust: Floats
    used: NDArray[np.bool_]

    @property
    def first_weight(self) -> Floats:
        """Inverse errors (Q,) as long as the continuum is not known."""
        return np.sqrt(self.robust) / (self.error * self.factor)

    def total(self, continuum: Floats) -> Floats:
        """Errors (Q,) with the jitter, in the unit of the data."""
        return np.hypot(self.error * self.factor, self.jitter * continuum)

    def weight(self, continuum: Floats) -> Floats:
        """Inverse errors (Q,), with the weights of outliers."""
        return np.sqrt(self.robust) / self.total(continuum)

    @property
    def n_outliers(self) -> int:
        """Pixels of reduced weight."""
        return int((self.robust[self.used] < 1.0).sum())


def first_noise(problem: Problem, scale: float) -> Noise:
    """The errors as the spectrum states them, or `scale` for every pixel."""
    spectrum = problem.spectrum
    stated = spectrum.error is not None
    error = np.full(len(spectrum), scale) if spectrum.error is None else spectrum.error
    return Noise(error, stated, 1.0, 0.0, np.ones(len(spectrum)), spectrum.good)


def noise_of(problem: Problem, before: Noise, flux: Floats, continuum: Floats) -> Noise:
    """The errors in view of a model (Q,) with its continuum (Q,)."""
    used = before.used
    distance = np.where(used, problem.spectrum.flux - flux, 0.0)
    ratio = distance / before.error
    usual = _NORMAL * float(np.median(np.abs(ratio[used])))
    level = float(np.median(np.abs(continuum / before.error)[used]))
    floor = _LEAST * level
    usual = max(usual, 1.0 if before.stated else floor, 1e-30)
    robust = np.ones_like(ratio)
    if problem.options.robust:
        limit = max(OUTLIER * usual, SMALL * level)
        robust = (limit / np.maximum(np.abs(ratio), limit)) ** 2
    squares = robust * ratio**2
    if not before.stated:
        factor = max(float(np.sqrt(np.mean(squares[used]))), floor)
        return replace(before, robust=robust, factor=factor)
    if problem.options.jitter:
        part = np.abs(continuum)[used] / before.error[used]
        return replace(before, robust=robust, jitter=_jitter(squares[used], part))
    return replace(before, robust=robust)


def _jitter(squares: Floats, part: Floats) -> float:
    """The additional error s at which Σ squares/(1 + (s part)²) is the number of pixels."""

    def excess(s: float) -> float:
        return float(np.mean(squares / (1.0 + (s * part) ** 2))) - 1.0

    if excess(0.0) <= 0.0:
        return 0.0
    return float(brentq(excess, 0.0, 2.0 * np.sqrt(squares.mean()) / part.min(), xtol=1e-9))
