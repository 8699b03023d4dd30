"""The most probable changes of single lines, given one observed spectrum and a prior.

Line l of a model is changed by

    (δ ln a, δ shift, δ ln width)_l = s_l ∘ (t u_l + F_l V),      u, V ~ N(0, 1)

with s the typical errors of a line (`Scales`), t a factor, and F_l = (1, d_l) with d_l the depth of
the line. V is common to all lines, e.g. a different microturbulence: it is determined by many lines
and also holds for masked ones. The parameters of the star are fixed, the continuum is solved for.
The normal equations are those of the calibration with many stars (`calibration.information`), and
so is their solution; pixels can be taken out of them again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ...model.model import Model
from ...runtime.arrays import Bools, Floats
from ..calibration.cells import Cells, LineGroups, cells_of
from ..calibration.changes import LEAST_ERROR, in_angstroms
from ..calibration.information import Information, Unknowns, Window, information_of, windows_of
from ..calibration.observation import Observation, Predicted

_FAINTEST = 1e-3
"""Least central depth of lines that are changed."""
_OUTLIER = 6.0
"""Residual of the tuned model, in errors, beyond which a pixel gets less weight: lines that are
missing in the model."""
_STEPS = 3
"""Linearisations."""


@dataclass(frozen=True, eq=False)
class TuningProblem:
    """A star whose lines can be changed.

    Attributes
    ----------
    observation : Observation
        The spectrum with the parameters of the star.
    lines : LineGroups
        The n lines that can change, each a group by itself.
    cells : Cells
        The lines in cells.
    patterns : (3 n, 6)
        Changes that lines have in common.
    scale : (3,)
        Typical errors of the lines.
    error : (Q,)
        Errors of the pixels, in units of the computation.
    """

    observation: Observation
    lines: LineGroups
    cells: Cells
    patterns: Floats
    scale: Floats
    error: Floats

    @classmethod
    def of(
        cls, observation: Observation, model: Model, scale: Floats, error: Floats
    ) -> TuningProblem:
        """The problem of an observation, for the whole model."""
        depth = observation.depths()
        deep = depth > _FAINTEST
        chosen, depth = observation.lines[deep], depth[deep]
        groups = LineGroups(chosen, np.arange(chosen.size + 1))
        cells = cells_of(observation.model.wavelength, model.reference[chosen])
        patterns = np.zeros((chosen.size, 3, 3, 2))
        for k in range(3):
            patterns[:, k, k] = np.stack([np.ones_like(depth), depth], axis=1)
        flat = patterns.reshape(3 * chosen.size, 6)
        return cls(observation, groups, cells, flat, scale, error)

    def solved(self, information: Information, times: float) -> Unknowns:
        """The most probable unknowns, for errors of single lines times a factor."""
        single = np.maximum(times * self.scale, LEAST_ERROR) ** -2.0
        common = np.repeat(self.scale**-2.0, 2)
        continuum = len(information.dense) - common.size
        precision = np.concatenate([common, np.full(continuum, 1e-12)])
        nothing = np.zeros(precision.size)
        return information.solved(np.tile(single, len(self.lines)), precision, nothing)

    def changes(self, lines: Floats, common: Floats, count: int) -> Floats:
        """Changes (C, 3) of all `count` lines, in ln, km/s and ln."""
        found = np.zeros((count, 3))
        found[self.lines.members] = (lines + self.patterns @ common).reshape(-1, 3)
        return found


@dataclass(frozen=True, eq=False)
class Linearised:
    """A tuning problem linearised about some changes.

    Attributes
    ----------
    problem : TuningProblem
        The problem.
    prediction : Predicted
        The flux with the changes.
    windows : tuple of Window
        Its derivatives.
    weight : (Q,)
        Weights of the pixels.
    present : (3 n,), (6,)
        The changes: of single lines, and common ones.
    """

    problem: TuningProblem
    prediction: Predicted
    windows: tuple[Window, ...]
    weight: Floats
    present: tuple[Floats, Floats]

    def information(self, used: Bools | None = None) -> Information:
        """The information of all pixels, or of those used (Q,)."""
        weight = self.weight if used is None else self.weight * used
        # derivatives belong to one continuum, whatever pixels are used
        return information_of(
            self.prediction,
            self.windows,
            self.problem.cells,
            weight,
            self.problem.patterns,
            self.present,
            self.continuum,
        )

    @cached_property
    def continuum(self) -> Floats:
        """Coefficients of the continuum, from all pixels."""
        return self.prediction.continuum(self.weight)

    def residual(self, estimate: Unknowns) -> Floats:
        """Data minus model (Q,), in units of the continuum, with unknowns of a solution."""
        prediction, observation = self.prediction, self.prediction.observation
        level = prediction.level(self.continuum)
        lines = estimate.lines - self.present[0]
        common = estimate.dense[: len(self.present[1])] - self.present[1]
        moved = lines + self.problem.patterns @ common
        by_lines = np.zeros(level.size)
        for window in self.windows:
            rows = slice(3 * window.lines.start, 3 * window.lines.stop)
            by_lines[window.pixels] = window.slopes @ moved[rows]
        of_continuum = observation.basis @ estimate.dense[len(self.present[1]) :]
        left = observation.flux / level - prediction.flux - by_lines
        return left - of_continuum * prediction.flux / level


def linearised(problem: TuningProblem, present: tuple[Floats, Floats], count: int) -> Linearised:
    """Return a problem linearised about some changes, for a whole model of `count` lines.

    Pixels that the changed lines miss by far have less weight.
    """
    observation = problem.observation
    found = observation.predicted(problem.changes(*present, count))
    prediction = replace(found, slopes=found.slopes[:0])  # the parameters are fixed
    weight = problem.error**-2.0
    if present[0].any():
        left = observation.flux - prediction.level(prediction.continuum(weight)) * prediction.flux
        distance = np.abs(left) / problem.error
        weight = weight * np.minimum(_OUTLIER / np.maximum(distance, 1e-12), 1.0) ** 2
    windows = tuple(windows_of(prediction, problem.cells, problem.lines))
    return Linearised(problem, prediction, windows, weight, present)


def most_probable(
    problem: TuningProblem, times: float, count: int, steps: int = _STEPS
) -> tuple[Floats, Floats]:
    """Return the most probable changes of single lines (3 n,) and common ones (6,)."""
    present = np.zeros(3 * len(problem.lines)), np.zeros(problem.patterns.shape[1])
    for _ in range(steps):
        at = linearised(problem, present, count)
        estimate = problem.solved(at.information(), times)
        present = estimate.lines, estimate.dense[: len(present[1])]
    return present


def tuned_changes(problem: TuningProblem, present: tuple[Floats, Floats], model: Model) -> Floats:
    """Return changes (C, 3) of the lines of the whole model, in ln, Å and ln."""
    changes = problem.changes(*present, len(model.reference))
    return in_angstroms(changes, model.reference, slice(None))
