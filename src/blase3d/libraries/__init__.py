"""Libraries of model spectra: the record `Grid`, readers of many formats, the grid file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import GridError
from ..runtime.arrays import DEFAULT_FLOATING_POINT
from ..runtime.families import Family
from ..runtime.moved import warn_of_former
from .grid import Grid
from .grid_file import read_npz, read_zarr, require_writable_grid, write_grid
from .reader import GROUP, LibraryReader
from .readers import READERS
from .readers.phoenix import open_phoenix

__all__ = [
    "LibraryReader",
    "known_readers",
    "open_grid",
    "open_phoenix",
    "read_npz",
    "read_zarr",
    "require_writable_grid",
    "write_grid",
]

_FAMILY = Family(LibraryReader, "library", GROUP, GridError, READERS)
_RENAMED = {"Source": "LibraryReader", "known_sources": "known_readers"}


def known_readers() -> tuple[LibraryReader, ...]:
    """Return blase3D's library readers and those that installed packages add."""
    return _FAMILY.all()


@DEFAULT_FLOATING_POINT
def open_grid(path: str | Path, medium: str | None = None, source: str | None = None) -> Grid:
    """Open a library of spectra.

    Parameters
    ----------
    path
        File or folder.
    medium
        "air" or "vacuum", for a library that does not state it. Air is converted to vacuum.
    source
        Name of the reader; None selects the first that recognises the path.

    Raises
    ------
    GridError
        There is nothing at `path`, no reader recognises it, or it is damaged.

    Examples
    --------
    >>> import blase3d as b3
    >>> grid = b3.open_grid("library.npz")
    >>> len(grid), grid.label_names
    (12, ('teff', 'logg', 'feh'))
    """
    path = Path(path)
    if not path.exists():
        raise GridError(f"{path} does not exist; check the name.")
    reader = _FAMILY.choose(path, path) if source is None else _FAMILY.named(source)
    with _FAMILY.naming(reader, path):
        return reader.open(path, medium)


def __getattr__(name: str) -> Any:
    """Return a renamed object under its old name, with a DeprecationWarning."""
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    new = _RENAMED[name]
    warn_of_former(f"{name} is now {new}; import {new}")
    return globals()[new]
