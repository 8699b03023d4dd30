"""Plots of an answer: spectrum, model and residual, order by order.

Curves are in units of the fitted continuum. matplotlib is imported when something is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import median_filter

from ..errors import InputError
from ..runtime.arrays import Bools, Floats, Integers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .result import Inference


DATA, MODEL, RESIDUAL, ERROR = "#000000", "#D55E00", "#6E6E6E", "#0072B2"
OUTLIER, UNUSED = "#A0307A", "#E8E8E8"
"""Colours of curves, of pixels of reduced weight, and of ranges without a used pixel."""
_WIDTH, _HEIGHT = 7.1, 2.8
"""Size of the two panels of an order, inches: the width of a page."""
_GAP = 1.6
"""Steps longer than this many typical steps are gaps, which curves do not bridge."""
_NEIGHBOURS = 9
"""Steps whose median is the typical step."""
_FAINT = 0.01
"""Smallest continuum to divide by, in units of its median: lower values are replaced by that."""


@dataclass(frozen=True, eq=False)
class Section:
    """The used pixels of one echelle order, or of a spectrum without orders.

    Attributes
    ----------
    order : int or None
        Number of the order.
    wavelength : (Q,)
        Å in vacuum, as observed; increasing.
    flux, model, error : (Q,)
        In units of the continuum.
    outlier : (Q,) bool
        Pixels of reduced weight.
    gap_before : (Q,) bool
        Pixels that follow a gap in wavelength, where curves are interrupted.
    """

    order: int | None
    wavelength: Floats
    flux: Floats
    model: Floats
    error: Floats
    outlier: Bools
    gap_before: Bools

    @property
    def residual(self) -> Floats:
        """Flux minus model (Q,)."""
        return self.flux - self.model

    def within(self, window: tuple[float, float]) -> Section:
        """The section cut to a range of wavelengths (Å)."""
        inside = (self.wavelength >= window[0]) & (self.wavelength <= window[1])
        return self.take(np.flatnonzero(inside))

    def take(self, kept: Integers) -> Section:
        """The section at some of its pixels, in their order; gaps between them remain."""
        return Section(
            self.order,
            self.wavelength[kept],
            self.flux[kept],
            self.model[kept],
            self.error[kept],
            self.outlier[kept],
            np.diff(np.cumsum(self.gap_before)[kept], prepend=0) > 0,
        )


def sections(inference: Inference) -> list[Section]:
    """The orders of an answer, in the order of their numbers, window after window."""
    if inference.windows:
        return [section for window in inference.windows for section in sections(window.fit)]
    continuum = positive_continuum(inference)
    weight = inference.weight
    order = inference.order
    numbers = [None] if order is None else [int(number) for number in np.unique(order)]
    found = []
    for number in numbers:
        pixels = slice(None) if number is None else order == number
        wavelength = inference.wavelength[pixels]
        level = continuum[pixels]
        found.append(
            Section(
                number,
                wavelength,
                inference.flux[pixels] / level,
                inference.model[pixels] / level,
                inference.error[pixels] / level,
                np.zeros(wavelength.size, bool) if weight is None else weight[pixels] < 1.0,
                np.append(False, gaps(wavelength)),
            )
        )
    return found


def positive_continuum(inference: Inference) -> Floats:
    """The fitted continuum (Q,), with its median where it is not clearly positive.

    An answer without a continuum is taken as normalised.
    """
    if inference.continuum is None:
        return np.ones_like(inference.flux)
    typical = float(np.median(np.abs(inference.continuum))) or 1.0
    return np.where(inference.continuum > _FAINT * typical, inference.continuum, typical)


def gaps(wavelength: Floats) -> Bools:
    """Whether each step (Q − 1,) is longer than its neighbours: pixels are missing there."""
    return np.diff(wavelength) > _GAP * typical_steps(wavelength)


def typical_steps(wavelength: Floats) -> Floats:
    """Median step (Å) around each step (Q − 1,)."""
    steps = np.diff(wavelength)
    if steps.size < 2:
        return steps
    return median_filter(steps, min(_NEIGHBOURS, steps.size), mode="nearest")


def plot_inference(inference: Inference, window: tuple[float, float] | None = None) -> Figure:
    """Draw spectrum, model and residual, with a pair of panels for each order.

    Parameters
    ----------
    inference : Inference
        The answer.
    window : (low, high), optional
        Range of wavelengths (Å); all pixels if None.

    Raises
    ------
    InputError
        No pixel lies in the window.
    """
    from matplotlib.figure import Figure

    shown = sections(inference)
    if window is not None:
        shown = [section.within(window) for section in shown]
    shown = [section for section in shown if section.wavelength.size]
    if not shown:
        raise InputError(f"got the window {window}, expected one that holds pixels; choose one.")
    figure = Figure(figsize=(_WIDTH, _HEIGHT * len(shown)), layout="constrained")
    rows = figure.subfigures(len(shown), 1, squeeze=False)[:, 0]
    for row, section in zip(rows, shown, strict=True):
        upper, lower = row.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        draw_section(upper, lower, section)
        for axes in (upper, lower):
            shade(axes, _gaps_of(section))
        set_limits(upper, lower, [section])
        if section.order is not None:
            upper.set_title(f"order {section.order}", fontsize="medium")
        upper.set_ylabel("Flux / continuum")
        lower.set_ylabel("Residual")
    lower.set_xlabel("Wavelength in vacuum (Å)")
    return figure


def draw_section(upper: Axes, lower: Axes, section: Section) -> None:
    """Draw flux and model into one panel, and residual with errors into another below it."""
    curves = ((upper, section.flux, DATA), (upper, section.model, MODEL))
    for axes, values, colour in (*curves, (lower, section.residual, RESIDUAL)):
        axes.plot(*_broken(section, values), color=colour, linewidth=0.8)
    lower.axhline(0.0, color=MODEL, linewidth=0.8)
    for sign in (-1.0, 1.0):
        error = _broken(section, sign * section.error)
        lower.plot(*error, color=ERROR, linewidth=0.8, linestyle=(0, (5, 4)))
    odd = section.outlier
    for axes, values in ((upper, section.flux), (lower, section.residual)):
        axes.plot(section.wavelength[odd], values[odd], ".", color=OUTLIER, markersize=4.0)


def set_limits(upper: Axes, lower: Axes, shown: Sequence[Section], room: float = 0.06) -> None:
    """Fit the flux axes to sections, with `room` (fraction of the range) above the curves."""
    both = np.concatenate([values for one in shown for values in (one.flux, one.model)])
    low, high = np.percentile(both, [0.1, 99.9])
    span = float(high - low) or 1.0
    upper.set_ylim(low - 0.06 * span, high + room * span)
    residual = np.concatenate([np.abs(one.residual) for one in shown])
    error = np.concatenate([one.error for one in shown])
    limit = float(1.3 * max(np.percentile(residual, 99.5), np.median(error))) or 1.0
    lower.set_ylim(-limit, limit)


def _broken(section: Section, values: Floats) -> tuple[Floats, Floats]:
    """Wavelengths and values with NaN inserted at gaps, where matplotlib lifts the pen."""
    before = np.flatnonzero(section.gap_before)
    before = before[before > 0]
    wavelength = np.insert(section.wavelength, before, section.wavelength[before])
    return wavelength, np.insert(values, before, np.nan)


def _gaps_of(section: Section) -> list[tuple[float, float]]:
    """Ranges (Å) between the pixels on the two sides of each gap."""
    after = np.flatnonzero(section.gap_before)
    after = after[after > 0]
    return list(zip(section.wavelength[after - 1], section.wavelength[after], strict=True))


def shade(axes: Axes, ranges: Sequence[tuple[float, float]]) -> None:
    """Shade ranges of wavelength (Å) over the whole height."""
    spans = [(low, high - low) for low, high in ranges]
    if spans:
        over_all = axes.get_xaxis_transform()
        axes.broken_barh(spans, (0.0, 1.0), transform=over_all, color=UNUSED, linewidth=0.0)
