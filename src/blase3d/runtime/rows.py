"""Matrices of a row for each node of a library, of which a few rows are in memory at a time.

A small matrix is an array. A large one is in a temporary file, which ends with its process; the
environment variable TMPDIR states the folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .arrays import Singles

IN_MEMORY = 1 << 22
"""Largest number of values that are in memory: 16 MB."""
_AT_ONCE = 32


class Rows(Protocol):
    """N rows of P values, which are read and written by slices."""

    @property
    def shape(self) -> tuple[int, int]:
        """N and P."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Singles: ...

    def __setitem__(self, rows: slice, values: Singles, /) -> None: ...


class RowsOnDisk:
    """Rows in a temporary file, from which slices are read as copies."""

    def __init__(self, count: int, columns: int):
        self.shape = count, columns
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the rows)

    def __del__(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Singles:
        count = self._go_to(rows)
        return np.fromfile(self._file, np.float32, count * self.shape[1]).reshape(count, -1)

    def __setitem__(self, rows: slice, values: Singles) -> None:
        whole = np.broadcast_to(values, (self._go_to(rows), self.shape[1]))
        np.asarray(whole, np.float32).tofile(self._file)

    def _go_to(self, rows: slice) -> int:
        """Go to the first of some rows in the file, and return their number."""
        first, stop, _ = rows.indices(len(self))
        self._file.seek(first * self.shape[1] * np.dtype(np.float32).itemsize)
        return stop - first


def empty_rows(count: int, columns: int) -> Rows:
    """Return rows to be written: an array, or, if they are many, a temporary file."""
    if count * columns <= IN_MEMORY:
        return np.empty((count, columns), np.float32)
    return RowsOnDisk(count, columns)


def row_blocks(count: int, size: int = _AT_ONCE) -> list[slice]:
    """Return the slices of rows that are in memory at a time."""
    return [slice(first, first + size) for first in range(0, count, size)]


def read_blocks(rows: Rows, size: int = _AT_ONCE) -> Iterator[Singles]:
    """Yield all rows, of which some are in memory at a time."""
    return (rows[block] for block in row_blocks(len(rows), size))


def each_row(rows: Rows) -> Iterator[Singles]:
    """Yield all rows (P,), one by one."""
    return (row for block in read_blocks(rows) for row in block)


def rows_at(rows: Rows, index: NDArray[np.integer]) -> Singles:
    """Return the rows of these indices, as a copy."""
    return np.concatenate([rows[i : i + 1] for i in index.tolist()])
