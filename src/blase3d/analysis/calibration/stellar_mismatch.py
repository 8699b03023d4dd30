"""Mismatch of a model with the stars of a calibration, over wavelength.

The squared residuals of each star, left out of the changes of the lines, are brought to knots in
the frame of the star, and averaged over its spectra, then over the stars. One further star, of the
typical square everywhere, keeps the mean from zero where few stars fit by chance.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ...inference.noise.mismatch import mismatch_error
from ...model.mismatch import STEP, Mismatch, knots_of
from ...runtime.arrays import Floats
from .known_stars import typical_width
from .observation import Predicted

_SMOOTH = 6.0
"""Standard deviation of the smoothing of a mismatch, km/s: lines are as wide in most stars."""
_PRIOR = 2.0
"""Squares of the further star, over their median."""
_LARGEST = 0.5
"""Largest residual that counts, in units of the continuum."""
_BROADENED = 2.0
"""Width of the lines of a spectrum, over the least one of all, beyond which its residuals do not
show single lines: it is left out."""


@dataclass(frozen=True, eq=False)
class Residual:
    """A spectrum minus a prediction on its used pixels (Q,), in units of the continuum.

    Attributes
    ----------
    start : Predicted
        The spectrum, with a prediction nearby.
    level : (Q,)
        The continuum, in units of the computation.
    left : (Q,)
        Data minus prediction.
    """

    start: Predicted
    level: Floats
    left: Floats

    @property
    def noise(self) -> Floats:
        """Errors (Q,) of the pixels by noise alone."""
        return self.start.observation.noise / self.level

    def squares(self, knots: Floats) -> Floats:
        """Squared residuals less those of the noise at knots (M,) in ln λ; NaN beyond the
        spectrum."""
        values = np.minimum(np.abs(self.left), _LARGEST) ** 2 - self.noise**2
        ln = np.log(self.start.observation.rest_wavelength())
        order = np.argsort(ln)
        return np.interp(knots, ln[order], values[order], left=np.nan, right=np.nan)

    def weight(self, mismatch: Mismatch) -> Floats:
        """Inverse variances (Q,) of the pixels, in units of the computation."""
        one = self.start.observation
        variance = mismatch.at(one.rest_wavelength())
        used = np.ones(variance.size, bool)
        error = mismatch_error(self.left, self.noise, variance, used)
        return 1.0 / (self.noise**2 + error**2) / self.level**2


def residual_of(start: Predicted, changes: Floats) -> Residual:
    """Return a spectrum minus its prediction with lines changed by (C, 3).

    The continuum is that of pixels that count by their noise alone. With less weight for lines, the
    continuum would pass through the pixels without lines, and lines would seem wrong that are not.
    """
    one = start.observation
    found = replace(start, flux=one.flux_with(changes))
    level = np.abs(found.level(found.continuum(1.0 / one.noise**2)))
    level = np.maximum(level, 1e-3 * float(np.median(level)))
    return Residual(start, level, one.flux / level - found.flux)


def squares_of_stars(residuals: list[Residual], wavelength: Floats) -> dict[str, Floats]:
    """Return the mean squares (M,) of each star at the knots of a model on `wavelength` (P,)."""
    knots = knots_of(wavelength)
    widths = [typical_width(one.start.observation) for one in residuals]
    found: dict[str, list[Floats]] = defaultdict(list)
    for one, width in zip(residuals, widths, strict=True):
        if width <= _BROADENED * min(widths):
            found[one.start.observation.star].append(one.squares(knots))
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
