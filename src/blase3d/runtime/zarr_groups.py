"""Zarr groups that blase3D writes: models and archives of clones, in a folder, zip file or bucket.

Every chunk of an array has a checksum. What is read may be damaged or hostile: nothing in it is
run, no link is followed, and no more is read than the file can hold.
"""

from __future__ import annotations

import errno
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from ..errors import ArchiveError, MissingExtra
from .files import check_array, check_size, check_version, first_line, refuse_links
from .rows import row_blocks

Form = list[Any]
"""Shape and dtype of an array, as JSON keeps them."""
_MOST_UNPACKED = 100
"""Largest ratio of unpacked to packed size of a zip file; ours do not compress by zip."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of errors of a full disk."""
_ALL = slice(None)
_COMPRESSOR = BloscCodec(cname="zstd", clevel=7, shuffle="bitshuffle")


@dataclass(frozen=True)
class Format:
    """A format of files, which their attributes state with a version."""

    name: str
    oldest: int
    """Oldest version that is read."""
    latest: int
    """Version that is written."""
    command: str
    """The command that makes such files."""

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of a file that is written."""
        return {"format": self.name, "version": self.latest}

    def open(self, path: str | Path) -> zarr.Group:
        """Open the group at `path` (folder, zip file or address).

        It must be Zarr version 3: version 2 allows pickles.

        Raises
        ------
        ArchiveError
            It does not exist, is damaged, or has another format or version.
        """
        if isinstance(path, Path) and not path.exists():
            raise ArchiveError(f"{path} does not exist; make it with {self.command}.")
        mode: Literal["r", "r+"] = "r" if isinstance(path, Path) and path.is_file() else "r+"
        try:
            _refuse_hostile(path)
            group = zarr.open_group(store_of(path, mode), mode=mode, zarr_format=3)
            found, number = group.attrs.get("format"), group.attrs.get("version")
        except (ArchiveError, MissingExtra):
            raise
        except Exception as error:  # zarr and zipfile raise many kinds on foreign files
            raise ArchiveError(
                f"{path} cannot be opened as a {self.name} file ({type(error).__name__}): it is "
                f"damaged or foreign; make it again with {self.command}."
            ) from None
        if found != self.name:
            raise ArchiveError(
                f"{path} has format {found!r}, expected {self.name!r}; make one with "
                f"{self.command}."
            )
        versions = range(self.oldest, self.latest + 1)
        check_version(number, versions, path, self.command, ArchiveError)
        return group

    @contextmanager
    def reading(self, path: str | Path) -> Iterator[None]:
        """Turn any failure while the content is read into an `ArchiveError`."""
        try:
            yield
        except ArchiveError:
            raise
        except Exception as error:  # as many kinds as there are ways to damage a file
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                raise  # where what is read is written
            raise ArchiveError(
                f"{path} is not a complete {self.name} file ({type(error).__name__}: "
                f"{first_line(error)}); make it again with {self.command}."
            ) from None


def store_of(location: str | Path, mode: Literal["r", "r+"]) -> Any:
    """Return the store of a folder, zip file or address, for zarr."""
    if isinstance(location, Path):
        whole = location.absolute()  # for processes that are in another folder
        return zarr.storage.ZipStore(whole, mode="r") if location.is_file() else whole
    try:
        return zarr.storage.FsspecStore.from_url(location, read_only=mode == "r")
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "fsspec", "cloud", f"the archive {location}") from None
    except (ImportError, ValueError) as error:  # of the package for this kind of bucket
        raise ArchiveError(
            f"the archive {location} cannot be reached ({first_line(error)}); correct the address, "
            "or install the package for it."
        ) from None


def _refuse_hostile(path: str | Path) -> None:
    """Raise if a folder has links, or a zip file unpacks to far more than its size."""
    if isinstance(path, Path) and path.is_dir():
        refuse_links(path, ArchiveError)
    elif isinstance(path, Path):
        with zipfile.ZipFile(path) as archive:
            declared = sum(entry.file_size for entry in archive.infolist())
        check_size(declared, str(path), ArchiveError, _MOST_UNPACKED * path.stat().st_size)


@dataclass(frozen=True, eq=False)
class ColumnBlocks:
    """A matrix of which some columns are in memory at a time.

    Attributes
    ----------
    shape : (int, int)
    dtype : dtype
    step : int
        Columns of a block, and of a chunk on disk.
    blocks : iterable of (N, step)
        The blocks in order, which can be read once. The last may be narrower.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    step: int
    blocks: Iterable[NDArray[Any]]

    def __iter__(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield slices of columns, with these."""
        return zip(row_blocks(self.shape[1], self.step), self.blocks, strict=True)


def read_array(
    group: zarr.Group, name: str, part: slice = _ALL, form: Form | None = None
) -> NDArray[Any]:
    """Read an array, or some of its rows.

    Damage is detected by the checksums of its chunks and, where it is known, by its `form`.
    """
    with _checked(group, name, form) as array:
        return np.asarray(array[part] if array.ndim else array[...])


def read_columns(group: zarr.Group, name: str, form: Form | None = None) -> ColumnBlocks:
    """Read a matrix by the columns of its chunks; damage is detected as by `read_array`."""
    with _checked(group, name, form) as array:
        step = array.chunks[1]

    def blocks() -> Iterator[NDArray[Any]]:
        with _checked(group, name, form) as array:
            for some in row_blocks(array.shape[1], step):
                yield np.asarray(array[:, some])

    return ColumnBlocks(array.shape, array.dtype, step, blocks())


def read_in_blocks(
    group: zarr.Group, name: str, form: Form | None = None
) -> NDArray[Any] | ColumnBlocks:
    """Read a matrix as `ColumnBlocks`, another array whole."""
    with _checked(group, name, form) as array:
        matrix = array.ndim == 2
    return read_columns(group, name, form) if matrix else read_array(group, name, form=form)


def check_whole(group: zarr.Group, name: str, form: Form) -> None:
    """Raise ArchiveError if any part of an array is damaged."""
    found = read_in_blocks(group, name, form)
    if isinstance(found, ColumnBlocks):
        deque(found.blocks, maxlen=0)


@contextmanager
def _checked(group: zarr.Group, name: str, form: Form | None) -> Iterator[Any]:
    """An array that is complete and of its form; what fails on reading it is an ArchiveError."""
    where = f"the array {name} of {group.store_path}"
    try:
        array: Any = group[name]
        if form is not None and [*array.shape, str(array.dtype)] != form:
            raise ArchiveError(
                f"{where} has another shape or type than was written; make it again."
            )
        check_array(array, where, ArchiveError)
        if array.size and array.nchunks_initialized < array.nchunks:
            raise ArchiveError(f"{where} is incomplete; make it again.")
        yield array
    except ArchiveError:
        raise
    except KeyError:
        raise ArchiveError(f"{group.store_path} has no array {name}; make it again.") from None
    except Exception as error:  # as many kinds as there are codecs
        raise ArchiveError(
            f"{where} is damaged ({type(error).__name__}); make the file again."
        ) from None


def write_array(
    group: zarr.Group, name: str, values: NDArray[Any] | ColumnBlocks, chunk: int | None = None
) -> Form:
    """Write an array as one chunk, in chunks of `chunk` rows, or in those of its columns; return
    its form.

    Chunks are compressed, then given a checksum. An existing array is overwritten, not removed:
    another process may be reading it, or writing the same.
    """
    chunks = list(values.shape)
    if isinstance(values, ColumnBlocks):
        chunks[1] = min(values.step, chunks[1])
    elif chunk is not None:
        chunks[0] = min(chunk, chunks[0])
    array = _array_of(
        group,
        name,
        shape=values.shape,
        chunks=tuple(max(n, 1) for n in chunks),
        dtype=values.dtype,
        compressors=[_COMPRESSOR, Crc32cCodec()],
        config={"write_empty_chunks": True},
    )
    if isinstance(values, ColumnBlocks):
        for some, block in values:
            array[:, some] = block
    elif values.size:
        array[...] = values
    return [*values.shape, str(values.dtype)]


def _array_of(group: zarr.Group, name: str, **form: Any) -> zarr.Array[Any]:
    """The array of that name and form, created if it does not exist."""
    try:
        return group.create_array(name, **form)
    except Exception:  # it exists, or what exists is damaged
        # of zeros, chunks would be removed
        with suppress(Exception), zarr.config.set({"array.write_empty_chunks": True}):
            found: Any = group[name]
            if all(getattr(found, key) == form[key] for key in ("shape", "chunks", "dtype")):
                return found
    return group.create_array(name, overwrite=True, **form)
