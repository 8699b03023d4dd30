"""Fetching from a server that behaves: the plan, the spectra, their cut."""

from __future__ import annotations

import numpy as np
import pytest
from phoenix_server import (
    BOX,
    NODES,
    WAVE,
    apache,
    as_json,
    assert_all_there,
    bare,
    flux_of,
    percent_encoded,
    spectrum,
    with_others,
)

from blase3d.libraries import fetch as f
from blase3d.libraries import open_grid
from blase3d.libraries.fetch import listing
from blase3d.libraries.readers.phoenix import WAVE_FILE, phoenix_path


def test_a_plan_says_what_is_to_come_and_fetches_nothing(server, web, tmp_path):
    plan = f.make_plan(BOX, tmp_path / "phoenix", server.root, web)
    assert len(plan.missing) == len(NODES)
    assert plan.size == sum(map(len, server.files.values()))
    assert plan.exact
    assert f"to fetch: {len(NODES)} spectra" in str(plan)
    assert f"({plan.size} bytes)" in str(plan)
    assert plan.describe_holes() == ["hole of the library: teff=5100 logg=4 feh=-0.5"]
    assert [entry for entry in server.log if entry[0] == "GET" and entry[1].endswith("fits")] == []
    assert not plan.folder.exists()


def test_sizes_of_many_are_estimated_from_a_sample(server, web, tmp_path, monkeypatch):
    monkeypatch.setattr("blase3d.libraries.fetch.plan.ALL_SIZES_UP_TO", 5)
    monkeypatch.setattr("blase3d.libraries.fetch.plan.SAMPLE", 3)
    plan = f.make_plan(BOX, tmp_path, server.root, web)
    assert plan.size == sum(map(len, server.files.values()))
    assert not plan.exact
    assert "about " in str(plan)
    assert sum(method == "HEAD" for method, *_ in server.log) == 3 + 1


def test_fetching_brings_all_and_again_nothing(server, bring):
    assert_all_there(bring(), server)
    assert len(server.gets()) == len(NODES)
    server.log.clear()
    done = bring()
    assert_all_there(done, server)
    assert done.plan.nothing_to_fetch
    assert {method for method, path, _ in server.log if path.endswith("fits")} == set()


def test_the_folder_is_a_grid(bring):
    grid = open_grid(bring().plan.folder)
    assert len(grid) == len(NODES)
    assert grid.holes() == [{"teff": 5100.0, "logg": 4.0, "feh": -0.5}]


@pytest.mark.parametrize("ending", ["npz", "zarr"])
def test_the_cut_is_the_truth(bring, tmp_path, ending):
    path = tmp_path / f"cut.{ending}"
    f.write_box(bring(wave=(9999.0, 10001.0)), path, (9999.0, 10001.0))
    grid = open_grid(path)
    inside = (WAVE >= 9999.0) & (WAVE <= 10001.0)
    np.testing.assert_array_equal(grid.wavelength, WAVE[inside])
    assert grid.label_names == ("teff", "logg", "feh")
    assert len(grid) == len(NODES)
    for node in NODES:
        i = grid.find(teff=node[0], logg=node[1], feh=node[2])
        np.testing.assert_allclose(grid[i].flux, flux_of(*node)[inside] * 1e-8, rtol=1e-6)
    assert grid.meta["fixed_labels"] == {"alpha": 0.0}


def test_a_cut_has_the_box_alone(server, web, bring, tmp_path):
    """Other spectra in the folder, of other alpha too, do not get into it."""
    node = (5000, 4.0, 0.0, 0.4)
    server.files[phoenix_path(*node)] = spectrum(node)
    bring()
    wide = f.Box(teff=(5000, 5000), logg=(4, 4), feh=(0, 0), alpha=(0, 0.4))
    plan = f.make_plan(wide, tmp_path / "phoenix", server.root, web)
    assert plan.describe_holes() == ["hole of the library: teff=5000 logg=4 feh=0 alpha=0.2"]
    grid = f.write_box(f.fetch(plan, web=web), tmp_path / "two.npz")
    assert grid.axes["alpha"].tolist() == [0.0, 0.4]
    small = f.Box(teff=(5000, 5100), logg=(4.5, 4.5), feh=(0, 0))
    plan = f.make_plan(small, tmp_path / "phoenix", server.root, web)
    grid = f.write_box(f.fetch(plan, web=web), tmp_path / "small.npz")
    assert grid.label_names == ("teff", "logg", "feh")
    assert grid.labels.tolist() == [[5000, 4.5, 0], [5100, 4.5, 0]]


@pytest.mark.parametrize("form", [apache, percent_encoded, as_json, with_others, bare])
def test_listings_of_any_form(server, web, tmp_path, form):
    server.listing = form
    plan = f.make_plan(BOX, tmp_path, server.root, web)
    assert sorted(r.path for r in plan.missing) == sorted(set(server.files) - {WAVE_FILE})
    assert len(plan.holes) == 1


@pytest.mark.parametrize("refusal", [403, lambda folder, names: "<html>Welcome!</html>"])
def test_without_a_listing_each_node_is_asked_for(server, web, tmp_path, refusal):
    server.listing = refusal
    plan = f.make_plan(BOX, tmp_path, server.root, web)
    assert len(plan.missing) == len(NODES)
    assert len(plan.holes) == 1
    assert server.gets() == []


def test_what_the_listing_has_beyond_the_published_axes_is_taken(server, web, tmp_path):
    node = (13000, 4.0, 0.0, 0.0)
    server.files[phoenix_path(*node)] = spectrum(node)
    box = f.Box(teff=(12500, 14000), logg=(4, 4), feh=(0, 0))
    plan = f.make_plan(box, tmp_path, server.root, web)
    assert [r.labels["teff"] for r in plan.missing] == [13000]
    assert plan.holes == ()


def test_the_papers_box():
    box = f.Box(teff=(2300, 12000), logg=(2, 6), feh=(-0.5, 0))
    assert len(box.nodes()) == 73 * 9 * 2
    assert len(listing.holes(box, {})) == 1314
    # Alpha varies at 41 temperatures and 6 metallicities: elsewhere its lack is no hole.
    assert len(f.Box(alpha=(-0.2, 1.2)).nodes()) == 73 * 13 * 9 + 41 * 13 * 6 * 7
    assert f.Box(teff=(9000, 9000), alpha=(0.2, 0.4)).nodes() == []
