"""The BT-Settl spectra (Allard, Homeier & Freytag 2012), as their server's FORMAT file tells.

Files are named as lte030.0-4.5-0.0a+0.0.BT-Settl.spec.7: Teff in 100 K, the sign before log g being
that of minus log g, [M/H], and the enhancement of alpha elements; compressed (.gz, .bz2, .xz) or
not. Column 1 is the wavelength (Å, in vacuum), column 2 the logarithm of the flux, to which `DF`
is added for erg/s/cm²/Å, further ones are not needed. Numbers have Fortran's D for E, columns may
touch, and lines are not in order of wavelength, since models are computed in parallel. A file has a
million lines: write the range that is needed into a grid file first (`blase3d grid -o`).

Tried on files written as published, not on the library itself. The stacked form (.spec) of older
series, and their other `DF`, are not read.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ...errors import GridError
from ..grid import Grid
from ..reader import LibraryReader, refuse_air
from .spectrum_files import Columns, HoldsFiles, files_below, grid_of_files, increasing
from .text import numbers

DF = -8.0
EXAMPLE = "lte030.0-4.5-0.0a+0.0.BT-Settl.spec.7"
META = {
    "library": "BT-Settl",
    "code": "PHOENIX",
    "flux_unit": "erg s-1 cm-2 Angstrom-1",
    "citation": ["Allard, Homeier & Freytag 2012, RSPTA 370, 2765"],
    "licence": "as given by the library; cite its paper",
}
_NAME = re.compile(
    r"lte(?P<teff>\d{2,3}(?:\.\d)?)(?P<logg>[+-]\d\.\d)(?P<feh>[+-]\d\.\d)(?:a(?P<alpha>[+-]\d\.\d))?"
    r"\.BT-Settl\.(?:spec\.7|7\.spec)(?:\.(?:gz|bz2|xz))?"
)


def labels_of_name(name: str) -> dict[str, float]:
    """The labels in the name of a file."""
    found = _NAME.fullmatch(name)
    said = {} if found is None else found.groupdict(default="0")
    return {
        "teff": 100.0 * float(said["teff"]),
        "logg": -float(said["logg"]),
        "feh": float(said["feh"]),
        "alpha": float(said["alpha"]),
    }


def open_bt_settl(path: Path, medium: str | None = None) -> Grid:
    """The grid of the files in or below a folder."""
    refuse_air(path, medium, "BT-Settl")
    labelled = [(file, labels_of_name(file.name)) for file in files_below(path, _NAME)]
    if not labelled:
        raise GridError(f"{path} holds no BT-Settl spectra: expected {EXAMPLE}.")
    return grid_of_files(labelled, read, META, ("feh", "alpha"))


def read(path: Path) -> Columns:
    """The spectrum in one file."""
    wavelength, logarithm = numbers(path, (0, 1))
    return Columns(*increasing(wavelength, np.power(10.0, logarithm + DF)))


BT_SETTL = LibraryReader(
    "bt-settl",
    f"a folder of BT-Settl spectra ({EXAMPLE})",
    HoldsFiles(_NAME),
    open_bt_settl,
    "files written to the published description",
)
