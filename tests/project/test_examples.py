"""Examples in docstrings run, in a folder with a library, a model of it and a star."""

from __future__ import annotations

import doctest
import inspect
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from toy_models import model_of

import blase3d as b3
from blase3d.libraries import write_grid
from blase3d.libraries.toy import toy_grid, toy_spectrum

ROOT = Path(b3.__file__).parent
AXES = {"teff": (5000.0, 5500.0, 6000.0), "logg": (4.0, 5.0), "feh": (-0.5, 0.5)}
TRUTH = {"teff": 5700.0, "logg": 4.4, "feh": 0.1}
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
LONG = ("analysis", "fitting", "inference")
"""Folders whose examples fit lines or stars."""
WITHOUT = {"Archive", "Blase3dError", "Comparison", "Inference", "InputError", "MissingExtra"}
"""Classes that users do not make themselves."""
SHOWN = {"open_archive": "clone"}
"""Functions that the example of another shows."""


def module_of(path: Path) -> str:
    """Its dotted name."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = [
    pytest.param(
        module_of(path), marks=[pytest.mark.long] if path.parent.name in LONG else [], id=path.stem
    )
    for path in sorted(ROOT.rglob("*.py"))
    if ">>> " in path.read_text("utf-8")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """library.npz, model.zip, other.zip and star.npz."""
    made = tmp_path_factory.mktemp("examples")
    write_grid(toy_grid(AXES), made / "library.npz")
    for name in ("model.zip", "other.zip"):
        b3.save_model(model_of(toy_grid(AXES), meta={"library": {"library": "toy"}}), made / name)
    exact = toy_spectrum(**TRUTH)
    error = exact.flux / 200.0
    flux = exact.flux + error * np.random.default_rng(3).normal(size=len(exact))
    star = b3.Spectrum(exact.wavelength, flux, error, resolution=100_000.0)
    b3.write_spectrum(star, made / "star.npz")
    return made


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module_run(name, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    module = import_module(name)
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    for found in doctest.DocTestFinder(exclude_empty=True).find(module):
        runner.run(found)
    tried = runner.summarize(verbose=False)
    assert tried.attempted > 0
    assert tried.failed == 0, capsys.readouterr().out


def test_public_functions_and_records_have_examples():
    """Of a class, its own or one of its methods'."""
    for name in set(b3.__all__) - WITHOUT:
        value = getattr(b3, SHOWN.get(name, name))
        if inspect.isclass(value) or inspect.isfunction(value):
            members = vars(value).values() if inspect.isclass(value) else ()
            texts = [inspect.getdoc(one) or "" for one in (value, *members)]
            word = name if name in SHOWN else ">>> "
            assert any(word in text for text in texts), name
