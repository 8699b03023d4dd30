"""A folder of the original's state dictionaries, as a grid of the spectra that they render.

Labels are in the file names. A state dictionary has no pixels, so the wavelengths are chosen here:
by default those of PHOENIX, from which the published ones were made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from ...errors import GridError, InputError
from ...libraries.grid import Grid, NodeArrays, describe_labels
from ...libraries.reader import LibraryReader
from ...runtime.arrays import Floats
from .states import FILE_NAMES, labels_of_state, original_flux, read_state

LABELS = ("teff", "logg", "feh")
META = {
    "library": "PHOENIX ACES, as state dictionaries of blase",
    "code": "PHOENIX 16, cloned by blase",
    "flux_unit": "continuum",
    "medium": "vacuum",
    "citation": [
        "Husser et al. 2013, A&A 553, A6",
        "Gully-Santiago & Morley 2022, ApJ 941, 200",
        "Shankar, Gully-Santiago & Morley: A New Hybrid Machine Learning Method for Stellar "
        "Parameter Inference",
    ],
    "licence": "as given with the state dictionaries; cite those who made them",
}
COARSER_FROM = 10_000.0
"""Å, from which on the pixels of PHOENIX are 0.02 Å wide; from 5000 Å to here 0.01 Å."""
MOST_PIXELS = 5_000_000
"""Most pixels of the spectra."""


@dataclass(frozen=True)
class StateFile:
    """A file, and the labels in its name in the order of `LABELS`."""

    path: Path
    labels: tuple[float, float, float]

    @property
    def described(self) -> str:
        """The labels as text."""
        return describe_labels(dict(zip(LABELS, self.labels, strict=True)))


def find_states(folder: str | Path, feh: float = 0.0) -> tuple[list[StateFile], list[Path]]:
    """Return the state dictionaries in or below a folder, and `.pt` files without labels.

    The first are sorted by the labels in their names. `feh` is the [Fe/H] (dex) of files whose
    name has none.

    Raises
    ------
    GridError
        There is no folder, no `.pt` file with labels, or two with the same labels.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise GridError(f"there is no folder {folder}; give the one with the .pt files.")
    paths = sorted(p for p in folder.rglob("*.pt") if p.is_file() and not p.name.startswith("."))
    named, unnamed = [], []
    for path in paths:
        labels = {"feh": feh, **labels_of_state(path.name)}
        if len(labels) == len(LABELS):
            named.append(StateFile(path, (labels["teff"], labels["logg"], labels["feh"])))
        else:
            unnamed.append(path)
    if not named:
        found = f"{len(unnamed)} .pt files without labels in their names" if unnamed else "no .pt"
        raise GridError(f"{folder} has {found}, expected files named like {FILE_NAMES}.")
    named.sort(key=lambda file: file.labels)
    for one, other in pairwise(named):
        if one.labels == other.labels:
            raise GridError(
                f"{one.path} and {other.path} both have {one.described}; keep one of them."
            )
    return named, unnamed


def no_labels(path: Path) -> str:
    """Return the reason why `find_states` found no labels for a file."""
    return f"{path} has no labels in its name, expected a name like {FILE_NAMES}."


def native_wavelength(low: float, high: float) -> Floats:
    """Return the pixels (P,) of PHOENIX from low to high (Å, vacuum), as from 5000 Å on."""
    first, last = (math.ceil(100.0 * low - 1e-6), math.floor(100.0 * high + 1e-6))
    change = round(100.0 * COARSER_FROM)
    fine = np.arange(first, min(last + 1, change))
    coarse = np.arange(max(first + first % 2, change), last + 1, 2)
    return np.asarray(np.concatenate([fine, coarse]) / 100.0)


def choose_pixels(low: float, high: float, step: float | None = None) -> Floats:
    """Return wavelengths (P,) in Å from low to high, those of PHOENIX or in steps of `step` Å.

    Raises
    ------
    InputError
        The step or the range is impossible, or there are too many pixels.
    """
    if step is not None and not 1e-4 <= step <= 10.0:
        raise InputError(f"got a step of {step:g} Å, expected 0.0001 to 10 Å; correct it.")
    if not (math.isfinite(low) and math.isfinite(high) and 0.0 < low < high):
        raise InputError(f"got wavelengths from {low:g} to {high:g} Å; give LO:HI with --wave.")
    if not 2 <= (high - low) / (step or 0.01) <= MOST_PIXELS:
        raise InputError(
            f"got {low:g} to {high:g} Å in steps of {step or 0.01:g} Å, expected 2 to "
            f"{MOST_PIXELS} pixels; choose another range or step."
        )
    if step is None:
        return native_wavelength(low, high)
    return np.asarray(low + step * np.arange(math.floor((high - low) / step + 1e-9) + 1))


def states_grid(files: Sequence[StateFile], wavelength: Floats) -> Grid:
    """Return the grid of spectra that state dictionaries render at rest, read on demand.

    `wavelength` (P,) is in Å in vacuum; the flux is in units of the continuum.
    """
    labels = np.array([file.labels for file in files])
    nodes = _Nodes(tuple(file.path for file in files), wavelength)
    return Grid(wavelength, labels, LABELS, nodes, META)


@dataclass(frozen=True, eq=False)
class _Nodes:
    files: tuple[Path, ...]
    wavelength: Floats

    def __call__(self, i: int) -> NodeArrays:
        flux = original_flux(read_state(self.files[i]).at_rest(), self.wavelength)
        return flux.astype(np.float32), np.ones(flux.size, np.float32)


def is_states(path: Path) -> bool:
    """Whether a path is a `.pt` file, or a folder with one in or below it."""
    if path.is_dir():
        return next(path.rglob("*.pt"), None) is not None
    return path.suffix.lower() == ".pt"


def _refuse(path: Path, medium: str | None) -> Grid:
    raise GridError(
        f"{path} has state dictionaries (.pt), which are lines already; use blase3d "
        "import-states DIR -o CLONES, then blase3d build."
    )


STATES = LibraryReader(
    "states",
    "a folder of .pt state dictionaries (for blase3d import-states)",
    is_states,
    _refuse,
    "files of the original",
)
"""Recognises state dictionaries, to say what to do with them: they hold lines, not spectra."""
