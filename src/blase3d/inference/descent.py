"""Levenberg–Marquardt: from a start to a minimum of chi-square, within the bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import numpy as np

from ..runtime.arrays import Bools, Floats
from .coordinates import Coordinates
from .problem import FreeParameters
from .solution import Curvature, Minimum, covariance, normal_equations

ITERATIONS = 40
"""Steps of a search, at most."""
CONVERGED = 0.02
"""Step, in standard deviations, at which a search ends ..."""
ROUGHLY = 0.3
"""... and at which one ends whose errors are estimated again afterwards."""
REFINEMENTS = 3
"""Times that errors are estimated again, at most."""
SETTLED = 0.3
"""Change of θ, in standard deviations, after which errors are not estimated again."""
INSIGNIFICANT = 1e-6
"""Relative change of chi-square that is rounding in float32."""


class _Prediction(Protocol):
    """A prediction, of one spectrum or of several."""

    @property
    def theta(self) -> Floats: ...


P = TypeVar("P", bound=_Prediction)
F = TypeVar("F", bound=Curvature, covariant=True)


class _Likelihood(Protocol[P, F]):
    """A likelihood, of one spectrum or of several."""

    @property
    def problem(self) -> FreeParameters: ...
    @property
    def n_used(self) -> int: ...
    def predicted(self, theta: Floats, /) -> P: ...
    def fit(self, prediction: P, /) -> F: ...
    def with_better_lines(self, prediction: P, /) -> Self: ...


L = TypeVar("L", bound=_Likelihood)
M = TypeVar("M", bound=Minimum)


@dataclass(frozen=True, eq=False)
class Descent(Generic[F]):
    """The end of a search: θ (K,), chi-square there with its derivatives, chi-square with the
    priors, which parameters (K,) are on a bound, and whether the search converged."""

    theta: Floats
    fit: F
    chi2: float
    at_bound: Bools
    converged: bool


def descend(likelihood: _Likelihood[P, F], start: P, near: float) -> Descent[F]:
    """Search a minimum of chi-square in `Coordinates`, within the bounds, from the prediction at a
    start until a step is shorter than `near` standard deviations.

    Parameters on a bound against which the gradient pushes them are held there.
    """
    problem, theta, fit = likelihood.problem, start.theta, likelihood.fit(start)
    coordinates = Coordinates(problem)
    chi2 = fit.chi2 + problem.prior_chi2(theta)
    damping, converged = 1e-3, False
    for _ in range(ITERATIONS):
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
        if gain > -INSIGNIFICANT * chi2:
            theta, fit, chi2 = trial, trial_fit, trial_chi2
            damping = max(damping / 10.0, 1e-9)
            converged = gain < INSIGNIFICANT * chi2
        else:
            damping *= 10.0
            converged = damping > 1e6
        if converged:
            break
    _, gradient = normal_equations(problem, fit, theta)
    at_bound = coordinates.pushed_out(theta, gradient * coordinates.slopes(theta))
    return Descent(theta, fit, chi2, at_bound, converged)


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


def minima_with_better_lines(
    minima: Callable[[L, list[Floats]], list[M]], likelihood: L, begin: list[Floats]
) -> list[M]:
    """Return the `minima` of a likelihood from some starts θ, the lowest first, with the lines that
    fit better at the lowest."""
    found = minima(likelihood, begin)
    better = likelihood.with_better_lines(found[0].fit.prediction)
    return found if better is likelihood else minima(better, [one.theta for one in found])


def refine(solution: M, again: Callable[[M], M]) -> M:
    """Return the solution with the errors that are estimated there; `again` searches from a
    solution with these errors."""
    for _ in range(REFINEMENTS):
        found = again(solution)
        sigma = np.sqrt(np.diag(covariance(found)))
        settled = np.abs(found.theta - solution.theta) <= SETTLED * sigma
        solution = found
        if settled.all():
            break
    return solution
