"""Calibration: the lines of a model corrected by observed stars of known labels.

    table of stars ─► observations ─► joint changes of lines ─► stars left out ─► calibrated model
      known_stars       observation     joint, information        left_out          corrections
                                          │            ▲
                                          └► added lines (missing_lines, added_lines)

A wrong oscillator strength is wrong for all stars. Changes of single lines are sought that all
stars share, and lines that the model does not have, together with the parameters of each star,
whose labels are free within the errors of the literature. They are taken as far as they improve
stars that were left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...model.model import Model
from ...runtime.arrays import DEFAULT_FLOATING_POINT, Floats, Integers
from ...runtime.precision import in_float32
from ...runtime.progress import Progress, silent
from ...runtime.threads import one_blas_thread
from .changes import Scales
from .joint import ensemble_of
from .known_stars import KnownStar, observation_of, read_known_stars
from .left_out import leave_stars_out
from .observation import Observation, of_same_labels
from .proposal import Proposal, proposal_of
from .stellar_mismatch import mismatch_of, residual_of, squares_of_stars
from .too_deep import too_deep
from .trial import CalibrationTrial, best_of, gain_of

__all__ = ["Calibrated", "CalibrationTrial", "KnownStar", "Scales", "calibrate", "read_known_stars"]


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A model calibrated with stars.

    Attributes
    ----------
    model : Model
        The model with its lines changed, equally at all labels, and its mismatch with the stars.
    changes, sigma : (C, 3)
        Changes of ln area, wavelength (km/s) and ln width of every line, and their errors.
    stars : (C,)
        Number of stars that constrain the strength of each line.
    trials : tuple of CalibrationTrial
        All factors of the changes that were tried on stars left out.
    best : CalibrationTrial
        The chosen one.
    left_aside : dict of str
        Spectra that could not be used, by file, or star for those in memory, and why.
    proposal : Proposal
        The changes and added lines in full, of which the model has as many as help.
    squares : dict of (M,)
        Squared residuals of each star at the knots of the mismatch.
    too_deep : (F,)
        Wavelengths (Å in vacuum) of features of the model that are deeper than in any star.
    """

    model: Model
    changes: Floats
    sigma: Floats
    stars: Integers
    trials: tuple[CalibrationTrial, ...]
    best: CalibrationTrial
    left_aside: dict[str, str]
    proposal: Proposal
    squares: dict[str, Floats]
    too_deep: Floats

    def model_without(self, star: str) -> Model:
        """The model as the other stars alone calibrate it, with the chosen factor."""
        mismatch = mismatch_of(self.squares, self.model.wavelength, without=star)
        return self.proposal.calibrated(self.best, mismatch, without=star)

    @property
    def proposed(self) -> Model:
        """The model with all changes and added lines in full, whether or not they help."""
        return self.proposal.calibrated(self.proposal.in_full)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels."""
        return self.model.label_names

    @property
    def reference_labels(self) -> dict[str, float]:
        """Labels, as known, of the first star: those at which lines are described."""
        first = self.trials[0].spectra[0]
        known = first.labels | {name: value for name, (value, _) in first.literature.items()}
        return {
            name: float(np.clip(known[name], *ends)) for name, ends in self.model.bounds.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """The numbers, for JSON and for the meta of the model."""
        strong = self.stars > 0
        return {
            "times": self.best.times,
            "lines_added": int(self.proposal.added.sum()) if self.best.added else 0,
            "lines_missing": int(self.proposal.added.sum()),
            "slopes_over_teff": self.proposal.fit.slope_scale,
            "gain": gain_of(self.trials),
            "trials": [trial.to_dict() for trial in self.trials],
            "lines_constrained": int(strong.sum()),
            "rms_changes": np.sqrt(np.mean(self.changes[strong] ** 2, axis=0)).tolist()
            if strong.any()
            else [0.0, 0.0, 0.0],
            "too_deep": self.too_deep.round(2).tolist(),
            "left_aside": {
                Path(file).name: why.replace(file, Path(file).name)
                for file, why in self.left_aside.items()
            },
        }


@in_float32
@one_blas_thread()
@DEFAULT_FLOATING_POINT
def calibrate(
    stars: str | Path | Sequence[KnownStar],
    model: Model,
    *,
    scales: Scales | None = None,
    progress: Progress = silent,
    command: str = "",
    **options: Any,
) -> Calibrated:
    """Correct the lines of a model by stars of known labels.

    Parameters
    ----------
    stars : path or sequence of KnownStar
        The stars, or a table of them (`read_known_stars`).
    model : Model
        The model; a calibrated one is calibrated again from the lines of its library.
    scales : Scales, optional
        Typical errors of the lines of the library, before the stars are asked.
    command : str
        Command that is noted in the model.
    **options
        Fields of `Options`, as for `infer`.

    Returns
    -------
    Calibrated

    Raises
    ------
    InputError
        The table cannot be read, or stars cannot be compared with the model: fewer than two are
        left.
    """
    model = model.uncalibrated()
    known = _listed(stars, model)
    observations, widths, left_aside = _observed(known, model, options, progress)
    literature = {one.star: one.labels for one in known}
    residuals = [residual_of(one, model) for one in observations]
    squares = squares_of_stars(residuals, model.wavelength)
    weights = [
        one.weight(mismatch_of(squares, model.wavelength, without=one.observation.star))
        for one in residuals
    ]
    ensemble = ensemble_of(observations, literature, model, scales or Scales())
    proposal = proposal_of(ensemble, model, widths, progress)
    trials = leave_stars_out(proposal, weights, progress=progress)
    best = best_of(trials)
    calibrated = proposal.calibrated(best, mismatch_of(squares, model.wavelength))
    changes, sigma, stars_per_line = proposal.lines(best)
    lines = changes[:, :3], sigma, stars_per_line
    after = [residual_of(one.observation.on(calibrated), calibrated) for one in residuals]
    deep = too_deep(residuals, after)
    found = Calibrated(calibrated, *lines, trials, best, left_aside, proposal, squares, deep)
    meta = {
        "stars": _star_list(known, left_aside),
        "date": datetime.now(UTC).date().isoformat(),
        "command": command,
        **found.to_dict(),
    }
    return replace(found, model=replace(calibrated, meta={**model.meta, "calibration": meta}))


def _observed(
    known: list[KnownStar], model: Model, options: dict[str, Any], progress: Progress
) -> tuple[tuple[Observation, ...], tuple[float, ...], dict[str, str]]:
    """The spectra beside the model, the widths (Å) of their lines, and which were left aside."""
    found, left_aside = [], {}
    for done, (name, one) in enumerate(_named(known)):
        progress("stars", done, len(known))
        try:
            found.append(observation_of(one, model, options))
        except InputError as failure:
            said = str(failure)
            left_aside[name] = said if name in said else f"{name}: {said}"
    progress("stars", len(known), len(known))
    names = {one.star for one, _ in found}
    if len(names) < 2:
        raise InputError(
            f"got {len(names)} stars that the model can be calibrated with, expected two or more "
            f"({_reasons(left_aside)}); add stars, or use blase3d tune for one star."
        )
    observations, widths = zip(*found, strict=True)
    return of_same_labels(observations), widths, left_aside


def _named(known: list[KnownStar]) -> list[tuple[str, KnownStar]]:
    """The spectra with their names; those in memory have that of their star, with a number where
    it has several."""
    of_star = Counter(one.star for one in known if not one.in_file)
    number: Counter[str] = Counter()
    named = []
    for one in known:
        name = one.name
        if not one.in_file and of_star[name] > 1:
            number[name] += 1
            name = f"{name} ({number[name]})"
        named.append((name, one))
    return named


def _reasons(left_aside: dict[str, str]) -> str:
    reasons = "; ".join(reason.rstrip(".") for reason in left_aside.values())
    return reasons or "all spectra are of one star"


def _listed(stars: str | Path | Sequence[KnownStar], model: Model) -> list[KnownStar]:
    """The stars; those in a table are read.

    Raises
    ------
    InputError
        Two spectra of one star have different labels.
    """
    if isinstance(stars, (str, Path)):
        stars = read_known_stars(stars, model.label_names)
    labels: dict[str, dict[str, tuple[float, float]]] = {}
    for one in stars:
        if labels.setdefault(one.star, one.labels) != one.labels:
            raise InputError(
                f"got spectra of {one.star} with {_in_words(labels[one.star])} and with "
                f"{_in_words(one.labels)}, expected the same labels for all spectra of a star; "
                "correct them, or its name."
            )
    return list(stars)


def _in_words(labels: dict[str, tuple[float, float]]) -> str:
    each = (f"{name} {value:g} ± {error:g}" for name, (value, error) in labels.items())
    return ", ".join(each) or "no labels"


def _star_list(known: list[KnownStar], left_aside: dict[str, str]) -> list[dict[str, Any]]:
    """Stars and literature as the model notes them: names of files without their folder."""
    return [
        {"star": one.star, "file": Path(one.name).name, "labels": {**one.labels}, **one.fixed}
        for name, one in _named(known)
        if name not in left_aside
    ]
