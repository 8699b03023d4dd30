"""What is written comes back: every file format, with content that chance makes.

Numbers come back to the last digit, or to the step that the format states.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from toy_models import model_of, true_params

from blase3d.fitting.archive import create_archive, open_archive
from blase3d.fitting.single_node import Clone
from blase3d.inference.result import Estimate, Inference
from blase3d.inference.results_file import write_results
from blase3d.inference.table import flat_row
from blase3d.libraries import open_grid, write_grid
from blase3d.libraries.grid import RESERVED, Grid, grid_of
from blase3d.libraries.toy import LINES, toy_grid
from blase3d.lines.lines import Lines
from blase3d.model.line_grid import LineGrid
from blase3d.model.model_file import load_model, save_model
from blase3d.recipe import (
    DEFAULT,
    RECIPES,
    SINGLE,
    Detection,
    Normalisation,
    Recipe,
    SingleFit,
    recipe_from_json,
)
from blase3d.recipe import _kinds as kinds
from blase3d.spectra.formats import read_spectrum, write_spectrum
from blase3d.spectra.spectrum import Spectrum

pytestmark = pytest.mark.lowest

few = settings(max_examples=15, deadline=None)
Folder = Callable[[], Path]
NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="="),
    min_size=1,
    max_size=8,
).filter(lambda name: name.lower() == name and name not in ("self", *RESERVED))
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, width=32)
    | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
).filter(lambda value: "Infinity" not in json.dumps(value))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return lambda: tmp_path_factory.mktemp("trip")


def wavelengths(count: int) -> st.SearchStrategy[np.ndarray]:
    """(count,) Å, increasing by steps of any size."""
    steps = hnp.arrays(np.float64, count, elements=st.floats(1e-3, 100.0))
    return steps.map(lambda steps: 3000.0 + np.cumsum(steps))


def numbers(shape: Any, low: float, high: float, kind: type = np.float32) -> Any:
    width = 32 if kind is np.float32 else 64
    ends = (float(np.float32(low)), float(np.float32(high)))
    return hnp.arrays(kind, shape, elements=st.floats(*ends, width=width))


# --- grids ---------------------------------------------------------------------------------------


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    nodes, pixels = draw(st.integers(1, 4)), draw(st.integers(2, 6))
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    column = st.lists(st.integers(-99, 99), min_size=nodes, max_size=nodes, unique=True)
    labels = np.array([draw(column) for _ in names], np.float64).T / 4.0
    flux = draw(numbers((nodes, pixels), 2.0**-20, 2.0**60))
    continuum = draw(st.none() | numbers((nodes, pixels), 2.0**-20, 2.0**60))
    meta = {"library": draw(WORDS), "more": draw(JSON)}
    return grid_of(draw(wavelengths(pixels)), labels, names, flux, continuum, meta)


@pytest.mark.parametrize("ending", [".npz", ".zarr"])
@few
@given(grid=grids())
def test_grid(ending: str, folder: Folder, grid: Grid) -> None:
    path = folder() / f"grid{ending}"
    write_grid(grid, path)
    again = open_grid(path)
    np.testing.assert_array_equal(again.wavelength, grid.wavelength)
    np.testing.assert_array_equal(again.labels, grid.labels)
    assert again.label_names == grid.label_names
    assert again.fingerprint() == grid.fingerprint()
    assert again.meta == {**grid.meta, "medium": "vacuum"}
    for i in range(len(grid)):
        np.testing.assert_array_equal(again[i].flux, grid[i].flux)
        assert (again[i].continuum is None) == (grid[i].continuum is None)


# --- spectra -------------------------------------------------------------------------------------


@st.composite
def spectra(draw: st.DrawFn) -> Spectrum:
    count = draw(st.integers(1, 8))
    positive = numbers(count, 1e-30, 1e30, np.float64)
    mask = draw(hnp.arrays(bool, count))
    mask[draw(st.integers(0, count - 1))] = False
    return Spectrum(
        draw(wavelengths(count)),
        draw(numbers(count, -1e30, 1e30, np.float64)),
        error=draw(st.none() | positive),
        mask=mask,
        continuum=draw(st.none() | positive),
        resolution=draw(st.none() | st.floats(1.0, 1e7)),
        meta={"object": draw(WORDS), "more": draw(JSON)},
        order=draw(st.none() | hnp.arrays(np.int64, count, elements=st.integers(0, 200))),
        pixel_resolution=draw(st.none() | numbers(count, 1.0, 1e7, np.float64)),
    )


@pytest.mark.parametrize("ending", [".npz", ".ecsv", ".csv", ".fits"])
@few
@given(spectrum=spectra())
def test_spectrum(ending: str, folder: Folder, spectrum: Spectrum) -> None:
    path = folder() / f"star{ending}"
    write_spectrum(spectrum, path)
    again = read_spectrum(path)
    for field in fields(Spectrum):
        ours, theirs = getattr(spectrum, field.name), getattr(again, field.name)
        if isinstance(ours, np.ndarray):
            np.testing.assert_array_equal(theirs, ours, err_msg=field.name)
        elif field.name == "meta":
            assert theirs == {**ours, "medium": "vacuum"}
        else:
            assert theirs == ours, field.name


@pytest.mark.parametrize("ending", [".ecsv", ".csv"])
def test_numbers_next_to_zero(ending: str, folder: Folder) -> None:
    flux = np.array([2.22507386e-309, 5e-324, -1e-310, 1.0])
    path = folder() / f"star{ending}"
    write_spectrum(Spectrum(np.arange(3000.0, 3004.0), flux), path)
    np.testing.assert_array_equal(read_spectrum(path).flux, flux)


# --- recipes -------------------------------------------------------------------------------------


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    recipe = draw(st.sampled_from(sorted(RECIPES.values(), key=lambda recipe: recipe.name)))
    values: dict[str, Any] = {}
    groups = (Recipe, Normalisation, Detection, type(recipe.fit))
    for name, kind in [setting for group in groups for setting in kinds(group).items()]:
        choices = get_args(kind)
        if choices and isinstance(choices[0], str):
            values[name] = draw(st.sampled_from(choices))
        elif kind is str:
            values[name] = draw(WORDS)
        elif kind is int:
            values[name] = draw(st.integers(2, 30))
    values["residual"] = draw(st.floats(0.0, 1.0))
    if isinstance(recipe.fit, SingleFit):
        values["missing_ln_area"] = draw(st.floats(-1e9, 0.0))
    return recipe.replace(**values)


@few
@given(recipe=recipes())
def test_recipe(recipe: Recipe) -> None:
    assert recipe_from_json(recipe.to_json()) == recipe


# --- archives ------------------------------------------------------------------------------------

GRID = toy_grid({"teff": (5500.0, 6000.0), "logg": (4.0, 4.5), "feh": (0.0,)})


@st.composite
def clones(draw: st.DrawFn) -> Clone:
    count, pixels = draw(st.integers(0, 5)), GRID.wavelength.size
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    params = draw(numbers((count, 4), -50.0, 50.0))
    flux = rng.normal(1.0, 0.3, pixels).astype(np.float32)
    return Clone(
        flux,
        Lines(draw(wavelengths(count)), params),
        flux,
        misfit=draw(st.floats(1e-9, 1.0)),
        flags=tuple(draw(st.lists(WORDS, max_size=2))),
    )


@few
@given(clone=clones(), window=st.integers(0, 99), round_=st.integers(0, 9), why=WORDS)
def test_archive(folder: Folder, clone: Clone, window: int, round_: int, why: str) -> None:
    archive = create_archive(folder() / "clones", GRID, SINGLE)
    archive.write(1, clone)
    archive.write_failed(2, f"no: {why}")
    rng = np.random.default_rng(window)
    shapes = {"reference": (3,), "base": (3, 4), "area": (2, 3), "shape": (1, 3, 3)}
    parts = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    surface = LineGrid(**parts, root=DEFAULT.joint.area_root)
    joint = create_archive(folder() / "joint", GRID, DEFAULT)
    joint.write_window(window, round_, surface, np.arange(4.0))

    again = open_archive(archive.path)
    node = again.clone(1)
    np.testing.assert_array_equal(node.flux, clone.target)
    np.testing.assert_array_equal(node.lines.reference, clone.lines.reference)
    np.testing.assert_array_equal(node.lines.params, clone.lines.params)
    assert (node.misfit, node.flags) == (clone.misfit, clone.flags)
    assert again.failed == {2: f"no: {why}"}
    found = open_archive(joint.path).window(window, round_)
    assert found is not None
    for name in shapes:
        np.testing.assert_array_equal(getattr(found[0], name), getattr(surface, name))
    assert (again.recipe, again.label_names) == (SINGLE, GRID.label_names)
    np.testing.assert_array_equal(again.labels, GRID.labels)


# --- models --------------------------------------------------------------------------------------


@few
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-6, 1e-2), meta=JSON)
def test_model(folder: Folder, seed: int, scale: float, meta: Any) -> None:
    rng = np.random.default_rng(seed)
    params = true_params(GRID) + rng.normal(0.0, 0.01, (len(GRID), len(LINES), 4))
    rest = rng.normal(0.0, scale, (len(GRID), GRID.wavelength.size))
    model = model_of(GRID, params, rest, {"meta": meta})
    path = folder() / "model"
    save_model(model, path)
    again = load_model(path)
    assert (again.meta, again.recipe, again.bounds) == (model.meta, model.recipe, model.bounds)
    np.testing.assert_allclose(again.wavelength, model.wavelength, rtol=0, atol=0.51e-7)
    for name in ("base", "area", "shape"):
        ours, theirs = (np.asarray(getattr(m.line_grid, name)) for m in (model, again))
        np.testing.assert_array_equal(theirs, ours)
    for name in ("nodes", "pixels", "scale"):
        ours, theirs = (np.asarray(getattr(m.residual, name)) for m in (model, again))
        np.testing.assert_array_equal(theirs, ours)


# --- inferences ----------------------------------------------------------------------------------


@st.composite
def inferences(draw: st.DrawFn) -> Inference:
    def estimate() -> Estimate:
        sigma = draw(st.floats(1e-6, 1e3) | st.just(float("nan")))
        return Estimate.normal(draw(st.floats(-1e6, 1e6)), sigma)

    pixels = np.ones(3)
    return Inference(
        labels={name: estimate() for name in ("teff", "logg", "feh")},
        nuisance={"rv": estimate()},
        fixed={"vsini": 0.0},
        names=("teff", "logg", "feh", "rv"),
        covariance=np.eye(4),
        chi2_red=draw(st.floats(0.0, 1e6) | st.just(float("nan"))),
        method="gradient",
        seconds=draw(st.floats(0.0, 1e4)),
        flags=tuple(draw(st.lists(WORDS, max_size=3))),
        n_pixels=3,
        n_masked=0,
        wavelength=pixels,
        flux=pixels,
        model=pixels,
        error=pixels,
        weight=pixels,
        jitter=0.0,
        draws=None,
        diagnostics={},
    )


@few
@given(answers=st.lists(inferences(), min_size=1, max_size=3))
def test_inferences(folder: Folder, answers: list[Inference]) -> None:
    """JSON has null, a table NaN, where there is no number; else every digit comes back."""
    rows = [{"spectrum": f"{i}.npz", **answer.to_dict()} for i, answer in enumerate(answers)]
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    path = folder() / "answers.ecsv"
    write_results(lambda: map(flat_row, rows), path, {})
    table = Table.read(path)
    assert table.meta["version"] == 1
    for row, answer in zip(table, answers, strict=True):
        for name, found in {**answer.labels, **answer.nuisance}.items():
            assert row[name] == found.value
            np.testing.assert_equal(float(row[f"{name}_sigma"]), float(found.sigma))
        np.testing.assert_equal(float(row["chi2_red"]), answer.chi2_red)
        flags = "" if np.ma.is_masked(row["flags"]) else row["flags"]  # by older astropy
        assert flags.strip() == "; ".join(answer.flags).strip()  # a table keeps no blanks at ends
