"""One frame of the page: all curves and names that follow the sliders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import Floats, Integers
from .compiled_model import CompiledModel
from .screen import thin_for_screen, window_slice
from .star import ShownStar, StarCurves, star_curves
from .state import Interval, ViewState
from .visible_lines import LineNames, VisibleLines, find_visible, species_of

_NAME_WIDTH = 15
"""Least distance between names, pixels of the screen."""
_FEWEST_NAMES, _MOST_NAMES = 1, 120
_CLIPPED = 0.001
"""Fraction of the observed pixels that may lie beyond either end of the flux axis."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    Attributes
    ----------
    state : ViewState
        The state that it shows.
    x, flux : (K,)
        The model: Å, and units of the continuum.
    star : StarCurves or None
        The observation.
    lines : VisibleLines
        The lines in the window.
    named : (N,) int
        Positions in `lines` of those that are named.
    names : list of str
        Their names: species and wavelength at rest (Å, vacuum), or the wavelength alone.
    y : (low, high)
        Range of the flux axis.
    """

    state: ViewState
    x: Floats
    flux: NDArray[np.float32]
    star: StarCurves | None
    lines: VisibleLines
    named: Integers
    names: list[str]
    y: Interval


def make_frame(
    compiled: CompiledModel,
    names: LineNames,
    state: ViewState,
    star: ShownStar | None = None,
    line: int | None = None,
) -> Frame:
    """The model, and an observation, at a state of the page; `line` is named in any case."""
    pixels, flux = compiled.flux(state)
    here = window_slice(pixels, state.window)
    kept = here.start + thin_for_screen(flux[here], state.columns)
    curves = None if star is None else star_curves(star, pixels, flux, state)
    lines = find_visible(compiled.model, state)
    named = _named(lines, state, line)
    return Frame(
        state,
        pixels[kept],
        flux[kept],
        curves,
        lines,
        named,
        name_texts(lines, named, names, state),
        _flux_range(flux[here], curves),
    )


def _named(lines: VisibleLines, state: ViewState, line: int | None) -> Integers:
    low, high = state.window
    count = int(np.clip(state.columns / _NAME_WIDTH, _FEWEST_NAMES, _MOST_NAMES))
    distance = _NAME_WIDTH * (high - low) / state.columns
    chosen = lines.spaced(distance, count, line)
    observed = lines.observed[chosen]
    return chosen[(observed > low + distance / 2) & (observed < high - distance / 2)]


def name_texts(
    lines: VisibleLines, chosen: Integers, names: LineNames, state: ViewState
) -> list[str]:
    """Names of lines, given by their positions in `lines`."""
    known = names.known(state)
    pairs = [(int(i), lines.lines.center[i]) for i in lines.index[chosen]]
    return [f"{_short(species_of(known.get(i)))} {center:.2f}".strip() for i, center in pairs]


def _short(species: str) -> str:
    """A species, or the stronger one of a blend."""
    first, plus, _ = species.partition(" + ")
    return f"{first} bl" if plus else first


def _flux_range(flux: NDArray[np.float32], star: StarCurves | None) -> Interval:
    """The range of the flux in tenths, so that it stays while lines change a little."""
    low, high = float(flux.min()), max(float(flux.max()), 1.0)
    if star is not None and np.isfinite(star.flux).any():
        ends = np.nanquantile(star.flux, [_CLIPPED, 1.0 - _CLIPPED])
        low, high = min(low, float(ends[0])), max(high, float(ends[1]))
    return float(np.floor(10 * low - 0.3) / 10), float(np.ceil(10 * high + 0.3) / 10)
