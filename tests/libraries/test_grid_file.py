"""Grid files are written node by node, in memory that does not grow with the nodes."""

from __future__ import annotations

import json
import signal
import tracemalloc

import numpy as np
import pytest

from blase3d.errors import GridError
from blase3d.libraries import open_grid, write_grid
from blase3d.libraries.grid import Grid

WAVE = np.linspace(5000.0, 5100.0, 20_000)


def grid_of_nodes(count, continuum=True):
    """A grid whose spectra are made when they are read."""

    def read(i):
        flux = np.full(WAVE.size, 1.0 + i, dtype=np.float32)
        return flux, 2 * flux if continuum else None

    return Grid(WAVE, np.arange(count)[:, None], ("x",), read, {"library": "made"})


def peak_of_writing(count, path):
    tracemalloc.start()
    try:
        write_grid(grid_of_nodes(count), path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["a.npz", "a.zarr"])
def test_memory_does_not_grow_with_the_nodes(name, tmp_path):
    write_grid(grid_of_nodes(1), tmp_path / name)  # what is loaded once
    few, many = (peak_of_writing(count, tmp_path / name) for count in (5, 100))
    assert many < few + 2 * WAVE.nbytes
    assert many < 20 * WAVE.nbytes  # all of them are 100 of it


@pytest.mark.parametrize("continuum", [True, False])
def test_what_is_written_is_an_npz_file_for_everybody(continuum, tmp_path):
    write_grid(grid_of_nodes(7, continuum), tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        names = ["wavelength", "labels", "label_names", "meta", "flux"]
        assert arrays.files == [*names, "continuum"] if continuum else names
        assert arrays["flux"].dtype == np.float32
        assert arrays["flux"][:, 5].tolist() == [1, 2, 3, 4, 5, 6, 7]
        if continuum:
            assert arrays["continuum"].tolist() == (2 * arrays["flux"]).tolist()
    assert open_grid(tmp_path / "a.npz")[6].flux[0] == 7


@pytest.mark.parametrize(
    "transitions", [{"x": [3.5, 2.5]}, {"x": 3.5}, {"x": ["a", "b"]}, "logg", [1]]
)
def test_transitions_that_are_no_ranges_are_refused(transitions, tmp_path):
    grid = grid_of_nodes(2)
    grid.meta["transitions"] = transitions
    write_grid(grid, tmp_path / "a.npz")
    with pytest.raises(GridError, match="two increasing values for each label"):
        open_grid(tmp_path / "a.npz")


def test_a_node_that_fails_leaves_nothing_behind(tmp_path):
    whole = grid_of_nodes(3)

    def read(i):
        if i == 2:
            raise GridError("gone")
        return whole.read(i)

    with pytest.raises(GridError, match="gone"):
        write_grid(Grid(WAVE, whole.labels, ("x",), read), tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.npz", "a.zarr"])
def test_writing_reports_its_progress(name, tmp_path):
    steps = []
    write_grid(grid_of_nodes(3), tmp_path / name, lambda *step: steps.append(step))
    assert steps == [("write", 1, 3), ("write", 2, 3), ("write", 3, 3)]


def test_a_command_ended_by_sigterm_leaves_nothing_half_written(tmp_path, run, monkeypatch):
    whole, there = grid_of_nodes(3), []

    def read(i):
        if i == 2:
            there.extend(path.suffix for path in tmp_path.iterdir())
            signal.raise_signal(signal.SIGTERM)
        return whole.read(i)

    grid = Grid(WAVE, whole.labels, ("x",), read)
    monkeypatch.setattr("blase3d.libraries.open_grid", lambda *_: grid)
    done = run("grid", "any", "-o", tmp_path / "a.npz")
    assert done.status == 128 + signal.SIGTERM
    assert there == [".partial"]
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_is_in_a_library_and_writes_it(tmp_path, run):
    folder = tmp_path / "mine"
    folder.mkdir()
    for x in (1, 2):
        np.savetxt(folder / f"x{x}.txt", np.c_[WAVE, np.full(WAVE.size, x)], fmt="%.6f")
    (folder / "library.csv").write_text("file,fsed\nx1.txt,1\nx2.txt,2\n")
    words = ("grid", folder, "--medium", "vacuum", "--wave", "5010:5020", "--json")
    status, out, _ = run(*words, "-o", tmp_path / "a.zarr")
    assert status == 0
    facts = json.loads(out)
    assert facts["axes"] == {"fsed": [1.0, 2.0]}
    assert 5010 <= facts["wavelength"][0] < facts["wavelength"][1] <= 5020
    written = open_grid(tmp_path / "a.zarr")
    assert len(written.wavelength) == facts["pixels"]
    assert written[1].flux[0] == 2
