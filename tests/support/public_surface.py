"""The public surface as plain data: names, signatures, attributes, commands and entry points.

`python tests/support/public_surface.py tuning.tune ... > tests/regression/public.json` stores that
of this version, with the names that are imported from modules.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

import blase3d
from blase3d import cli

ROOT = Path(blase3d.__file__).parents[2]


def public_surface(beside: tuple[str, ...]) -> dict[str, Any]:
    """The surface of the package, with the names `beside` b3.__all__ as "module.name"."""
    objects = {name: getattr(blase3d, name) for name in blase3d.__all__}
    for path in beside:
        objects[path] = imported(path)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return {
        "names": {name: described(value) for name, value in objects.items()},
        "commands": commands(),
        "scripts": sorted(project["scripts"]),
        "entry_points": {k: sorted(v) for k, v in project.get("entry-points", {}).items()},
        "extras": sorted(project["optional-dependencies"]),
    }


def imported(path: str) -> Any:
    """A public name of the package, or "module.name"."""
    home, _, name = path.rpartition(".")
    return getattr(import_module(f"blase3d.{home}") if home else blase3d, name)


def described(value: Any) -> dict[str, Any]:
    """Parameters and public attributes of a function, a class, or an instance."""
    found: dict[str, Any] = {}
    if callable(value):
        found["parameters"] = parameters(value)
    if not inspect.isfunction(value):
        found["attributes"] = attributes(value)
    if inspect.isclass(value):
        methods = {n: inspect.getattr_static(value, n, None) for n in found["attributes"]}
        functions = {n: f for n, f in methods.items() if inspect.isfunction(f)}
        found["methods"] = {name: parameters(function) for name, function in functions.items()}
    return found


def attributes(value: Any) -> list[str]:
    """Names without an underscore, fields included."""
    fields = (
        {f.name for f in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else set()
    )
    inherited = {name for base in (Exception, object) for name in dir(base)}
    return sorted(n for n in {*dir(value), *fields} - inherited if not n.startswith("_"))


def parameters(function: Any) -> list[list[Any]]:
    """Name, kind and default of each parameter; the default as text, None if there is none."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # pragma: no cover - of some classes of C
        return []
    return [
        [p.name, p.kind.name, None if p.default is p.empty else plain(p.default)]
        for p in signature.parameters.values()
    ]


def plain(default: Any) -> str:
    """A default as text that is the same in every process."""
    text = repr(default)
    return type(default).__name__ if " at 0x" in text or len(text) > 60 else text


def commands() -> dict[str, dict[str, list[Any]]]:
    """Every verb: its options, by their names, and arguments, by their order.

    Of each, whether it is required, how many values it takes, whether it can be repeated, and its
    default.
    """
    group: Any = typer.main.get_command(cli.app)
    found: dict[str, dict[str, list[Any]]] = {}
    for verb, command in group.commands.items():
        found[verb] = {}
        arguments = [p for p in command.params if not p.opts[0].startswith("-")]
        for p in command.params:
            name = "/".join([*p.opts, *p.secondary_opts])
            if p in arguments:
                name = f"argument {arguments.index(p)}"
            default = getattr(p.default, "value", p.default)
            default = str(default) if isinstance(default, Path) else default
            found[verb][name] = [p.required, p.nargs, bool(getattr(p, "multiple", False)), default]
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(public_surface(tuple(sys.argv[1:])), sort_keys=True))
