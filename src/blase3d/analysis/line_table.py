"""Table of the lines of a model at given labels, with the components of a line as one.

The profile of a strong line is not exactly that of one catalogue line: a model has several at
almost the same wavelength, most of which correct the core of a stronger one. They are shown as its
components.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..lines.lines import PARAMETERS, Lines
from ..model.model import Model
from ..runtime.arrays import Bools, Floats, Integers
from .fisher import LineInformation, line_information

_NEAR = 1.5
"""Greatest distance of a component from the centre of its line, in full widths at half maximum of
the line. Detection adds components up to there, next to cores that are saturated."""
_LESSER = 0.3
"""Greatest area of a component, relative to that of its line. Two similar lines are a blend."""


@dataclass(frozen=True)
class LineRow:
    """One line at given labels, its components included.

    Attributes
    ----------
    center, reference : float
        Centre of the strongest component, and the wavelength that names it, Å in vacuum.
    depth : float
        Depth at the centre, in units of the continuum.
    area, sigma, gamma : float
        Area of all components; Gaussian standard deviation and Lorentzian half width of the
        strongest, Å.
    slopes : dict of dict of float
        For each label, derivatives of the parameters of the strongest component
        (`lines.PARAMETERS`); of `ln_area`, that of the area of all.
    share : dict of float
        Share of the line in the information about each label.
    constrains : str
        The label of the largest share; empty for none.
    components : int
        Number of components.
    """

    center: float
    reference: float
    depth: float
    area: float
    sigma: float
    gamma: float
    slopes: dict[str, dict[str, float]]
    share: dict[str, float]
    constrains: str
    components: int = 1

    @property
    def d_ln_area(self) -> dict[str, float]:
        """Derivative of ln area with respect to each label."""
        return {name: slopes["ln_area"] for name, slopes in self.slopes.items()}


def line_table(
    model: Model, labels: Mapping[str, float], *, near: float | None = None, count: int = 15
) -> list[LineRow]:
    """The `count` deepest lines at given labels, or those nearest to `near` (Å, vacuum).

    They are in order of wavelength.

    Raises
    ------
    InputError
        `count` or `near` is not positive, or the model does not reach `near`.
    LabelError
        Labels are missing, unknown or outside the library.
    """
    if count < 1:
        raise InputError(f"got a count of {count} lines, expected one or more; correct it.")
    if near is not None and not 0.0 < near < np.inf:
        raise InputError(f"got lines near {near:g} Å, expected a positive wavelength; correct it.")
    low, high = model.wavelength[[0, -1]]
    if near is not None and not low <= near <= high:
        raise InputError(
            f"got lines near {near:g} Å, outside the model ({low:.0f} to {high:.0f} Å in vacuum); "
            "choose a wavelength inside, or another model."
        )
    found = line_information(model, labels)
    main = main_components(found.lines)
    heads = np.unique(main)
    order = -found.depth if near is None else np.abs(found.lines.center - near)
    chosen = heads[np.argsort(order[heads], kind="stable")[:count]]
    by_wavelength = chosen[np.argsort(found.lines.center[chosen], kind="stable")]
    composition = model.recipe.composition
    rows = []
    for i in by_wavelength.tolist():
        members = np.flatnonzero(main == i)
        depth = found.lines.take(members).depth_at(float(found.lines.center[i]), composition)
        rows.append(_row(found, i, members, depth))
    return rows


def main_components(lines: Lines) -> Integers:
    """Return for each line the index of the line that it is a component of: often itself, (N,)."""
    area, width = np.exp(lines.ln_area.astype(np.float64)), lines.fwhm
    by_center = np.argsort(lines.center, kind="stable")
    sorted_center = lines.center[by_center]
    main = np.full(len(lines), -1)
    for i in np.argsort(-area, kind="stable").tolist():
        if main[i] >= 0:
            continue
        main[i] = i
        reach = _NEAR * width[i]
        ends = np.searchsorted(sorted_center, (lines.center[i] - reach, lines.center[i] + reach))
        near = by_center[slice(*ends)]
        main[near[(main[near] < 0) & (area[near] <= _LESSER * area[i])]] = i
    return main


def main_lines(model: Model, labels: Mapping[str, float], added: Bools) -> Integers:
    """Return `main_components` of the lines of a model at some labels, (C,).

    Lines that were `added` (C,) to those of the library are no components of others, and have none.
    """
    main, library = np.arange(added.size), np.flatnonzero(~added)
    main[library] = library[main_components(model.lines(**labels).take(library))]
    return main


def _row(found: LineInformation, i: int, members: Integers, depth: float) -> LineRow:
    """The row of line `i`, of which lines `members` are the components."""
    lines = found.lines
    area = np.exp(lines.ln_area[members].astype(np.float64))
    slopes = {
        name: dict(zip(PARAMETERS, map(float, column), strict=True))
        | {"ln_area": _mean(found.slopes[members, 1, k], area)}
        for k, (name, column) in enumerate(zip(found.label_names, found.slopes[i].T, strict=True))
    }
    share = dict(zip(found.names, found.share[members].sum(axis=0).tolist(), strict=True))
    most = max(share, key=lambda name: share[name])
    return LineRow(
        center=float(lines.center[i]),
        reference=float(lines.reference[i]),
        depth=depth,
        area=float(area.sum()),
        sigma=float(lines.sigma[i]),
        gamma=float(lines.gamma[i]),
        slopes=slopes,
        share=share,
        constrains=most if share[most] > 0 else "",
        components=len(members),
    )


def _mean(values: Floats, weight: Floats) -> float:
    """Mean weighted by area; without area, the mean."""
    return float(np.average(values, weights=weight if weight.sum() > 0 else None))
