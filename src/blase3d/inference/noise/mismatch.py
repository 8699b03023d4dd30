"""Mismatch of the model with real stars, as an error of the pixels of one star.

A calibrated model knows at which wavelengths it differs from real stars, and by how much
(`model/mismatch.py`): with variance v. A star differs by κ v, with κ from its residuals: zero for a
spectrum that the model computed, and for one whose noise is all that there is.
"""

from __future__ import annotations

import numpy as np

from ...runtime.arrays import Bools, Floats, medians
from ...runtime.units import SIGMA_PER_MAD

_BINS = 10
"""Bins of pixels of similar mismatch, by whose scatter κ is found ..."""
_FEWEST = 20
"""... and pixels of each, at least."""


def mismatch_error(left: Floats, noise: Floats, variance: Floats, used: Bools) -> Floats:
    """Return the errors (Q,) by mismatch, from residuals `left` (Q,).

    All are in units of the continuum: the errors of the noise (Q,), and the variance (Q,) of the
    mismatch with other stars. Medians of bins are compared, so that few pixels that are wrong by
    far do not count.
    """
    order = np.flatnonzero(used)
    order = order[np.argsort(variance[order])]
    count = int(np.clip(order.size // _FEWEST, 1, _BINS))
    bins = order[order.size % count :].reshape(count, -1)  # of one size, without the least
    scatter = SIGMA_PER_MAD**2 * medians(left[bins] ** 2)
    expected, excess = medians(variance[bins]), scatter - medians(noise[bins] ** 2)
    weight = 1.0 / np.maximum(scatter, 1e-300) ** 2  # equal relative errors
    kappa = np.sum(weight * expected * excess) / np.sum(weight * expected**2)
    return np.asarray(np.sqrt(max(float(kappa), 0.0) * variance))
