"""Coordinates in which the flux is nearly linear, for searches and samplers."""

from __future__ import annotations

import numpy as np

from ..parameters import parameter
from ..runtime.arrays import Bools, Floats
from .problem import FreeParameters


class Coordinates:
    """Coordinates ψ = θᵖ with the powers of `parameters.py`: squares of rotation and turbulence,
    the inverse square of the resolution, and the other parameters unchanged.

    By rotation itself the derivative of the flux vanishes at zero, where a search would stall.
    """

    def __init__(self, problem: FreeParameters):
        self.power = np.array([parameter(name).power for name in problem.names])
        self.floor = problem.floor
        self.bounds = np.sort([problem.lower**self.power, problem.upper**self.power], axis=0)
        self.range = problem.lower, problem.upper

    def psi(self, theta: Floats) -> Floats:
        """ψ (K,) at which the model is evaluated for θ."""
        return np.asarray(np.maximum(theta, self.floor) ** self.power, np.float64)

    def slopes(self, theta: Floats) -> Floats:
        """dθ/dψ (K,)."""
        at = np.maximum(theta, self.floor)
        return np.where(self.power == 1.0, 1.0, at ** (1.0 - self.power) / self.power)

    def pushed_out(self, theta: Floats, gradient: Floats) -> Bools:
        """Parameters (K,) on a bound against which the gradient by ψ pushes them."""
        inwards = np.sign(self.power) * gradient
        low = (theta <= self.range[0]) & (inwards >= 0.0)
        high = (theta >= self.range[1]) & (inwards <= 0.0)
        return low | high

    def moved(self, theta: Floats, step: Floats) -> tuple[Floats, Floats]:
        """θ after a step in ψ, which ends at the bounds, and the step that was made."""
        before = theta**self.power
        after = np.clip(before + step, *self.bounds)
        return np.clip(after ** (1.0 / self.power), *self.range), after - before
