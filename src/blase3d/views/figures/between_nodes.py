"""Figures of the model between the nodes: one line, and interpolated lines beside pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...errors import LabelError
from ...model.interpolation import Kind, make_interpolation
from ...model.model import Model
from ...model.queries import (
    between_nodes,
    choose_line,
    middle_node,
    neighbours,
    varying_labels,
    without_node,
)
from ...parameters import parameter
from ...runtime.arrays import Floats
from .. import style
from ..style import Drawing
from .nodes import Nodes, flux_at, label_of, nodes_of

_WIDTHS = 4.0
"""Half width of a window in full widths at half maximum of its line ..."""
_NARROWEST, _WIDEST = 0.6, 5.0
"""... and its limits, Å."""
_COLOURS = (style.BLUE, style.SKY, style.ORANGE, style.AMBER)
"""Colours of the nodes around a point."""
_DOTS = (0, (1.2, 1.0))


def reconstruction(
    model: Model, *, line: float | None = None, nodes: Nodes | None = None
) -> Drawing:
    """Draw a line at the nodes around a point between them, and the model at that point.

    Parameters
    ----------
    model : Model
        The model.
    line : float, optional
        Å, vacuum: the strongest line near it is drawn; the strongest of all if None.
    nodes : Nodes, optional
        Spectra of the nodes; the model's if None.

    Raises
    ------
    LabelError
        No label varies.
    """
    nodes = nodes_of(model) if nodes is None else nodes
    names = _first_two(model)
    point = between_nodes(model, middle_node(model), names)
    corners = [dict(point)]
    for name in names:
        ends = neighbours(model, point, name)
        corners = [{**corner, name: end} for corner in corners for end in ends]
    index = choose_line(model, point, line)
    window = _window(model, point, index)
    flux = flux_at(model, point)[window]
    at_nodes = [nodes.flux(corner)[window] for corner in corners]
    x = model.wavelength[window]
    with style.settings():
        figure = style.new_figure(style.COLUMN, 4.2)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.5, 1.0))
        for k, (corner, there) in enumerate(zip(corners, at_nodes, strict=True)):
            looks = {"color": _COLOURS[k], "linestyle": ("solid", "dashed")[k % 2]}
            top.plot(x, there, label=_short({name: corner[name] for name in names}), **looks)
            bottom.plot(x, 100 * (there - flux), **looks)
        name = _short({name: point[name] for name in names}) + ", model"
        top.plot(x, flux, color=style.BLACK, linestyle=_DOTS, linewidth=1.5, label=name)
        bottom.axhline(0.0, color=style.BLACK, linestyle=_DOTS, linewidth=1.5)
        top.set_ylabel("Flux / continuum")
        bottom.set_ylabel("Minus the model (%)")
        _finish(figure, top, bottom, x)
    reference = float(model.reference[index])
    caption = (
        f"The line at {reference:.2f} Å (vacuum) at nodes of the library (lines; {nodes.source}) "
        f"and in the model midway between them (dots), at {style.label_text(point)}. "
        "Below: the nodes minus the model."
    )
    numbers = {
        "line": reference,
        "at": point,
        "depth": float(1.0 - flux.min()),
        "depth_at_nodes": [float(1.0 - there.min()) for there in at_nodes],
    }
    return Drawing("reconstruction", "A line between the nodes", caption, figure, numbers)


def line_or_pixel(
    model: Model,
    *,
    along: str | None = None,
    line: float | None = None,
    nodes: Nodes | None = None,
) -> Drawing:
    """Compare the interpolation of lines with that of pixels, at a node that is left out.

    The node in the middle of a label is left out. From the others, two steps apart around it, its
    flux is interpolated linearly and by the model's spline, in pixels; and the model's lines, with
    and without the residual, by the same spline. The catalogue of lines was fitted to all nodes:
    the comparison is of the interpolation.

    Parameters
    ----------
    model : Model
        The model.
    along : str, optional
        A label of at least three values; Teff, or the first of those, if None.
    line : float, optional
        Å, vacuum: the strongest line near it is drawn; the strongest of all if None.
    nodes : Nodes, optional
        Spectra of the nodes; the model's if None.

    Raises
    ------
    LabelError
        No label has three values.
    """
    nodes = nodes_of(model) if nodes is None else nodes
    long = [name for name, axis in model.axes.items() if axis.size >= 3]
    along = label_of(long, along, "a label of three values or more, of which one can be left out")
    axis = model.axes[along]
    middle = middle_node(model)
    i = int(np.clip(np.searchsorted(axis, middle[along]), 1, axis.size - 2))
    target = {**middle, along: float(axis[i])}
    low, high = float(axis[i - 1]), float(axis[i + 1])
    truth = nodes.flux(target)
    found = _interpolations(model, nodes, target, along)
    index = choose_line(model, target, line)
    window = _window(model, target, index)
    errors = {one.name: _rms(one.flux - truth) for one in found}
    fit = _rms(flux_at(model, target, residual=False) - truth)
    with style.settings():
        figure = _draw(model.wavelength[window], truth[window], found, window, errors)
    reference, label = float(model.reference[index]), parameter(along)
    caption = (
        f"The node at {style.label_text(target)}, left out and interpolated from the others (the "
        f"nearest at {label.title} {low:g} and {high:g} {label.short_unit}; {nodes.source}), "
        f"around the line at {reference:.2f} Å (vacuum). Top: flux. Below, on two scales: "
        "interpolated minus true flux. Linear and spline pixels interpolate the flux; lines "
        "interpolate the line parameters, alone and with the residual, by the same spline. The "
        "catalogue of lines was fitted to all nodes, including this one; without interpolation "
        f"the lines differ from it by {fit:.1e} rms. Errors (rms) over {truth.size:,} pixels: "
        + ", ".join(f"{name} {value:.1e}" for name, value in errors.items())
        + "."
    )
    numbers = {
        "at": target,
        "from": [low, high],
        "rms": errors,
        "rms_of_lines_at_node": fit,
        "line": reference,
    }
    return Drawing("line-or-pixel", "Lines beside pixels", caption, figure, numbers)


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2)))


@dataclass(frozen=True, eq=False)
class _Interpolated:
    """Interpolated flux (P,), and its colour and line style."""

    name: str
    flux: Floats
    colour: str
    dash: str


def _interpolations(
    model: Model, nodes: Nodes, target: Mapping[str, float], along: str
) -> list[_Interpolated]:
    others = [value for value in model.axes[along] if not np.isclose(value, target[along])]
    kept = [v for v in others if nodes.has({**target, along: float(v)})]
    table = np.stack([nodes.flux({**target, along: float(value)}) for value in kept])
    axis = {along: np.asarray(kept)}

    def pixels(kind: Kind) -> Floats:
        weights = make_interpolation(axis, kind).weights(jnp.asarray([target[along]]))
        return np.asarray(weights, np.float64) @ table

    smaller = without_node(model, along, target[along])
    alone = flux_at(smaller, target, residual=False)
    found = [
        _Interpolated("linear pixels", pixels("linear"), style.AMBER, "solid"),
        _Interpolated("spline pixels", pixels("spline"), style.PINK, "solid"),
        _Interpolated("lines alone", alone, style.GREEN, "dashed"),
    ]
    if model.residual is not None:
        full = flux_at(smaller, target)
        found.append(_Interpolated("lines and residual", full, style.BLUE, "solid"))
    return found


def _draw(
    x: Floats,
    truth: Floats,
    found: list[_Interpolated],
    window: slice,
    errors: Mapping[str, float],
) -> Figure:
    """Draw the node that was left out, and below it the larger errors, then the smaller ones."""
    figure = style.new_figure(style.COLUMN, 4.8)
    top, large, small = figure.subplots(3, 1, sharex=True, height_ratios=(1.3, 1.0, 1.0))
    top.plot(x, truth, color=style.BLACK, linewidth=2.4, alpha=0.35, label="node, left out")
    best = sorted(errors, key=lambda name: errors[name])[:2]
    for one in found:
        looks = {"color": one.colour, "linestyle": one.dash}
        name = f"{one.name} ({1e4 * errors[one.name]:.1f})"
        top.plot(x, one.flux[window], label=name, **looks)
        axes = small if one.name in best else large
        axes.plot(x, 100 * (one.flux[window] - truth), **looks)
    for axes in (large, small):
        axes.axhline(0.0, color=style.GREY, linewidth=0.5)
        axes.set_ylabel("Error (%)")
    top.set_ylabel("Flux / continuum")
    _finish(figure, top, small, x, "Interpolated (rms over the whole range, 1e-4)")
    return figure


def _first_two(model: Model) -> tuple[str, ...]:
    names = varying_labels(model)
    if not names:
        raise LabelError("no label of the model varies, so nothing is between its nodes.")
    first = [name for name in ("teff", "logg") if name in names]
    return tuple((first + [name for name in names if name not in first])[:2])


def _window(model: Model, labels: Mapping[str, float], index: int) -> slice:
    """The pixels around a line."""
    lines = model.lines(**labels)
    half = float(np.clip(_WIDTHS * lines.fwhm[index], _NARROWEST, _WIDEST))
    center = float(lines.center[index])
    first, stop = np.searchsorted(model.wavelength, [center - half, center + half])
    return slice(int(first), int(stop))


def _short(labels: Mapping[str, float]) -> str:
    return ", ".join(
        f"{value:g} K" if name == "teff" else f"{parameter(name).title} {value:g}"
        for name, value in labels.items()
    )


def _finish(figure: Figure, top: Axes, bottom: Axes, x: Floats, title: str = "") -> None:
    """Set the wavelength axis, and the legend below the panels."""
    bottom.set_xlim(x[0], x[-1])
    bottom.set_xlabel("Wavelength in vacuum (Å)")
    bottom.ticklabel_format(axis="x", useOffset=False)
    figure.legend(
        *top.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        title=title or None,
        title_fontsize=7,
        columnspacing=1.2,
    )
