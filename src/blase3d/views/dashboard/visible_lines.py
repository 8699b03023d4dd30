"""The lines of the model as the page shows them: which are in view, who they are, and one of them
over the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ...analysis.fisher import LineInformation, central_depth, line_information
from ...analysis.identify import UNIDENTIFIED, Identification, available, identify
from ...lines.lines import Lines
from ...model.model import Model
from ..figures.model_queries import course, plane, quantities, varying
from .settings import Settings

Floats = NDArray[np.float64]

DEEP = 0.005
"""Least central depth of lines that are in view."""
NAMED = 0.02
"""Least central depth of lines that are named in the picture."""
MOST = 300
"""Lines that are listed and named, the deepest."""
_FINE = 41
"""Points of a map along each label."""


@dataclass(frozen=True, eq=False)
class InView:
    """Lines within the window, the deepest first: indices, centres as observed (Å), depths, (N,),
    and all lines of the model."""

    index: NDArray[np.int64]
    seen: Floats
    depth: Floats
    lines: Lines

    def spaced(self, distance: float, count: int, first: int | None = None) -> NDArray[np.int64]:
        """Places of the deepest that stand `distance` (Å) apart, at most so many, for names; that
        of index `first` goes before them."""
        taken: dict[int, float] = {}
        chosen: list[int] = []

        def add(place: int) -> None:
            at = float(self.seen[place])
            cell = int(at // distance)
            beside = (taken.get(cell + step, np.inf) for step in (-1, 0, 1))
            if all(abs(at - other) >= distance for other in beside):
                taken[cell] = at
                chosen.append(place)

        if first is not None:
            for place in np.flatnonzero(self.index == first):
                add(int(place))
        for place in np.flatnonzero(self.depth >= NAMED):
            if len(chosen) == count:
                break
            add(int(place))
        return np.array(chosen, np.int64)

    def at(self, wavelength: float, reach: float) -> int | None:
        """Index of the deepest line within `reach` (Å), else of the nearest; None if there is
        none in view."""
        if not self.index.size:
            return None
        away = np.abs(self.seen - wavelength)
        near = np.flatnonzero(away <= reach)
        return int(self.index[near[0] if near.size else away.argmin()])


def in_view(model: Model, settings: Settings) -> InView:
    """The lines that by themselves absorb at least `DEEP` in the window."""
    lines = model.lines(**settings.labels)
    seen = lines.center * settings.stretch
    depth = central_depth(lines, model.recipe.composition)
    low, high = settings.window
    index = np.flatnonzero((seen >= low) & (seen <= high) & (depth >= DEEP))
    index = index[np.argsort(-depth[index], kind="stable")]
    return InView(index, seen[index], depth[index], lines)


class Names:
    """Who lines are, as far as it is known: at the node nearest to the labels, each told once."""

    def __init__(self, model: Model):
        self.model = model
        self.possible = available() and "teff" in model.axes
        self._known: dict[tuple[float, ...], dict[int, Identification]] = {}

    def known(self, settings: Settings) -> Mapping[int, Identification]:
        """By index of the line."""
        return self._known.get(tuple(self._node(settings).values()), {})

    def learn(self, settings: Settings, index: Sequence[int]) -> bool:
        """Identify those of these lines that are not known; whether there were any. It takes
        seconds."""
        unknown = [i for i in index if i not in self.known(settings)]
        if not unknown or not self.possible:
            return False
        node = self._node(settings)
        found = identify(self.model, node, self.model.reference[unknown])
        named = dict(zip(map(int, unknown), found, strict=True))
        self._known.setdefault(tuple(node.values()), {}).update(named)
        return True

    def _node(self, settings: Settings) -> dict[str, float]:
        return {
            name: float(axis[np.abs(axis - settings.labels[name]).argmin()])
            for name, axis in self.model.axes.items()
        }


def species_of(name: Identification | None) -> str:
    """The species of a line; empty where it is not known."""
    return "" if name is None or name.best == UNIDENTIFIED else name.best


def information(model: Model, settings: Settings) -> LineInformation | None:
    """What the lines tell of the labels, seen as it is set; None where no label varies."""
    if not varying(model):
        return None
    sight = settings.sight
    return line_information(
        model, settings.labels, vsini=sight["vsini"], resolution=sight["resolution"]
    )


@dataclass(frozen=True, eq=False)
class Map:
    """One line over two labels: values (n, m) of each quantity at x (n,) and y (m,)."""

    first: str
    second: str
    x: Floats
    y: Floats
    values: Mapping[str, Floats]


def maps_of(model: Model, labels: Mapping[str, float], line: int) -> list[Map]:
    """A line over every pair of labels that vary, the others as they are."""
    found = []
    for first, second in combinations(varying(model), 2):
        x, y = (np.linspace(*model.bounds[name], _FINE) for name in (first, second))
        params = course(model, line, plane(model, labels, first, x, second, y))
        found.append(Map(first, second, x, y, quantities(params.reshape(x.size, y.size, 4))))
    return found
