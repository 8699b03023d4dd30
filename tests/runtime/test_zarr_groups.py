"""Arrays in Zarr groups."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from blase3d.errors import ArchiveError
from blase3d.runtime.zarr_groups import (
    ColumnBlocks,
    check_whole,
    read_array,
    read_columns,
    read_in_blocks,
    write_array,
)

MATRIX = np.arange(35, dtype=np.uint16).reshape(5, 7)


@pytest.mark.parametrize("before", [0, 1])
def test_zeros_are_written_again(tmp_path, before):
    group = zarr.create_group(tmp_path / "group.zarr")
    write_array(group, "values", np.full((5, 3), before, np.uint8))
    form = write_array(group, "values", np.zeros((5, 3), np.uint8))
    np.testing.assert_array_equal(read_array(group, "values", form=form), np.zeros((5, 3)))


@pytest.fixture
def in_columns(tmp_path):
    """The folder of a group with the matrix in three chunks, which is `form`."""
    group = zarr.create_group(tmp_path / "group.zarr")
    blocks = (MATRIX[:, first : first + 3] for first in (0, 3, 6))
    form = write_array(group, "values", ColumnBlocks((5, 7), MATRIX.dtype, 3, blocks))
    return group, form


def test_a_matrix_is_written_and_read_by_columns(in_columns):
    group, form = in_columns
    assert form == [5, 7, "uint16"]
    assert group["values"].nchunks == 3
    np.testing.assert_array_equal(read_array(group, "values", form=form), MATRIX)
    found = np.zeros_like(MATRIX)
    columns = read_columns(group, "values", form)
    for some, block in columns:
        found[:, some] = block
    np.testing.assert_array_equal(found, MATRIX)
    assert (columns.shape, columns.dtype, columns.step) == ((5, 7), MATRIX.dtype, 3)


def test_a_copy_has_the_same_chunks(in_columns, tmp_path):
    group, _ = in_columns
    copy = zarr.create_group(tmp_path / "copy.zarr")
    write_array(copy, "values", read_in_blocks(group, "values"))
    np.testing.assert_array_equal(read_array(copy, "values"), MATRIX)
    assert copy["values"].chunks == group["values"].chunks == (5, 3)
    write_array(group, "row", MATRIX[0])
    write_array(copy, "row", read_in_blocks(group, "row"))
    np.testing.assert_array_equal(read_array(copy, "row"), MATRIX[0])


def test_damage_to_any_chunk_is_found(in_columns, tmp_path):
    group, form = in_columns
    check_whole(group, "values", form)
    chunk = tmp_path / "group.zarr" / "values" / "c" / "0" / "2"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ArchiveError, match=r"array values of .* is damaged"):
        check_whole(group, "values", form)
    again = ColumnBlocks((5, 7), MATRIX.dtype, 3, (MATRIX[:, k : k + 3] for k in (0, 3, 6)))
    write_array(group, "values", again)
    np.testing.assert_array_equal(read_array(group, "values"), MATRIX)
    chunk.unlink()
    with pytest.raises(ArchiveError, match="is incomplete"):
        check_whole(group, "values", form)
    with pytest.raises(ArchiveError, match="another shape or type"):
        check_whole(group, "values", [5, 6, "uint16"])
