"""Plots of the report: the spectrum in a window, and the corner plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from ...inference.plots import (
    DATA,
    ERROR,
    MODEL,
    OUTLIER,
    RESIDUAL,
    UNUSED,
    Floats,
    Section,
    draw_section,
    set_limits,
    shade,
)
from ...inference.result import Estimate, Inference
from ...parameters import parameter
from ..curves import thinned
from ..formatting import decimals
from ..style import AMBER, BLUE, GREEN, PINK, SKY
from ..svg import RC, svg_element
from .report_data import Range, ReportData

TOP_LINES = 10
"""Lines listed for each label."""
MARKERS = (("v", "▼"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("P", "✚"))
"""Markers of the lines of each label, in Matplotlib and as text."""
_COLOURS = (BLUE, GREEN, PINK, AMBER, SKY)
_VARIABLES = {
    DATA: "--data",
    MODEL: "--model",
    RESIDUAL: "--residual",
    UNUSED: "--unused",
    OUTLIER: "--outlier",
    **{colour: f"--m{k}" for k, colour in enumerate(_COLOURS)},
}
"""Variables of page.css for the colours of the plots."""
_SIZE = (5.4, 4.2)
"""Inches."""
_COLUMNS = 350
"""Stretches of a curve of which the extremes are drawn; about one to each point of the plot."""
_MARK, _MARK_STEP = 8.0, 9.0
"""Distance of the first row of markers from the frame, and between rows, points."""
_CELL, _MARGIN = 1.45, 0.9
"""Size of a panel of the corner plot, and of the margin for its labels, inches."""
_SPREAD = 3.5
"""Half of the range of such a panel, in standard deviations."""
_BINS = 24
"""Bins of a histogram in such a panel."""
_MOST_DRAWS = 1000
"""Draws that are shown in the panel of two parameters."""


def spectrum_svg(data: ReportData, window: Range, description: str) -> str:
    """Return the plot of a window as an SVG element."""
    return svg_element(spectrum_figure(data, window), description, _VARIABLES)


def spectrum_figure(data: ReportData, window: Range) -> Figure:
    """Draw spectrum and model in a window (Å), and their residual below.

    Markers show the lines that constrain each label most.
    """
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=_SIZE, layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1.0))
        shown = [section.within(window) for section in data.sections]
        shown = [_thinned(section) for section in shown if section.wavelength.size]
        for section in shown:
            draw_section(upper, lower, section)
        names = data.information.names
        if shown:
            set_limits(upper, lower, shown, room=0.06 + 0.05 * len(names))
        for axes in (upper, lower):
            shade(axes, data.unused)
        for k, name in enumerate(names):
            _mark_lines(upper, data, name, window, k)
        upper.set_xlim(*window)
        upper.set_ylabel("Flux / continuum")
        lower.set_ylabel("Residual")
        lower.set_xlabel("Wavelength in vacuum (Å)")
        lower.xaxis.set_major_locator(MaxNLocator(6))
        lower.ticklabel_format(axis="x", useOffset=False)
    return figure


def _thinned(section: Section) -> Section:
    """The pixels and outliers of a section that can be distinguished in the plot."""
    curves = (section.flux, section.model, section.residual)
    kept = [thinned(values, _COLUMNS) for values in curves]
    outliers = np.flatnonzero(section.outlier)
    kept.append(outliers[thinned(section.residual[outliers], _COLUMNS)])
    return section.take(np.unique(np.concatenate(kept)))


def _mark_lines(axes: Axes, data: ReportData, name: str, window: Range, row: int) -> None:
    """Mark the lines of the largest shares of a label, in a row of markers below the frame."""
    found = data.information
    lines = found.top(name, 3 * TOP_LINES)
    lines = lines[found.share[lines, found.names.index(name)] > 0]
    centers = data.observed_centers[lines]
    centers = centers[(centers > window[0]) & (centers < window[1])]
    below = matplotlib.transforms.ScaledTranslation(
        0.0, -(_MARK + _MARK_STEP * row) / 72.0, axes.figure.dpi_scale_trans
    )
    axes.plot(
        centers,
        np.ones_like(centers),
        MARKERS[row % len(MARKERS)][0],
        color=_COLOURS[row % len(_COLOURS)],
        markersize=5.0,
        markeredgewidth=0.0,
        transform=axes.get_xaxis_transform() + below,
    )


def corner_svg(inference: Inference, truth: Mapping[str, float]) -> str:
    """Return the corner plot as an SVG element; empty where no parameter has an uncertainty."""
    figure = corner_figure(inference, truth)
    if figure is None:
        return ""
    names = ", ".join(parameter(name).title for name in _uncertain(inference))
    kind = "normal distribution of the curvature" if inference.draws is None else "posterior draws"
    return svg_element(figure, f"Corner plot of {names}: {kind}", _VARIABLES)


def corner_figure(inference: Inference, truth: Mapping[str, float]) -> Figure | None:
    """Draw the distribution of every free parameter and of every pair of them.

    Posterior draws are shown where there are any, else the normal distribution of the curvature.
    The upper panels have the correlation coefficient of each pair.
    """
    names = list(_uncertain(inference))
    if not names:
        return None
    size = len(names)
    with matplotlib.rc_context(RC):
        side = _MARGIN + _CELL * size
        figure = Figure(figsize=(side, side), layout="constrained")
        panels = figure.subplots(size, size, sharex="col", squeeze=False)
        for row, y in enumerate(names):
            for column, x in enumerate(names):
                if column > row:
                    _write_correlation(panels[row, column], inference, x, y)
                elif column == row:
                    _draw_single(panels[row, row], inference, x)
                else:
                    _draw_pair(panels[row, column], inference, x, y)
                    _label_axis(panels[row, column], "y", y, outer=column == 0)
                    if y in truth:
                        panels[row, column].axhline(truth[y], **_TRUTH)
                if column <= row and x in truth:
                    panels[row, column].axvline(truth[x], **_TRUTH)
        for column, x in enumerate(names):
            _label_axis(panels[-1, column], "x", x, outer=True)
            panels[-1, column].set_xlim(_range(inference, x))
        figure.align_labels()
    return figure


_TRUTH = {"color": MODEL, "linewidth": 1.2, "linestyle": (0, (5, 3))}


def _uncertain(inference: Inference) -> dict[str, Estimate]:
    """The free parameters that have an uncertainty."""
    found = {**inference.labels, **inference.nuisance}
    return {name: found[name] for name in inference.names if 0.0 < found[name].sigma < np.inf}


def _range(inference: Inference, name: str) -> tuple[float, float]:
    found = _uncertain(inference)[name]
    return found.value - _SPREAD * found.sigma, found.value + _SPREAD * found.sigma


def _draws(inference: Inference, name: str) -> Floats | None:
    return None if inference.draws is None else inference.posterior[name].ravel()


def _draw_single(axes: Axes, inference: Inference, name: str) -> None:
    """Draw the distribution of one parameter, scaled to a maximum of one."""
    found, draws = _uncertain(inference)[name], _draws(inference, name)
    limits = _range(inference, name)
    if draws is None:
        x = np.linspace(*limits, 80)
        axes.plot(x, np.exp(-0.5 * ((x - found.value) / found.sigma) ** 2), color=DATA, lw=0.8)
    else:
        counts, edges = np.histogram(draws, _BINS, limits)
        axes.stairs(counts / max(counts.max(), 1), edges, color=DATA, linewidth=0.8)
    digits = decimals(found.sigma, found.value)
    axes.set_title(f"{found.value:.{digits}f} ± {found.sigma:.{digits}f}", fontsize="small")
    axes.set_ylim(0.0, 1.1)
    axes.set_yticks([])


def _draw_pair(axes: Axes, inference: Inference, x: str, y: str) -> None:
    """Draw two parameters: their draws, or the ellipses that hold 39 % and 86 %."""
    draws = _draws(inference, x), _draws(inference, y)
    axes.set_ylim(_range(inference, y))
    if draws[0] is not None and draws[1] is not None:
        step = -(-draws[0].size // _MOST_DRAWS)
        axes.add_patch(_dots(draws[0][::step], draws[1][::step]))
        return
    columns = [inference.names.index(name) for name in (x, y)]
    values, vectors = np.linalg.eigh(inference.covariance[np.ix_(columns, columns)])
    angle = np.linspace(0.0, 2.0 * np.pi, 73)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    ellipse = vectors @ (np.sqrt(np.maximum(values, 0.0))[:, None] * circle)
    found = _uncertain(inference)
    for size in (1.0, 2.0):
        along, up = size * ellipse
        axes.plot(found[x].value + along, found[y].value + up, color=DATA, linewidth=0.8)


def _write_correlation(axes: Axes, inference: Inference, x: str, y: str) -> None:
    """Write the correlation coefficient of two parameters, larger the stronger it is."""
    if inference.draws is None:
        columns = [inference.names.index(name) for name in (x, y)]
        (xx, xy), (_, yy) = inference.covariance[np.ix_(columns, columns)]
        found = xy / np.sqrt(xx * yy)
    else:
        found = np.corrcoef(inference.posterior[x].ravel(), inference.posterior[y].ravel())[0, 1]
    axes.set_axis_off()
    size = 9.0 + 7.0 * abs(float(found))
    text = axes.text(0.5, 0.5, f"{found:+.2f}".replace("-", "−"), fontsize=size, color=DATA)
    text.set(transform=axes.transAxes, ha="center", va="center")


def _dots(x: Floats, y: Floats) -> PathPatch:
    """Dots as one path of strokes without length: a tenth of the size of one marker for each."""
    points = np.repeat(np.stack([x, y], axis=1), 2, axis=0)
    path = Path(points, np.tile([Path.MOVETO, Path.LINETO], x.size))
    path.should_simplify = False
    return PathPatch(path, fill=False, edgecolor=ERROR, linewidth=1.8, alpha=0.35, capstyle="round")


def _label_axis(axes: Axes, side: Literal["x", "y"], name: str, *, outer: bool) -> None:
    """Title and ticks of a panel; `outer`: at the left or lower edge of the plot."""
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(3, prune="both"))
    axes.ticklabel_format(axis=side, useOffset=False)
    axes.tick_params(axis=side, labelsize="small", labelrotation=45 if side == "x" else 0)
    if not outer:
        axes.tick_params(axis=side, labelleft=False)
        return
    found = parameter(name)
    unit = f"\n({found.short_unit})" if found.unit else ""
    axis.set_label_text(f"{found.title}{unit}", fontsize="small")
