"""Models by name: the list, the look-up, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_models import model_of

import blase3d as b3
from blase3d.libraries.toy import toy_grid
from blase3d.model import installed
from blase3d.model.installed import install_path, installed_models, model_path
from blase3d.model.line_calibration import LineCalibration

ACCURACY = {"holdout": {"flux_rms_median": 2e-4, "labels": {"teff": {"median_abs": 1.25}}, "n": 9}}
META = {
    "library": {"library": "toy", "citation": ["Toy 2026", "Box 2025"]},
    "accuracy": ACCURACY,
    "node_rms": [0.0] * 36,
    "node_lines_rms": [0.0] * 36,
}
MOST = 2**17
"""Bytes of metadata that are read in these tests."""
REGRESSION = Path(__file__).parents[1] / "regression"


@pytest.fixture(scope="module")
def model():
    return model_of(toy_grid(), meta=META)


@pytest.fixture
def folder(tmp_path, monkeypatch, model):
    """The user's models: one, named mine; none is packaged."""
    monkeypatch.setenv("BLASE3D_MODELS", str(tmp_path / "user" / "models"))
    monkeypatch.setattr(installed, "packaged_folder", lambda: tmp_path / "packaged")
    monkeypatch.chdir(tmp_path)
    b3.save_model(model, install_path("mine"))
    return tmp_path


def test_the_list_has_the_keys_that_are_promised(folder, model, run):
    (found,) = json.loads(run("models", "--json").out)
    path = folder / "user" / "models" / "mine.zip"
    assert found == {
        "name": "mine",
        "path": str(path),
        "library": "toy",
        "wavelength": pytest.approx([model.wavelength[0], model.wavelength[-1]], abs=1e-7),
        "axes": {name: axis.tolist() for name, axis in model.axes.items()},
        "bytes": path.stat().st_size,
        "calibrated": False,
        "accuracy": ACCURACY,
    }


def test_the_table_has_accuracy_and_citations(folder, run):
    done = run("models")
    assert done.status == 0
    for text in ("mine", "2.0e-04", "teff 1.2", "Cite with mine: Toy 2026; Box 2025."):
        assert text in done.out


def test_models_of_earlier_versions_are_listed(folder):
    """Their range is in an array; they state no accuracy."""
    old = REGRESSION / "model-6.zip"
    install_path("old").write_bytes(old.read_bytes())
    found = {model.name: model for model in installed_models()}["old"]
    expected = b3.load_model(old).wavelength
    assert found.wavelength == (expected[0], expected[-1])
    assert found.accuracy == {}


def test_a_model_is_loaded_by_name_or_path(folder, model):
    by_name, by_path = b3.load_model("mine"), b3.load_model(model_path("mine"))
    np.testing.assert_array_equal(by_name.wavelength, by_path.wavelength)


def test_the_library_of_a_calibrated_model_has_a_name(folder, model, run):
    changes = np.full((len(model.reference), 3), 0.1, np.float32)
    known = LineCalibration(changes, changes, np.ones(len(changes), np.int32))
    lines = known.applied(model.line_grid)
    meta = {**META, "calibration": {}}
    calibrated = replace(model.with_lines(lines), calibration=known, meta=meta)
    b3.save_model(calibrated, install_path("mine"))
    found = b3.load_model("mine-library")
    assert found.calibration is None
    np.testing.assert_allclose(found.line_grid.base, model.line_grid.base, rtol=0, atol=1e-6)
    assert "with the lines of the library alone: mine-library." in run("models").out
    labels = ("--teff", "5500", "--logg", "4.5", "--feh", "0")
    for name in ("mine", "mine-library"):
        assert run("synth", name, *labels, "-o", f"{name}.npz").status == 0
    flux = [b3.read_spectrum(f"{name}.npz").flux for name in ("mine", "mine-library")]
    assert flux[0].mean() < flux[1].mean() - 0.002


def test_a_model_may_have_such_a_name_itself(folder, model):
    b3.save_model(model, install_path("mine-library"))
    assert model_path("mine-library").is_file()


def test_a_file_comes_before_a_name_and_a_name_before_a_folder(folder):
    here = Path("mine")
    here.mkdir()
    assert model_path("mine").parent.name == "models"
    here.rmdir()
    here.write_bytes(model_path("mine").read_bytes())
    assert model_path("mine") == here


def test_an_unknown_name_is_answered_with_the_names(folder):
    with pytest.raises(b3.InputError, match=r"model your does not exist; .* a name: mine \("):
        b3.load_model("your")
    model_path("mine").unlink()
    with pytest.raises(b3.InputError, match="none is installed"):
        b3.load_model("mine")


def test_the_user_replaces_no_packaged_model(folder, monkeypatch):
    monkeypatch.setattr(installed, "packaged_folder", lambda: folder / "user" / "models")
    with pytest.raises(b3.InputError, match="packaged"):
        install_path("mine")


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "-o", "", "a.zip", "a b"])
def test_impossible_names_are_refused(folder, name):
    with pytest.raises(b3.InputError, match="expected letters"):
        install_path(name)


def _truncated(path):
    path.write_bytes(path.read_bytes()[:1000])


def _foreign(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("zarr.json", json.dumps({"attributes": {"format": "blase3d-clones"}}))


def _deep(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("zarr.json", "[" * 100_000)


def _bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zarr.json", bytes(MOST + 1))


def _other_kinds(path):
    attributes = {"format": "blase3d-model", "meta": [], "axes": {}, "range": [1, 2]}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("zarr.json", json.dumps({"attributes": attributes}))


@pytest.mark.parametrize("damage", [_truncated, _foreign, _deep, _bomb, _other_kinds])
def test_a_damaged_file_is_named_and_the_others_are_listed(folder, damage, run, monkeypatch):
    monkeypatch.setattr(installed, "_LARGEST_META", MOST)
    path = install_path("bad")
    path.write_bytes(model_path("mine").read_bytes())
    damage(path)
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # tests make warnings errors
        done = run("models", "--json")
    assert "bad.zip is not a model" in done.err
    assert [row["name"] for row in json.loads(done.out)] == ["mine"]


def test_listing_needs_neither_jax_nor_zarr(folder):
    code = (
        "import sys; from blase3d.model.installed import installed_models; "
        "assert installed_models(); print(*{'jax', 'zarr', 'scipy', 'astropy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_packaged_models_can_be_listed():
    folder = installed.packaged_folder()
    assert folder.parent == Path(installed.__file__).parent
    assert {model.path.parent for model in installed_models()} <= {folder}
