"""The readers of this package in the registry of specutils."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import InputError
from . import READERS, read_spectrum
from .reader import SpectrumFile

_LABEL = "blase3d"
_PRIORITY = -20
"""Below that of all loaders of specutils: a file that one of them recognises is left to it."""


def register_specutils() -> None:
    """Let `specutils.Spectrum.read` open the formats of this package.

    specutils has no entry point for loaders, so this is called once in each program. A file that
    no loader of specutils recognises is then read by blase3D, and every other one with
    `format="blase3d"`. The options are those of `read_spectrum`.

    Examples
    --------
    >>> import blase3d as b3
    >>> import specutils
    >>> b3.register_specutils()
    >>> specutils.Spectrum.read("star.npz", format="blase3d").spectral_axis.unit
    Unit("Angstrom")
    """
    from specutils.io.registers import data_loader

    data_loader(_LABEL, identifier=_is_ours, priority=_PRIORITY, force=True)(_load)


def _load(path: Any, **options: Any) -> Any:
    return read_spectrum(Path(getattr(path, "name", path)), **options).to_specutils()


def _is_ours(origin: str, *args: Any, **_: Any) -> bool:
    """Whether a reader of this package recognises a file that specutils is to read."""
    path = Path(str(args[0]))
    if origin != "read" or not path.is_file():
        return False
    try:
        with SpectrumFile(path) as file:
            return READERS.choose(file, path).name != "specutils"
    except InputError:
        return False
