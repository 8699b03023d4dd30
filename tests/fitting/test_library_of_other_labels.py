"""A library of other labels: C/O, mixing and clouds."""

from __future__ import annotations

import inspect
import json
from itertools import product

import numpy as np
import pytest
from cli_runner import status_of

from blase3d.errors import GridError
from blase3d.libraries.grid import RESERVED, grid_of
from blase3d.model.model import Model
from blase3d.recipe import DEFAULT
from blase3d.spectra.formats import read_spectrum, write_spectrum
from blase3d.spectra.spectrum import Spectrum

WAVE = np.round(np.arange(8490.0, 8502.0, 0.03), 2)
CENTRE = np.array([8491.2, 8493.9, 8495.1, 8498.0, 8500.4])
DEPTH = np.array([0.5, 0.9, 0.3, 1.6, 0.6])
AXES = {"co": (0.5, 1.0, 1.5), "logkzz": (2.0, 5.0, 8.0), "inv_fsed": (0.0, 0.25, 0.5)}
"""As many nodes as in docs/own-grid.md, so that compiled code is shared."""
STAR = {"co": 0.83, "logkzz": 6.1, "inv_fsed": 0.2}
SIGMA = 1e-3


def flux_of(co, logkzz, inv_fsed):
    """Five lines, which C/O, mixing and clouds change differently."""
    turn = np.array([1, -1, 1, -1, 1])
    rank = np.arange(5) - 2
    strength = DEPTH * np.exp(0.8 * (co - 1) * turn + (logkzz - 5) / 12 * rank)
    width = (0.10 + 0.02 * (rank % 3)) * np.exp(0.05 * (logkzz - 5) - 0.4 * inv_fsed)
    x = (WAVE - CENTRE[:, None]) / width[:, None]
    return np.exp(-(strength[:, None] / (1 + x**2)).sum(axis=0))


def write_library(folder, nodes):
    folder.mkdir()
    rows = ["# medium: vacuum", "# columns: wavelength normalised", f"file,{','.join(AXES)}"]
    for i, node in enumerate(nodes):
        np.savetxt(folder / f"{i}.txt", np.column_stack([WAVE, flux_of(*node)]))
        rows.append(",".join(map(str, (f"{i}.txt", *node))))
    (folder / "library.csv").write_text("\n".join(rows))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A library, its model built by the command line, spectra between its nodes, and a star."""
    folder = tmp_path_factory.mktemp("labels")
    write_library(folder / "library", product(*AXES.values()))
    write_library(folder / "held", [(0.7, 3.5, 0.2), (1.2, 6.5, 0.3)])
    (folder / "quick.json").write_text(DEFAULT.replace(rounds=1, epochs=60).to_json())
    noise = np.random.default_rng(1).normal(size=WAVE.size)
    star = Spectrum(WAVE, flux_of(**STAR) + SIGMA * noise, np.full(WAVE.size, SIGMA))
    write_spectrum(star, folder / "star.npz")
    words = ("clone", "library", "-o", "clones.zarr", "--recipe", "quick.json", "--workers", "1")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in (words, ("build", "clones.zarr", "-o", "model.zip")):
            assert status_of(*command) == 0
    return folder


@pytest.fixture
def run(run, world, monkeypatch):
    """Run a command in the folder of these files."""
    monkeypatch.chdir(world)
    return run


@pytest.mark.long
def test_a_star_is_inferred_and_reported(run, world):
    known = ("--fix", "resolution=inf", "--fix", "vsini=0")
    words = ("star.npz", "--model", "model.zip", *known, "--json")
    status, out, _ = run("infer", *words, "--report", "star.html", "-o", "star.ecsv")
    assert status == 0
    (answer,) = json.loads(out)
    assert tuple(answer["labels"]) == tuple(AXES)
    for name, truth in STAR.items():
        found = answer["labels"][name]
        reach = AXES[name][-1] - AXES[name][0]
        assert abs(found["value"] - truth) < 5 * found["sigma"] + 0.01 * reach
    page = (world / "star.html").read_text("utf-8")
    assert all(name in page for name in AXES)
    assert all(name in (world / "star.ecsv").read_text() for name in AXES)


@pytest.mark.long
def test_a_spectrum_by_label_and_back(run, world):
    words = [text for name, value in STAR.items() for text in ("--label", f"{name}={value}")]
    assert run("synth", "model.zip", *words, "-o", "made.npz")[0] == 0
    made = read_spectrum(world / "made.npz")
    assert np.sqrt(np.mean((made.flux - flux_of(**STAR)) ** 2)) < 5e-3


@pytest.mark.long
def test_an_unknown_label_is_refused_with_the_known_ones(run):
    status, _, err = run("synth", "model.zip", "--teff", "5000", "-o", "made.npz")
    assert status == 1
    assert "has the labels co, logkzz, inv_fsed (unknown: teff; missing: co" in err
    assert "--label NAME=VALUE" in err


@pytest.mark.long
def test_lines_and_validation_name_these_labels(run):
    status, out, _ = run("lines", "model.zip", "--near", "8498", "--label", "co=0.8", "--json")
    assert status == 0
    assert all(name in out for name in AXES)
    status, out, _ = run("validate", "model.zip", "--holdout", "held", "--json")
    assert status == 0
    found = json.loads(out)["holdout"]
    assert found["n"] == 2
    assert tuple(found["labels"]) == tuple(AXES)
    assert found["flux_rms_median"] < 5e-3


@pytest.mark.parametrize("name", [*sorted(RESERVED), "", " "])
def test_reserved_names_are_refused_as_labels(name):
    flux = np.ones((2, WAVE.size))
    with pytest.raises(GridError, match=r"got label name .* choose another"):
        grid_of(WAVE, [[1.0], [2.0]], (name,), flux)


def test_every_parameter_of_flux_is_reserved():
    parameters = inspect.signature(Model.flux).parameters.values()
    assert set(RESERVED) == {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}  # and self
