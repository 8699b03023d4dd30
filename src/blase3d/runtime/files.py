"""What all readers and writers of files share: safe loading, atomic writing, media, units, JSON.

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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..units import air_to_vacuum

MEDIA = ("air", "vacuum")
"""The media in which a wavelength may be stated."""

LARGEST_SPECTRUM = 2**30
"""Bytes of the largest file of one spectrum, unpacked: a hundred times what an echelle gives."""
_MOST_ENTRIES = 100_000
_MOST_CHUNKS = 1 << 20
"""Chunks of an array that can be listed in a second."""

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


def no_folder(path: Path) -> bool:
    """Whether a folder may be replaced: none may, what is in it would be lost."""
    return False


def require_writable(path: Path, replaceable: Callable[[Path], bool] = no_folder) -> None:
    """Raise unless `replacing` could write to `path`: better before the work than after it."""
    if not path.name:
        raise InputError(f"Got the name {path} for an output, expected that of a file: give one.")
    if not path.parent.is_dir():
        raise InputError(f"There is no folder {path.parent} to write {path.name} to: make it.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(
            f"The folder {path.parent} cannot be written to: give another, or the right to."
        )
    if path.is_dir() and any(path.iterdir()) and not replaceable(path):
        raise InputError(
            f"{path} is a folder with something in it, which would be lost: give another name."
        )
    if path.exists() and not path.is_dir() and not path.is_file():
        raise InputError(f"{path} is a device or the like, expected the name of a file: give one.")


@contextmanager
def replacing(path: Path, replaceable: Callable[[Path], bool] = no_folder) -> Iterator[Path]:
    """A temporary sibling of `path` to write to, file or folder, which takes its place at the end.

    A failure or an interruption leaves what was at `path` as it was. A folder is replaced if there
    is nothing in it, or it is `replaceable`.
    """
    require_writable(path, replaceable)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield partial
        if path.is_dir() and not path.is_symlink():  # not to be replaced in one step: set it aside
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


def memory() -> int:
    """Bytes of this machine's memory; 64 GiB where it does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 2**36


def check_size(declared: int, what: str, error: type[InputError], most: int | None = None) -> None:
    """Raise `error` if a file declares more bytes than can be meant (`most`; the memory if None):
    a few bytes can claim any number, or be unpacked to a thousand times as many."""
    limit = memory() if most is None else most
    if declared > limit:
        raise error(
            f"{what} declares {declared / 1e9:.3g} GB, expected at most {limit / 1e9:.3g} GB: it "
            "is damaged, or not what it seems; make or copy it again."
        )


def check_array(array: Any, what: str, error: type[InputError]) -> None:
    """Raise `error` if a Zarr array declares more than can be read."""
    check_size(array.nbytes, what, error)
    if array.nchunks > _MOST_CHUNKS:
        raise error(
            f"{what} declares {array.nchunks} chunks, expected at most {_MOST_CHUNKS}: it is "
            "damaged; make or copy it again."
        )


def refuse_links(folder: Path, error: type[InputError]) -> None:
    """Raise `error` if there is a symbolic link below a folder: through it, what is said to be in
    the folder would be read, written and removed elsewhere."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(place, name)
            if os.path.islink(path):
                raise error(
                    f"{folder} holds the link {os.path.relpath(path, folder)}, expected files and "
                    "folders alone: put in its place what it leads to."
                )


def check_version(
    number: object, versions: range, path: object, maker: str, error: type[InputError]
) -> None:
    """Raise `error`, with the way out, if a file is of a version that is not read."""
    if isinstance(number, int) and not isinstance(number, bool) and number in versions:
        return
    later = isinstance(number, int) and number > versions[-1]
    read = " or ".join(map(str, versions))
    cure = "upgrade blase3d" if later else f"make it again with {maker}"
    raise error(f"{path} has format version {number!r}, this blase3d reads {read}; {cure}.")


def settle_version(
    meta: dict[str, Any], form: str, latest: int, path: Path, error: type[InputError]
) -> None:
    """Raise `error` if meta says that a file is of this form, in a later version than is read; what
    it says of that is removed. Files of others state neither."""
    if meta.get("format") == form:
        check_version(meta.pop("version", None), range(1, latest + 1), path, "blase3d", error)
        del meta["format"]


def load_npz(
    path: Path, error: type[InputError], most: int | None = None
) -> dict[str, NDArray[Any]]:
    """All arrays of an .npz file of at most so many bytes (those of the memory if None), without
    unpickling anything."""
    require_file(path, error)
    if not zipfile.is_zipfile(path):
        raise error(
            f"{path} is no .npz file, or one cut short: make or copy it again, "
            "or give it the ending of what it is."
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
    """Text of a file for the terminal: what is no character is left out."""
    return "".join(c for c in str(text) if c.isprintable() or c == "\n")


def first_line(failure: BaseException) -> str:
    """What a foreign exception says, in one line."""
    return str(failure).strip().split("\n")[0].rstrip(".") or type(failure).__name__


def parse_meta(value: object, path: Path, error: type[InputError]) -> dict[str, Any]:
    """The dictionary in a JSON text (a str or an array holding one), or in a mapping."""
    if isinstance(value, Mapping):
        return dict(value)
    text = np.asarray(value).item() if np.size(np.asarray(value)) == 1 else None
    try:  # what JSON has no number for (NaN) is null
        words = text.decode() if isinstance(text, bytes) else str(text)
        meta = json.loads(words, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        meta = None
    if not isinstance(meta, dict):
        raise error(f"{path} has a meta that is not a JSON object: write it with json.dumps.")
    return meta


def check_expanse(value: object, path: Path, error: type[InputError]) -> None:
    """Raise `error` if what a header holds unfolds to more than it can mean: in YAML a few lines
    that refer to each other can stand for billions."""
    waiting, count = [value], 0
    while waiting and count < _MOST_ENTRIES:
        item = waiting.pop()
        count += 1
        if isinstance(item, Mapping):
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item
    if waiting:
        raise error(f"{path} has a header of more than {_MOST_ENTRIES} entries: shorten it.")


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


def to_angstrom(
    values: ArrayLike, unit: object, path: Path, error: type[InputError]
) -> NDArray[np.float64]:
    """Wavelengths in Å; without a unit they are taken to be in Å."""
    from astropy import units

    try:
        scaled = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as failure:
        raise error(
            f"{path} has wavelengths that are not numeric ({first_line(failure)}): give one number "
            "a pixel."
        ) from failure
    if unit is None or not str(unit).strip():
        return scaled
    try:
        factor = float(units.Unit(unit).to(units.AA))
    except (ValueError, TypeError) as failure:
        raise error(
            f"{path} has wavelengths in {str(unit)!r}, expected a unit of length: correct it."
        ) from failure
    return scaled if factor == 1.0 else scaled * factor
