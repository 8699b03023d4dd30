"""Numbers as text."""

from __future__ import annotations

import numpy as np


def decimals(sigma: float, value: float) -> int:
    """Return the decimals that show two digits of an uncertainty, or else five of the value.

    Examples
    --------
    >>> decimals(0.0231, 4.4)
    3
    """
    if np.isfinite(sigma) and sigma > 0:
        return int(np.clip(1 - np.floor(np.log10(sigma)), 0, 6))
    size = abs(value)
    return int(np.clip(4 - np.floor(np.log10(size)), 0, 4)) if size > 0 else 2
