"""Errors of labels that are inferred from spectra of known labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ...analysis.validation import choose_held_out
from ...inference import infer
from ...libraries.grid import Grid
from ...model.model import Model, check_overlap
from ...model.queries import varying_labels
from ...parameters import parameter
from ...runtime.arrays import Floats
from ...runtime.progress import Progress, silent
from ...spectra.continuum import normalise
from ...spectra.spectrum import Spectrum, cut
from .. import style
from ..style import Drawing
from .nodes import Nodes, label_of, nodes_of

COUNT = 40
"""Number of nodes whose labels are inferred."""
_FIXED = {"rv": 0.0, "vsini": 0.0, "resolution": np.inf}


@dataclass(frozen=True, eq=False)
class Recovered:
    """True and inferred labels (N, L) of spectra."""

    truth: Floats
    found: Floats

    @property
    def error(self) -> Floats:
        """Inferred minus true, (N, L)."""
        return self.found - self.truth


def label_residuals(
    model: Model,
    *,
    over: str | None = None,
    count: int = COUNT,
    seed: int = 0,
    nodes: Nodes | None = None,
    holdout: Grid | None = None,
    progress: Progress = silent,
) -> Drawing:
    """Draw inferred minus true labels over one label, from noise-free spectra.

    Only the labels are unknown. Randomly drawn nodes and held-out spectra have a column each.

    Parameters
    ----------
    model : Model
        The model.
    over : str, optional
        The label on the axis; Teff, or the first that varies, if None.
    count : int
        Largest number of nodes.
    seed : int
        Random seed of the choice of nodes.
    nodes : Nodes, optional
        Spectra of the nodes; the model's if None.
    holdout : Grid, optional
        Spectra with the same labels. Those outside the model, or at its nodes, are left out.
    progress : callable
        Called with the progress.

    Raises
    ------
    LabelError
        The labels do not match, or no held-out spectrum lies between the nodes.
    """
    nodes = nodes_of(model) if nodes is None else nodes
    names = varying_labels(model)
    over = label_of(names, over, "a label that varies")
    rows = nodes.labels
    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    of_nodes = _infer(model, _node_spectra(model, nodes, rows[np.sort(chosen)]), "nodes", progress)
    sets = {"nodes": of_nodes}
    if holdout is not None:
        sets["held out"] = _infer(model, _held_out(model, holdout, rows), "held-out", progress)
    columns = {name: model.label_names.index(name) for name in names}
    with style.settings():
        width = style.COLUMN if len(sets) == 1 else style.PAGE
        figure = style.new_figure(width, 1.35 * len(names) + 0.55)
        panels = figure.subplots(len(names), len(sets), sharex=True, squeeze=False)
        for k, (title, found) in enumerate(sets.items()):
            number = len(found.truth)
            panels[0, k].set_title(f"{number} {_KIND[title][number != 1]}")
            panels[-1, k].set_xlabel(style.axis_title(over))
            panels[-1, k].xaxis.set_major_locator(MaxNLocator(5))
            for row, (name, column) in enumerate(columns.items()):
                _draw(panels[row, k], found, columns[over], column, _COLOURS[title])
                if k == 0:
                    panels[row, 0].set_ylabel(f"Δ {style.axis_title(name)}")
    caption = _caption(model, nodes, sets, over, names, len(rows), seed)
    numbers: dict[str, Any] = {
        "seed": seed,
        "nodes_in_library": len(rows),
        "spectra_of_nodes": nodes.source,
    }
    for title, found in sets.items():
        errors = {name: _numbers(found.error[:, column]) for name, column in columns.items()}
        numbers[title] = {"n": len(found.truth), **errors}
    return Drawing("label-residuals", "Inferred minus true labels", caption, figure, numbers)


_KIND = {"nodes": ("node", "nodes"), "held out": ("held-out spectrum", "held-out spectra")}
_COLOURS = {"nodes": style.BLUE, "held out": style.ORANGE}


def _node_spectra(model: Model, nodes: Nodes, rows: Floats) -> list[tuple[Floats, Spectrum]]:
    names = model.label_names
    return [
        (row, Spectrum(model.wavelength, nodes.flux(dict(zip(names, row.tolist(), strict=True)))))
        for row in rows
    ]


def _held_out(model: Model, grid: Grid, rows: Floats) -> list[tuple[Floats, Spectrum]]:
    """Return held-out spectra in units of their continuum, with their labels."""
    recipe = model.recipe.replace(continuum="library")
    found = []
    for i in choose_held_out(model, grid, rows).index:
        labels = grid.labels_of(i)
        spectrum = normalise(grid[i], recipe, labels.get("teff"))
        inner = cut(spectrum, check_overlap(model, spectrum.wavelength))
        values = np.array([labels[name] for name in model.label_names])
        found.append((values, replace(inner, error=None)))
    return found


def _infer(
    model: Model, spectra: list[tuple[Floats, Spectrum]], stage: str, progress: Progress
) -> Recovered:
    found = []
    for done, (_, spectrum) in enumerate(spectra):
        answer = infer(spectrum, model, fixed=_FIXED, continuum_degree=-1)
        found.append([answer.labels[name].value for name in model.label_names])
        progress(stage, done + 1, len(spectra))
    return Recovered(np.array([row for row, _ in spectra]), np.array(found))


def _draw(axes: Axes, found: Recovered, over: int, column: int, colour: str) -> None:
    """Draw every error as a dot, and mean and scatter of several at one value."""
    x, error = found.truth[:, over], found.error[:, column]
    axes.axhline(0.0, color=style.GREY, linewidth=0.6)
    single = np.unique(x).size == x.size
    size, alpha = (5, 0.8) if single else (3, 0.45)
    axes.plot(x, error, ".", color=colour, markersize=size, alpha=alpha)
    for value in np.unique(x):
        here = error[x == value]
        if here.size > 1:
            axes.errorbar(
                value,
                here.mean(),
                here.std(),
                color=colour,
                marker="o",
                markersize=4,
                capsize=2,
                linewidth=1.0,
            )


def _numbers(error: Floats) -> dict[str, float]:
    size = np.abs(error)
    return {
        "mean_abs": float(size.mean()),
        "median_abs": float(np.median(size)),
        "std": float(error.std()),
        "worst": float(size.max()),
    }


def _caption(
    model: Model,
    nodes: Nodes,
    sets: dict[str, Recovered],
    over: str,
    names: Sequence[str],
    total: int,
    seed: int,
) -> str:
    axis = parameter(over).title
    parts = [
        f"Inferred minus true labels over {axis}, from noise-free spectra with the labels as the "
        "only unknowns. Dots: single spectra; circles and bars: mean and standard deviation of "
        f"those at one {axis} (a scatter over the other labels, not an error bar). "
        f"Nodes: {len(sets['nodes'].truth)} of {total}, drawn with seed {seed}; {nodes.source}"
        + ("." if nodes.clones is not None else ", so they test the search alone.")
    ]
    if len(sets) > 1:
        parts.append("The two columns have different scales.")
    columns = {name: model.label_names.index(name) for name in names}
    for title, found in sets.items():
        sizes = np.abs(found.error).mean(axis=0)
        means = [
            f"{parameter(name).title} {sizes[column]:.2g} {parameter(name).short_unit}".rstrip()
            for name, column in columns.items()
        ]
        parts.append(f"Mean absolute errors, {title}: {', '.join(means)}.")
    return " ".join(parts)
