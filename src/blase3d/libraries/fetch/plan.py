"""The plan of a download: what the server has in a box, without what is in the folder already."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...errors import GridError
from ...runtime import files
from ...runtime.progress import Progress, silent
from ..readers.phoenix import WAVE_FILE
from .download import Web
from .listing import ROOTS, Box, Labels, Remote, holes, list_box
from .partial_files import Part, untouched, version_of
from .threads import CONNECTIONS, all_in_threads

ALL_SIZES_UP_TO = 64
"""Number of files up to which the size of each is requested."""
SAMPLE = 32
"""Number of files whose size is requested if there are more. Their sizes hardly differ."""


def cache_folder(given: Path | None = None) -> Path:
    """Return the folder of the library: in `given`, BLASE3D_CACHE or the platform's cache."""
    base = files.user_cache_folder() if given is None else given.expanduser()
    return base / "phoenix"


@dataclass(frozen=True)
class Plan:
    """The spectra of a box: in the folder, to download, and missing in the library."""

    box: Box
    root: str
    folder: Path
    held: tuple[Remote, ...]
    """Spectra in the folder already, complete and good."""
    missing: tuple[Remote, ...]
    """Spectra to download, or at least to check."""
    holes: tuple[Labels, ...]
    """Nodes that the library does not have."""
    wave_size: int | None
    """Bytes of the wavelength file if it is missing, else 0; None: unknown."""

    @property
    def size(self) -> int | None:
        """Bytes to download, estimated from the sizes that are known; None: none is."""
        known = [remote.size for remote in self.missing if remote.size is not None]
        if (self.missing and not known) or self.wave_size is None:
            return None
        total = round(len(self.missing) * sum(known) / max(1, len(known))) + self.wave_size
        paths = [remote.path for remote in self.missing] + [WAVE_FILE] * (self.wave_size != 0)
        return max(0, total - sum(Part(self.folder / path).length for path in paths))

    @property
    def exact(self) -> bool:
        """Whether the size of every file is known."""
        return self.wave_size is not None and all(r.size is not None for r in self.missing)

    @property
    def nothing_to_fetch(self) -> bool:
        """Whether everything is in the folder."""
        return not self.missing and self.wave_size == 0

    def __str__(self) -> str:
        size = self.size
        about = "" if self.exact or size is None else "about "
        amount = "of a size that the server does not tell" if size is None else _in_words(size)
        return (
            f"PHOENIX ACES at {self.root}: {len(self.held) + len(self.missing)} spectra in the "
            f"box, {len(self.held)} of them in the cache; to fetch: {len(self.missing)} spectra, "
            f"{about}{amount}."
        )

    def describe_holes(self) -> list[str]:
        """Return one line for each hole."""
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
    """Compare what a server has in a box with what is in `folder`; download nothing.

    `root` is the address of the folder with the wavelength file; None: as published.

    Raises
    ------
    GridError
        No server is reached, or it has nothing in the box.
    """
    web = web or Web()
    root, listed = list_box(box, root, web, connections, progress)
    held = _held(folder, root, [WAVE_FILE, *listed], web, connections)
    missing = [remote for path, remote in listed.items() if path not in held]
    return Plan(
        box,
        root,
        folder,
        held=tuple(remote for path, remote in listed.items() if path in held),
        missing=tuple(_sized(missing, root, web, connections)),
        holes=holes(box, listed),
        wave_size=0 if WAVE_FILE in held else _wave_size(root, web),
    )


def _held(folder: Path, root: str, paths: list[str], web: Web, connections: int) -> set[str]:
    """The paths of files in the folder that are complete, good and of this root's library."""
    held = {path for path in paths if untouched(folder / path)}
    foreign = sorted(path for path in held if not is_of_root(folder / path, root))

    def agrees(path: str, stop: threading.Event) -> bool:
        known, now = version_of(folder / path), web.head(root + path)
        return known is not None and now is not None and known.agrees(now)

    answers = all_in_threads(agrees, foreign, connections)
    return held - {path for path, same in answers if not same}


def is_of_root(target: Path, root: str) -> bool:
    """Whether a file was downloaded from this root, or from another of the same library."""
    version = version_of(target)
    return version is not None and version.url.startswith(ROOTS if root in ROOTS else root)


def _sized(remotes: list[Remote], root: str, web: Web, connections: int) -> list[Remote]:
    """The same with their sizes, or those of a sample if there are many."""
    unknown = [i for i, remote in enumerate(remotes) if remote.size is None]
    if len(unknown) > ALL_SIZES_UP_TO:
        chosen = np.linspace(0, len(unknown) - 1, SAMPLE).astype(int)
        unknown = [unknown[k] for k in chosen]
    sized = list(remotes)

    def ask(i: int, stop: threading.Event) -> int | None:
        version = web.head(root + remotes[i].path)
        return None if version is None else version.size

    for i, size in all_in_threads(ask, unknown, connections):
        sized[i] = replace(remotes[i], size=size)
    return sized


def _wave_size(root: str, web: Web) -> int | None:
    version = web.head(root + WAVE_FILE)
    if version is None:
        raise GridError(
            f"{root} has no {WAVE_FILE}, which has the wavelengths of all spectra; correct "
            "--root, or put the file into the cache."
        )
    return version.size
