"""One name for one thing: no two modules have a public-looking name alike for different things."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import blase3d

ROOT = Path(blase3d.__file__).parent
FAMILIES = (
    "libraries/readers",
    "spectra/formats",
    "lines/profiles",
    "lines/compositions",
    "inference/methods",
)
"""Folders whose members have the same functions or constants, for one contract."""
VERBS = "cli"
"""Its functions are the commands, named like the functions that they run."""
ALIKE = {
    "AXES": "labels of the toy universe, and of PHOENIX's box: each of its library",
    "describe": "the metadata of a library, and of an observation",
    "FORMAT": "the name that a form of file carries",
    "VERSION": "the version of a form of file",
    "META": "what a library states about itself",
    "LABELS": "names of the labels of a library",
    "GROUP": "the entry-point group of a family of readers",
    "READERS": "the readers of a family",
    "Labels": "the labels of a node, by name",
    "fwhm": "of a line; its profile computes it",
    "reach": "of a line; its profile computes it",
    "core": "of a line; its profile computes it",
}
"""Names that mean the same in different modules, each of its own file form or library."""


def names_of(code: str) -> Iterator[str]:
    """Names without an underscore that a module defines at its top level, type variables aside."""
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign) and "TypeVar" not in ast.unparse(node.value):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_") and len(name) > 1)


def home_of(path: Path) -> str:
    """The module, or the family or program that it is a member of."""
    name = path.relative_to(ROOT).as_posix()
    return next((one for one in (*FAMILIES, VERBS) if name.startswith(f"{one}/")), name)


def homes() -> dict[str, set[str]]:
    """Homes of each name."""
    found = defaultdict(set)
    for path in sorted(ROOT.rglob("*.py")):
        for name in names_of(path.read_text("utf-8")):
            found[name].add(home_of(path))
    return found


def test_no_two_modules_name_different_things_alike() -> None:
    alike = {
        name: sorted(where)
        for name, where in homes().items()
        if len(where - {VERBS}) > 1 and name not in ALIKE
    }
    assert alike == {}


def test_exceptions_are_needed() -> None:
    found = homes()
    assert [name for name in ALIKE if len(found[name]) < 2] == []


def test_names_are_seen() -> None:
    code = "A = 1\nB: int = 2\nx = 3\n_C = 4\ndef f_():\n    D = 5\nclass E1: pass\n"
    assert list(names_of(code)) == ["f_", "E1"]
    assert home_of(ROOT / "cli" / "app.py") == VERBS
    assert home_of(ROOT / "lines" / "render.py") == "lines/render.py"
