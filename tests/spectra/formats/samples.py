"""One small file of each format that is read.

A `test_FORMAT.py` in this folder has a dictionary `SAMPLES` of its writers, by name. A writer
is given a folder and returns the path of the file that it wrote there, the options that
`read_spectrum` needs for it (a medium that the file does not state), and the spectrum that must
come out (`truth.expected`).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

Writer = Callable[[Path], tuple[Path, dict[str, Any], dict[str, Any]]]


def _collected() -> dict[str, Writer]:
    found: dict[str, Writer] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        if path.stem != "test_contract":
            module = import_module(f"tests.spectra.formats.{path.stem}")
            samples = getattr(module, "SAMPLES", {})
            assert not found.keys() & samples.keys(), f"a sample of {path} has a name twice"
            found |= samples
    return found


SAMPLES = _collected()
