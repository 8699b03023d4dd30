"""The spectra of PHOENIX that a server has in a range of labels.

The names of files are searched in the listings of the server's folders, whatever their format. In
a folder without a listing, each published node is requested. Nodes on the published axes that the
server does not have are holes.
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
from ..grid import SAME_LABEL, describe_labels
from ..readers.phoenix import ACES, LABELS, labels_of_name, phoenix_path
from .download import Web
from .threads import CONNECTIONS, all_in_threads

ROOTS = (
    "https://phoenix.astro.physik.uni-goettingen.de/data/v2.0/HiResFITS/",
    "https://phoenix.astro.physik.uni-goettingen.de/data/HiResFITS/",
)
"""Addresses at which the library is published, in the order in which they are tried."""
AXES = {
    "teff": (*range(2300, 7001, 100), *range(7200, 12001, 200)),
    "logg": tuple(0.5 * k for k in range(13)),
    "feh": (-4.0, -3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0),
    "alpha": tuple(round(0.2 * k, 1) for k in range(-1, 7)),
}
"""The library as published (Husser et al. 2013, table 1)."""
ENHANCED = {"teff": (3500.0, 8000.0), "feh": (-3.0, 0.0)}
"""Ranges in which alpha varies, ends included (the same table). It is 0 elsewhere."""

Labels = dict[str, float]
Span = tuple[float, float]

_SPECTRUM = re.compile(rf"lte\d{{5}}[-+.\w=]*?\.{re.escape(ACES)}-HiRes\.fits(?![\w.~-])")
_FOLDER = re.compile(r"(?<![\w.])Z[+-]\d\.\d(?:\.Alpha=[+-]\d\.\d\d)?(?![\w.])")


def parse_span(text: str, option: str) -> Span:
    """Return the two numbers of LO:HI, ends included, or of a single value."""
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
        """Whether the value of one label lies in its range."""
        low, high = getattr(self, name)
        return bool(low - SAME_LABEL <= value <= high + SAME_LABEL)

    def nodes(self) -> list[Labels]:
        """Return the published nodes that lie in the box."""
        axes = [[v for v in AXES[name] if self.holds(name, v)] for name in LABELS]
        nodes = (dict(zip(LABELS, map(float, values), strict=True)) for values in product(*axes))
        return [node for node in nodes if node["alpha"] == 0.0 or _is_enhanced(node)]

    def describe(self, labels: Mapping[str, float]) -> str:
        """Return labels as text; alpha only if the box has more than alpha = 0."""
        alone = self.alpha == (0.0, 0.0)
        return describe_labels({k: v for k, v in labels.items() if k != "alpha" or not alone})

    def __str__(self) -> str:
        spans = {name: getattr(self, name) for name in LABELS}
        bounded = {name: span for name, span in spans.items() if np.isfinite(span).any()}
        return " ".join(f"{name}={low:g}:{high:g}" for name, (low, high) in bounded.items())


def _is_enhanced(node: Labels) -> bool:
    return all(low <= node[name] <= high for name, (low, high) in ENHANCED.items())


@dataclass(frozen=True)
class Remote:
    """A spectrum on the server."""

    labels: Labels
    path: str
    """Relative to the root."""
    size: int | None = None
    """Bytes; None if unknown."""


def list_box(
    box: Box,
    root: str | None,
    web: Web,
    connections: int = CONNECTIONS,
    progress: Progress = silent,
) -> tuple[str, dict[str, Remote]]:
    """Return the root that answers, and the spectra that it has in a box, by path.

    `root` is the address of the folder with the wavelength file; None: as published.

    Raises
    ------
    GridError
        No server is reached, or it has nothing in the box.
    """
    root, names = _find_library(web, _roots(root))
    folders = _folders(names, box)
    listed: dict[str, Remote] = {}
    list_folder = partial(_list_folder, web=web, root=root, box=box)
    for done, (_, found) in enumerate(all_in_threads(list_folder, folders, connections), 1):
        listed |= {remote.path: remote for remote in found}
        progress("folders listed", done, len(folders))
    if not listed:
        raise GridError(
            f"{root} has no spectrum with {box}, expected files such as "
            f"{phoenix_path(5800, 4.5, 0)}; choose another range, or correct --root."
        )
    return root, dict(sorted(listed.items()))


def holes(box: Box, listed: Mapping[str, Remote]) -> tuple[Labels, ...]:
    """Return the published nodes of a box that the server does not have."""
    return tuple(node for node in box.nodes() if phoenix_path(**node) not in listed)


def _roots(root: str | None) -> tuple[str, ...]:
    if root is None:
        return ROOTS
    parts = urllib.parse.urlsplit(root)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InputError(
            f"got --root {root}, expected an address that begins with https://. FTP is not "
            "supported: use the https:// address of the server or of a mirror."
        )
    return (root.rstrip("/") + "/",)


def _find_library(web: Web, roots: Sequence[str]) -> tuple[str, str]:
    """The first root that answers, and its listing of folders (empty if it shows none)."""
    faults = []
    for root in roots:
        try:
            names = web.text(f"{root}{ACES}/", attempts=min(2, web.attempts))
        except GridError as fault:
            faults.append(f"{root} ({fault.__cause__})")
            continue
        if names is not None or len(roots) == 1:
            return root, _unescaped(names or "")
        faults.append(f"{root} (it has no folder {ACES})")
    raise GridError(
        f"no PHOENIX library is reached at {', '.join(faults)}; check the network and the proxy "
        "(https_proxy), or give another address with --root."
    )


def _unescaped(page: str) -> str:
    return urllib.parse.unquote(html.unescape(page))


def _folders(names: str, box: Box) -> list[str]:
    """The library's folders in the box, from a listing; the published ones if it has none."""
    found = set(_FOLDER.findall(names))
    if not found:
        return sorted({phoenix_path(**node).split("/")[1] for node in box.nodes()})
    return sorted(name for name in found if _labels_of_folder(name) in box)


def _labels_of_folder(name: str) -> Labels:
    feh, _, alpha = name.removeprefix("Z").partition(".Alpha=")
    return {"feh": float(feh) + 0.0, "alpha": float(alpha or 0.0) + 0.0}


def _list_folder(
    folder: str, stop: threading.Event, *, web: Web, root: str, box: Box
) -> list[Remote]:
    """The spectra in one folder of the server that lie in the box."""
    page = web.text(f"{root}{ACES}/{folder}/")
    if page is None:
        return []
    names = set(_SPECTRUM.findall(_unescaped(page)))
    if names:
        labelled = [(f"{ACES}/{folder}/{name}", labels_of_name(name)) for name in names]
        # The path excludes files of another folder, and names in another notation.
        return [
            Remote(node, path)
            for path, node in labelled
            if node and node in box and path == phoenix_path(**node)
        ]
    found = []
    for node in box.nodes():
        path = phoenix_path(**node)
        if path.split("/")[1] == folder and not stop.is_set():
            version = web.head(root + path)
            found += [] if version is None else [Remote(node, path, version.size)]
    return found
