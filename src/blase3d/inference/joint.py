"""Inference of one star from several spectra and models: the answer of all windows."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..model.model import Model
from ..runtime.arrays import DEFAULT_FLOATING_POINT, Floats, Integers
from ..runtime.precision import in_float32
from ..runtime.threads import one_blas_thread
from ..spectra.formats.in_memory import as_spectrum
from .flags import bound_flags, fit_flags, hole_flags, is_ambiguous, unconstrained_flags
from .joint_likelihood import JointSolution, minimise
from .joint_problem import COMMON, JointProblem, StarWindow, make_joint_problem
from .methods.least_squares import search
from .prior import Prior
from .problem import Options
from .result import Inference, WindowFit
from .score import residuals_of
from .single import check_settings, identity_of, normal_estimates, record_of, sigma_of
from .solution import Solution, misfit_covariance, with_unknown_bounds

_LOG = logging.getLogger(__name__)
_DISAGREE = 4.0
"""Distance, in standard deviations, of a window by itself from all, from which on it is flagged:
by chance one of a thousand stars of some windows has it."""
_INERT = ("seed", "draws", "chains")
"""Settings of `infer` without effect on least squares."""


@in_float32
@one_blas_thread()
@DEFAULT_FLOATING_POINT
def infer_joint(
    spectra: Any,
    models: Model | Sequence[Model] | Mapping[str, Model],
    *,
    medium: str | None = None,
    common: Collection[str] = COMMON,
    method: str = "gradient",
    priors: Mapping[str, Prior | tuple[Any, Any]] | None = None,
    fixed: Mapping[str, Any] | None = None,
    **options: Any,
) -> Inference:
    """Infer the labels of one star from several windows, each covered by a model.

    Each spectrum is cut to the ranges that the models cover; a pixel that several models cover is
    compared with the first of these. All windows have the same labels, and each its own continuum,
    noise and errors of lines. Labels are united by name: one that only one model has is found from
    the windows of that model.

    Parameters
    ----------
    spectra : Spectrum, or sequence or mapping of them by name
        Observations of one star, as `infer` takes them.
    models : Model, or sequence or mapping of them by name
        Models, each of which covers some range of some spectrum.
    medium : str, optional
        "air" or "vacuum", for spectra that do not state it.
    common : collection of str
        Parameters of the observation that are common to all spectra; the others are apart, and have
        the number of the spectrum in their names: `rv_1`, `rv_2`. They are always common to
        the windows of one spectrum.
    method : str
        `gradient`; other methods take one spectrum.
    priors, fixed : dict, optional
        As for `infer`. A name without a number is for all spectra.
    **options
        Options of `infer`, for all windows.

    Returns
    -------
    Inference
        `windows` has the fit of each window.

    Raises
    ------
    InputError
        A spectrum or model has no window, labels have no range that all models have, or a setting
        is unknown or impossible.

    Examples
    --------
    >>> import blase3d as b3
    >>> star, model = b3.read_spectrum("star.npz"), b3.load_model("model.zip")
    >>> answer = b3.infer_joint([star, star], model, fixed={"vsini": 0.0})
    >>> sorted(answer.nuisance), len(answer.windows)
    (['rv_1', 'rv_2'], 2)
    """
    start = time.perf_counter()
    if method != "gradient":
        raise InputError(
            f"got the method {method} for several spectra or models, expected gradient; choose "
            "that, or infer from one spectrum with one model."
        )
    settings = {name: value for name, value in options.items() if name not in _INERT}
    check_settings(method, settings)
    stars = {name: as_spectrum(one, medium) for name, one in _named(spectra, "spectrum").items()}
    by_name = _named(models, "model")
    problem = make_joint_problem(stars, by_name, priors, fixed, common, Options(**settings))
    if not problem.free:
        raise InputError("every parameter is fixed; leave at least one free.")
    best, *others = minimise(problem)
    answer = replace(_answer(best, others, by_name), seconds=time.perf_counter() - start)
    _LOG.info("%s", answer)
    return answer


def _named(given: Any, kind: str) -> dict[str, Any]:
    """Values by name, `KIND 1` and so on where they have none."""
    if isinstance(given, Mapping):
        found = dict(given)
    else:
        several = given if isinstance(given, list | tuple) else [given]
        found = {f"{kind} {number}": one for number, one in enumerate(several, 1)}
    if not found:
        raise InputError(f"got no {kind}, expected one or more; give one.")
    return found


def _answer(
    best: JointSolution, others: Sequence[JointSolution], models: Mapping[str, Model]
) -> Inference:
    problem = best.problem
    covariance = with_unknown_bounds(best, misfit_covariance(best, 1.0), 1.0)
    sigma = sigma_of(covariance, best.at_bound)
    estimates = normal_estimates(problem, best.theta, sigma)
    windows = tuple(
        WindowFit(
            window.spectrum,
            window.model,
            _window_answer(window, solution, covariance, models[window.model]),
        )
        for window, solution in best.windows
    )
    flags = list(bound_flags(best, widened=True))
    if not best.converged:
        flags.append("not converged")
    if is_ambiguous(best, others, sigma):
        flags.append("another solution is nearly as good")
    flags += [*unconstrained_flags(problem, sigma), *_disagreement(best)]
    flags += _flags_of_windows(problem, windows)
    labels = problem.axes
    joined = _joined([window.fit for window in windows])
    return Inference(
        labels={name: estimates[name] for name in labels},
        nuisance={name: one for name, one in estimates.items() if name not in labels},
        fixed=dict(problem.fixed),
        names=problem.names,
        covariance=covariance,
        method="gradient",
        seconds=0.0,
        flags=tuple(flags),
        windows=windows,
        **joined,
    )


def _window_answer(
    window: StarWindow, solution: Solution, covariance: Floats, model: Model
) -> Inference:
    """The fit of all windows, as far as it concerns one."""
    residuals = residuals_of(solution)
    of_window = covariance[np.ix_(window.columns, window.columns)]
    sigma = sigma_of(of_window, solution.at_bound)
    estimates = normal_estimates(window.problem, solution.theta, sigma)
    return replace(
        record_of(residuals, estimates, of_window),
        flags=(*window.problem.messages, *fit_flags(residuals), *hole_flags(solution)),
        model_identity=identity_of(model, window.problem),
    )


def _flags_of_windows(problem: JointProblem, windows: Sequence[WindowFit]) -> Iterator[str]:
    """Flags that windows have, each with the names of the windows unless all have it."""
    having: dict[str, list[str]] = {}
    for window, one in zip(windows, problem.windows, strict=True):
        for flag in window.fit.flags:
            having.setdefault(flag, []).append(problem.name_of(one))
    for flag, names in having.items():
        yield flag if len(names) == len(windows) else f"{flag} ({'; '.join(names)})"


def _disagreement(best: JointSolution) -> Iterator[str]:
    """The largest distance of a window by itself from all windows, if it is significant."""
    columns = [window.columns for window in best.problem.windows]
    shared = np.bincount(np.concatenate(columns), minlength=best.theta.size) > 1
    variance = np.diag(misfit_covariance(best, 1.0))
    found = [(0.0, "")]
    for window, solution in best.windows if len(columns) > 1 else ():
        alone = search(solution.likelihood, solution.fit.prediction)
        of_alone = misfit_covariance(alone, alone.scatter)
        own = np.diag(with_unknown_bounds(alone, of_alone, alone.scatter))
        # two equal windows are each half of their difference from both
        sigma = np.sqrt(np.maximum(own - variance[window.columns], 0.5 * own))
        step = alone.theta - solution.theta
        for k in np.flatnonzero(shared[window.columns] & ~alone.at_bound & (sigma > 0.0)):
            words = f"{window.problem.names[k]} of {best.problem.name_of(window)} alone is "
            words += f"{abs(step[k]):.4g} {'higher' if step[k] > 0 else 'lower'}"
            found.append((abs(step[k]) / sigma[k], words))
    distance, words = max(found)
    if distance > _DISAGREE:
        yield f"windows disagree: {words} ({distance:.1f} sigma)"


def _joined(fits: Sequence[Inference]) -> dict[str, Any]:
    """Pixels and measures of all windows together."""
    names = ("wavelength", "flux", "model", "error", "weight", "continuum", "masked")
    arrays = {name: np.concatenate([getattr(fit, name) for fit in fits]) for name in names}
    pixels = np.array([fit.n_pixels for fit in fits])
    rms = np.sqrt(np.average([fit.rms**2 for fit in fits], weights=pixels))
    resolution = None
    if any(fit.pixel_resolution is not None for fit in fits):
        resolution = np.concatenate([_resolutions(fit) for fit in fits])
    return {
        **arrays,
        "n_pixels": int(pixels.sum()),
        "n_masked": sum(fit.n_masked for fit in fits),
        "chi2_red": _mean([fit.chi2_red for fit in fits], pixels),
        "chi2_stated": _mean([fit.chi2_stated for fit in fits], pixels),
        "rms": float(rms),
        "jitter": max(fit.jitter for fit in fits),
        "order": _orders(fits),
        "pixel_resolution": resolution,
        "options": fits[0].options,
        "model_identity": {"library": "; ".join(dict.fromkeys(map(_library, fits)))},
    }


def _library(fit: Inference) -> str:
    return str(fit.model_identity["library"])


def _mean(values: Sequence[float], pixels: Integers) -> float:
    """The mean by pixels of the finite values; NaN if there are none."""
    known = np.isfinite(values)
    return (
        float(np.average(np.array(values)[known], weights=pixels[known])) if known.any() else np.nan
    )


def _orders(fits: Sequence[Inference]) -> Integers:
    """Consecutive numbers (Q,) of the orders of all windows."""
    found: list[Integers] = []
    for fit in fits:
        given = np.zeros(fit.n_pixels, np.int64) if fit.order is None else fit.order
        first = found[-1].max() + 1 if found else 0
        found.append(np.asarray(first + np.unique(given, return_inverse=True)[1], np.int64))
    return np.concatenate(found)


def _resolutions(fit: Inference) -> Floats:
    """λ/Δλ at each pixel (Q,) of a window."""
    if fit.pixel_resolution is not None:
        return fit.pixel_resolution
    estimate = fit.nuisance.get("resolution")
    value = fit.fixed["resolution"] if estimate is None else estimate.value
    return np.full(fit.n_pixels, value)
