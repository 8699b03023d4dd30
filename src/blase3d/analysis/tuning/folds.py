"""Cross-validation of changed lines: pixels are masked in runs within lines, and in blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from ...runtime.arrays import Bools, Floats, Integers

FOLDS = 4
"""Number of folds: each masks a quarter of the pixels."""
_RUN, _BLOCK = 0.5, 12.0
"""Length of a masked run and of a masked block, in full widths of a typical line."""


@dataclass(frozen=True)
class HeldOut:
    """rms residuals over masked pixels, in units of the continuum.

    Attributes
    ----------
    untuned, tuned : float
        With the lines of the library, and with lines tuned to the other pixels.
    length : float
        Length of a masked run, Å.
    """

    untuned: float
    tuned: float
    length: float


def folds_of(wavelength: Floats, length: float) -> Integers:
    """The fold (P,) of each pixel; runs of `length` (Å) belong to the folds in turn."""
    run = np.floor((wavelength - wavelength[0]) / length)
    return run.astype(np.int64) % FOLDS


def run_length(width: float) -> float:
    """Length (Å) of a run within a line of a full width (Å).

    Half of each line remains, and the run is longer than correlations of the noise.
    """
    return _RUN * width


def block_length(width: float) -> float:
    """Length (Å) of a block that masks whole lines with their wings."""
    return _BLOCK * width


def rms_held_out(
    wavelength: Floats,
    length: float,
    residuals_without: Callable[[Bools], Sequence[Floats]],
) -> list[float]:
    """rms over all pixels, each masked once, of several residuals.

    `residuals_without` returns the residuals, each (P,), with pixels (P,) masked.

    Raises
    ------
    InputError
        The spectrum has one run only: without it nothing is left.
    """
    fold = folds_of(wavelength, length)
    if not fold.any():
        raise InputError(
            f"got a spectrum of {np.ptp(wavelength):.3g} Å, expected more than the {length:.3g} Å "
            "that are masked at once to test changes of lines; give a longer one."
        )
    sums = []
    for k in np.unique(fold):
        out = fold == k
        sums.append([np.sum(one[out] ** 2) for one in residuals_without(out)])
    return np.sqrt(np.sum(sums, axis=0) / wavelength.size).tolist()
