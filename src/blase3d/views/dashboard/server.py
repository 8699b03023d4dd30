"""The server of the page. By default only this machine reaches it.

Pages of other origins are refused: a connection is opened only if its origin is one of the names of
the server. The page loads nothing from other servers.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Sequence

from bokeh.core.templates import FILE
from bokeh.document import Document
from bokeh.models import CustomJS
from bokeh.server.server import Server

from ...errors import InputError
from .assets import text_of
from .html_text import model_summary
from .page import Page
from .plots import THEME
from .session import Session
from .star import ShownStar
from .uploads import LARGEST

HOME = "localhost"
PORT = 5006
"""The port tried first."""
_ORIGIN = re.compile(r"[\w.-]+:\d{1,5}")
_MESSAGE = LARGEST * 4 // 3 + 1_000_000
"""Largest message of a page: the largest file in base64, with room for the rest; bytes."""


def origins_of(address: str, port: int, more: Sequence[str] = ()) -> list[str]:
    """HOST:PORT of the allowed pages: the names of the server, and those given.

    Raises
    ------
    InputError
        A given origin has another form.
    """
    for origin in more:
        if not _ORIGIN.fullmatch(origin):
            raise InputError(f"got --origin {origin}, expected HOST:PORT such as localhost:9000.")
    if address in (HOME, "127.0.0.1"):
        names = [HOME, "127.0.0.1"]
    elif address == "0.0.0.0":
        names = [HOME, "127.0.0.1", socket.gethostname(), socket.getfqdn()]
    else:
        names = [address]
    return list(dict.fromkeys([*(f"{name.lower()}:{port}" for name in names), *more]))


def free_port(address: str, port: int | None) -> int:
    """The given port; without one, the default port or any free one.

    Raises
    ------
    InputError
        The port is taken, or cannot be bound.
    """
    for wanted in (PORT, 0) if port is None else (port,):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((address, wanted))
                return int(trial.getsockname()[1])
            except (OSError, OverflowError) as fault:
                reason = getattr(fault, "strerror", None) or str(fault)
    raise InputError(
        f"cannot listen on {address}:{port if port is not None else PORT} ({reason}); choose "
        "another --port or --address."
    )


def make_server(
    session: Session,
    star: ShownStar | None = None,
    *,
    port: int | None = None,
    address: str = HOME,
    origins: Sequence[str] = (),
) -> Server:
    """A listening server; `server.io_loop.start()` makes it answer."""
    logging.getLogger("bokeh").setLevel(logging.WARNING)
    port = free_port(address, port)
    server = Server(
        lambda document: _fill(document, session, star),
        port=port,
        address=address,
        allow_websocket_origin=origins_of(address, port, origins),
        websocket_max_message_size=_MESSAGE,
        http_server_kwargs={"max_body_size": 1_000_000},
    )
    server.start()
    return server


def url_of(server: Server) -> str:
    """The address of the page for a browser on this machine."""
    address = server.address or HOME
    name = HOME if address in ("127.0.0.1", "0.0.0.0", "::1") else address
    return f"http://{name}:{server.port}/"


def _fill(document: Document, session: Session, star: ShownStar | None) -> None:
    """Make the page of one visitor."""
    document.theme = THEME
    page = Page(document, session, star)
    for name, root in page.roots.items():
        root.name = name
        document.add_root(root)
    shown = CustomJS(code='document.getElementById("lost").hidden = false')
    document.js_on_event("connection_lost", shown)
    document.title = "blase3D"
    document.template = FILE.environment.from_string(text_of("page.html"))
    document.template_variables.update(
        page_css=text_of("page.css"),
        page_js=text_of("page.js"),
        model_summary=model_summary(session.model),
        star_name="" if star is None else star.name,
        largest=LARGEST,
        largest_mb=LARGEST // 1_000_000,
    )
