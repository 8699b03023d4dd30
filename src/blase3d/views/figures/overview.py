"""The process in one figure: spectrum, lines, manifold, spectrum; of the model's own data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...model.model import Model
from ..style import (
    BLACK,
    BLUE,
    GREEN,
    MAP,
    ORANGE,
    PAGE,
    Drawing,
    axis_title,
    label_text,
    mark_nodes,
    new_figure,
    style,
)
from .model_queries import (
    Floats,
    Nodes,
    between_nodes,
    choose_line,
    course,
    flux_at,
    middle_node,
    nodes_of,
    varying,
)

_HALF = 8.0
"""Å on both sides of the middle of the window."""
_MARKED = 0.02
"""Central depth of lines that are drawn."""
_FINE = 61


def process(model: Model, *, line: float | None = None, nodes: Nodes | None = None) -> Drawing:
    """Overview of the process: the spectrum of a node, its lines, one of them over the labels, and
    the spectrum between the nodes that comes of it.

    Parameters
    ----------
    model : Model
        The library.
    line : float, optional
        Å, vacuum: the strongest line near it; the strongest of all if None.
    nodes : Nodes, optional
        Where the spectrum of the node is from; from the model if None.
    """
    nodes = nodes_of(model) if nodes is None else nodes
    node = _present_node(nodes, middle_node(model))
    names = tuple(varying(model)[:2])
    place = between_nodes(model, node, names)
    index = choose_line(model, node, line)
    center = float(model.reference[index])
    first, stop = np.searchsorted(model.wavelength, [center - _HALF, center + _HALF])
    part = slice(int(first), int(stop))
    at = model.wavelength[part]
    with style():
        figure = new_figure(PAGE, 2.15)
        panels = figure.subplots(1, 4)
        _spectrum(panels[0], at, nodes.flux(node)[part], BLACK, "spectrum of a node")
        shown = _draw_lines(panels[1], model, node, at)
        _draw_course(figure, panels[2], model, index, node, place, names)
        between = flux_at(model, place)[part]
        _spectrum(panels[3], at, between, ORANGE, "→ spectrum anywhere")
    caption = (
        f"The process, from left to right: the spectrum of a node at {label_text(node)} "
        f"({nodes.source}); its lines, of which {shown} are deeper than {_MARKED:g} here; ln of "
        f"the area of the line at {center:.2f} Å (vacuum) over the labels, with the nodes as dots "
        f"and a point between them as a cross; and the spectrum at that point, {label_text(place)},"
        f" from all {model.reference.size:,} lines"
        + ("." if model.emulator.residual is None else " and the residual.")
    )
    numbers = {"node": node, "place": place, "line": center, "lines_shown": shown}
    return Drawing("process", "From spectrum to lines and back", caption, figure, numbers)


def _present_node(nodes: Nodes, wanted: Mapping[str, float]) -> dict[str, float]:
    """The node nearest to the wanted one that the library has."""
    names = nodes.model.label_names
    rows = nodes.labels
    span = np.array([np.ptp(axis) or 1.0 for axis in nodes.model.axes.values()])
    distance = np.abs((rows - [wanted[name] for name in names]) / span).sum(axis=1)
    return dict(zip(names, map(float, rows[np.argmin(distance)]), strict=True))


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
    """Each line of the window by itself; how many there are."""
    lines = model.lines(**node)
    depth = lines.central_depth(model.recipe.composition)
    inside = (lines.center > at[0]) & (lines.center < at[-1]) & (depth >= _MARKED)
    chosen = np.flatnonzero(inside)
    alone = lines.take(chosen).alone(at, model.recipe.composition)
    for i, flux in zip(chosen, alone, strict=True):
        axes.plot(at, flux, color=BLUE, linewidth=0.7, alpha=0.8)
        axes.plot([lines.center[i]] * 2, [1.02, 1.06], color=GREEN, linewidth=0.8)
    axes.set_title("→ its lines")
    axes.set_ylim(-0.02, 1.08)
    axes.tick_params(labelleft=False)
    _wavelengths(axes, at)
    return int(inside.sum())


def _draw_course(
    figure: Figure,
    axes: Axes,
    model: Model,
    index: int,
    node: Mapping[str, float],
    place: Mapping[str, float],
    names: tuple[str, ...],
) -> None:
    """ln a of one line over two labels, or over one."""
    fine = [np.linspace(*model.bounds[name], _FINE) for name in names]
    mesh = np.meshgrid(*fine, indexing="ij")
    columns = {name: np.full(mesh[0].size, value) for name, value in node.items()}
    columns |= {name: values.ravel() for name, values in zip(names, mesh, strict=True)}
    labels = np.stack([columns[name] for name in model.label_names], axis=1)
    area = np.ma.masked_invalid(course(model, index, labels)[:, 1].reshape(mesh[0].shape))
    axes.set_title(r"→ $\ln a$ of one line")
    axes.set_xlabel(axis_title(names[0]))
    if len(names) == 1:
        axes.plot(fine[0], area, color=BLUE)
        axes.set_ylabel(r"$\ln a$")
        axes.axvline(place[names[0]], color=ORANGE)
        return
    found = axes.pcolormesh(*fine, area.T, cmap=MAP, shading="nearest", rasterized=True)
    axes.plot(place[names[0]], place[names[1]], "x", color=ORANGE, markersize=6, mew=1.8)
    axes.set_ylabel(axis_title(names[1]), labelpad=1)
    figure.colorbar(found, ax=axes, pad=0.02, aspect=25)
    mark_nodes(axes, model, names[0], names[1])
