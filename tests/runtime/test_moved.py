"""Imports that the documentation of the last version names work, and warn."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path

import pytest

import blase3d
from blase3d.runtime.moved import _MOVED, REMOVED_IN, warn_of_former

DOCUMENTED = """
archive: Archive open_archive
building: build
comparison: Comparison compare
demo: LIBRARY noisy_star packaged_grid
explore: explore
farm: LocalPool
figures: Drawing draw_figures line_maps
grid: Grid
identify: Candidate Identification identify
model_file: load_model save_model
pipeline: clone
report: model_checksum write_report
sources: Source fetch known_sources open_grid write_grid
sources.fetch: Box fetch make_plan
sources.files: Columns grid_of_files
spectrum: Spectrum
spectrum_io: read_spectrum write_spectrum
toy: toy_grid toy_spectrum
tuning: Scales Trial Tuned tune
units: air_to_vacuum blackbody vacuum_to_air
validate: validate
"""
"""Names of the last version that its pages and examples import, by module."""
ROWS = [line.split(": ") for line in DOCUMENTED.strip().splitlines()]

UNMOVED = {
    "errors": "Blase3dError GridError InputError MissingExtra",
    "inference": "infer infer_many",
    "inference.prior": "Prior",
    "inference.result": "Inference",
    "lines": "Lines",
    "model": "Model",
    "recipe": "DEFAULT PAPER Recipe get_recipe",
}
"""Documented names whose module has its old path, if as a folder."""


@pytest.mark.parametrize(("old", "names"), ROWS)
def test_an_old_path_gives_the_module_of_the_new_one(old: str, names: str) -> None:
    sys.modules.pop(f"blase3d.{old}", None)
    with pytest.warns(DeprecationWarning, match=rf"blase3d\.{old} has moved; import blase3d\.\w"):
        module = import_module(f"blase3d.{old}")
    assert module is sys.modules[module.__name__]  # no second copy
    assert module.__spec__ is not None
    assert module.__spec__.name == module.__name__ != f"blase3d.{old}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of names that have changed too
        exec(f"from blase3d.{old} import {', '.join(names.split())}", {})


@pytest.mark.parametrize("path", UNMOVED)
def test_a_folder_offers_what_the_module_of_its_name_did(path: str) -> None:
    exec(f"from blase3d.{path} import {', '.join(UNMOVED[path].split())}", {})


def test_every_moved_module_is_tested() -> None:
    assert set(_MOVED) <= {old for old, _ in ROWS}


def test_other_names_are_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        import_module("blase3d.nothing")
    with pytest.raises(ModuleNotFoundError), pytest.warns(DeprecationWarning, match="moved"):
        import_module("blase3d.report.nothing")


def test_the_warning_names_the_line_that_imports() -> None:
    code = "import warnings; warnings.simplefilter('default')\nfrom blase3d.grid import Grid"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "<string>:2: DeprecationWarning: blase3d.grid has moved" in done.stderr


def test_every_warning_of_a_former_name_states_the_version_that_removes_it() -> None:
    """A version that is still to come: once it is there, former names are to be gone."""
    home = Path(blase3d.__file__).parent
    warning = [
        path.relative_to(home).as_posix()
        for path in home.rglob("*.py")
        if warns_of_deprecation(path.read_text("utf-8"))
    ]
    assert warning == ["runtime/moved.py"]
    with pytest.warns(DeprecationWarning, match=rf"a is b\. Version {re.escape(REMOVED_IN)} no"):
        warn_of_former("a is b")
    removed, now = (
        [int(n) for n in text.split(".")[:2]] for text in (REMOVED_IN, blase3d.__version__)
    )
    assert removed > now


def warns_of_deprecation(code: str) -> bool:
    """Whether a call of `warn` in some code names `DeprecationWarning`."""
    calls = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call))
    return any(
        ast.unparse(call.func).endswith("warn")
        and any(
            isinstance(one, ast.Name) and one.id == "DeprecationWarning"
            for one in (*call.args, *(keyword.value for keyword in call.keywords))
        )
        for call in calls
    )


def test_a_warning_is_found_whatever_its_message() -> None:
    for code in (
        "warnings.warn('f() is g()', DeprecationWarning, stacklevel=2)",
        "warn(message(), category=DeprecationWarning)",
    ):
        assert warns_of_deprecation(code)
    assert not warns_of_deprecation("warn('a')\nfilterwarnings('ignore', DeprecationWarning)")


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = "{'jax', 'numpy', 'scipy', 'zarr', 'astropy'}"
    code = f"import sys, {blase3d.__name__}; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
