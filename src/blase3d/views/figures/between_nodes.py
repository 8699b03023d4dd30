"""Figures of what is between the nodes: one line, and lines beside pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...errors import LabelError
from ...model.interpolation import Kind, make_manifold
from ...model.model import Model
from ...parameters import parameter
from ..style import (
    AMBER,
    BLACK,
    BLUE,
    COLUMN,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    SKY,
    Drawing,
    label_text,
    new_figure,
    style,
)
from .model_queries import (
    Floats,
    Nodes,
    between_nodes,
    choose_line,
    flux_at,
    flux_of,
    line_width,
    middle_node,
    neighbours,
    nodes_of,
    varying,
    without_node,
)

_WIDTHS = 4.0
"""Half of a window, in full widths at half maximum of its line ..."""
_LEAST, _MOST = 0.6, 5.0
"""... and within these, Å."""


def reconstruction(
    model: Model, *, line: float | None = None, nodes: Nodes | None = None
) -> Drawing:
    """A line at the nodes around a place between them, and what the model makes of that place.

    Parameters
    ----------
    model : Model
        The library.
    line : float, optional
        Å, vacuum: the strongest line near it; the strongest of all if None.
    nodes : Nodes, optional
        Where the spectra of the nodes are from; from the model if None.

    Raises
    ------
    LabelError
        No label varies.
    """
    nodes = nodes_of(model) if nodes is None else nodes
    names = _first_two(model)
    base = middle_node(model)
    place = between_nodes(model, base, names)
    corners = _corners(model, place, names)
    index = choose_line(model, place, line)
    window = _window(model, place, index)
    flux = flux_at(model, place)
    at = model.wavelength[window]
    with style():
        figure = new_figure(COLUMN, 4.2)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.5, 1.0))
        for corner, colour, dash in zip(corners, _COLOURS, _DASHES, strict=False):
            there = nodes.flux(corner)
            name = _short({name: corner[name] for name in names})
            top.plot(at, there[window], color=colour, linestyle=dash, label=name)
            bottom.plot(at, 100 * (there - flux)[window], color=colour, linestyle=dash)
        here = _short({name: place[name] for name in names}) + ", model"
        dots = (0, (1.2, 1.0))
        top.plot(at, flux[window], color=BLACK, linestyle=dots, linewidth=1.5, label=here)
        bottom.axhline(0.0, color=BLACK, linestyle=dots, linewidth=1.5)
        top.set_ylabel("Flux / continuum")
        bottom.set_ylabel("Less the model (%)")
        _finish(bottom, at)
        figure.legend(
            *top.get_legend_handles_labels(), loc="outside lower center", ncols=2, columnspacing=1.2
        )
    reference = float(model.reference[index])
    caption = (
        f"The line at {reference:.2f} Å (vacuum) at nodes of the library (lines; {nodes.source}) "
        f"and as the model gives it midway between them (dots), at {label_text(place)}. Below: the "
        "nodes less that."
    )
    numbers = {
        "line": reference,
        "at": place,
        "depth": float(1.0 - flux[window].min()),
        "depth_at_nodes": [float(1.0 - nodes.flux(corner)[window].min()) for corner in corners],
    }
    return Drawing("reconstruction", "A line between the nodes", caption, figure, numbers)


_COLOURS = (BLUE, SKY, ORANGE, AMBER)
_DASHES = ("solid", "dashed", "solid", "dashed")


def line_or_pixel(
    model: Model,
    *,
    along: str | None = None,
    line: float | None = None,
    nodes: Nodes | None = None,
) -> Drawing:
    """Interpolation of lines beside that of pixels, at a node that takes no part in it.

    The node in the middle of a label is left out. From the others, two steps apart around it, its
    flux is interpolated linearly and by the spline that the model uses, in pixels; and the model's
    lines, with and without the residual, by that spline. The catalogue of the lines was fitted to
    all nodes; what is compared is the interpolation.

    Parameters
    ----------
    model : Model
        The library.
    along : str, optional
        The label with at least three values; the first if None.
    line : float, optional
        Å, vacuum: the line in the figure; the strongest if None.
    nodes : Nodes, optional
        Where the spectra of the nodes are from; from the model if None.

    Raises
    ------
    LabelError
        No label has three values.
    """
    nodes = nodes_of(model) if nodes is None else nodes
    along = _long_label(model, along)
    target = _with_neighbours(model, middle_node(model), along)
    truth = nodes.flux(target)
    trials = _interpolations(model, nodes, target, along)
    index = choose_line(model, target, line)
    window = _window(model, target, index)
    errors = {trial.name: _rms(trial.flux - truth) for trial in trials}
    fit = _rms(flux_at(model, target, residual=False) - truth)
    with style():
        figure = _draw_trials(model.wavelength[window], truth[window], trials, window, errors)
    low, high = _around(model, target, along)
    found = parameter(along)
    reference = float(model.reference[index])
    caption = (
        f"The node at {label_text(target)}, left out and interpolated from the others (the nearest "
        f"at {found.title} {low:g} and {high:g} {found.short_unit}; {nodes.source}), around the "
        f"line at {reference:.2f} Å (vacuum). Top: flux. Below, on two scales: interpolated minus "
        "true flux. Linear and spline pixels interpolate the flux; lines interpolate the line "
        "parameters, alone and with the residual, by the same spline. The catalogue of lines was "
        "fitted to all nodes, including this one; without interpolation the lines differ from it "
        f"by {fit:.1e} rms. Errors (rms) over {truth.size:,} pixels: "
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


def _draw_trials(
    at: Floats, truth: Floats, trials: list[_Trial], window: slice, errors: Mapping[str, float]
) -> Figure:
    """The node that was left out, and below it the errors: the larger ones, then the smaller."""
    figure = new_figure(COLUMN, 4.8)
    top, large, small = figure.subplots(3, 1, sharex=True, height_ratios=(1.3, 1.0, 1.0))
    top.plot(at, truth, color=BLACK, linewidth=2.4, alpha=0.35, label="node, left out")
    ranked = sorted(trials, key=lambda trial: errors[trial.name])
    for trial in trials:
        looks = {"color": trial.colour, "linestyle": trial.dash}
        name = f"{trial.name} ({1e4 * errors[trial.name]:.1f})"
        top.plot(at, trial.flux[window], label=name, **looks)
        axes = small if trial in ranked[:2] else large
        axes.plot(at, 100 * (trial.flux[window] - truth), **looks)
    for axes in (large, small):
        axes.axhline(0.0, color=GREY, linewidth=0.5)
        axes.set_ylabel("Error (%)")
    top.set_ylabel("Flux / continuum")
    _finish(small, at)
    figure.legend(
        *top.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        title="Interpolated (rms over the whole range, 1e-4)",
        title_fontsize=7,
        columnspacing=1.2,
    )
    return figure


@dataclass(frozen=True, eq=False)
class _Trial:
    """One interpolation (P,) and how it is drawn."""

    name: str
    flux: Floats
    colour: str
    dash: str


def _interpolations(
    model: Model, nodes: Nodes, target: Mapping[str, float], along: str
) -> list[_Trial]:
    others = [value for value in model.axes[along] if not np.isclose(value, target[along])]
    kept = [v for v in others if nodes.has({**target, along: float(v)})]
    table = np.stack([nodes.flux({**target, along: float(value)}) for value in kept])
    axis = {along: np.asarray(kept)}

    def pixels(kind: Kind) -> Floats:
        weights = make_manifold(axis, kind).weights(jnp.asarray([target[along]]))
        return np.asarray(weights, np.float64) @ table

    trials = [
        _Trial("linear pixels", pixels("linear"), AMBER, "solid"),
        _Trial("spline pixels", pixels("spline"), PINK, "solid"),
    ]
    emulator = without_node(model, along, target[along])
    alone = flux_of(model, emulator, target, residual=False)
    trials.append(_Trial("lines alone", alone, GREEN, "dashed"))
    if emulator.residual is not None:
        full = flux_of(model, emulator, target)
        trials.append(_Trial("lines and residual", full, BLUE, "solid"))
    return trials


def _first_two(model: Model) -> tuple[str, ...]:
    names = varying(model)
    if not names:
        raise LabelError("no label of the model varies, so nothing is between its nodes.")
    first = [name for name in ("teff", "logg") if name in names]
    return tuple((first + [name for name in names if name not in first])[:2])


def _corners(
    model: Model, place: Mapping[str, float], names: tuple[str, ...]
) -> list[dict[str, float]]:
    corners = [dict(place)]
    for name in names:
        ends = neighbours(model, place, name)
        corners = [{**corner, name: end} for corner in corners for end in ends]
    return corners


def _long_label(model: Model, along: str | None) -> str:
    long = [name for name, axis in model.axes.items() if axis.size >= 3]
    if along is None and long:
        return "teff" if "teff" in long else long[0]
    if along not in long:
        raise LabelError(
            f"got {along or 'no label'}, expected a label of three values or more, of which one "
            f"can be left out ({', '.join(long) or 'there is none'}); choose another."
        )
    return along


def _with_neighbours(model: Model, node: Mapping[str, float], along: str) -> dict[str, float]:
    """The node, with an inner value of the label."""
    axis = model.axes[along]
    i = int(np.clip(np.searchsorted(axis, node[along]), 1, axis.size - 2))
    return {**node, along: float(axis[i])}


def _around(model: Model, node: Mapping[str, float], along: str) -> tuple[float, float]:
    axis = model.axes[along]
    i = int(np.argmin(np.abs(axis - node[along])))
    return float(axis[i - 1]), float(axis[i + 1])


def _window(model: Model, labels: Mapping[str, float], index: int) -> slice:
    """The pixels around a line."""
    lines = model.lines(**labels)
    half = float(np.clip(_WIDTHS * line_width(lines, index), _LEAST, _MOST))
    center = float(lines.center[index])
    first, stop = np.searchsorted(model.wavelength, [center - half, center + half])
    return slice(int(first), int(stop))


def _short(labels: Mapping[str, float]) -> str:
    return ", ".join(
        f"{value:g} K" if name == "teff" else f"{parameter(name).title} {value:g}"
        for name, value in labels.items()
    )


def _finish(axes: Axes, at: Floats) -> None:
    axes.set_xlim(at[0], at[-1])
    axes.set_xlabel("Wavelength in vacuum (Å)")
    axes.ticklabel_format(axis="x", useOffset=False)
