"""The command line: parse, call, print.

Results go to stdout, progress and messages to stderr. Exit status: 0 done, 1 the input is at
fault (one sentence on stderr), 2 wrong usage.
"""

from __future__ import annotations

import sys

from ..errors import Blase3dError
from . import demo, figures, libraries, lines, models, stars  # in the order of the help
from .app import app, err, out
from .support import keep_compilations

__all__ = ["app", "demo", "err", "figures", "libraries", "lines", "main", "models", "out", "stars"]


def main() -> None:
    """Run the command line; errors of blase3D, of the disk and of the memory become a sentence."""
    keep_compilations()
    try:
        app()
    except Blase3dError as error:
        err.print(f"blase3d: {error}", style="red", highlight=False)
        sys.exit(1)
    except OSError as error:
        err.print(f"blase3d: {error}; check the path and the disk.", style="red")
        sys.exit(1)
    except MemoryError as error:
        err.print(
            f"blase3d: the memory does not suffice ({error}); give less at once: fewer workers, or "
            "a part of the wavelengths (--wave).",
            style="red",
        )
        sys.exit(1)
