"""Least squares: Levenberg–Marquardt from the best points of a coarse scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...runtime.arrays import Bools, Floats
from ..coordinates import Coordinates
from ..likelihood.likelihood import Likelihood, Prediction
from ..solution import Solution, covariance, normal_equations
from ..start import starts
from .method import Outcome

_ITERATIONS = 40
"""Steps of a search, at most."""
_CONVERGED = 0.02
"""Step, in standard deviations, at which a search ends ..."""
_ROUGHLY = 0.3
"""... and at which one ends whose errors are estimated again afterwards."""
_ROUNDING = 1e-6
"""Relative change of chi-square that is rounding in float32."""
_REFINEMENTS = 3
"""Times that errors are estimated again, at most."""
_SETTLED = 0.3
"""Change of θ, in standard deviations, after which errors are not estimated again."""
_SCREENINGS = 2
"""Times that outliers of a start are looked for: the first hide others."""


@dataclass(frozen=True)
class LeastSquares:
    """Levenberg–Marquardt from several starts; the best solution is refined."""

    def solve(self, likelihood: Likelihood, seed: int) -> Outcome:
        """Minimise chi-square. Nothing is random."""
        solutions = []
        for theta in starts(likelihood.problem):
            start = likelihood.predicted(theta)
            solutions.append(_descend(_screened(likelihood, start), start, _ROUGHLY))
        solutions.sort(key=lambda solution: solution.chi2)
        best = _refine(solutions[0])
        return Outcome([best, *solutions[1:]], best.converged)


def _screened(likelihood: Likelihood, start: Prediction) -> Likelihood:
    """The likelihood with less weight for the outliers at a start."""
    if not likelihood.problem.options.robust:
        return likelihood
    for _ in range(_SCREENINGS):
        likelihood = likelihood.screened(start)
    return likelihood


def _refine(solution: Solution) -> Solution:
    """The solution with the errors that are estimated there."""
    for _ in range(_REFINEMENTS):
        start = solution.fit.prediction
        found = _descend(solution.likelihood.refined(start), start)
        sigma = np.sqrt(np.diag(covariance(found)))
        settled = np.abs(found.theta - solution.theta) <= _SETTLED * sigma
        solution = found
        if settled.all():
            break
    return solution


def _descend(likelihood: Likelihood, start: Prediction, near: float = _CONVERGED) -> Solution:
    """Levenberg–Marquardt in `Coordinates`, within the bounds, until a step is shorter than `near`
    standard deviations.

    Parameters on a bound against which the gradient pushes them are held there.
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
        held = coordinates.pushed_out(theta, gradient)
        trial, step = coordinates.moved(theta, _damped_step(normal, gradient, held, damping))
        if step @ normal @ step < near**2 * chi2 / likelihood.n_used:
            converged = True
            break
        trial_fit = likelihood.fit(likelihood.predicted(trial))
        trial_chi2 = trial_fit.chi2 + problem.prior_chi2(trial)
        gain = chi2 - trial_chi2
        if gain > -_ROUNDING * chi2:
            theta, fit, chi2 = trial, trial_fit, trial_chi2
            damping = max(damping / 10.0, 1e-9)
            converged = gain < _ROUNDING * chi2
        else:
            damping *= 10.0
            converged = damping > 1e6
        if converged:
            break
    _, gradient = normal_equations(problem, fit, theta)
    at_bound = coordinates.pushed_out(theta, gradient * coordinates.slopes(theta))
    return Solution(theta, likelihood, fit, chi2, at_bound, converged)


def _damped_step(normal: Floats, gradient: Floats, held: Bools, damping: float) -> Floats:
    """The step (K,) that minimises chi-square, damped; zero for parameters that are held."""
    step = np.zeros_like(gradient)
    free = ~held
    if not free.any():
        return step
    scale = np.sqrt(np.maximum(np.diag(normal), 1e-300))[free]
    matrix = normal[np.ix_(free, free)] / np.outer(scale, scale) + damping * np.eye(free.sum())
    step[free] = -np.linalg.lstsq(matrix, gradient[free] / scale, rcond=1e-12)[0] / scale
    return step
