"""Stated errors, scaled alike: the covariance of the answer is multiplied by reduced chi-square."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .noise import Noise, independent


class Scaled:
    """Independent errors, as stated but for a common factor.

    The factor is reduced chi-square where it exceeds one. It does not change the best fit, so it is
    applied to the covariance (`Solution.scatter`) and not to the errors.
    """

    whitening = staticmethod(independent)

    def estimate(
        self, noise: Noise, ratio: NDArray[np.float64], level: NDArray[np.float64]
    ) -> Noise:
        """Return the noise as it is."""
        return noise
