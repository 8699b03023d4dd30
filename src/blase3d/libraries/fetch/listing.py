"""What a server has of the PHOENIX library in a box of labels.

The listings of its folders say so, in whatever form they are: names are sought in the page, HTML
of any kind, plain text or the long listing of FTP. A folder that shows no listing is asked for
each published node. What the published axes have and the server has not is a hole.
"""

from __future__ import annotations

import html
import re
import threading
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from ...errors import GridError, InputError
from ...runtime.progress import Progress, silent
from ..grid import describe_labels
from ..readers.phoenix import LABELS, LIBRARY, labels_of_name, phoenix_path
from .download import Web
from .threads import CONNECTIONS, all_in_threads

ROOTS = (
    "https://phoenix.astro.physik.uni-goettingen.de/data/v2.0/HiResFITS/",
    "https://phoenix.astro.physik.uni-goettingen.de/data/HiResFITS/",
    "ftp://phoenix.astro.physik.uni-goettingen.de/v2.0/HiResFITS/",
)
"""Where the library is published, in the order in which they are tried."""
AXES = {
    "teff": (*range(2300, 7001, 100), *range(7200, 12001, 200)),
    "logg": tuple(0.5 * k for k in range(13)),
    "feh": (-4.0, -3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0),
    "alpha": tuple(round(0.2 * k, 1) for k in range(-1, 7)),
}
"""The library as published (Husser et al. 2013, table 1)."""
ENHANCED = {"teff": (3500.0, 8000.0), "feh": (-3.0, 0.0)}
"""Where alpha has other values than 0, ends included (the same)."""

Labels = dict[str, float]
Span = tuple[float, float]

_SPECTRUM = re.compile(rf"lte\d{{5}}[-+.\w=]*?\.{re.escape(LIBRARY)}-HiRes\.fits(?![\w.~-])")
_FOLDER = re.compile(r"(?<![\w.])Z[+-]\d\.\d(?:\.Alpha=[+-]\d\.\d\d)?(?![\w.])")
_LONG_LISTING = re.compile(r"^[-\w]{10}\S*\s+\d+\s+\S+\s+\S+\s+(\d+)\s.*?(\S+)\s*$", re.MULTILINE)


def parse_span(text: str, option: str) -> Span:
    """LO:HI, ends included, or one value, as two numbers."""
    low, colon, high = text.partition(":")
    try:
        span = float(low), float(high if colon else low)
    except ValueError:
        span = np.nan, np.nan
    if not span[0] <= span[1]:
        raise InputError(f"got {option} {text}, expected LO:HI with LO not above HI, or one value.")
    return span


@dataclass(frozen=True)
class Box:
    """Ranges of the labels, ends included."""

    teff: Span = (-np.inf, np.inf)
    logg: Span = (-np.inf, np.inf)
    feh: Span = (-np.inf, np.inf)
    alpha: Span = (0.0, 0.0)

    def __contains__(self, labels: Mapping[str, float]) -> bool:
        return all(self.holds(name, value) for name, value in labels.items())

    def holds(self, name: str, value: float) -> bool:
        """True if the value of one label lies in its range."""
        low, high = getattr(self, name)
        return bool(low - 1e-6 <= value <= high + 1e-6)

    def nodes(self) -> list[Labels]:
        """The published nodes that lie in the box."""
        axes = [[v for v in AXES[name] if self.holds(name, v)] for name in LABELS]
        nodes = (dict(zip(LABELS, map(float, values), strict=True)) for values in product(*axes))
        return [node for node in nodes if _is_published(node)]

    def describe(self, labels: Mapping[str, float]) -> str:
        """Labels in words; alpha only where it is of interest."""
        alone = self.alpha == (0.0, 0.0)
        return describe_labels({k: v for k, v in labels.items() if k != "alpha" or not alone})

    def __str__(self) -> str:
        spans = {name: getattr(self, name) for name in LABELS}
        bounded = {name: span for name, span in spans.items() if np.isfinite(span).any()}
        return " ".join(f"{name}={low:g}:{high:g}" for name, (low, high) in bounded.items())


def _is_published(node: Labels) -> bool:
    """True of a node of the published axes, unless it has alpha where alpha does not vary."""
    varies = all(low <= node[name] <= high for name, (low, high) in ENHANCED.items())
    return varies or node["alpha"] == 0.0


@dataclass(frozen=True)
class Remote:
    """A spectrum on the server."""

    labels: Labels
    path: str
    """Relative to the root."""
    size: int | None = None
    """Bytes, where it is known."""


def list_box(
    box: Box,
    root: str | None,
    web: Web,
    connections: int = CONNECTIONS,
    progress: Progress = silent,
) -> tuple[str, dict[str, Remote]]:
    """The root that answers, and the spectra that it has in a box, by path.

    `root` is the address of the folder with the wavelength file; None: as published.

    Raises
    ------
    GridError
        No server is reached, or it has nothing in the box.
    """
    root, names = _find_library(web, _roots(root))
    folders = _folders(names, box)
    listed: dict[str, Remote] = {}
    look = partial(_look_into, web=web, root=root, box=box)
    for done, (_, found) in enumerate(all_in_threads(look, folders, connections), 1):
        listed |= {remote.path: remote for remote in found}
        progress("folders listed", done, len(folders))
    if not listed:
        raise GridError(
            f"{root} has no spectrum with {box}, expected files such as "
            f"{phoenix_path(5800, 4.5, 0)} below it: choose another box, or correct --root."
        )
    return root, dict(sorted(listed.items()))


def holes(box: Box, listed: Mapping[str, Remote]) -> tuple[Labels, ...]:
    """The published nodes of a box that the server has not."""
    return tuple(node for node in box.nodes() if phoenix_path(**node) not in listed)


def _roots(root: str | None) -> tuple[str, ...]:
    if root is None:
        return ROOTS
    parts = urllib.parse.urlsplit(root)
    if parts.scheme not in ("http", "https", "ftp") or not parts.netloc:
        raise InputError(f"got --root {root}, expected an address that begins with https://.")
    return (root.rstrip("/") + "/",)


def _find_library(web: Web, roots: Sequence[str]) -> tuple[str, str]:
    """The first root that answers, and its list of folders (empty if it shows none)."""
    faults = []
    for root in roots:
        try:
            names = web.text(f"{root}{LIBRARY}/", attempts=min(2, web.attempts))
        except GridError as fault:
            faults.append(f"{root} ({fault.__cause__})")
            continue
        if names is not None or len(roots) == 1:
            return root, _plain(names or "")
        faults.append(f"{root} (it has no folder {LIBRARY})")
    raise GridError(
        f"No PHOENIX library is reached at {', '.join(faults)}: check the network and the proxy "
        "(https_proxy), or give another address with --root."
    )


def _plain(page: str) -> str:
    """A page without the escapes in which it may write names."""
    return urllib.parse.unquote(html.unescape(page))


def _folders(names: str, box: Box) -> list[str]:
    """The library's folders in the box, of a list of names; the published ones if it has none."""
    found = set(_FOLDER.findall(names))
    if not found:
        return sorted({phoenix_path(**node).split("/")[1] for node in box.nodes()})
    return sorted(name for name in found if _labels_of_folder(name) in box)


def _labels_of_folder(name: str) -> Labels:
    feh, _, alpha = name.removeprefix("Z").partition(".Alpha=")
    return {"feh": float(feh) + 0.0, "alpha": float(alpha or 0.0) + 0.0}


def _look_into(
    folder: str, stop: threading.Event, *, web: Web, root: str, box: Box
) -> list[Remote]:
    """The spectra in one folder of the server that lie in the box."""
    page = web.text(f"{root}{LIBRARY}/{folder}/")
    if page is None:
        return []
    page = _plain(page)
    names = set(_SPECTRUM.findall(page))
    if not names:  # it shows no list: ask for each
        return _probe(folder, stop, web, root, box)
    sizes = {name: int(size) for size, name in _LONG_LISTING.findall(page)}
    labelled = ((f"{LIBRARY}/{folder}/{name}", labels_of_name(name)) for name in names)
    # A file in another's folder, or with a name that says its labels in another way, is none.
    ours = ((path, node) for path, node in labelled if node and path == phoenix_path(**node))
    return [
        Remote(node, path, sizes.get(path.rpartition("/")[2])) for path, node in ours if node in box
    ]


def _probe(folder: str, stop: threading.Event, web: Web, root: str, box: Box) -> list[Remote]:
    """The published nodes of one folder that the server says to have, asked one by one."""
    found = []
    for node in box.nodes():
        path = phoenix_path(**node)
        if path.split("/")[1] == folder and not stop.is_set():
            source = web.head(root + path)
            found += [] if source is None else [Remote(node, path, source.size)]
    return found
