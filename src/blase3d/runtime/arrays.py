"""Type aliases for arrays, and the treatment of floating-point errors."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]
Values = TypeVar("Values", Floats, Singles)
"""Values of either precision, the same in and out of a function."""

_ALIGNMENT = 64
"""Bytes of which the addresses of arrays that JAX does not copy are multiples."""
DEFAULT_FLOATING_POINT = np.errstate(divide="warn", over="warn", under="ignore", invalid="warn")
"""Decorator: NumPy treats floating-point errors as it does by default, whatever the caller has set.

After `np.seterr(all="raise")` the wing of any line would underflow with an exception.
"""


def aligned_empty(shape: tuple[int, ...]) -> Singles:
    """Return an array that is not filled yet, at an address with which `jax.device_put` on a CPU
    need not copy it."""
    size = math.prod(shape) * np.dtype(np.float32).itemsize
    room = np.empty(size + _ALIGNMENT, np.uint8)
    first = -room.ctypes.data % _ALIGNMENT
    return room[first : first + size].view(np.float32).reshape(shape)


def median(values: Floats) -> float:
    """Return the median of finite values (N,), that of NumPy in a tenth of the time for a few
    thousand."""
    return float(medians(values))


def medians(rows: Floats) -> Floats:
    """Return the medians (...) of rows (..., N) of finite values, as `median` does."""
    count = rows.shape[-1]
    high = count // 2
    parted = np.partition(rows, high)  # one place: for two, values are not compared by eights
    low = parted[..., high] if count % 2 else parted[..., :high].max(axis=-1)
    return np.asarray(0.5 * (low.astype(np.float64) + parted[..., high]))


def as_slice(index: Integers) -> Integers | slice:
    """Return indices as a slice, which copies nothing, if they are consecutive."""
    consecutive = index.size > 0 and np.array_equal(
        index, np.arange(index[0], index[0] + index.size)
    )
    return slice(int(index[0]), int(index[-1]) + 1) if consecutive else index


def symmetric_inverse(matrices: Floats, rcond: float = 1e-15) -> Floats:
    """Return the pseudoinverses (..., K, K) of symmetric matrices, those of NumPy in a third of the
    time; eigenvalues below `rcond` of the largest count as zero."""
    values, vectors = np.linalg.eigh(matrices)
    sizes = np.abs(values)
    known = sizes > rcond * sizes.max(axis=-1, keepdims=True, initial=0.0)
    inverse = np.where(known, 1.0 / np.where(known, values, 1.0), 0.0)
    return np.asarray((vectors * inverse[..., None, :]) @ np.swapaxes(vectors, -1, -2))
