"""Trials of changes of lines, judged by stars that are left out, and the choice among them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_TYPICAL = {"teff": 70.0, "logg": 0.1, "feh": 0.06}
"""Label errors that count as one; for other labels see `_OTHER`."""
_OTHER = 0.06
_DIGITS = 3
"""Decimals of label errors in which trials are compared: 0.07 K."""
_CLEARER = 0.1
"""Fraction by which the residuals of stars left out have to fall for lines to be changed. In
simulated stars they fall by 17 to 64 % where lines are wrong, and by 0.1 % at most by chance."""
WORTHWHILE = 0.03
"""Fraction by which label errors have to fall too. With few stars, 4 % may be chance."""


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
    """One factor of the changes of lines, with or without the lines that were added, and the stars
    that are left out with it."""

    times: float
    spectra: tuple[LeftOut, ...]
    added: bool = False

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
            "added": self.added,
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


def unchanged_of(trials: tuple[CalibrationTrial, ...]) -> CalibrationTrial:
    """Return the trial of the lines of the library."""
    return next(trial for trial in trials if trial.times == 0.0 and not trial.added)


def least_of(trials: tuple[CalibrationTrial, ...]) -> CalibrationTrial:
    """Return the trial of least label errors among no change and those that fit clearly better; of
    equal ones, that of least residuals."""
    unchanged = unchanged_of(trials)
    clearer = [one for one in trials if one.misfit <= (1.0 - _CLEARER) * unchanged.misfit]
    return min([unchanged, *clearer], key=lambda one: (round(one.label_error, _DIGITS), one.misfit))


def best_of(trials: tuple[CalibrationTrial, ...]) -> CalibrationTrial:
    """Return the trial of least label errors; no change, if it is not worth it."""
    unchanged, least = unchanged_of(trials), least_of(trials)
    worthwhile = least.label_error < (1.0 - WORTHWHILE) * unchanged.label_error
    return least if worthwhile else unchanged


def gain_of(trials: tuple[CalibrationTrial, ...]) -> float:
    """Return the fraction by which the best changes lower the label errors of stars left out."""
    before = unchanged_of(trials).label_error
    return 1.0 - least_of(trials).label_error / before if before else 0.0
