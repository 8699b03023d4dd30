"""What is to be done for a box: what the server has of it, less what is here already."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...errors import GridError
from ...runtime import files
from ...runtime.progress import Progress, silent
from ..readers.phoenix import WAVE_FILE
from .download import Web
from .listing import ROOTS, Box, Labels, Remote, holes, list_box
from .partial_files import Part, origin, untouched
from .threads import CONNECTIONS, all_in_threads

ALL_SIZES_UP_TO = 64
"""Files up to which each one's size is asked for."""
SAMPLE = 32
"""Files whose size is asked for where there are more: they hardly differ."""


def cache_folder(given: Path | None = None) -> Path:
    """Where the library is kept: `given`, else BLASE3D_CACHE, else the platform's cache folder."""
    base = files.cache_folder() if given is None else given.expanduser()
    return base / "phoenix"


@dataclass(frozen=True)
class Plan:
    """What is to be done for a box."""

    box: Box
    root: str
    folder: Path
    held: tuple[Remote, ...]
    """In the folder already, whole and good."""
    missing: tuple[Remote, ...]
    """To be fetched, or at least to be checked."""
    holes: tuple[Labels, ...]
    wave_size: int | None
    """Bytes of the wavelength file still to be fetched, 0 if it is there; None: not known."""

    @property
    def size(self) -> int | None:
        """Bytes to be fetched, estimated from the sizes that are known; None: none is."""
        known = [remote.size for remote in self.missing if remote.size is not None]
        if (self.missing and not known) or self.wave_size is None:
            return None
        total = round(len(self.missing) * sum(known) / max(1, len(known))) + self.wave_size
        return max(0, total - sum(self._arrived()))

    def _arrived(self) -> Iterator[int]:
        paths = [remote.path for remote in self.missing] + [WAVE_FILE] * (self.wave_size != 0)
        return (Part(self.folder / path).length for path in paths)

    @property
    def exact(self) -> bool:
        """True if every file's size is known."""
        return self.wave_size is not None and all(r.size is not None for r in self.missing)

    @property
    def nothing_to_fetch(self) -> bool:
        """True if all is there."""
        return not self.missing and self.wave_size == 0

    def __str__(self) -> str:
        size = self.size
        about = "" if self.exact or size is None else "about "
        told = "of a size that the server does not tell" if size is None else _in_words(size)
        return (
            f"PHOENIX ACES at {self.root}: {len(self.held) + len(self.missing)} spectra in the "
            f"box, {len(self.held)} of them in the cache; to fetch: {len(self.missing)} spectra, "
            f"{about}{told}."
        )

    def describe_holes(self) -> list[str]:
        """One line for each hole of the library in the box."""
        return [f"hole of the library: {self.box.describe(hole)}" for hole in self.holes]


def _in_words(size: int) -> str:
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= limit:
            return f"{size / limit:.1f} {unit} ({size} bytes)"
    return f"{size} bytes"


def make_plan(
    box: Box,
    folder: Path,
    root: str | None = None,
    web: Web | None = None,
    connections: int = CONNECTIONS,
    progress: Progress = silent,
) -> Plan:
    """Ask the server what it has in a box, and look what of that is in `folder`; fetch nothing.

    `root` is the address of the folder with the wavelength file; None: as published.

    Raises
    ------
    GridError
        No server is reached, or it has nothing in the box.
    """
    web = web or Web()
    root, listed = list_box(box, root, web, connections, progress)
    spectra = list(listed.values())
    here = _held(folder, root, [WAVE_FILE, *listed], web, connections)
    missing = [remote for remote in spectra if remote.path not in here]
    return Plan(
        box,
        root,
        folder,
        held=tuple(remote for remote in spectra if remote.path in here),
        missing=tuple(_sized(missing, root, web, connections)),
        holes=holes(box, listed),
        wave_size=0 if WAVE_FILE in here else _wave_size(root, web),
    )


def _held(folder: Path, root: str, paths: list[str], web: Web, connections: int) -> set[str]:
    """The paths of those files that are here, whole, good and of this root's library."""
    here = {path for path in paths if untouched(folder / path)}
    foreign = sorted(path for path in here if not is_of_root(folder / path, root))

    def agrees(path: str, stop: threading.Event) -> bool:
        known, now = origin(folder / path), web.head(root + path)
        return known is not None and now is not None and known.agrees(now)

    answers = all_in_threads(agrees, foreign, connections)
    return here - {path for path, same in answers if not same}


def is_of_root(target: Path, root: str) -> bool:
    """True if the record of a file says that it came from this root, or another of its library."""
    source = origin(target)
    return source is not None and source.url.startswith(ROOTS if root in ROOTS else root)


def _sized(remotes: list[Remote], root: str, web: Web, connections: int) -> list[Remote]:
    """The same with the sizes of all, or of a sample where there are many."""
    unknown = [i for i, remote in enumerate(remotes) if remote.size is None]
    if len(unknown) > ALL_SIZES_UP_TO:
        chosen = np.linspace(0, len(unknown) - 1, SAMPLE).astype(int)
        unknown = [unknown[k] for k in chosen]
    sized = list(remotes)

    def ask(i: int, stop: threading.Event) -> int | None:
        source = web.head(root + remotes[i].path)
        return None if source is None else source.size

    for i, size in all_in_threads(ask, unknown, connections):
        sized[i] = replace(remotes[i], size=size)
    return sized


def _wave_size(root: str, web: Web) -> int | None:
    source = web.head(root + WAVE_FILE)
    if source is None:
        raise GridError(
            f"{root} has no {WAVE_FILE}, which holds the wavelengths of all spectra: correct "
            "--root, or put the file into the cache."
        )
    return source.size
