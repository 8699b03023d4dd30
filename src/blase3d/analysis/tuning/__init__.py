"""Tuning: the lines of a model adjusted to one observed star, and a noise-free template of it.

    spectrum ─► infer ─► labels ─► changes of lines (`fit`) ─► model, template
                                        ▲
                     cross-validation (`folds`) sets the size of the changes

Every model has some lines wrong: strengths, wavelengths and widths of transitions are uncertain.
The changes found for one star belong to the transitions, so the tuned model is better for similar
stars. How far lines may change is chosen by cross-validation on masked pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ...errors import InputError
from ...inference import Inference, Options, Prior, infer
from ...inference.likelihood.likelihood import Likelihood, make_likelihood
from ...inference.problem import Problem, make_problem
from ...model.model import Model
from ...runtime.arrays import DEFAULT_FLOATING_POINT, Bools, Floats
from ...runtime.precision import in_float32
from ...runtime.progress import Progress, silent
from ...runtime.units import SIGMA_PER_MAD, SPEED_OF_LIGHT
from ...spectra.formats.in_memory import as_spectrum
from ...spectra.spectrum import Spectrum
from .fit import (
    QUANTITIES,
    AllowedChanges,
    Scales,
    allowed_changes,
    check_quantities,
    most_probable,
    with_changes,
)
from .folds import HeldOut, block_length, held_out, run_length

__all__ = ["QUANTITIES", "HeldOut", "Scales", "Trial", "Tuned", "tune"]

TIMES = (0.0, 0.1, 0.3, 1.0)
"""Factors of the typical errors of single lines that are tried."""
_OUTLIER = 6.0
"""Residual of the tuned model, in errors, beyond which a pixel gets less weight: lines that are
missing in the model."""
_DEEP, _WIDTH = 0.05, 0.1
"""Least depth of the lines whose median width is the typical one, and the width without any, Å."""
_LEAST_ERROR = 1e-4
"""Least error of a spectrum without stated errors, in units of the continuum."""


@dataclass(frozen=True)
class Trial:
    """One factor of the typical errors of single lines, and its cross-validation.

    Masked are runs of pixels shorter than a line, and blocks of whole lines.
    """

    times: float
    runs: HeldOut
    blocks: HeldOut

    @property
    def holds(self) -> bool:
        """Whether the changes improve masked runs, and do not worsen masked lines."""
        return self.runs.tuned < self.runs.untuned and self.blocks.tuned <= self.blocks.untuned


@dataclass(frozen=True, eq=False)
class Tuned:
    """A model tuned to a star.

    Attributes
    ----------
    model : Model
        The model with its lines changed, equally at all labels.
    inference : Inference
        The labels of the star, by the untuned model.
    reference : (C,)
        Wavelengths that name the lines, Å in vacuum.
    changes : (C, 3)
        Changes of ln area, wavelength (Å) and ln width of every line.
    trials : tuple of Trial
        All factors that were tried.
    best : Trial or None
        The chosen one: the least error over runs of those that hold. None: none holds, and the
        lines are unchanged.
    template : Spectrum
        The tuned model on the pixels of the star, in units of the continuum.
    """

    model: Model
    inference: Inference
    reference: Floats
    changes: Floats
    trials: tuple[Trial, ...]
    best: Trial | None
    template: Spectrum

    def to_dict(self) -> dict[str, Any]:
        """The numbers, for JSON and for the meta of the model."""
        sizes = map(float, np.sqrt(np.mean(self.changes**2, axis=0)))
        return {
            "labels": {name: e.value for name, e in self.inference.labels.items()},
            "nuisance": {name: e.value for name, e in self.inference.nuisance.items()},
            "best": None if self.best is None else asdict(self.best),
            "trials": [asdict(trial) for trial in self.trials],
            "rms_change": dict(
                zip(("ln_area", "shift", "ln_width"), map(float, sizes), strict=True)
            ),
        }


@in_float32
@DEFAULT_FLOATING_POINT
def tune(
    spectrum: Any,
    model: Model,
    *,
    medium: str | None = None,
    priors: Mapping[str, Prior | tuple[Any, Any]] | None = None,
    fixed: Mapping[str, Any] | None = None,
    scales: Scales | None = None,
    adjust: tuple[str, ...] = QUANTITIES,
    times: float | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Tuned:
    """Adjust the lines of a model to an observed star.

    Parameters
    ----------
    spectrum : Spectrum, specutils.Spectrum or astropy table
        The observation, in any flux unit.
    model : Model
        The model.
    medium, priors, fixed, **options
        As for `infer`, which finds the labels first.
    scales : Scales, optional
        Typical errors of the lines of the library.
    adjust : tuple of str
        Quantities that may change, of `QUANTITIES`.
    times : float, optional
        Factor of the typical errors; None: the best one in cross-validation.

    Returns
    -------
    Tuned

    Raises
    ------
    InputError
        The spectrum cannot be compared with the model, or a setting is impossible.
    """
    check_quantities(adjust)
    if times is not None and not 0.0 <= times < np.inf:
        raise InputError(
            f"got {times:g} times the typical errors, expected zero or more; correct it."
        )
    spectrum = as_spectrum(spectrum, medium)
    answer = infer(spectrum, model, priors=priors, fixed=fixed, **options)
    star = _tuning_star(spectrum, model, answer, priors, fixed, options, scales or Scales(), adjust)
    trials = _tried(star, TIMES if times is None else (times,), progress)
    holding = [trial for trial in trials if trial.holds]
    best = min(holding, key=lambda trial: trial.runs.tuned) if holding else None
    nothing = np.zeros((len(star.problem.model.reference), len(QUANTITIES)))
    found = nothing if best is None else star.changes(best.times)
    changes = np.zeros((model.reference.size, len(QUANTITIES)))
    changes[np.isin(model.reference, star.problem.model.reference)] = found
    template = star.template(found)
    tuned = Tuned(model, answer, model.reference, changes, trials, best, template)
    return replace(tuned, model=_tuned_model(model, changes, tuned.to_dict()))


def _tried(star: _TuningStar, times: tuple[float, ...], progress: Progress) -> tuple[Trial, ...]:
    trials = []
    for done, value in enumerate(times):
        progress("masked-out pixels", done, len(times))
        runs, blocks = (
            star.validated(length(star.width), value) for length in (run_length, block_length)
        )
        trials.append(Trial(value, runs, blocks))
    progress("masked-out pixels", len(times), len(times))
    return tuple(trials)


def _tuned_model(model: Model, changes: Floats, meta: Mapping[str, Any]) -> Model:
    """The model with its lines changed, equally at all labels."""
    lines = with_changes(model, changes).line_grid
    return replace(model, line_grid=lines, meta={**model.meta, "tuned": dict(meta)})


@dataclass(frozen=True, eq=False)
class _TuningStar:
    """A star at its labels, whose lines can be changed.

    `error` (P,) has the errors of the pixels, without those of lines, in the unit of the data, and
    `width` the full width of a typical line, Å.
    """

    likelihood: Likelihood
    theta: Floats
    allowed: AllowedChanges
    error: Floats
    width: float

    @property
    def problem(self) -> Problem:
        """The star, and the model cut to it."""
        return self.likelihood.problem

    def without(self, out: Bools | None = None, error: Floats | None = None) -> Likelihood:
        """The likelihood without masked pixels (P,), with errors (P,) in the unit of the data."""
        used = self.problem.spectrum.good if out is None else ~out
        return self.likelihood.with_pixel_errors(self.error if error is None else error, used)

    def changes(self, times: float, out: Bools | None = None) -> Floats:
        """The most probable changes (C, 3) with pixels (P,) masked.

        They are fitted twice, the second time with less weight for outliers of the first fit.
        """
        likelihood = self.without(out)
        first = most_probable(likelihood, self.theta, self.allowed, times)
        residual, continuum = self.residual(likelihood, first.changes)
        distance = np.abs(residual * continuum) / self.error
        error = self.error * np.maximum(distance / _OUTLIER, 1.0)
        again = self.without(out, error)
        return most_probable(again, self.theta, self.allowed, times, first).changes

    def residual(self, likelihood: Likelihood, changes: Floats | None) -> tuple[Floats, Floats]:
        """Data minus model in units of the continuum, and the continuum, both (P,)."""
        if changes is not None:
            likelihood = _with_changes(likelihood, changes)
        fit = likelihood.fitted(likelihood.predicted(self.theta))
        return (self.problem.spectrum.flux - fit.flux) / fit.continuum, fit.continuum

    def template(self, changes: Floats) -> Spectrum:
        """The spectrum of the star with lines changed by (C, 3), without noise."""
        observed = self.problem.spectrum
        likelihood = _with_changes(self.without(), changes)
        fit = likelihood.fitted(likelihood.predicted(self.theta))
        return Spectrum(
            observed.wavelength,
            fit.flux / fit.continuum,
            resolution=observed.resolution,
            order=observed.order,
            meta={"medium": "vacuum", "template": "tuned, noiseless, in units of the continuum"},
        )

    def validated(self, length: float, times: float) -> HeldOut:
        """Residuals over runs of pixels of a length (Å), each masked once."""

        def residual_without(out: Bools) -> tuple[Floats, Floats]:
            likelihood = self.without(out)
            untuned, _ = self.residual(likelihood, None)
            tuned, _ = self.residual(likelihood, self.changes(times, out))
            return untuned, tuned

        spectrum = self.problem.spectrum
        return held_out(spectrum.wavelength, spectrum.good, length, residual_without)


def _with_changes(likelihood: Likelihood, changes: Floats) -> Likelihood:
    """The likelihood with lines changed by (C, 3)."""
    problem = likelihood.problem
    model = with_changes(problem.model, changes)
    return replace(likelihood, problem=replace(problem, model=model))


def _tuning_star(
    spectrum: Spectrum,
    model: Model,
    answer: Inference,
    priors: Mapping[str, Any] | None,
    fixed: Mapping[str, Any] | None,
    options: Mapping[str, Any],
    scales: Scales,
    adjust: tuple[str, ...],
) -> _TuningStar:
    problem = make_problem(spectrum, model, priors, fixed, Options(**options))
    values = {**answer.labels, **answer.nuisance}
    theta = np.array([values[name].value for name in problem.names])
    # Without the errors of lines, which are what is fitted here.
    likelihood = make_likelihood(problem)
    labels = {name: answer.labels[name].value for name in model.label_names}
    allowed = allowed_changes(problem.model, labels, scales, adjust)
    error = _error(likelihood, theta)
    return _TuningStar(likelihood, theta, allowed, error, _typical_width(problem, theta, labels))


def _error(likelihood: Likelihood, theta: Floats) -> Floats:
    """Errors (P,) of the pixels in the unit of the data.

    The stated errors are scaled by the median residual, so that wrong lines do not count as noise.
    """
    spectrum = likelihood.problem.spectrum
    fit = likelihood.fitted(likelihood.predicted(theta))
    stated = np.abs(fit.continuum) if spectrum.error is None else spectrum.error
    ratio = np.abs(spectrum.flux - fit.flux) / stated
    scale = SIGMA_PER_MAD * float(np.median(ratio[spectrum.good]))
    least = _LEAST_ERROR if spectrum.error is None else 1.0
    return stated * max(scale, least)


def _typical_width(problem: Problem, theta: Floats, labels: Mapping[str, float]) -> float:
    """Full width (Å) of a typical line in the spectrum: intrinsic, resolution and velocities."""
    model = problem.model
    lines = model.lines(**labels)
    deep = lines.central_depth(model.recipe.composition) > _DEEP
    width = float(np.median(lines.fwhm[deep])) if deep.any() else _WIDTH
    values = problem.parameters(theta)
    middle = float(np.median(problem.spectrum.wavelength))
    widths = [width, middle / values["resolution"]]
    widths += [middle * values[name] / SPEED_OF_LIGHT for name in ("vsini", "vmac")]
    return float(np.sqrt(np.sum(np.square(widths))))
