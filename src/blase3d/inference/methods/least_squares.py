"""Gradient search: a scan of coarse templates, then Levenberg–Marquardt from the best places."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...parameters import parameter
from ..likelihood.likelihood import Fit, Likelihood, Picture, Prediction
from ..problem import Problem
from ..start import starts

Floats = NDArray[np.float64]

_ITERATIONS = 40
_CONVERGED = 0.02
"""Largest step, in standard deviations, at which a search ends ..."""
_ROUGHLY = 0.3
"""... and one whose errors are to be refined."""
_NOISE = 1e-6
"""Changes of chi-square, relative to it, that float32 does not tell from none."""
_REFINEMENTS = 3
"""Times, at the most, that errors and modes are set anew."""
_TOGETHER = 2.0
_LEAST_PARTS = 20
"""Stretches of the spectrum from which covariances of the misfit can be told."""
_SETTLED = 0.3
"""They are no longer when θ moved by less than this, in standard deviations."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Where a search ended: θ (K,), the likelihood and the fit there, `chi2` with the priors,
    which parameters are on a bound, and whether the search converged."""

    theta: Floats
    likelihood: Likelihood
    fit: Fit
    chi2: float
    at_bound: NDArray[np.bool_]
    converged: bool

    @cached_property
    def picture(self) -> Picture:
        """Flux and continuum of the solution."""
        return self.likelihood.picture(self.fit.prediction)

    @property
    def excess(self) -> Floats:
        """Covariance (K, K) to be added for the emulator's error: none for what is on a bound."""
        free = ~self.at_bound
        return np.where(np.outer(free, free), self.likelihood.excess, 0.0)


def search(likelihood: Likelihood) -> list[Solution]:
    """Solutions from the starts of the scan, the best first and refined."""
    solutions = []
    for theta in starts(likelihood.problem):
        start = likelihood.predicted(theta)
        solutions.append(descend(_screened(likelihood, start), start, _ROUGHLY))
    solutions.sort(key=lambda solution: solution.chi2)
    return [refine(solutions[0]), *solutions[1:]]


def _screened(likelihood: Likelihood, start: Prediction) -> Likelihood:
    """The likelihood with what is an outlier at the start already known as such."""
    if not likelihood.problem.options.robust:
        return likelihood
    for _ in range(2):
        likelihood = likelihood.refined(start, outliers_only=True)
    return likelihood


def refine(solution: Solution) -> Solution:
    """The solution with errors, outliers and modes of the emulator's error as they are there."""
    for _ in range(_REFINEMENTS):
        start = solution.fit.prediction
        found = descend(solution.likelihood.refined(start), start)
        sigma = np.sqrt(np.diag(covariance(found)))
        settled = np.abs(found.theta - solution.theta) <= _SETTLED * sigma
        solution = found
        if settled.all():
            break
    return solution


def descend(likelihood: Likelihood, start: Prediction, near: float = _CONVERGED) -> Solution:
    """Levenberg–Marquardt within the bounds, in the coordinates of `Coordinates`, until a step
    would be shorter than `near`, in standard deviations.

    Parameters on a bound that the gradient pushes outwards rest until it no longer does.
    """
    problem = likelihood.problem
    coordinates = Coordinates(problem)
    theta, fit = start.theta, likelihood.fit(start)
    chi2 = fit.chi2 + problem.prior_chi2(theta)
    damping, converged = 1e-3, False
    for _ in range(_ITERATIONS):
        slopes = coordinates.slopes(theta)
        normal, gradient = normal_equations(problem, fit, theta)
        normal, gradient = normal * np.outer(slopes, slopes), gradient * slopes
        step = _damped_step(normal, gradient, coordinates.resting(theta, gradient), damping)
        trial, step = coordinates.moved(theta, step)
        if step @ normal @ step < near**2 * chi2 / likelihood.n_used:
            converged = True
            break
        trial_fit = likelihood.fit(likelihood.predicted(trial))
        trial_chi2 = trial_fit.chi2 + problem.prior_chi2(trial)
        gain = chi2 - trial_chi2
        if gain > -_NOISE * chi2:
            theta, fit, chi2 = trial, trial_fit, trial_chi2
            damping = max(damping / 10.0, 1e-9)
            converged = gain < _NOISE * chi2
        else:
            damping *= 10.0
            converged = damping > 1e6
        if converged:
            break
    _, gradient = normal_equations(problem, fit, theta)
    rest = coordinates.resting(theta, gradient * coordinates.slopes(theta))
    return Solution(theta, likelihood, fit, chi2, rest, converged)


class Coordinates:
    """Coordinates ψ = θᵖ in which the flux is nearly linear: squares of rotation and turbulence,
    the inverse square of the resolution, and the other parameters as they are.

    In rotation itself the slope of the flux vanishes at zero, and a search would creep there.
    """

    def __init__(self, problem: Problem):
        self.power = np.array([parameter(name).power for name in problem.names])
        self.floor = problem.floor
        self.bounds = np.sort([problem.lower**self.power, problem.upper**self.power], axis=0)
        self.range = problem.lower, problem.upper

    def psi(self, theta: Floats) -> Floats:
        """ψ (K,) at θ, where the model is evaluated for it."""
        return np.asarray(np.maximum(theta, self.floor) ** self.power, np.float64)

    def slopes(self, theta: Floats) -> Floats:
        """dθ/dψ (K,)."""
        at = np.maximum(theta, self.floor)
        return np.where(self.power == 1.0, 1.0, at ** (1.0 - self.power) / self.power)

    def resting(self, theta: Floats, gradient: Floats) -> NDArray[np.bool_]:
        """Which parameters are on a bound that the gradient by ψ pushes them against."""
        inwards = np.sign(self.power) * gradient
        low = (theta <= self.range[0]) & (inwards >= 0.0)
        high = (theta >= self.range[1]) & (inwards <= 0.0)
        return low | high

    def moved(self, theta: Floats, step: Floats) -> tuple[Floats, Floats]:
        """θ after a step in ψ that ends at the bounds, and the step that was made."""
        before = theta**self.power
        after = np.clip(before + step, *self.bounds)
        return np.clip(after ** (1.0 / self.power), *self.range), after - before


def covariance(solution: Solution, scatter: float = 1.0) -> Floats:
    """Covariance (K, K) of θ from the curvature of chi-square over `scatter`, and the priors.

    Parameters on a bound have none (zeros).
    """
    problem = solution.likelihood.problem
    normal, _ = normal_equations(problem, solution.fit, solution.theta, scatter)
    free = ~solution.at_bound
    result = np.zeros_like(normal)
    scale = 1.0 / np.sqrt(np.maximum(np.diag(normal), 1e-300))[free]
    inner = normal[np.ix_(free, free)] * np.outer(scale, scale)
    result[np.ix_(free, free)] = np.linalg.pinv(inner, hermitian=True) * np.outer(scale, scale)
    return result


def misfit_covariance(solution: Solution, scatter: float) -> Floats:
    """The covariance (K, K) of `covariance`, widened where residuals go together, with the
    excess for the emulator's error.

    Where the model is wrong, neighbouring pixels are wrong together, and count for less than their
    number. With g_p the part of Jᵀr that comes from the p-th stretch of the spectrum and H the
    curvature, H⁻¹ Σ g_p g_pᵀ H⁻¹ estimates the covariance from how the stretches disagree
    (Huber 1967; White 1982, Econometrica 50, 1). Of white noise it is the same on average, so
    that it is heeded only where a variance is larger by `_TOGETHER`.
    """
    usual = covariance(solution, scatter)
    scores = solution.fit.scores / scatter
    used = np.abs(scores).sum(axis=1) > 0.0
    if used.sum() < _LEAST_PARTS:
        return usual + solution.excess
    robust = usual @ (scores.T @ scores) @ usual
    ratio = np.diag(robust) / np.where(np.diag(usual) > 0.0, np.diag(usual), np.inf)
    wider = np.sqrt(np.where(ratio > _TOGETHER, ratio, 1.0))
    return usual * np.outer(wider, wider) + solution.excess


def normal_equations(
    problem: Problem, fit: Fit, theta: Floats, scatter: float = 1.0
) -> tuple[Floats, Floats]:
    """JᵀJ and Jᵀr over `scatter`, priors included."""
    precision = problem.precision
    mean = np.array([prior.mean for prior in problem.free.values()])
    return (
        fit.normal / scatter + np.diag(precision),
        fit.gradient / scatter + (theta - mean) * precision,
    )


def _damped_step(
    normal: Floats, gradient: Floats, rest: NDArray[np.bool_], damping: float
) -> Floats:
    step = np.zeros_like(gradient)
    move = ~rest
    if not move.any():
        return step
    scale = np.sqrt(np.maximum(np.diag(normal), 1e-300))[move]
    matrix = normal[np.ix_(move, move)] / np.outer(scale, scale) + damping * np.eye(move.sum())
    step[move] = -np.linalg.lstsq(matrix, gradient[move] / scale, rcond=1e-12)[0] / scale
    return step
