"""Folders of synthetic spectra, one file each, with labels in the file names.

The folder has a `library.json` with `names`, the pattern of the file names, such as

    {"names": "t{teff}_g{logg}_z{feh}.spec", "format": "turbospectrum", "medium": "air"}

Each label in braces stands for a number, and * for any text. The other settings (see `described`)
describe the columns: Turbospectrum writes wavelength, normalised flux and flux; Synspec writes
wavelength and Eddington flux, and the continuum in a second file (.7, .17). For other codes, such
as SYNTHE with ATLAS models, `columns` lists them. The reader `table` is for labels in a table.

Tested with spectra of these codes, written in these columns.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import GridError
from ..grid import Grid
from ..reader import LibraryReader
from .described import describe
from .spectrum_files import files_below, grid_of_files
from .table import SETTINGS_FILE, settings_of

_NUMBER = r"[+-]?\d+(?:\.\d+)?"


def is_synthesis(path: Path) -> bool:
    """Whether a path is a folder with `library.json`, or that file."""
    return _settings_file(path).is_file()


def _settings_file(path: Path) -> Path:
    return path if path.name == SETTINGS_FILE else path / SETTINGS_FILE


def pattern_of(names: str, where: Path) -> re.Pattern[str]:
    """Return the regular expression of names such as t{teff}g{logg}.spec.

    Raises
    ------
    GridError
        There is no label in braces, or one occurs twice or is no word.
    """
    pieces = re.split(r"\{(.*?)\}", names)
    labels = pieces[1::2]
    good = labels and all(re.fullmatch(r"[A-Za-z]\w*", label) for label in labels)
    if not good or len(set(labels)) != len(labels):
        raise GridError(
            f'{where} states names {names!r}, expected such as "t{{teff}}_g{{logg}}.spec", '
            "each label once in braces."
        )
    literal = [".*".join(map(re.escape, piece.split("*"))) for piece in pieces[::2]]
    groups = [f"(?P<{label}>{_NUMBER})" for label in labels]
    return re.compile("".join(map("".join, zip(literal, [*groups, ""], strict=True))))


def open_synthesis(path: Path, medium: str | None = None) -> Grid:
    """Open the files whose names match the stated pattern as a grid.

    Raises
    ------
    GridError
        The settings are wrong, or no file has such a name.
    """
    where = _settings_file(path)
    stated = settings_of(where.parent)
    names = stated.pop("names", None)
    if not isinstance(names, str):
        raise GridError(
            f'{where} does not state "names", the pattern of the file names, such as '
            "t{teff}_g{logg}.spec; add it, or write a table library.csv."
        )
    form = pattern_of(names, where)
    description = describe(stated, medium, where)
    labelled = [
        (file, {label: float(text) for label, text in found.groupdict().items()})
        for file in files_below(where.parent, form)
        if (found := form.fullmatch(file.name))
    ]
    if not labelled:
        raise GridError(f"{where.parent} has no file with a name like {names}; correct {where}.")
    meta = {"library": where.resolve().parent.name, **(description.meta or {})}
    return grid_of_files(labelled, description, meta, wavelength=description.pixels)


SYNTHESIS = LibraryReader(
    "synthesis",
    f"a folder with {SETTINGS_FILE} beside spectra with their labels in their names",
    is_synthesis,
    open_synthesis,
    "spectra of Turbospectrum and Synspec in the columns of these codes",
)
"""Reader of folders with labels in the file names."""
