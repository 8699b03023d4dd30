"""What the commands share: the app, where it writes, and options of several of them."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Stellar spectra as lines that follow the labels: clone a library, infer a star.",
)
# What is printed is often of files, where [red] is no colour. Piped, tables need room.
out = Console(width=None if sys.stdout.isatty() else 120, markup=False)
err = Console(stderr=True, soft_wrap=True, markup=False)  # a sentence is one line


class Method(StrEnum):
    """How labels are found."""

    gradient = "gradient"
    gp = "gp"
    posterior = "posterior"


class Medium(StrEnum):
    """What wavelengths are measured in."""

    air = "air"
    vacuum = "vacuum"


Seed = typer.Option(min=0, max=2**32 - 1, help="Wherever chance plays.")
Wave = Annotated[str | None, typer.Option("--wave", metavar="LO:HI", help="Å, vacuum.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")]
Workers = Annotated[int, typer.Option(help="Processes; 0: one for every core.")]
MediumOption = Annotated[
    Medium | None, typer.Option(help="Of the wavelengths, where the file does not say.")
]
