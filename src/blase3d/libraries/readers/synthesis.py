"""What codes of synthesis write, one file a spectrum, labels in the names of the files.

The folder has a `library.json` with `names`, the form of the names, such as

    {"names": "t{teff}_g{logg}_z{feh}.spec", "format": "turbospectrum", "medium": "air"}

where each label in braces stands for a number, and * for any text. The other settings (see
`described`) say what the columns are: Turbospectrum writes wavelength, normalised flux and flux;
Synspec wavelength and Eddington flux, and the continuum in a file of its own (.7, .17); what other
codes write, such as SYNTHE with ATLAS models, is said by `columns`. Files with labels in a table
are read by `table`, with the same settings.

Tried on spectra that these codes computed, written in these columns.
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
    """True of a folder with `library.json`, and of that file."""
    return _settings_file(path).is_file()


def _settings_file(path: Path) -> Path:
    return path if path.name == SETTINGS_FILE else path / SETTINGS_FILE


def form_of(names: str, where: Path) -> re.Pattern[str]:
    """The regular expression of names such as t{teff}g{logg}.spec.

    Raises
    ------
    GridError
        There is no label in braces, or one that is there twice or is no word.
    """
    parts = re.split(r"\{(.*?)\}", names)
    labels = parts[1::2]
    good = labels and all(re.fullmatch(r"[A-Za-z]\w*", label) for label in labels)
    if not good or len(set(labels)) != len(labels):
        raise GridError(
            f'{where} states the names {names!r}, expected such as "t{{teff}}_g{{logg}}.spec", '
            "each label once in braces."
        )
    literal = [".*".join(map(re.escape, part.split("*"))) for part in parts[::2]]
    groups = [f"(?P<{label}>{_NUMBER})" for label in labels]
    return re.compile("".join(map("".join, zip(literal, [*groups, ""], strict=True))))


def open_synthesis(path: Path, medium: str | None = None) -> Grid:
    """The grid of the files whose names are of the stated form.

    Raises
    ------
    GridError
        The settings are of no use, or no file has such a name.
    """
    where = _settings_file(path)
    stated = settings_of(where.parent)
    names = stated.pop("names", None)
    if not isinstance(names, str):
        raise GridError(
            f'{where} does not state "names", the form of the names of the files, such as '
            "t{teff}_g{logg}.spec: add it, or write a table library.csv."
        )
    form = form_of(names, where)
    description = describe(stated, medium, where)
    labelled = [
        (file, {label: float(text) for label, text in found.groupdict().items()})
        for file in files_below(where.parent, form)
        if (found := form.fullmatch(file.name))
    ]
    if not labelled:
        raise GridError(f"{where.parent} has no file with a name like {names}: correct {where}.")
    meta = {"library": where.resolve().parent.name, **(description.meta or {})}
    return grid_of_files(labelled, description, meta, wavelength=description.pixels)


SYNTHESIS = LibraryReader(
    "synthesis",
    f"a folder with {SETTINGS_FILE} beside spectra with their labels in their names",
    is_synthesis,
    open_synthesis,
    "spectra of Turbospectrum and Synspec in the columns of these codes",
)
"""Labels from the names of files."""
