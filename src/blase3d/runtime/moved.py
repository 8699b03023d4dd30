"""Former names, and modules that have moved, work for one more version.

Importing an old path gives the module of the new one, with a DeprecationWarning that names it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_PACKAGE = "blase3d."
REMOVED_IN = "0.3"
"""Version that removes all former names and paths."""

_MOVED = {
    "archive": "fitting.archive",
    "building": "fitting.build",
    "comparison": "analysis.comparison",
    "demo": "libraries.packaged",
    "explore": "views.dashboard",
    "farm": "runtime.executor",
    "figures": "views.figures",
    "grid": "libraries.grid",
    "identify": "analysis.identify",
    "model_file": "model.model_file",
    "pipeline": "fitting.clone_grid",
    "report": "views.report",
    "sources": "libraries",
    "sources.files": "libraries.readers.spectrum_files",
    "spectrum": "spectra.spectrum",
    "spectrum_io": "spectra.formats",
    "toy": "libraries.toy",
    "tuning": "analysis.tuning",
    "units": "runtime.units",
    "validate": "analysis.validation",
}
"""Old and new path of every module that the documentation of the last version names."""


class _MovedFinder(MetaPathFinder, Loader):
    """Finds modules by their old paths; submodules of a moved package included."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(_PACKAGE) or _new_path(name) is None:
            return None
        return ModuleSpec(name, self)

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        new = _new_path(old)
        assert new is not None
        warn_of_former(f"{old} has moved; import {new}")
        sys.modules[old] = import_module(new)


def warn_of_former(message: str, stacklevel: int = 2) -> None:
    """Give the DeprecationWarning of a former name, with the version that removes it.

    `message` states the new name, and `stacklevel` is that of the caller, as of `warnings.warn`.
    """
    warnings.warn(
        f"{message}. Version {REMOVED_IN} no longer takes the old form.",
        DeprecationWarning,
        stacklevel=stacklevel + 1,
    )


def _new_path(name: str) -> str | None:
    """The new path of a module, or None if it has not moved."""
    old, submodule = name.removeprefix(_PACKAGE), ""
    while old:
        if old in _MOVED:
            return f"{_PACKAGE}{_MOVED[old]}{submodule}"
        old, dot, last = old.rpartition(".")
        submodule = f"{dot}{last}{submodule}"
    return None


def keep_old_paths() -> None:
    """Make old paths importable. Called once, when blase3d is imported."""
    sys.meta_path.insert(0, _MovedFinder())
