"""Tuning: the lines of a model adjusted to one observed star, and its spectrum without noise.

    spectrum ─► infer ─► labels ─► changes of lines (`fit`) ─► model, template
                                        ▲
                     pixels masked out (`folds`) say how far lines may change

Every model gets some lines wrong: strengths, places and widths of transitions are uncertain. The
changes that suit a star belong to the transitions, so the tuned model is corrected for stars of its
kind. How far lines may change is chosen by pixels that are masked out.
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
from ...runtime.progress import Progress, silent
from ...spectra.spectrum import Spectrum
from ...units import SPEED_OF_LIGHT
from .fit import (
    QUANTITIES,
    Freedom,
    Scales,
    check_quantities,
    make_freedom,
    most_probable,
    with_changes,
)
from .folds import Bools, Floats, HeldOut, block_length, held_out, run_length

__all__ = ["QUANTITIES", "HeldOut", "Scales", "Trial", "Tuned", "tune"]

TIMES = (0.0, 0.1, 0.3, 1.0)
"""What the usual errors of single lines are multiplied by, to be chosen from."""
_NORMAL = 1.4826
_OUTLIER = 6.0
"""Pixels that even tuned lines miss by so many errors count less: lines that the model lacks."""
_SEEN = 0.05
"""Depth of lines whose widths are usual."""


@dataclass(frozen=True)
class Trial:
    """What the usual errors of single lines were multiplied by, and how pixels came out that were
    masked: runs shorter than a line, and blocks of whole lines."""

    times: float
    runs: HeldOut
    blocks: HeldOut

    @property
    def holds(self) -> bool:
        """Whether changes help within lines, and do no harm to lines that were masked out."""
        return self.runs.tuned < self.runs.untuned and self.blocks.tuned <= self.blocks.untuned


@dataclass(frozen=True, eq=False)
class Tuned:
    """A model tuned to a star.

    Attributes
    ----------
    model : Model
        The library with its lines changed, everywhere over the grid alike.
    inference : Inference
        The star, by the model as it was.
    reference : (C,)
        Wavelengths that name the lines, Å in vacuum.
    changes : (C, 3)
        Of ln area, place (Å) and ln width of every line.
    trials : tuple of Trial
        What was tried.
    best : Trial or None
        What was chosen: of those that hold, the one with the least error over runs. None: none
        holds, and the lines are as they were.
    template : Spectrum
        The tuned model on the pixels of the star, without noise, in units of the continuum.
    """

    model: Model
    inference: Inference
    reference: Floats
    changes: Floats
    trials: tuple[Trial, ...]
    best: Trial | None
    template: Spectrum

    def to_dict(self) -> dict[str, Any]:
        """The numbers as they go into JSON and into the meta of the model."""
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


def tune(
    spectrum: Spectrum,
    model: Model,
    *,
    priors: Mapping[str, Prior] | None = None,
    fixed: Mapping[str, float] | None = None,
    scales: Scales | None = None,
    adjust: tuple[str, ...] = QUANTITIES,
    times: float | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Tuned:
    """Adjust the lines of a model to an observed star.

    Parameters
    ----------
    spectrum : Spectrum
        The observation, in vacuum wavelengths, in any flux unit.
    model : Model
        The library.
    priors, fixed, **options
        As for `infer`, which says first what star it is.
    scales : Scales, optional
        Usual errors of the lines of the library.
    adjust : tuple of str
        What may change of lines, of `QUANTITIES`.
    times : float, optional
        What the usual errors are multiplied by; None: what suits masked-out pixels best.

    Returns
    -------
    Tuned

    Raises
    ------
    InputError
        The spectrum cannot be compared with the model, or a setting is none.
    """
    check_quantities(adjust)
    if times is not None and not 0.0 <= times < np.inf:
        raise InputError(
            f"got {times:g} times the usual errors, expected zero or more; correct it."
        )
    answer = infer(spectrum, model, priors=priors, fixed=fixed, **options)
    bench = _bench(spectrum, model, answer, priors, fixed, options, scales or Scales(), adjust)
    trials = _tried(bench, TIMES if times is None else (times,), progress)
    holding = [trial for trial in trials if trial.holds]
    best = min(holding, key=lambda trial: trial.runs.tuned) if holding else None
    nothing = np.zeros((len(bench.problem.model.reference), len(QUANTITIES)))
    part = nothing if best is None else bench.changes(best.times)
    changes = np.zeros((model.reference.size, len(QUANTITIES)))
    changes[np.isin(model.reference, bench.problem.model.reference)] = part
    template = bench.template(part)
    found = Tuned(model, answer, model.reference, changes, trials, best, template)
    return replace(found, model=_tuned_model(model, changes, found.to_dict()))


def _tried(bench: _Bench, times: tuple[float, ...], progress: Progress) -> tuple[Trial, ...]:
    trials = []
    for done, value in enumerate(times):
        progress("masked-out pixels", done, len(times))
        runs, blocks = (
            bench.judged(length(bench.width), value) for length in (run_length, block_length)
        )
        trials.append(Trial(value, runs, blocks))
    progress("masked-out pixels", len(times), len(times))
    return tuple(trials)


def _tuned_model(model: Model, changes: Floats, meta: Mapping[str, Any]) -> Model:
    """The model with its lines changed; what is added to `base` holds everywhere over the grid."""
    lines = with_changes(model, changes).line_grid
    return replace(model, line_grid=lines, meta={**model.meta, "tuned": dict(meta)})


@dataclass(frozen=True, eq=False)
class _Bench:
    """A star with its labels, ready for lines to be changed: the likelihood there with errors as
    they are without what lines get wrong, and the full width (Å) of a usual line."""

    likelihood: Likelihood
    theta: Floats
    freedom: Freedom
    error: Floats
    width: float

    @property
    def problem(self) -> Problem:
        """The star and the model that reaches it."""
        return self.likelihood.problem

    def without(self, out: Bools | None = None, error: Floats | None = None) -> Likelihood:
        """The likelihood without pixels (P,), with errors (P,) in the unit of the data."""
        used = self.problem.spectrum.good if out is None else ~out
        return self.likelihood.with_pixel_errors(self.error if error is None else error, used)

    def changes(self, times: float, out: Bools | None = None) -> Floats:
        """The most probable changes (C, 3) where pixels (P,) are masked; sought again with less
        weight for what tuned lines do not come near to."""
        likelihood = self.without(out)
        first = most_probable(likelihood, self.theta, self.freedom, times)
        rest, continuum = self.residual(likelihood, first.changes)
        distance = np.abs(rest * continuum) / self.error
        error = self.error * np.maximum(distance / _OUTLIER, 1.0)
        again = self.without(out, error)
        return most_probable(again, self.theta, self.freedom, times, first).changes

    def residual(self, likelihood: Likelihood, changes: Floats | None) -> tuple[Floats, Floats]:
        """Data less model (P,) in units of the continuum, and the continuum, both (P,)."""
        if changes is not None:
            likelihood = _with_changes(likelihood, changes)
        fit = likelihood.fitted(likelihood.predicted(self.theta))
        return (self.problem.spectrum.flux - fit.flux) / fit.continuum, fit.continuum

    def template(self, changes: Floats) -> Spectrum:
        """What the star shows with lines changed by (C, 3), without noise."""
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

    def judged(self, length: float, times: float) -> HeldOut:
        """Errors over runs of pixels of a length (Å), each masked out once."""

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


def _bench(
    spectrum: Spectrum,
    model: Model,
    answer: Inference,
    priors: Mapping[str, Prior] | None,
    fixed: Mapping[str, float] | None,
    options: Mapping[str, Any],
    scales: Scales,
    adjust: tuple[str, ...],
) -> _Bench:
    problem = make_problem(spectrum, model, priors, fixed, Options(**options))
    values = {**answer.labels, **answer.nuisance}
    theta = np.array([values[name].value for name in problem.names])
    # not `refined`, which allows for lines that are wrong: their changes are sought here
    likelihood = make_likelihood(problem)
    labels = {name: answer.labels[name].value for name in model.label_names}
    freedom = make_freedom(problem.model, labels, scales, adjust)
    error = _error(likelihood, theta)
    return _Bench(likelihood, theta, freedom, error, _usual_width(problem, theta, labels))


def _error(likelihood: Likelihood, theta: Floats) -> Floats:
    """Errors (P,) of the pixels in the unit of the data: as stated, times what most pixels tell, so
    that lines which the model has wrong do not count as noise."""
    spectrum = likelihood.problem.spectrum
    fit = likelihood.fitted(likelihood.predicted(theta))
    stated = np.abs(fit.continuum) if spectrum.error is None else spectrum.error
    ratio = np.abs(spectrum.flux - fit.flux) / stated
    usual = _NORMAL * float(np.median(ratio[spectrum.good]))
    least = 1e-4 if spectrum.error is None else 1.0
    return stated * max(usual, least)


def _usual_width(problem: Problem, theta: Floats, labels: Mapping[str, float]) -> float:
    """Full width (Å) of a usual line as the star shows it."""
    model = problem.model
    lines = model.lines(**labels)
    deep = lines.central_depth(model.recipe.composition) > _SEEN
    width = float(np.median(lines.fwhm[deep])) if deep.any() else 0.1
    values = problem.parameters(theta)
    middle = float(np.median(problem.spectrum.wavelength))
    seen = [width, middle / values["resolution"]]
    seen += [middle * values[name] / SPEED_OF_LIGHT for name in ("vsini", "vmac")]
    return float(np.sqrt(np.sum(np.square(seen))))
