"""Features of a calibrated model that are deeper than in any star that it was calibrated with.

Labels hardly suffer from a false line, since the pixels around it have little weight. The spectrum
that the model predicts does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from ...runtime.arrays import Floats
from ...runtime.units import SPEED_OF_LIGHT
from .stellar_mismatch import Residual

_STEP = 1.0
"""Step of the velocities, km/s."""
_SMOOTH = 1.0
"""Standard deviation, km/s, over which residuals are averaged: narrower than lines."""
_LEAST = 0.03
"""Least difference, in units of the continuum: larger than errors of it."""


def too_deep(library: Sequence[Residual], calibrated: Sequence[Residual]) -> Floats:
    """Return the wavelengths (Å in vacuum) at which a calibrated model is too deep.

    There it is deeper than the star in all spectra that cover them, and deeper than the library in
    one of them. The residuals are those of the same spectra from either model.
    """
    ends = np.log([one.observation.rest_wavelength()[[0, -1]] for one in library])
    velocity = np.arange(ends.min(), ends.max(), _STEP / SPEED_OF_LIGHT)
    before, after = (
        np.array([_on_grid(one, velocity) for one in each]) for each in (library, calibrated)
    )
    known = np.isfinite(after)
    deeper = np.where(known, after, np.inf).min(axis=0)
    gained = np.where(known, after - before, -np.inf).max(axis=0)
    excess = np.where(known.any(axis=0), np.minimum(deeper, gained), 0.0)
    peaks, _ = find_peaks(np.pad(excess, 1), height=_LEAST)
    return np.exp(velocity[peaks - 1])


def _on_grid(one: Residual, velocity: Floats) -> Floats:
    """Data minus model at positions in ln λ; NaN where there are no pixels."""
    left, known = one.between_pixels(one.left, velocity)
    return np.where(known, gaussian_filter1d(left, _SMOOTH / _STEP, mode="nearest"), np.nan)
