"""The command that fetches, and the page of the docs about it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from phoenix_server import (
    NODES,
    SUN,
    SUN_LABELS,
    WAVE,
    error,
    flux_of,
    in_bytes,
    library,
    spectra,
    spectrum,
)

from blase3d.libraries import fetch as f
from blase3d.libraries import open_grid
from blase3d.libraries.fetch import listing
from blase3d.libraries.readers.phoenix import ACES, WAVE_FILE, phoenix_path
from blase3d.runtime.files import CACHE_VARIABLE


def test_command_from_box_to_grid(run, server, tmp_path):
    path = tmp_path / "grid.zarr"
    status, out, _ = run("--wave", "9995:10005", "-o", path, "--yes")
    assert status == 0
    assert f"{len(NODES)} spectra in the box" in out
    assert "hole of the library: teff=5100 logg=4 feh=-0.5" in out
    assert f"Grid of {len(NODES)} spectra" in out
    assert len(open_grid(path)) == len(NODES)
    assert (tmp_path / "cache" / "phoenix" / SUN).is_file()
    server.log.clear()
    status, out, _ = run("--wave", "9998:10002", "-o", path)  # all there: nothing to ask
    assert status == 0
    assert server.gets() == []
    assert open_grid(path).wavelength[0] == 9998.0


def test_command_dry_run_downloads_no_spectrum(run, server, tmp_path):
    status, out, _ = run("--dry-run")
    assert status == 0
    assert f"to fetch: {len(NODES)} spectra" in out
    assert "bytes)" in out
    assert "hole of the library" in out
    assert not [e for e in server.log if e[0] == "GET" and e[1].endswith("fits")]
    assert not (tmp_path / "cache").exists()


def test_command_asks(run, server):
    status, _, err = run()
    assert status == 1
    assert "no terminal to ask" in err
    assert "--yes" in err
    assert run(answer="n\n")[0] == 1
    assert server.gets() == []
    assert run(answer="y\n")[0] == 0
    assert len(server.gets()) == len(NODES)


def test_command_names_what_stays_bad(run, server, tmp_path):
    server.spoil(SUN, error(404))
    status, out, err = run("--yes", "-o", tmp_path / "grid.npz", "--cache", tmp_path / "other")
    assert status == 1
    assert f"failed: {SUN_LABELS}:" in err
    assert "1 spectra could not be downloaded" in err
    assert "Traceback" not in err
    assert f"Grid of {len(NODES) - 1} spectra" in out
    assert (tmp_path / "other" / "phoenix" / WAVE_FILE).is_file()


PAPERS_HOLES = ((7200.0, 2.0, -0.5, 0.0), (8600.0, 4.5, -0.5, 0.0))
"""Those of the library's server in the paper's box."""


@pytest.mark.long
def test_the_papers_subset_becomes_a_grid_whose_holes_are_named(server, run, tmp_path):
    """73 temperatures, 9 gravities, 2 metallicities: 1,314 nodes, of which the server lacks two."""
    box = f.Box(teff=(2300, 12000), logg=(2, 6), feh=(-0.5, 0))
    nodes = [tuple(node.values()) for node in box.nodes()]
    files = spectra(node for node in nodes if node not in PAPERS_HOLES)
    assert files[phoenix_path(12000, 6, -0.5)] == spectrum((12000.0, 6.0, -0.5, 0.0))
    server.files = {WAVE_FILE: library()[WAVE_FILE], **files}
    words = ["--teff", "2300:12000", "--logg", "2:6", "--wave", "9999:10001", "--yes"]
    path = tmp_path / "paper.zarr"
    status, out, _ = run(*words, "-o", path)
    assert status == 0
    assert "to fetch: 1312 spectra, about 15." in out
    named = [line for line in out.splitlines() if line.startswith("hole of the library: ")]
    assert [line.partition(": ")[2] for line in named] == [
        "teff=7200 logg=2 feh=-0.5",
        "teff=8600 logg=4.5 feh=-0.5",
    ]
    assert sorted(path for _, path, _ in server.gets()) == sorted(files)  # each of them once
    grid = open_grid(path)
    assert [len(axis) for axis in grid.axes.values()] == [73, 9, 2]
    assert len(grid) == 1312
    assert [tuple(hole.values()) for hole in grid.holes()] == [hole[:3] for hole in PAPERS_HOLES]
    inside = (WAVE >= 9999.0) & (WAVE <= 10001.0)
    for i in (0, 700, 1311):
        truth = flux_of(*grid.labels[i], 0.0)[inside] * 1e-8
        np.testing.assert_allclose(grid[i].flux, truth, rtol=1e-6)


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["--teff", "6000:5000"], "LO not above HI"),
        (["--feh", "solar"], "--feh solar"),
        (["--logg", "9:9.5"], "has no spectrum"),
        (["--wave", "9000"], "LO:HI"),
        (["--wave", "100:200", "--yes"], "choose a range inside"),
        (["-o", "grid.fits"], "expected one that ends in .npz or .zarr"),
        (["-o", "absent/grid.npz"], "no folder absent"),
        (["--root", "here"], "expected an address"),
    ],
)
def test_command_bad_input_gets_a_sentence(run, server, words, word):
    status, _, err = run(*words)
    assert status == 1
    assert word in err
    assert "Traceback" not in err
    assert server.gets() == []


def test_command_takes_one_value_for_a_range(run):
    status, out, _ = run("--feh", "0", "--teff", "5000", "--dry-run")
    assert status == 0
    assert "2 spectra in the box" in out


def test_command_says_that_a_range_without_output_has_no_effect(run):
    said = "--wave has no effect without --output"
    assert said in run("--wave", "9995:10005", "--dry-run").err
    assert said not in run("--wave", "9995:10005", "--dry-run", "-o", "g.npz").err


def test_the_code_of_the_docs_runs(server, monkeypatch, tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "fetch.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    server.files[WAVE_FILE] = in_bytes(fits.HDUList([fits.PrimaryHDU(WAVE - 1400.0)]))
    monkeypatch.setattr(listing, "ROOTS", (server.root,))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code, "fetch.md", "exec"), names)
    assert len(open_grid(tmp_path / "grid.zarr")) == len(names["grid"]) == len(NODES)


def test_the_layout_served_is_that_of_the_library():
    assert f"{ACES}/Z-0.0/lte05000-4.00-0.0.{ACES}-HiRes.fits" in library()
