"""The lines of the model on the page: those in the window, their names, and maps of one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ...analysis.fisher import LineInformation, line_information
from ...analysis.identify import UNIDENTIFIED, Identification, available, identify
from ...lines.lines import Lines
from ...model.model import Model
from ...model.queries import label_mesh, line_over_labels, line_quantities, varying_labels
from ...runtime.arrays import Floats, Integers
from .state import ViewState

DEEP = 0.005
"""Least central depth of a visible line."""
NAMED = 0.02
"""Least central depth of a line that is named in the plot."""
MOST = 300
"""Greatest number of lines that are listed and named, the deepest."""
_MAP_POINTS = 41
"""Points of a map along each label."""


@dataclass(frozen=True, eq=False)
class VisibleLines:
    """Lines in the window, the deepest first.

    Attributes
    ----------
    index : (N,) int
        Their indices in `lines`.
    observed : (N,)
        Observed wavelengths, Å.
    depth : (N,)
        Central depths, each line alone.
    lines : Lines
        All lines of the model.
    """

    index: Integers
    observed: Floats
    depth: Floats
    lines: Lines

    def spaced(self, distance: float, count: int, first: int | None = None) -> Integers:
        """Positions of at most `count` lines that are `distance` (Å) apart, by falling depth.

        The line of index `first` is chosen before the others.
        """
        taken: dict[int, float] = {}
        chosen: list[int] = []

        def add(position: int) -> None:
            wavelength = float(self.observed[position])
            cell = int(wavelength // distance)
            near = (taken.get(cell + step, np.inf) for step in (-1, 0, 1))
            if all(abs(wavelength - other) >= distance for other in near):
                taken[cell] = wavelength
                chosen.append(position)

        if first is not None:
            for position in np.flatnonzero(self.index == first):
                add(int(position))
        for position in np.flatnonzero(self.depth >= NAMED):
            if len(chosen) == count:
                break
            add(int(position))
        return np.array(chosen, np.int64)

    def at(self, wavelength: float, reach: float) -> int | None:
        """Index of the deepest line within `reach` (Å), else of the nearest; None for no lines."""
        if not self.index.size:
            return None
        distance = np.abs(self.observed - wavelength)
        near = np.flatnonzero(distance <= reach)
        return int(self.index[near[0] if near.size else distance.argmin()])


def find_visible(model: Model, state: ViewState) -> VisibleLines:
    """The lines in the window that are at least `DEEP`, each alone."""
    lines = model.lines(**state.labels)
    observed = lines.center * state.doppler_factor
    depth = lines.central_depth(model.recipe.composition)
    low, high = state.window
    index = np.flatnonzero((observed >= low) & (observed <= high) & (depth >= DEEP))
    index = index[np.argsort(-depth[index], kind="stable")]
    return VisibleLines(index, observed[index], depth[index], lines)


class LineNames:
    """Identifications of lines at the node nearest to the labels, each computed once."""

    def __init__(self, model: Model):
        self.model = model
        self.possible = available() and "teff" in model.axes
        self._known: dict[tuple[float, ...], dict[int, Identification]] = {}

    def known(self, state: ViewState) -> Mapping[int, Identification]:
        """The identifications made so far, by index of the line."""
        return self._known.get(tuple(self._node(state).values()), {})

    def learn(self, state: ViewState, index: Sequence[int]) -> bool:
        """Identify those of the lines that are not known, and say if there were any.

        It takes seconds.
        """
        unknown = [i for i in index if i not in self.known(state)]
        if not unknown or not self.possible:
            return False
        node = self._node(state)
        found = identify(self.model, node, self.model.reference[unknown])
        named = dict(zip(map(int, unknown), found, strict=True))
        self._known.setdefault(tuple(node.values()), {}).update(named)
        return True

    def _node(self, state: ViewState) -> dict[str, float]:
        return {
            name: float(axis[np.abs(axis - state.labels[name]).argmin()])
            for name, axis in self.model.axes.items()
        }


def species_of(name: Identification | None) -> str:
    """The species of a line; empty if it is unknown."""
    return "" if name is None or name.best == UNIDENTIFIED else name.best


def information_at(model: Model, state: ViewState) -> LineInformation | None:
    """The information of the lines about the labels; None where no label varies."""
    if not varying_labels(model):
        return None
    observation = state.observation
    return line_information(
        model, state.labels, vsini=observation["vsini"], resolution=observation["resolution"]
    )


@dataclass(frozen=True, eq=False)
class LineMap:
    """One line over two labels: values (n, m) of each quantity at x (n,) and y (m,)."""

    first: str
    second: str
    x: Floats
    y: Floats
    values: Mapping[str, Floats]


def maps_of(model: Model, labels: Mapping[str, float], line: int) -> list[LineMap]:
    """Maps of a line over every pair of labels that vary, with the other labels fixed."""
    found = []
    for first, second in combinations(varying_labels(model), 2):
        x, y = (np.linspace(*model.bounds[name], _MAP_POINTS) for name in (first, second))
        params = line_over_labels(model, line, label_mesh(model, labels, {first: x, second: y}))
        found.append(
            LineMap(first, second, x, y, line_quantities(params.reshape(x.size, y.size, 4)))
        )
    return found
