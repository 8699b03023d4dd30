"""What is sent to the page of a long curve: what a screen can show of it, and nothing less.

A column of the screen shows of all pixels that fall into it the range from the least to the
greatest. The pixels with these two are sent, as they are: no line is thinned away, however narrow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..report.svg import thinned
from .settings import Window

Floats = NDArray[np.float64]

MARGIN = 0.25
"""Part of the window that is sent beyond each of its ends, for moving it."""


def stretch_of(wavelength: Floats, window: Window) -> slice:
    """Pixels of increasing wavelengths that a window shows, with its margins and a pixel more."""
    more = MARGIN * (window[1] - window[0])
    first, last = np.searchsorted(wavelength, [window[0] - more, window[1] + more])
    return slice(max(int(first) - 1, 0), min(int(last) + 1, wavelength.size))


def shown(values: NDArray[np.floating], columns: int) -> NDArray[np.int64]:
    """Which values (P,) of a stretch are sent for a window of so many columns of the screen, its
    margins included: at most about four a column."""
    return thinned(np.asarray(values, np.float64), round(2 * columns * (1 + 2 * MARGIN)))


def with_gaps(
    x: Floats, y: Floats, gap_before: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.float32]]:
    """The same with a NaN before each pixel where the curve is interrupted, but the first."""
    places = np.flatnonzero(gap_before)
    places = places[places > 0]
    return np.insert(x, places, x[places]), np.insert(y, places, np.nan).astype(np.float32)
