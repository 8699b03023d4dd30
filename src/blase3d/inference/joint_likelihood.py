"""The likelihood of one star in several windows, and its minimum.

Chi-square is the sum of those of the windows, each over its scatter: reduced chi-square, at least
one where the spectrum states errors. So each window has the weight that its misfit leaves it, with
noise, errors of lines, error of the model and continuum of its own. The scatter is held fixed while
θ is sought, as the errors are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..runtime.arrays import Bools, Floats
from .descent import CONVERGED, ROUGHLY, descend, minima_with_better_lines, refine
from .joint_problem import JointProblem, StarWindow
from .likelihood.likelihood import Fit, Likelihood, Prediction, make_likelihood
from .methods.least_squares import SCREENINGS
from .solution import Solution, covariance
from .start import lattice_of, lattice_starts, scan_of


@dataclass(frozen=True, eq=False)
class JointPrediction:
    """The fluxes of all windows at θ (K,)."""

    theta: Floats
    windows: tuple[Prediction, ...]


@dataclass(frozen=True, eq=False)
class SummedFit:
    """Chi-square of all windows at θ (K,) and its derivatives, as in `Fit`; `windows` has those of
    each window."""

    prediction: JointPrediction
    windows: tuple[Fit, ...]
    chi2: float
    normal: Floats
    gradient: Floats
    scores: Floats


@dataclass(frozen=True, eq=False)
class JointLikelihood:
    """The likelihoods of the windows, with the scatter of each."""

    problem: JointProblem
    windows: tuple[Likelihood, ...]
    scatter: tuple[float, ...]

    @property
    def n_used(self) -> int:
        """Number of pixels that are not masked."""
        return sum(one.n_used for one in self.windows)

    def independent_in_lines(self, fit: SummedFit) -> float:
        """Share of the information on lines that is of independent pixels, in the mean over the
        windows by their information on θ at a fit."""
        total = np.maximum(np.diag(fit.normal), 1e-300)
        parts = zip(self.windows, self.problem.windows, fit.windows, self.scatter, strict=True)
        shares, information = [], []
        for one, window, of_window, scatter in parts:
            shares.append(one.independent_in_lines(of_window))
            of_all = np.diag(of_window.normal) / scatter / total[window.columns]
            information.append(float(of_all.sum()))
        return float(np.average(shares, weights=np.maximum(information, 1e-300)))

    def reduced(self, chi2: float) -> float:
        """Chi-square over its expectation."""
        return chi2 / sum(one.expected_chi2 for one in self.windows)

    def predicted(self, theta: Floats) -> JointPrediction:
        """The prediction at θ (K,)."""
        pairs = zip(self.windows, self.problem.windows, strict=True)
        return JointPrediction(theta, tuple(one.predicted(theta[w.columns]) for one, w in pairs))

    def fit(self, prediction: JointPrediction) -> SummedFit:
        """Chi-square of a prediction and its derivatives."""
        pairs = zip(self.windows, prediction.windows, strict=True)
        return self._sum(prediction, tuple(one.fit(predicted) for one, predicted in pairs))

    def _sum(self, prediction: JointPrediction, fits: tuple[Fit, ...]) -> SummedFit:
        count = len(self.problem.free)
        normal, gradient = np.zeros((count, count)), np.zeros(count)
        scores, chi2 = [], 0.0
        for window, fit, scatter in zip(self.problem.windows, fits, self.scatter, strict=True):
            chi2 += fit.chi2 / scatter
            normal[np.ix_(window.columns, window.columns)] += fit.normal / scatter
            gradient[window.columns] += fit.gradient / scatter
            scores.append(np.zeros((len(fit.scores), count)))
            scores[-1][:, window.columns] = fit.scores / scatter
        return SummedFit(prediction, fits, chi2, normal, gradient, np.concatenate(scores))

    def screened(self, prediction: JointPrediction) -> JointLikelihood:
        """The likelihood with less weight for the outliers of a prediction."""
        pairs = zip(self.windows, prediction.windows, strict=True)
        robust = [one.screened(p) if one.problem.options.robust else one for one, p in pairs]
        return replace(self, windows=tuple(robust))

    def with_better_lines(self, prediction: JointPrediction) -> JointLikelihood:
        """The likelihood with the lines that fit better in each window at θ of a prediction; itself
        if these are those that it has."""
        pairs = zip(self.windows, prediction.windows, strict=True)
        found = tuple(one.with_better_lines(predicted) for one, predicted in pairs)
        if all(one is before for one, before in zip(found, self.windows, strict=True)):
            return self
        windows = tuple(
            replace(window, problem=one.problem)
            for one, window in zip(found, self.problem.windows, strict=True)
        )
        return replace(self, problem=replace(self.problem, windows=windows), windows=found)

    def refined(self, prediction: JointPrediction) -> JointLikelihood:
        """The likelihood with all errors estimated at a prediction."""
        pairs = zip(self.windows, prediction.windows, strict=True)
        found = replace(self, windows=tuple(one.refined(p) for one, p in pairs))
        return found.rescaled(found.fit(prediction))

    def rescaled(self, fit: SummedFit) -> JointLikelihood:
        """The likelihood with the scatter of each window at a fit."""
        pairs = zip(self.windows, fit.windows, strict=True)
        return replace(self, scatter=tuple(_scatter(one, found) for one, found in pairs))


def _scatter(likelihood: Likelihood, fit: Fit) -> float:
    theta = fit.prediction.theta
    return Solution(theta, likelihood, fit, fit.chi2, np.zeros(theta.size, bool), True).scatter


@dataclass(frozen=True, eq=False)
class JointSolution:
    """The point at which a search ended, as in `Solution`."""

    theta: Floats
    likelihood: JointLikelihood
    fit: SummedFit
    chi2: float
    at_bound: Bools
    converged: bool
    scatter: float = 1.0
    """Chi-square is already over the scatter of each window."""

    @property
    def problem(self) -> JointProblem:
        """The problem."""
        return self.likelihood.problem

    @property
    def windows(self) -> Iterator[tuple[StarWindow, Solution]]:
        """Each window with its solution at θ of all."""
        zipped = zip(self.problem.windows, self.likelihood.windows, self.fit.windows, strict=True)
        for window, one, fit in zipped:
            held = self.at_bound[window.columns]
            theta = self.theta[window.columns]
            yield window, Solution(theta, one, fit, fit.chi2, held, self.converged)

    @cached_property
    def model_covariance(self) -> Floats:
        """Covariance (K, K) to be added for the errors of the models.

        With N the normal matrix of a window and M its model covariance, θ = C Σ N θ_window, so that
        errors of different models add up to C Σ N M N C. Those of one model in several windows are
        not independent: they add up at most to as many times their sum.
        """
        joint = covariance(self)
        total = np.zeros_like(joint)
        count = Counter(window.model for window, _ in self.windows)
        for window, solution in self.windows:
            free = ~solution.at_bound
            normal = solution.fit.normal[np.ix_(free, free)] / solution.scatter
            moved = joint[:, window.columns[free]] @ normal
            known = solution.model_covariance[np.ix_(free, free)]
            total += count[window.model] * (moved @ known @ moved.T)
        return total


def minimise(problem: JointProblem) -> list[JointSolution]:
    """Return the minima of chi-square, the best first, with its errors estimated there."""
    likelihood = JointLikelihood(
        problem,
        tuple(make_likelihood(window.problem) for window in problem.windows),
        (1.0,) * len(problem.windows),
    )
    best, *others = minima_with_better_lines(_minima, likelihood, joint_starts(problem))
    return [_refined(best), *others]


def _minima(likelihood: JointLikelihood, begin: list[Floats]) -> list[JointSolution]:
    """Rough minima of chi-square from each start, the lowest first."""
    solutions: list[JointSolution] = []
    for theta in begin:
        start = likelihood.predicted(theta)
        screened = likelihood
        for _ in range(SCREENINGS):
            screened = screened.screened(start)
        if not solutions:  # the same scatter for all, or they could not be compared
            likelihood = replace(likelihood, scatter=screened.rescaled(screened.fit(start)).scatter)
        screened = replace(screened, scatter=likelihood.scatter)
        solutions.append(_descended(screened, start, ROUGHLY))
    return sorted(solutions, key=lambda solution: solution.chi2)


def _descended(
    likelihood: JointLikelihood, start: JointPrediction, near: float = CONVERGED
) -> JointSolution:
    found = descend(likelihood, start, near)
    return JointSolution(
        found.theta, likelihood, found.fit, found.chi2, found.at_bound, found.converged
    )


def _descended_again(solution: JointSolution) -> JointSolution:
    """The minimum with the errors that are estimated at a solution."""
    start = solution.fit.prediction
    return _descended(solution.likelihood.refined(start), start)


def _refined(solution: JointSolution) -> JointSolution:
    """The solution with the errors, and then the scatter, that are estimated there."""
    solution = refine(solution, _descended_again)
    likelihood = solution.likelihood.rescaled(solution.fit)
    fit = likelihood.fit(solution.fit.prediction)
    chi2 = fit.chi2 + solution.problem.prior_chi2(solution.theta)
    return replace(solution, likelihood=likelihood, fit=fit, chi2=chi2)


def joint_starts(problem: JointProblem) -> list[Floats]:
    """Return points θ (K,) from which to search, from the sum of chi-square of templates.

    Each first guess of a parameter of the observation is from the window in which lines improve
    chi-square most.
    """
    scans = [scan_of(window.problem) for window in problem.windows]
    gains = [scan.gain() for scan in scans]
    first: dict[str, float] = {}
    for k in np.argsort(gains):
        first |= dict(_named(problem, problem.windows[k], scans[k].first))
    labels, lattice = list(problem.axes), lattice_of(problem)
    total = np.zeros(len(lattice.points))
    for window, scan in zip(problem.windows, scans, strict=True):
        columns = [labels.index(name) for name in window.problem.axes]
        guesses = {
            window.problem.names[i]: first[problem.names[k]]
            for i, k in enumerate(window.columns)
            if problem.names[k] in first
        }
        chi2 = scan.chi2(lattice.points[:, columns], guesses)
        total += chi2 / max(float(chi2.min()) / scan.size, 1.0)
    return lattice_starts(problem, lattice, total, first)


def _named(
    problem: JointProblem, window: StarWindow, values: dict[str, float]
) -> Iterator[tuple[str, float]]:
    """Values of a window by the names in θ of all."""
    for name, value in values.items():
        yield problem.names[window.columns[window.problem.names.index(name)]], value
