"""Resampling of a spectrum onto other pixels.

Libraries give the flux at points. Where new pixels are about as dense as the points, or denser, the
flux is interpolated by a monotone cubic (Fritsch & Butland 1984), which does not overshoot. A pixel
wider than `COARSE` steps gets the mean of that cubic over its width, which conserves the integral
of the flux. Beyond the ends of the spectrum, the flux is NaN.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from ...runtime.arrays import Floats

COARSE = 1.5
"""Steps of a spectrum per pixel from which on the pixel gets a mean."""
_SAME = 1e-3
"""Pixels that differ by less, in steps, are equal."""


def same_pixels(one: Floats, other: Floats) -> bool:
    """Whether two sets of wavelengths are equal within rounding."""
    if one.shape != other.shape:
        return False
    return bool(np.abs(one - other).max() <= _SAME * np.diff(other).min())


def resample(wavelength: Floats, flux: Floats, pixels: Floats) -> Floats:
    """Return the flux (n,) at increasing wavelengths (n,) on `pixels` (P,); NaN beyond its ends."""
    if same_pixels(wavelength, pixels):
        return flux
    first, last = np.searchsorted(wavelength, pixels[[0, -1]])
    needed = slice(max(0, first - 3), last + 3)
    wavelength, flux = wavelength[needed], flux[needed]
    if wavelength.size < 2:
        return np.full(pixels.shape, np.nan)
    bad = ~np.isfinite(flux)
    curve = PchipInterpolator(wavelength, np.where(bad, 0.0, flux), extrapolate=False)
    result = _means(curve, wavelength, pixels, curve(pixels))
    if bad.any():
        result[np.interp(pixels, wavelength, bad.astype(float)) > 0] = np.nan
    return result


def _means(curve: PchipInterpolator, wavelength: Floats, pixels: Floats, points: Floats) -> Floats:
    """`points` (P,), replaced by the mean of the curve over the pixel where that is wide."""
    edges = np.empty(pixels.size + 1)
    edges[1:-1] = 0.5 * (pixels[1:] + pixels[:-1])
    edges[[0, -1]] = 2 * pixels[[0, -1]] - edges[[1, -2]]
    at = np.clip(np.searchsorted(wavelength, pixels), 1, wavelength.size - 1)
    wide = np.diff(edges) > COARSE * (wavelength[at] - wavelength[at - 1])
    if not wide.any():
        return points
    integral = curve.antiderivative()(np.clip(edges, wavelength[0], wavelength[-1]))
    inside = (edges[:-1] >= wavelength[0]) & (edges[1:] <= wavelength[-1])
    return np.where(wide & inside, np.diff(integral) / np.diff(edges), points)
