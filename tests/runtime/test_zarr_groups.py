"""Arrays in Zarr groups."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from blase3d.runtime.zarr_groups import read_array, write_array


@pytest.mark.parametrize("before", [0, 1])
def test_zeros_are_written_again(tmp_path, before):
    group = zarr.create_group(tmp_path / "group.zarr")
    write_array(group, "values", np.full((5, 3), before, np.uint8))
    form = write_array(group, "values", np.zeros((5, 3), np.uint8))
    np.testing.assert_array_equal(read_array(group, "values", form=form), np.zeros((5, 3)))
