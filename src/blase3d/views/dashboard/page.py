"""One page: what is asked of it by the browser, and what it answers.

Sliders ask for pictures. While one is computed, only the newest request is kept, so that the
picture follows however fast a slider is moved. What takes longer (names, information, maps, the
whole range) is computed when the sliders rest, and given up when they move again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from bokeh.document import Document, without_document_lock
from bokeh.events import Tap

from ...analysis.fisher import LineInformation
from ...errors import Blase3dError, InputError
from ...inference import infer
from ...spectra.spectrum import Spectrum
from ..figures.model_queries import choose_line, varying
from ..report.report_data import found_values
from .cards import fit_card, line_card, message
from .downloads import lines_file, model_file, star_file
from .frame import Picture, make_picture, name_texts
from .observed import Observed, fitted_to, observed
from .panel import make_panel
from .plots import make_maps, make_plots
from .session import Workshop
from .settings import Settings, fitted, inside, whole_of
from .uploads import decoded, read_upload
from .visible_lines import Map, in_view, information, maps_of
from .widgets import make_controls

log = logging.getLogger(__name__)

_REST = 250
"""Milliseconds after which sliders count as resting."""
_SCREENS = 200, 4000
"""Pixels of the narrowest and the widest pictures."""
_REACH = 7
"""Pixels of the screen around a click within which the deepest line is meant."""
_TROUBLE = "This did not work ({}); try it with other settings, or reload the page."


class Page:
    """The dashboard in one window of a browser."""

    def __init__(self, document: Document, shop: Workshop, star: Observed | None = None):
        model, first = shop.model, shop.first
        self.document, self.shop = document, shop
        self.star: Observed | None = None
        self.line = choose_line(model, first.labels) if model.reference.size else None
        self.information: LineInformation | None = None
        self.maps: list[Map] = []
        self.controls = make_controls(model, first)
        self.plots = make_plots(model, self.controls.window)
        free = varying(model)
        self.panel = make_panel(make_maps(model, [*combinations(free, 2)]), free)
        self.settings = first
        self.picture = make_picture(shop.pieces, shop.names, first)
        self._wanted: Settings | None = None
        self._busy, self._asked = False, 0
        self._show(self.picture)
        if star is not None:
            self._take(star)
        self._listen()
        self._ask()

    @property
    def roots(self) -> dict[str, Any]:
        """What the page is made of, by name."""
        return {
            **self.controls.parts,
            "spectrum": self.plots.column,
            **self.panel.roots,
        }

    # What the browser does.

    def _listen(self) -> None:
        self.controls.on_change(self._ask)
        for plot in (self.plots.flux, self.plots.names):
            plot.on_event(Tap, lambda event: self._choose_at(event.x))
        self.plots.flux.on_change("inner_width", lambda attr, old, new: self._resize(new))
        panel = self.panel
        panel.quantity.on_change("value", lambda attr, old, new: self._show_maps())
        panel.table.selected.on_change("indices", lambda attr, old, new: self._choose_row(new))
        panel.tabs.on_change("active", lambda attr, old, new: self._show_table())
        panel.upload.on_change("data", lambda attr, old, new: self._later(self._upload, dict(new)))
        panel.fit.on_click(lambda: self._later(self._fit))
        for name, make in self._files().items():
            panel.buttons[name].on_click(self._saver(name, make))

    def _files(self) -> dict[str, Callable[[], str]]:
        model, names = self.shop.model, self.shop.names

        def star() -> str:
            if self.star is None:
                raise InputError("there is no observed spectrum yet; give one first.")
            return star_file(model, self.settings, self.star)

        return {
            "model": lambda: model_file(model, self.settings),
            "spectrum": star,
            "lines": lambda: lines_file(
                model, self.settings, in_view(model, self.settings), names, self.information
            ),
        }

    def _later(self, work: Callable[..., Awaitable[None]], *given: object) -> None:
        """Run something that takes long without holding the page; what fails says so on it."""

        @without_document_lock
        async def run() -> None:
            try:
                await work(*given)
            except Blase3dError as fault:
                self._then(self.panel.say, message(str(fault), "error"))
            except Exception as fault:  # a page has no console: it says what the log has in full
                log.exception("the page could not do what was asked")
                self._then(self.panel.say, message(_TROUBLE.format(type(fault).__name__), "error"))

        self.document.add_next_tick_callback(run)

    def _then(self, show: Callable[..., None], *given: object) -> None:
        """Change the page from outside of its callbacks."""
        self.document.add_next_tick_callback(partial(show, *given))

    # Pictures.

    def _ask(self) -> None:
        settings = self.controls.settings(self.settings)
        if not inside(settings, self.shop.model):
            return
        self._asked += 1
        self._wanted = self.settings = settings
        if not self._busy:
            self._busy = True
            self._later(self._draw)

    def _resize(self, width: int) -> None:
        """The pictures are so many pixels of the screen wide."""
        self.settings = replace(self.settings, columns=int(np.clip(width, *_SCREENS)))
        self._ask()

    async def _draw(self) -> None:
        shop = self.shop
        try:
            while (settings := self._wanted) is not None:
                self._wanted = None
                picture = await shop.picture(
                    make_picture, shop.pieces, shop.names, settings, self.star, self.line
                )
                self._then(self._show, picture)
        finally:
            self._busy = False
        self._then(self._wait_for_rest, self._asked)

    def _show(self, picture: Picture) -> None:
        self.picture = picture
        self.plots.show(picture)
        self._mark_line()

    def _mark_line(self) -> None:
        lines, stretch = self.picture.lines.lines, self.settings.stretch
        self.plots.select(None if self.line is None else float(lines.center[self.line] * stretch))

    # What is computed at rest.

    def _wait_for_rest(self, asked: int) -> None:
        def begin() -> None:
            if asked == self._asked:
                self._later(self._rest, asked)

        self.document.add_timeout_callback(begin, _REST)

    async def _rest(self, asked: int) -> None:
        """Everything that does not follow the sliders at once, in order of what is looked at."""
        shop, settings = self.shop, self.settings
        for step in (self._find_maps, self._find_whole, self._find_information, self._find_names):
            await step(settings)
            if asked != self._asked:
                return
        if not shop.pieces.is_best(settings.window):
            await shop.long(shop.pieces.warm, settings.window)

    async def _find_maps(self, settings: Settings) -> None:
        if self.line is not None:
            self.maps = await self.shop.long(maps_of, self.shop.model, settings.labels, self.line)
            self._then(self._show_maps)
            self._then(self._show_line)

    async def _find_whole(self, settings: Settings) -> None:
        shop = self.shop
        whole = replace(settings, window=whole_of(shop.model), columns=1000)
        picture = await shop.long(make_picture, shop.pieces, shop.names, whole)
        data = {"x": picture.x, "y": picture.flux}
        self._then(lambda: self.plots.sources["overview"].update(data=data))

    async def _find_information(self, settings: Settings) -> None:
        self.information = await self.shop.long(information, self.shop.model, settings)
        self._then(self._show_line)
        self._then(self._show_table)

    async def _find_names(self, settings: Settings) -> None:
        names, index = self.shop.names, self.panel.listed(self.picture.lines)
        if self.line is not None:
            index = [self.line, *index]
        if await self.shop.long(names.learn, settings, [int(i) for i in index]):
            self._then(self._show_names)

    def _show_names(self) -> None:
        picture = self.picture
        texts = name_texts(picture.lines, picture.named, self.shop.names, picture.settings)
        self.plots.show_names(replace(picture, names=texts))
        self._show_line()
        self._show_table()

    def _show_maps(self) -> None:
        self.panel.show_maps(self.maps, self.settings.labels)

    def _show_line(self) -> None:
        if self.line is None:
            return
        names = self.shop.names
        lines = self.picture.lines
        card = line_card(
            lines.lines,
            self.line,
            self.shop.model.recipe.composition,
            names.known(self.settings).get(self.line),
            self.information,
            names.possible,
        )
        self.panel.line.text = card

    def _show_table(self) -> None:
        known = self.shop.names.known(self.settings)
        self.panel.show_table(self.picture.lines, known, self.information)

    # A line is chosen.

    def _choose_at(self, wavelength: float) -> None:
        low, high = self.settings.window
        reach = _REACH * (high - low) / self.settings.columns
        self._choose(self.picture.lines.at(wavelength, reach))

    def _choose_row(self, rows: list[int]) -> None:
        index = self.panel.table.data["index"]
        if rows and rows[0] < len(index):
            self._choose(int(index[rows[0]]))

    def _choose(self, line: int | None) -> None:
        if line is None or line == self.line:
            return
        self.line = line
        self._ask()
        self._show_line()

    # An observed spectrum.

    async def _upload(self, data: dict[str, Any]) -> None:
        name, content, medium = decoded(data)
        spectrum: Spectrum = await self.shop.long(read_upload, name, content, medium)
        star = await self.shop.long(observed, name, spectrum, self.shop.model)
        self._then(self._take, star)

    def _take(self, star: Observed) -> None:
        """Show an observation."""
        model = self.shop.model
        self.star = star
        self.panel.show_star(star.name)
        self.plots.show_star()
        resolution = star.spectrum.resolution or np.inf
        low, high = star.range
        start, end = self.settings.window
        if end < low or start > high:
            start, end = fitted((low, high), min(end - start, high - low), model)
            self.controls.window.update(start=start, end=end)
        self.controls.set_star(replace(self.settings, resolution=resolution))
        self._ask()

    async def _fit(self) -> None:
        star, model = self.star, self.shop.model
        if star is None:
            raise InputError("there is no observed spectrum yet; give one first.")
        self._then(self.panel.fitting, True)
        try:
            found = await self.shop.long(infer, star.spectrum, model)
            self._then(self._fitted, await self.shop.long(fitted_to, star, found, model))
        finally:
            self._then(self.panel.fitting, False)

    def _fitted(self, star: Observed) -> None:
        if star.inference is None:
            return
        self.star = star
        labels, sight = found_values(star.inference, self.shop.model)
        settings = replace(
            self.settings,
            labels=labels,
            rv=sight.get("rv", 0.0),
            vsini=sight.get("vsini", 0.0),
            resolution=sight.get("resolution", np.inf),
        )
        self.controls.set_star(settings)
        self.panel.say(fit_card(star.inference))
        self._ask()

    # Files to take away.

    def _saver(self, name: str, make: Callable[[], str]) -> Callable[[], None]:
        def save() -> None:
            self._later(self._save, name, make)

        return save

    async def _save(self, name: str, make: Callable[[], str]) -> None:
        text = await self.shop.long(make)
        self._then(self.panel.save, f"blase3d-{name}.ecsv", text)
