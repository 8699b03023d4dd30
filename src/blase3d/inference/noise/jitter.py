"""Stated errors with an additional one, the same fraction of the continuum at every pixel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import brentq

from ...runtime.arrays import Floats
from .noise import Noise, independent


class Jitter:
    """Independent errors √(e² + (s C)²), with the s ≥ 0 that makes reduced chi-square one."""

    whitening = staticmethod(independent)

    def estimate(self, noise: Noise, ratio: Floats, level: Floats) -> Noise:
        """Return the noise with the jitter s at a misfit."""
        used = noise.used
        return replace(noise, jitter=_jitter((noise.robust * ratio**2)[used], level[used]))


def _jitter(squares: Floats, level: Floats) -> float:
    """Solve mean(squares/(1 + (s level)²)) = 1 for s; zero if the mean is below one at s = 0."""

    def above_one(s: float) -> float:
        return float(np.mean(squares / (1.0 + (s * level) ** 2))) - 1.0

    if above_one(0.0) <= 0.0:
        return 0.0
    return float(brentq(above_one, 0.0, 2.0 * np.sqrt(squares.mean()) / level.min(), xtol=1e-9))
