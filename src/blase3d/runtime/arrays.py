"""Type aliases for arrays, and the treatment of floating-point errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]

DEFAULT_FLOATING_POINT = np.errstate(divide="warn", over="warn", under="ignore", invalid="warn")
"""Decorator: NumPy treats floating-point errors as it does by default, whatever the caller has set.

After `np.seterr(all="raise")` the wing of any line would underflow with an exception.
"""


def median(values: Floats) -> float:
    """Return the median of finite values (N,), that of NumPy in a quarter of the time for a few
    thousand."""
    low, high = (values.size - 1) // 2, values.size // 2
    parted = np.partition(values, (low, high) if low < high else low)
    return 0.5 * (float(parted[low]) + float(parted[high]))
