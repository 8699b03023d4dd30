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
from ...inference.likelihood.likelihood import make_likelihood
from ...inference.problem import make_problem
from ...model.model import Model
from ...runtime.arrays import DEFAULT_FLOATING_POINT, Bools, Floats
from ...runtime.precision import in_float32
from ...runtime.progress import Progress, silent
from ...runtime.threads import one_blas_thread
from ...runtime.units import SIGMA_PER_MAD
from ...spectra.formats.in_memory import as_spectrum
from ...spectra.spectrum import Spectrum
from ..calibration.changes import QUANTITIES, Scales, check_quantities, with_changes
from ..calibration.known_stars import typical_width
from ..calibration.observation import Observation, line_numbers
from .fit import Linearised, TuningProblem, linearised, most_probable, tuned_changes
from .folds import HeldOut, block_length, rms_held_out, run_length

__all__ = ["QUANTITIES", "HeldOut", "Scales", "Trial", "Tuned", "tune"]

TIMES = (0.0, 0.1, 0.3, 1.0)
"""Factors of the typical errors of single lines that are tried."""
_MIDDLE = 0.3
"""Factor about whose changes the spectrum is linearised for the cross-validation of all factors."""
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
        sizes = np.sqrt(np.mean(self.changes**2, axis=0)).tolist()
        return {
            "labels": {name: e.value for name, e in self.inference.labels.items()},
            "nuisance": {name: e.value for name, e in self.inference.nuisance.items()},
            "best": None if self.best is None else asdict(self.best),
            "trials": [asdict(trial) for trial in self.trials],
            "rms_change": dict(zip(("ln_area", "shift", "ln_width"), sizes, strict=True)),
        }


@in_float32
@one_blas_thread()
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
        The spectrum cannot be compared with the model or is shorter than a few lines, or a setting
        is impossible.
    """
    check_quantities(adjust)
    if times is not None and not 0.0 <= times < np.inf:
        raise InputError(
            f"got {times:g} times the typical errors, expected zero or more; correct it."
        )
    spectrum = as_spectrum(spectrum, medium)
    answer = infer(spectrum, model, priors=priors, fixed=fixed, **options)
    if "dilution" in answer.nuisance and "dilution" not in (priors or {}):  # it stays
        fixed = {**(fixed or {}), "dilution": answer.nuisance["dilution"].value}
    problem = _tuning_problem(spectrum, model, answer, priors, fixed, options, scales, adjust)
    count = model.reference.size
    trials = _tried(problem, count, TIMES if times is None else (times,), progress)
    holding = [trial for trial in trials if trial.holds]
    best = min(holding, key=lambda trial: trial.runs.tuned) if holding else None
    changes = np.zeros((count, len(QUANTITIES)))
    if best is not None:
        changes = tuned_changes(problem, most_probable(problem, best.times, count), model)
    template = _template(problem, model, changes)
    tuned = Tuned(model, answer, model.reference, changes, trials, best, template)
    return replace(tuned, model=_tuned_model(model, changes, tuned.to_dict()))


def _tried(
    problem: TuningProblem, count: int, times: tuple[float, ...], progress: Progress
) -> tuple[Trial, ...]:
    """The cross-validation of every factor.

    Pixels are taken out of normal equations that are the same for all factors.
    """
    progress("masked-out pixels", 0, 2)
    middle = _MIDDLE if len(times) > 1 else times[0]
    at = linearised(problem, most_probable(problem, middle, count), count)
    single, common = at.present
    untuned = linearised(problem, (np.zeros_like(single), np.zeros_like(common)), count)
    width = typical_width(problem.observation)
    found = []
    for done, length in enumerate((run_length(width), block_length(width))):
        found.append(_validated(at, untuned, times, length))
        progress("masked-out pixels", done + 1, 2)
    return tuple(map(Trial, times, *found))


def _validated(
    at: Linearised, untuned: Linearised, times: tuple[float, ...], length: float
) -> list[HeldOut]:
    """Residuals over runs of pixels of a length (Å), each masked once, for every factor."""
    problem, everything = at.problem, at.information()
    observation = problem.observation

    def residuals_without(out: Bools) -> list[Floats]:
        information = everything.plus(at.information(out), -1.0)
        prediction = untuned.prediction
        level = prediction.level(prediction.continuum(untuned.weight * ~out))
        rows = [observation.flux / level - prediction.flux]
        return rows + [at.residual(problem.solved(information, value)) for value in times]

    first, *tuned = rms_held_out(observation.wavelength, length, residuals_without)
    return [HeldOut(first, one, float(length)) for one in tuned]


def _tuned_model(model: Model, changes: Floats, meta: Mapping[str, Any]) -> Model:
    """The model with its lines changed, equally at all labels."""
    lines = with_changes(model, changes).line_grid
    return replace(model, line_grid=lines, meta={**model.meta, "tuned": dict(meta)})


def _tuning_problem(
    spectrum: Spectrum,
    model: Model,
    answer: Inference,
    priors: Mapping[str, Any] | None,
    fixed: Mapping[str, Any] | None,
    options: Mapping[str, Any],
    scales: Scales | None,
    adjust: tuple[str, ...],
) -> TuningProblem:
    problem = make_problem(spectrum, model, priors, fixed, Options(**options))
    values = {**answer.labels, **answer.nuisance}
    theta = np.array([values[name].value for name in problem.names])
    # Without the errors of lines, which are what is fitted here.
    numbers = line_numbers(model, problem.model)
    observation = Observation("star", make_likelihood(problem), numbers, theta)
    scale = (scales or Scales()).of(adjust)
    return TuningProblem.of(observation, model, scale, _error(observation, len(model.reference)))


def _error(observation: Observation, count: int) -> Floats:
    """Errors (Q,) of the pixels, in units of the computation.

    The stated errors are scaled by the median residual, so that wrong lines do not count as noise.
    """
    prediction = observation.predicted(np.zeros((count, len(QUANTITIES))))
    error = observation.likelihood.problem.spectrum.error
    unit = observation.likelihood.unit
    stated = np.ones(observation.flux.size) if error is None else error[observation.used] / unit
    level = np.abs(prediction.level(prediction.continuum(stated**-2.0)))
    stated = level if error is None else stated
    scale = np.median(np.abs(observation.flux - level * prediction.flux) / stated)
    least = _LEAST_ERROR if error is None else 1.0
    return stated * max(SIGMA_PER_MAD * float(scale), least)


def _template(problem: TuningProblem, model: Model, changes: Floats) -> Spectrum:
    """The spectrum of the star with lines changed by (C, 3), in ln, Å and ln, without noise."""
    likelihood = problem.observation.likelihood
    section = with_changes(problem.observation.model, changes[problem.observation.lines])
    likelihood = replace(likelihood, problem=replace(likelihood.problem, model=section))
    observed = likelihood.problem.spectrum
    fit = likelihood.fitted(likelihood.predicted(problem.observation.theta))
    return Spectrum(
        observed.wavelength,
        fit.flux / fit.continuum,
        resolution=observed.resolution,
        order=observed.order,
        meta={"medium": "vacuum", "template": "tuned, noiseless, in units of the continuum"},
    )
