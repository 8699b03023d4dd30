"""The BT-Settl library (Allard, Homeier & Freytag 2012), by the FORMAT file of its server.

File names are like lte030.0-4.5-0.0a+0.0.BT-Settl.spec.7: Teff in 100 K, log g after the sign of
-log g, [M/H], and the enhancement of alpha elements. Files may be compressed (.gz, .bz2, .xz).
Column 1 is the vacuum wavelength (Å), column 2 the logarithm of the flux, to which `DF` is added
for erg/s/cm²/Å. Numbers have Fortran's D for E, columns may be adjacent, and lines are not sorted
by wavelength. A file has a million lines, so write the range that you need to a grid file first
(`blase3d grid -o`).

Tested with files written to the published description, not with the library itself. The stacked
format (.spec) of older series, with another `DF`, is not read.
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
"""Added to the logarithm of the flux in files, for erg/s/cm²/Å."""
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
    """Return the labels in the name of a file."""
    found = _NAME.fullmatch(name)
    texts = {} if found is None else found.groupdict(default="0")
    return {
        "teff": 100.0 * float(texts["teff"]),
        "logg": -float(texts["logg"]),
        "feh": float(texts["feh"]),
        "alpha": float(texts["alpha"]),
    }


def open_bt_settl(path: Path, medium: str | None = None) -> Grid:
    """Open the files in or below a folder as a grid."""
    refuse_air(path, medium, "BT-Settl")
    labelled = [(file, labels_of_name(file.name)) for file in files_below(path, _NAME)]
    if not labelled:
        raise GridError(f"{path} has no BT-Settl spectra, expected {EXAMPLE}.")
    return grid_of_files(labelled, read, META, ("feh", "alpha"))


def read(path: Path) -> Columns:
    """Read the spectrum in one file."""
    wavelength, logarithm = numbers(path, (0, 1))
    return Columns(*increasing(wavelength, np.power(10.0, logarithm + DF)))


BT_SETTL = LibraryReader(
    "bt-settl",
    f"a folder of BT-Settl spectra ({EXAMPLE})",
    HoldsFiles(_NAME),
    open_bt_settl,
    "files written to the published description",
)
