"""Many spectra: named one by one, in folders, in a list or a table of files, or in a stack.

- A *folder* stands for the spectra in and below it, by the endings of their names.
- A *list* is a text with the name of a file in each line; `#` begins a comment.
- A *table* (ECSV, CSV, FITS, VOTable, HDF5 or Parquet) has a column `file`, and optionally `name`,
  `medium`, `resolution`, `unit` and `source` for each spectrum.
- A *stack* (`stack.py`) has spectra on common pixels in one file, such as those of MaStar.

Names of files are relative to the list or table, or else to the current folder.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import MissingExtra, SpectrumError
from ...runtime.files import check_expanse, first_line
from ..spectrum import Spectrum
from . import read_spectrum
from .stack import Stack, is_stack, open_stack

_SPECTRA = re.compile(
    r"[^.].*\.(npz|ecsv|csv|tsv|txt|dat|s|vot|xml|fits|fit|fts)(\.(gz|bz2|xz|fz))?", re.IGNORECASE
)
"""Names of files in a folder that may be spectra."""
_LISTS = (".lst", ".list")
_TEXT = (".txt", ".dat", "")
_TABLES = {
    ".ecsv": "ascii.ecsv",
    ".csv": "ascii.csv",
    ".fits": "fits",
    ".fit": "fits",
    ".vot": "votable",
    ".xml": "votable",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".parquet": "parquet",
}
"""Formats of tables of files, as astropy names them, by the endings of their names."""
_NEEDED = {"hdf5": ("h5py", "netcdf"), "parquet": ("pyarrow", "parquet")}
"""Package, and the extra that has it, of a format."""
_FILE = ("file", "filename", "file_name", "filepath", "path", "spectrum")
"""Columns with the names of files."""
_SETTINGS = ("medium", "unit", "source")
_HEAD = 4096
"""Bytes of a text in which names of files are looked for."""


@dataclass(frozen=True)
class NamedFile:
    """One file of many.

    Attributes
    ----------
    name : str
        Name in the table of results.
    path : Path
        The file.
    reading : dict
        Arguments of `read_spectrum` for this file, which replace those of all.
    """

    name: str
    path: Path
    reading: Mapping[str, Any] = field(default_factory=dict)

    def read(self, **reading: Any) -> Spectrum:
        """Read the spectrum."""
        return read_spectrum(self.path, **{**reading, **self.reading})


@dataclass(frozen=True, eq=False)
class ManySpectra:
    """Spectra, which are read when they are needed.

    Attributes
    ----------
    each : callable
        Returns an iterator over them: `NamedFile`, or `StackRow`.
    names : sequence of str
        Their names, in this order.
    paths : sequence of Path
        The file of each, or that of the stack.
    collected : bool
        Whether they are those of a folder, a list, a table or a stack.
    stack : Stack or None
        The stack, if they are one.
    """

    each: Callable[[], Iterator[Any]]
    names: Sequence[str]
    paths: Sequence[Path]
    collected: bool
    stack: Stack | None = None

    def changed_since(self, time: float) -> set[str]:
        """Return the names of those whose file was changed after a time (s, Unix epoch)."""
        if len(self.paths) < len(self.names):
            return set(self.names) if _modified(self.paths[0]) > time else set()
        pairs = zip(self.names, self.paths, strict=True)
        return {name for name, path in pairs if _modified(path) > time}


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def find_spectra(
    given: Sequence[str | Path],
    reading: Mapping[str, Any] | None = None,
    reserved: Iterable[Path] = (),
) -> ManySpectra:
    """Return the spectra that paths stand for.

    Parameters
    ----------
    given : sequence of paths
        Spectra and folders; or one list, table or stack.
    reading : mapping, optional
        Arguments of `read_spectrum`; medium and unit are those of a stack that states none, and
        source is one of its spectra.
    reserved : iterable of Path
        Files in folders that are no spectra, such as the table of results.

    Raises
    ------
    SpectrumError
        A list, table or stack is damaged, a folder has no spectra, or a name occurs twice.
    """
    paths = [Path(one) for one in given]
    if len(paths) == 1:
        if is_stack(paths[0]):
            stack = open_stack(paths[0], *((reading or {}).get(key) for key in ("medium", "unit")))
            if (source := (reading or {}).get("source")) is not None:
                row = stack.one(str(source))
                return ManySpectra(lambda: iter([row]), [row.name], paths, False)
            return ManySpectra(stack.rows, stack.names, (stack.path,), True, stack)
        if (found := _listed_files(paths[0])) is not None:
            return _of_files(found, paths[0], collected=True)
    other = {path.resolve() for path in reserved}
    files = [file for path in paths for file in _expanded(path, other)]
    collected = any(path.is_dir() for path in paths)
    return _of_files([NamedFile(str(path), path.absolute()) for path in files], paths[0], collected)


def _of_files(files: list[NamedFile], source: Path, collected: bool) -> ManySpectra:
    names: set[str] = set()
    for file in files if collected else ():
        if file.name in names:
            raise SpectrumError(f"{source} has {file.name} twice; give each spectrum its own name.")
        names.add(file.name)
    paths = [file.path for file in files]
    return ManySpectra(lambda: iter(files), [file.name for file in files], paths, collected)


def _expanded(path: Path, reserved: set[Path]) -> list[Path]:
    """The path, or the spectra in a folder."""
    if not path.is_dir():
        return [path]
    found = [
        Path(folder, name)
        for folder, _, names in sorted(os.walk(path))
        for name in sorted(names)
        if _SPECTRA.fullmatch(name) and Path(folder, name).resolve() not in reserved
    ]
    if not found:
        raise SpectrumError(
            f"the folder {path} has no spectra, expected a file or more that end in .fits, .npz, "
            ".ecsv, .csv, .txt or the like; give another."
        )
    return found


def _listed_files(path: Path) -> list[NamedFile] | None:
    """The files of a list or a table; None if the path is neither."""
    if not path.is_file():
        return None
    if path.suffix.lower() in _TABLES:
        return _files_of_table(path)
    names = _names_in(path)
    listed = path.suffix.lower() in _LISTS or (
        path.suffix.lower() in _TEXT and any(_beside(path, name).is_file() for name in names[:10])
    )
    if not listed:
        return None
    if not names:
        raise SpectrumError(f"{path} lists no files, expected one in each line; correct it.")
    return [NamedFile(name, _beside(path, name).absolute()) for name in names]


def _names_in(path: Path) -> list[str]:
    """Lines of a list without comments; none for what cannot be a list."""
    with open(path, "rb") as stream:
        if b"\0" in stream.read(_HEAD):
            return []
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        if path.suffix.lower() in _LISTS:
            raise SpectrumError(
                f"{path} is not in UTF-8, expected a list of files; convert it."
            ) from None
        return []
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _beside(listing: Path, name: str) -> Path:
    """A file relative to the list that names it, or else to the current folder."""
    beside = listing.parent / name
    return beside if os.path.exists(beside) or not os.path.exists(name) else Path(name)


def _files_of_table(path: Path) -> list[NamedFile] | None:
    kind = _TABLES[path.suffix.lower()]
    table = _table(path, kind)
    if table is None:
        return None
    names = {str(name).lower(): name for name in table.colnames}
    columns = [names[name] for name in _FILE if name in names and _is_text(table[names[name]])]
    if not columns:
        if kind in _NEEDED:
            raise SpectrumError(
                f"{path} has the columns {', '.join(table.colnames)}, expected one with names of "
                f"files: {', '.join(_FILE)}; add it."
            )
        return None
    return [_file_of(row, columns[0], names, path) for row in table]


def _table(path: Path, kind: str) -> Any:
    """The table in a file; None if it is another kind of file, such as a spectrum."""
    from astropy.table import Table

    try:
        if kind.startswith("ascii") and not _may_list_files(path):
            return None
        with open(path, "rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a file that is a spectrum is read again
            source = stream if kind == "fits" else path
            table = Table.read(source, format=kind, **({"hdu": 1} if kind == "fits" else {}))
        check_expanse(table.meta, path, SpectrumError)
        return table
    except Exception as failure:  # the readers raise many kinds
        if kind not in _NEEDED:
            return None
        package, extra = _NEEDED[kind]
        if isinstance(failure, ImportError) or package in str(failure):
            raise MissingExtra(package, extra, f"a table in {path.suffix}") from None
        raise SpectrumError(
            f"{path} cannot be read as a table of files ({first_line(failure)}); make or copy it "
            "again."
        ) from None


def _may_list_files(path: Path) -> bool:
    """Whether the first lines of a text have the name of a column of files."""
    with open(path, "rb") as stream:
        words = re.split(rb"[^\w]+", stream.read(_HEAD).lower())
    return any(name.encode() in words for name in _FILE)


def _is_text(column: Any) -> bool:
    return column.dtype.kind in "USO" and column.ndim == 1


def _file_of(row: Any, column: str, names: Mapping[str, str], table: Path) -> NamedFile:
    """The file of a row, with what the table says about it."""
    values = {name: _text(row[names[name]]) for name in (*_SETTINGS, "name") if name in names}
    file = _text(row[column])
    if not file:
        raise SpectrumError(f"{table} has a row without a {column}; complete or remove it.")
    reading: dict[str, Any] = {name: values[name] for name in _SETTINGS if values.get(name)}
    if "resolution" in names and (resolution := _number(row[names["resolution"]], table)):
        reading["resolution"] = resolution
    return NamedFile(values.get("name") or file, _beside(table, file).absolute(), reading)


def _text(value: Any) -> str:
    if np.ma.is_masked(value):
        return ""
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip()


def _number(value: Any, table: Path) -> float | None:
    """A positive number; None where it is missing."""
    if np.ma.is_masked(value):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise SpectrumError(
            f"{table} has the resolution {value!r}, expected a number; correct it."
        ) from None
    return number if number > 0 else None
