"""Matrices of many nodes of a library, of which a few rows or columns are in memory at a time.

A small matrix is an array. A large one is in a temporary file, which ends with its process; the
environment variable TMPDIR states the folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .arrays import Singles

IN_MEMORY = 1 << 22
"""Largest number of values that are in memory: 16 MB."""
_AT_ONCE = 32
_ALL = slice(None)
Slices = slice | tuple[slice, slice]
"""Some rows, or some rows and some columns."""


class Rows(Protocol):
    """N rows of P values, which are read and written by slices of rows, or of rows and columns."""

    @property
    def shape(self) -> tuple[int, int]:
        """N and P."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: Slices, /) -> Singles: ...

    def __setitem__(self, part: Slices, values: Singles, /) -> None: ...


class RowsOnDisk:
    """Rows in a temporary file, from which slices of step one are read as copies."""

    def __init__(self, count: int, columns: int):
        self.shape = count, columns
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (as long as the rows)

    def __del__(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: Slices) -> Singles:
        rows, columns = self._ranges(part)
        if len(columns) == self.shape[1]:
            self._go_to(rows.start, 0)
            values = np.fromfile(self._file, np.float32, len(rows) * len(columns))
            return values.reshape(len(rows), len(columns))
        values = np.empty((len(rows), len(columns)), np.float32)
        for row, found in zip(rows, values, strict=True):
            self._go_to(row, columns.start)
            _check_count(self._file.readinto(found.data), found)
        return values

    def __setitem__(self, part: Slices, values: Singles) -> None:
        rows, columns = self._ranges(part)
        whole = np.broadcast_to(values, (len(rows), len(columns)))
        whole = np.ascontiguousarray(whole, np.float32)
        if len(columns) == self.shape[1]:
            self._go_to(rows.start, 0)
            whole.tofile(self._file)
            return
        for row, written in zip(rows, whole, strict=True):
            self._go_to(row, columns.start)
            _check_count(self._file.write(written.data), written)

    def _ranges(self, part: Slices) -> tuple[range, range]:
        """The numbers of the rows and columns of a part."""
        rows, columns = part if isinstance(part, tuple) else (part, _ALL)
        n_rows, n_columns = self.shape
        return range(*rows.indices(n_rows)), range(*columns.indices(n_columns))

    def _go_to(self, row: int, column: int) -> None:
        """Go to a value in the file."""
        place = row * self.shape[1] + column
        self._file.seek(place * np.dtype(np.float32).itemsize)


def _check_count(count: int | None, values: Singles) -> None:
    if count != values.nbytes:
        raise OSError(
            f"{count} of {values.nbytes} bytes of a temporary file in {tempfile.gettempdir()} were "
            "read or written: the disk is full, or has failed"
        )


def empty_rows(count: int, columns: int) -> Rows:
    """Return rows to be written: an array, or, if they are many, a temporary file."""
    if count * columns <= IN_MEMORY:
        return np.empty((count, columns), np.float32)
    return RowsOnDisk(count, columns)


def joined_columns(parts: Sequence[Rows], count: int) -> Rows:
    """Return the columns of several matrices of `count` rows, one after the other."""
    joined = empty_rows(count, sum(part.shape[1] for part in parts))
    for rows in row_blocks(count) if parts else ():
        joined[rows] = np.concatenate([part[rows] for part in parts], axis=1)
    return joined


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
