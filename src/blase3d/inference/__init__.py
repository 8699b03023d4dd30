"""Inference: the labels of an observed star, by one of several methods with one result."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..model.model import Model
from ..runtime.seed import check_seed
from ..spectra.spectrum import Spectrum
from .batch import infer_many
from .flags import flags_of
from .likelihood.likelihood import make_likelihood
from .methods import bayes_opt, least_squares, nuts
from .methods.least_squares import Solution
from .prior import Prior
from .problem import Options, make_problem
from .result import Estimate, Inference

__all__ = ["Inference", "Method", "Options", "Prior", "infer", "infer_many"]

Method = Literal["gradient", "gp", "posterior"]


def infer(
    spectrum: Spectrum,
    model: Model,
    *,
    method: Method = "gradient",
    priors: Mapping[str, Prior] | None = None,
    fixed: Mapping[str, float] | None = None,
    seed: int = 0,
    draws: int = nuts.DRAWS,
    chains: int = nuts.CHAINS,
    **options: Any,
) -> Inference:
    """The labels of a star, with uncertainties.

    Parameters
    ----------
    spectrum : Spectrum
        The observation, in vacuum wavelengths, in any flux unit.
    model : Model
        The library.
    method : str
        `gradient`: coarse scan, then Levenberg–Marquardt from the best points, intervals from the
        curvature. `posterior`: draws by the No-U-Turn sampler, started there (extra `posterior`).
        `gp`: Bayesian optimisation of the rms, as in the paper.
    priors, fixed : dict, optional
        Of labels, rv, vsini and vmac (km/s) and resolution. The resolution is that of the
        spectrum; if it states none, it is fitted.
    seed : int
        For `gp` and `posterior`.
    draws, chains : int
        For `posterior`: draws kept of each chain, and chains.
    **options
        Fields of `Options`: continuum_degree, robust, jitter, integrate, limb_darkening, telluric.

    Returns
    -------
    Inference
        Errors of the pixels are scaled by the root of reduced chi-square where that is above one
        (or where the spectrum states no errors), so that the uncertainties include the misfit;
        the error that the model states for itself is part of the likelihood.

    Raises
    ------
    InputError
        The spectrum cannot be compared with the model, or a setting is unknown or impossible.
    MissingExtra
        `posterior` without blackjax.
    """
    start = time.perf_counter()
    _check(method, seed, draws, chains, options)
    sampler = nuts.sampler() if method == "posterior" else None
    problem = make_problem(spectrum, model, priors, fixed, Options(**options))
    if not problem.free:
        raise InputError("every parameter is fixed; leave at least one free.")
    likelihood = make_likelihood(problem)
    solutions = (
        bayes_opt.search(likelihood, seed) if method == "gp" else least_squares.search(likelihood)
    )
    drawn = None
    if sampler is not None:
        drawn = nuts.draw(sampler, solutions[0], _scatter(solutions[0]), seed, draws, chains)
    return _result(solutions, drawn, method, start)


def _check(method: str, seed: int, draws: int, chains: int, options: Mapping[str, Any]) -> None:
    if method not in get_args(Method):
        raise InputError(
            f"got the method {method!r}, expected one of {', '.join(get_args(Method))}; choose one."
        )
    known = [field.name for field in fields(Options)]
    if unknown := [name for name in options if name not in known]:
        raise InputError(
            f"got the option {unknown[0]!r}, expected one of {', '.join(known)}; correct the name."
        )
    check_seed(seed)
    if min(draws, chains) < 1:
        raise InputError(f"got {draws} draws of {chains} chains, expected one or more of each.")


def _scatter(solution: Solution) -> float:
    """What chi-square is divided by, so that the misfit is in the uncertainties."""
    likelihood = solution.likelihood
    reduced = solution.fit.chi2 / likelihood.freedom()
    return max(reduced, 1.0) if likelihood.noise.stated else max(reduced, 1e-12)


def _result(
    solutions: list[Solution], drawn: nuts.Draws | None, method: Method, start: float
) -> Inference:
    best = solutions[0]
    likelihood, noise = best.likelihood, best.likelihood.noise
    problem, spectrum = likelihood.problem, likelihood.problem.spectrum
    scatter, used = _scatter(best), spectrum.good
    covariance = least_squares.misfit_covariance(best, scatter)
    sigma = np.sqrt(np.diag(covariance))
    sigma[best.at_bound] = np.nan
    if drawn is None:
        estimates = dict(zip(problem.names, map(Estimate.normal, best.theta, sigma), strict=True))
    else:
        estimates = {
            name: Estimate.of(drawn.values[..., k]) for k, name in enumerate(problem.names)
        }
        covariance = np.atleast_2d(np.cov(drawn.values.reshape(-1, len(problem.names)).T))
    labels = problem.model.label_names
    for name in set(labels) & set(problem.fixed):
        estimates[name] = Estimate.normal(problem.fixed[name], 0.0)
    return Inference(
        labels={name: estimates[name] for name in labels},
        nuisance={name: e for name, e in estimates.items() if name not in labels},
        fixed=dict(problem.fixed),
        names=problem.names,
        covariance=covariance,
        chi2_red=best.fit.chi2 / likelihood.freedom() if noise.stated else np.nan,
        method=method,
        seconds=time.perf_counter() - start,
        flags=problem.notices + flags_of(solutions, sigma, scatter, drawn),
        n_pixels=int(used.sum()),
        n_masked=spectrum.n_masked,
        wavelength=spectrum.wavelength[used],
        flux=spectrum.flux[used],
        model=best.picture.flux[used],
        error=noise.total(best.picture.continuum)[used],
        weight=noise.robust[used],
        jitter=noise.jitter,
        draws=None if drawn is None else drawn.values,
        diagnostics={} if drawn is None else drawn.diagnostics,
        continuum=best.picture.continuum[used],
        order=None if spectrum.order is None else spectrum.order[used],
        resolving=_resolving(best),
        masked=spectrum.wavelength[~used],
        options=problem.options,
    )


def _resolving(best: Solution) -> NDArray[np.float64] | None:
    """The resolution at each pixel used, at a solution, if it varies."""
    problem = best.likelihood.problem
    spectrum = problem.spectrum
    if spectrum.pixel_resolution is None or spectrum.resolution is None:
        return None
    found = problem.parameters(best.theta)["resolution"]
    return spectrum.pixel_resolution[spectrum.good] * (found / spectrum.resolution)
