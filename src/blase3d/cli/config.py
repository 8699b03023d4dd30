"""Settings in a TOML file: values of the options of a command, which those given there replace."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError
from ..runtime.files import first_line


def _settle(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values in a file the defaults of the command."""
    if path is not None:
        options: dict[str, Any] = {
            name.lstrip("-"): option
            for option in context.command.params
            if option.param_type_name == "option"
            for name in option.opts
            if name.startswith("--") and name not in ("--config", "--help")
        }
        context.default_map = {
            options[name].name: _value(value, options[name].multiple)
            for name, value in _read(path, options).items()
        }
    return path


def _read(path: Path, options: dict[str, Any]) -> dict[str, Any]:
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as failure:
        raise InputError(
            f"{path} cannot be read as settings ({first_line(failure)}); expected TOML, such as "
            'model = "vis"; correct it.'
        ) from None
    found = {name.replace("_", "-"): value for name, value in found.items()}
    if unknown := sorted(found.keys() - options.keys()):
        raise InputError(
            f"{path} has {unknown[0]!r}, expected names of options: {', '.join(sorted(options))}; "
            "correct it."
        )
    return found


def _value(value: Any, repeatable: bool) -> Any:
    """A value as the parser takes it; that of a repeatable option is a list. A table becomes
    NAME=VALUE."""
    if isinstance(value, dict):
        return [f"{name}={one}" for name, one in value.items()]
    return [value] if repeatable and not isinstance(value, list) else value


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file with values of these options, by their long names; options that are given "
        "take precedence.",
        callback=_settle,
        is_eager=True,
    ),
]
