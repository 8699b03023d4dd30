"""Least squares: Levenberg–Marquardt from the best points of a coarse scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..descent import CONVERGED, ROUGHLY, descend
from ..likelihood.likelihood import Likelihood, Prediction
from ..solution import Solution, covariance
from ..start import starts
from .method import Outcome

REFINEMENTS = 3
"""Times that errors are estimated again, at most."""
SETTLED = 0.3
"""Change of θ, in standard deviations, after which errors are not estimated again."""
SCREENINGS = 2
"""Times that outliers of a start are looked for: the first hide others."""


@dataclass(frozen=True)
class LeastSquares:
    """Levenberg–Marquardt from several starts; the best solution is refined."""

    def solve(self, likelihood: Likelihood, seed: int) -> Outcome:
        """Minimise chi-square. Nothing is random."""
        solutions = []
        for theta in starts(likelihood.problem):
            start = likelihood.predicted(theta)
            solutions.append(search(_screened(likelihood, start), start, ROUGHLY))
        solutions.sort(key=lambda solution: solution.chi2)
        best = _refine(solutions[0])
        return Outcome([best, *solutions[1:]], best.converged)


def _screened(likelihood: Likelihood, start: Prediction) -> Likelihood:
    """The likelihood with less weight for the outliers at a start."""
    if not likelihood.problem.options.robust:
        return likelihood
    for _ in range(SCREENINGS):
        likelihood = likelihood.screened(start)
    return likelihood


def _refine(solution: Solution) -> Solution:
    """The solution with the errors that are estimated there."""
    for _ in range(REFINEMENTS):
        start = solution.fit.prediction
        found = search(solution.likelihood.refined(start), start)
        sigma = np.sqrt(np.diag(covariance(found)))
        settled = np.abs(found.theta - solution.theta) <= SETTLED * sigma
        solution = found
        if settled.all():
            break
    return solution


def search(likelihood: Likelihood, start: Prediction, near: float = CONVERGED) -> Solution:
    """Return the minimum of chi-square that a search from a start finds; see `descend`."""
    found = descend(
        likelihood.problem,
        lambda theta: likelihood.fit(likelihood.predicted(theta)),
        start.theta,
        likelihood.fit(start),
        likelihood.n_used,
        near,
    )
    return Solution(found.theta, likelihood, found.fit, found.chi2, found.at_bound, found.converged)
