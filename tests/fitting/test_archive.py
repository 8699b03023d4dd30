"""Clones on disk: round trips, and detection of every kind of damage."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from blase3d.errors import ArchiveError
from blase3d.fitting import joint_fit, single_node
from blase3d.fitting.archive import create_archive, open_archive
from blase3d.fitting.constants import constants
from blase3d.fitting.single_node import Clone
from blase3d.libraries.toy import WAVELENGTH, toy_flux, toy_grid, toy_lines
from blase3d.lines import catalogue, detect
from blase3d.model import grid_basis
from blase3d.model.line_grid import LineGrid
from blase3d.model.model_file import load_model
from blase3d.recipe import DEFAULT, PAPER, SINGLE
from blase3d.runtime.zarr_groups import write_array

AXES = {"teff": (5500.0, 6000.0, 6500.0), "logg": (4.0, 4.5), "feh": (0.0,)}
GRID = toy_grid(AXES)
REGRESSION = Path(__file__).parents[1] / "regression"


def clone_of(i):
    """A clone of a node without any fitting."""
    labels = GRID.labels[i]
    flux = toy_flux(labels, WAVELENGTH).astype(np.float32)
    return Clone(flux, toy_lines(labels), flux + np.float32(1e-3), 1e-3, ("invented",))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """An archive with every node in it, to be copied."""
    made = create_archive(tmp_path_factory.mktemp("pristine") / "clones", GRID, SINGLE)
    for i in range(len(GRID)):
        made.write(i, clone_of(i))
    return made.path


@pytest.fixture
def archive(pristine, tmp_path):
    """An archive with every node in it, to be damaged."""
    return open_archive(shutil.copytree(pristine, tmp_path / "clones"))


@pytest.fixture
def joint(tmp_path):
    """An archive of a joint fit, with nothing in it."""
    return create_archive(tmp_path / "joint", GRID, DEFAULT)


def done(archive):
    """Nodes that are done when the archive is opened again."""
    opened = open_archive(archive.path)
    return [i for i in range(len(opened)) if opened.is_done(i)]


def test_round_trip(archive):
    opened = open_archive(archive.path)
    assert opened.recipe == SINGLE
    assert opened.label_names == GRID.label_names
    assert opened.meta["library"]["library"] == "toy"
    assert set(opened.meta["versions"]) >= {"blase3d", "jax", "numpy"}
    np.testing.assert_array_equal(opened.wavelength, WAVELENGTH)
    np.testing.assert_array_equal(opened.labels, GRID.labels)
    for i in range(len(GRID)):
        node, truth = opened[i], clone_of(i)
        np.testing.assert_array_equal(node.lines.reference, truth.lines.reference)
        np.testing.assert_array_equal(node.lines.params, truth.lines.params)
        np.testing.assert_array_equal(node.flux, truth.target)
        assert (node.misfit, node.flags) == (1e-3, ("invented",))


def test_failures(archive):
    assert archive.failed == {}
    archive.write_failed(4, "it is too cold")
    opened = open_archive(archive.path)
    assert opened.failed == {4: "it is too cold"}
    assert done(archive) == [0, 1, 2, 3, 5]
    with pytest.raises(ArchiveError, match=r"node 4 .* has not been cloned"):
        opened.flux_part(4, slice(300, 900))
    opened.write(4, clone_of(4))  # it has come back
    assert open_archive(archive.path).failed == {}
    assert done(archive) == list(range(6))


def test_a_slice_of_a_flux(archive):
    found = archive.flux_part(2, slice(300, 900))
    np.testing.assert_array_equal(found, clone_of(2).target[300:900])


def a_surface():
    """Lines of two coefficients of ln area and one of the others, random."""
    rng = np.random.default_rng(3)
    shapes = ((26, 4), (2, 26), (1, 26, 3))
    parts = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    return LineGrid(toy_lines(GRID.labels[0]).reference, *parts)


def test_windows_round_trip(joint):
    joint.write_window(3, 1, a_surface(), np.arange(6.0))
    opened = open_archive(joint.path)
    found, squares = opened.window(3, 1)
    for name in ("reference", "base", "area", "shape"):
        np.testing.assert_array_equal(getattr(found, name), getattr(a_surface(), name))
    np.testing.assert_array_equal(squares, np.arange(6.0))
    assert opened.window(3, 0) is None
    assert opened.window(2, 1) is None


def test_the_data_basis_round_trips_and_is_ignored_if_damaged(archive):
    assert archive.data_basis() is None
    own = np.arange(12.0).reshape(6, 2)
    archive.write_data_basis(own)
    np.testing.assert_array_equal(open_archive(archive.path).data_basis(), own)
    values = next(p for p in (archive.path / "functions/own/c").rglob("*") if p.is_file())
    flip(values, 0.5)
    assert open_archive(archive.path).data_basis() is None
    archive.write_data_basis(own)
    np.testing.assert_array_equal(open_archive(archive.path).data_basis(), own)


@pytest.mark.parametrize("name", ["reference", "base", "area", "shape", "squares"])
@pytest.mark.parametrize("damage", ["flip", "lose", "metadata"])
def test_a_damaged_window_is_not_done_and_can_be_written_again(joint, name, damage):
    joint.write_window(0, 0, a_surface(), np.arange(6.0))
    folder = joint.path / "rounds/0/0" / name
    values = next(p for p in (folder / "c").rglob("*") if p.is_file())
    if damage == "flip":
        flip(values, 0.5)
    elif damage == "lose":
        values.unlink()
    else:
        (folder / "zarr.json").write_text("[]")
    opened = open_archive(joint.path)
    assert opened.window(0, 0) is None
    opened.write_window(0, 0, a_surface(), np.arange(6.0))
    np.testing.assert_array_equal(open_archive(joint.path).window(0, 0)[1], np.arange(6.0))


def test_a_clone_without_lines(archive):
    none = clone_of(0).lines.take([])
    archive.write(0, replace(clone_of(0), lines=none))
    assert len(open_archive(archive.path)[0].lines) == 0
    assert 0 in done(archive)


def test_the_same_work_resumes(archive):
    assert create_archive(archive.path, GRID, SINGLE).is_done(2)


def test_a_missing_node_is_not_done(tmp_path):
    empty = create_archive(tmp_path / "clones", GRID, SINGLE)
    assert not empty.is_done(0)
    assert empty.window(0, 0) is None
    with pytest.raises(ArchiveError, match=r"node 0 .* not been cloned"):
        empty[0]


def test_a_write_cut_short_is_not_done(archive, monkeypatch):
    """The process ends when half of a node is written."""
    shutil.rmtree(archive.path / "nodes/3")
    written = []

    def write_one(group, name, values, chunk=None, write=write_array):
        if written:
            raise KeyboardInterrupt
        written.append(name)
        return write(group, name, values, chunk)

    monkeypatch.setattr("blase3d.fitting.archive.write_array", write_one)
    with pytest.raises(KeyboardInterrupt):
        archive.write(3, clone_of(3))
    assert written == ["nodes/3/reference"]
    assert done(archive) == [0, 1, 2, 4, 5]


@pytest.mark.parametrize(
    ("grid", "recipe"),
    [
        (GRID, PAPER),
        (GRID, DEFAULT),
        (GRID, SINGLE.replace(epochs=99)),
        (GRID.take([0, 1, 2, 3]), SINGLE),
        (GRID.cut(8490, 8500), SINGLE),
        (toy_grid({**AXES, "feh": (0.5,)}), SINGLE),
    ],
)
def test_other_work_is_refused(archive, grid, recipe):
    with pytest.raises(ArchiveError, match="another grid, range or recipe"):
        create_archive(archive.path, grid, recipe)
    assert done(archive) == list(range(6))


@pytest.mark.parametrize(
    ("grid", "recipe", "said"),
    [
        (GRID, SINGLE.replace(epochs=99), rf"\(epochs {SINGLE.fit.epochs} there, 99 now\)"),
        (GRID.take([0, 1, 2, 3]), SINGLE, r"\(nodes 6 there, 4 now\)"),
        (toy_grid({**AXES, "feh": (0.5,)}), SINGLE, r"\(labels or spectra differ\)"),
    ],
)
def test_what_differs_is_named(archive, grid, recipe, said):
    with pytest.raises(ArchiveError, match=said):
        create_archive(archive.path, grid, recipe)


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (joint_fit, "_WIDTH_UNIT", 0.2),
        (joint_fit, "_LEAST_EPOCHS", 5),
        (single_node, "_MOST_LINES", 4),
        (detect, "_EDGE", 400),
        (grid_basis, "_POWER", 0.5),
    ],
)
def test_other_constants_of_the_fit_are_refused(archive, monkeypatch, module, name, value):
    monkeypatch.setattr(module, name, value)
    with pytest.raises(ArchiveError, match="other constants"):
        create_archive(archive.path, GRID, SINGLE)
    assert done(archive) == list(range(6))  # it still opens


NOT_OF_A_FIT = ("SPEED_OF_LIGHT", "NODES_AT_ONCE", "_STEPS_AT_ONCE")
"""Constants of physics, and those on which memory depends, and results by rounding at most."""


@pytest.mark.parametrize("module", [joint_fit, single_node, detect, catalogue, grid_basis])
def test_every_constant_of_a_fit_is_kept_in_its_archive(module):
    numbers = {name: value for name, value in vars(module).items() if name.isupper()}
    kept = list(constants().values())
    for name, value in numbers.items():
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and name not in NOT_OF_A_FIT:
                assert number in kept, name


def test_an_archive_of_version_5_resumes_under_its_constants_alone(tmp_path, monkeypatch):
    path = tmp_path / "clones"
    grid = toy_grid({**AXES, "teff": (5500.0, 6000.0)}).cut(8497.0, 8499.0)
    with zipfile.ZipFile(REGRESSION / "clones-5.zip") as zipped:
        zipped.extractall(path)
    assert create_archive(path, grid, SINGLE).is_done(2)
    monkeypatch.setattr(joint_fit, "_WIDTH_UNIT", 0.2)
    with pytest.raises(ArchiveError, match="other constants"):
        create_archive(path, grid, SINGLE)


# Damage


def chunk(archive, i, name):
    """The file with the values of an array of a node."""
    files = [p for p in (archive.path / f"nodes/{i}/{name}/c").rglob("*") if p.is_file()]
    assert len(files) == 1
    return files[0]


def flip(path, place):
    """Change one byte of a file, at a fraction of its length."""
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["flux", "params", "reference"])
@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.99])
def test_a_flipped_byte_is_detected(archive, name, place):
    flip(chunk(archive, 2, name), place)
    assert done(archive) == [0, 1, 3, 4, 5]
    with pytest.raises(ArchiveError, match=f"{name} .*damaged"):
        open_archive(archive.path)[2]


@pytest.mark.parametrize("left", [0, 10, 500])
def test_a_truncated_chunk_is_detected(archive, left):
    path = chunk(archive, 2, "flux")
    path.write_bytes(path.read_bytes()[:left])
    assert done(archive) == [0, 1, 3, 4, 5]


@pytest.mark.parametrize("name", ["flux", "params", "reference"])
def test_a_lost_chunk_is_detected(archive, name):
    chunk(archive, 2, name).unlink()
    assert done(archive) == [0, 1, 3, 4, 5]
    with pytest.raises(ArchiveError, match="incomplete"):
        open_archive(archive.path)[2]


@pytest.mark.parametrize("name", ["", "flux", "params"])
@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_damaged_metadata_of_a_node_is_detected_and_repaired(archive, name, content):
    (archive.path / "nodes/2" / name / "zarr.json").write_text(content)
    assert done(archive) == [0, 1, 3, 4, 5]
    open_archive(archive.path).write(2, clone_of(2))
    assert done(archive) == list(range(6))


@pytest.mark.parametrize("name", ["", "flux", "params"])
def test_lost_metadata_of_a_node_are_detected_and_repaired(archive, name):
    (archive.path / "nodes/2" / name / "zarr.json").unlink()
    assert done(archive) == [0, 1, 3, 4, 5]
    open_archive(archive.path).write(2, clone_of(2))
    assert done(archive) == list(range(6))


def test_writing_a_node_again_removes_nothing_meanwhile(archive, monkeypatch):
    """A process that reads a node while another writes the same finds it complete at every step."""
    seen = []

    def write_one(group, name, values, chunk=None, write=write_array):
        seen.append(done(archive))
        form = write(group, name, values, chunk)
        seen.append(done(archive))
        return form

    monkeypatch.setattr("blase3d.fitting.archive.write_array", write_one)
    archive.write(3, clone_of(3))
    assert seen == [list(range(6))] * 6


def test_swapped_arrays_are_detected(archive):
    """Sound chunks of another array do not match."""
    flux, params = chunk(archive, 2, "flux"), chunk(archive, 2, "params")
    flux.write_bytes(params.read_bytes())
    assert done(archive) == [0, 1, 3, 4, 5]


@pytest.mark.parametrize("name", ["wavelength", "labels"])
def test_damage_to_what_all_nodes_share(archive, name):
    files = [p for p in (archive.path / name / "c").rglob("*") if p.is_file()]
    flip(files[0], 0.5)
    with pytest.raises(ArchiveError, match=name):
        open_archive(archive.path)


# Things that are no archive


def rewrite(archive, **attributes):
    """Change attributes of the archive behind its back."""
    path = archive.path / "zarr.json"
    content = json.loads(path.read_text())
    content["attributes"].update(attributes)
    path.write_text(json.dumps(content))


def test_a_folder_appears_whole(tmp_path, monkeypatch):
    """A run that ends while it creates the archive does not hinder the next."""

    def killed(group, name, values, chunk=None):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("blase3d.fitting.archive.write_array", killed)
        with pytest.raises(KeyboardInterrupt):
            create_archive(tmp_path / "clones", GRID, SINGLE)
    assert not (tmp_path / "clones").exists()
    assert len(create_archive(tmp_path / "clones", GRID, SINGLE)) == 6


def test_other_files_are_refused(tmp_path, archive):
    with pytest.raises(ArchiveError, match="does not exist"):
        open_archive(tmp_path / "nowhere")
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(ArchiveError, match="cannot be opened"):
        open_archive(tmp_path / "text")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_text("no archive")
    with pytest.raises(ArchiveError, match="cannot be opened"):
        open_archive(tmp_path / "folder")
    zarr.create_group(tmp_path / "foreign.zarr", attributes={"mine": 1})
    with pytest.raises(ArchiveError, match="format None"):
        open_archive(tmp_path / "foreign.zarr")
    with pytest.raises(ArchiveError):
        create_archive(tmp_path / "folder", GRID, SINGLE)
    assert (tmp_path / "folder/file").read_text() == "no archive"
    with pytest.raises(ArchiveError, match="blase3d-model"):
        load_model(archive.path)


@pytest.mark.parametrize(
    ("version", "way_out"),
    [(99, "upgrade"), (1, "blase3d clone"), (None, "blase3d clone"), ("one", "blase3d clone")],
)
def test_another_version_is_refused(archive, version, way_out):
    rewrite(archive, version=version)
    with pytest.raises(ArchiveError, match=f"version.*{way_out}"):
        open_archive(archive.path)


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_damaged_metadata_is_detected(archive, content):
    (archive.path / "zarr.json").write_text(content)
    with pytest.raises(ArchiveError):
        open_archive(archive.path)


def test_a_lost_attribute_is_detected(archive):
    path = archive.path / "zarr.json"
    content = json.loads(path.read_text())
    del content["attributes"]["label_names"]
    path.write_text(json.dumps(content))
    with pytest.raises(ArchiveError, match="damaged description"):
        open_archive(archive.path)
