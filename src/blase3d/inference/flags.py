"""Quality flags: reasons to doubt an answer, in words.

Flags about the fit as a whole are here. Effects that the fit leaves out (a second star, dilution,
resolution, activity, telluric lines) are in `omitted.py`. All are judged with the stated errors of
the pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.ndimage import median_filter

from ..runtime.arrays import Floats, median
from ..runtime.units import SIGMA_PER_MAD
from .methods.method import Outcome
from .omitted import light_flags, medium_flags, omitted_effects
from .problem import FreeParameters
from .score import Residuals
from .solution import DISTINCT, Minimum, Solution, beyond_library, distance

POOR_FIT = 3.0
"""Reduced chi-square above which a fit is poor ..."""
POOR_RMS = 0.05
"""... if the rms residual, in units of the continuum and without the noise, exceeds this ..."""
_POOR_SHARE = 0.5
"""... or this fraction of the rms depth of the lines."""
POOR_FRACTION = 0.05
"""Fraction of the pixels that are outliers, above which they count in the rms."""
NO_LINES = 50.0
"""Improvement of chi-square by the lines, below which no lines are found: that of 7 sigma."""
_NO_BETTER = 0.8
"""Chi-square over that without lines, above which no lines are found if no errors are stated."""
_WORSE = 9.0
"""Chi-square by which another solution may be worse: that of 3 sigma."""
_UNCONSTRAINED = 0.8
"""Standard deviation over that of the prior, above which a label is not constrained."""
_OVERSTATED = 0.4
"""Reduced chi-square below which stated errors are too large: resampling by straight lines leaves
two thirds."""
_UNDERSTATED = 2.0
"""Scatter between neighbouring pixels, in stated errors, above which these are too small."""
_CERTAIN = 6.0
"""Standard deviations by which reduced chi-square must be below one."""
_EMISSION = 0.03
"""Least height of emission over the continuum."""
_EMISSION_PIXELS = 4
"""Neighbouring pixels above the continuum, at least: cosmic rays have fewer."""
_EMISSION_SIGMA, _EMISSION_TOTAL = 3.0, 10.0
"""Standard deviations of each of these, and of their mean."""
_SMOOTH = 151
"""Pixels over which errors of the continuum are smoothed before emission is looked for."""


def flags_of(outcome: Outcome, sigma: Floats, residuals: Residuals) -> tuple[str, ...]:
    """Return the flags of an outcome, with the standard deviations (K,) and the residuals of its
    best solution."""
    best = outcome.best
    flags = list(bound_flags(best, widened=outcome.draws is None))
    if not outcome.converged:
        flags.append("not converged")
    flags += fit_flags(residuals)
    if not _without_lines(residuals):
        flags += light_flags(best, sigma)
    if is_ambiguous(best, outcome.solutions[1:], sigma):
        flags.append("another solution is nearly as good")
    return (*flags, *hole_flags(best), *unconstrained_flags(best.problem, sigma))


def fit_flags(residuals: Residuals) -> Iterator[str]:
    """Return the flags that the pixels of a spectrum raise."""
    if _is_poor(residuals):
        yield "poor fit"
    if _without_lines(residuals):
        yield "no lines found: a spectrum without lines fits about as well"
    else:
        yield from omitted_effects(residuals)
        yield from medium_flags(residuals)
    yield from _emission(residuals)
    yield from _wrong_errors(residuals)
    if count := residuals.solution.likelihood.errors.noise.n_outliers:
        yield f"{count} outlying pixel{'s' if count > 1 else ''} given less weight"


def hole_flags(best: Solution) -> Iterator[str]:
    """Return the flag of a solution beside a hole of the library."""
    found = best.problem.parameters(best.theta)
    if best.problem.model.near_hole(**{name: found[name] for name in best.problem.axes}):
        yield "beside a hole of the library"


def bound_flags(best: Minimum, widened: bool) -> Iterator[str]:
    """Return the flags of parameters on a bound, with one flag for labels on two bounds of the
    library; `widened`: the errors of the others were."""
    names = best.problem.names
    beyond = [names[k] for k in np.flatnonzero(beyond_library(best))]
    if len(beyond) > 1:
        yield f"star beyond the library: {_listed(beyond)} at a bound"
    for name, bound in zip(names, best.at_bound, strict=True):
        if bound and not (len(beyond) > 1 and name in beyond):
            yield f"{name} at a bound"
    others = set(best.problem.axes) & set(names) - set(beyond)
    if widened and beyond and others:
        yield f"errors of other labels widened for {_listed(beyond)} beyond the library"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _is_poor(residuals: Residuals) -> bool:
    """Whether the fit is poor by chi-square and by eye."""
    likelihood = residuals.solution.likelihood
    stated = likelihood.errors.noise.stated
    chi2 = residuals.chi2 if stated else residuals.misfit**2
    if not stated and residuals.rms > POOR_RMS:
        return True
    many = likelihood.errors.noise.n_outliers > POOR_FRACTION * likelihood.n_used
    rms = residuals.full_rms if many else residuals.rms
    misfit = rms * np.sqrt(max(1.0 - 1.0 / max(chi2, 1e-30), 0.0))
    lines = _POOR_SHARE * float(np.std(residuals.flux))
    return chi2 > POOR_FIT and misfit > min(POOR_RMS, lines)


def _without_lines(residuals: Residuals) -> bool:
    """Whether a spectrum without lines fits about as well."""
    flat, fitted = residuals.flat_chi2, residuals.chi2
    likelihood = residuals.solution.likelihood
    if not likelihood.errors.noise.stated:
        return fitted > _NO_BETTER * flat
    return (flat - fitted) * likelihood.freedom() < NO_LINES * max(fitted, 1.0)


def _wrong_errors(residuals: Residuals) -> Iterator[str]:
    """Stated errors that contradict the scatter of the pixels."""
    if not residuals.solution.likelihood.errors.noise.stated:
        return
    chi2, count = residuals.chi2, residuals.raw.size
    if chi2 < min(_OVERSTATED, 1.0 - _CERTAIN * np.sqrt(2.0 / count)):
        yield f"stated errors about {1.0 / np.sqrt(max(chi2, 1e-12)):.2g} times too large"
    scatter = residuals.pixel_scatter
    if chi2 > POOR_FIT and scatter > _UNDERSTATED:
        yield f"stated errors about {scatter:.2g} times too small"


def _emission(residuals: Residuals) -> Iterator[str]:
    """Emission over the continuum, wider than cosmic rays."""
    if _highest_emission(residuals, np.ones_like(residuals.flux)) is None:
        return  # a level that is smoothed, which takes longer, leaves less of it
    excess = median_filter(residuals.observed - residuals.flux, _SMOOTH)
    top = _highest_emission(residuals, 1.0 + np.maximum(excess, 0.0))
    if top is not None:
        yield f"emission over the continuum at {residuals.wavelength[top]:.2f} Å"


def _highest_emission(residuals: Residuals, level: Floats) -> int | None:
    """The highest pixel of the most significant emission over a level (Q,); None without any."""
    observed, order = residuals.observed, residuals.order
    z = (observed - level) * residuals.weight * np.abs(residuals.continuum)
    z /= max(1.0, SIGMA_PER_MAD * median(np.abs(residuals.raw)))
    above = (z > _EMISSION_SIGMA) & (observed > level + _EMISSION)
    begins = np.diff(above, prepend=False) | (np.diff(order, prepend=0) != 0)
    run = np.cumsum(begins)
    count = np.bincount(run, above)
    total = np.bincount(run, z * above) / np.sqrt(np.maximum(count, 1.0))
    total[count < _EMISSION_PIXELS] = 0.0
    if not total.max() > _EMISSION_TOTAL:
        return None
    inside = np.flatnonzero((run == total.argmax()) & above)
    return int(inside[np.argmax(observed[inside])])


def is_ambiguous(best: Minimum, others: Sequence[Minimum], sigma: Floats) -> bool:
    """Return whether another minimum is a distinct solution, and about as good.

    The minima are compared with each other before their errors are refined, when all have the same.
    """
    lowest = min((solution.chi2 for solution in others), default=0.0)
    for other in others:
        reduced = other.likelihood.reduced(other.chi2)
        far = distance(best.theta, other.theta, sigma) > DISTINCT
        if far and other.chi2 <= lowest + _WORSE * max(reduced, 1.0):
            return bool(_chi2_at(best, other) < best.fit.chi2 + _WORSE * best.scatter)
    return False


def _chi2_at(best: Minimum, other: Minimum) -> float:
    """Chi-square of another solution under the likelihood of the best."""
    fit = best.likelihood.fit(other.fit.prediction)
    return fit.chi2 + best.problem.prior_chi2(other.theta)


def unconstrained_flags(problem: FreeParameters, sigma: Floats) -> Iterator[str]:
    """Return the flags of labels whose standard deviations (K,) are about those of their priors."""
    for k, (name, prior) in enumerate(problem.free.items()):
        of_prior = (prior.high - prior.low) / np.sqrt(12.0)
        if name in problem.axes and sigma[k] > _UNCONSTRAINED * of_prior:
            yield f"{name} is not constrained"
