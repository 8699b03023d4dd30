"""The panels around the plots: the chosen line, the lines in view, fit and downloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import (
    Button,
    Column,
    ColumnDataSource,
    CustomJS,
    DataTable,
    Div,
    InlineStyleSheet,
    NumberFormatter,
    Row,
    Select,
    TableColumn,
    TabPanel,
    Tabs,
)

from ...analysis.fisher import LineInformation
from ...analysis.identify import Identification
from ...parameters import parameter
from .assets import text_of
from .html_text import message
from .plots import MAP_QUANTITIES, MapPlots
from .visible_lines import MOST, LineMap, VisibleLines, species_of
from .widgets import sheet

_LINE_WIDTH = 296
"""Width of the text on the chosen line, pixels."""
_FILES = {
    "model": "Model",
    "spectrum": "Spectrum and residual",
    "lines": "Lines",
    "report": "Report",
}
_NEED_STAR = {"spectrum"}
_NEED_FIT = {"report", "command"}
"""Buttons that work once there is a spectrum, and once it has been fitted."""


@dataclass(frozen=True, eq=False)
class Panel:
    """Bokeh models that a page changes and listens to."""

    maps: MapPlots
    quantity: Select
    line: Div
    table: ColumnDataSource
    tabs: Tabs
    upload: ColumnDataSource
    download: ColumnDataSource
    star: ColumnDataSource
    fit: Button
    message: Div
    buttons: Mapping[str, Button]

    @property
    def roots(self) -> dict[str, Any]:
        """The roots of the document, by name."""
        hidden = [self.upload, self.download, self.star]
        fit = Column(children=[self.fit, self.message], sizing_mode="stretch_width", tags=hidden)
        downloads = Row(children=[*self.buttons.values()], spacing=6)
        return {"fit": fit, "downloads": downloads, "details": self.tabs}

    def say(self, html: str) -> None:
        """Show a text below the button for the fit."""
        self.message.text = html

    def fitting(self, running: bool) -> None:
        """Show whether a fit is running."""
        self.fit.update(disabled=running, label="Fitting…" if running else "Fit the spectrum")
        if running:
            self.say(message("Fitting labels, velocity and broadening; the first fit takes some "
                             "seconds more.", "busy"))  # fmt: skip

    def show_star(self, name: str) -> None:
        """Show the name of the observation, and allow it to be fitted."""
        self.star.data = {"name": [name]}
        self.fit.disabled = False
        for name in self.buttons:
            self.buttons[name].disabled = name in _NEED_FIT
        self.say("")

    def show_fit(self, html: str) -> None:
        """Show the result of a fit, and allow its report and its command."""
        for name in _NEED_FIT:
            self.buttons[name].disabled = False
        self.say(html)

    def show_maps(self, maps: Sequence[LineMap], labels: Mapping[str, float]) -> None:
        """Draw maps of the chosen quantity."""
        self.maps.show(maps, self.quantity.value, labels)

    def listed(self, lines: VisibleLines) -> Sequence[int]:
        """Indices of the lines in the table."""
        return [int(i) for i in lines.index[:MOST]]

    def show_table(
        self,
        lines: VisibleLines,
        known: Mapping[int, Identification],
        found: LineInformation | None,
    ) -> None:
        """List the deepest lines in view, in order of wavelength."""
        sort = np.argsort(lines.observed[:MOST], kind="stable")
        index = lines.index[:MOST][sort]
        self.table.selected.indices = []
        data: dict[str, Any] = {
            "index": index,
            "wavelength": lines.lines.center[index],
            "depth": lines.depth[:MOST][sort],
            "name": [species_of(known.get(int(i))) for i in index],
        }
        for name in self._shares:
            data[name] = np.full(index.size, np.nan)
            if found is not None and name in found.names:
                data[name] = found.share[index, found.names.index(name)]
        self.table.data = data
        self.tabs.tabs[1].title = f"Lines in view ({lines.index.size:,})"

    @property
    def _shares(self) -> list[str]:
        fixed = ("index", "wavelength", "depth", "name")
        return [name for name in self.table.data if name not in fixed]

    def save(self, name: str, text: str) -> None:
        """Have the browser save a text."""
        self.download.data = {"name": [name], "text": [text]}


def make_panel(maps: MapPlots, labels: Sequence[str]) -> Panel:
    """Empty panels; `labels` are those that vary."""
    style, text = sheet(), InlineStyleSheet(css=text_of("text.css"))
    line = Div(
        name="line", width=_LINE_WIDTH, sizing_mode="stretch_height", stylesheets=[text], margin=0,
        styles={"overflow-y": "auto"},
    )  # fmt: skip
    options = [(name, f"{title}: {note}") for name, (title, note) in MAP_QUANTITIES.items()]
    quantity = Select(
        value="ln_area", options=options, width=230, stylesheets=[style], name="quantity", margin=0
    )
    narrow = {"min-width": "0", "overflow": "hidden"}
    plots = Column(
        children=[quantity, maps.row], sizing_mode="stretch_both", spacing=2, styles=narrow
    )
    card = Row(children=[line, plots], sizing_mode="stretch_both", spacing=16, styles=narrow)
    names = ("index", "wavelength", "depth", "name", *labels)
    table = ColumnDataSource({name: [] for name in names}, name="lines-data")
    tabs = Tabs(
        tabs=[
            TabPanel(child=card, title="Line"),
            TabPanel(child=_table(table, labels), title="Lines in view"),
        ],
        sizing_mode="stretch_both",
        name="details",
        stylesheets=[text_of("tabs.css")],
    )
    download = ColumnDataSource({"name": [], "text": []}, name="download")
    star = ColumnDataSource({"name": []}, name="star-name")
    for source, event in ((download, "blase3d-save"), (star, "blase3d-star")):
        source.js_on_change("data", CustomJS(args={"event": event}, code=text_of("announce.js")))
    buttons = {
        name: Button(
            label=f"↓ {title}", stylesheets=[style], margin=0, name=f"save-{name}",
            disabled=name in _NEED_STAR | _NEED_FIT,
        )
        for name, title in _FILES.items()
    }  # fmt: skip
    buttons["command"] = Button(
        label="Command", stylesheets=[style], margin=0, name="show-command", disabled=True
    )
    return Panel(
        maps,
        quantity,
        line,
        table,
        tabs,
        ColumnDataSource({"name": [], "content": [], "medium": [], "time": []}, name="upload"),
        download,
        star,
        Button(label="Fit the spectrum", button_type="primary", disabled=True, name="fit-button",
               stylesheets=[style], sizing_mode="stretch_width", margin=(2, 0, 0, 0)),
        Div(name="message", stylesheets=[text], sizing_mode="stretch_width", margin=0),
        buttons,
    )  # fmt: skip


def _table(source: ColumnDataSource, labels: Sequence[str]) -> DataTable:
    columns = [
        TableColumn(field="wavelength", title="Vacuum, at rest (Å)", width=120,
                    formatter=NumberFormatter(format="0.000", text_align="right")),
        TableColumn(field="depth", title="Depth, alone", width=90,
                    formatter=NumberFormatter(format="0.000", text_align="right")),
        TableColumn(field="name", title="Species", width=110),
    ]  # fmt: skip
    share = NumberFormatter(format="0.000 %", text_align="right", nan_format="–")
    columns += [
        TableColumn(
            field=name, title=f"Share in {parameter(name).title}", width=110, formatter=share
        )
        for name in labels
    ]
    return DataTable(
        source=source, columns=columns, index_position=None, sizing_mode="stretch_both",
        autosize_mode="force_fit", row_height=23, name="lines", reorderable=False,
    )  # fmt: skip
