"""Least squares: Levenberg–Marquardt from the best points of a coarse scan."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from ...runtime.arrays import Floats
from ..descent import CONVERGED, ROUGHLY, descend, minima_with_better_lines, refine
from ..likelihood.likelihood import Likelihood, Prediction
from ..solution import DISTINCT, Solution, distance, misfit_covariance
from ..start import starts
from .method import Outcome

_COMPARABLE = 1.3
"""Chi-square of a minimum over the lowest, up to which it may be the lowest with other errors."""
SCREENINGS = 2
"""Times that outliers of a start are looked for: the first hide others."""


@dataclass(frozen=True)
class LeastSquares:
    """Levenberg–Marquardt from several starts; the best solution is refined."""

    def solve(self, likelihood: Likelihood, seed: int) -> Outcome:
        """Minimise chi-square. Nothing is random."""
        begin = starts(likelihood.problem)
        best, *others = _lowest_first(minima_with_better_lines(_minima, likelihood, begin))
        diluted = _diluted(best)
        if diluted is None:
            return Outcome([best, *others], best.converged)
        return Outcome([diluted, *(_as_diluted(one, diluted) for one in others)], diluted.converged)


def _lowest_first(minima: list[Solution]) -> list[Solution]:
    """The minima with the lowest one first, which is refined.

    They were found with the stated errors. With those that are estimated at the first, lines that
    are wrong count less, and another may be lower.
    """
    lowest, *others = minima
    best = refine(lowest, _searched_again)
    for k, other in enumerate(others):
        if other.chi2 > _COMPARABLE * minima[0].chi2 or not _is_distinct(other, best):
            continue
        found = search(best.likelihood, best.likelihood.predicted(other.theta))
        if found.chi2 < best.chi2 and _is_distinct(found, best):
            others[k], lowest = lowest, other
            best = refine(found, _searched_again)
    return [best, *others]


def _is_distinct(solution: Solution, best: Solution) -> bool:
    """Whether a solution is another one than the best."""
    sigma = np.sqrt(np.diag(misfit_covariance(best, best.scatter)))
    return distance(best.theta, solution.theta, sigma) > DISTINCT


def _diluted(solution: Solution) -> Solution | None:
    """The solution with light without lines, if there is some; None where it is best without.

    Scattered light and sky that was not subtracted make all lines shallower alike, never deeper.
    Only of lines that real stars taught are the depths known well enough to tell it from errors of
    the library.
    """
    problem = solution.problem
    if not (problem.dilution_assumed and problem.lines_of_stars and _gains_by_light(solution)):
        return None
    likelihood = solution.likelihood.of_problem(problem.with_light_without_lines)
    start = likelihood.predicted(np.append(solution.theta, 0.0))
    found = refine(search(likelihood.refined(start), start, ROUGHLY), _searched_again)
    return found if found.theta[-1] > 0.0 else None


def _as_diluted(solution: Solution, best: Solution) -> Solution:
    """A rough minimum with the light without lines of the best solution."""
    theta = np.append(solution.theta, best.theta[-1])
    return replace(
        solution,
        theta=theta,
        fit=replace(solution.fit, prediction=best.likelihood.predicted(theta)),
        at_bound=np.append(solution.at_bound, False),
    )


def _gains_by_light(solution: Solution) -> bool:
    """Whether chi-square falls where a little light without lines is added."""
    prediction = solution.fit.prediction
    by_light = (1.0 - prediction.flux)[None]
    # in the place of another slope: one more would be compiled again
    slopes = jnp.concatenate([by_light, prediction.slopes[1:]])
    fit = solution.likelihood.fit(replace(prediction, slopes=slopes))
    return bool(fit.gradient[0] < 0.0)


def _minima(likelihood: Likelihood, begin: list[Floats]) -> list[Solution]:
    """Rough minima of chi-square from each start, the lowest first."""
    solutions = []
    for theta in begin:
        start = likelihood.predicted(theta)
        solutions.append(search(_screened(likelihood, start), start, ROUGHLY))
    return sorted(solutions, key=lambda solution: solution.chi2)


def _screened(likelihood: Likelihood, start: Prediction) -> Likelihood:
    """The likelihood with less weight for the outliers at a start."""
    if not likelihood.problem.options.robust:
        return likelihood
    for _ in range(SCREENINGS):
        likelihood = likelihood.screened(start)
    return likelihood


def _searched_again(solution: Solution) -> Solution:
    """The minimum with the errors that are estimated at a solution."""
    start = solution.fit.prediction
    return search(solution.likelihood.refined(start), start)


def search(likelihood: Likelihood, start: Prediction, near: float = CONVERGED) -> Solution:
    """Return the minimum of chi-square that a search from a start finds; see `descend`."""
    found = descend(likelihood, start, near)
    return Solution(found.theta, likelihood, found.fit, found.chi2, found.at_bound, found.converged)
