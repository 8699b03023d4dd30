"""Stated errors, scaled alike: the covariance of the answer is multiplied by reduced chi-square."""

from __future__ import annotations

from ...runtime.arrays import Floats
from .noise import Noise, independent


class Scaled:
    """Independent errors, as stated but for a common factor.

    The factor is reduced chi-square where it exceeds one. It does not change the best fit, so it is
    applied to the covariance (`Solution.scatter`) and not to the errors.
    """

    whitening = staticmethod(independent)

    def estimate(self, noise: Noise, ratio: Floats, level: Floats) -> Noise:
        """Return the noise as it is."""
        return noise
