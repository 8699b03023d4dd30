"""Long curves reduced to the pixels that can be distinguished on a screen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def thinned(values: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Return the indices of the least and greatest value in each of `count` stretches of a curve.

    Both ends are kept, so at most about 2 `count` indices are returned, in increasing order. A
    line narrower than a stretch keeps its depth.
    """
    if values.size <= 2 * count:
        return np.arange(values.size)
    edges = np.linspace(0, values.size, count + 1).astype(int)
    size = int(np.diff(edges).max())
    stretches = np.minimum(edges[:-1, None] + np.arange(size), edges[1:, None] - 1)
    rows, found = np.arange(count), values[stretches]
    chosen = [stretches[rows, found.argmin(axis=1)], stretches[rows, found.argmax(axis=1)]]
    return np.unique(np.concatenate([*chosen, [0, values.size - 1]]))
