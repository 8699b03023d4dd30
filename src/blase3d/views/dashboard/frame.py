"""The picture of a window: everything that follows the sliders, computed outside of the page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .curves import Floats, shown, stretch_of
from .model_parts import Pieces
from .observed import Drawn, Observed, drawn
from .settings import Settings, Window
from .visible_lines import InView, Names, in_view, species_of

_NAME_WIDTH = 15
"""Pixels of the screen between names at the least."""
_FEWEST_NAMES, _MOST_NAMES = 1, 120
_EDGES = 0.001
"""Part of the observed pixels that may lie beyond either edge of the picture."""


@dataclass(frozen=True, eq=False)
class Picture:
    """What is drawn.

    Attributes
    ----------
    settings : Settings
        Of what.
    x, flux : (K,)
        The model: Å, and in units of the continuum.
    star : Drawn or None
        The observation.
    lines : InView
        The lines in the window.
    named : (N,) int
        Places in `lines` of those that are named.
    names : list of str
        Their names: species and wavelength at rest (Å, vacuum), or that alone.
    y : (low, high)
        Range of the flux.
    """

    settings: Settings
    x: Floats
    flux: NDArray[np.float32]
    star: Drawn | None
    lines: InView
    named: NDArray[np.int64]
    names: list[str]
    y: Window


def make_picture(
    pieces: Pieces,
    names: Names,
    settings: Settings,
    star: Observed | None = None,
    line: int | None = None,
) -> Picture:
    """The picture of the model, and of an observation, as it is set; `line` is sure of its name."""
    piece = pieces.best(settings.window)
    own, flux = piece.model.wavelength, piece.flux(settings)
    part = stretch_of(own, settings.window)
    kept = part.start + shown(flux[part], settings.columns)
    seen = None if star is None else drawn(star, own, flux, settings)
    lines = in_view(pieces.model, settings)
    named = _named(lines, settings, line)
    return Picture(
        settings,
        own[kept],
        flux[kept],
        seen,
        lines,
        named,
        name_texts(lines, named, names, settings),
        _range(flux[part], seen),
    )


def _named(lines: InView, settings: Settings, line: int | None) -> NDArray[np.int64]:
    low, high = settings.window
    count = int(np.clip(settings.columns / _NAME_WIDTH, _FEWEST_NAMES, _MOST_NAMES))
    distance = _NAME_WIDTH * (high - low) / settings.columns
    places = lines.spaced(distance, count, line)
    seen = lines.seen[places]
    return places[(seen > low + distance / 2) & (seen < high - distance / 2)]


def name_texts(
    lines: InView, places: NDArray[np.int64], names: Names, settings: Settings
) -> list[str]:
    """Names of lines at places of the view."""
    known = names.known(settings)
    pairs = [(int(i), lines.lines.center[i]) for i in lines.index[places]]
    return [f"{_short(species_of(known.get(i)))} {center:.2f}".strip() for i, center in pairs]


def _short(species: str) -> str:
    """A species, or the stronger of a blend."""
    first, plus, _ = species.partition(" + ")
    return f"{first} bl" if plus else first


def _range(flux: NDArray[np.float32], star: Drawn | None) -> Window:
    """The range of flux in tenths: it stays while lines change a little."""
    low, high = float(flux.min()), max(float(flux.max()), 1.0)
    if star is not None and np.isfinite(star.flux).any():
        edges = np.nanquantile(star.flux, [_EDGES, 1.0 - _EDGES])
        low, high = min(low, float(edges[0])), max(high, float(edges[1]))
    return float(np.floor(10 * low - 0.3) / 10), float(np.ceil(10 * high + 0.3) / 10)
