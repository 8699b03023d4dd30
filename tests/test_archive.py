"""Clones and models on disk: round trips, and damage of every kind told from a done node."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import zarr

from blase3d.archive import create_archive, open_archive
from blase3d.cloning import Clone
from blase3d.errors import ArchiveError
from blase3d.model import load_model, make_model, save_model
from blase3d.recipe import DEFAULT, PAPER
from blase3d.toy import WAVELENGTH, toy_flux, toy_grid, toy_lines

AXES = {"teff": (5500.0, 6000.0, 6500.0), "logg": (4.0, 4.5), "feh": (0.0,)}
GRID = toy_grid(AXES)
SWEEP = 3


def clone_of(i):
    """A clone of a node without any fitting."""
    labels = GRID.labels[i]
    flux = toy_flux(labels, WAVELENGTH).astype(np.float32)
    return Clone(toy_lines(labels), flux + np.float32(1e-3), flux, 1e-3, ("invented",))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """An archive with every node in it, to be copied."""
    made = create_archive(tmp_path_factory.mktemp("pristine") / "clones", GRID, DEFAULT)
    for i in range(len(GRID)):
        made.write(i, clone_of(i), SWEEP)
    return made.path


@pytest.fixture
def archive(pristine, tmp_path):
    """An archive with every node in it, to be damaged."""
    return open_archive(shutil.copytree(pristine, tmp_path / "clones"))


def done(archive):
    """Which nodes a new look at the archive finds done."""
    opened = open_archive(archive.path)
    return [i for i in range(len(opened)) if opened.is_done(i, SWEEP)]


def test_round_trip(archive):
    opened = open_archive(archive.path)
    assert opened.recipe == DEFAULT
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
        assert (node.misfit, node.flags, node.sweep) == (1e-3, ("invented",), SWEEP)


def test_catalogue_surface_and_failures(archive):
    assert archive.catalogue() is None
    assert archive.surface() is None
    assert archive.failed == {}
    lines = toy_lines(GRID.labels[0])
    params = np.stack([toy_lines(labels).params for labels in GRID.labels])
    archive.write_catalogue(lines)
    archive.write_surface(params, 2)
    archive.write_failed({4: "it is too cold"})
    opened = open_archive(archive.path)
    np.testing.assert_array_equal(opened.catalogue().params, lines.params)
    np.testing.assert_array_equal(opened.surface()[0], params)
    assert opened.surface()[1] == 2
    assert opened.failed == {4: "it is too cold"}


def test_a_clone_without_lines(archive):
    none = clone_of(0).lines.take([])
    archive.write(0, replace(clone_of(0), lines=none), SWEEP)
    assert len(open_archive(archive.path)[0].lines) == 0
    assert 0 in done(archive)


def test_the_same_work_goes_on(archive):
    again = create_archive(archive.path, GRID, DEFAULT)
    assert again.is_done(2, SWEEP)
    assert again.is_done(2, SWEEP - 1)
    assert not again.is_done(2, SWEEP + 1)


def test_a_node_that_is_not_there_is_not_done(tmp_path):
    empty = create_archive(tmp_path / "clones", GRID, DEFAULT)
    assert not empty.is_done(0, 1)
    with pytest.raises(ArchiveError, match=r"node 0 .* not been cloned"):
        empty[0]


def test_a_write_cut_short_is_not_done(archive, monkeypatch):
    """The process ends when half of a node is written over."""
    written = []

    def write_one(group, name, values):
        if written:
            raise KeyboardInterrupt
        written.append(name)

    monkeypatch.setattr("blase3d.archive.write_array", write_one)
    with pytest.raises(KeyboardInterrupt):
        archive.write(3, clone_of(3), SWEEP)
    assert written
    assert done(archive) == [0, 1, 2, 4, 5]


@pytest.mark.parametrize(
    ("grid", "recipe"),
    [
        (GRID, PAPER),
        (GRID, replace(DEFAULT, epochs=99)),
        (GRID.take([0, 1, 2, 3]), DEFAULT),
        (GRID.cut(8490, 8500), DEFAULT),
        (toy_grid({**AXES, "feh": (0.5,)}), DEFAULT),
    ],
)
def test_other_work_is_refused(archive, grid, recipe):
    with pytest.raises(ArchiveError, match="another grid, range or recipe"):
        create_archive(archive.path, grid, recipe)
    assert done(archive) == list(range(6))


# Damage


def chunk(archive, i, name):
    """The file with the values of an array of a node."""
    files = [p for p in (archive.path / f"nodes/{i}/{name}/c").rglob("*") if p.is_file()]
    assert len(files) == 1
    return files[0]


def flip(path, place):
    """Change one byte of a file, at a part of its length."""
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["flux", "params", "reference"])
@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.99])
def test_a_flipped_byte_is_told(archive, name, place):
    flip(chunk(archive, 2, name), place)
    assert done(archive) == [0, 1, 3, 4, 5]
    with pytest.raises(ArchiveError, match=f"{name} .*damaged"):
        open_archive(archive.path)[2]


@pytest.mark.parametrize("left", [0, 10, 500])
def test_a_truncated_chunk_is_told(archive, left):
    path = chunk(archive, 2, "flux")
    path.write_bytes(path.read_bytes()[:left])
    assert done(archive) == [0, 1, 3, 4, 5]


@pytest.mark.parametrize("name", ["flux", "params", "reference"])
def test_a_lost_chunk_is_told(archive, name):
    chunk(archive, 2, name).unlink()
    assert done(archive) == [0, 1, 3, 4, 5]
    with pytest.raises(ArchiveError, match="incomplete"):
        open_archive(archive.path)[2]


@pytest.mark.parametrize("name", ["", "flux", "params"])
@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_damaged_metadata_of_a_node_is_told(archive, name, content):
    (archive.path / "nodes/2" / name / "zarr.json").write_text(content)
    assert done(archive) == [0, 1, 3, 4, 5]


def test_swapped_arrays_are_told(archive):
    """Chunks that are whole but belong to another array do not fit."""
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


def test_other_things_are_told(tmp_path, archive):
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
        create_archive(tmp_path / "folder", GRID, DEFAULT)
    assert (tmp_path / "folder/file").read_text() == "no archive"
    with pytest.raises(ArchiveError, match="blase3d-model"):
        load_model(archive.path)


@pytest.mark.parametrize("version", [99, None, "one"])
def test_another_version_is_told(archive, version):
    rewrite(archive, version=version)
    with pytest.raises(ArchiveError, match="version"):
        open_archive(archive.path)


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_damaged_metadata_is_told(archive, content):
    (archive.path / "zarr.json").write_text(content)
    with pytest.raises(ArchiveError):
        open_archive(archive.path)


def test_a_lost_attribute_is_told(archive):
    path = archive.path / "zarr.json"
    content = json.loads(path.read_text())
    del content["attributes"]["label_names"]
    path.write_text(json.dumps(content))
    with pytest.raises(ArchiveError, match="label_names"):
        open_archive(archive.path)


# Models


@pytest.fixture(scope="module")
def model():
    """A model of the true lines, with a residual."""
    params = np.stack([toy_lines(labels).params for labels in GRID.labels])
    rest = 1e-3 * np.sin(np.arange(WAVELENGTH.size) * np.arange(1, 7)[:, None] / 50)
    axes = {name: np.array(axis) for name, axis in AXES.items()}
    reference = toy_lines(GRID.labels[0]).reference
    meta = {"library": {"citation": "closed formulas"}, "nodes": GRID.labels.tolist()}
    return make_model(WAVELENGTH, axes, reference, params, rest.astype(np.float32), DEFAULT, meta)


LABELS = {"teff": 5777.0, "logg": 4.4, "feh": 0.0}


@pytest.fixture
def stored(model, tmp_path):
    """The model in a file."""
    save_model(model, tmp_path / "toy.model")
    return tmp_path / "toy.model"


def test_a_model_comes_back_the_same(model, stored):
    again = load_model(stored)
    for options in ({}, {"residual": False}, {"rv": 30.0, "vsini": 5.0, "resolution": 3e4}):
        np.testing.assert_array_equal(
            model.flux(**LABELS, **options), again.flux(**LABELS, **options)
        )
    assert again.recipe == model.recipe
    assert again.meta == model.meta
    assert again.bounds == model.bounds
    np.testing.assert_array_equal(again.reference, model.reference)


def test_a_model_is_one_file_and_replaces_an_old_one(model, stored):
    before = stored.read_bytes()
    save_model(model, stored)
    assert [path.name for path in stored.parent.iterdir()] == ["toy.model"]
    assert len(stored.read_bytes()) == len(before)


def test_a_failed_write_leaves_the_old_model(model, stored):
    before = stored.read_bytes()
    with pytest.raises(TypeError):
        save_model(replace(model, meta={"what": object()}), stored)
    assert stored.read_bytes() == before
    assert [path.name for path in stored.parent.iterdir()] == ["toy.model"]


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_model_is_told(stored, part):
    data = stored.read_bytes()
    stored.write_bytes(data[: int(part * len(data))])
    with pytest.raises(ArchiveError):
        load_model(stored)


def test_a_damaged_model_is_told(stored):
    size = stored.stat().st_size
    data = bytearray(stored.read_bytes())
    data[size // 2 : size // 2 + 8] = bytes(8)
    stored.write_bytes(data)
    with pytest.raises(ArchiveError):
        load_model(stored)


def test_an_archive_opener_refuses_a_model(stored):
    with pytest.raises(ArchiveError, match="blase3d-model"):
        open_archive(stored)
