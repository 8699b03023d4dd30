"""The command line: each command parses its options, calls the library and prints the result.

Results go to stdout, progress and messages to stderr. Exit status: 0 success, 1 faulty input (one
sentence on stderr), 2 wrong usage. Options that commands share are in `options`.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import typer

from ..errors import Blase3dError
from .calibration import calibrate
from .demo import demo
from .figures import figures
from .libraries import fetch, grid, import_states
from .lines import explore, lines
from .models import build, clone, models, validate
from .spectrum import spectrum
from .stars import infer, synth, tune
from .support import complain, ended_by_sigterm, err, out, settle_environment
from .terminal import Quiet, Verbose, Version, settle_encoding, with_output_options

__all__ = ["app", "err", "main", "out"]

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

_VERBS = {
    "Start": (demo,),
    "Library": (fetch, grid),
    "Model": (clone, build, validate, models),
    "Star": (synth, spectrum, infer, tune, calibrate),
    "Views": (lines, figures, explore),
    "Import": (import_states,),
}
"""Commands in the order of the chain, by the heading of the help they are listed under."""

for _heading, _commands in _VERBS.items():
    for _command in _commands:
        app.command(rich_help_panel=_heading)(with_output_options(_command))


@app.callback()
def _options(version: Version = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Stellar spectra as lines that depend on the labels: model a library, label a star."""


def main() -> None:
    """Run the command line; errors of input, disk and memory are printed as one sentence."""
    settle_environment()
    settle_encoding()
    err.quiet = False
    try:
        with ended_by_sigterm(), warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]  # takes any
            app()
    except Blase3dError as error:
        sentence = str(error)
    except OSError as error:
        sentence = f"{error}; check the path and the disk."
    except MemoryError as error:
        sentence = f"out of memory ({error}); use fewer workers or a shorter --wave."
    else:
        return
    complain(f"blase3d: {sentence}")
    sys.exit(1)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    """Print a warning on one line, without the place in the code; none to developers, which some
    libraries let through."""
    if not issubclass(category, DeprecationWarning):
        err.print(f"warning: {message}", style="yellow", highlight=False)
