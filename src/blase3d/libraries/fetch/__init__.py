"""Part of the PHOENIX library from its server into a folder, checked; and its cut as a grid.

`make_plan` asks the server what there is and looks what of it is here, `fetch` brings the rest,
`write_box` cuts the wanted wavelengths into a grid file. The folder has the layout of the server,
so that it is a grid by itself. (pooch neither goes on inside a file nor fetches several at a time,
and checks files by sums, which the library does not publish.)

From what knows nothing of PHOENIX to what knows all: `parts` (files on the disk), `ftp`, `download`
(one file from a server), `crew` (several at a time), `listing` (what the server has), `verify`
(whether a file is good), `plan`, `run`.
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
