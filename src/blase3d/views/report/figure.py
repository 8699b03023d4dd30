"""The picture of the README: spectrum, model and residual around one line, by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...inference.result import Inference
from ...model.model import Model
from .report_data import Floats, Stretch, View, make_view

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OVERVIEW = 8664.52
"""Å, vacuum: the middle of the overview, a line of the Ca II triplet ..."""
OVERVIEW_WIDTH = 60.0
"""... and its width."""
_DATA, _MODEL, _ERROR, _QUIET = "#000000", "#D55E00", "#0072B2", "#6E6E6E"


def overview_figure(inference: Inference, model: Model) -> Figure:
    """Spectrum, model and residual in 60 Å around Ca II 8664.

    The lines that stand out most are marked with their wavelengths (Å, vacuum). Of a spectrum
    without that range, the window is around its deepest line.
    """
    view = make_view(inference, model)
    centers = view.seen_centers
    half = OVERVIEW_WIDTH / 2
    inside = (centers >= view.low) & (centers <= view.high)
    middle = OVERVIEW * view.stretch
    if not view.low + half / 2 <= middle <= view.high - half / 2:
        middle = float(centers[np.argmax(np.where(inside, view.information.depth, 0.0))])
    window = (middle - half, middle + half)
    near = inside & (np.abs(centers - middle) < half * 0.98)
    order = np.argsort(-np.where(near, view.contrast, -1.0), kind="stable")
    figure, top, bottom = _two_panels((9.0, 4.6), 10.0)
    _draw_fit(top, view, window)
    _draw_residual(bottom, view, window)
    _mark(top, view, _apart(order[: near.sum()], centers, 2.2, 14))
    top.legend(loc="lower left", frameon=False, ncols=2)
    return figure


def _apart(order: NDArray[np.int64], centers: Floats, distance: float, count: int) -> list[int]:
    """The first lines of an order that stand `distance` (Å) from each other."""
    chosen: list[int] = []
    for i in order:
        if len(chosen) == count:
            break
        if all(abs(centers[i] - centers[j]) >= distance for j in chosen):
            chosen.append(int(i))
    return chosen


def _two_panels(size: tuple[float, float], font: float) -> tuple[Figure, Axes, Axes]:
    """Flux above, residual below, on one axis of wavelength."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.size": font, "axes.linewidth": 0.8}):
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1.0))
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    top.set_ylabel("Flux / continuum")
    bottom.set_ylabel("Residual")
    bottom.set_xlabel("Wavelength in vacuum (Å)")
    return figure, top, bottom


def _curve(view: View, values: Floats, window: Stretch) -> tuple[Floats, Floats]:
    """The pixels of a window, with a NaN in every gap."""
    inside = (view.wavelength >= window[0]) & (view.wavelength <= window[1])
    gaps = np.flatnonzero(view.gap_before[inside])
    gaps = gaps[gaps > 0]
    places = np.insert(view.wavelength[inside], gaps, np.nan)
    return places, np.insert(values[inside], gaps, np.nan)


def _draw_fit(axes: Axes, view: View, window: Stretch) -> None:
    _, flux = _curve(view, view.flux, window)
    place, model = _curve(view, view.model, window)
    axes.plot(place, flux, color=_DATA, linewidth=0.77, label="spectrum")
    axes.plot(place, model, color=_MODEL, linewidth=1.1, alpha=0.9, label="model")
    axes.set_xlim(*window)
    values = np.concatenate([flux, model])
    if np.isfinite(values).any():
        low, high = np.nanpercentile(values, [0.1, 99.9])
        axes.set_ylim(low - 0.06 * (high - low), high + 0.22 * (high - low))


def _draw_residual(axes: Axes, view: View, window: Stretch) -> None:
    place, residual = _curve(view, view.flux - view.model, window)
    axes.plot(place, residual, color=_QUIET, linewidth=0.6)
    _, error = _curve(view, view.error, window)
    for sign in (-1.0, 1.0):
        axes.plot(place, sign * error, color=_ERROR, linewidth=1.0, linestyle="dashed")
    axes.axhline(0.0, color=_MODEL, linewidth=1.0)
    if np.isfinite(residual).any():
        limit = 1.3 * max(np.nanpercentile(np.abs(residual), 99.9), np.nanmedian(error))
        axes.set_ylim(-limit, limit)


def _mark(axes: Axes, view: View, lines: Sequence[int]) -> None:
    """A tick with its wavelength above each line."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.16 * (high - low))
    foot = high - 0.12 * (high - low)
    for i in lines:
        center = float(view.seen_centers[i])
        axes.plot([center, center], [foot, foot + 0.05 * (high - low)], color=_QUIET, linewidth=0.9)
        axes.text(
            center,
            foot + 0.07 * (high - low),
            f"{view.information.lines.center[i]:.2f}",
            rotation=90,
            ha="center",
            va="bottom",
            fontsize="x-small",
            color="#333333",
        )
