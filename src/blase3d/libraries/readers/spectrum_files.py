"""Libraries with one file per spectrum, which are read on demand onto common pixels.

The pixels are those of the first spectrum, in the order of the labels, unless others are given. A
spectrum on other pixels is resampled when it is read (`resample`). Beyond its ends it is NaN, which
`Grid.cut` can cut off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import GridError
from ...runtime.arrays import Floats
from ..grid import Grid, NodeArrays, describe_labels
from .resample import resample

Labels = Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Columns:
    """The content of one file."""

    wavelength: Floats
    """(n,) Å in vacuum, strictly increasing."""
    flux: Floats
    """(n,)"""
    continuum: Floats | None = None
    """(n,)"""


Read = Callable[[Path], Columns]
"""Reads one file, or raises `GridError` with its name."""


def increasing(wavelength: Floats, *values: Floats) -> tuple[Floats, ...]:
    """Return wavelengths (n,) in increasing order, each once, and values (n,) with them.

    Of a wavelength that occurs twice, as where pieces of a spectrum were joined, the first is kept.
    """
    _, order = np.unique(wavelength, return_index=True)
    return tuple(array[order] for array in (wavelength, *values))


def files_below(folder: Path, name: re.Pattern[str]) -> Iterator[Path]:
    """Return files in or below a folder whose name matches a pattern, without hidden ones."""
    if not folder.is_dir():
        return iter(())
    found = (path for path in folder.rglob("[!.]*") if name.fullmatch(path.name))
    return (path for path in found if path.is_file())


@dataclass(frozen=True)
class HoldsFiles:
    """Whether there is a file in or below a folder whose name matches a pattern."""

    name: re.Pattern[str]

    def __call__(self, path: Path) -> bool:
        return next(files_below(path, self.name), None) is not None


def grid_of_files(
    labelled: Sequence[tuple[Path, Labels]],
    read: Read,
    meta: Mapping[str, object],
    optional: Sequence[str] = (),
    wavelength: Floats | None = None,
) -> Grid:
    """A grid of files with labels, each read when it is asked for.

    `optional` labels with a single value are not labels of the grid: they go into
    meta["fixed_labels"]. `wavelength` (P,) are the pixels (Å, vacuum); None: those of the first.

    Raises
    ------
    GridError
        Two files have the same labels, or no file can be read.
    """
    names = tuple(labelled[0][1])
    there = [name for name in optional if name in names and _is_fixed(labelled, name)]
    fixed = {name: labelled[0][1][name] for name in there}
    names = tuple(name for name in names if name not in fixed)
    table = np.array([[labels[name] for name in names] for _, labels in labelled]) + 0.0
    order = np.lexsort(table.T[::-1])
    files = tuple(labelled[i][0] for i in order)
    _refuse_duplicates(files, table[order], names)
    pixels = _pixels(files, read) if wavelength is None else wavelength
    nodes = FileNodes(files, read, pixels)
    stated = {**meta, "medium": "vacuum", **({"fixed_labels": fixed} if fixed else {})}
    return Grid(pixels, table[order], names, nodes, stated, None, nodes.digest)


def _is_fixed(labelled: Sequence[tuple[Path, Labels]], name: str) -> bool:
    return len({labels[name] for _, labels in labelled}) == 1


def _refuse_duplicates(files: tuple[Path, ...], table: Floats, names: tuple[str, ...]) -> None:
    for i, (one, other) in enumerate(pairwise(table)):
        if np.array_equal(one, other):
            node = describe_labels(dict(zip(names, map(float, one), strict=True)))
            raise GridError(
                f"{files[i]} and {files[i + 1]} both have {node}; keep one of them, or open "
                "their folders one by one."
            )


def _pixels(files: tuple[Path, ...], read: Read) -> Floats:
    """Wavelengths of the first file that can be read."""
    fault: GridError | None = None
    for file in files:
        try:
            return read(file).wavelength
        except GridError as failure:
            fault = fault or failure
    raise GridError(f"none of the {len(files)} spectra can be read; the first: {fault}")


@dataclass(frozen=True, eq=False)
class FileNodes:
    """Reader of the nodes of a grid from their files; can be sent to other processes."""

    files: tuple[Path, ...]
    read: Read
    wavelength: Floats

    def __call__(self, i: int) -> NodeArrays:
        found = self.read(self.files[i])
        flux, continuum = (
            self._resampled(found, values) for values in (found.flux, found.continuum)
        )
        return flux, continuum

    def _resampled(self, found: Columns, values: Floats | None) -> Any:
        if values is None:
            return None
        return resample(found.wavelength, values, self.wavelength).astype(np.float32)

    def digest(self, i: int) -> str:
        """Return name and size of a file; to read its content would take too long."""
        file = self.files[i]
        return f"{file.name}:{file.stat().st_size if file.is_file() else 'absent'}"
