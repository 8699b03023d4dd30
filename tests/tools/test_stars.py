"""The stars in the package: what their files have, and the tool that makes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blase3d.libraries import packaged
from blase3d.libraries.packaged import packaged_star
from blase3d.libraries.toy import toy_grid
from blase3d.runtime.units import SPEED_OF_LIGHT
from blase3d.spectra.formats import read_spectrum
from make_stars import STARS, Star, describe, write_star

TOY = Star(
    name="toy",
    library="toy",
    labels={"teff": 5500.0, "logg": 4.5, "feh": 0.0},
    recorded_by="a test",
    low=8485.0,
    high=8515.0,
    step=0.02,
    resolution=200_000.0,
    snr=1e4,
    rv=50.0,
    vsini=0.0,
    seed=1,
)


def test_the_package_has_the_stars_of_the_tool():
    assert {star.name: star.library for star in STARS} == packaged.STARS


@pytest.mark.parametrize("star", STARS, ids=lambda star: star.name)
def test_files_are_as_the_tool_describes_them(star):
    found = packaged_star(star.name)
    assert found.wavelength[[0, -1]] == pytest.approx([star.low, star.high])
    assert found.resolution == star.resolution
    assert found.n_masked == 0
    assert {"labels": star.labels, "rv": star.rv, "vsini": star.vsini}.items() <= found.meta.items()
    assert "computed" in found.meta["object"]
    signal = np.median(found.flux / found.error)
    assert signal == pytest.approx(star.snr, rel=0.01)


def test_a_star_is_shifted_broadened_and_noisy(tmp_path):
    grid = toy_grid()
    write_star(TOY, grid, tmp_path / "star.npz")
    star = read_spectrum(tmp_path / "star.npz")
    index = np.flatnonzero((grid.labels == list(TOY.labels.values())).all(axis=1))[0]
    exact = grid[index]
    at_rest = star.wavelength / (1.0 + TOY.rv / SPEED_OF_LIGHT)
    expected = np.interp(at_rest, exact.wavelength, exact.flux)
    expected *= star.flux.max() / expected.max()
    assert np.abs(star.flux - expected).max() < 0.02
    write_star(replace(TOY, seed=2), grid, tmp_path / "other.npz")
    scatter = (read_spectrum(tmp_path / "other.npz").flux - star.flux) / star.error
    assert np.std(scatter) == pytest.approx(np.sqrt(2.0), rel=0.2)


def test_the_same_seed_gives_the_same_file(tmp_path):
    for name in ("one", "two"):
        write_star(TOY, toy_grid(), tmp_path / f"{name}.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_a_star_says_where_it_comes_from():
    meta = describe(TOY, toy_grid())
    assert "held-out spectrum of toy" in str(meta["provenance"])
    assert "seed 1" in str(meta["provenance"])
