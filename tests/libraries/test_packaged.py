"""The library that ships with the package."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from blase3d.libraries.packaged import packaged_grid

NODES = "turbo-cat-45.npz"
OFFGRID = "turbo-cat-offgrid-1.npz"
SOURCES = {NODES: "turbo-cat.npz", OFFGRID: "turbo-cat-offgrid.npz"}
SHARED = Path(__file__).parents[2].parent / "shared" / "data"

both = pytest.mark.parametrize("name", [NODES, OFFGRID])


def packaged(name):
    return resources.files("blase3d.libraries") / "data" / name


def load(source):
    with source.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return dict(archive)


@both
def test_file_is_in_the_package(name):
    assert packaged(name).is_file()


def test_files_are_small():
    assert sum(len(packaged(name).read_bytes()) for name in SOURCES) <= 5_000_000


@pytest.mark.parametrize(("name", "nodes"), [(NODES, 45), (OFFGRID, 1)])
def test_shapes_and_types(name, nodes):
    library = load(packaged(name))
    pixels = 25_001
    found = {key: (array.dtype, array.shape) for key, array in library.items()}
    assert found.pop("meta")[1] == ()
    assert found.pop("label_names")[1] == (3,)
    assert found == {
        "wavelength": (np.dtype("float64"), (pixels,)),
        "labels": (np.dtype("float64"), (nodes, 3)),
        "flux": (np.dtype("float32"), (nodes, pixels)),
        "continuum": (np.dtype("float32"), (nodes, pixels)),
    }


@both
def test_flux_lies_between_nothing_and_the_continuum(name):
    library = load(packaged(name))
    assert np.all(np.isfinite(library["continuum"]))
    assert np.all(np.isfinite(library["flux"]))
    assert np.all(library["flux"] > 0)
    assert np.all(library["flux"] <= library["continuum"])


def test_wavelengths_increase_and_are_common():
    nodes, offgrid = load(packaged(NODES)), load(packaged(OFFGRID))
    assert np.all(np.diff(nodes["wavelength"]) > 0)
    np.testing.assert_array_equal(offgrid["wavelength"], nodes["wavelength"])


def test_nodes_fill_the_box():
    library = load(packaged(NODES))
    assert list(library["label_names"]) == ["teff", "logg", "feh"]
    axes = [5250, 5500, 5750, 6000, 6250], [4, 4.5, 5], [-0.5, 0, 0.5]
    box = {(teff, logg, feh) for teff in axes[0] for logg in axes[1] for feh in axes[2]}
    assert set(map(tuple, library["labels"])) == box


def test_offgrid_spectrum_lies_inside_the_box_and_off_every_axis_value():
    nodes, offgrid = load(packaged(NODES))["labels"], load(packaged(OFFGRID))["labels"][0]
    assert np.all(offgrid > nodes.min(axis=0))
    assert np.all(offgrid < nodes.max(axis=0))
    assert not np.any(nodes == offgrid)


def normalised(name):
    """Normalised flux of a packaged grid, as the package reads it, with its grid."""
    grid = packaged_grid(name)
    spectra = [grid[i] for i in range(len(grid))]
    return np.array([one.flux / one.continuum for one in spectra]), grid


@pytest.mark.parametrize("line", [8500.354, 8544.438, 8664.520])
def test_the_calcium_triplet_is_where_the_laboratory_has_it(line):
    """Ca II in vacuum (NIST): nothing else is as deep, and the cores are black at no node."""
    flux, grid = normalised(NODES)
    near = np.abs(grid.wavelength - line) < 1.0
    assert np.abs(grid.wavelength[near][flux[:, near].argmin(axis=1)] - line).max() < 0.1
    assert flux[:, near].min() > 0.15
    assert flux[:, near].min(axis=1).max() < 0.4


def test_lines_deepen_with_the_metals():
    flux, grid = normalised(NODES)
    box = np.lexsort(grid.labels.T[::-1])
    depth = (1.0 - flux[box].mean(axis=1)).reshape(5, 3, 3)  # by Teff, log g, [Fe/H]
    assert np.all(depth[..., 1:] > 1.3 * depth[..., :-1])


def test_the_star_is_close_to_the_mean_of_the_nodes_around_it():
    """Multilinear in the labels: 0.16 % of the continuum is what the curvature leaves."""
    flux, grid = normalised(NODES)
    star, labels = normalised(OFFGRID)[0][0], packaged_grid(OFFGRID).labels[0]
    steps = np.array([250.0, 0.5, 0.5])
    weights = np.prod(np.clip(1.0 - np.abs(grid.labels - labels) / steps, 0.0, None), axis=1)
    assert weights.sum() == pytest.approx(1.0)
    assert np.sqrt(np.mean((weights @ flux - star) ** 2)) < 2e-3


@both
def test_meta_says_what_a_user_must_know(name):
    meta = json.loads(str(load(packaged(name))["meta"]))
    assert meta["medium"] == "vacuum"
    assert meta["citation"]
    assert {"library", "code", "flux_unit", "window", "provenance"} <= meta.keys()
    assert meta["licence"].startswith("BSD-3-Clause")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data, which is absent")
@both
def test_normalised_flux_is_that_of_the_source(name):
    cut, source = load(packaged(name)), load(SHARED / SOURCES[name])
    rows = [
        np.flatnonzero(np.all(source["labels"] == labels, axis=1)).item()
        for labels in cut["labels"]
    ]
    expected = source["flux"][rows].astype(np.float64) / source["continuum"][rows]
    found = cut["flux"].astype(np.float64) / cut["continuum"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(cut["continuum"], source["continuum"][rows], rtol=2e-5)
    np.testing.assert_array_equal(cut["wavelength"], source["wavelength"])
