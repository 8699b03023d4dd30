"""The dashboard: a model in the browser, as far as the sliders reach.

    settings ─► piece of the model ─► picture ─┐
    at rest: maps, information, names ─────────┼► page ─► browser
    uploads ─► observation ─► fit ─────────────┘

(`settings`, `pieces`, `picture`, `atlas`, `uploads`, `observed`, `page`, `server`). Needs the extra
`explore`.
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
        An observation to begin with.
    name : str
        What it is called on the page.
    port : int, optional
        To listen on; 5006 if None, or any that is free.
    address : str
        To listen on: this machine alone by default.
    origins : sequence of str
        HOST:PORT of further pages that may connect, as those through a tunnel.
    ready : callable
        Told the address of the page once it is there.

    Raises
    ------
    MissingExtra
        Bokeh is not installed.
    InputError
        The spectrum does not overlap with the model, or the port is taken.
    """
    if find_spec("bokeh") is None:
        raise MissingExtra("bokeh", "explore", "the dashboard")
    from .observed import observed
    from .server import make_server, url_of
    from .session import make_workshop

    star = None if spectrum is None else observed(name, spectrum, model)
    shop = make_workshop(model)
    try:
        server = make_server(shop, star, port=port, address=address, origins=origins)
        ready(url_of(server))
        server.io_loop.start()
    except KeyboardInterrupt:
        pass
    finally:
        shop.close()
