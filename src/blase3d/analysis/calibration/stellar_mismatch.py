"""Mismatch of a library with the stars of a calibration, over wavelength.

The squared residuals of each star, with the labels of the literature, are brought to knots in the
frame of the star, and averaged over its spectra, then over the stars. One further star, of the
typical square everywhere, keeps the mean from zero where few stars fit by chance.

They are those of the lines of the library, not of the changed ones. A line that had to be changed
by much fits the stars that changed it, but is known less well than one that was right.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from ...inference.noise.mismatch import mismatch_error, mismatch_of_pixels
from ...model.mismatch import STEP, Mismatch, knots_of
from ...model.model import Model
from ...runtime.arrays import Bools, Floats
from ...runtime.units import SPEED_OF_LIGHT
from .known_stars import typical_width
from .observation import Observation

_SMOOTH = 6.0
"""Standard deviation of the smoothing of a mismatch, km/s: lines are as wide in most stars."""
_PRIOR = 2.0
"""Squares of the further star, over their median."""
_LARGEST = 0.5
"""Largest residual that counts, in units of the continuum."""
_GAP, _STEPS, _NEIGHBOURS = 5.0, 3.0, 9
"""Distance of pixels, km/s, and in steps of so many neighbours, from which on it is a gap: less is
within the smoothing, while a mean of pixels (`rebinned.py`) may be shorter than that."""
_BROADENED = 2.0
"""Width of the lines of a spectrum, over the least one of all, beyond which its residuals do not
show single lines: it is left out."""


@dataclass(frozen=True, eq=False)
class Residual:
    """A spectrum minus the model with the lines of its library and the labels of the literature, on
    its used pixels (Q,), in units of the continuum.

    Attributes
    ----------
    observation : Observation
        The spectrum.
    level : (Q,)
        The continuum, in units of the computation.
    left : (Q,)
        Data minus model.
    """

    observation: Observation
    level: Floats
    left: Floats

    @property
    def noise(self) -> Floats:
        """Errors (Q,) of the pixels by noise alone."""
        return self.observation.noise / self.level

    def squares(self, knots: Floats) -> Floats:
        """Squared residuals less those of the noise at knots (M,) in ln λ; NaN where there are no
        pixels."""
        squares = np.minimum(np.abs(self.left), _LARGEST) ** 2 - self.noise**2
        values, known = self.between_pixels(squares, knots)
        return np.where(known, values, np.nan)

    def between_pixels(self, values: Floats, at: Floats) -> tuple[Floats, Bools]:
        """Values (Q,) of the pixels between them, at increasing positions (M,) in ln λ, and whether
        there are pixels: not beyond the spectrum, nor in gaps of it."""
        ln = np.log(self.observation.rest_wavelength())
        order = np.argsort(ln)
        ln = ln[order]
        step = SPEED_OF_LIGHT * np.diff(ln)
        gap = step > np.maximum(_GAP, _STEPS * median_filter(step, _NEIGHBOURS, mode="nearest"))
        after = np.clip(np.searchsorted(ln, at), 1, ln.size - 1)
        known = (at >= ln[0]) & (at <= ln[-1]) & ~gap[after - 1]
        return np.interp(at, ln, values[order]), known

    def weight(self, mismatch: Mismatch) -> Floats:
        """Inverse variances (Q,) that pixels count with, in units of the computation."""
        one = self.observation
        known = mismatch_of_pixels(mismatch, one.wavelength, one.parameters())
        used = np.ones(self.left.size, bool)
        error = mismatch_error(self.left, self.noise, known.variance, used)
        return 1.0 / (self.noise**2 + known.alike * error**2) / self.level**2


def residual_of(observation: Observation, model: Model) -> Residual:
    """Return a spectrum minus the model at the parameters of the observation.

    Pixels count by their noise alone in the continuum: with less weight for lines, it would pass
    through the pixels without any.
    """
    unchanged = observation.predicted(np.zeros((len(model.reference), 3)))
    level = np.abs(unchanged.level(unchanged.continuum(1.0 / observation.noise**2)))
    level = np.maximum(level, 1e-3 * float(np.median(level)))
    return Residual(observation, level, observation.flux / level - unchanged.flux)


def squares_of_stars(residuals: list[Residual], wavelength: Floats) -> dict[str, Floats]:
    """Return the mean squares (M,) of each star at the knots of a model on `wavelength` (P,)."""
    knots = knots_of(wavelength)
    widths = [typical_width(one.observation) for one in residuals]
    found: dict[str, list[Floats]] = defaultdict(list)
    for one, width in zip(residuals, widths, strict=True):
        if width <= _BROADENED * min(widths):
            found[one.observation.star].append(one.squares(knots))
    return {star: _mean(np.array(rows)) for star, rows in found.items()}


def mismatch_of(
    squares: dict[str, Floats], wavelength: Floats, without: str | None = None
) -> Mismatch:
    """Return the mismatch with the stars of `squares`, all or `without` one."""
    rows = np.array([each for star, each in squares.items() if star != without])
    if not rows.size:
        rows = np.array(list(squares.values()))
    typical = _PRIOR * float(np.nanmedian(np.maximum(rows, 0.0)))
    count = np.isfinite(rows).sum(axis=0)
    variance = (np.maximum(np.nansum(rows, axis=0), 0.0) + typical) / (count + 1)
    smooth = gaussian_filter1d(variance, _SMOOTH / STEP, mode="nearest")
    return Mismatch(wavelength[[0, -1]], np.maximum(smooth, 1e-10).astype(np.float32))


def _mean(rows: Floats) -> Floats:
    """Mean (M,) of rows (N, M) over values that are finite; NaN where none is."""
    known = np.isfinite(rows)
    return np.where(
        known.any(axis=0), np.nansum(rows, axis=0) / np.maximum(known.sum(0), 1), np.nan
    )
