"""Readers of spectral libraries, one module a library; `open_grid` chooses among them."""

from __future__ import annotations

from pathlib import Path

from ..errors import GridError
from .grid import Grid
from .grid_file import NPZ, ZARR, read_npz, read_zarr, require_writable_grid, write_grid
from .reader import Source, choose, opened, others_sources
from .readers.bt_settl import BT_SETTL
from .readers.cooltlusty import COOLTLUSTY
from .readers.phoenix import PHOENIX, open_phoenix
from .readers.sonora import BOBCAT, CHOLLA, DIAMONDBACK, ELF_OWL
from .readers.synthesis import SYNTHESIS
from .readers.table import TABLE

__all__ = [
    "Source",
    "known_sources",
    "open_grid",
    "open_phoenix",
    "read_npz",
    "read_zarr",
    "require_writable_grid",
    "write_grid",
]

OWN = (
    NPZ,
    ZARR,
    TABLE,
    SYNTHESIS,
    PHOENIX,
    BT_SETTL,
    BOBCAT,
    CHOLLA,
    DIAMONDBACK,
    ELF_OWL,
    COOLTLUSTY,
)
"""blase3D's sources, in the order in which they are asked."""


def known_sources() -> tuple[Source, ...]:
    """blase3D's sources, and those that installed packages add."""
    return (*OWN, *others_sources()[0])


def open_grid(path: str | Path, medium: str | None = None, source: str | None = None) -> Grid:
    """Open a library of spectra by what it is, or by the `source` of this name.

    `medium` ("air" or "vacuum") is for a library that does not state it; air is converted.

    Raises
    ------
    GridError
        There is nothing, nothing that is known, or something damaged.
    """
    path = Path(path)
    if not path.exists():
        raise GridError(f"There is no grid at {path}: check the name.")
    return opened(choose(path, OWN, source), path, medium)
