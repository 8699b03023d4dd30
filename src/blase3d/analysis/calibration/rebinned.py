"""Spectra with as many pixels as their lines need."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...runtime.arrays import Bools, Floats
from ...spectra.spectrum import Spectrum

_PER_LINE = 3.5
"""Pixels per full width of a line, at least."""


def rebinned(spectrum: Spectrum, width: float) -> Spectrum:
    """Return a spectrum whose pixels are means of neighbours, for lines of a full width (Å).

    A mean with a masked pixel is masked: that of the others is at another wavelength. Spectra with
    orders, and those that are not oversampled, stay.
    """
    step = float(np.median(np.diff(spectrum.wavelength)))
    count = int(width / _PER_LINE / step)
    if count < 2 or spectrum.order is not None or spectrum.pixel_resolution is not None:
        return spectrum
    squares = None if spectrum.error is None else _means(spectrum.error**2, count)
    return replace(
        spectrum,
        wavelength=_means(spectrum.wavelength, count),
        flux=_means(spectrum.flux, count),
        error=None if squares is None else np.sqrt(squares / count),
        mask=_means(spectrum.mask, count) > 0.0,
        continuum=None,
    )


def _means(values: Floats | Bools, count: int) -> Floats:
    """Means over `count` neighbours; values that are left over at the end are dropped."""
    return np.asarray(values)[: len(values) // count * count].reshape(-1, count).mean(axis=1)
