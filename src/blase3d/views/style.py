"""Style of static figures: sizes in print, colours, and names of labels.

Colours are those of Okabe & Ito (2008) for curves, and viridis or cividis for maps: colour-blind
readers can distinguish them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..model.model import Model
from ..parameters import parameter

COLUMN, PAGE = 3.4, 7.1
"""Widths of one column and of a page, inches."""
BLACK, ORANGE, BLUE, GREEN, PINK, AMBER, SKY, GREY = (
    "#000000",
    "#D55E00",
    "#0072B2",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#6E6E6E",
)
MAP, DIVERGING = "viridis", "PuOr"
MISSING = "#D9D9D9"
"""Missing values in maps."""
_RC: dict[Any, Any] = {
    "font.size": 8.0,
    "axes.labelsize": 8.0,
    "axes.titlesize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.0,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "mathtext.fontset": "dejavusans",
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "blase3d",
}


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure with its caption and numbers.

    Attributes
    ----------
    name : str
        Name of its file, without ending.
    title : str
        Title of a few words.
    caption : str
        The caption.
    figure : Figure
        The figure, without a window.
    numbers : dict
        The numbers shown, in types of JSON.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    numbers: Mapping[str, Any] = field(default_factory=dict)


def settings() -> AbstractContextManager[None]:
    """Return a context with the settings for drawing and saving figures."""
    return matplotlib.rc_context(_RC)


def new_figure(width: float, height: float) -> Figure:
    """Make an empty white figure of a size in inches."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def axis_title(name: str) -> str:
    """Return symbol and unit of a parameter, for an axis."""
    found = parameter(name)
    return f"{found.symbol} ({found.short_unit})" if found.unit else found.symbol


def label_text(labels: Mapping[str, float]) -> str:
    """Return labels as in a sentence: `Teff 5750 K, log g 4.5, [Fe/H] 0`."""
    parts = [
        f"{parameter(name).title} {value:.6g}" + (" K" if name == "teff" else "")
        for name, value in labels.items()
    ]
    return ", ".join(parts)


def edges(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the edges (n + 1,) of cells around increasing values (n,), midway between them."""
    if axis.size == 1:
        return np.array([axis[0] - 0.5, axis[0] + 0.5])
    middle = (axis[1:] + axis[:-1]) / 2
    return np.concatenate([[2 * axis[0] - middle[0]], middle, [2 * axis[-1] - middle[-1]]])


def mark_nodes(axes: Axes, model: Model, first: str, second: str) -> None:
    """Mark every node of the box with a dot, also on the frame."""
    axes.plot(
        *np.meshgrid(model.axes[first], model.axes[second]),
        ".",
        color="white",
        markersize=3.2,
        markeredgecolor=BLACK,
        markeredgewidth=0.4,
        clip_on=False,
        zorder=5,
    )
