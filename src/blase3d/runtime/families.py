"""Families of readers: those of blase3D in a stated order, and those of installed packages.

A package adds a reader by an entry point, in the group of the family, that names the reader's
record. Entry points are loaded only if no reader of blase3D recognises a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from ..errors import Blase3dError, InputError
from .files import first_line


class Reader(Protocol):
    """Attributes of the readers of all families."""

    @property
    def name(self) -> str:
        """Lower-case name."""

    @property
    def what(self) -> str:
        """The data that it reads, in words that follow "expected"."""

    @property
    def matches(self) -> Callable[[Any], bool]:
        """Whether it recognises a file or folder. Cheap."""


R = TypeVar("R", bound=Reader)


@dataclass(frozen=True)
class Family(Generic[R]):
    """The readers of one kind of data."""

    kind: type[R]
    """Class of the readers."""
    noun: str
    """The kind of data: "library" or "spectrum"."""
    group: str
    """Group of entry points."""
    error: type[InputError]
    """Exception of failures."""
    members: tuple[R, ...]
    """blase3D's readers, in the order in which they are tried."""
    fallback: tuple[R, ...] = ()
    """blase3D's readers that are tried after those of installed packages."""
    summary: str = ""
    """Summary of blase3D's data, for messages, where there are many readers."""

    def all(self) -> tuple[R, ...]:
        """Return all readers, in the order in which they are tried."""
        return (*self.members, *self._installed()[0], *self.fallback)

    def named(self, name: str) -> R:
        """Return the reader of this name. Raise `error` if there is none."""
        installed, faults = self._installed()
        known = (*self.members, *installed, *self.fallback)
        for reader in known:
            if reader.name == name:
                return reader
        names = ", ".join(reader.name for reader in known)
        raise self.error(" ".join([f"got source {name!r}, expected one of {names}.", *faults]))

    def choose(self, subject: Any, path: Path) -> R:
        """Return the first reader that recognises `subject`, the file or folder at `path`.

        Raise `error` if there is none.
        """
        for reader in self.members:
            if self._recognises(reader, subject, path):
                return reader
        installed, faults = self._installed()
        for reader in (*installed, *self.fallback):
            if self._recognises(reader, subject, path):
                return reader
        own = [reader.what for reader in (*self.members, *self.fallback)]
        known = "; ".join([self.summary] if self.summary else own)
        known = "; ".join([known, *(reader.what for reader in installed)])
        fault = f"{path} is no {self.noun} in a known format: expected {known}."
        raise self.error(" ".join([fault, *faults]))

    def _recognises(self, reader: R, subject: Any, path: Path) -> bool:
        with self.naming(reader, path):
            return reader.matches(subject)

    @contextmanager
    def naming(self, reader: R, path: Path) -> Iterator[None]:
        """Turn whatever a reader raises into an `error` that names the file and the reader."""
        try:
            yield
        except Blase3dError:
            raise
        except Exception as failure:  # parsers of damaged files, and foreign code, raise anything
            raise self.error(
                f"{path} cannot be read by the {self.noun} reader {reader.name} "
                f"({type(failure).__name__}: {first_line(failure)}): it is damaged, cut short or "
                "of another kind; make or copy it again."
            ) from failure

    def _installed(self) -> tuple[tuple[R, ...], tuple[str, ...]]:
        """Readers of installed packages, and a sentence for each that cannot be used."""
        readers, faults = [], []
        for point in entry_points(group=self.group):
            try:
                readers.append(self._loaded(point))
            except InputError as fault:
                faults.append(str(fault))
        return tuple(readers), tuple(faults)

    def _loaded(self, point: EntryPoint) -> R:
        where = f"The {self.noun} reader {point.name} ({point.value})"
        try:
            found = point.load()
        except Exception as failure:  # foreign code
            raise self.error(f"{where} cannot be loaded: {first_line(failure)}.") from failure
        if not isinstance(found, self.kind):
            kind = type(found).__name__
            raise self.error(f"{where} is a {kind}, expected a {self.kind.__name__}.")
        return found
