"""What all readers and writers of files share: safe loading, atomic writing, media, JSON.

Nothing here knows what a file means. Every failure is raised as the `InputError` that the caller
names, in one sentence.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import ArrayLike, NDArray

from .errors import InputError
from .units import air_to_vacuum

MEDIA = ("air", "vacuum")
"""The media in which a wavelength may be stated."""

# What zipfile and numpy raise between them on damaged files.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


CACHE_VARIABLE = "BLASE3D_CACHE"
"""The environment variable that says where what can be had again is kept."""


def cache_folder() -> Path:
    """Where what can be had again is kept: BLASE3D_CACHE, else the platform's cache folder."""
    stated = os.environ.get(CACHE_VARIABLE)
    return (Path(stated) if stated else platformdirs.user_cache_path("blase3d")).expanduser()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary sibling of `path` to write to, file or folder, which takes its place at the end.

    A failure or an interruption leaves what was at `path` as it was.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield partial
        if path.is_dir():  # a folder cannot be replaced in one step: set it aside first
            old = partial.with_suffix(".old")
            os.replace(path, old)
            os.replace(partial, path)
            shutil.rmtree(old)
        else:
            os.replace(partial, path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def require_file(path: Path, error: type[InputError]) -> None:
    """Raise `error` unless `path` is a file."""
    if not path.exists():
        raise error(f"There is no file {path}: check the name.")
    if not path.is_file():
        raise error(f"{path} is a folder, expected a file: check the name.")


def load_npz(path: Path, error: type[InputError]) -> dict[str, NDArray[Any]]:
    """All arrays of an .npz file, without unpickling anything."""
    require_file(path, error)
    if not zipfile.is_zipfile(path):
        raise error(
            f"{path} is no .npz file, or one cut short: make or copy it again, "
            "or give it the ending of what it is."
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except _DAMAGE as failure:
        raise error(
            f"{path} cannot be read as an .npz file of plain arrays ({first_line(failure)}): "
            "it is damaged; make or copy it again."
        ) from failure


def first_line(failure: BaseException) -> str:
    """What a foreign exception says, in one line."""
    return str(failure).strip().split("\n")[0].rstrip(".") or type(failure).__name__


def parse_meta(value: object, path: Path, error: type[InputError]) -> dict[str, Any]:
    """The dictionary in a JSON text (a str or an array holding one), or in a mapping."""
    if isinstance(value, Mapping):
        return dict(value)
    text = np.asarray(value).item() if np.size(np.asarray(value)) == 1 else None
    try:
        meta = json.loads(text.decode() if isinstance(text, bytes) else str(text))
    except ValueError:
        meta = None
    if not isinstance(meta, dict):
        raise error(f"{path} has a meta that is not a JSON object: write it with json.dumps.")
    return meta


def plain(value: object) -> Any:
    """`value` with numpy scalars and arrays turned into what JSON can hold."""
    return json.loads(json.dumps(value, default=_jsonable))


def _jsonable(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def settle_medium(stated: object, asked: str | None, path: Path, error: type[InputError]) -> str:
    """The medium of a file's wavelengths: as the file states it, else as the user does."""
    if asked is not None and asked not in MEDIA:
        raise error(f"Got medium {asked!r}, expected air or vacuum.")
    known = str(stated).strip().lower() if stated is not None else None
    if known in MEDIA:
        if asked is not None and asked != known:
            raise error(
                f"{path} states wavelengths in {known} but {asked} was asked for: "
                f"leave the medium out, or correct the file."
            )
        return str(known)
    if asked is None:
        said = "does not say" if stated is None else f"says {stated!r}, which is no answer to"
        raise error(
            f"{path} {said} whether its wavelengths are in air or vacuum: "
            "say which with --medium air or --medium vacuum (medium=... in Python)."
        )
    return asked


def to_vacuum(wavelength: ArrayLike, medium: str) -> NDArray[np.float64]:
    """Wavelengths (Å) in vacuum, of wavelengths (Å) in `medium`."""
    values = np.asarray(wavelength, dtype=np.float64)
    return air_to_vacuum(values) if medium == "air" else values
