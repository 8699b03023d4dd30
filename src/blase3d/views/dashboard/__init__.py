"""The dashboard: a model in the browser, with sliders for the labels. Needs the extra `explore`.

    sliders (`widgets`) ─► `state` ─► `compiled_model` ─► `frame` ─┐
    at rest: maps, information, names (`visible_lines`) ───────────┼► `page` ─► browser
    `uploads` ─► `star` ─► fit ────────────────────────────────────┘

`session` has what all pages of a `server` share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec

from ...errors import MissingExtra
from ...model.model import Model
from ...spectra.spectrum import Spectrum

__all__ = ["explore"]


def explore(
    model: Model,
    spectrum: Spectrum | None = None,
    *,
    name: str = "the spectrum",
    model_name: str = "MODEL",
    port: int | None = None,
    address: str = "localhost",
    origins: Sequence[str] = (),
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve the dashboard of a model until it is interrupted (Ctrl-C).

    Parameters
    ----------
    model : Model
        The library.
    spectrum : Spectrum, optional
        An observed spectrum to show first.
    name : str
        Its name on the page.
    model_name : str
        Name or file of the model, for the command that the page shows.
    port : int, optional
        The port; None for 5006, or any free one.
    address : str
        Bind address; by default only this machine reaches the page.
    origins : sequence of str
        HOST:PORT of further pages that may connect, e.g. through a tunnel.
    ready : callable
        Called with the address of the page once it is served.

    Raises
    ------
    MissingExtra
        Bokeh is not installed.
    InputError
        The spectrum does not overlap with the model, or the port is taken.
    """
    if find_spec("bokeh") is None:
        raise MissingExtra("bokeh", "explore", "the dashboard")
    from .server import make_server, url_of
    from .session import make_session
    from .star import show_star

    star = None if spectrum is None else show_star(name, spectrum, model)
    session = make_session(model, model_name)
    try:
        server = make_server(session, star, port=port, address=address, origins=origins)
        ready(url_of(server))
        server.io_loop.start()
    except KeyboardInterrupt:
        pass
    finally:
        session.close()
