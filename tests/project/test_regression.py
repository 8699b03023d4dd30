"""Files that earlier versions wrote: later code reads them, with these values.

They lie in `regression/`, named by the version of their form; `tools/make_regression.py` made them.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from blase3d.fitting import archive
from blase3d.fitting.archive import open_archive
from blase3d.fitting.single_node import Clone
from blase3d.libraries import grid_file, open_grid
from blase3d.libraries.toy import toy_flux, toy_lines
from blase3d.model import model_file
from blase3d.model.model_file import load_model
from blase3d.recipe import DEFAULT, GROUPED, SINGLE, Recipe, SingleFit, get_recipe
from blase3d.spectra import formats
from blase3d.spectra.formats import read_spectrum

pytestmark = pytest.mark.lowest

PLACE = Path(__file__).parents[1] / "regression"
FILES = sorted(path.name for path in PLACE.iterdir())
LARGEST = 300_000
"""Bytes of all of them."""


def now(recipe: Recipe) -> Recipe:
    """A recipe with the settings of today: before version 4 it had neither root nor smooth
    functions, and before 5 more of these and none of the library's data."""
    if isinstance(recipe.fit, SingleFit):
        return recipe
    changed = ("area_root", "functions_with_residual", "smooth_functions", "data_functions")
    changed += ("shape_functions", "shape_ridge")
    return recipe.replace(**{name: getattr(DEFAULT.fit, name) for name in changed})


def of(form: str) -> list[str]:
    return [name for name in FILES if name.startswith(form)]


@pytest.mark.parametrize("name", of("grid"))
def test_grids(name: str) -> None:
    grid = open_grid(PLACE / name)
    assert grid.labels_of(2) == {"teff": 6000.0, "logg": 4.0, "feh": 0.0}
    assert grid.wavelength[[0, 50, 100]].tolist() == [8497.0, 8498.0, 8499.0]
    spectrum = grid[2]
    assert spectrum.continuum is not None
    exact = toy_flux(grid.labels[2], grid.wavelength)
    np.testing.assert_allclose(spectrum.flux / spectrum.continuum, exact, rtol=3e-7)
    assert grid.meta["citation"] == "closed formulas of blase3d.toy"


@pytest.mark.parametrize("name", of("spectrum"))
def test_spectra(name: str) -> None:
    spectrum = read_spectrum(PLACE / name)
    exact = toy_flux({"teff": 5700.0, "logg": 4.2, "feh": 0.0}, spectrum.wavelength)
    np.testing.assert_allclose(spectrum.flux, exact, rtol=1e-12)
    np.testing.assert_allclose(spectrum.error, exact / 100, rtol=1e-12)
    np.testing.assert_allclose(spectrum.continuum, exact * 2, rtol=1e-12)
    assert np.flatnonzero(spectrum.mask).tolist() == [0, 1]
    assert spectrum.order is not None
    assert spectrum.order[[0, 50, 51, 100]].tolist() == [0, 0, 1, 1]
    assert (spectrum.resolution, len(spectrum)) == (50_000.0, 101)
    assert spectrum.meta["labels"] == {"teff": 5700.0}
    if name.startswith("spectrum-2"):
        assert spectrum.pixel_resolution is not None
        np.testing.assert_allclose(spectrum.pixel_resolution[[0, -1]], [45e3, 55e3], rtol=1e-12)


@pytest.mark.parametrize("name", of("clones"))
def test_clones(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(PLACE / name) as zipped:
        zipped.extractall(tmp_path / "clones")
    for path in (tmp_path / "clones", PLACE / name):
        clones = open_archive(path)
        assert now(clones.recipe) == SINGLE
        assert clones.failed == {3: "it was left out"}
        node = clones.clone(2)
        assert (node.misfit, node.flags) == (1e-3, ("invented",))
        np.testing.assert_array_equal(node.lines.params, toy_lines(node.labels).params)
        exact = toy_flux(node.labels, clones.wavelength)
        np.testing.assert_allclose(node.flux, exact, rtol=1e-6)


FLUX = {
    "model-3.zip": [0.891731, 0.631004, 0.151040, 0.531324, 0.958376],
    "model-4.zip": [0.886816, 0.620084, 0.144403, 0.520363, 0.955675],
    "model-5.zip": [0.891917, 0.631416, 0.151295, 0.531740, 0.958478],
    "model-6.zip": [0.891917, 0.631416, 0.151295, 0.531740, 0.958478],
    "model-7.zip": [0.891917, 0.629249, 0.152318, 0.555323, 0.947709],
}

LINES_ALONE = {
    "model-3.zip": [0.891731, 0.692445, 0.124910, 0.653949, 0.884054],
    "model-4.zip": [0.886816, 0.681714, 0.119555, 0.642568, 0.878837],
    "model-5.zip": [0.891047, 0.690931, 0.124135, 0.652341, 0.883330],
    "model-6.zip": [0.891047, 0.690931, 0.124135, 0.652341, 0.883330],
    "model-7.zip": [0.891047, 0.690931, 0.124135, 0.652341, 0.883330],
}


@pytest.mark.parametrize("name", of("model"))
def test_models(name: str) -> None:
    model = load_model(PLACE / name)
    assert model.bounds == {"teff": (5500.0, 6000.0), "logg": (4.0, 4.5), "feh": (0.0, 0.0)}
    flux = np.asarray(model.flux(teff=5700.0, logg=4.2, feh=0.0))
    cut = model.recipe.wing_tolerance  # wings end with a tile, whose size is not that of a version
    np.testing.assert_allclose(flux[[0, 25, 51, 75, 100]], FLUX[name], atol=cut)
    lines = np.asarray(model.flux(teff=5700.0, logg=4.2, feh=0.0, residual=False))
    np.testing.assert_allclose(lines[[0, 25, 51, 75, 100]], LINES_ALONE[name], atol=cut)
    np.testing.assert_allclose(model.error_modes[0, :3], 1e-4, atol=5e-6)
    assert model.recipe.name == "regression"


def test_recipes() -> None:
    for version in ("", f"-{GROUPED}"):
        assert now(get_recipe(str(PLACE / f"recipe-default{version}.json"))) == DEFAULT
        assert now(get_recipe(str(PLACE / f"recipe-single{version}.json"))) == SINGLE


def test_every_form_that_is_written_now_is_kept() -> None:
    written = {"clones": archive.FORMAT.latest, "model": model_file.FORMAT.latest}
    written |= {"grid": grid_file.VERSION, "spectrum": formats.VERSION}
    for form, version in written.items():
        assert any(name.startswith(f"{form}-{version}.") for name in FILES), form
    size = sum(path.stat().st_size for path in PLACE.rglob("*") if path.is_file())
    assert size < LARGEST


def test_an_archive_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """What is added to it carries sums, what is there is still read."""
    with zipfile.ZipFile(PLACE / "clones-2.zip") as zipped:
        zipped.extractall(tmp_path / "clones")
    clones = open_archive(tmp_path / "clones")
    shutil.rmtree(tmp_path / "clones" / "nodes" / "3")
    made = clones.clone(2)
    clones.write(3, Clone(made.flux, made.lines, made.flux, made.misfit))
    again = open_archive(tmp_path / "clones")
    assert [again.is_done(i) for i in range(4)] == [True] * 4
    assert not again.failed
