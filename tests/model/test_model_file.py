"""Models on disk: round trips to the stated steps, and errors for any damage."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import zarr
from toy_models import model_of, whole_residual

from blase3d.errors import ArchiveError
from blase3d.fitting.archive import open_archive
from blase3d.libraries.grid import grid_of
from blase3d.libraries.toy import WAVELENGTH, toy_grid, toy_lines
from blase3d.model import model_file
from blase3d.model.identity import model_checksum
from blase3d.model.line_grid import LineGrid, steps
from blase3d.model.model import Model
from blase3d.model.model_file import load_model, save_model
from blase3d.model.residual import Components, node_steps
from blase3d.recipe import DEFAULT
from blase3d.runtime.rows import RowsOnDisk, row_blocks
from blase3d.runtime.zarr_groups import read_columns, write_array

pytestmark = pytest.mark.lowest

AXES = {"teff": (5500.0, 6000.0, 6500.0), "logg": (4.0, 4.5), "feh": (0.0,)}
GRID = toy_grid(AXES)
LABELS = {"teff": 5777.0, "logg": 4.4, "feh": 0.0}


@pytest.fixture(scope="module")
def model():
    """A model of the true lines, with a residual."""
    rest = 1e-3 * np.sin(np.arange(WAVELENGTH.size) * np.arange(1, 7)[:, None] / 50)
    meta = {"library": {"citation": "closed formulas"}, "nodes": GRID.labels.tolist()}
    return model_of(GRID, rest=rest, meta=meta)


@pytest.fixture(scope="module")
def smooth():
    """A model of a joint recipe: lines follow smooth functions, the residual has two modes."""
    rng = np.random.default_rng(4)
    truth = toy_lines(GRID.labels[0])
    surface = LineGrid(
        truth.reference,
        truth.params,
        rng.normal(0.0, 0.2, (4, 26)).astype(np.float32),
        rng.normal(0.0, 0.01, (1, 26, 3)).astype(np.float32),
        DEFAULT.joint.area_root,
    )
    pixels = rng.normal(0.0, 2e-3, (2, WAVELENGTH.size))
    rest = whole_residual(rng.normal(size=(6, 2)), pixels, step=1e-5)
    errors = rng.normal(0.0, 1e-4, (3, WAVELENGTH.size)).astype(np.float32)
    meta, rates = {"note": "x"}, {"logg": rng.normal(size=(3, 1, 2)).astype(np.float32)}
    return Model(WAVELENGTH, GRID.axes, surface, DEFAULT, meta, rest, errors, rates)


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
    np.testing.assert_allclose(again.wavelength, model.wavelength, rtol=0, atol=1e-7)


def test_coefficients_come_back_to_their_steps(smooth, tmp_path):
    save_model(smooth, tmp_path / "m")
    again = load_model(tmp_path / "m")
    for name, step in zip(("area", "shape"), steps(np.asarray(smooth.line_grid.base)), strict=True):
        ours, theirs = (np.asarray(getattr(m.line_grid, name)) for m in (smooth, again))
        assert (np.abs(ours - theirs) <= 0.501 * step).all()
        assert np.abs(ours - theirs).max() > 0
        np.testing.assert_allclose(theirs / step, np.round(theirs / step), atol=1e-3)
    for name in ("nodes", "pixels", "scale"):
        ours, theirs = (getattr(m.residual, name) for m in (smooth, again))
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(again.error_modes, smooth.error_modes, rtol=0, atol=5.01e-6)
    np.testing.assert_allclose(again.flux(**LABELS), smooth.flux(**LABELS), atol=0.01)


def test_a_model_of_whole_steps_comes_back_exactly(smooth, tmp_path):
    save_model(smooth, tmp_path / "one")
    once = load_model(tmp_path / "one")
    save_model(once, tmp_path / "two")
    again = load_model(tmp_path / "two")
    np.testing.assert_array_equal(once.flux(**LABELS), again.flux(**LABELS))


def test_a_large_residual_is_in_several_chunks(smooth, tmp_path, monkeypatch):
    """Of which one is in memory at a time."""
    save_model(smooth, tmp_path / "one")
    monkeypatch.setattr(model_file, "columns_at_once", {6: 1, 2: 500}.__getitem__)
    save_model(smooth, tmp_path / "several")
    with zarr.storage.ZipStore(tmp_path / "several", mode="r") as store:
        group = zarr.open_group(store, mode="r")
        assert group["residual_nodes"].nchunks == 2
        assert group["residual_pixels"].nchunks == -(-WAVELENGTH.size // 500)
    one, several = (load_model(tmp_path / name) for name in ("one", "several"))
    for name in ("nodes", "pixels", "scale"):
        np.testing.assert_array_equal(getattr(one.residual, name), getattr(several.residual, name))
    assert model_checksum(one) == model_checksum(several)


def test_a_residual_without_components_comes_back(smooth, tmp_path):
    """Where lines alone are good enough."""
    nothing = whole_residual(np.empty((6, 0)), np.empty((0, WAVELENGTH.size)), step=1e-5)
    save_model(replace(smooth, residual=nothing), tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert again.residual.nodes.shape == (6, 0)
    assert np.isfinite(again.flux(**LABELS)).all()


def test_amplitudes_are_written_a_few_components_at_a_time(tmp_path, monkeypatch):
    """Those of every node of PHOENIX would not fit into memory several times over."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(-100, 101, (200, 50)).astype(np.float32)
    step = node_steps(pixels)[:, None]
    amplitudes = RowsOnDisk(200, 30_000)
    for some in row_blocks(200, 20):
        whole = rng.integers(-300, 301, (20, 30_000))
        amplitudes[some] = (whole * step[some]).astype(np.float32)
    monkeypatch.setattr(model_file, "columns_at_once", lambda _: 8)
    components = Components(amplitudes, pixels, np.full(50, 1e-5, np.float32))
    group = zarr.create_group(tmp_path / "group.zarr")
    tracemalloc.start()
    try:
        for name, values in model_file.residual_arrays(components).items():
            write_array(group, name, values)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.5 * 200 * 30_000 * 4
    stored = read_columns(group, "residual_nodes")
    for some, block in stored:
        found = model_file.from_steps(block, step[some, 0])
        np.testing.assert_array_equal(found.T, amplitudes[some])


@pytest.mark.parametrize(
    "pixels", [np.array([8480.0, 8480.5]), np.geomspace(8480, 8600, 999)], ids=["two", "velocity"]
)
def test_wavelengths_of_any_step_come_back(pixels, tmp_path):
    blank = grid_of(pixels, GRID.labels, GRID.label_names, np.ones((6, pixels.size)))
    save_model(model_of(blank), tmp_path / "m")
    again = load_model(tmp_path / "m").wavelength
    np.testing.assert_allclose(again, pixels, rtol=0, atol=0.6e-7)


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
def test_a_truncated_model_is_refused(stored, part):
    data = stored.read_bytes()
    stored.write_bytes(data[: int(part * len(data))])
    with pytest.raises(ArchiveError):
        load_model(stored)


@pytest.mark.parametrize("place", [0.3, 0.5, 0.6])
def test_a_damaged_model_is_refused(stored, place):
    data = bytearray(stored.read_bytes())
    start = int(place * len(data))
    data[start : start + 8] = bytes(8)
    stored.write_bytes(data)
    with pytest.raises(ArchiveError):
        load_model(stored)


def copied(stored, keep=lambda entry: True, change=None):
    """The file without some of its entries, its own attributes changed."""
    path = stored.with_name("copy")
    with zipfile.ZipFile(stored) as whole, zipfile.ZipFile(path, "w") as copy:
        for entry in filter(keep, whole.namelist()):
            data = whole.read(entry)
            if entry == "zarr.json" and change is not None:
                content = json.loads(data)
                content["attributes"].update(change)
                data = json.dumps(content).encode()
            copy.writestr(entry, data)
    return path


@pytest.mark.parametrize("name", ["wavelength", "area", "base", "residual_nodes", "error_modes"])
def test_an_incomplete_model_is_refused(stored, name):
    left = copied(stored, lambda entry: not entry.startswith(f"{name}/"))
    with pytest.raises(ArchiveError, match=r"build|make it again"):
        load_model(left)


@pytest.mark.parametrize(
    ("version", "way_out"), [(1, "make it again with blase3d build"), (99, "upgrade blase3d")]
)
def test_a_model_of_another_version_is_refused_with_the_way_out(stored, version, way_out):
    with pytest.raises(ArchiveError, match=f"version {version}.*{way_out}"):
        load_model(copied(stored, change={"version": version}))


def test_an_archive_opener_refuses_a_model(stored):
    with pytest.raises(ArchiveError, match="blase3d-model"):
        open_archive(stored)
