"""Verbs, options and defaults of the command line are those that users' scripts rely on."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer

from blase3d import cli

STORED = Path(__file__).with_name("command_surface.json")
"""What each verb takes, as `surface` returns it. Help texts are not in it."""

CHAIN = (
    *("demo", "fetch", "grid", "clone", "build", "validate", "synth", "infer", "tune"),
    *("lines", "figures", "explore", "import-states"),
)


def surface() -> dict[str, dict[str, Any]]:
    """Arguments and options of every verb, by their names in Python."""
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    found = {}
    for info in cli.app.registered_commands:
        assert info.callback is not None
        verb = info.name or info.callback.__name__.replace("_", "-")
        hints = get_type_hints(info.callback, include_extras=True)
        found[verb] = {
            parameter.name: described(parameter, hints[parameter.name])
            for parameter in commands[verb].params
            if parameter.name in hints
        }
    return dict(sorted(found.items()))


def described(parameter: Any, hint: Any) -> dict[str, Any]:
    """One argument or option of a verb."""
    annotated, info = get_args(hint)
    default = parameter.default
    if isinstance(default, Enum | Path):
        default = default.value if isinstance(default, Enum) else str(default)
    return {
        "names": sorted([*parameter.opts, *parameter.secondary_opts]),
        "required": parameter.required,
        "many": parameter.multiple or parameter.nargs != 1,
        "type": kind_of(annotated),
        "range": [info.min, info.max],
        "default": default if isinstance(default, bool | int | float | str) else None,
    }


def kind_of(annotated: Any) -> str | list[str]:
    """The name of a type without None and list, or the choices of an enumeration."""
    while inner := [kind for kind in get_args(annotated) if kind is not type(None)]:
        (annotated,) = inner
    if issubclass(annotated, Enum):
        return [str(choice.value) for choice in annotated]
    return str(annotated.__name__)


def ordered(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Arguments in their order, without names, which nobody types; then options by name."""
    options = [p for p in parameters.values() if p["names"][0].startswith("-")]
    arguments = [{**p, "names": []} for p in parameters.values() if p not in options]
    return [*arguments, *sorted(options, key=lambda p: p["names"])]


def test_verbs_options_and_defaults_are_those_of_the_last_version() -> None:
    found, stored = surface(), json.loads(STORED.read_text("utf-8"))
    assert set(found) == set(stored)
    for verb, parameters in stored.items():
        assert ordered(found[verb]) == ordered(parameters), verb


def test_the_help_lists_the_verbs_in_the_order_of_the_chain() -> None:
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    assert tuple(commands) == CHAIN
