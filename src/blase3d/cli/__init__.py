"""The command line: each command parses its options, calls the library and prints the result.

Results go to stdout, progress and messages to stderr. Exit status: 0 success, 1 faulty input (one
sentence on stderr), 2 wrong usage. Options that commands share are in `options`.
"""

from __future__ import annotations

import sys

import typer

from ..errors import Blase3dError
from .demo import demo
from .figures import figures
from .libraries import fetch, grid, import_states
from .lines import explore, lines
from .models import build, clone, validate
from .stars import infer, synth, tune
from .support import err, keep_compilations, out

__all__ = ["app", "err", "main", "out"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Stellar spectra as lines that depend on the labels: model a library, label a star.",
)

_VERBS = {
    "Start": (demo,),
    "Library": (fetch, grid),
    "Model": (clone, build, validate),
    "Star": (synth, infer, tune),
    "Views": (lines, figures, explore),
    "Import": (import_states,),
}
"""Commands in the order of the chain, by the heading of the help they are listed under."""

for _heading, _commands in _VERBS.items():
    for _command in _commands:
        app.command(rich_help_panel=_heading)(_command)


def main() -> None:
    """Run the command line; errors of input, disk and memory are printed as one sentence."""
    keep_compilations()
    try:
        app()
    except Blase3dError as error:
        sentence = str(error)
    except OSError as error:
        sentence = f"{error}; check the path and the disk."
    except MemoryError as error:
        sentence = f"out of memory ({error}); use fewer workers or a shorter --wave."
    else:
        return
    err.print(f"blase3d: {sentence}", style="red", highlight=False)
    sys.exit(1)
