"""Curves as they are sent to the page: thinned to the resolution of the screen.

Of the pixels that fall into one column of the screen, the least and the greatest are sent,
unchanged. No line is lost, however narrow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import Floats, Integers
from ..curves import thinned
from .state import Interval

MARGIN = 0.25
"""Fraction of the window that is sent beyond each of its ends, for panning."""


def window_slice(wavelength: Floats, window: Interval) -> slice:
    """Pixels of increasing wavelengths in a window, with its margins and one pixel more."""
    more = MARGIN * (window[1] - window[0])
    first, last = np.searchsorted(wavelength, [window[0] - more, window[1] + more])
    return slice(max(int(first) - 1, 0), min(int(last) + 1, wavelength.size))


def thin_for_screen(values: NDArray[np.floating], columns: int) -> Integers:
    """Indices of the values (P,) to send for a window of `columns` screen pixels, margins included.

    There are at most about four per column.
    """
    return thinned(np.asarray(values, np.float64), round(2 * columns * (1 + 2 * MARGIN)))


def with_gaps(
    x: Floats, y: Floats, gap_before: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.float32]]:
    """Insert NaN before each pixel at which the curve is interrupted, except the first."""
    gaps = np.flatnonzero(gap_before)
    gaps = gaps[gaps > 0]
    return np.insert(x, gaps, x[gaps]), np.insert(y, gaps, np.nan).astype(np.float32)
