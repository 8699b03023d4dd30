"""Benchmarks: scripts that start, import only what exists, and import each other in no circle."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import subprocess
import sys
from contextlib import suppress
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(FOLDER.glob("*.py"))
each = pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)


def imports(path: Path) -> list[tuple[str, list[str]]]:
    """Modules that a script imports, also inside its functions, with the names it takes."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.module, [alias.name for alias in node.names]))
        elif isinstance(node, ast.Import):
            found += [(alias.name, []) for alias in node.names]
    return found


@each
def test_a_benchmark_shows_its_options(path, monkeypatch, capfd):
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.setattr(sys, "argv", [path.name, "--help"])
    spec.loader.exec_module(module)
    with suppress(SystemExit):
        module.main()
    assert "usage" in capfd.readouterr().out.lower()


@each
def test_what_a_benchmark_imports_in_its_functions_exists(path):
    for module, names in imports(path):
        if module.split(".")[0] == "blase3d":
            home = importlib.import_module(module)
            for name in names:
                assert hasattr(home, name) or importlib.util.find_spec(f"{module}.{name}"), name


def test_benchmarks_import_each_other_in_no_circle():
    stems = {path.stem for path in SCRIPTS}
    graph = {path.stem: {module for module, _ in imports(path)} & stems for path in SCRIPTS}
    assert graph["states"] >= {"commands"}
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.long
def test_the_memory_of_a_verb_is_measured(tmp_path):
    words = ["--only", "small", "--verbs", "grid", "--json", tmp_path / "memory.json"]
    subprocess.run([sys.executable, FOLDER / "memory.py", *words], check=True)
    row = json.loads((tmp_path / "memory.json").read_text())["small"]["grid"]
    assert row["nodes"] == 12
    assert 50 < row["peak_mb"] < 2000
