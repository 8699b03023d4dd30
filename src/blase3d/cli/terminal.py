"""Terminals: options that all commands have, amount of output, and characters that are missing."""

from __future__ import annotations

import codecs
import inspect
import logging
import sys
from collections.abc import Callable
from functools import wraps
from importlib.metadata import version
from typing import Annotated, Any

import typer

from ..runtime.characters import PLAIN
from .support import err


def plain_characters(failure: UnicodeError) -> tuple[str | bytes, int]:
    """Replace characters that an encoding does not have: an error handler of `codecs`."""
    if not isinstance(failure, UnicodeEncodeError):
        raise failure
    bad = failure.object[failure.start : failure.end]
    return "".join(PLAIN.get(character, "?") for character in bad), failure.end


def settle_encoding() -> None:
    """Let stdout and stderr replace characters that their encoding does not have."""
    codecs.register_error("blase3d.plain", plain_characters)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a notebook's stream has none
        if reconfigure is not None:
            reconfigure(errors="blase3d.plain")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"blase3d {version('blase3d')}")
        raise typer.Exit


def _be_quiet(wanted: bool) -> None:
    if wanted:
        err.quiet = True


def _be_verbose(wanted: bool) -> None:
    if wanted:
        from rich.logging import RichHandler

        log = logging.getLogger("blase3d")
        if not any(isinstance(handler, RichHandler) for handler in log.handlers):
            log.addHandler(RichHandler(console=err, show_path=False))
        log.setLevel(logging.DEBUG)


Version = Annotated[
    bool,
    typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "-q", "--quiet", help="Print results and errors alone: no progress.", callback=_be_quiet
    ),
]
Verbose = Annotated[
    bool,
    typer.Option("-v", "--verbose", help="Log every step to stderr.", callback=_be_verbose),
]


def with_output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options --quiet and --verbose, which act when they are parsed."""

    @wraps(command)
    def run(*args: Any, quiet: bool, verbose: bool, **named: Any) -> Any:
        del quiet, verbose
        return command(*args, **named)

    signature = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in (("quiet", Quiet), ("verbose", Verbose))
    ]
    parameters = [*signature.parameters.values(), *added]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run
