"""Shared by all readers and writers of files: safe loading, atomic writing, media, units, JSON.

Nothing here depends on the content of a file. Failures are raised as the subclass of `InputError`
that the caller passes.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from .units import air_to_vacuum

MEDIA = ("air", "vacuum")
"""The media in which a wavelength may be stated."""
MEDIUM_OPTION = "with --medium air or --medium vacuum"
"""The options of a medium that most commands have, in messages."""

LARGEST_SPECTRUM = 2**30
"""Bytes of the largest file of one spectrum, unpacked: a hundred times an echelle spectrum."""
_MOST_ENTRIES = 100_000
"""Most entries of the header of a table."""
_MOST_CHUNKS = 1 << 20
"""Most chunks of a Zarr array; they can be listed in a second."""

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
"""Exceptions of zipfile and NumPy on damaged files."""

CACHE_VARIABLE = "BLASE3D_CACHE"
"""Environment variable with the path of the cache folder."""


def user_cache_folder() -> Path:
    """Return the folder for downloads: BLASE3D_CACHE, or that of the platform."""
    stated = os.environ.get(CACHE_VARIABLE)
    return (Path(stated) if stated else platformdirs.user_cache_path("blase3d")).expanduser()


def no_folder(path: Path) -> bool:
    """Return False: by default no folder with content is replaced."""
    return False


def require_distinct(*paths: Path | None) -> None:
    """Raise `InputError` if two files of a command, its outputs last, are the same one."""
    for other, output in combinations(filter(None, paths), 2):
        if other.resolve() == output.resolve():
            raise InputError(
                f"got {other} and the output {output}, expected two files: one would be lost; give "
                "another name."
            )


def require_writable(path: Path, replaceable: Callable[[Path], bool] = no_folder) -> None:
    """Raise `InputError` unless `replacing` could write to `path`. Call it before long work."""
    if not path.name:
        raise InputError(f"got output {path}, expected the name of a file; give one.")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} to; make it.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(
            f"the folder {path.parent} is not writeable; give another, or change its permissions."
        )
    if path.is_dir() and any(path.iterdir()) and not replaceable(path):
        raise InputError(
            f"{path} is a folder with content, which would be lost; give another name."
        )
    if path.exists() and not path.is_dir() and not path.is_file():
        raise InputError(f"{path} is a device or the like, expected the name of a file; give one.")


def make_folder(path: Path) -> None:
    """Make a folder and its parents, unless it exists; raise `InputError` if it is a file."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file, expected a folder; give another name.")
    path.mkdir(parents=True, exist_ok=True)


@contextmanager
def replacing(path: Path, replaceable: Callable[[Path], bool] = no_folder) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write a file or folder to; rename it at the end.

    A failure or an interruption leaves `path` as it was. A folder is replaced only if it is empty
    or `replaceable`.
    """
    require_writable(path, replaceable)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield partial
        if path.is_dir() and not path.is_symlink():  # cannot be replaced in one step
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
        raise error(f"there is no file {path}; check the name.")
    if not path.is_file():
        raise error(f"{path} is a folder, expected a file; check the name.")


def memory() -> int:
    """Return the bytes of this machine's memory; 64 GiB if they are unknown."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 2**36


def check_size(declared: int, what: str, error: type[InputError], most: int | None = None) -> None:
    """Raise `error` if a file declares more than `most` bytes (by default, those of the memory).

    A few bytes can declare any number, or unpack to a thousand times as many.
    """
    limit = memory() if most is None else most
    if declared > limit:
        raise error(
            f"{what} declares {declared / 1e9:.3g} GB, expected at most {limit / 1e9:.3g} GB: it "
            "is damaged or of another kind; make or copy it again."
        )


def check_array(array: Any, what: str, error: type[InputError]) -> None:
    """Raise `error` if a Zarr array declares more bytes or chunks than can be read."""
    check_size(array.nbytes, what, error)
    if array.nchunks > _MOST_CHUNKS:
        raise error(
            f"{what} declares {array.nchunks} chunks, expected at most {_MOST_CHUNKS}: it is "
            "damaged; make or copy it again."
        )


def refuse_links(folder: Path, error: type[InputError]) -> None:
    """Raise `error` if there is a symbolic link below a folder.

    Through a link, files elsewhere would be read, written and removed.
    """
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            if os.path.islink(path):
                raise error(
                    f"{folder} holds the link {os.path.relpath(path, folder)}, expected files and "
                    "folders only; replace it by its target."
                )


def check_version(
    number: object, versions: range, path: object, maker: str, error: type[InputError]
) -> None:
    """Raise `error`, with the remedy, unless `number` is in `versions`."""
    if isinstance(number, int) and not isinstance(number, bool) and number in versions:
        return
    later = isinstance(number, int) and number > versions[-1]
    read = " or ".join(map(str, versions))
    cure = "upgrade blase3d" if later else f"make it again with {maker}"
    raise error(f"{path} has format version {number!r}, this blase3d reads {read}; {cure}.")


def settle_version(
    meta: dict[str, Any], form: str, latest: int, path: Path, error: type[InputError]
) -> None:
    """Remove format and version from `meta`; raise `error` if this format has a later version.

    Files of other programs state neither.
    """
    if meta.get("format") == form:
        check_version(meta.pop("version", None), range(1, latest + 1), path, "blase3d", error)
        del meta["format"]


def load_npz(
    path: Path, error: type[InputError], most: int | None = None
) -> dict[str, NDArray[Any]]:
    """Return all arrays of an .npz file of at most `most` bytes, without unpickling anything."""
    require_file(path, error)
    if not zipfile.is_zipfile(path):
        raise error(
            f"{path} is no .npz file, or one cut short; make or copy it again, "
            "or correct its ending."
        )
    try:
        with zipfile.ZipFile(path) as entries:
            declared = sum(entry.file_size for entry in entries.infolist())
        check_size(declared, str(path), error, most)
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except _DAMAGE as failure:
        raise error(
            f"{path} cannot be read as an .npz file of plain arrays ({first_line(failure)}): "
            "it is damaged; make or copy it again."
        ) from failure


def printable(text: object) -> str:
    """Return text for the terminal, without control characters."""
    return "".join(c for c in str(text) if c.isprintable() or c == "\n")


def first_line(failure: BaseException) -> str:
    """Return the first line of the message of an exception."""
    return str(failure).strip().split("\n")[0].rstrip(".") or type(failure).__name__


def parse_meta(value: object, path: Path, error: type[InputError]) -> dict[str, Any]:
    """Return the dictionary in a JSON text (str, or array with one), or in a mapping."""
    if isinstance(value, Mapping):
        return dict(value)
    text = np.asarray(value).item() if np.size(np.asarray(value)) == 1 else None
    try:  # NaN, which JSON does not have, becomes null
        words = text.decode() if isinstance(text, bytes) else str(text)
        meta = json.loads(words, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        meta = None
    if not isinstance(meta, dict):
        raise error(f"{path} has a meta that is not a JSON object; write it with json.dumps.")
    return meta


def check_expanse(value: object, path: Path, error: type[InputError]) -> None:
    """Raise `error` if a header has too many entries.

    In YAML, a few lines that refer to each other can expand to billions.
    """
    waiting, count = [value], 0
    while waiting and count < _MOST_ENTRIES:
        item = waiting.pop()
        count += 1
        if isinstance(item, Mapping):
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item
    if waiting:
        raise error(f"{path} has a header of more than {_MOST_ENTRIES} entries; shorten it.")


def plain(value: object) -> Any:
    """Return `value` with NumPy scalars and arrays as plain values for JSON."""
    return json.loads(json.dumps(value, default=_jsonable))


def _jsonable(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def settle_medium(stated: object, asked: str | None, path: Path, error: type[InputError]) -> str:
    """Return the medium of a file's wavelengths: that stated in it, else that of the user."""
    if asked is not None and asked not in MEDIA:
        raise error(f"got medium {asked!r}, expected air or vacuum.")
    known = str(stated).strip().lower() if stated is not None else None
    if known in MEDIA:
        if asked is not None and asked != known:
            raise error(
                f"{path} states wavelengths in {known} but {asked} was asked for; "
                f"leave out the medium, or correct the file."
            )
        return str(known)
    if asked is None:
        found = "states no medium" if stated is None else f"has medium {stated!r}"
        raise error(
            f"{path} {found} for its wavelengths, expected air or vacuum; give it {MEDIUM_OPTION} "
            "(medium=... in Python)."
        )
    return asked


def to_vacuum(wavelength: ArrayLike, medium: str) -> NDArray[np.float64]:
    """Return vacuum wavelengths (Å) of wavelengths (Å) in `medium`."""
    values = np.asarray(wavelength, dtype=np.float64)
    return air_to_vacuum(values) if medium == "air" else values


def to_angstrom(
    values: ArrayLike, unit: object, path: Path, error: type[InputError]
) -> NDArray[np.float64]:
    """Return wavelengths in Å; without a unit, they are in Å."""
    from astropy import units

    try:
        scaled = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as failure:
        raise error(
            f"{path} has wavelengths that are not numeric ({first_line(failure)}); give one number "
            "per pixel."
        ) from failure
    if unit is None or not str(unit).strip():
        return scaled
    try:
        factor = float(units.Unit(unit).to(units.AA))
    except (ValueError, TypeError) as failure:
        raise error(
            f"{path} has wavelengths in {str(unit)!r}, expected a unit of length; correct it."
        ) from failure
    return scaled if factor == 1.0 else scaled * factor
