"""Stars left out: their misfit and labels with changes of lines that the other stars teach.

Labels are found as `infer` finds them: pixels count less where the library differs from the other
stars (`stellar_mismatch.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...runtime.arrays import Floats
from ...runtime.progress import Progress, silent
from .joint import EnsembleFit, at_teff
from .observation import Predicted, fitted_alone
from .proposal import Proposal
from .trial import CalibrationTrial, LeftOut

FACTORS = (0.0, 0.25, 0.5, 1.0)
"""Factors of the changes of lines that are tried."""


def leave_stars_out(
    proposal: Proposal,
    weights: Sequence[Floats],
    times: tuple[float, ...] = FACTORS,
    progress: Progress = silent,
) -> tuple[CalibrationTrial, ...]:
    """Return trials of factors, with each star left out of the changes that it is fitted with.

    `weights` has those (Q,) of the pixels of each spectrum in the fit of its labels.
    """
    fit, changes = proposal.fit, proposal.fit.changes()
    at = [fit.position(number) for number in range(len(weights))]
    starts = [
        one.predicted(at_teff(changes, x))
        for one, x in zip(fit.ensemble.observations, at, strict=True)
    ]
    kinds = (False, True) if proposal.added.any() else (False,)
    tried = [CalibrationTrial(value, (), added) for added in kinds for value in times]
    trials = []
    for done, trial in enumerate(tried):
        progress("stars left out", done, len(tried))
        spectra = [
            _left_out(
                fit, start, at_teff(proposal.changes(trial, start.observation.star), x), *both
            )
            for start, x, *both in zip(starts, at, weights, fit.weights, strict=True)
        ]
        trials.append(replace(trial, spectra=tuple(spectra)))
    progress("stars left out", len(tried), len(tried))
    return tuple(trials)


def _left_out(
    fit: EnsembleFit, start: Predicted, changes: Floats, weight: Floats, of_misfit: Floats
) -> LeftOut:
    """The fit of a spectrum with weights (Q,), and its misfit by other weights (Q,)."""
    star = start.observation.star
    best, left = fitted_alone(start.observation, changes, weight, start)
    misfit = np.sqrt(np.sum(of_misfit * left**2) / max(int(np.count_nonzero(of_misfit)), 1))
    return LeftOut(star, best.labels(), dict(fit.ensemble.literature[star]), float(misfit))
