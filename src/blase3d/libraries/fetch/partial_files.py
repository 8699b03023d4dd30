"""Files on disk that were, or are being, downloaded.

A record lies beside every file: where a complete file came from (`NAME.json`), and which version of
it the bytes of an incomplete one (`NAME.part`) belong to (`NAME.part.json`), so that bytes of two
versions are never joined.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...runtime.files import make_folder, replacing


@dataclass(frozen=True)
class Version:
    """Statements of a server about a file, by which its versions differ."""

    url: str
    size: int | None = None
    """Bytes; None if not stated."""
    etag: str | None = None
    modified: str | None = None

    @classmethod
    def of(cls, url: str, headers: Any, size: int | None) -> Version:
        """Return the version in the headers of an answer; `size` may be known from elsewhere."""
        return cls(url, size, headers.get("ETag"), headers.get("Last-Modified"))

    @property
    def validator(self) -> str | None:
        """A value for If-Range: a strong ETag, else a date."""
        strong = self.etag is not None and not self.etag.startswith("W/")
        return self.etag if strong else self.modified

    def agrees(self, other: Version) -> bool:
        """Whether nothing that both state differs."""
        pairs = [(getattr(self, key), getattr(other, key)) for key in ("size", "etag", "modified")]
        return all(mine == theirs for mine, theirs in pairs if mine and theirs)


@dataclass(frozen=True)
class Part:
    """The part of a file `target` that has been downloaded so far."""

    target: Path

    @property
    def path(self) -> Path:
        """The file with these bytes."""
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def length(self) -> int:
        """Number of bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self) -> Version | None:
        """The version that the bytes belong to; None if there are none, or it is unknown."""
        return version_of(self.path) if self.length else None

    def start(self, version: Version) -> None:
        """Start again from the first byte."""
        self.path.unlink(missing_ok=True)
        self.target.parent.mkdir(parents=True, exist_ok=True)
        _write_record(self.path, version, [])

    def drop(self) -> None:
        """Delete the bytes and their record."""
        self.path.unlink(missing_ok=True)
        _record(self.path).unlink(missing_ok=True)

    def finish(self, version: Version) -> None:
        """Move a complete, good file to `target`."""
        os.replace(self.path, self.target)
        remember(self.target, version)
        _record(self.path).unlink(missing_ok=True)


def remember(target: Path, version: Version) -> None:
    """Record that a file is complete and good, and where it came from."""
    _write_record(target, version, [*_size_and_date(target), sha256_of(target)])


def version_of(target: Path) -> Version | None:
    """Return the recorded version of a file, whether or not it has changed since."""
    return _read_record(target)[0]


def untouched(target: Path) -> bool:
    """Whether a file has the size and date that it had when it was recorded."""
    return target.is_file() and _read_record(target)[1][:2] == _size_and_date(target)


def unchanged(target: Path) -> bool:
    """Whether a file has the content that it had when it was recorded."""
    return target.is_file() and _read_record(target)[1][2:] == [sha256_of(target)]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 sum of a file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _size_and_date(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _read_record(path: Path) -> tuple[Version | None, list[Any]]:
    """Version and stamp (size, date, sum) of a file; None and [] without a readable record."""
    try:
        record = json.loads(_record(path).read_text(encoding="utf-8"))
        return Version(**record["source"]), list(record["stamp"])
    except (OSError, ValueError, TypeError, KeyError):
        return None, []


def _write_record(path: Path, version: Version, stamp: list[Any]) -> None:
    record = {"source": asdict(version), "stamp": stamp}
    with replacing(_record(path)) as partial:
        partial.write_text(json.dumps(record), encoding="utf-8")


@contextmanager
def sole_use(folder: Path) -> Iterator[None]:
    """Keep other processes from downloading into `folder`, where the platform has file locks."""
    make_folder(folder)
    with open(folder / ".lock", "w", encoding="utf-8") as stream:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"another fetch is running in {folder}; wait until it ends, or give this one "
                    "another folder with --cache."
                ) from None
        yield


def require_space(folder: Path, size: int) -> None:
    """Raise `InputError` unless the disk of `folder` has room for `size` bytes."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(existing).free
    if free < size:
        raise InputError(
            f"{folder} has {free / 1e9:.1f} GB free, expected {size / 1e9:.1f} GB to download; "
            "make room, ask for less, or give another folder with --cache."
        )
