"""What is masked out to see whether changes of lines hold: runs of pixels within lines, and blocks
wider than lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FOLDS = 4
_RUN, _BLOCK = 0.5, 12.0
"""Length of what is masked out in one go, in full widths of a usual line."""


@dataclass(frozen=True)
class HeldOut:
    """The rms of data less model over pixels that were masked out, in units of the continuum.

    Attributes
    ----------
    untuned, tuned : float
        With the lines as they were, and as they were changed to suit the other pixels.
    length : float
        Å that were masked out in one go.
    """

    untuned: float
    tuned: float
    length: float


def folds_of(wavelength: Floats, length: float) -> NDArray[np.int64]:
    """The fold (P,) that pixels belong to: runs of `length` (Å) in turn."""
    run = np.floor((wavelength - wavelength[0]) / length)
    return run.astype(np.int64) % FOLDS


def run_length(width: float) -> float:
    """Å of a run within a line, for lines of a full width (Å): half of each line remains, and what
    goes on from pixel to pixel in the noise does not help."""
    return _RUN * width


def block_length(width: float) -> float:
    """Å of a block: whole lines and their wings."""
    return _BLOCK * width


def held_out(
    wavelength: Floats,
    good: Bools,
    length: float,
    residual_without: Callable[[Bools], tuple[Floats, Floats]],
) -> HeldOut:
    """The rms over every pixel, each masked out once.

    `residual_without` gives data less model (P,), untuned and tuned, where pixels (P,) are masked.
    """
    fold = folds_of(wavelength, length)
    sums = np.zeros(2)
    for k in range(FOLDS):
        out = (fold == k) & good
        if out.any() and (good & ~out).any():
            rests = residual_without(out)
            sums += [float(np.sum(rest[out] ** 2)) for rest in rests]
    untuned, tuned = np.sqrt(sums / good.sum())
    return HeldOut(float(untuned), float(tuned), float(length))
