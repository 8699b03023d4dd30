"""Cross-validation of changed lines: pixels are masked in runs within lines, and in blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

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


def held_out(
    wavelength: Floats,
    good: Bools,
    length: float,
    residual_without: Callable[[Bools], tuple[Floats, Floats]],
) -> HeldOut:
    """rms residuals over all pixels, each masked once.

    `residual_without` returns data minus model (P,), untuned and tuned, with pixels (P,) masked.
    """
    untuned, tuned = rms_held_out(wavelength, good, length, residual_without)
    return HeldOut(untuned, tuned, float(length))


def rms_held_out(
    wavelength: Floats,
    good: Bools,
    length: float,
    residuals_without: Callable[[Bools], Sequence[Floats]],
) -> list[float]:
    """rms over all pixels, each masked once, of several residuals.

    `residuals_without` returns the residuals, each (P,), with pixels (P,) masked.
    """
    fold = folds_of(wavelength, length)
    sums: list[Floats] = []
    for k in range(FOLDS):
        out = (fold == k) & good
        if out.any() and (good & ~out).any():
            residuals = residuals_without(out)
            sums.append(np.array([np.sum(one[out] ** 2) for one in residuals]))
    return np.sqrt(np.sum(sums, axis=0) / good.sum()).tolist()
