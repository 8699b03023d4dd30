"""A solution: θ with its likelihood there, and the covariance of θ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from ..runtime.arrays import Bools, Floats, symmetric_inverse
from .likelihood.likelihood import Fit, FittedFlux, Likelihood
from .problem import FreeParameters, Problem

_PRIOR_SEGMENTS = 10.0
"""Segments of the spectrum that white noise counts as, in the covariance between segments: fewer
segments scatter by tens of per cent."""
_CHANCE = 3.0
"""Standard deviations by which that covariance may exceed its expectation by chance."""
DISTINCT = 3.0
"""Distance in standard deviations at which another minimum is another solution."""
_COMMON = 6.0
"""Errors of labels over those that independent errors of single lines would cause, for a star whose
misfit is all by wrong lines; about 5 for a well-observed one. `benchmarks/stars.py --sections 4`
counts how many labels of the literature the intervals contain."""
_COMMON_CALIBRATED = 3.0
"""The same where the mismatch of the model with stars is known: lines that are wrong in most stars
have little weight."""
_COMMON_OF_STARS = 2.0
"""The same where the lines are those that stars taught: the 68 % intervals of ten spectra of stars
that were left out contain 77 % of the labels of the literature, the 95 % intervals 97 %."""


class Curvature(Protocol):
    """Chi-square at θ and its derivatives, as `Fit` describes them."""

    @property
    def prediction(self) -> Any: ...
    @property
    def chi2(self) -> float: ...
    @property
    def normal(self) -> Floats: ...
    @property
    def gradient(self) -> Floats: ...
    @property
    def scores(self) -> Floats: ...


class _Judge(Protocol):
    """A likelihood, of one spectrum or of several."""

    def independent_in_lines(self, fit: Any, /) -> float: ...
    def reduced(self, chi2: float) -> float: ...
    def fit(self, prediction: Any, /) -> Curvature: ...


class Minimum(Protocol):
    """A minimum of chi-square, as `Solution` describes it: of one spectrum, or of several."""

    @property
    def theta(self) -> Floats: ...
    @property
    def problem(self) -> FreeParameters: ...
    @property
    def likelihood(self) -> _Judge: ...
    @property
    def fit(self) -> Curvature: ...
    @property
    def chi2(self) -> float: ...
    @property
    def at_bound(self) -> Bools: ...
    @property
    def model_covariance(self) -> Floats: ...
    @property
    def scatter(self) -> float: ...


@dataclass(frozen=True, eq=False)
class Solution:
    """The point at which a method ended.

    Attributes
    ----------
    theta : (K,)
        The free parameters.
    likelihood : Likelihood
        The likelihood, with its errors.
    fit : Fit
        Chi-square at θ and its derivatives.
    chi2 : float
        Chi-square with the priors.
    at_bound : (K,) bool
        Parameters on a bound, against which the gradient pushes them.
    converged : bool
        Whether the method converged.
    """

    theta: Floats
    likelihood: Likelihood
    fit: Fit
    chi2: float
    at_bound: Bools
    converged: bool

    @property
    def problem(self) -> Problem:
        """The problem."""
        return self.likelihood.problem

    @cached_property
    def fitted(self) -> FittedFlux:
        """Flux and continuum on the pixels of the spectrum."""
        return self.likelihood.fitted(self.fit.prediction)

    def with_fitted(self, fitted: FittedFlux) -> Solution:
        """The solution with flux and continuum that were computed with those of others."""
        found = replace(self)
        vars(found)["fitted"] = fitted  # as the cached property does; `replace` drops it
        return found

    @property
    def model_covariance(self) -> Floats:
        """Covariance (K, K) to be added for the model's error; zero for parameters on a bound."""
        free = ~self.at_bound
        return np.where(np.outer(free, free), self.likelihood.errors.model_covariance, 0.0)

    @property
    def scatter(self) -> float:
        """Factor of the errors' variances: reduced chi-square, at least one for stated errors."""
        reduced = self.likelihood.reduced(self.fit.chi2)
        return max(reduced, 1.0 if self.likelihood.errors.noise.stated else 1e-12)


def normal_equations(
    problem: FreeParameters, fit: Curvature, theta: Floats, scatter: float = 1.0
) -> tuple[Floats, Floats]:
    """Return JᵀJ (K, K) and Jᵀr (K,) over `scatter`, priors included."""
    precision = problem.precision
    mean = np.array([prior.mean for prior in problem.free.values()])
    return (
        fit.normal / scatter + np.diag(precision),
        fit.gradient / scatter + (theta - mean) * precision,
    )


def covariance(solution: Minimum, scatter: float = 1.0) -> Floats:
    """Return the covariance (K, K) of θ from the curvature of chi-square over `scatter` and the
    priors; zero for parameters on a bound."""
    problem = solution.problem
    normal, _ = normal_equations(problem, solution.fit, solution.theta, scatter)
    free = ~solution.at_bound
    result = np.zeros_like(normal)
    scale = 1.0 / np.sqrt(np.maximum(np.diag(normal), 1e-300))[free]
    inner = normal[np.ix_(free, free)] * np.outer(scale, scale)
    result[np.ix_(free, free)] = symmetric_inverse(inner) * np.outer(scale, scale)
    return result


def beyond_library(solution: Minimum) -> Bools:
    """Return which parameters (K,) are labels on a bound of the library."""
    problem = solution.problem
    found = np.zeros(len(problem.names), bool)
    for k, (name, prior) in enumerate(problem.free.items()):
        edges = problem.bounds.get(name)
        if edges is not None and solution.at_bound[k]:
            low, high = edges
            upper = solution.theta[k] - low > high - solution.theta[k]
            found[k] = prior.high == high if upper else prior.low == low
    return found


def with_unknown_bounds(solution: Minimum, found: Floats, scatter: float) -> Floats:
    """Return a covariance (K, K), found with parameters on bounds held, for labels that may lie
    beyond the library.

    Errors of the other parameters are conditional on the labels b on a bound. To first order these
    would move by Δ, with variance V, and the others by M Δ, with M = −H⁻¹ H_b: the covariance of
    the others grows by M (V + Δ Δᵀ) Mᵀ. Δ is at most the range of the label.
    """
    problem, beyond = solution.problem, beyond_library(solution)
    others = ~solution.at_bound
    if not (beyond.any() and others.any()):
        return found
    normal, gradient = normal_equations(problem, solution.fit, solution.theta, scatter)
    scale = 1.0 / np.sqrt(np.maximum(np.diag(normal), 1e-300))
    normal, gradient = normal * np.outer(scale, scale), gradient * scale
    inverse = symmetric_inverse(normal[np.ix_(others, others)])
    moved = -inverse @ normal[np.ix_(others, beyond)]
    across = normal[np.ix_(beyond, others)]
    known = normal[np.ix_(beyond, beyond)] + across @ moved
    variance = symmetric_inverse(known)
    step = -variance @ (gradient[beyond] - across @ inverse @ gradient[others])
    most = ((problem.upper - problem.lower) / scale)[beyond]
    step = np.clip(step, -most, most)
    variance = variance * np.minimum(1.0, most**2 / np.maximum(np.diag(variance), 1e-300)).min()
    widened = found.copy()
    more = moved @ (variance + np.outer(step, step)) @ moved.T
    widened[np.ix_(others, others)] += more * np.outer(scale[others], scale[others])
    return widened


def misfit_covariance(solution: Minimum, scatter: float) -> Floats:
    """Return the covariance (K, K) with the errors of single lines and that of the model.

    Where lines of the model are wrong, neighbouring pixels are wrong together, and constrain θ less
    than their number suggests. With g_p the contribution to Jᵀr of the p-th of S segments of the
    spectrum, a few lines each, and H the curvature, H⁻¹ Σ g_p g_pᵀ H⁻¹ estimates the covariance
    from the scatter between segments (Huber 1967; White 1982, Econometrica 50, 1). For white noise
    its expectation is H⁻¹, with which it is averaged: H⁻¹ counts as `_PRIOR_SEGMENTS` segments. No
    variance is smaller than that of H⁻¹: stated errors are not made smaller.

    Errors of a library are alike in lines of one species or one strength too, wherever these are.
    This is not seen in the scatter of one star: the covariance is multiplied by 1 + (f² − 1) w²,
    with f from `_common_errors` and w the fraction of it that is due to wrong lines. w is
    continuous, and zero if the scatter between segments is that of white noise and of the error
    that the model states of itself. The variance of a mismatch with stars counts as many times
    as a line has pixels, and is not white noise: of H⁻¹, only the share of independent pixels is.
    """
    plain = covariance(solution, scatter)
    scores = solution.fit.scores / scatter
    free = int((~solution.at_bound).sum())
    sizes = np.sum(scores @ plain * scores, axis=1)
    if not sizes.sum() > 0.0:
        return plain + solution.model_covariance
    ratio = float(sizes.sum()) / free
    # segments that count, since most information may be in few
    count = float(sizes.sum() ** 2 / np.sum(sizes**2)) * (1.0 + 2.0 / free)
    of_segments = plain @ scores.T @ scores @ plain
    average = (_PRIOR_SEGMENTS * plain + count * of_segments) / (_PRIOR_SEGMENTS + count)
    larger = np.sqrt(np.maximum(np.diag(plain) / np.maximum(np.diag(average), 1e-300), 1.0))
    average = average * np.outer(larger, larger)
    expected = 1.0 + _CHANCE * np.sqrt(2.0 / (count * free))
    expected = expected * solution.likelihood.independent_in_lines(solution.fit)
    expected += _share_of_model(solution, plain)
    wrong = max(1.0 - expected / ratio, 0.0)
    common = _common_errors(solution.problem)
    return average * (1.0 + (common**2 - 1.0) * wrong**2) + solution.model_covariance


def distance(one: Floats, other: Floats, sigma: Floats) -> float:
    """Return the largest difference of two θ (K,) in standard deviations (K,); parameters without
    one, on a bound, do not count."""
    known = sigma > 0.0
    return float(np.max(np.abs(other - one)[known] / sigma[known], initial=0.0))


def _common_errors(problem: FreeParameters) -> float:
    """Errors of labels over those that independent errors of single lines would cause."""
    if problem.lines_of_stars:
        return _COMMON_OF_STARS
    return _COMMON_CALIBRATED if problem.calibrated else _COMMON


def _share_of_model(solution: Minimum, plain: Floats) -> float:
    """Variance of the labels, in the mean, by the error of the model, over that by noise.

    Labels alone are compared. Of parameters that the spectrum hardly separates, such as
    macroturbulence and resolution, one combination is known far better than each, and the
    covariances, at slightly different θ, need not agree on which one it is.
    """
    problem, free = solution.problem, ~solution.at_bound
    labels = free & np.array([name in problem.bounds for name in problem.names])
    model, noise = np.diag(solution.model_covariance), np.diag(plain)
    shares = np.divide(model, noise, where=noise > 0.0, out=np.zeros_like(model))
    return float(np.mean(shares[labels if labels.any() else free]))
