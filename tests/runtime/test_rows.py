"""Matrices of which a few rows are in memory."""

from __future__ import annotations

import numpy as np
import pytest

from blase3d.runtime import rows
from blase3d.runtime.rows import (
    RowsOnDisk,
    each_row,
    empty_rows,
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


def test_many_rows_are_on_disk(monkeypatch):
    monkeypatch.setattr(rows, "IN_MEMORY", 10)
    assert isinstance(empty_rows(2, 5), np.ndarray)
    assert isinstance(empty_rows(3, 5), RowsOnDisk)
