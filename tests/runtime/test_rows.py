"""Matrices of which a few rows are in memory."""

from __future__ import annotations

import numpy as np
import pytest

from blase3d.runtime import rows
from blase3d.runtime.rows import (
    RowsOnDisk,
    each_row,
    empty_rows,
    joined_columns,
    read_blocks,
    row_blocks,
    rows_at,
)


@pytest.fixture
def some():
    return np.random.default_rng(0).normal(size=(70, 5)).astype(np.float32)


def test_rows_on_disk_are_those_written(some):
    kept = RowsOnDisk(*some.shape)
    for block in reversed(row_blocks(len(some))):
        kept[block] = some[block]
    kept[3:5] *= 2.0
    kept[69:] = np.ones(5, np.float32)
    some[3:5] *= 2.0
    some[69] = 1.0
    assert kept.shape == some.shape
    np.testing.assert_array_equal(kept[:], some)
    np.testing.assert_array_equal(kept[60:80], some[60:80])
    np.testing.assert_array_equal(np.concatenate(list(read_blocks(kept, 9))), some)
    np.testing.assert_array_equal(np.stack(list(each_row(kept))), some)
    index = np.array([69, 3, 3, 40])
    np.testing.assert_array_equal(rows_at(kept, index), some[index])
    np.testing.assert_array_equal(rows_at(some, index), some[index])


def test_columns_of_rows_on_disk_are_read_and_written(some):
    kept = RowsOnDisk(*some.shape)
    kept[:] = some
    kept[10:20, 1:3] = 2.0 * some[10:20, 1:3]
    kept[:, 4:] = some[:, :1]
    some[10:20, 1:3] *= 2.0
    some[:, 4:] = some[:, :1]
    np.testing.assert_array_equal(kept[:], some)
    np.testing.assert_array_equal(kept[:, 2:4], some[:, 2:4])
    np.testing.assert_array_equal(kept[60:80, :3], some[60:80, :3])


def test_a_full_disk_is_noticed(some):
    """Unbuffered files may write less than they are given, without an error."""
    kept = RowsOnDisk(*some.shape)
    kept._file.close()
    kept._file = AlmostFull()
    with pytest.raises(OSError, match="8 of 12 bytes of a temporary file"):
        kept[:, 1:4] = some[:, 1:4]


class AlmostFull:
    """A file that has room for eight bytes."""

    def seek(self, place):
        """Go to a place."""

    def write(self, values):
        """Return the number of bytes that were written."""
        return min(values.nbytes, 8)

    def close(self):
        """Nothing is left."""


@pytest.mark.parametrize("in_memory", [0, 1 << 20])
def test_columns_are_joined(some, monkeypatch, in_memory):
    monkeypatch.setattr(rows, "IN_MEMORY", in_memory)
    np.testing.assert_array_equal(joined_columns([some[:, :2], some[:, 2:]], 70)[:], some)
    assert joined_columns([], 70).shape == (70, 0)


def test_many_rows_are_on_disk(monkeypatch):
    monkeypatch.setattr(rows, "IN_MEMORY", 10)
    assert isinstance(empty_rows(2, 5), np.ndarray)
    assert isinstance(empty_rows(3, 5), RowsOnDisk)
