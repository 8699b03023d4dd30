"""Gradient search: a coarse scan of the nodes, then Levenberg–Marquardt from the best of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from .problem import Evaluator, Fit, Problem
from .velocity import first_velocity

STARTS = 3
"""Searches, from different nodes."""
_SCAN = 5
"""Values of each label in the coarse scan, at the most."""
_TEMPLATES = 7
"""Points of the scan, at the most, with which a first velocity is sought."""
_ITERATIONS = 40
_CONVERGED = 1e-4
"""Largest step, in standard deviations, at which a search ends ..."""
_FLAT = 1e-6
"""... or the decrease of chi-square, relative to it."""
_FIRST = {"rv": 0.0, "vsini": 5.0, "resolution": 3e4}


@dataclass(frozen=True, eq=False)
class Solution:
    """Where a search ended: θ (K,), the fit there, and which parameters are on a bound."""

    theta: NDArray[np.float64]
    fit: Fit
    chi2: float
    at_bound: NDArray[np.bool_]
    converged: bool


def search(problem: Problem, evaluate: Evaluator) -> list[Solution]:
    """Solutions from the best nodes of a coarse scan, the best first."""
    points = list(_scan(problem))
    if "rv" in problem.free:
        rv = first_velocity(problem, _templates(problem, points))
        points = [_with(problem, point, "rv", rv) for point in points]
    starts = sorted(points, key=lambda theta: _penalised_chi2(problem, evaluate, theta))
    solutions = [descend(problem, evaluate, theta) for theta in starts[:STARTS]]
    return sorted(solutions, key=lambda solution: solution.chi2)


def _scan(problem: Problem) -> Iterator[NDArray[np.float64]]:
    """Points of the coarse scan: some values of each label, the first guess of the nuisances."""
    values = []
    for name, prior in problem.free.items():
        if name in problem.model.bounds:
            count = min(_SCAN, len(problem.model.axes[name]) + 1)
            inner = (np.arange(count) + 0.5) / count
            values.append(prior.low + (prior.high - prior.low) * inner)
        else:
            values.append(np.clip([_FIRST[name]], prior.low, prior.high))
    return (np.array(point) for point in product(*values))


def _templates(problem: Problem, points: list[NDArray[np.float64]]) -> list[dict[str, float]]:
    """Labels of some points of the scan, spread over it."""
    chosen = points[:: -(-len(points) // _TEMPLATES)]
    names = problem.model.label_names
    return [{name: problem.parameters(point)[name] for name in names} for point in chosen]


def _with(
    problem: Problem, point: NDArray[np.float64], name: str, value: float
) -> NDArray[np.float64]:
    changed = point.copy()
    changed[problem.names.index(name)] = value
    return changed


def descend(problem: Problem, evaluate: Evaluator, theta: NDArray[np.float64]) -> Solution:
    """Levenberg–Marquardt within the bounds, from θ.

    Parameters on a bound that the gradient pushes outwards rest until it no longer does.
    """
    fit = evaluate(theta)
    chi2 = fit.chi2 + _prior_chi2(problem, theta)
    damping, converged = 1e-3, False
    for _ in range(_ITERATIONS):
        normal, gradient = _normal_equations(problem, fit, theta)
        rest = _resting(problem, theta, gradient)
        step = _damped_step(normal, gradient, rest, damping)
        trial = np.clip(theta + step, problem.lower, problem.upper)
        trial_fit = evaluate(trial)
        trial_chi2 = trial_fit.chi2 + _prior_chi2(problem, trial)
        moved = (trial - theta) @ normal @ (trial - theta)
        if trial_chi2 <= chi2:
            gain = chi2 - trial_chi2
            theta, fit, chi2 = trial, trial_fit, trial_chi2
            damping = max(damping / 10.0, 1e-9)
            if moved < _CONVERGED**2 * chi2 / fit.residual.size or gain < _FLAT * chi2:
                converged = True
                break
        elif damping > 1e6:  # float32 sees no descent any more
            converged = True
            break
        else:
            damping *= 10.0
    _, gradient = _normal_equations(problem, fit, theta)
    return Solution(theta, fit, chi2, _resting(problem, theta, gradient), converged)


def covariance(problem: Problem, solution: Solution) -> NDArray[np.float64]:
    """Covariance (K, K) of θ from the curvature; parameters on a bound have none (zeros)."""
    normal, _ = _normal_equations(problem, solution.fit, solution.theta)
    free = ~solution.at_bound
    result = np.zeros_like(normal)
    scale = 1.0 / np.sqrt(np.maximum(np.diag(normal), 1e-300))[free]
    inner = normal[np.ix_(free, free)] * np.outer(scale, scale)
    result[np.ix_(free, free)] = np.linalg.pinv(inner, hermitian=True) * np.outer(scale, scale)
    return result


def _normal_equations(
    problem: Problem, fit: Fit, theta: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """JᵀJ and Jᵀr, priors included."""
    normal = fit.jacobian.T @ fit.jacobian
    gradient = fit.jacobian.T @ fit.residual
    for k, prior in enumerate(problem.free.values()):
        normal[k, k] += prior.sigma**-2.0
        gradient[k] += (theta[k] - prior.mean) * prior.sigma**-2.0
    return normal, gradient


def _damped_step(
    normal: NDArray[np.float64],
    gradient: NDArray[np.float64],
    rest: NDArray[np.bool_],
    damping: float,
) -> NDArray[np.float64]:
    step = np.zeros_like(gradient)
    move = ~rest
    if not move.any():
        return step
    scale = np.sqrt(np.maximum(np.diag(normal), 1e-300))[move]
    matrix = normal[np.ix_(move, move)] / np.outer(scale, scale) + damping * np.eye(move.sum())
    step[move] = -np.linalg.lstsq(matrix, gradient[move] / scale, rcond=1e-12)[0] / scale
    return step


def _resting(
    problem: Problem, theta: NDArray[np.float64], gradient: NDArray[np.float64]
) -> NDArray[np.bool_]:
    low = (theta <= problem.lower) & (gradient >= 0.0)
    high = (theta >= problem.upper) & (gradient <= 0.0)
    return low | high


def _prior_chi2(problem: Problem, theta: NDArray[np.float64]) -> float:
    return sum(
        ((value - prior.mean) / prior.sigma) ** 2
        for value, prior in zip(theta, problem.free.values(), strict=True)
    )


def _penalised_chi2(problem: Problem, evaluate: Evaluator, theta: NDArray[np.float64]) -> float:
    return evaluate.chi2(theta) + _prior_chi2(problem, theta)
