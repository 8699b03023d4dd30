"""The page's pictures: names of lines, flux, residual, the whole range, and maps of one line."""

from __future__ import annotations

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
from .frame import Picture
from .settings import whole_of
from .visible_lines import Map

INK, QUIET, FRAME = "#1c2430", "#6b7280", "#c8ced6"
_LEFT, _RIGHT = 66, 14
_NAMES, _RESIDUAL, _OVERVIEW = 92, 118, 54
_FONT = 'system-ui, "Segoe UI", Roboto, sans-serif'
_DIVERGING = interp_palette(PuOr11, 256)
QUANTITIES = {
    "ln_area": ("Strength", "ln of the area in Å"),
    "sigma": ("σ", "Gaussian width, mÅ"),
    "gamma": ("γ", "Lorentzian width, mÅ"),
    "shift": ("Shift", "of the centre, mÅ"),
}
"""What maps show: in a word, and what it is."""
_FLAT = 1e-4
"""Part of itself by which a quantity changes at the least to have a range of colours."""

THEME = Theme(
    json={
        "attrs": {
            "Plot": {
                "background_fill_color": "#ffffff",
                "border_fill_color": "#ffffff",
                "outline_line_color": FRAME,
                "min_border_left": _LEFT,
                "min_border_right": _RIGHT,
                "min_border_top": 2,
                "min_border_bottom": 2,
                "toolbar_location": None,
                "lod_threshold": None,
            },
            "Axis": {
                "axis_line_color": None,
                "major_tick_line_color": FRAME,
                "minor_tick_line_color": None,
                "major_label_text_color": QUIET,
                "major_label_text_font": _FONT,
                "major_label_text_font_size": "11px",
                "axis_label_text_color": INK,
                "axis_label_text_font": _FONT,
                "axis_label_text_font_size": "12px",
                "axis_label_text_font_style": "normal",
                "axis_label_standoff": 6,
            },
            "Grid": {"grid_line_color": "#eef1f4"},
        }
    }
)


def _figure(width: SizingModeType = "stretch_width", tools: str = "", **more: Any) -> figure:
    return figure(sizing_mode=width, tools=tools, **more)


@dataclass(frozen=True, eq=False)
class Plots:
    """The pictures over the wavelength, with the data that they draw."""

    names: figure
    flux: figure
    residual: figure
    overview: figure
    sources: Mapping[str, ColumnDataSource]

    @property
    def column(self) -> Column:
        """All of them, one below the other."""
        rows = [self.names, self.flux, self.residual, self.overview]
        return Column(children=rows, sizing_mode="stretch_both", spacing=0, name="spectrum")

    def show(self, picture: Picture) -> None:
        """Draw a picture."""
        self.sources["model"].data = {"x": picture.x, "y": picture.flux}
        self.show_names(picture)
        star = picture.star
        if star is not None:
            self.sources["star"].data = {"x": star.x, "y": star.flux}
            self.sources["residual"].data = {"x": star.residual_x, "y": star.residual}
            self._range_residual(star.residual)
        if (self.flux.y_range.start, self.flux.y_range.end) != picture.y:
            self.flux.y_range.update(start=picture.y[0], end=picture.y[1])

    def show_names(self, picture: Picture) -> None:
        """Draw the names of a picture."""
        seen = picture.lines.seen[picture.named]
        self.sources["names"].data = {"x": seen, "name": picture.names}

    def select(self, seen: float | None) -> None:
        """Mark the wavelength (Å) of the chosen line."""
        self.sources["chosen"].data = {"x": [] if seen is None else [seen]}

    def show_star(self) -> None:
        """There is an observation: a residual is shown, and the axis below it."""
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
    """Pictures of a model, empty yet."""
    empty = {name: ColumnDataSource({"x": [], "y": []}) for name in ("model", "star", "residual")}
    sources = {
        **empty,
        "overview": ColumnDataSource({"x": [], "y": []}),
        "names": ColumnDataSource({"x": [], "name": []}),
        "chosen": ColumnDataSource({"x": []}),
    }
    for name, source in sources.items():
        source.name = f"{name}-data"
    flux = _flux(window, sources, whole_of(model))
    names = _names(window, sources)
    residual = _residual(window, sources)
    return Plots(names, flux, residual, _overview(model, window, sources), sources)


def _flux(
    window: Range1d, sources: Mapping[str, ColumnDataSource], whole: tuple[float, float]
) -> figure:
    plot = _figure("stretch_both", "xpan,xwheel_zoom", x_range=window, y_range=Range1d(0.0, 1.1))
    plot.name = "flux"
    plot.toolbar.active_scroll = "auto"
    plot.min_height, plot.min_border_bottom = 150, 8
    plot.yaxis.axis_label = "Flux / continuum"
    _wavelength_axis(plot)
    plot.ray("x", 0, 0, np.pi / 2, source=sources["chosen"], line_color="#56B4E9", line_width=7,
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
    plot.ray("x", 0, 0, np.pi / 2, source=sources["chosen"], line_color="#56B4E9", line_width=15,
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
    whole = Range1d(*whole_of(model))
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
    """Maps of one line over every pair of labels, in one scale of colours."""

    plots: Sequence[figure]
    images: Sequence[ColumnDataSource]
    here: Sequence[ColumnDataSource]
    colours: LinearColorMapper

    @property
    def row(self) -> Row:
        """All of them, side by side."""
        return Row(children=[*self.plots], sizing_mode="stretch_both", spacing=4)

    def show(self, maps: Sequence[Map], quantity: str, labels: Mapping[str, float]) -> None:
        """Draw one quantity, and where the labels are."""
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
        for one, image, here in zip(maps, self.images, self.here, strict=True):
            values = one.values[quantity].T.astype(np.float32)
            image.data = {"image": [values]}
            here.data = {"x": [labels[one.first]], "y": [labels[one.second]]}


def _colour_range(values: np.ndarray) -> tuple[float, float]:
    if not np.isfinite(values).any():
        return 0.0, 1.0
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    least = max(_FLAT * max(abs(low), abs(high)), 1e-6)
    return (low, high) if high - low > least else (low - least, high + least)


def make_maps(model: Model, pairs: Sequence[tuple[str, str]]) -> MapPlots:
    """Maps over pairs of labels, empty yet, with the nodes of the library as dots."""
    colours = LinearColorMapper(palette=Viridis256, low=0.0, high=1.0, nan_color=MISSING)
    plots, images, here = [], [], []
    for first, second in pairs:
        images.append(ColumnDataSource({"image": []}))
        here.append(ColumnDataSource({"x": [], "y": []}))
        plots.append(_map(model, first, second, images[-1], here[-1], colours))
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
    return MapPlots(plots, images, here, colours)


def _map(
    model: Model,
    first: str,
    second: str,
    image: ColumnDataSource,
    here: ColumnDataSource,
    colours: LinearColorMapper,
) -> figure:
    (x0, x1), (y0, y1) = model.bounds[first], model.bounds[second]
    plot = _figure("stretch_both", x_range=Range1d(x0, x1), y_range=Range1d(y0, y1))
    plot.min_border_left, plot.min_border_right = 56, 8
    plot.min_width = 150
    plot.grid.visible = False
    plot.xaxis.axis_label, plot.yaxis.axis_label = _axis_title(first), _axis_title(second)
    plot.xaxis.ticker = BasicTicker(desired_num_ticks=3)
    plot.yaxis.ticker = BasicTicker(desired_num_ticks=4)
    plot.image("image", x0, y0, x1 - x0, y1 - y0, source=image, color_mapper=colours)
    nodes = np.meshgrid(model.axes[first], model.axes[second])
    plot.scatter(*(axis.ravel() for axis in nodes), size=3, fill_color="white", line_color=INK,
                 line_width=0.5)  # fmt: skip
    plot.scatter("x", "y", source=here, size=11, marker="circle", fill_color="#E69F00",
                 line_color="white", line_width=2)  # fmt: skip
    return plot


def _axis_title(name: str) -> str:
    return parameter(name).heading
