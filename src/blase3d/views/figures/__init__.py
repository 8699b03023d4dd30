"""Figures of a model: the process, its lines, the points between its nodes, its errors and speed.

Each function returns a `Drawing`: a matplotlib figure with its caption and numbers.

    drawing = line_maps(model, over=("teff", "feh"), line=8664.5)
    drawing.figure.savefig("maps.pdf")
"""

from ..style import Drawing
from .between_nodes import line_or_pixel, reconstruction
from .gallery import FORMATS, Settings, Written, draw_figures, figures_of
from .label_errors import label_residuals
from .maps import line_counts, line_maps
from .nodes import Nodes, nodes_of
from .overview import process
from .timing import speed

__all__ = [
    "FORMATS",
    "Drawing",
    "Nodes",
    "Settings",
    "Written",
    "draw_figures",
    "figures_of",
    "label_residuals",
    "line_counts",
    "line_maps",
    "line_or_pixel",
    "nodes_of",
    "process",
    "reconstruction",
    "speed",
]
