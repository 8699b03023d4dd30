"""The command line, in this process."""

from __future__ import annotations

import sys
from typing import NamedTuple

import pytest

from blase3d import cli


class Done(NamedTuple):
    """What a command has left behind."""

    status: int
    out: str
    err: str


def status_of(*words: object) -> int:
    """The status of `blase3d` with these words; the terminal is wide enough for any line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["blase3d", *map(str, words)])
        patch.setattr(cli.out, "_width", 300)
        patch.setattr(cli.err, "_width", 10_000)
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return int(ended.value.code or 0)
