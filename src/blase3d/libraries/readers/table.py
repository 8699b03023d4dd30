"""A folder of spectra with a table of their labels: `library.csv` or `library.ecsv`.

The table has a column `file`, with paths relative to the table, and a column for each label.
Settings for the files (see `described`) are in the header of the table (`# medium: air` in .csv,
meta in .ecsv) or in `library.json` beside it. The path of a library is that of the folder or of the
table.

Tested with spectra of Turbospectrum and Synspec in these formats.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from ...errors import GridError
from ...runtime.files import first_line, parse_meta
from ..grid import Grid
from ..reader import LibraryReader
from .described import describe
from .spectrum_files import grid_of_files

_NAMES = ("library.csv", "library.ecsv")
SETTINGS_FILE = "library.json"
FILE = "file"


def table_of(path: Path) -> Path | None:
    """Return the table of labels at a path, which is the table or a folder with one, or None."""
    if path.is_dir():
        return next((path / name for name in _NAMES if (path / name).is_file()), None)
    return path if path.suffix.lower() in (".csv", ".ecsv") and _has_files(path) else None


def _has_files(path: Path) -> bool:
    """Whether there is a column `file`."""
    with open(path, encoding="utf-8", errors="replace") as stream:
        head = next((line for line in stream if not line.startswith("#")), "")
    return FILE in head.replace(",", " ").replace('"', " ").split()


def is_table(path: Path) -> bool:
    """Whether a path is a table of labels, or a folder with one."""
    return table_of(path) is not None


def settings_of(folder: Path) -> dict[str, Any]:
    """Return the settings in the folder's `library.json`, if there is one."""
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return {}
    return parse_meta(path.read_text(encoding="utf-8", errors="replace"), path, GridError)


def open_table(path: Path, medium: str | None = None) -> Grid:
    """Open the spectra in a table as a grid.

    Raises
    ------
    GridError
        The table cannot be read, or a label is not a number.
    """
    where = table_of(path)
    if where is None:
        raise GridError(f"{path} has no {' or '.join(_NAMES)} with a column {FILE}; write one.")
    table, header = _read_table(where)
    stated = {**settings_of(where.parent), **header}
    stated.pop("names", None)
    description = describe(stated, medium, where)
    labels = {name: _numbers(table, name, where) for name in table.colnames if name != FILE}
    if not labels or not len(table):
        raise GridError(f"{where} has no labels or no rows; give each spectrum a row with labels.")
    labelled = [
        (where.parent / str(name), {label: values[i] for label, values in labels.items()})
        for i, name in enumerate(table[FILE])
    ]
    meta = {"library": where.resolve().parent.name, **(description.meta or {})}
    return grid_of_files(labelled, description, meta, wavelength=description.pixels)


def _read_table(path: Path) -> tuple[Table, dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        if lines and lines[0].startswith("# %ECSV"):
            table = Table.read(lines, format="ascii.ecsv")
            header: Mapping[str, Any] = table.meta
        else:
            table = Table.read(lines, format="ascii.csv", comment="#", guess=False)
            header = dict(filter(None, map(_stated, lines)))
    except Exception as failure:  # the parsers raise many kinds
        raise GridError(
            f"{path} cannot be read as a table ({first_line(failure)}): expected a line of names, "
            "`file` and labels, and one row per spectrum."
        ) from failure
    return table, dict(header)


def _stated(line: str) -> tuple[str, Any] | None:
    """Key and value of a line `# key: value`; a value that begins like JSON is parsed."""
    key, colon, value = line.lstrip("# ").partition(":")
    if not (line.startswith("#") and colon):
        return None
    text = value.strip()
    try:
        return key.strip(), json.loads(text) if text[:1] in "[{" else text
    except ValueError:
        return key.strip(), text


def _numbers(table: Table, name: str, where: Path) -> list[float]:
    column = table[name]
    try:
        values = np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan)
    except (TypeError, ValueError) as failure:
        raise GridError(
            f"{where} has a column {name} that is not numeric ({first_line(failure)}); keep only "
            f"`{FILE}` and labels in the table."
        ) from failure
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise GridError(
            f"{where} has no {name} for {table[FILE][row]}; give the number, or leave out the row."
        )
    return [float(value) for value in values]


TABLE = LibraryReader(
    "table",
    f"a folder with {' or '.join(_NAMES)} (a column `{FILE}`, and labels) beside spectra",
    is_table,
    open_table,
    "spectra of Turbospectrum and Synspec in these forms",
)
"""Reader of folders with labels in a table."""
