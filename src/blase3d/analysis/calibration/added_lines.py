"""Missing lines as lines of the model, with a strength over the labels.

A line begins as a copy of a line of the model: of the nearest one among those whose areas in the
stars behave like its own. Where the list of transitions identifies it (`identify`), its strength
over the labels is that of the transition instead. The joint fit then changes it like all lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...model.line_grid import LineGrid, joined, total_of
from ...model.model import Model
from ...model.queries import label_mesh
from ...runtime.arrays import Bools, Floats, Integers
from .. import identify
from .missing_lines import MissingLines

_WITHIN = 60.0
"""Distance (Å) within which a line is copied."""
_FAINTEST, _DEEPEST = 0.01, 0.7
"""Central depths of the lines that are copied: areas of saturated lines follow other laws."""
_NARROWEST = 0.5
"""Least width of a line that is copied, in the median: components of a profile are narrower."""
_STRONGER = 2.5
"""ln of the area of an added line above the largest in the stars, at most: beyond their labels
strengths are extrapolated."""
_SATURATION = 0.1
"""Relative error of an equivalent width as the area of a line."""


def with_added_lines(model: Model, missing: MissingLines) -> tuple[Model, Bools]:
    """Return the model with the missing lines, and which of its lines these are."""
    labels = [dict(zip(model.label_names, row, strict=True)) for row in missing.labels.tolist()]
    in_stars = [model.lines(**each) for each in labels]
    area = np.exp([lines.ln_area for lines in in_stars])
    depth = np.max([lines.central_depth(model.recipe.composition) for lines in in_stars], axis=0)
    width = np.array([lines.fwhm for lines in in_stars]).min(axis=0)
    usable = (depth > _FAINTEST) & (depth < _DEEPEST)
    usable = np.flatnonzero(usable & (width > _NARROWEST * np.median(width[usable])))
    copied, factor = _alike(missing, area[:, usable], model.reference[usable])
    grid = _copies(model.line_grid, usable[copied], missing.center, factor, in_stars[0].center)
    extended, added = _joined(model, grid)
    if identify.available() and "teff" in model.axes:
        extended = _with_courses_of_transitions(extended, added, labels[0])
    return _limited(extended, added, labels), added


def _alike(missing: MissingLines, area: Floats, reference: Floats) -> tuple[Integers, Floats]:
    """For each missing line the line, of areas (S, n) in the stars, that it resembles, and the
    factor between their areas."""
    variance = missing.error**2 + (_SATURATION * missing.area) ** 2
    weight = 1.0 / variance
    data = weight * missing.area
    square = weight.T @ area**2
    factor = np.maximum(data.T @ area, 1e-3 * np.sqrt(square)) / square
    misfit = (data * missing.area).sum(axis=0)[:, None] - square * factor**2
    distance = np.abs(missing.center[:, None] - reference)
    far = distance > np.maximum(_WITHIN, distance.min(axis=1, keepdims=True))
    misfit = np.where(far, np.inf, misfit)
    alike = misfit <= misfit.min(axis=1, keepdims=True) + 1.0
    found = np.where(alike, distance, np.inf).argmin(axis=1)
    return found, factor[np.arange(found.size), found]


def _copies(
    lines: LineGrid, which: Integers, center: Floats, factor: Floats, at: Floats
) -> LineGrid:
    """Lines `which` moved from `at` (C,) to other centres (A,), with areas times a factor (A,)."""
    found = lines.take(which)
    base = found.base.copy()
    base[:, 0] -= at[which] - found.reference
    base[:, 1] += np.log(factor)
    return replace(found, reference=center, base=base)


def _joined(model: Model, more: LineGrid) -> tuple[Model, Bools]:
    lines = model.line_grid
    together = np.concatenate([lines.reference, more.reference])
    added = np.argsort(together, kind="stable") >= len(lines)
    return replace(model, line_grid=joined([lines, more])), added


def _limited(model: Model, added: Bools, labels: Sequence[dict[str, float]]) -> Model:
    """The model with added lines that are nowhere stronger by far than in the stars at `labels`."""
    grid = model.line_grid
    at_nodes = grid.at(model.basis)[:, added, 1].astype(np.float64)
    most = np.max([model.lines(**each).ln_area[added] for each in labels], axis=0) + _STRONGER
    beyond = (at_nodes > most).any(axis=0)
    numbers, limited = np.flatnonzero(added)[beyond], np.minimum(at_nodes, most)[:, beyond]
    return _with_ln_area(model, numbers, limited) if beyond.any() else model


def _with_ln_area(model: Model, numbers: Integers, ln_area: Floats) -> Model:
    """The model with lines of some `numbers` whose ln areas at the nodes are (box, n)."""
    grid, count = model.line_grid, model.forward.smooth_count
    area, functions = grid.area.copy(), model.basis[:, :count]
    total = total_of(ln_area - grid.base[numbers, 1], grid.root)
    area[:, numbers] = 0.0
    area[:count, numbers] = np.linalg.lstsq(functions, total, rcond=None)[0]
    return replace(model, line_grid=replace(grid, area=area))


def _with_courses_of_transitions(model: Model, added: Bools, labels: dict[str, float]) -> Model:
    """The model with the strengths of identified lines as the transitions let expect."""
    numbers = np.flatnonzero(added)
    found = identify.identify(model, labels, model.reference[numbers])
    nodes = dict(zip(model.axes, label_mesh(model, labels, model.axes).T, strict=True))
    courses = {
        number: course
        for number, one in zip(numbers, found, strict=True)
        if (course := identify.course_of(one, labels, nodes)) is not None
    }
    if not courses:
        return model
    known, changes = np.array(list(courses)), np.stack(list(courses.values()), axis=1)
    return _with_ln_area(model, known, model.lines(**labels).ln_area[known] + changes)
