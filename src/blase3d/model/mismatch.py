"""Mismatch of a model with real stars, over wavelength."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from ..runtime.units import SPEED_OF_LIGHT

STEP = 3.0
"""Step of the knots in velocity, km/s: a third of a narrow line."""


@dataclass(frozen=True, eq=False)
class Mismatch:
    """Mean square difference between the spectra of real stars and a model.

    It is large where lines are missing in the library, or wrong in it, and is the variance s² that
    The Cannon adds to that of the noise (Ness et al. 2015, ApJ 808, 16, section 2.2), in the frame
    of the star.

    Attributes
    ----------
    ends : (2,) float64
        First and last wavelength of the knots, Å in vacuum. Knots are equidistant in ln λ.
    variance : (M,) float32
        At the knots, in units of the continuum squared.
    """

    ends: NDArray[np.float64]
    variance: NDArray[np.float32]

    @property
    def knots(self) -> NDArray[np.float64]:
        """ln λ of the knots, (M,)."""
        low, high = np.log(self.ends)
        return np.linspace(low, high, self.variance.size)

    def at(self, wavelength: NDArray[np.float64], width: float = 0.0) -> NDArray[np.float64]:
        """Return the variance (Q,) at wavelengths (Q,) of the star's frame, as an instrument sees
        it with a Gaussian profile of a standard deviation of `width` km/s."""
        low, high = np.log(self.ends)
        step = (high - low) / (self.variance.size - 1)
        variance, steps = self.variance.astype(np.float64), width / (SPEED_OF_LIGHT * step)
        if steps > 1.0:
            variance = gaussian_filter1d(variance, steps, mode="nearest")
        # between equal steps in a quarter of the time of np.interp
        position = np.clip((np.log(wavelength) - low) / step, 0.0, variance.size - 1.0)
        left = np.minimum(position.astype(np.int64), variance.size - 2)
        return variance[left] + (position - left) * np.diff(variance)[left]


def knots_of(wavelength: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return knots, in ln λ, for a model on wavelengths (P,)."""
    low, high = np.log(wavelength[[0, -1]])
    count = int(np.ceil((high - low) * SPEED_OF_LIGHT / STEP)) + 1
    return np.linspace(low, high, max(count, 2))
