"""Inference: the labels of an observed star, by one of several methods with one result."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal

import numpy as np

from ..errors import InputError
from ..model import Model
from ..spectrum import Spectrum
from . import gp, gradient
from .prior import Prior
from .problem import Evaluator, Problem, make_problem
from .result import Estimate, Inference

Method = Literal["gradient", "gp"]
POOR_FIT = 3.0
"""Reduced chi-square beyond which a fit is called poor ..."""
POOR_RMS = 0.05
"""... or, where no errors are stated, rms residual in units of the continuum."""
_SAME = 3.0


def infer(
    spectrum: Spectrum,
    model: Model,
    *,
    method: Method = "gradient",
    priors: Mapping[str, Prior] | None = None,
    fixed: Mapping[str, float] | None = None,
    continuum_degree: int = 3,
    seed: int = 0,
) -> Inference:
    """The labels of a star, with uncertainties.

    Parameters
    ----------
    spectrum : Spectrum
        The observation, in vacuum wavelengths, in any flux unit.
    model : Model
        The library.
    method : str
        `gradient`: coarse scan, then Levenberg–Marquardt from the best points. `gp`: Bayesian
        optimisation of the rms, as in the paper.
    priors, fixed : dict, optional
        Of labels, rv and vsini (km/s) and resolution. The resolution is that of the spectrum; if
        it states none, it is fitted.
    continuum_degree : int
        Degree of the polynomial that the continuum may deviate by; −1: the spectrum is normalised.
    seed : int
        For `gp`.

    Returns
    -------
    Inference
        Uncertainties are from the curvature of chi-square, scaled by the root of its reduced
        value where that is above one (or where the spectrum states no errors), so that they
        include the misfit; the error that the model states for itself is added.

    Raises
    ------
    InputError
        The spectrum cannot be compared with the model.
    """
    start = time.perf_counter()
    problem = make_problem(spectrum, model, priors, fixed, continuum_degree)
    if not problem.free:
        raise InputError("every parameter is fixed; leave at least one free.")
    evaluate = Evaluator(problem)
    if method == "gradient":
        solutions = gradient.search(problem, evaluate)
    else:
        solutions = gp.search(problem, evaluate, seed)
    return _result(problem, evaluate, solutions, method, start)


def _result(
    problem: Problem,
    evaluate: Evaluator,
    solutions: list[gradient.Solution],
    method: Method,
    start: float,
) -> Inference:
    best = solutions[0]
    spectrum = problem.spectrum
    used = spectrum.good
    freedom = max(int(used.sum()) - best.theta.size - problem.continuum_degree - 1, 1)
    reduced = best.fit.chi2 / freedom
    stated = spectrum.error is not None
    scatter = max(reduced, 1.0) if stated else reduced
    curvature = gradient.covariance(problem, best)
    covariance = scatter * curvature + evaluate.emulator_covariance(best.theta, best.fit, curvature)
    sigma = np.sqrt(np.diag(covariance))
    sigma[best.at_bound] = np.nan
    estimates = {
        name: Estimate.normal(float(value), float(s))
        for name, value, s in zip(problem.names, best.theta, sigma, strict=True)
    }
    labels = problem.model.label_names
    for name in set(labels) & set(problem.fixed):
        estimates[name] = Estimate.normal(problem.fixed[name], 0.0)
    return Inference(
        labels={name: estimates[name] for name in labels},
        nuisance={name: e for name, e in estimates.items() if name not in labels},
        fixed=dict(problem.fixed),
        names=problem.names,
        covariance=covariance,
        chi2_red=reduced if stated else np.nan,
        method=method,
        seconds=time.perf_counter() - start,
        flags=problem.notices + _flags(problem, solutions, sigma, reduced),
        n_pixels=int(used.sum()),
        n_masked=spectrum.n_masked,
        wavelength=spectrum.wavelength[used],
        flux=spectrum.flux[used],
        model=best.fit.flux[used],
        error=evaluate.error[used] * (1.0 if stated else np.sqrt(reduced)),
    )


def _flags(
    problem: Problem,
    solutions: list[gradient.Solution],
    sigma: np.ndarray,
    reduced: float,
) -> tuple[str, ...]:
    """What speaks against the best solution, in words."""
    best = solutions[0]
    stated = problem.spectrum.error is not None
    flags = [
        f"{name} at a bound"
        for name, bound in zip(problem.names, best.at_bound, strict=True)
        if bound
    ]
    if not best.converged:
        flags.append("not converged")
    if reduced > POOR_FIT if stated else np.sqrt(reduced) > POOR_RMS:
        flags.append("poor fit")
    for other in solutions[1:]:
        apart = np.nanmax(np.abs(other.theta - best.theta) / sigma, initial=0.0)
        if apart > _SAME and other.chi2 < best.chi2 + 9.0 * max(reduced, 1.0):
            flags.append("another solution is nearly as good")
            break
    for name, prior in problem.free.items():
        uninformed = (prior.high - prior.low) / np.sqrt(12.0)
        if name in problem.model.bounds and sigma[problem.names.index(name)] > 0.8 * uninformed:
            flags.append(f"{name} is not constrained")
    return tuple(flags)
