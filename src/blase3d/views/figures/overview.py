"""The process in one figure: spectrum, lines, interpolated lines, spectrum."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...model.model import Model
from ...model.queries import (
    between_nodes,
    choose_line,
    label_mesh,
    line_over_labels,
    middle_node,
    varying_labels,
)
from ...runtime.arrays import Floats
from .. import style
from ..style import Drawing
from .nodes import Nodes, flux_at, nodes_of

_HALF = 8.0
"""Half width of the window, Å."""
_MARKED = 0.02
"""Central depth of the faintest lines that are drawn."""
_POINTS = 61
"""Points of a map along each label."""


def process(model: Model, *, line: float | None = None, nodes: Nodes | None = None) -> Drawing:
    """Draw the process: the spectrum of a node, its lines, one line over the labels, and the
    resulting spectrum between the nodes.

    Parameters
    ----------
    model : Model
        The model.
    line : float, optional
        Å, vacuum: the strongest line near it is drawn; the strongest of all if None.
    nodes : Nodes, optional
        Spectra of the nodes; the model's if None.
    """
    nodes = nodes_of(model) if nodes is None else nodes
    node = nodes.nearest(middle_node(model))
    names = tuple(varying_labels(model)[:2])
    point = between_nodes(model, node, names)
    index = choose_line(model, node, line)
    center = float(model.reference[index])
    first, stop = np.searchsorted(model.wavelength, [center - _HALF, center + _HALF])
    window = slice(int(first), int(stop))
    at = model.wavelength[window]
    with style.settings():
        figure = style.new_figure(style.PAGE, 2.15)
        panels = figure.subplots(1, 4)
        _spectrum(panels[0], at, nodes.flux(node)[window], style.BLACK, "spectrum of a node")
        shown = _draw_lines(panels[1], model, node, at)
        _draw_one_line(figure, panels[2], model, index, node, point, names)
        between = flux_at(model, point)[window]
        _spectrum(panels[3], at, between, style.ORANGE, "→ spectrum anywhere")
    caption = (
        f"The process, from left to right: the spectrum of a node at {style.label_text(node)} "
        f"({nodes.source}); its lines, of which {shown} are deeper than {_MARKED:g} here; ln of "
        f"the area of the line at {center:.2f} Å (vacuum) over the labels, with the nodes as dots "
        f"and a point between them as a cross; and the spectrum at that point, "
        f"{style.label_text(point)}, from all {model.reference.size:,} lines"
        + ("." if model.residual is None else " and the residual.")
    )
    numbers = {"node": node, "place": point, "line": center, "lines_shown": shown}
    return Drawing("process", "From spectrum to lines and back", caption, figure, numbers)


def _spectrum(axes: Axes, at: Floats, flux: Floats, colour: str, title: str) -> None:
    axes.plot(at, flux, color=colour, linewidth=0.9)
    axes.set_title(title)
    axes.set_ylim(min(-0.02, float(flux.min()) - 0.05), 1.08)
    axes.set_ylabel("Flux / continuum", labelpad=1)
    _wavelengths(axes, at)


def _wavelengths(axes: Axes, at: Floats) -> None:
    middle = round((at[0] + at[-1]) / 2)
    axes.set_xlim(at[0], at[-1])
    axes.set_xticks([middle - 5, middle, middle + 5])
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.set_xlabel("Wavelength (Å)")


def _draw_lines(axes: Axes, model: Model, node: Mapping[str, float], at: Floats) -> int:
    """Draw each line of the window alone, and return their number."""
    lines = model.lines(**node)
    depth = lines.central_depth(model.recipe.composition)
    inside = (lines.center > at[0]) & (lines.center < at[-1]) & (depth >= _MARKED)
    chosen = np.flatnonzero(inside)
    alone = lines.take(chosen).alone(at, model.recipe.composition)
    for i, flux in zip(chosen, alone, strict=True):
        axes.plot(at, flux, color=style.BLUE, linewidth=0.7, alpha=0.8)
        axes.plot([lines.center[i]] * 2, [1.02, 1.06], color=style.GREEN, linewidth=0.8)
    axes.set_title("→ its lines")
    axes.set_ylim(-0.02, 1.08)
    axes.tick_params(labelleft=False)
    _wavelengths(axes, at)
    return int(inside.sum())


def _draw_one_line(
    figure: Figure,
    axes: Axes,
    model: Model,
    index: int,
    node: Mapping[str, float],
    point: Mapping[str, float],
    names: tuple[str, ...],
) -> None:
    """Draw ln a of one line over two labels, or over one."""
    values = {name: np.linspace(*model.bounds[name], _POINTS) for name in names}
    params = line_over_labels(model, index, label_mesh(model, node, values))
    area = np.ma.masked_invalid(params[:, 1].reshape([_POINTS] * len(names)))
    axes.set_title(r"→ $\ln a$ of one line")
    axes.set_xlabel(style.axis_title(names[0]))
    if len(names) == 1:
        axes.plot(values[names[0]], area, color=style.BLUE)
        axes.set_ylabel(r"$\ln a$")
        axes.axvline(point[names[0]], color=style.ORANGE)
        return
    found = axes.pcolormesh(
        *values.values(), area.T, cmap=style.MAP, shading="nearest", rasterized=True
    )
    axes.plot(point[names[0]], point[names[1]], "x", color=style.ORANGE, markersize=6, mew=1.8)
    axes.set_ylabel(style.axis_title(names[1]), labelpad=1)
    figure.colorbar(found, ax=axes, pad=0.02, aspect=25)
    style.mark_nodes(axes, model, names[0], names[1])
