"""A folder of spectra with a table of their labels: `library.csv` or `library.ecsv`.

The table has a column `file`, the name of each spectrum's file from where the table is, and a
column for each label, whatever the labels are. What else is to be known of the files is in the
header of the table (`# medium: air` in .csv, meta in .ecsv) or in `library.json` beside it, see
`described`. The path of a library is that of the folder or of the table.

Tried on spectra of Turbospectrum and Synspec, written in these forms.
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

NAMES = ("library.csv", "library.ecsv")
SETTINGS_FILE = "library.json"
FILE = "file"


def table_of(path: Path) -> Path | None:
    """The table of labels at a path: a table itself, or a folder that has one."""
    if path.is_dir():
        return next((path / name for name in NAMES if (path / name).is_file()), None)
    return path if path.suffix.lower() in (".csv", ".ecsv") and _has_files(path) else None


def _has_files(path: Path) -> bool:
    """Is there a column `file`?"""
    with open(path, encoding="utf-8", errors="replace") as stream:
        head = next((line for line in stream if not line.startswith("#")), "")
    return FILE in head.replace(",", " ").replace('"', " ").split()


def is_table(path: Path) -> bool:
    """True of a table of labels, or a folder with one."""
    return table_of(path) is not None


def settings_of(folder: Path) -> dict[str, Any]:
    """What the folder's `library.json` states, if it is there."""
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return {}
    return parse_meta(path.read_text(encoding="utf-8", errors="replace"), path, GridError)


def open_table(path: Path, medium: str | None = None) -> Grid:
    """The grid of the spectra that a table names.

    Raises
    ------
    GridError
        The table cannot be read, or a label is no number.
    """
    where = table_of(path)
    if where is None:
        raise GridError(f"{path} has no {' or '.join(NAMES)} with a column {FILE}: write one.")
    table, header = _read_table(where)
    stated = {**settings_of(where.parent), **header}
    stated.pop("names", None)
    description = describe(stated, medium, where)
    labels = {name: _numbers(table, name, where) for name in table.colnames if name != FILE}
    if not labels or not len(table):
        raise GridError(f"{where} has no labels or no rows: give each spectrum a row, with labels.")
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
    except Exception as failure:  # the parsers raise whatever they happen to meet
        raise GridError(
            f"{path} cannot be read as a table ({first_line(failure)}): expected a line of names, "
            "`file` and labels, and a row for each spectrum."
        ) from failure
    return table, dict(header)


def _stated(line: str) -> tuple[str, Any] | None:
    """The key and value of a line `# key: value`; what looks like JSON is taken as such."""
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
            f"{where} has a column {name} that is not of numbers ({first_line(failure)}): keep "
            f"`{FILE}` and labels alone in it."
        ) from failure
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise GridError(
            f"{where} has no {name} for {table[FILE][row]}: give the number, or leave out the row."
        )
    return [float(value) for value in values]


TABLE = LibraryReader(
    "table",
    f"a folder with {' or '.join(NAMES)} (a column `{FILE}`, and labels) beside spectra",
    is_table,
    open_table,
    "spectra of Turbospectrum and Synspec in these forms",
)
"""Labels from a table."""
