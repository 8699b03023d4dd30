"""Quality flags: reasons to doubt an answer, in words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..runtime.arrays import Floats
from .methods.method import Outcome
from .solution import Solution

POOR_FIT = 3.0
"""Reduced chi-square above which a fit is poor ..."""
POOR_RMS = 0.05
"""... or, without stated errors, rms residual in units of the continuum ..."""
POOR_FRACTION = 0.05
"""... or fraction of the pixels that are outliers."""
NO_LINES = 50.0
"""Improvement of chi-square by the lines, below which no lines are found: that of 7 sigma."""
_NO_BETTER = 0.8
"""Chi-square over that without lines, above which no lines are found if no errors are stated."""
_DISTINCT = 3.0
"""Distance in standard deviations at which another minimum is another solution."""
_WORSE = 9.0
"""Chi-square by which another solution may be worse: that of 3 sigma."""
_UNCONSTRAINED = 0.8
"""Standard deviation over that of the prior, above which a label is not constrained."""


def flags_of(outcome: Outcome, sigma: Floats) -> tuple[str, ...]:
    """Return the flags of an outcome, with the standard deviations (K,) of its best solution."""
    best = outcome.best
    problem, noise = best.likelihood.problem, best.likelihood.errors.noise
    flags = [
        f"{name} at a bound"
        for name, bound in zip(problem.names, best.at_bound, strict=True)
        if bound
    ]
    if not outcome.converged:
        flags.append("not converged")
    if _is_poor(best):
        flags.append("poor fit")
    if _without_lines(best):
        flags.append("no lines found: a spectrum without lines fits about as well")
    if noise.n_outliers:
        flags.append(f"{noise.n_outliers} outlying pixels given less weight")
    if _is_ambiguous(outcome, sigma):
        flags.append("another solution is nearly as good")
    if problem.model.near_hole(**_labels_of(best)):
        flags.append("beside a node that the library lacks")
    return (*flags, *_unconstrained(best, sigma))


def _labels_of(best: Solution) -> dict[str, float]:
    problem = best.likelihood.problem
    found = problem.parameters(best.theta)
    return {name: found[name] for name in problem.model.label_names}


def _is_poor(best: Solution) -> bool:
    noise, continuum = best.likelihood.errors.noise, best.fitted.continuum
    used = noise.used
    if noise.n_outliers > POOR_FRACTION * best.likelihood.n_used:
        return True
    if noise.stated:
        error = noise.total(continuum)[used]
        by_jitter = np.median(error / noise.error[used]) ** 2
        return bool(best.scatter * by_jitter > POOR_FIT)
    level = np.median(np.abs(continuum)[used])
    rms = np.sqrt(best.scatter) * np.median((noise.error * noise.factor)[used])
    return bool(rms > POOR_RMS * level)


def _without_lines(best: Solution) -> bool:
    flat, fitted = best.likelihood.flat_chi2, best.fit.chi2
    if not best.likelihood.errors.noise.stated:
        return bool(fitted > _NO_BETTER * flat)
    return bool(flat - fitted < NO_LINES * best.scatter)


def _is_ambiguous(outcome: Outcome, sigma: Floats) -> bool:
    """Whether another minimum is a distinct solution, and about as good.

    The minima are compared with each other before their errors are refined, when all have the same.
    """
    best, others = outcome.best, outcome.solutions[1:]
    known = sigma > 0.0  # not for parameters on a bound
    lowest = min((solution.chi2 for solution in others), default=0.0)
    for other in others:
        reduced = max(other.chi2 / best.likelihood.freedom(), 1e-30)
        distance = np.max(np.abs(other.theta - best.theta)[known] / sigma[known], initial=0.0)
        if distance > _DISTINCT and other.chi2 <= lowest + _WORSE * max(reduced, 1.0):
            return bool(_chi2_at(best, other) < best.fit.chi2 + _WORSE * best.scatter)
    return False


def _chi2_at(best: Solution, other: Solution) -> float:
    """Chi-square of another solution under the likelihood of the best."""
    fit = best.likelihood.fit(other.fit.prediction)
    return fit.chi2 + best.likelihood.problem.prior_chi2(other.theta)


def _unconstrained(best: Solution, sigma: Floats) -> Iterator[str]:
    problem = best.likelihood.problem
    for k, (name, prior) in enumerate(problem.free.items()):
        of_prior = (prior.high - prior.low) / np.sqrt(12.0)
        if name in problem.model.bounds and sigma[k] > _UNCONSTRAINED * of_prior:
            yield f"{name} is not constrained"
