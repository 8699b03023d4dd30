"""The plots: names of lines, flux, residual, the whole range, and maps of one line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.core.enums import SizingModeType
from bokeh.core.properties import value
from bokeh.models import (
    BasicTicker,
    ColorBar,
    Column,
    ColumnDataSource,
    CustomJS,
    LinearColorMapper,
    NumeralTickFormatter,
    Range1d,
    RangeTool,
    Row,
)
from bokeh.palettes import PuOr11, Viridis256, interp_palette
from bokeh.plotting import figure
from bokeh.themes import Theme

from ...model.model import Model
from ...parameters import parameter
from ..style import BLUE, GREY, MISSING, ORANGE
from .assets import text_of
from .frame import Frame
from .state import Interval, model_range
from .visible_lines import LineMap

INK = "#1c2430"
_HIGHLIGHT, _CURRENT = "#56B4E9", "#E69F00"
"""Colours of the chosen line, and of the labels in a map."""
_NAMES, _RESIDUAL, _OVERVIEW = 92, 118, 54
"""Heights, pixels."""
_FONT = 'system-ui, "Segoe UI", Roboto, sans-serif'
_DIVERGING = interp_palette(PuOr11, 256)
MAP_QUANTITIES = {
    "ln_area": ("Strength", "ln of the area in Å"),
    "sigma": ("σ", "Gaussian width, mÅ"),
    "gamma": ("γ", "Lorentzian width, mÅ"),
    "shift": ("Shift", "of the centre, mÅ"),
}
"""Quantities of the maps: title and note."""
_FLAT = 1e-4
"""Least relative range of the colours of a map."""

THEME = Theme(json=json.loads(text_of("theme.json")))


def _figure(width: SizingModeType = "stretch_width", tools: str = "", **more: Any) -> figure:
    return figure(sizing_mode=width, tools=tools, **more)


@dataclass(frozen=True, eq=False)
class Plots:
    """The plots over the wavelength, with their data."""

    names: figure
    flux: figure
    residual: figure
    overview: figure
    sources: Mapping[str, ColumnDataSource]

    @property
    def column(self) -> Column:
        """All plots, one below the other."""
        rows = [self.names, self.flux, self.residual, self.overview]
        return Column(children=rows, sizing_mode="stretch_both", spacing=0, name="spectrum")

    def show(self, frame: Frame) -> None:
        """Draw a frame."""
        self.sources["model"].data = {"x": frame.x, "y": frame.flux}
        self.show_names(frame)
        star = frame.star
        if star is not None:
            self.sources["star"].data = {"x": star.x, "y": star.flux}
            self.sources["residual"].data = {"x": star.residual_x, "y": star.residual}
            self._range_residual(star.residual)
        if (self.flux.y_range.start, self.flux.y_range.end) != frame.y:
            self.flux.y_range.update(start=frame.y[0], end=frame.y[1])

    def show_names(self, frame: Frame) -> None:
        """Draw the names of a frame."""
        observed = frame.lines.observed[frame.named]
        self.sources["names"].data = {"x": observed, "name": frame.names}

    def select(self, wavelength: float | None) -> None:
        """Mark the observed wavelength (Å) of the chosen line."""
        self.sources["chosen"].data = {"x": [] if wavelength is None else [wavelength]}

    def show_star(self) -> None:
        """Show the residual, with the wavelength axis below it."""
        self.residual.visible = True
        self.flux.xaxis.visible = False

    def _range_residual(self, values: np.ndarray) -> None:
        if not np.isfinite(values).any():
            return
        size = float(np.nanquantile(np.abs(values), 0.995)) or 1.0
        half = float(np.ceil(size * 1.25 / (power := 10 ** np.floor(np.log10(size)))) * power)
        if self.residual.y_range.end != half:
            self.residual.y_range.update(start=-half, end=half)


def make_plots(model: Model, window: Range1d) -> Plots:
    """Empty plots of a model."""
    empty = {name: ColumnDataSource({"x": [], "y": []}) for name in ("model", "star", "residual")}
    sources = {
        **empty,
        "overview": ColumnDataSource({"x": [], "y": []}),
        "names": ColumnDataSource({"x": [], "name": []}),
        "chosen": ColumnDataSource({"x": []}),
    }
    for name, source in sources.items():
        source.name = f"{name}-data"
    flux = _flux(window, sources, model_range(model))
    names = _names(window, sources)
    residual = _residual(window, sources)
    return Plots(names, flux, residual, _overview(model, window, sources), sources)


def _flux(window: Range1d, sources: Mapping[str, ColumnDataSource], whole: Interval) -> figure:
    plot = _figure("stretch_both", "xpan,xwheel_zoom", x_range=window, y_range=Range1d(0.0, 1.1))
    plot.name = "flux"
    plot.toolbar.active_scroll = "auto"
    plot.min_height, plot.min_border_bottom = 150, 8
    plot.yaxis.axis_label = "Flux / continuum"
    _wavelength_axis(plot)
    plot.ray("x", 0, 0, np.pi / 2, source=sources["chosen"], line_color=_HIGHLIGHT, line_width=7,
             line_alpha=0.35)  # fmt: skip
    plot.line("x", "y", source=sources["star"], line_color=INK, line_width=2.0)
    plot.line("x", "y", source=sources["model"], line_color=ORANGE, line_width=1.2)
    code = "window_.setv({start: whole[0], end: whole[1]})"
    plot.js_on_event("doubletap", CustomJS(args={"window_": window, "whole": whole}, code=code))
    return plot


def _wavelength_axis(plot: figure) -> None:
    plot.xaxis.axis_label = "Wavelength in vacuum (Å)"
    plot.xaxis.formatter = NumeralTickFormatter(format="0.[00]")


def _names(window: Range1d, sources: Mapping[str, ColumnDataSource]) -> figure:
    plot = _figure(height=_NAMES, x_range=window, y_range=Range1d(0.0, 1.0), name="names")
    plot.outline_line_color = None
    plot.xaxis.visible = plot.yaxis.visible = False
    plot.grid.visible = False
    plot.min_border_top = plot.min_border_bottom = 0
    plot.ray("x", 0, 0, np.pi / 2, source=sources["chosen"], line_color=_HIGHLIGHT, line_width=15,
             line_alpha=0.35)  # fmt: skip
    plot.segment("x", 0.0, "x", 0.07, source=sources["names"], line_color=GREY)
    plot.text("x", 0.1, "name", angle=np.pi / 2, source=sources["names"], text_font=value(_FONT),
              text_font_size="11px", text_color=INK, text_baseline="middle")  # fmt: skip
    return plot


def _residual(window: Range1d, sources: Mapping[str, ColumnDataSource]) -> figure:
    plot = _figure(height=_RESIDUAL, x_range=window, y_range=Range1d(-0.05, 0.05), visible=False)
    plot.name = "residual"
    _wavelength_axis(plot)
    plot.min_border_top = 8
    plot.yaxis.axis_label = "Residual"
    plot.yaxis.ticker = BasicTicker(desired_num_ticks=3)
    plot.hspan(0.0, line_color=ORANGE, line_width=1.2)
    plot.line("x", "y", source=sources["residual"], line_color=INK, line_width=0.9)
    return plot


def _overview(model: Model, window: Range1d, sources: Mapping[str, ColumnDataSource]) -> figure:
    whole = Range1d(*model_range(model))
    plot = _figure(height=_OVERVIEW, x_range=whole, y_range=Range1d(0.0, 1.08), name="overview")
    plot.yaxis.visible = False
    plot.grid.visible = False
    plot.xaxis.formatter = NumeralTickFormatter(format="0.[00]")
    plot.line("x", "y", source=sources["overview"], line_color=GREY, line_width=0.8)
    tool = RangeTool(x_range=window, start_gesture="none")
    tool.overlay.update(fill_color=BLUE, fill_alpha=0.14, line_color=BLUE, line_dash="solid")
    plot.add_tools(tool)
    return plot


@dataclass(frozen=True, eq=False)
class MapPlots:
    """Maps of one line over every pair of labels, with one colour scale."""

    plots: Sequence[figure]
    images: Sequence[ColumnDataSource]
    current: Sequence[ColumnDataSource]
    colours: LinearColorMapper

    @property
    def row(self) -> Row:
        """All maps, side by side."""
        scrolled = {"overflow-x": "auto", "overflow-y": "hidden", "min-width": "0"}
        return Row(children=[*self.plots], sizing_mode="stretch_both", spacing=4, styles=scrolled)

    def show(self, maps: Sequence[LineMap], quantity: str, labels: Mapping[str, float]) -> None:
        """Draw one quantity, and mark the current labels."""
        if not maps:
            return
        every = np.concatenate([one.values[quantity].ravel() for one in maps])
        low, high = _colour_range(every)
        both = quantity == "shift" and low < 0 < high
        size = max(-low, high)
        self.colours.update(
            low=-size if both else low,
            high=size if both else high,
            palette=_DIVERGING if both else Viridis256,
        )
        for one, image, current in zip(maps, self.images, self.current, strict=True):
            values = one.values[quantity].T.astype(np.float32)
            image.data = {"image": [values]}
            current.data = {"x": [labels[one.first]], "y": [labels[one.second]]}


def _colour_range(values: np.ndarray) -> tuple[float, float]:
    if not np.isfinite(values).any():
        return 0.0, 1.0
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    least = max(_FLAT * max(abs(low), abs(high)), 1e-6)
    return (low, high) if high - low > least else (low - least, high + least)


def make_maps(model: Model, pairs: Sequence[tuple[str, str]]) -> MapPlots:
    """Empty maps over pairs of labels, with the nodes of the library as dots."""
    colours = LinearColorMapper(palette=Viridis256, low=0.0, high=1.0, nan_color=MISSING)
    plots, images, current = [], [], []
    for first, second in pairs:
        images.append(ColumnDataSource({"image": []}))
        current.append(ColumnDataSource({"x": [], "y": []}))
        plots.append(_map(model, first, second, images[-1], current[-1], colours))
    if plots:
        bar = ColorBar(
            color_mapper=colours,
            width=10,
            padding=4,
            major_label_text_font=_FONT,
            major_label_text_font_size="11px",
            ticker=BasicTicker(desired_num_ticks=5),
            name="colours",
        )
        plots[-1].add_layout(bar, "right")
    return MapPlots(plots, images, current, colours)


def _map(
    model: Model,
    first: str,
    second: str,
    image: ColumnDataSource,
    current: ColumnDataSource,
    colours: LinearColorMapper,
) -> figure:
    (x0, x1), (y0, y1) = model.bounds[first], model.bounds[second]
    plot = _figure("stretch_both", x_range=Range1d(x0, x1), y_range=Range1d(y0, y1))
    plot.min_border_left, plot.min_border_right = 56, 8
    plot.min_width = 150
    plot.grid.visible = False
    plot.xaxis.axis_label, plot.yaxis.axis_label = (
        parameter(first).heading,
        parameter(second).heading,
    )
    plot.xaxis.ticker = BasicTicker(desired_num_ticks=3)
    plot.yaxis.ticker = BasicTicker(desired_num_ticks=4)
    plot.image("image", x0, y0, x1 - x0, y1 - y0, source=image, color_mapper=colours)
    nodes = np.meshgrid(model.axes[first], model.axes[second])
    plot.scatter(*(axis.ravel() for axis in nodes), size=3, fill_color="white", line_color=INK,
                 line_width=0.5)  # fmt: skip
    plot.scatter("x", "y", source=current, size=11, marker="circle", fill_color=_CURRENT,
                 line_color="white", line_width=2)  # fmt: skip
    return plot
