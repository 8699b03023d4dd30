"""The reader of a kind of library.

A reader is a `LibraryReader`. Those of blase3D are in `readers`; packages add others by entry
points of the group `blase3d.sources`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import GridError
from .grid import Grid

GROUP = "blase3d.sources"
"""Group of the entry points of library readers."""


@dataclass(frozen=True)
class LibraryReader:
    """A reader of one kind of library."""

    name: str
    """Lower-case name, by which it can be selected."""
    what: str
    """The libraries that it recognises, in words that follow "expected"."""
    matches: Callable[[Path], bool]
    """Whether an existing path is a library of this kind. Cheap, and never raises."""
    open: Callable[[Path, str | None], Grid]
    """Open the library at a path. The medium ("air", "vacuum" or None) is what the user states."""
    tested: str = "not stated"
    """Test data: files of the library, or files written to its published description."""


def refuse_air(path: Path, medium: str | None, library: str) -> None:
    """Raise `GridError` if the user states air for a library whose wavelengths are in vacuum."""
    if medium == "air":
        raise GridError(
            f"{path} holds {library} spectra, which are in vacuum, but got medium air; "
            "leave out medium."
        )
