"""One page: its reactions to the browser.

Sliders request frames. While a frame is computed only the newest request is kept, so that the plot
follows however fast a slider moves. Slow work (maps, the whole range, information, names) is done
when the sliders rest, and abandoned when they move again.
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
from ...inference import Inference, infer
from ...model.model import Model
from ...model.queries import choose_line, varying_labels
from ...spectra.spectrum import Spectrum
from ..report.report_data import found_values
from .downloads import command_of, lines_ecsv, model_ecsv, report_html, star_ecsv
from .frame import Frame, make_frame, name_texts
from .html_text import command_html, fit_html, line_html, message
from .panel import make_panel
from .plots import make_maps, make_plots
from .session import Session
from .star import ShownStar, show_star, with_fit
from .state import ViewState, fit_window, is_possible, model_range, model_shown
from .uploads import decoded, read_upload
from .visible_lines import LineMap, find_visible, information_at, maps_of
from .widgets import make_controls

log = logging.getLogger(__name__)

_REST = 250
"""Time without a change after which sliders are at rest, ms."""
_WIDTHS = 200, 4000
"""Narrowest and widest plot, pixels of the screen."""
_OVERVIEW_WIDTH = 1000
"""Width that the plot of the whole range is computed for, pixels."""
_CLICK = 7
"""Distance from a click within which the deepest line is chosen, pixels of the screen."""
_FAILED = "This did not work ({}); try other settings, or reload the page."


class Page:
    """The dashboard in one window of a browser."""

    def __init__(self, document: Document, session: Session, star: ShownStar | None = None):
        model, first = session.model, session.first
        self.document, self.session = document, session
        self.star: ShownStar | None = None
        self.found: Inference | None = None
        self.command = ""
        self.line = choose_line(model, first.labels) if model.reference.size else None
        self.information: LineInformation | None = None
        self.maps: list[LineMap] = []
        self.controls = make_controls(model, first)
        self.plots = make_plots(model, self.controls.window)
        free = varying_labels(model)
        self.panel = make_panel(make_maps(model, [*combinations(free, 2)]), free)
        self.state = first
        self.frame = make_frame(session.compiled, session.names, first)
        self._wanted: ViewState | None = None
        self._busy, self._asked = False, 0
        self._show(self.frame)
        if star is not None:
            self._take(star)
        self._listen()
        self._ask()

    @property
    def roots(self) -> dict[str, Any]:
        """The roots of the document, by name."""
        return {
            **self.controls.columns,
            "spectrum": self.plots.column,
            **self.panel.roots,
        }

    # Events of the browser.

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
        panel.buttons["command"].on_click(lambda: self.panel.say(command_html(self.command)))

    def _files(self) -> dict[str, Callable[[], str]]:
        model, names = self.session.model, self.session.names

        def shown() -> Model:
            return model_shown(model, self.state)

        def star() -> str:
            if self.star is None:
                raise InputError("there is no observed spectrum yet; give one first.")
            return star_ecsv(shown(), self.state, self.star)

        def report() -> str:
            if self.found is None or self.star is None:
                raise InputError("there is no fit yet; fit the spectrum first.")
            return report_html(model, self.found, self.star.name, self.command)

        return {
            "report": report,
            "model": lambda: model_ecsv(shown(), self.state),
            "spectrum": star,
            "lines": lambda: lines_ecsv(
                shown(), self.state, find_visible(shown(), self.state), names, self.information
            ),
        }

    def _later(self, work: Callable[..., Awaitable[None]], *given: object) -> None:
        """Run slow work without blocking the page. Failures are shown on the page."""

        @without_document_lock
        async def run() -> None:
            try:
                await work(*given)
            except Blase3dError as fault:
                self._then(self.panel.say, message(str(fault), "error"))
            except Exception as fault:  # a page has no console; the log has the traceback
                log.exception("the page could not do what was asked")
                self._then(self.panel.say, message(_FAILED.format(type(fault).__name__), "error"))

        self.document.add_next_tick_callback(run)

    def _then(self, show: Callable[..., None], *given: object) -> None:
        """Change the page from outside its callbacks."""
        self.document.add_next_tick_callback(partial(show, *given))

    # Frames.

    def _ask(self) -> None:
        state = self.controls.state(self.state)
        if not is_possible(state, self.session.model):
            return
        self._asked += 1
        self._wanted = self.state = state
        if not self._busy:
            self._busy = True
            self._later(self._draw)

    def _resize(self, width: int) -> None:
        """Take the new width of the plots, pixels of the screen."""
        self.state = replace(self.state, columns=int(np.clip(width, *_WIDTHS)))
        self._ask()

    async def _draw(self) -> None:
        session = self.session
        try:
            while (state := self._wanted) is not None:
                self._wanted = None
                frame = await session.run_quick(
                    make_frame, session.compiled, session.names, state, self.star, self.line
                )
                self._then(self._show, frame)
        finally:
            self._busy = False
        self._then(self._wait_for_rest, self._asked)

    def _show(self, frame: Frame) -> None:
        self.frame = frame
        self.plots.show(frame)
        self._mark_line()

    def _mark_line(self) -> None:
        centers, factor = self.frame.lines.lines.center, self.state.doppler_factor
        self.plots.select(None if self.line is None else float(centers[self.line] * factor))

    # Work at rest.

    def _wait_for_rest(self, asked: int) -> None:
        def begin() -> None:
            if asked == self._asked:
                self._later(self._rest, asked)

        self.document.add_timeout_callback(begin, _REST)

    async def _rest(self, asked: int) -> None:
        """Do the slow work, in the order in which it is looked at."""
        session, state = self.session, self.state
        for step in (self._find_maps, self._find_whole, self._find_information, self._find_names):
            await step(state)
            if asked != self._asked:
                return
        if not session.compiled.is_compiled(state.window):
            await session.run_slow(session.compiled.compile, state.window)

    async def _find_maps(self, state: ViewState) -> None:
        if self.line is not None:
            model = self.session.model
            self.maps = await self.session.run_slow(maps_of, model, state.labels, self.line)
            self._then(self._show_maps)
            self._then(self._show_line)

    async def _find_whole(self, state: ViewState) -> None:
        session, window = self.session, model_range(self.session.model)
        whole = replace(state, window=window, columns=_OVERVIEW_WIDTH)
        frame = await session.run_slow(make_frame, session.compiled, session.names, whole)
        data = {"x": frame.x, "y": frame.flux}
        self._then(lambda: self.plots.sources["overview"].update(data=data))

    async def _find_information(self, state: ViewState) -> None:
        session = self.session
        self.information = await session.run_slow(information_at, session.model, state)
        self._then(self._show_line)
        self._then(self._show_table)

    async def _find_names(self, state: ViewState) -> None:
        names, index = self.session.names, self.panel.listed(self.frame.lines)
        if self.line is not None:
            index = [self.line, *index]
        if await self.session.run_slow(names.learn, state, [int(i) for i in index]):
            self._then(self._show_names)

    def _show_names(self) -> None:
        frame = self.frame
        texts = name_texts(frame.lines, frame.named, self.session.names, frame.state)
        self.plots.show_names(replace(frame, names=texts))
        self._show_line()
        self._show_table()

    def _show_maps(self) -> None:
        self.panel.show_maps(self.maps, self.state.labels)

    def _show_line(self) -> None:
        if self.line is None:
            return
        names = self.session.names
        self.panel.line.text = line_html(
            self.frame.lines.lines,
            self.line,
            self.session.model.recipe.composition,
            names.known(self.state).get(self.line),
            self.information,
            names.possible,
        )

    def _show_table(self) -> None:
        known = self.session.names.known(self.state)
        self.panel.show_table(self.frame.lines, known, self.information)

    # The chosen line.

    def _choose_at(self, wavelength: float) -> None:
        low, high = self.state.window
        reach = _CLICK * (high - low) / self.state.columns
        self._choose(self.frame.lines.at(wavelength, reach))

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

    # The observed spectrum.

    async def _upload(self, data: dict[str, Any]) -> None:
        name, content, medium = decoded(data)
        spectrum: Spectrum = await self.session.run_slow(read_upload, name, content, medium)
        star = await self.session.run_slow(show_star, name, spectrum, self.session.model)
        self._then(self._take, star)

    def _take(self, star: ShownStar) -> None:
        """Show an observation."""
        model = self.session.model
        self.star, self.found = star, None
        self.panel.show_star(star.name)
        self.plots.show_star()
        resolution = star.spectrum.resolution or np.inf
        low, high = star.wavelength.min(), star.wavelength.max()
        start, end = self.state.window
        if end < low or start > high:
            start, end = fit_window((low + high) / 2, min(end - start, high - low), model)
            self.controls.window.update(start=start, end=end)
        self.controls.set_star(replace(self.state, resolution=resolution))
        self.state = replace(self.state, of_library=False)
        self._ask()

    async def _fit(self) -> None:
        star = self.star
        if star is None:
            raise InputError("there is no observed spectrum yet; give one first.")
        self._then(self.panel.fitting, True)
        held = self.controls.held(self.state)
        if self.session.model.lines_of_stars:  # a dilution would not be drawn
            held = {**held, "dilution": 0.0}
        try:
            model, name = self.session.model, self.session.name
            found = await self.session.run_slow(partial(infer, fixed=held), star.spectrum, model)
            self.command = command_of(star, name, held)
            self._then(self._fitted, with_fit(star, found), found)
        finally:
            self._then(self.panel.fitting, False)

    def _fitted(self, star: ShownStar, found: Inference) -> None:
        self.star, self.found = star, found
        labels, values = found_values(found, self.session.model)
        state = replace(
            self.state,
            labels=labels,
            rv=values.get("rv", 0.0),
            vsini=values.get("vsini", 0.0),
            resolution=values.get("resolution", np.inf),
        )
        self.controls.set_star(state)
        of_library = found.model_identity.get("lines") == "library"
        self.state = replace(self.state, of_library=of_library)
        self.panel.show_fit(fit_html(found))
        self._ask()

    # Downloads.

    def _saver(self, name: str, make: Callable[[], str]) -> Callable[[], None]:
        def save() -> None:
            self._later(self._save, name, make)

        return save

    async def _save(self, name: str, make: Callable[[], str]) -> None:
        text = await self.session.run_slow(make)
        ending = "html" if name == "report" else "ecsv"
        self._then(self.panel.save, f"blase3d-{name}.{ending}", text)
