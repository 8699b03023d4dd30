"""Readers of spectral libraries, one module a library; `open_grid` chooses among them."""

from __future__ import annotations

from pathlib import Path

from ..errors import GridError
from ..grid import Grid
from .interchange import is_zarr, read_npz, read_zarr, write_grid
from .phoenix import is_phoenix, open_phoenix

__all__ = ["open_grid", "open_phoenix", "read_npz", "read_zarr", "write_grid"]


def open_grid(path: str | Path, medium: str | None = None) -> Grid:
    """Open a library of spectra by what it is: .npz, Zarr group, or folder of PHOENIX files.

    `medium` ("air" or "vacuum") is for a file that does not state it; air is converted.
    """
    path = Path(path)
    if not path.exists():
        raise GridError(f"There is no grid at {path}: check the name.")
    if path.is_file() and path.suffix.lower() == ".npz":
        return read_npz(path, medium)
    if is_zarr(path):
        return read_zarr(path, medium)
    if path.is_dir() and is_phoenix(path):
        if medium == "air":
            raise GridError(f"{path} holds PHOENIX spectra, which are in vacuum: leave out medium.")
        return open_phoenix(path)
    raise GridError(
        f"{path} is no grid that is known: expected an .npz file, a Zarr group (a folder with "
        "zarr.json, or that in a .zip) or a folder of PHOENIX spectra."
    )
