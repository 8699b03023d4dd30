"""Changes of lines and added lines that the stars ask for, of which a model has as many as help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...model.line_calibration import LineCalibration
from ...model.mismatch import Mismatch
from ...model.model import Model
from ...model.queries import label_mesh
from ...runtime.arrays import Bools, Floats, Integers
from ...runtime.progress import Progress, silent
from .added_lines import with_added_lines
from .changes import in_angstroms, slope_coefficients
from .joint import Ensemble, EnsembleFit, ensemble_of, fitted
from .missing_lines import MissingLines, unmodelled_lines
from .trial import CalibrationTrial

_NOTHING = -12.0
"""Change of ln area of an added line that is left out."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """The joint fit of all stars, and what the others teach of each star.

    Attributes
    ----------
    library, extended : Model
        The model with the C lines of its library, and with A added ones as well.
    fit : EnsembleFit
        The joint fit of the lines of `extended`.
    missing : MissingLines
        The A added lines.
    without : dict of (C + A, 4)
        For each star, the changes that the others teach, and the slopes of the first over Teff.
    """

    library: Model
    extended: Model
    fit: EnsembleFit
    missing: MissingLines
    without: dict[str, Floats]

    @property
    def added(self) -> Bools:
        """(C + A,) Whether a line was added."""
        return self.fit.ensemble.added

    @property
    def in_full(self) -> CalibrationTrial:
        """All changes and added lines."""
        return CalibrationTrial(1.0, (), bool(self.added.any()))

    def changes(self, trial: CalibrationTrial, without: str | None = None) -> Floats:
        """Changes (C + A, 4) of the lines as in a trial, from all stars or `without` one.

        An added line that the other stars do not show is left out.
        """
        taught = self.fit.changes() if without is None else self.without[without]
        found = np.where(self.added[:, None], taught, trial.times * taught)
        shown = self.missing.shown(without) & trial.added
        found[np.flatnonzero(self.added)[~shown], 0] = _NOTHING
        return found

    def lines(
        self, trial: CalibrationTrial, without: str | None = None
    ) -> tuple[Floats, Floats, Integers]:
        """`changes` and errors of the lines that a model has after a trial, and the numbers of
        stars that constrain them."""
        kept = trial.added | ~self.added
        sigma, stars = self.fit.sigma(trial.times), self.fit.stars_per_line()
        return self.changes(trial, without)[kept], sigma[kept], stars[kept]

    def calibrated(
        self, trial: CalibrationTrial, mismatch: Mismatch | None = None, without: str | None = None
    ) -> Model:
        """The model with its lines as in a trial, which says how well they are known."""
        model = self.extended if trial.added else self.library
        changes, sigma, stars = self.lines(trial, without)
        in_model, uncertain = (
            in_angstroms(each, model.reference, slice(None)).astype(np.float32)
            for each in (changes, sigma)
        )
        calibration = LineCalibration(
            in_model,
            uncertain,
            stars.astype(np.int32),
            mismatch,
            self.added if trial.added else None,
            self._slopes(model, changes[:, 3]),
        )
        lines = calibration.applied(model.line_grid)
        return replace(model.with_lines(lines), calibration=calibration)

    def _slopes(self, model: Model, slopes: Floats) -> NDArray[np.float32] | None:
        if self.fit.teff is None:
            return None
        teff = label_mesh(model, {}, model.axes)[:, model.label_names.index("teff")]
        return slope_coefficients(model, slopes, self.fit.teff.position(teff))


def proposal_of(
    ensemble: Ensemble, model: Model, widths: Sequence[float], progress: Progress = silent
) -> Proposal:
    """Return what the stars of an ensemble ask of a model; `widths` (Å) are those of lines in their
    spectra."""
    fit, extended = fitted(ensemble, tuple(widths), progress), model
    missing = unmodelled_lines(fit, widths)
    if missing.center.size:
        extended, added = with_added_lines(model, missing)
        observations = tuple(one.on(extended) for one in fit.ensemble.observations)
        literature, scales = ensemble.literature, ensemble.scales
        ensemble = ensemble_of(observations, literature, extended, scales, added)
        fit = fitted(ensemble, tuple(widths), progress)
    without = {star: fit.without(star) for star in ensemble.stars}
    return Proposal(model, extended, fit, missing, without)
