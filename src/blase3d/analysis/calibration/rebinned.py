"""Spectra with as many pixels as their lines need."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...runtime.arrays import Floats
from ...spectra.spectrum import Spectrum

_PER_LINE = 3.5
"""Pixels per full width of a line, at least."""


def rebinned(spectrum: Spectrum, width: float) -> Spectrum:
    """Return a spectrum whose pixels are means of neighbours, for lines of a full width (Å).

    Masked pixels do not count. Spectra with orders, and those that are not oversampled, stay.
    """
    step = float(np.median(np.diff(spectrum.wavelength)))
    count = int(width / _PER_LINE / step)
    if count < 2 or spectrum.order is not None or spectrum.pixel_resolution is not None:
        return spectrum
    good = spectrum.good.astype(float)
    total = _summed(good, count)
    known = np.maximum(total, 1.0)
    error = None
    if spectrum.error is not None:
        error = np.sqrt(_summed(good * spectrum.error**2, count)) / known
        error = np.where(total > 0.0, error, 1.0)
    wavelength = _summed(spectrum.wavelength, count) / count
    flux = _summed(good * spectrum.flux, count) / known
    # a mean of few of the pixels is at another wavelength
    mask = total < count
    return replace(
        spectrum, wavelength=wavelength, flux=flux, error=error, mask=mask, continuum=None
    )


def _summed(values: Floats, count: int) -> Floats:
    """Sums over `count` neighbours; values that are left over at the end are dropped."""
    return np.asarray(values)[: len(values) // count * count].reshape(-1, count).sum(axis=1)
