"""What speaks against an answer, in words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .methods.least_squares import Solution
from .methods.nuts import Draws

POOR_FIT = 3.0
"""Reduced chi-square beyond which a fit is called poor ..."""
POOR_RMS = 0.05
"""... or, where no errors are stated, rms residual in units of the continuum ..."""
POOR_SHARE = 0.05
"""... or share of the pixels that are outliers."""
NO_LINES = 50.0
"""Chi-square that the lines must be better by than no lines at all."""
_NO_BETTER = 0.8
"""Part of the chi-square without lines that must be left at most, where no errors are stated."""
_SAME = 3.0
_UNINFORMED = 0.8
"""Part of the prior's standard deviation at which a label counts as not constrained."""


def flags_of(
    solutions: list[Solution],
    sigma: NDArray[np.float64],
    scatter: float,
    drawn: Draws | None,
) -> tuple[str, ...]:
    """Flags of the best of the solutions, with its standard deviations (K,)."""
    best = solutions[0]
    problem, noise = best.likelihood.problem, best.likelihood.noise
    flags = [
        f"{name} at a bound"
        for name, bound in zip(problem.names, best.at_bound, strict=True)
        if bound
    ]
    if not best.converged or (drawn is not None and not drawn.converged):
        flags.append("not converged")
    if _is_poor(best, scatter):
        flags.append("poor fit")
    if _without_lines(best, scatter):
        flags.append("no lines found: a spectrum without lines fits about as well")
    if noise.n_outliers:
        flags.append(f"{noise.n_outliers} outlying pixels given less weight")
    if _another(solutions, sigma, scatter):
        flags.append("another solution is nearly as good")
    if problem.model.near_hole(**_labels_of(best)):
        flags.append("beside a node that the library lacks")
    return (*flags, *_unconstrained(best, sigma))


def _labels_of(best: Solution) -> dict[str, float]:
    problem = best.likelihood.problem
    found = dict(zip(problem.names, map(float, best.theta), strict=True)) | dict(problem.fixed)
    return {name: found[name] for name in problem.model.label_names}


def _is_poor(best: Solution, scatter: float) -> bool:
    noise = best.likelihood.noise
    if noise.n_outliers > POOR_SHARE * best.likelihood.n_used:
        return True
    if noise.stated:
        error = noise.total(best.picture.continuum)[noise.used]
        inflated = np.median(error / noise.error[noise.used]) ** 2  # by the jitter
        return bool(scatter * inflated > POOR_FIT)
    level = np.median(np.abs(best.picture.continuum)[noise.used])
    rms = np.sqrt(scatter) * np.median((noise.error * noise.factor)[noise.used])
    return bool(rms > POOR_RMS * level)


def _without_lines(best: Solution, scatter: float) -> bool:
    flat, fitted = best.likelihood.flat_chi2, best.fit.chi2
    if not best.likelihood.noise.stated:
        return bool(fitted > _NO_BETTER * flat)
    return bool(flat - fitted < NO_LINES * scatter)


def _another(solutions: list[Solution], sigma: NDArray[np.float64], scatter: float) -> bool:
    """Whether a search from elsewhere ended elsewhere, about as well.

    Searches are compared before their errors are refined, when all have the same.
    """
    if len(solutions) < 2:
        return False
    best = solutions[0]
    known = sigma > 0.0  # nothing is known of what is on a bound
    start = min(solution.chi2 for solution in solutions[1:])
    for other in solutions[1:]:
        usual = max(other.chi2 / best.likelihood.freedom(), 1e-30)
        apart = np.max(np.abs(other.theta - best.theta)[known] / sigma[known], initial=0.0)
        if apart > _SAME and other.chi2 <= start + 9.0 * max(usual, 1.0):
            return bool(_chi2_at(best, other) < best.fit.chi2 + 9.0 * scatter)
    return False


def _chi2_at(best: Solution, other: Solution) -> float:
    """Chi-square of another θ by the likelihood of the best."""
    fit = best.likelihood.fit(other.fit.prediction)
    return fit.chi2 + best.likelihood.problem.prior_chi2(other.theta)


def _unconstrained(best: Solution, sigma: NDArray[np.float64]) -> Iterator[str]:
    problem = best.likelihood.problem
    for k, (name, prior) in enumerate(problem.free.items()):
        uninformed = (prior.high - prior.low) / np.sqrt(12.0)
        if name in problem.model.bounds and sigma[k] > _UNINFORMED * uninformed:
            yield f"{name} is not constrained"
