"""Models that are built, stored and read by windows."""

from __future__ import annotations

import errno
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from toy_models import TINY, small_grid

from blase3d.errors import ArchiveError
from blase3d.fitting import build_windows
from blase3d.fitting.archive import Archive, open_archive
from blase3d.fitting.build import build
from blase3d.fitting.clone_grid import clone
from blase3d.model import model, model_file, model_windows
from blase3d.model.identity import model_checksum
from blase3d.model.model_file import load_model, save_model

LABELS = {"teff": 5620.0, "logg": 4.4, "feh": -0.1}
RECIPE = TINY.replace(rounds=0, epochs=2, smooth_functions=4, shape_functions=4, data_functions=2)


@pytest.fixture(scope="module")
def clones(tmp_path_factory):
    """An archive of 801 pixels."""
    return clone(small_grid(), tmp_path_factory.mktemp("build") / "clones", RECIPE)


@pytest.fixture
def narrow(monkeypatch):
    """Windows of 300 pixels: three of them."""
    monkeypatch.setattr(model_windows, "WINDOW", 300)


@pytest.fixture
def reads(monkeypatch):
    """Numbers of the windows that are read."""
    found, read = [], model_windows.StoredWindows.__init__

    def spy(self, *args):
        of_window = args[-1]
        read(self, *args[:-1], lambda k, core: found.append((k, core)) or of_window(k, core))

    monkeypatch.setattr(model_windows.StoredWindows, "__init__", spy)
    return found


@pytest.fixture(scope="module")
def whole(clones):
    """The model in one piece."""
    return build(clones)


def test_lines_make_the_same_flux_in_windows_and_in_one_piece(clones, whole, narrow, tmp_path):
    """At the nodes, the residual leaves what the recipe allows, in both."""
    built = build(clones)
    assert model_windows.pixel_bounds(built).tolist() == [0, 300, 600, 801]
    lines = built.flux(**LABELS, residual=False)
    np.testing.assert_allclose(lines, whole.flux(**LABELS, residual=False), atol=1e-6)
    assert max(built.meta["node_rms"]) <= RECIPE.residual.tolerance
    np.testing.assert_allclose(
        built.meta["node_lines_rms"], whole.meta["node_lines_rms"], rtol=1e-3
    )
    labels = dict(zip(built.label_names, clones.labels[3], strict=True))
    error = np.asarray(built.flux(**labels)) - clones[3].flux
    np.testing.assert_allclose(np.sqrt(np.mean(error**2)), built.meta["node_rms"][3], rtol=1e-2)
    covariance, expected = (m.error_modes.T @ m.error_modes for m in (built, whole))
    assert abs(covariance - expected).max() < 0.2 * abs(expected).max()
    save_model(built, tmp_path / "m.zip")
    again = pickle.loads(pickle.dumps(load_model(tmp_path / "m.zip")))
    np.testing.assert_array_equal(again.flux(**LABELS), built.flux(**LABELS))
    assert model_checksum(again) == model_checksum(built) == model_checksum(replace(again))


def test_a_cut_reads_its_windows(clones, narrow, reads, monkeypatch, tmp_path):
    monkeypatch.setattr(model, "_GRAIN", 100)
    save_model(build(clones), tmp_path / "m.zip")
    stored, part = load_model(tmp_path / "m.zip"), clones.wavelength[20:120]
    reads.clear()
    flux = stored.flux(**LABELS, wavelength=part)
    assert {k for k, core in reads if core} == {0}
    assert "line_grid" not in vars(stored)
    everything = load_model(tmp_path / "m.zip")
    np.testing.assert_allclose(flux, everything.flux(**LABELS)[20:120], atol=1e-6)


def test_windows_are_copied_to_a_file_as_they_are(clones, narrow, monkeypatch, tmp_path):
    """Amplitudes of every node of PHOENIX, as numbers of 32 bits, would be 0.7 GB a window."""
    built = build(clones)
    with monkeypatch.context() as patch:
        patch.setattr(model_file, "_read_window", None)
        save_model(built, tmp_path / "one.zip")
        save_model(load_model(tmp_path / "one.zip"), tmp_path / "two.zip")
    for name in ("one.zip", "two.zip"):
        again = load_model(tmp_path / name)
        assert model_checksum(again) == model_checksum(replace(built))
        np.testing.assert_array_equal(again.flux(**LABELS), built.flux(**LABELS))


def test_a_build_that_was_interrupted_builds_the_other_windows(
    clones, narrow, monkeypatch, tmp_path
):
    first = build(clones)
    built, kept, build_aside = [], Archive.has_built, build_windows._build_aside
    monkeypatch.setattr(
        Archive, "has_built", lambda self, name: name[-1] != "1" and kept(self, name)
    )
    monkeypatch.setattr(
        build_windows,
        "_build_aside",
        lambda task: built.append(task.name[-1]) or build_aside(task),
    )
    monkeypatch.setattr(build_windows, "_assembled", lambda *args: args[-1])
    build(clones)
    assert built == ["1"]
    assert first.stored.pixels.size == 4


def test_a_window_that_another_command_built_meanwhile_is_not_written_again(
    clones, narrow, monkeypatch
):
    """Another machine may find other components, and a model may be reading these."""
    build(clones)
    asked, has_built = [], Archive.has_built

    def not_before(self, name):
        asked.append(name)
        return asked.count(name) > 2 and has_built(self, name)

    monkeypatch.setattr(Archive, "has_built", not_before)
    before = written(clones.path / "built")
    build(clones)
    assert asked.count(asked[0]) == 3  # at first, before the work and after it
    assert written(clones.path / "built") == before


def written(folder):
    """Names of the chunks of amplitudes below a folder, and the times when they were written."""
    chunks = folder.glob("**/residual_nodes/c/**/*")
    return {path: path.stat().st_mtime_ns for path in chunks if path.is_file()}


def test_a_window_that_is_missing_is_named(clones):
    with pytest.raises(ArchiveError, match=r"has no window nowhere/0, .* run blase3d build again"):
        clones.built("nowhere/0")


def test_a_full_disk_is_no_damage_to_what_is_copied(clones, narrow, monkeypatch, tmp_path):
    def full(group, name, values, chunk=None):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    built = build(clones)
    monkeypatch.setattr(model_file, "write_array", full)
    monkeypatch.setattr(model_file, "_write_arrays", lambda *_: None)
    with pytest.raises(OSError, match="No space left"):
        save_model(built, tmp_path / "m.zip")


def test_workers_build_the_same(clones, narrow, tmp_path):
    one = model_checksum(build(clones))
    for node in (clones.path / "built").iterdir():
        node.rename(clones.path / "built" / f"{node.name}-before")
    with ThreadPoolExecutor(2) as pool:
        assert model_checksum(build(clones, executor=pool)) == one


def test_processes_in_another_folder_read_the_archive(clones, monkeypatch, tmp_path):
    monkeypatch.chdir(clones.path.parent)
    sent = pickle.dumps(open_archive(clones.path.name))
    monkeypatch.chdir(tmp_path)
    flux = pickle.loads(sent).flux_part(3, slice(20, 120))
    np.testing.assert_array_equal(flux, clones[3].flux[20:120])


def test_a_file_that_was_replaced_is_not_read_on(clones, whole, narrow, tmp_path):
    save_model(build(clones), tmp_path / "m.zip")
    stored = load_model(tmp_path / "m.zip")
    save_model(whole, tmp_path / "m.zip")
    with pytest.raises(ArchiveError, match="has been replaced since it was opened"):
        stored.flux(**LABELS)
