"""Download of a part of the PHOENIX library, checked, and its cut into a grid file.

`make_plan` compares what the server has with the folder, `fetch` downloads the rest, `write_box`
writes a range of wavelengths to a grid file. The folder has the layout of the server, so it is a
library by itself.

Neither pooch nor urllib3's `Retry` resumes inside a file or checks its content, so `download` does.
"""

from __future__ import annotations

from .download import Web
from .listing import ROOTS, Box, parse_span
from .plan import Plan, cache_folder, make_plan
from .run import Fetched, fetch, write_box
from .threads import CONNECTIONS

__all__ = [
    "CONNECTIONS",
    "ROOTS",
    "Box",
    "Fetched",
    "Plan",
    "Web",
    "cache_folder",
    "fetch",
    "make_plan",
    "parse_span",
    "write_box",
]
