"""Inference of one star: checks, the problem, a method, and the answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..model.identity import identity
from ..model.model import Model
from ..parameters import parameter
from ..runtime.arrays import DEFAULT_FLOATING_POINT, Bools, Floats
from ..runtime.precision import in_float32
from ..runtime.seed import check_seed
from ..runtime.threads import one_blas_thread
from ..spectra.formats.in_memory import as_spectrum
from ..spectra.spectrum import Spectrum
from .flags import flags_of
from .likelihood.likelihood import make_likelihood
from .methods import METHODS, Method, make_method, method_class, option_names
from .methods.method import Outcome
from .prior import Prior
from .problem import FreeParameters, Options, Problem, make_problem
from .result import Estimate, Inference
from .score import Residuals, residuals_of
from .solution import Solution, misfit_covariance, with_unknown_bounds

_LOG = logging.getLogger(__name__)


@in_float32
@one_blas_thread()
@DEFAULT_FLOATING_POINT
def infer(
    spectrum: Any,
    model: Model,
    *,
    medium: str | None = None,
    method: Method = "gradient",
    priors: Mapping[str, Prior | tuple[Any, Any]] | None = None,
    fixed: Mapping[str, Any] | None = None,
    seed: int = 0,
    draws: int = 200,
    chains: int = 4,
    **options: Any,
) -> Inference:
    """Infer the labels of a star, with uncertainties.

    Parameters
    ----------
    spectrum : Spectrum, specutils.Spectrum or astropy table
        The observation, in any flux unit.
    model : Model
        Model of a library.
    medium : str, optional
        "air" or "vacuum", for a specutils.Spectrum or a table that does not state it.
    method : str
        `gradient`: coarse scan, then Levenberg–Marquardt from the best points; intervals from the
        curvature. `posterior`: draws by the No-U-Turn sampler, started there (extra `posterior`).
        `gp`: Bayesian optimisation of the rms, as in the paper (extra `paper`).
    priors, fixed : dict, optional
        Priors and fixed values by name: labels, rv, vsini and vmac (km/s), resolution, dilution.
        The resolution is that of the spectrum; if the spectrum states none, it is fitted. With
        the lines of a calibrated model, a dilution is fitted where there is light without lines.
    seed : int
        Random seed of `gp` and `posterior`.
    draws, chains : int
        For `posterior`: draws kept of each chain, and chains.
    **options
        Fields of `Options`: continuum_degree, robust, jitter, integrate, limb_darkening, telluric,
        noise.

    Returns
    -------
    Inference
        Errors of the pixels are scaled by the root of reduced chi-square where that exceeds one
        (or where the spectrum states no errors), so that the uncertainties include the misfit.
        The error that the model states of itself is part of the likelihood.

    Raises
    ------
    InputError
        The spectrum cannot be compared with the model, or a setting is unknown or impossible.
    MissingExtra
        `posterior` without blackjax, or `gp` without scikit-optimize.

    Examples
    --------
    >>> import blase3d as b3
    >>> star, model = b3.read_spectrum("star.npz"), b3.load_model("model.zip")
    >>> answer = b3.infer(star, model, fixed={"vsini": 0.0})
    >>> bool(abs(answer.labels["teff"].value - 5700.0) < 100.0)  # K; it was made with 5700
    True
    """
    start = time.perf_counter()
    _check(method, seed, draws, chains, options)
    solver = make_method(method, {"draws": draws, "chains": chains, **options})
    star = as_spectrum(spectrum, medium)
    problem = problem_of(star, model, priors, fixed, options)
    outcome = solver.solve(make_likelihood(problem), seed)
    answer = answer_of(outcome, model, method, start)
    _LOG.info("%s", answer)
    return answer


def _check(method: str, seed: int, draws: int, chains: int, options: Mapping[str, Any]) -> None:
    check_settings(method, options)
    check_seed(seed)
    if not all(isinstance(count, int | np.integer) and count > 0 for count in (draws, chains)):
        raise InputError(
            f"got {draws!r} draws of {chains!r} chains, expected whole numbers from 1; correct it."
        )


def problem_of(
    star: Spectrum,
    model: Model,
    priors: Mapping[str, Any] | None,
    fixed: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> Problem:
    """Return the problem of one star, with those of the options that are fields of `Options`
    (InputError if every parameter is fixed)."""
    known = {field.name for field in fields(Options)}
    settings = Options(**{name: options[name] for name in options if name in known})
    problem = make_problem(star, model, priors, fixed, settings)
    if not problem.free:
        raise InputError("every parameter is fixed; leave at least one free.")
    return problem


def check_settings(method: str, options: Mapping[str, Any]) -> None:
    """Raise InputError for an unknown method, or an option that it does not have."""
    if method not in METHODS:
        raise InputError(
            f"got the method {method!r}, expected one of {', '.join(METHODS)}; choose one."
        )
    known = [field.name for field in fields(Options)]
    known += [
        name for name in option_names(method_class(method)) if name not in ("draws", "chains")
    ]
    if unknown := [name for name in options if name not in known]:
        raise InputError(
            f"got the option {unknown[0]!r}, expected one of {', '.join(known)}; correct the name."
        )


def answer_of(outcome: Outcome, model: Model, method: str, start: float) -> Inference:
    """Return the answer to an outcome; `start` is the time (s) at which the work began."""
    best = outcome.best
    covariance = misfit_covariance(best, best.scatter)
    covariance = with_unknown_bounds(best, covariance, best.scatter)
    sigma = sigma_of(covariance, best.at_bound)
    if outcome.draws is not None:
        flat = outcome.draws.reshape(-1, len(best.problem.names))
        covariance = np.atleast_2d(np.cov(flat.T))
    residuals = residuals_of(best)
    return replace(
        record_of(residuals, _estimates(outcome, sigma), covariance),
        method=method,
        seconds=time.perf_counter() - start,
        flags=best.problem.messages + flags_of(outcome, sigma, residuals),
        draws=outcome.draws,
        diagnostics=dict(outcome.diagnostics),
        draw_stats=dict(outcome.draw_stats),
        model_identity=identity_of(model, best.problem),
    )


def identity_of(model: Model, problem: Problem) -> dict[str, Any]:
    """Return the identity of a model, with the lines that a star was fitted with (`library` or
    `stars`) if these are not the same."""
    found, calibration = identity(model), problem.model.calibration
    if calibration is not None and (calibration.left_off or calibration.changes_lines):
        found["lines"] = "library" if calibration.left_off else "stars"
    return found


def sigma_of(covariance: Floats, at_bound: Bools) -> Floats:
    """Return standard deviations (K,); NaN on bounds, and where the curvature is not that of a
    minimum, since a search may stop there."""
    variance = np.diag(covariance)
    sigma = np.sqrt(np.where(variance >= 0.0, variance, np.nan))
    sigma[at_bound] = np.nan
    return sigma


def record_of(
    residuals: Residuals, estimates: Mapping[str, Estimate], covariance: Floats
) -> Inference:
    """Return the record of a solution by least squares, without flags: its residuals, the estimates
    by name, and the covariance (K, K)."""
    best = residuals.solution
    likelihood, noise = best.likelihood, best.likelihood.errors.noise
    problem, spectrum = best.problem, best.problem.spectrum
    used, labels = spectrum.good, problem.model.label_names
    return Inference(
        labels={name: estimates[name] for name in labels},
        nuisance={name: e for name, e in estimates.items() if name not in labels},
        fixed=dict(problem.fixed),
        names=problem.names,
        covariance=covariance,
        chi2_red=likelihood.reduced(best.fit.chi2) if noise.stated else np.nan,
        method="gradient",
        seconds=0.0,
        flags=(),
        n_pixels=int(used.sum()),
        n_masked=spectrum.n_masked,
        wavelength=spectrum.wavelength[used],
        flux=spectrum.flux[used],
        model=best.fitted.flux[used],
        error=noise.total(best.fitted.continuum)[used],
        weight=noise.robust[used],
        jitter=noise.jitter,
        continuum=best.fitted.continuum[used],
        order=None if spectrum.order is None else spectrum.order[used],
        pixel_resolution=_pixel_resolution(best),
        masked=spectrum.wavelength[~used],
        options=problem.options,
        chi2_stated=residuals.chi2 if noise.stated else np.nan,
        rms=residuals.rms,
    )


def _estimates(outcome: Outcome, sigma: Floats) -> dict[str, Estimate]:
    """Estimates of the free parameters, and of the labels that are fixed."""
    problem = outcome.best.problem
    if outcome.draws is None:
        return normal_estimates(problem, outcome.best.theta, sigma)
    found = [Estimate.of(outcome.draws[..., k]) for k in range(len(problem.names))]
    return {**dict(zip(problem.names, found, strict=True)), **_fixed_labels(problem)}


def normal_estimates(problem: FreeParameters, theta: Floats, sigma: Floats) -> dict[str, Estimate]:
    """Return estimates of θ (K,) with standard deviations (K,), and of the labels that are
    fixed."""
    found = map(Estimate.normal, theta, _of_squares(problem, theta, sigma))
    return {**dict(zip(problem.names, found, strict=True)), **_fixed_labels(problem)}


def _of_squares(problem: FreeParameters, theta: Floats, sigma: Floats) -> Floats:
    """Return standard deviations (K,), those above the value of a rotation or macroturbulence by
    its square: the flux is linear in that, and its slope by the value itself vanishes at zero."""
    squared = np.array([parameter(name).power == 2.0 for name in problem.names])
    at = np.maximum(theta, problem.floor)
    upper = np.sqrt(at**2 + 2.0 * at * np.where(squared, sigma, 0.0))
    return np.where(squared & (sigma > at), upper - theta, sigma)


def _fixed_labels(problem: FreeParameters) -> dict[str, Estimate]:
    held = {name: problem.fixed[name] for name in problem.axes if name in problem.fixed}
    return {name: Estimate.normal(value, 0.0) for name, value in held.items()}


def _pixel_resolution(best: Solution) -> Floats | None:
    """The resolution at each pixel used, if it varies."""
    problem, spectrum = best.problem, best.problem.spectrum
    if spectrum.pixel_resolution is None or spectrum.resolution is None:
        return None
    found = problem.parameters(best.theta)["resolution"]
    return spectrum.pixel_resolution[spectrum.good] * (found / spectrum.resolution)
