"""Detection of lines at the minima of a normalised spectrum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks, peak_prominences, peak_widths

from .lines import Lines, first_guess

_PROMINENCE_WINDOW = 4001
"""Pixels over which the bases of a minimum are searched for. Without a limit the time of the search
grows with the square of the number of pixels."""
_EDGE = 500
"""Pixels by which a spectrum is mirrored at its ends. The wing of a line beyond an end is then a
minimum at the last pixel, and the line found there can move out."""


def detect(
    wavelength: NDArray[np.float64], flux: NDArray[np.float64], prominence: float, distance: int
) -> Lines:
    """Return lines at the local minima of a normalised spectrum.

    Parameters
    ----------
    wavelength, flux : (P,)
        Å, and units of the continuum.
    prominence : float
        Least depth of a minimum below its surroundings, in units of the continuum.
    distance : int
        Least distance of two minima, in pixels. Of closer ones the deeper is kept.

    Returns
    -------
    Lines
        Their references are pixels of `wavelength`, rounded to 0.01 Å as in the original, so that
        equal pixels of different nodes have equal references.
    """
    return _lines_at_minima(wavelength, flux, flux, prominence, distance)


def detect_missing(
    wavelength: NDArray[np.float64],
    flux: NDArray[np.float64],
    model: NDArray[np.floating],
    prominence: float,
    distance: int,
) -> Lines:
    """Return lines where a model absorbs too little: at the negative minima of flux − model."""
    difference = np.minimum(flux - model, 0.0)
    return _lines_at_minima(wavelength, difference, flux, prominence, distance)


def _lines_at_minima(
    wavelength: NDArray[np.float64],
    signal: NDArray[np.float64],
    flux: NDArray[np.float64],
    prominence: float,
    distance: int,
) -> Lines:
    """Lines at the minima of `signal`, with their depths, that absorb in addition to `flux`."""
    edge = min(_EDGE, signal.size - 1)
    absorbed = np.pad(-signal, edge, mode="reflect")
    peaks, _ = find_peaks(absorbed, distance=distance)
    bases = peak_prominences(absorbed, peaks, wlen=min(_PROMINENCE_WINDOW, signal.size))
    real = (bases[0] >= prominence) & (peaks >= edge) & (peaks < edge + signal.size)
    peaks, bases = peaks[real], tuple(base[real] for base in bases)
    if peaks.size == 0:
        return first_guess([], [], [])
    pixels = peak_widths(absorbed, peaks, prominence_data=bases)[0]
    peaks = peaks - edge
    step = np.gradient(wavelength)[peaks]
    # where the spectrum absorbs already, the same dip takes more optical depth
    depth = bases[0] / np.maximum(flux[peaks] + bases[0], bases[0])
    return first_guess(np.round(wavelength[peaks], 2), depth, np.maximum(pixels, 2.0) * step)
