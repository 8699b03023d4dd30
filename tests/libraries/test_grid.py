"""The Grid record, and grids in .npz files and Zarr groups."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blase3d.errors import GridError, InputError, LabelError
from blase3d.libraries import open_grid, write_grid
from blase3d.libraries.grid import Grid, grid_of
from blase3d.runtime.units import vacuum_to_air

pytestmark = pytest.mark.lowest

WAVE = np.linspace(8400.0, 8410.0, 101)
NAMES = ("teff", "logg", "feh")
TEFF, LOGG, FEH = (4000.0, 4500.0, 5000.0), (4.0, 4.5), (-0.5, 0.0)
BOX = np.array([(t, g, z) for t in TEFF for g in LOGG for z in FEH])
HOLE = 7
LABELS = np.delete(BOX, HOLE, axis=0)
META = {"library": "toy", "medium": "vacuum", "citation": ["nobody"]}


def spectra(labels=LABELS):
    """Flux and continuum that tell every node apart."""
    continuum = labels[:, :1] * np.ones(len(WAVE))
    depth = 0.1 * labels[:, 1:2] * np.exp(-(((WAVE - 8405) / 0.3) ** 2))
    return ((1 - depth) * continuum).astype(np.float32), continuum.astype(np.float32)


@pytest.fixture
def grid():
    return grid_of(WAVE, LABELS, NAMES, *spectra(), META)


@pytest.fixture(params=[".npz", ".zarr", ".zip"])
def stored(request, grid, tmp_path):
    """The grid in a file of each kind."""
    if request.param == ".zip":
        write_grid(grid, tmp_path / "folder.zarr")
        return shutil.make_archive(str(tmp_path / "toy"), "zip", tmp_path / "folder.zarr")
    path = tmp_path / f"toy{request.param}"
    write_grid(grid, path)
    return path


class Counting:
    """A reader that remembers which nodes were asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, i):
        self.asked.append(i)
        return spectra()[0][i], None


# --- the record --------------------------------------------------------------------------------


def test_nodes_are_spectra_with_labels(grid):
    assert len(grid) == 11
    assert repr(grid).startswith("<Grid of 11 spectra, teff=4000:5000 logg=4:4.5 feh=-0.5:0, 101")
    spectrum = grid[3]
    flux, continuum = spectra()
    np.testing.assert_array_equal(spectrum.flux, flux[3])
    np.testing.assert_array_equal(spectrum.continuum, continuum[3])
    assert spectrum.meta["labels"] == {"teff": 4000.0, "logg": 4.5, "feh": 0.0}
    assert grid[-1].meta["labels"]["teff"] == 5000.0
    assert len(list(grid)) == 11
    with pytest.raises(IndexError):
        grid[11]


def test_nodes_are_read_when_asked_for():
    read = Counting()
    grid = Grid(WAVE, LABELS, NAMES, read)
    assert grid.holes()
    assert grid.fingerprint()
    part = grid.select(teff=(4500, 5000)).cut(8401, 8402)
    assert read.asked == []
    assert part[0].meta["labels"]["teff"] == 4500
    assert read.asked == [4]


def test_axes_indices_and_holes(grid):
    assert {name: axis.tolist() for name, axis in grid.axes.items()} == {
        "teff": list(TEFF),
        "logg": list(LOGG),
        "feh": list(FEH),
    }
    assert grid.shape == (3, 2, 2)
    assert grid.n_holes == 1
    assert grid.holes() == [dict(zip(NAMES, BOX[HOLE], strict=True))]
    assert grid.box_index[0].tolist() == [0, 0, 0]
    assert grid.box_index[-1].tolist() == [2, 1, 1]
    for i, place in enumerate(grid.box_index):
        values = [grid.axes[name][k] for name, k in zip(NAMES, place, strict=True)]
        np.testing.assert_allclose(values, grid.labels[i])


@given(st.sets(st.integers(0, 11), min_size=1))
def test_nodes_and_holes_fill_the_box(chosen):
    labels = BOX[sorted(chosen)]
    grid = grid_of(WAVE, labels, NAMES, *spectra(labels))
    nodes = [grid.labels_of(i) for i in range(len(grid))]
    assert all(grid.find(**labels) == i for i, labels in enumerate(nodes))
    assert all(grid.find(**labels) is None for labels in grid.holes())
    assert len(grid) + len(grid.holes()) == np.prod(grid.shape)
    assert len(grid.holes()) == grid.n_holes


def test_labels_that_differ_by_rounding_are_one_value():
    labels = [[0.4, 5000.0], [0.1 + 0.3 + 1e-16, 5000.001], [4 * 0.1, 6000.0], [-0.0, 6000.0]]
    labels[2][0] = 0.4000000000000001
    grid = grid_of(WAVE, labels[1:], ("alpha", "teff"), np.ones((3, 101)))
    assert grid.axes["alpha"].tolist() == [0.0, 0.4]
    assert grid.axes["teff"].tolist() == [5000.001, 6000.0]
    assert grid.find(alpha=0.4, teff=6000) == 1
    assert grid.describe(2) == "alpha=0 teff=6000"
    with pytest.raises(GridError, match=r"alpha=0.4 teff=5000.* more than once"):
        grid_of(WAVE, labels[:2], ("alpha", "teff"), np.ones((2, 101)))


def test_describe(grid):
    assert grid.describe(0) == "teff=4000 logg=4 feh=-0.5"


def test_select_and_find(grid):
    part = grid.select(teff=(4000, 4500), feh=(0, 0))
    assert [part.describe(i) for i in range(len(part))] == [
        "teff=4000 logg=4 feh=0",
        "teff=4000 logg=4.5 feh=0",
        "teff=4500 logg=4 feh=0",
    ]
    np.testing.assert_array_equal(part[2].flux, grid[5].flux)
    again = part.select(teff=(4500, 4500))
    np.testing.assert_array_equal(again[0].flux, grid[5].flux)
    assert grid.find(teff=4500, logg=4, feh=0) == 5
    assert grid.find(teff=4500, logg=4.5, feh=0) is None
    with pytest.raises(LabelError, match="alpha; the labels of the grid are teff, logg, feh"):
        grid.select(alpha=(0, 1))
    with pytest.raises(LabelError, match="got no feh"):
        grid.find(teff=4500, logg=4)
    with pytest.raises(GridError, match="teff=100:200; it has teff=4000:5000"):
        grid.select(teff=(100, 200))


def test_cut(grid):
    part = grid.cut(8402.0, 8403.0)
    assert part.wavelength[0] >= 8402.0
    assert part.wavelength[-1] <= 8403.0
    inside = (WAVE >= 8402.0) & (WAVE <= 8403.0)
    np.testing.assert_array_equal(part[0].flux, grid[0].flux[inside])
    assert part[0].continuum.shape == (inside.sum(),)
    np.testing.assert_array_equal(part.cut(8402.5, 9000)[0].wavelength[-1], part.wavelength[-1])
    with pytest.raises(GridError, match="from 8400 to 8410 Å"):
        grid.cut(100, 200)
    with pytest.raises(GridError, match="no pixel"):
        grid.cut(8403, 8402)


def test_fingerprint_tells_grids_apart(grid):
    mark = grid.fingerprint()
    assert mark == grid_of(WAVE, LABELS, NAMES, *spectra(), {}).fingerprint()
    flux, continuum = spectra()
    flux[4, 50] *= 1.001
    assert mark != grid_of(WAVE, LABELS, NAMES, flux, continuum).fingerprint()
    assert mark != grid.cut(8401, 8409).fingerprint()
    assert mark != grid.select(teff=(4000, 4500)).fingerprint()


def test_a_grid_can_be_sent_to_another_process(grid):
    part = pickle.loads(pickle.dumps(grid.select(logg=(4, 4)).cut(8401, 8402)))
    assert part.axes["logg"].tolist() == [4.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": LABELS[:, :2]}, "labels have shape"),
        ({"labels": LABELS[0]}, "labels have shape"),
        ({"labels": LABELS[:0], "flux": np.ones((0, 101))}, "at least one node"),
        ({"labels": np.where(LABELS == 4.5, np.nan, LABELS)}, "node 2 has logg=nan"),
        ({"labels": np.repeat(LABELS[:1], 11, 0)}, "teff=4000 logg=4 feh=-0.5 more than once"),
        ({"label_names": ("teff", "teff", "feh")}, "different names"),
        ({"wavelength": WAVE[::-1]}, "strictly increasing"),
        ({"wavelength": WAVE[None]}, "wavelength has shape|expected"),
        ({"flux": np.ones((11, 100))}, "flux has shape"),
        ({"continuum": np.ones((11, 100))}, "continuum has shape"),
    ],
)
def test_what_cannot_be_a_grid_is_refused(changes, message):
    flux, continuum = spectra()
    given_ = {"wavelength": WAVE, "labels": LABELS, "label_names": NAMES, "flux": flux}
    with pytest.raises(GridError, match=message):
        grid_of(**{**given_, "continuum": continuum, **changes})


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda flux, _: flux.__setitem__((4, 7), np.nan), "has 1 pixels that are not finite"),
        (lambda flux, _: flux.__setitem__((4, 7), np.inf), "not finite"),
        (lambda flux, _: flux.__setitem__(4, 0.0), "no positive flux"),
        (lambda _, continuum: continuum.__setitem__((4, 7), 0.0), "continuum"),
    ],
)
def test_a_bad_node_is_named_and_the_others_are_read(fault, message, tmp_path):
    flux, continuum = spectra()
    fault(flux, continuum)
    made = grid_of(WAVE, LABELS, NAMES, flux, continuum, META)
    write_grid(made, tmp_path / "bad.zarr")
    write_grid(made, tmp_path / "bad.npz")
    for grid in (made, open_grid(tmp_path / "bad.zarr"), open_grid(tmp_path / "bad.npz")):
        with pytest.raises(GridError, match=f"teff=4500 logg=4 feh=-0.5 .*{message}"):
            grid[4]
        assert grid[5].n_masked == 0


def test_holes_of_scattered_points_are_not_listed():
    points = np.random.default_rng(1).uniform(size=(200, 3))
    grid = grid_of(WAVE, points, NAMES, np.ones((200, 101)))
    assert grid.n_holes == 200**3 - 200
    with pytest.raises(GridError, match="are not on common axes"):
        grid.holes()


# --- files -------------------------------------------------------------------------------------


def test_round_trip(stored, grid):
    again = open_grid(stored)
    np.testing.assert_array_equal(again.wavelength, WAVE)
    np.testing.assert_array_equal(again.labels, LABELS)
    assert again.label_names == NAMES
    assert again.meta["library"] == "toy"
    assert again.meta["medium"] == "vacuum"
    for i in range(len(grid)):
        np.testing.assert_array_equal(again[i].flux, grid[i].flux)
        np.testing.assert_array_equal(again[i].continuum, grid[i].continuum)
    assert again.fingerprint() == grid.fingerprint()
    assert pickle.loads(pickle.dumps(again))[2].flux[0] == grid[2].flux[0]


def test_flags_of_nodes_are_kept(tmp_path):
    said = {3: {"interpolated": True}}
    made = grid_of(WAVE, LABELS, NAMES, *spectra(), META, lambda i: said.get(i, {}))
    for name in ("flagged.npz", "flagged.zarr"):
        write_grid(made.take([1, 3]), tmp_path / name)
        again = open_grid(tmp_path / name)
        assert again[0].meta["node_flags"] == {}
        assert again[1].meta["node_flags"] == {"interpolated": True}


@pytest.mark.parametrize("name", ["toy.npz", "toy.zarr"])
def test_writing_replaces_whole_and_a_failure_leaves_the_old(grid, name, tmp_path):
    path = tmp_path / name
    write_grid(grid, path)
    write_grid(grid.select(teff=(4000, 4000)), path)
    assert len(open_grid(path)) == 4

    def breaks(i):
        if i == 2:
            raise GridError("gone")
        return spectra()[0][i], None

    with pytest.raises(GridError, match="gone"):
        write_grid(Grid(WAVE, LABELS, NAMES, breaks), path)
    assert len(open_grid(path)) == 4
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_zarr_has_one_chunk_a_node_and_notices_byte_damage(grid, tmp_path):
    path = tmp_path / "toy.zarr"
    write_grid(grid, path)
    chunks = sorted(p for p in (path / "flux").rglob("*") if p.is_file() and p.name != "zarr.json")
    assert len(chunks) == len(grid)
    hurt = path / "flux" / "c" / "4" / "0"
    whole = hurt.read_bytes()
    for where in (0, len(whole) // 2, len(whole) - 1):
        content = bytearray(whole)
        content[where] ^= 0x01
        hurt.write_bytes(bytes(content))
        with pytest.raises(GridError, match=r"node teff=4500 logg=4 feh=-0\.5 .* damaged"):
            open_grid(path)[4]
    hurt.write_bytes(whole[:20])
    with pytest.raises(GridError, match="damaged"):
        open_grid(path)[4]
    hurt.unlink()
    with pytest.raises(GridError, match="teff=4500 logg=4 feh=-0"):
        open_grid(path)[4]
    assert open_grid(path)[5].flux[0] == grid[5].flux[0]


def test_damaged_zarr_metadata(grid, tmp_path):
    path = tmp_path / "toy.zarr"
    write_grid(grid, path)
    text = (path / "zarr.json").read_text()
    (path / "zarr.json").write_text(text.replace('"complete": true', '"complete": false'))
    with pytest.raises(GridError, match="is incomplete"):
        open_grid(path)
    (path / "zarr.json").write_text(text[:100])
    with pytest.raises(GridError, match="cannot be read as a Zarr group"):
        open_grid(path)
    (path / "zarr.json").write_text(text)
    shutil.rmtree(path / "flux")
    with pytest.raises(GridError, match="has no flux"):
        open_grid(path)


def save(path, **changes):
    """An .npz file of a good grid with some arrays changed, or left out by None."""
    good = {
        "wavelength": WAVE,
        "labels": LABELS,
        "label_names": np.array(NAMES),
        "flux": spectra()[0],
        "meta": np.array(json.dumps(META)),
    }
    arrays = {**good, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_a_medium_is_asked_for_and_air_converted(tmp_path):
    air = vacuum_to_air(WAVE)
    silent = save(tmp_path / "silent.npz", wavelength=air, meta=None)
    with pytest.raises(GridError, match=r"states no medium .* air or vacuum"):
        open_grid(silent)
    stated = save(tmp_path / "stated.npz", wavelength=air, meta=np.array('{"medium": "air"}'))
    for grid in (open_grid(silent, medium="air"), open_grid(stated)):
        np.testing.assert_allclose(grid.wavelength, WAVE, rtol=0, atol=1e-8)
        assert grid.meta["medium"] == "vacuum"
    with pytest.raises(GridError, match="states wavelengths in air but vacuum"):
        open_grid(stated, medium="vacuum")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None, "label_names": None}, "no labels and no label_names"),
        ({"flux": spectra()[0][:5]}, "flux has shape"),
        ({"wavelength": WAVE[::-1]}, "strictly increasing"),
        ({"labels": np.full((11, 3), "hot")}, "expected real numbers"),
        ({"labels": np.zeros((11, 3))}, "more than once"),
        ({"meta": np.array("nonsense")}, "not a JSON object"),
        ({"flux": np.full(11, {}, dtype=object)}, "cannot be read as an .npz"),
    ],
)
def test_bad_npz_files_are_named(changes, message, tmp_path):
    with pytest.raises(GridError, match=message) as caught:
        open_grid(save(tmp_path / "bad.npz", **changes))
    assert "bad.npz" in str(caught.value)


def test_paths_that_hold_no_grid(grid, tmp_path):
    with pytest.raises(GridError, match="does not exist"):
        open_grid(tmp_path / "none.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(GridError, match="is no library in a known format"):
        open_grid(tmp_path / "empty")
    for name in ("text.npz", "text.zip", "text.txt"):
        (tmp_path / name).write_text("no grid")
        with pytest.raises(GridError, match=name):
            open_grid(tmp_path / name)
    with pytest.raises(GridError, match=r"ends in \.npz or \.zarr"):
        write_grid(grid, tmp_path / "toy.h5")
    with pytest.raises(InputError, match="there is no folder"):
        write_grid(grid, tmp_path / "none" / "toy.npz")
    short = save(tmp_path / "short.npz")
    short.write_bytes(short.read_bytes()[:3000])
    with pytest.raises(GridError, match="cut short"):
        open_grid(short)
