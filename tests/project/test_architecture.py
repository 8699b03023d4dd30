"""The architecture is a list of layers: a folder imports only from folders above it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import blase3d

ROOT = Path(blase3d.__file__).parent
LAYERS = (
    {"errors"},
    {"parameters"},
    {"runtime"},
    {"recipe"},
    {"lines", "spectra"},
    {"libraries"},
    {"model"},
    {"fitting", "inference"},
    {"analysis"},
    {"views"},
    {"cli"},
    {"__init__"},
    {"__main__"},
)
"""Files and folders of the package. None imports from its own layer or from one below it."""
MOST = 16
"""Entries of the package's folder."""

FILES = sorted(ROOT.rglob("*.py"))


def unit_of(path: Path) -> str:
    """The file or folder of the package that a module belongs to."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported_units(path: Path) -> set[str]:
    """Files and folders of the package that a module imports, wherever it does so."""
    depth = len(path.relative_to(ROOT).parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            name = node.module or ""
            if node.level == depth:
                found |= {name.split(".")[0]} if name else {alias.name for alias in node.names}
            elif node.level == 0 and name.split(".")[0] == "blase3d":
                found.add(name.split(".")[1] if "." in name else "__init__")
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {name[1] for name in names if name[0] == "blase3d" and len(name) > 1}
    return found


def allowed(unit: str) -> set[str]:
    """The files and folders that `unit` may import from: all in the layers above its own."""
    (layer,) = (i for i, units in enumerate(LAYERS) if unit in units)
    return set().union(*LAYERS[:layer])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_the_layers_above_it(path: Path) -> None:
    unit = unit_of(path)
    assert any(unit in units for units in LAYERS), f"give {unit} its layer"
    assert imported_units(path) - {unit} <= allowed(unit)


def test_fitting_and_inference_are_siblings() -> None:
    assert "inference" not in allowed("fitting")
    assert "fitting" not in allowed("inference")


def test_the_archive_of_the_original_is_imported_by_its_command_alone() -> None:
    original = ROOT / "fitting" / "original"
    importers = {
        path.relative_to(ROOT).as_posix()
        for path in FILES
        if original not in path.parents and "fitting.original" in path.read_text(encoding="utf-8")
    }
    assert importers == {"cli/libraries.py"}


def test_the_package_has_few_rooms() -> None:
    entries = [path for path in ROOT.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= MOST


def test_the_parser_sees_imports() -> None:
    assert {"errors", "libraries", "model", "fitting"} <= imported_units(ROOT / "__init__.py")
    assert {"errors", "model", "spectra"} <= imported_units(ROOT / "inference/problem.py")
    assert "libraries" in imported_units(ROOT / "cli/libraries.py")  # inside a function


def test_the_chain_needs_no_pictures_and_no_optimiser_of_others() -> None:
    """matplotlib and scikit-optimize are loaded by what draws and by `gp`, when asked to."""
    code = (
        "import sys, blase3d as b3; from blase3d.libraries import toy; "
        "b3.open_grid, b3.clone, b3.build, b3.infer; "
        "print(*{'matplotlib', 'skopt', 'sklearn', 'bokeh', 'panel'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
