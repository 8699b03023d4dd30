"""The command line: its contract, and one clear sentence for every bad input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from cli_runner import Done, status_of
from toy_models import NARROW, QUICK

from blase3d import cli
from blase3d.libraries import write_grid
from blase3d.libraries.toy import toy_grid, toy_spectrum
from blase3d.spectra.formats import write_spectrum
from blase3d.spectra.spectrum import Spectrum

pytestmark = pytest.mark.lowest

TRUTH = {"teff": 5730.0, "logg": 4.3, "feh": -0.1}
LABELS = [part for name, value in TRUTH.items() for part in (f"--{name}", str(value))]


@dataclass(frozen=True)
class World:
    """A grid, its clones and its model, made by the verbs themselves."""

    folder: Path
    grid: Path
    clones: Path
    model: Path
    star: Path


Run = Callable[..., Done]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("cli")
    found = World(folder, *(folder / n for n in ("g.npz", "c.zarr", "m.zip", "star.npz")))
    write_grid(toy_grid(NARROW), found.grid)
    recipe = folder / "quick.json"
    recipe.write_text(QUICK.to_json())
    for words in (
        ["clone", found.grid, "-o", found.clones, "--recipe", recipe, "--workers", "1"],
        ["build", found.clones, "-o", found.model],
    ):
        assert status_of(*words) == 0
    exact = toy_spectrum(**TRUTH)
    error = exact.flux / 200
    flux = exact.flux + error * np.random.default_rng(1).normal(size=len(exact))
    write_spectrum(Spectrum(exact.wavelength, flux, error, resolution=1e6), found.star)
    return found


def test_grid_json(run: Run, world: World) -> None:
    done = run("grid", world.grid, "--json")
    facts = json.loads(done.out)
    assert done.status == 0
    assert facts["nodes"] == 12
    assert facts["n_holes"] == 0
    assert facts["medium"] == "vacuum"


def test_clone_again_does_nothing(run: Run, world: World) -> None:
    recipe = world.folder / "quick.json"
    done = run("clone", world.grid, "-o", world.clones, "--recipe", recipe, "--workers", "1")
    assert done.status == 0
    assert "12 of 12 nodes are cloned" in done.out


def test_infer_json_finds_the_truth(run: Run, world: World) -> None:
    done = run("infer", world.star, "--model", world.model, "--fix", "vsini=0", "--json")
    (answer,) = json.loads(done.out)
    assert done.status == 0, done.err
    assert set(answer) >= {"spectrum", "labels", "nuisance", "chi2_red", "method", "seconds"}
    for name, truth in TRUTH.items():
        found = answer["labels"][name]
        assert set(found) == {"value", "sigma", "q16", "q50", "q84"}
        assert abs(found["value"] - truth) < 4 * found["sigma"]
    assert abs(answer["nuisance"]["rv"]["value"]) < 4 * answer["nuisance"]["rv"]["sigma"]


def test_one_bad_spectrum_stops_no_other(run: Run, world: World) -> None:
    table = world.folder / "answers.ecsv"
    words = ["--model", world.model, "--fix", "vsini=0", "--json", "-o", table]
    done = run("infer", world.star, world.folder / "absent.npz", *words)
    good, bad = json.loads(done.out)
    assert done.status == 1
    assert "labels" in good
    assert "labels" not in bad
    assert "absent.npz" in bad["error"]
    assert "teff" in table.read_text()


@pytest.mark.long
def test_report_is_written(run: Run, world: World) -> None:
    page = world.folder / "star.html"
    done = run("infer", world.star, "--model", world.model, "--fix", "vsini=0", "--report", page)
    assert done.status == 0, done.err
    assert "teff" in page.read_text().lower()
    assert f"{world.star} (model m, gradient, " in done.out  # in one line, wider than the table


@pytest.mark.long
def test_odds_of_models_are_written_in_the_format_of_the_ending(run: Run, world: World) -> None:
    other, table = world.folder / "other.zip", world.folder / "odds.fits"
    shutil.copyfile(world.model, other)
    words = ["--model", world.model, "--model", other, "--fix", "vsini=0", "-o", table]
    done = run("infer", world.star, *words, "--workers", "2")
    assert done.status == 0, done.err
    assert "--workers has no effect" in done.err
    found = Table.read(table, format="fits")
    np.testing.assert_allclose(found["odds"], 0.5, atol=1e-6)
    assert list(found["model"]) == ["m", "other"]


@pytest.mark.long
def test_report_of_the_one_star_of_a_list_is_written_with_the_table(run: Run, world: World) -> None:
    page, table = world.folder / "listed.html", world.folder / "listed.ecsv"
    stars = world.folder / "one.lst"
    stars.write_text(f"{world.star}\n")
    done = run(
        *("infer", stars, "--model", world.model, "--fix", "vsini=0"),
        *("--report", page, "-o", table),
    )
    assert done.status == 0, done.err
    assert page.is_file()
    assert table.is_file()


def test_synth_and_back(run: Run, world: World) -> None:
    path = world.folder / "made.ecsv"
    done = run("synth", world.model, *LABELS, "--resolution", "80000", "-o", path)
    assert done.status == 0, done.err
    done = run("infer", path, "--model", world.model, "--fix", "vsini=0", "--json")
    (answer,) = json.loads(done.out)
    assert abs(answer["labels"]["teff"]["value"] - TRUTH["teff"]) < 2.0


@pytest.mark.long
def test_lines_and_validate(run: Run, world: World) -> None:
    done = run("lines", world.model, *LABELS, "--json")
    listed = json.loads(done.out)["lines"]
    assert done.status == 0
    assert {"center", "depth", "area", "sigma", "gamma"} <= set(listed[0])
    done = run("validate", world.model, "--json")
    assert done.status == 0, done.err
    assert json.loads(done.out)["nodes"]["flux_rms_worst"] < 1e-4


def test_validate_says_what_has_no_effect_and_what_is_left_out(run: Run, world: World) -> None:
    assert "--snr has no effect without --holdout" in run("validate", world.model, "--snr", 9).err
    path = world.folder / "held.npz"
    held = toy_grid({"teff": (5500.0, 5600.0, 7000.0), "logg": (4.25,), "feh": (0.25,)})
    write_grid(held, path)
    done = run("validate", world.model, "--holdout", path)
    said = "left out: 1 held-out spectra outside the labels of the model, and 1 at its nodes"
    assert said in done.err


@pytest.mark.parametrize(
    "verb", sorted(c.name or c.callback.__name__ for c in cli.app.registered_commands)
)  # type: ignore[union-attr]
def test_help_has_an_example(run: Run, verb: str) -> None:
    verb = verb.replace("_", "-")
    done = run(verb, "--help")
    assert done.status == 0
    assert f"blase3d {verb}" in done.out


def _truncated(world: World, run: Run) -> Done:
    path = world.folder / "short.zip"
    path.write_bytes(world.model.read_bytes()[:2000])
    return run("validate", path)


def _foreign(world: World, run: Run) -> Done:
    return run("build", world.grid, "-o", world.folder / "x.zip")


def _damaged_clones(world: World, run: Run) -> Done:
    path = world.folder / "damaged.zarr"
    shutil.copytree(world.clones, path, dirs_exist_ok=True)
    chunk = next(p for p in (path / "nodes" / "3" / "flux").rglob("*") if p.name == "0")
    chunk.write_bytes(chunk.read_bytes()[:-30])
    return run("build", path, "-o", world.folder / "x.zip")


def _nan_everywhere(world: World, run: Run) -> Done:
    path = world.folder / "nan.npz"
    with np.load(world.grid) as arrays:
        np.savez(path, **{**arrays, "flux": np.full_like(arrays["flux"], np.nan)})
    return run("clone", path, "-o", world.folder / "nan.zarr", "--workers", "1")


def _no_overlap(world: World, run: Run) -> Done:
    path = world.folder / "far.npz"
    write_spectrum(Spectrum(np.linspace(6000, 6100, 500), np.ones(500)), path)
    return run("infer", path, "--model", world.model)


def _no_medium(world: World, run: Run) -> Done:
    path = world.folder / "medium.csv"
    path.write_text("wavelength,flux\n8500,1\n8501,1\n")
    return run("infer", path, "--model", world.model)


def _other_work(world: World, run: Run) -> Done:
    return run("clone", world.grid, "-o", world.clones, "--recipe", "paper", "--workers", "1")


BAD: dict[str, tuple[Callable[[World, Run], Done], str]] = {
    "truncated model": (_truncated, "build"),
    "foreign archive": (_foreign, "clone"),
    "damaged clones": (_damaged_clones, "damaged"),
    "NaN in every node": (_nan_everywhere, "not finite"),
    "no overlap": (_no_overlap, "overlap"),
    "no medium": (_no_medium, "--medium"),
    "clones of another recipe": (_other_work, "another"),
    "missing grid": (lambda w, r: r("grid", w.folder / "no.npz"), "no.npz"),
    "missing model": (lambda w, r: r("validate", w.folder / "no.zip"), "does not exist"),
    "unknown recipe": (
        lambda w, r: r("clone", w.grid, "-o", w.folder / "y", "--recipe", "papre"),
        "papre",
    ),
    "labels outside": (
        lambda w, r: r("synth", w.model, "--teff", 9000, *LABELS[2:], "-o", w.folder / "s.npz"),
        "outside",
    ),
    "label missing": (
        lambda w, r: r("synth", w.model, "--teff", 5700, "-o", w.folder / "s.npz"),
        "logg",
    ),
    "label not a number": (
        lambda w, r: r("infer", w.star, "--model", w.model, "--fix", "teff=hot"),
        "hot",
    ),
    "prior not a range": (
        lambda w, r: r("infer", w.star, "--model", w.model, "--prior", "teff=5000-6000"),
        "LO:HI",
    ),
    "unknown parameter": (
        lambda w, r: r("infer", w.star, "--model", w.model, "--fix", "mass=1"),
        "mass",
    ),
    "range upside down": (
        lambda w, r: r("clone", w.grid, "-o", w.folder / "z", "--wave", "8900:8400"),
        "LO:HI",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_sentence_and_status_1(case: str, run: Run, world: World) -> None:
    cause, word = BAD[case]
    done = cause(world, run)
    assert done.status == 1
    assert word in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


def test_wrong_usage_has_status_2(run: Run, world: World) -> None:
    assert run("clone", world.grid).status == 2
    assert run("nonsense").status == 2
