"""Spectra of Y dwarfs by coolTLUSTY (Lacy & Burrows 2023, ApJ 950, 8).

File names are like T300_g4.25_Z1.000_CDIFF1e6_HMIX1.000.21: Teff (K), log g (cgs), Z in solar
units, Kzz (cm²/s) if the chemistry is out of equilibrium, and the mixing length if stated. Below a
line of names there are columns, among them LAMBDA(mic) (µm, in vacuum) and FLAM (erg/s/cm²/Å), with
Fortran's D for E. The label `feh` is log Z, `logkzz` the logarithm of Kzz, `hmix` the mixing
length. Clear and cloudy models, in and out of equilibrium, are in separate folders: open them one
by one. Some spectra have different wavelengths.

Tested with files written to the published description, not with the library itself.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from ...errors import GridError
from ..grid import Grid
from ..reader import LibraryReader, refuse_air
from .spectrum_files import Columns, HoldsFiles, files_below, grid_of_files, increasing
from .text import parse, read_text

EXAMPLE = "T300_g4.25_Z1.000_CDIFF1e6.21"
WAVELENGTH, FLUX = "LAMBDA(mic)", "FLAM"
META = {
    "library": "coolTLUSTY",
    "flux_unit": "erg s-1 cm-2 Angstrom-1",
    "citation": ["Lacy & Burrows 2023, ApJ 950, 8"],
    "licence": "as given by the library; cite its paper",
}
_NAME = re.compile(
    r"T(?P<teff>\d+)_g(?P<logg>\d\.\d+)_Z(?P<z>\d+\.\d+)"
    r"(?:_CDIFF(?P<kzz>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?))?(?:_HMIX(?P<hmix>\d+\.\d+))?\.21(?:\.gz)?"
)


def labels_of_name(name: str) -> dict[str, float]:
    """Return the labels in the name of a file."""
    found = _NAME.fullmatch(name)
    texts = {} if found is None else found.groupdict()
    labels = {"teff": float(texts["teff"]), "logg": float(texts["logg"])}
    labels["feh"] = round(math.log10(float(texts["z"])), 2)
    if texts["kzz"]:
        labels["logkzz"] = round(math.log10(float(texts["kzz"])), 2)
    if texts["hmix"]:
        labels["hmix"] = float(texts["hmix"])
    return labels


def open_cooltlusty(path: Path, medium: str | None = None) -> Grid:
    """Open the files in or below a folder as a grid."""
    refuse_air(path, medium, "coolTLUSTY")
    labelled = [(file, labels_of_name(file.name)) for file in files_below(path, _NAME)]
    if not labelled:
        raise GridError(f"{path} has no coolTLUSTY spectra, expected {EXAMPLE}.")
    for file, labels in labelled:
        if labels.keys() != labelled[0][1].keys():
            raise GridError(
                f"{labelled[0][0]} and {file} do not state the same labels; open models in and "
                "out of equilibrium one by one, each in its folder."
            )
    return grid_of_files(labelled, read, META, ("feh", "logkzz", "hmix"))


def read(path: Path) -> Columns:
    """Read the spectrum in one file."""
    text = read_text(path)
    names = next((line for line in text.splitlines() if line.strip()), "").split()
    if not {WAVELENGTH, FLUX} <= set(names):
        raise GridError(
            f"{path} has no columns {WAVELENGTH} and {FLUX}: it is damaged or no coolTLUSTY "
            "spectrum; copy it again."
        )
    micron, flux = parse(text, path, (names.index(WAVELENGTH), names.index(FLUX)))
    return Columns(*increasing(1e4 * micron, flux))


COOLTLUSTY = LibraryReader(
    "cooltlusty",
    f"a folder of coolTLUSTY spectra ({EXAMPLE})",
    HoldsFiles(_NAME),
    open_cooltlusty,
    "files written to the published description",
)
