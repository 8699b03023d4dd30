"""What a reader of a library is, and which there are.

A package of others adds its own by an entry point of the group `blase3d.sources` that names a
`Source`; it is loaded when a library is opened that blase3D's own sources do not recognise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from ..errors import Blase3dError, GridError
from ..runtime.files import first_line
from .grid import Grid

GROUP = "blase3d.sources"
"""The group of entry points in which others name their sources."""


@dataclass(frozen=True)
class Source:
    """A reader of one kind of library."""

    name: str
    """In lower case, by which it can be asked for."""
    what: str
    """What it recognises, in words that go on after "expected"."""
    matches: Callable[[Path], bool]
    """Is this path (which exists) a library of this kind? Cheap, and never raises."""
    open: Callable[[Path, str | None], Grid]
    """The library at a path; the medium ("air", "vacuum" or None) is for one that says none."""
    tested: str = "not stated"
    """On what the reader has been tried: files of the library, or its published description."""


def choose(path: Path, own: Sequence[Source], name: str | None = None) -> Source:
    """The source of this name, or the first that recognises the path, `own` before others'.

    Raises
    ------
    GridError
        There is none.
    """
    if name is not None:
        return _named(name, own)
    for source in own:
        if source.matches(path):
            return source
    others, faults = others_sources()
    for source in others:
        if source.matches(path):
            return source
    known = "; ".join(source.what for source in (*own, *others))
    raise GridError(f"{path} is no grid that is known: expected {known}.{_said(faults)}")


def _named(name: str, own: Sequence[Source]) -> Source:
    others, faults = others_sources()
    known = (*own, *others)
    for source in known:
        if source.name == name:
            return source
    names = ", ".join(source.name for source in known)
    raise GridError(f"Got the source {name!r}, expected one of {names}.{_said(faults)}")


def _said(faults: Sequence[str]) -> str:
    return "".join(f" {fault}" for fault in faults)


def others_sources() -> tuple[tuple[Source, ...], tuple[str, ...]]:
    """The sources that installed packages name, and a sentence on each that cannot be had."""
    sources, faults = [], []
    for point in entry_points(group=GROUP):
        try:
            sources.append(_loaded(point))
        except GridError as fault:
            faults.append(str(fault))
    return tuple(sources), tuple(faults)


def _loaded(point: EntryPoint) -> Source:
    where = f"The source {point.name} ({point.value})"
    try:
        found = point.load()
    except Exception as failure:  # code of others, which may fail in any way
        raise GridError(f"{where} cannot be loaded: {first_line(failure)}.") from failure
    if not isinstance(found, Source):
        raise GridError(f"{where} is a {type(found).__name__}, expected a blase3d Source.")
    return found


def opened(source: Source, path: Path, medium: str | None) -> Grid:
    """The library at `path`; whatever a source raises is a sentence that names it."""
    try:
        return source.open(path, medium)
    except Blase3dError:
        raise
    except Exception as failure:  # code of others, which may fail in any way
        raise GridError(
            f"{path} cannot be read by the source {source.name} ({type(failure).__name__}: "
            f"{first_line(failure)}): repair the library, or tell those who made the source."
        ) from failure


def refuse_air(path: Path, medium: str | None, library: str) -> None:
    """Raise if a library whose wavelengths are in vacuum is said to be in air."""
    if medium == "air":
        raise GridError(f"{path} holds {library} spectra, which are in vacuum: leave out medium.")
