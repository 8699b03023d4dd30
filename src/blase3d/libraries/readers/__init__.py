"""Readers of spectral libraries, one module each, and the order in which they are tried.

A new format is a module with a `LibraryReader`, and a row in `READERS`. `spectrum_files.py` and
`described.py` are for folders of spectra; readers share `text.py` and `resample.py`.
"""

from __future__ import annotations

from ..grid_file import is_npz, is_zarr, read_npz, read_zarr
from ..reader import LibraryReader
from .bt_settl import BT_SETTL
from .cooltlusty import COOLTLUSTY
from .phoenix import PHOENIX
from .sonora import BOBCAT, CHOLLA, DIAMONDBACK, ELF_OWL
from .synthesis import SYNTHESIS
from .table import TABLE

READERS = (
    LibraryReader("npz", "an .npz file", is_npz, read_npz, "files of many libraries"),
    LibraryReader(
        "zarr",
        "a Zarr group (a folder with zarr.json, or that in a .zip)",
        is_zarr,
        read_zarr,
        "files of many libraries",
    ),
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
"""blase3D's readers, in the order in which they are tried."""
