"""Maps over two labels: the number of lines, and the four parameters of one line."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from ...model.model import Model
from ...model.queries import (
    choose_line,
    count_lines,
    label_mesh,
    line_over_labels,
    line_quantities,
    middle_node,
)
from ...parameters import parameter
from ...recipe import JointFit
from ...runtime.arrays import Floats, Integers
from .. import style
from ..style import Drawing
from .nodes import pair_of

DEPTH = 0.01
"""Central depth of the faintest lines that are counted."""
_POINTS = 81
"""Points of a smooth map along each label."""
_FEW = 6
"""Number of values of a label up to which each has a tick, and every count is written."""
_TITLES = {
    "ln_area": r"$\ln a$  ($a$ in Å)",
    "sigma": r"$\sigma$ (mÅ)",
    "gamma": r"$\gamma$ (mÅ)",
    "shift": r"$\mu\prime - \mu$ (mÅ)",
}
_FLAT = 1e-4
"""Relative change below which a parameter is drawn as constant."""


def line_counts(
    model: Model, *, over: tuple[str, str] | None = None, depth: float = DEPTH
) -> Drawing:
    """Draw the number of lines at the nodes over two labels.

    All nodes share one catalogue (except in the recipe `paper`), so the lines are counted that
    alone have a central depth of at least `depth`.

    Raises
    ------
    LabelError
        Not two labels that vary.
    """
    first, second = pair_of(model, over)
    base = middle_node(model)
    x, y = model.axes[first], model.axes[second]
    counts = count_lines(model, label_mesh(model, base, {first: x, second: y}), depth)
    table = counts.reshape(x.size, y.size)
    with style.settings():
        figure = style.new_figure(style.COLUMN, 2.7)
        axes = figure.subplots()
        mesh = axes.pcolormesh(style.edges(x), style.edges(y), table.T, cmap="cividis", linewidth=0)
        mesh.set_edgecolor("face")
        _label_axes(axes, first, second)
        for axis, values in ((axes.xaxis, x), (axes.yaxis, y)):
            if values.size <= _FEW:
                axis.set_ticks(values)
        figure.colorbar(mesh, ax=axes, label=f"Lines deeper than {depth:g}", pad=0.02)
        if max(table.shape) <= _FEW:
            _write_counts(axes, x, y, table)
    held = _held(base, first, second)
    low, high = int(counts.min()), int(counts.max())
    caption = (
        f"Number of lines that alone have a central depth of at least {depth:g} of the continuum, "
        f"at the nodes over {parameter(first).title} and {parameter(second).title}{held}: {low:,} "
        f"to {high:,} of the {model.reference.size:,} lines of the catalogue, between "
        f"{model.wavelength[0]:.0f} and {model.wavelength[-1]:.0f} Å (vacuum)."
    )
    numbers = {
        first: x.tolist(),
        second: y.tolist(),
        "counts": table.tolist(),
        "depth": depth,
        "catalogue": int(model.reference.size),
        "at": base,
    }
    return Drawing("line-counts", "Number of lines over the grid", caption, figure, numbers)


def line_maps(
    model: Model, *, over: tuple[str, str] | None = None, line: float | None = None
) -> Drawing:
    """Draw ln a, σ, γ and µ′ − µ of one line over two labels, as `Model.flux` interpolates them.

    The map is of the nodes if these were cloned one by one, and smooth after a joint fit.

    Parameters
    ----------
    model : Model
        The model.
    over : pair of str, optional
        The labels; Teff and log g if None.
    line : float, optional
        Å, vacuum: the strongest line near it is drawn; the strongest of all if None.

    Raises
    ------
    LabelError
        Not two labels that vary.
    InputError
        The line lies outside the model.
    """
    first, second = pair_of(model, over)
    base = middle_node(model)
    index = choose_line(model, base, line)
    smooth = isinstance(model.recipe.fit, JointFit)
    x, y = (
        np.linspace(*model.bounds[name], _POINTS) if smooth else model.axes[name]
        for name in (first, second)
    )
    params = line_over_labels(model, index, label_mesh(model, base, {first: x, second: y}))
    found = line_quantities(params.reshape(x.size, y.size, 4))
    panels = {_TITLES[name]: values for name, values in found.items()}
    with style.settings():
        figure = style.new_figure(style.PAGE, 4.9)
        for axes, (title, values) in zip(figure.subplots(2, 2).flat, panels.items(), strict=True):
            _draw_map(figure, axes, x, y, values, title, smooth)
            _label_axes(axes, first, second)
            if smooth:
                style.mark_nodes(axes, model, first, second)
    reference = float(model.reference[index])
    missing = float(np.isnan(params[:, 1]).mean())
    caption = (
        f"The line at {reference:.2f} Å (vacuum) over {parameter(first).title} and "
        f"{parameter(second).title}{_held(base, first, second)}: ln of its area a in Å, its "
        "Gaussian width σ (standard deviation) and Lorentzian width γ (half width at half "
        "maximum), and the shift of its centre µ′ from its reference wavelength µ. "
        + ("Dots: the nodes of the library." if smooth else "At the nodes of the library.")
        + (f" Grey: the line is missing ({missing:.0%})." if missing else "")
    )
    numbers = {
        "line": reference,
        "missing": missing,
        "ranges": {name: _extremes(values) for name, values in panels.items()},
        "at": base,
    }
    return Drawing("line-maps", "One line over the labels", caption, figure, numbers)


def _extremes(values: Floats) -> list[float]:
    return [float(np.nanmin(values)), float(np.nanmax(values))]


def _draw_map(
    figure: Figure,
    axes: Axes,
    x: Floats,
    y: Floats,
    values: Floats,
    title: str,
    smooth: bool,
) -> None:
    low, high = _extremes(values)
    if high - low <= _FLAT * max(abs(low), abs(high)):
        _draw_constant(axes, x, y, low, title)
        return
    both = low < 0 < high and "mu" in title
    size = max(-low, high)
    norm = TwoSlopeNorm(0.0, -size, size) if both else None
    axes.set_facecolor(style.MISSING)
    mesh = axes.pcolormesh(
        x if smooth else style.edges(x),
        y if smooth else style.edges(y),
        np.ma.masked_invalid(values.T),
        cmap=style.DIVERGING if both else style.MAP,
        norm=norm,
        shading="gouraud" if smooth else "flat",
        rasterized=True,
    )
    bar = figure.colorbar(mesh, ax=axes, pad=0.02, label=title)
    bar.ax.ticklabel_format(useOffset=False)


def _draw_constant(axes: Axes, x: Floats, y: Floats, value: float, title: str) -> None:
    """Draw a panel with the value of a parameter that is the same everywhere."""
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(y[0], y[-1])
    text = f"{title} = {value:.4g}\neverywhere"
    drawn = axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", zorder=6)
    drawn.set_bbox({"facecolor": "white", "edgecolor": "none"})  # above the dots of the nodes


def _label_axes(axes: Axes, first: str, second: str) -> None:
    axes.set_xlabel(style.axis_title(first))
    axes.set_ylabel(style.axis_title(second))
    axes.tick_params(which="both", direction="out", top=False, right=False)


def _write_counts(axes: Axes, x: Floats, y: Floats, table: Integers) -> None:
    middle = (int(table.min()) + int(table.max())) / 2
    for i, a in enumerate(x):
        for k, b in enumerate(y):
            colour = "white" if table[i, k] < middle else "black"
            axes.text(a, b, str(table[i, k]), ha="center", va="center", color=colour, fontsize=6)


def _held(base: Mapping[str, float], first: str, second: str) -> str:
    """Return the labels that are held, as part of a sentence."""
    held = {name: value for name, value in base.items() if name not in (first, second)}
    return f" at {style.label_text(held)}" if held else ""
