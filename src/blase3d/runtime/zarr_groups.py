"""Zarr groups of our own: opened with care, arrays with a checksum behind every chunk.

Models and archives of clones are such groups, in a folder, a zip file or a bucket. What is given
to us may be damaged, or made to harm: nothing in it is run, read beyond it, or believed.
"""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path
from types import EllipsisType
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from ..errors import ArchiveError, MissingExtra
from .files import check_array, check_size, check_version, first_line, refuse_links

Form = list[Any]
"""Shape and kind of an array, as JSON keeps them."""
_MOST_UNPACKED = 100
"""Times its size that a zip file may unpack to; what we write is not compressed by zip."""


def store_of(place: str | Path, mode: Literal["r", "r+"]) -> Any:
    """What zarr takes for a folder, a zip file or an address."""
    if isinstance(place, Path):
        return zarr.storage.ZipStore(place, mode="r") if place.is_file() else place
    try:
        return zarr.storage.FsspecStore.from_url(place, read_only=mode == "r")
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "fsspec", "cloud", f"the archive {place}") from None
    except (ImportError, ValueError) as error:  # of the kind of bucket
        raise ArchiveError(
            f"the archive {place} cannot be reached ({first_line(error)}): correct the address, or "
            "install what it takes."
        ) from None


def open_zarr(path: str | Path, form: str, versions: range, maker: str) -> zarr.Group:
    """The Zarr group at `path` (folder, zip or address) if it says that it is of this format and
    one of these versions. It is of Zarr 3: in version 2, pickles may lie."""
    if isinstance(path, Path) and not path.exists():
        raise ArchiveError(f"{path} does not exist; make it with {maker}.")
    mode: Literal["r", "r+"] = "r" if isinstance(path, Path) and path.is_file() else "r+"
    try:
        _refuse_hostile(path)
        group = zarr.open_group(store_of(path, mode), mode=mode, zarr_format=3)
        found, number = group.attrs.get("format"), group.attrs.get("version")
    except (ArchiveError, MissingExtra):
        raise
    except Exception as error:  # zarr and zipfile raise a dozen kinds for what is not theirs
        raise ArchiveError(
            f"{path} cannot be opened as a {form} file ({type(error).__name__}); "
            f"it is damaged or foreign: make it anew with {maker}."
        ) from None
    if found != form:
        raise ArchiveError(
            f"{path} is of the format {found!r}, expected {form!r}; make one with {maker}."
        )
    check_version(number, versions, path, maker, ArchiveError)
    return group


def _refuse_hostile(path: str | Path) -> None:
    """Raise if a folder leads elsewhere, or a zip file unpacks to far more than it is."""
    if isinstance(path, Path) and path.is_dir():
        refuse_links(path, ArchiveError)
    elif isinstance(path, Path):
        with zipfile.ZipFile(path) as archive:
            declared = sum(entry.file_size for entry in archive.infolist())
        check_size(declared, str(path), ArchiveError, _MOST_UNPACKED * path.stat().st_size)


def read_array(
    group: zarr.Group, name: str, part: slice | EllipsisType = ..., form: Form | None = None
) -> NDArray[Any]:
    """An array or part of it; damage is told by the checksum of its chunks, and by its `form`,
    where that is known."""
    where = f"the array {name} of {group.store_path}"
    try:
        array: Any = group[name]
        if form is not None and [*array.shape, str(array.dtype)] != form:
            raise ArchiveError(f"{where} is not of the form that it was written in; make it anew.")
        check_array(array, where, ArchiveError)
        if array.size and array.nchunks_initialized < array.nchunks:
            raise ArchiveError(f"{where} is incomplete; make it anew.")
        return np.asarray(array[part])
    except ArchiveError:
        raise
    except KeyError:
        raise ArchiveError(f"{group.store_path} lacks the array {name}; make it anew.") from None
    except Exception as error:  # as many kinds as codecs
        raise ArchiveError(
            f"{where} is damaged ({type(error).__name__}); make the file anew."
        ) from None


def write_array(
    group: zarr.Group, name: str, values: NDArray[Any], chunk: int | None = None
) -> Form:
    """Write an array as one chunk, or in chunks of so many rows: compressed, with a checksum
    behind the compression. What is returned is its form.

    One that is there already is filled anew, not removed: another farm may be reading it, or
    writing the same.
    """
    rows = values.shape[:1] if chunk is None else (min(chunk, len(values)),)
    array = _array_of(
        group,
        name,
        shape=values.shape,
        chunks=tuple(max(n, 1) for n in (*rows, *values.shape[1:])),
        dtype=values.dtype,
        compressors=[_COMPRESSOR, Crc32cCodec()],
        config={"write_empty_chunks": True},
    )
    if values.size:
        array[...] = values
    return [*values.shape, str(values.dtype)]


def _array_of(group: zarr.Group, name: str, **form: Any) -> zarr.Array[Any]:
    """The array of that name and form, made if need be."""
    try:
        return group.create_array(name, **form)
    except Exception:  # it is there, or what is there is damaged
        with suppress(Exception):
            found: Any = group[name]
            if all(getattr(found, key) == form[key] for key in ("shape", "chunks", "dtype")):
                return found
    return group.create_array(name, overwrite=True, **form)


_COMPRESSOR = BloscCodec(cname="zstd", clevel=7, shuffle="bitshuffle")
