"""`blase3d demo`: packaged stars with packaged models; with --clone, the whole chain."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

import blase3d.cli  # noqa: F401
from blase3d.inference.result import Estimate
from blase3d.libraries.packaged import STARS
from blase3d.model.installed import installed_models, packaged_folder

DEMO = sys.modules["blase3d.cli.demo"]
SHIPPED = [name for name, model in STARS.items() if (packaged_folder() / f"{model}.zip").exists()]
NEAR = {"teff": 60.0, "logg": 0.1, "feh": 0.05, "alpha": 0.05, "rv": 0.1}


def answer(teff: float) -> tuple[SimpleNamespace, dict[str, float]]:
    found = SimpleNamespace(
        labels={"teff": Estimate.normal(teff, 10.0)}, nuisance={}, flags=("a flag",), seconds=1.0
    )
    return found, {"teff": 5700.0}


def test_every_shipped_star_is_inferred_with_its_model(run, tmp_path, monkeypatch):
    called = []

    def infer(name, model, folder):
        called.append((name, model.name))
        return *answer(5720.0), f"{name} in words"

    monkeypatch.setattr(DEMO, "infer_packaged", infer)
    done = run("demo", "--workers", "1", "--out", tmp_path / "out")
    assert done.status == 0
    assert called == [(name, STARS[name]) for name in SHIPPED]
    assert called
    for text in ("harps in words (1 s)", "+2.0", "harps.html", "blase3d infer"):
        assert text in done.out
    assert "flag: a flag" in done.err


def test_clone_runs_the_whole_chain(run, tmp_path, monkeypatch):
    monkeypatch.setattr(DEMO, "run_demo", lambda folder, pool, progress: answer(5690.0))
    done = run("demo", "--clone", "--workers", "1", "--out", tmp_path)
    assert done.status == 0
    for text in ("between the nodes of the library", "-1.0", "report.html", "model.zip"):
        assert text in done.out


@pytest.mark.long
@pytest.mark.parametrize("name", SHIPPED)
def test_the_labels_of_packaged_stars_are_found(name, tmp_path):
    (installed,) = (m for m in installed_models() if m.name == STARS[name])
    inference, truth, _ = DEMO.infer_packaged(name, installed, tmp_path)
    for label, near in NEAR.items():
        if label in truth:
            found = {**inference.labels, **inference.nuisance}[label]
            assert found.value == pytest.approx(truth[label], abs=near), label
    assert "<html" in (tmp_path / f"{name}.html").read_text("utf-8")
    assert (tmp_path / f"{name}.npz").exists()
