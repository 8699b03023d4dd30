"""Files on the disk that came, or are coming, from a server.

Beside a file that is whole lies a record of where it came from (`NAME.json`); beside one that is
not yet (`NAME.part`), a record of the version that its bytes belong to (`NAME.part.json`), so that
bytes of two versions are never joined.
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
from ...runtime.files import replacing


@dataclass(frozen=True)
class Source:
    """What a server says of a file: what tells it from another version of the file."""

    url: str
    size: int | None = None
    """Bytes; None: not said."""
    etag: str | None = None
    modified: str | None = None

    @classmethod
    def of(cls, url: str, headers: Any, size: int | None) -> Source:
        """The source in the headers of an answer; `size` as known from them or elsewhere."""
        return cls(url, size, headers.get("ETag"), headers.get("Last-Modified"))

    @property
    def mark(self) -> str | None:
        """What If-Range admits: a strong ETag, else a date."""
        strong = self.etag is not None and not self.etag.startswith("W/")
        return self.etag if strong else self.modified

    def agrees(self, other: Source) -> bool:
        """False if the other is known to be another version."""
        pairs = [(getattr(self, key), getattr(other, key)) for key in ("size", "etag", "modified")]
        return all(mine == theirs for mine, theirs in pairs if mine and theirs)


@dataclass(frozen=True)
class Part:
    """A file on its way to `target`, and the record of the version it is a part of."""

    target: Path

    @property
    def path(self) -> Path:
        """Where the bytes are that have come so far."""
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def length(self) -> int:
        """How many they are."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def source(self) -> Source | None:
        """The version they belong to, if there are any and it is known."""
        known = _read_record(self.path)
        return known[0] if known is not None and self.length else None

    def start(self, source: Source) -> None:
        """Begin anew, with the first byte."""
        self.path.unlink(missing_ok=True)
        self.target.parent.mkdir(parents=True, exist_ok=True)
        _write_record(self.path, source, [])

    def drop(self) -> None:
        """Forget all of it."""
        self.path.unlink(missing_ok=True)
        _record_of(self.path).unlink(missing_ok=True)

    def keep(self, source: Source) -> None:
        """Put it in its place: it is whole and good."""
        os.replace(self.path, self.target)
        remember(self.target, source)
        _record_of(self.path).unlink(missing_ok=True)


def remember(target: Path, source: Source) -> None:
    """Record that a file is whole and good, and where it came from."""
    _write_record(target, source, _stamp(target))


def origin(target: Path) -> Source | None:
    """Where a file came from, changed since or not; None: not recorded."""
    known = _read_record(target)
    return known[0] if known is not None else None


def untouched(target: Path) -> bool:
    """True of a file that looks as it did when it was found to be whole and good: the quick way."""
    known = _read_record(target)
    return known is not None and target.is_file() and known[1][:2] == _look(target)


def unchanged(target: Path) -> bool:
    """True of a file that has the content that it had when it was found to be whole and good."""
    known = _read_record(target)
    return known is not None and target.is_file() and known[1][2:] == [sha256_of(target)]


def sha256_of(path: Path) -> str:
    """The sum of a file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _look(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _stamp(path: Path) -> list[Any]:
    return [*_look(path), sha256_of(path)]


def _read_record(path: Path) -> tuple[Source, list[Any]] | None:
    try:
        record = json.loads(_record_of(path).read_text(encoding="utf-8"))
        return Source(**record["source"]), list(record["stamp"])
    except (OSError, ValueError, TypeError, KeyError):
        return None  # none, or damaged: the file is checked or fetched again


def _write_record(path: Path, source: Source, stamp: list[Any]) -> None:
    record = {"source": asdict(source), "stamp": stamp}
    with replacing(_record_of(path)) as partial:
        partial.write_text(json.dumps(record), encoding="utf-8")


@contextmanager
def sole_use(folder: Path) -> Iterator[None]:
    """Keep other processes from fetching into `folder` (where the platform has such locks)."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w", encoding="utf-8") as stream:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"Another fetch is at work in {folder}: wait for its end, or give this one "
                    "another folder with --cache."
                ) from None
        yield


def require_space(folder: Path, size: int) -> None:
    """Raise unless the disk of `folder` has room for `size` bytes."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    if free < size:
        raise InputError(
            f"{folder} has {free / 1e9:.1f} GB free and {size / 1e9:.1f} GB are to be fetched: "
            "make room, ask for less, or give another folder with --cache."
        )
