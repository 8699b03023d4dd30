"""Spectra with as many pixels as their lines need."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import median_filter

from ...runtime.arrays import Floats
from ...spectra.spectrum import Spectrum

_PER_LINE = 3.5
"""Pixels per full width of a line, at least."""
_GAP, _NEAR = 2.0, 9
"""Length of a mean, in those of so many near it, from which on its pixels have a gap."""


def rebinned(spectrum: Spectrum, width: float) -> Spectrum:
    """Return a spectrum whose pixels are means of neighbours, for lines of a full width (Å).

    A mean with a masked pixel is masked: that of the others is at another wavelength. So is one of
    pixels on both sides of a gap. Spectra with orders, and those that are not oversampled, stay.
    """
    step = float(np.median(np.diff(spectrum.wavelength)))
    count = int(width / _PER_LINE / step)
    if count < 2 or spectrum.order is not None or spectrum.pixel_resolution is not None:
        return spectrum
    length = np.ptp(_neighbours(spectrum.wavelength, count), axis=1)
    gap = length > _GAP * median_filter(length, _NEAR, mode="nearest")
    squares = None if spectrum.error is None else _means(spectrum.error**2, count)
    return replace(
        spectrum,
        wavelength=_means(spectrum.wavelength, count),
        flux=_means(spectrum.flux, count),
        error=None if squares is None else np.sqrt(squares / count),
        mask=(_means(spectrum.mask.astype(np.float64), count) > 0.0) | gap,
        continuum=None,
    )


def _means(values: Floats, count: int) -> Floats:
    return _neighbours(values, count).mean(axis=1)


def _neighbours(values: Floats, count: int) -> Floats:
    """Values of each `count` neighbours; those that are left over at the end are dropped."""
    return values[: len(values) // count * count].reshape(-1, count)
