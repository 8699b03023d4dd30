"""Detection: the minima of a normalised spectrum become first lines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks, peak_prominences, peak_widths

from .lines import Lines, first_guess

_PROMINENCE_WINDOW = 4001
"""Pixels over which a minimum is compared with its surroundings: without a limit the search for
the bases of a peak grows with the square of the pixels."""
_EDGE = 500
"""Pixels by which a spectrum is mirrored at its ends, so that the wing of a line beyond one of
them is a minimum at the last pixel, and becomes a line there that can move out."""


def detect(
    wavelength: NDArray[np.float64], flux: NDArray[np.float64], prominence: float, distance: int
) -> Lines:
    """Lines at the local minima of a normalised spectrum.

    Parameters
    ----------
    wavelength, flux : (P,)
        Å and continuum units.
    prominence : float
        Least depth of a minimum against its surroundings, in continuum units.
    distance : int
        Least distance of two minima, in pixels; of nearer ones the deeper stays.

    Returns
    -------
    Lines
        Their references are pixels of `wavelength`, rounded to 0.01 Å as the original does, so
        that equal pixels of different nodes have equal references.
    """
    return _lines_at_minima(wavelength, flux, flux, prominence, distance)


def detect_missing(
    wavelength: NDArray[np.float64],
    flux: NDArray[np.float64],
    model: NDArray[np.floating],
    prominence: float,
    distance: int,
) -> Lines:
    """Lines where a model absorbs too little: the minima of flux − model below zero."""
    difference = np.minimum(flux - model, 0.0)
    return _lines_at_minima(wavelength, difference, flux, prominence, distance)


def _lines_at_minima(
    wavelength: NDArray[np.float64],
    signal: NDArray[np.float64],
    flux: NDArray[np.float64],
    prominence: float,
    distance: int,
) -> Lines:
    """Lines at the minima of `signal`, of its depths, on top of what `flux` shows."""
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
    # a dip of this size on a spectrum that already absorbs needs more optical depth
    depth = bases[0] / np.maximum(flux[peaks] + bases[0], bases[0])
    return first_guess(np.round(wavelength[peaks], 2), depth, np.maximum(pixels, 2.0) * step)
