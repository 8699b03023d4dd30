"""The joint fit by windows: its misfits, and its memory."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

from blase3d.fitting import joint_fit, windows
from blase3d.fitting.archive import create_archive
from blase3d.fitting.clone_grid import misfits
from blase3d.fitting.windows import WindowFits
from blase3d.libraries.toy import toy_grid
from blase3d.lines import catalogue
from blase3d.model.line_grid import LineGrid
from blase3d.recipe import DEFAULT
from blase3d.runtime import rows
from blase3d.runtime.progress import silent

RECIPE = DEFAULT.replace(
    name="short",
    rounds=1,
    epochs=4,
    window=300,
    margin=50,
    smooth_functions=4,
    shape_functions=4,
    data_functions=0,
)

GRID = toy_grid({"teff": (5500.0, 6000.0), "logg": (4.0, 4.5), "feh": (0.0,)}).cut(8480.0, 8492.0)


def peak_of_window(path, n_teff):
    """Bytes of the fit of one of two windows, in its second round."""
    axes = {"teff": np.linspace(5000, 6500, n_teff), "logg": (4.0, 4.5, 5.0), "feh": (-0.5, 0.5)}
    grid = toy_grid(axes).cut(8480.0, 8492.0)  # two windows
    archive = create_archive(path, grid, RECIPE)
    for i in range(len(grid)):
        spectrum = grid[i]
        archive.write_spectrum(i, (spectrum.flux / spectrum.continuum).astype(np.float32))
    fits = WindowFits(archive)
    windows._fit_round(fits, 0, None, silent)
    task = next(fits.tasks(1))
    return min(peak_of(windows._fit_window, task, fits.recipe) for _ in range(3))  # compiled


def peak_of(function, *arguments):
    """Bytes that a call needs."""
    gc.collect()
    tracemalloc.start()
    try:
        function(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_misfits_are_those_of_all_windows(tmp_path):
    """They are not known until the last is fitted."""
    archive = create_archive(tmp_path / "clones", GRID, RECIPE)
    flux = np.ones(archive.wavelength.size, np.float32)
    for i in range(len(GRID) - 1):
        archive.write_spectrum(i, flux)
    archive.write_failed(len(GRID) - 1, "it is too cold")
    fits = WindowFits(archive)
    none = LineGrid(
        np.empty(0), *(np.empty(shape, np.float32) for shape in ((0, 4), (4, 0), (4, 0, 3)))
    )
    squares = np.arange(1.0, len(GRID)) * flux.size / len(fits.windows)
    assert len(fits.windows) == 2
    for number in range(2):
        assert np.isnan(misfits(archive)).all()
        archive.write_window(number, RECIPE.joint.rounds, none, squares)
    found = misfits(archive)
    np.testing.assert_allclose(found[:-1] ** 2, np.arange(1.0, len(GRID)))
    assert np.isnan(found[-1])


@pytest.mark.long
def test_memory_does_not_grow_with_the_nodes(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "IN_MEMORY", 0)
    monkeypatch.setattr(joint_fit, "NODES_AT_ONCE", 16)
    monkeypatch.setattr(catalogue, "NODES_AT_ONCE", 16)
    monkeypatch.setattr(joint_fit, "_STEPS_AT_ONCE", 4)
    few, many = (peak_of_window(tmp_path / f"{n}.zarr", n) for n in (6, 18))
    assert many < 1.2 * few
