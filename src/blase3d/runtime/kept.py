"""Results that are kept in the cache folder, so that later processes start faster."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .files import replacing, user_cache_folder

VARIABLE = "BLASE3D_COMPILED"
"""Environment variable: `off` keeps nothing."""
_MOST = 500_000_000
"""Bytes of the arrays of a folder that are kept, those of the latest use."""
_DAMAGE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)
"""Exceptions of NumPy on damaged files."""


def is_keeping() -> bool:
    """Return whether results are kept."""
    return os.environ.get(VARIABLE) != "off"


def kept_arrays(
    folder: str, inputs: Iterable[NDArray[Any]], compute: Callable[[], Sequence[NDArray[Any]]]
) -> list[NDArray[Any]]:
    """Return `compute()`, or what an earlier process computed from the same inputs.

    Parameters
    ----------
    folder : str
        Name in the cache folder.
    inputs : iterable of arrays
        All that the result depends on, apart from the code of this package.
    compute : callable
        Computes the arrays.
    """
    if not is_keeping():
        return list(compute())
    path = user_cache_folder() / folder / f"{_digest(inputs)}.npz"
    with suppress(*_DAMAGE):  # also where there is none
        with path.open("rb") as stored, np.load(stored, allow_pickle=False) as file:
            found = [file[name] for name in file.files]
        os.utime(path)
        return found
    found = list(compute())
    with suppress(OSError, InputError):  # a cache that cannot be written is no fault
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, partial.open("wb") as stream:
            np.savez(stream, *found)
        trim(path.parent, _MOST)
    return found


def trim(folder: Path, most: int) -> None:
    """Delete files of the earliest use beyond `most` bytes."""
    size = 0
    with suppress(OSError):  # another process may delete it too
        for path in sorted(folder.iterdir(), key=_last_use, reverse=True):
            size += path.stat().st_size
            if size > most:
                path.unlink(missing_ok=True)


def _last_use(path: Path) -> float:
    about = path.stat()
    return max(about.st_atime, about.st_mtime)


def _digest(inputs: Iterable[NDArray[Any]]) -> str:
    total = hashlib.sha256(digest_of_code())
    for values in inputs:
        plain = np.ascontiguousarray(values)
        total.update(f"{plain.dtype}{plain.shape}".encode())
        total.update(plain.data)
    return total.hexdigest()


@cache
def digest_of_code() -> bytes:
    """Return a digest of the code of this package: what another version computed may differ."""
    total = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        total.update(path.read_bytes())
    return total.digest()
