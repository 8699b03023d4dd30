"""Mismatch of the model with real stars, as an error of the pixels of one star.

A calibrated model knows at which wavelengths it differs from real stars, and by how much
(`model/mismatch.py`): with variance v. A star differs by κ v, with κ from its residuals: zero for a
spectrum that the model computed, and for one whose noise is all that there is.

A wrong line is wrong in all of its n pixels alike. Their mean has the variance σ²/n + κ v, where σ²
is that of the noise, as if they were independent and each had the variance σ² + n κ v.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...model.mismatch import Mismatch
from ...runtime.arrays import Bools, Floats, medians
from ...runtime.units import FWHM_PER_SIGMA, SIGMA_PER_MAD, SPEED_OF_LIGHT

_BINS = 10
"""Bins of pixels of similar mismatch, by whose scatter κ is found ..."""
_FEWEST = 20
"""... and pixels of each, at least."""
_OF_A_MEDIAN = 2.33
"""Relative standard deviation of the square of a median absolute deviation, times the root of the
number of values."""
_AGREES = 3.0
"""Standard deviations within which the noise is as stated."""
_PARALLEL = 1e-9
"""Determinant of the products of noise and mismatch, relative to those of each, below which they
cannot be separated."""
_LINE = 2.5
"""Standard deviation of the profile of a narrow line, km/s."""


@dataclass(frozen=True, eq=False)
class PixelMismatch:
    """Mismatch with real stars at the pixels of a spectrum.

    Attributes
    ----------
    variance : (Q,)
        Of other stars, in units of the continuum squared.
    alike : (Q,)
        Number of pixels that have it in common.
    """

    variance: Floats
    alike: Floats


def mismatch_of_pixels(
    mismatch: Mismatch, wavelength: Floats, parameters: Mapping[str, float]
) -> PixelMismatch:
    """Return the mismatch at pixels of observed wavelengths (Q,), in Å, of a star with the
    parameters `rv`, `vsini` (km/s) and `resolution`."""
    rest = wavelength / (1.0 + parameters.get("rv", 0.0) / SPEED_OF_LIGHT)
    width = SPEED_OF_LIGHT / FWHM_PER_SIGMA / parameters.get("resolution", np.inf)
    width = float(np.hypot(width, parameters.get("vsini", 0.0) / 2.0))
    return PixelMismatch(mismatch.at(rest, width), pixels_of_a_line(wavelength, width))


def pixels_of_a_line(wavelength: Floats, width: float) -> Floats:
    """Return the number of pixels (Q,) of a line at increasing wavelengths (Q,), at least one.

    `width` is the standard deviation, km/s, of all that broadens a narrow line. The number is that
    of a Gaussian profile p, (Σ p²)²/Σ p⁴ = √(2π) standard deviations. Where orders overlap, the
    pixels of both are of the same line.
    """
    ln, number = np.log(wavelength), np.arange(float(wavelength.size))
    half = 0.5 * np.sqrt(2.0 * np.pi) * np.hypot(width, _LINE) / SPEED_OF_LIGHT
    found = np.interp(ln + half, ln, number) - np.interp(ln - half, ln, number)
    return np.asarray(np.maximum(found, 1.0))


def mismatch_error(left: Floats, noise: Floats, variance: Floats, used: Bools) -> Floats:
    """Return the errors (Q,) by mismatch, from residuals `left` (Q,).

    All are in units of the continuum: the errors of the noise (Q,), and the variance (Q,) of the
    mismatch with other stars. Medians of bins are compared, so that few pixels that are wrong by
    far do not count. Where pixels of little mismatch scatter less than the noise that is stated,
    the noise counts as what it is: errors that are too large would hide all mismatch.
    """
    order = np.flatnonzero(used)
    order = order[np.argsort(variance[order])]
    count = int(np.clip(order.size // _FEWEST, 1, _BINS))
    bins = order[order.size % count :].reshape(count, -1)  # of one size, without the least
    scatter = SIGMA_PER_MAD**2 * medians(left[bins] ** 2)
    expected, stated = medians(variance[bins]), medians(noise[bins] ** 2)
    rows = np.stack([stated, expected, scatter]) / np.maximum(scatter, 1e-300)
    share = _share_of_noise(rows, _OF_A_MEDIAN / np.sqrt(bins.shape[1]))
    kappa = rows[1] @ (rows[2] - share * rows[0]) / (rows[1] @ rows[1])
    return np.asarray(np.sqrt(max(float(kappa), 0.0) * variance))


def _share_of_noise(rows: Floats, error: float) -> float:
    """The variance of the noise over that stated, at most one.

    `rows` (3, B) are the variances in bins of the noise as stated, of the mismatch and of the
    residuals, over the last, whose relative error is `error`. The share is the largest that agrees
    with a sum of both.
    """
    for _ in range(2):  # again with the errors of the sum: bins that are low by chance count more
        products = rows[:2] @ rows[:2].T
        determinant = float(np.linalg.det(products))
        if not determinant > _PARALLEL * products[0, 0] * products[1, 1]:
            return 1.0
        both = np.linalg.solve(products, rows[:2] @ rows[2])
        largest = both[0] + _AGREES * error * np.sqrt(products[1, 1] / determinant)
        rows = rows / np.maximum(np.maximum(both, 0.0) @ rows[:2], 1e-300)
    return float(np.clip(largest, 0.0, 1.0))
