"""The architecture is one ordered list: a module imports only modules above it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import blase3d

ROOT = Path(blase3d.__file__).parent
ORDER = (
    "errors",
    "units",
    "files",
    "progress",
    "profile",
    "render",
    "broaden",
    "continuum",
    "spectrum",
    "spectrum_io",
    "grid",
    "sources",
    "lines",
    "toy",
    "recipe",
    "normalise",
    "detect",
    "catalogue",
    "state_lines",
    "cloning",
    "manifold",
    "surface",
    "functions",
    "surface_fit",
    "farm",
    "zarr_io",
    "archive",
    "states_import",
    "emulator",
    "borrowing",
    "residual",
    "observation",
    "model",
    "error_model",
    "model_file",
    "joint",
    "pipeline",
    "building",
    "line_changes",
    "information",
    "identify",
    "inference",
    "comparison",
    "tuning",
    "validate",
    "report",
    "figures",
    "explore",
    "demo",
    "cli",
    "__init__",
)
"""From what knows nothing to what knows everything. Families (folders) count as one."""


def unit_of(path: Path) -> str:
    """The module, or the family, that a file belongs to."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported_units(path: Path) -> set[str]:
    """Modules and families of the package that a file imports, wherever it does so."""
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


FILES = sorted(path for path in ROOT.rglob("*.py") if "data" not in path.parts)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_modules_above_it(path):
    unit = unit_of(path)
    assert unit in ORDER, f"give {unit} its place in the list"
    above = set(ORDER[: ORDER.index(unit)])
    assert imported_units(path) - {unit} <= above


def test_the_parser_sees_imports():
    assert {"errors", "grid", "model", "pipeline", "recipe"} <= imported_units(ROOT / "__init__.py")
    assert {"errors", "model", "spectrum"} <= imported_units(ROOT / "inference/problem.py")
    assert "sources" in imported_units(ROOT / "cli/libraries.py")  # inside a function


def test_nothing_is_listed_twice():
    assert len(set(ORDER)) == len(ORDER)


def test_the_chain_needs_no_pictures_and_no_optimiser_of_others():
    """matplotlib and scikit-optimize are loaded by what draws and by `gp`, when asked to."""
    modules = "archive, cloning, grid, inference, model, pipeline, sources, toy"
    code = (
        f"import sys; from blase3d import {modules}; "
        "print(*{'matplotlib', 'skopt', 'sklearn', 'bokeh', 'panel'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
