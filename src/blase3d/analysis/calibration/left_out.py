"""Stars left out: their misfit and labels with changes of lines that the other stars teach.

Labels are found as `infer` finds them: pixels count less where the library differs from the other
stars (`stellar_mismatch.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...runtime.arrays import Floats
from ...runtime.progress import Progress, silent
from .joint import EnsembleFit
from .observation import Predicted, fitted_alone

FACTORS = (0.0, 0.25, 0.5, 1.0)
"""Factors of the changes of lines that are tried."""
_TYPICAL = {"teff": 70.0, "logg": 0.1, "feh": 0.06}
"""Label errors that count as one; for other labels see `_OTHER`."""
_OTHER = 0.06
_WORTHWHILE = 0.05
"""Fraction by which label errors have to fall for lines to be changed: less is chance with the
few stars of known labels, and stars that the library computed lose what is changed."""


@dataclass(frozen=True)
class LeftOut:
    """A spectrum of a star that was left out, with the changes of the lines times a factor.

    Attributes
    ----------
    star : str
        Its name.
    labels : dict
        The labels that a fit finds.
    literature : dict
        The known labels and their errors.
    misfit : float
        rms residual in units of its expected error.
    """

    star: str
    labels: dict[str, float]
    literature: dict[str, tuple[float, float]]
    misfit: float

    @property
    def score(self) -> float:
        """Mean square of the label errors, in units of errors that count as one."""
        squares = [
            (self.labels[name] - value) ** 2 / (_TYPICAL.get(name, _OTHER) ** 2 + error**2)
            for name, (value, error) in self.literature.items()
            if name in self.labels
        ]
        return float(np.mean(squares)) if squares else 0.0


@dataclass(frozen=True)
class CalibrationTrial:
    """One factor of the changes of lines, and what it does to stars that are left out."""

    times: float
    spectra: tuple[LeftOut, ...]

    @property
    def misfit(self) -> float:
        """rms over the stars of the misfit."""
        return float(np.sqrt(_mean_of_stars([(s.star, s.misfit**2) for s in self.spectra])))

    @property
    def label_error(self) -> float:
        """rms over the stars of the label errors, in units of errors that count as one."""
        return float(np.sqrt(_mean_of_stars([(s.star, s.score) for s in self.spectra])))

    def to_dict(self) -> dict[str, Any]:
        """The numbers, for JSON."""
        return {
            "times": self.times,
            "misfit": self.misfit,
            "label_error": self.label_error,
            "spectra": [asdict(one) for one in self.spectra],
        }


def _mean_of_stars(values: list[tuple[str, float]]) -> float:
    """Mean over stars of the means over their spectra."""
    stars: dict[str, list[float]] = {}
    for star, value in values:
        stars.setdefault(star, []).append(value)
    return float(np.mean([np.mean(found) for found in stars.values()]))


def leave_stars_out(
    fit: EnsembleFit,
    changes_without: dict[str, Floats],
    weights: Sequence[Floats],
    times: tuple[float, ...] = FACTORS,
    progress: Progress = silent,
) -> tuple[CalibrationTrial, ...]:
    """Return trials of factors, with each star left out of the changes that it is fitted with.

    `changes_without` has the changes (C, 3) of the lines without each star, `weights` those (Q,) of
    the pixels of each spectrum in the fit of its labels.
    """
    starts = [one.predicted(fit.changes()) for one in fit.ensemble.observations]
    trials = []
    for done, value in enumerate(times):
        progress("stars left out", done, len(times))
        spectra = [
            _left_out(fit, start, value * changes_without[start.observation.star], *both)
            for start, *both in zip(starts, weights, fit.weights, strict=True)
        ]
        trials.append(CalibrationTrial(value, tuple(spectra)))
    progress("stars left out", len(times), len(times))
    return tuple(trials)


def _left_out(
    fit: EnsembleFit, start: Predicted, changes: Floats, weight: Floats, of_misfit: Floats
) -> LeftOut:
    """The fit of a spectrum with weights (Q,), and its misfit by other weights (Q,)."""
    star = start.observation.star
    best, left = fitted_alone(start.observation, changes, weight, start)
    misfit = np.sqrt(np.sum(of_misfit * left**2) / max(int(np.count_nonzero(of_misfit)), 1))
    return LeftOut(star, best.labels(), dict(fit.ensemble.literature[star]), float(misfit))


def best_of(trials: tuple[CalibrationTrial, ...]) -> CalibrationTrial:
    """Return the trial of least label errors among those that fit no worse than no change; no
    change, if they are not worth it."""
    unchanged = next(trial for trial in trials if trial.times == 0.0)
    better = [trial for trial in trials if trial.misfit <= unchanged.misfit]
    best = min(better, key=lambda trial: trial.label_error)
    worthwhile = best.label_error < (1.0 - _WORTHWHILE) * unchanged.label_error
    return best if worthwhile else unchanged
