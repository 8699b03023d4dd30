"""Tables of results in files: ECSV, FITS or Parquet by their ending; and results as they come.

While a survey runs, each result is a line of JSON in `NAME.rows` beside the table. A line is
written in one step, so that only an unfinished line is lost when the program is killed. The first
line states the settings. At the end the lines become the table, and the file is removed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, MissingExtra
from ..runtime.characters import ascii_of
from ..runtime.files import first_line, replacing
from .table import FORMAT, Row, parameters_in, table_of_rows

if TYPE_CHECKING:
    from astropy.table import Table

_GROUP = 10_000
"""Rows of a group of Parquet, which are in memory at once."""
_KINDS = {".ecsv": "ascii.ecsv", ".fits": "fits", ".parquet": "parquet"}
"""Formats of astropy by the endings that a table may have."""
_FORM = {"format": "blase3d-survey", "version": 1}


def require_table_ending(path: Path) -> None:
    """Raise InputError if the ending of a table names no format, and MissingExtra for Parquet
    without pyarrow."""
    ending = path.suffix.lower()
    if ending not in _KINDS:
        raise InputError(
            f"got --output {path}, expected a name that ends in .ecsv, .fits or .parquet, which "
            "decides the format; give one."
        )
    if ending == ".parquet":
        _pyarrow()


def write_results(
    rows: Callable[[], Iterable[Row]],
    path: Path,
    meta: Mapping[str, Any],
    more: tuple[str, ...] = (),
) -> None:
    """Write rows, which are read several times, as a table with metadata: one step.

    Names in `more` are further numbers of the rows. Parquet is written in groups of rows. Other
    formats need all of them in memory.
    """
    names = parameters_in(rows())
    writers = {".ecsv": _write_ecsv, ".fits": _write_fits, ".parquet": _write_parquet}
    write = writers[path.suffix.lower()]
    with replacing(path) as partial:
        write(_Tables(rows, names, meta, more), partial)


@dataclass(frozen=True)
class _Tables:
    """Rows as tables of at most `_GROUP` rows, at least one."""

    rows: Callable[[], Iterable[Row]]
    names: tuple[str, ...]
    meta: Mapping[str, Any]
    more: tuple[str, ...]

    def __iter__(self) -> Iterator[Table]:
        left = iter(self.rows())
        yield self._table(list(islice(left, _GROUP)))
        while group := list(islice(left, _GROUP)):
            yield self._table(group)

    def _table(self, rows: list[Row]) -> Table:
        table = table_of_rows(rows, self.names, self.more)
        table.meta |= self.meta
        return table

    def whole(self) -> Table:
        """All rows in one table."""
        from astropy.table import vstack

        return vstack(list(self), metadata_conflicts="silent")


def _write_ecsv(tables: _Tables, path: Path) -> None:
    tables.whole().write(path, format="ascii.ecsv")


def _write_fits(tables: _Tables, path: Path) -> None:
    """Write a FITS table. Texts in it are in ASCII."""
    table = tables.whole()
    for name in table.colnames:
        if table[name].dtype.kind == "U":
            table[name] = [ascii_of(text) for text in table[name]]
        if table[name].unit is not None and "dex" in str(table[name].unit):
            table[name].unit = None  # not a unit of FITS
    table.write(path, format="fits")


def _write_parquet(tables: _Tables, path: Path) -> None:
    """Write Parquet, with units and metadata as astropy keeps them there."""
    pa, parquet = _pyarrow()
    first = next(iter(tables))
    lengths = {name: 1 for name in first.colnames if first[name].dtype.kind == "U"}
    for table in tables:
        lengths = {n: max(most, table[n].dtype.itemsize // 4) for n, most in lengths.items()}
    schema = _schema(pa, first, lengths)
    with parquet.ParquetWriter(path, schema) as writer:
        for table in tables:
            columns = [np.asarray(table[name]) for name in table.colnames]
            writer.write_table(pa.Table.from_arrays(list(map(pa.array, columns)), schema=schema))


def _schema(pa: Any, table: Table, lengths: Mapping[str, int]) -> Any:
    from astropy.table import meta

    fields = [(name, pa.from_numpy_dtype(table[name].dtype.type)) for name in table.colnames]
    stated = {f"table::len::{name}": str(most) for name, most in lengths.items()}
    stated["table_meta_yaml"] = "\n".join(meta.get_yaml_from_table(table))
    return pa.schema(fields, metadata=stated)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtra("pyarrow", "parquet", "a Parquet table") from None
    return pyarrow, parquet


def _read_table(path: Path) -> tuple[dict[str, Any] | None, list[Row]]:
    """The settings that a table of results states, if any, and its rows."""
    from astropy.table import Table

    try:
        table = Table.read(path, format=_KINDS[path.suffix.lower()])
        meta = {key.lower(): value for key, value in table.meta.items()}
        if meta.get("format") != FORMAT or "run" not in meta:
            return None, []
        return json.loads(meta["run"]), [_plain_row(row, table.colnames) for row in table]
    except Exception as failure:  # the readers raise many kinds
        raise InputError(
            f"{path} exists and cannot be read as a table of results ({first_line(failure)}); give "
            "another --output, or remove the file."
        ) from None


def _plain_row(row: Any, names: Collection[str]) -> Row:
    """The values of a row of a table, without those that are missing."""
    found: Row = {}
    for name in names:
        value = "" if np.ma.is_masked(row[name]) else np.asarray(row[name]).item()
        if value == value and value != "":
            found[name] = value.decode() if isinstance(value, bytes) else value
    return found


@dataclass
class SurveyResults:
    """Results of a survey, which survive its end at any moment.

    Attributes
    ----------
    output : Path
        The table.
    run : dict
        Version, models and settings, as plain values. Results of others are not mixed with these.
    """

    output: Path
    run: dict[str, Any]
    _descriptor: int = field(default=-1, init=False)
    _stars: int = field(default=0, init=False)
    _failed: int = field(default=0, init=False)

    @property
    def path(self) -> Path:
        """The file of the results while the survey runs."""
        return self.output.with_name(f"{self.output.name}.rows")

    def done(self) -> set[str]:
        """Return the names of the stars that have labels from an earlier run.

        Raises
        ------
        InputError
            The results are of other settings, or are not those of a survey.
        """
        return {row["spectrum"] for row in self._earlier() if not row.get("error")}

    @property
    def since(self) -> float:
        """When the earlier results were written last, in seconds of the Unix epoch."""
        return max((p.stat().st_mtime for p in (self.path, self.output) if p.exists()), default=0.0)

    def begin(self, keep: Collection[str]) -> None:
        """Start to write, after the earlier results of the stars that are named."""
        with replacing(self.path) as partial, open(partial, "wb") as stream:
            stream.write(_line({**_FORM, "run": self.run}))
            for row in self._earlier():
                if row["spectrum"] in keep:
                    stream.write(_line(row))
                    self._stars += 1
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of stars, and of those that failed."""
        return {"stars": self._stars, "failed": self._failed}

    def add(self, row: Row) -> None:
        """Store the result of a star."""
        os.write(self._descriptor, _line(row))
        self._stars += 1
        self._failed += bool(row.get("error"))

    def rows(self) -> Iterator[Row]:
        """Yield the results so far."""
        with open(self.path, "rb") as stream:
            next(stream, b"")
            for line in stream:
                if line.endswith(b"\n") and (row := _parsed(line)) is not None:
                    yield row

    def finish(self, complete: bool) -> None:
        """Write the table; if it is complete, its lines are removed."""
        os.close(self._descriptor)
        meta = {"run": json.dumps(self.run, sort_keys=True), "complete": complete}
        write_results(self.rows, self.output, meta)
        if complete:
            self.path.unlink()

    def _earlier(self) -> Iterable[Row]:
        if self.path.exists():
            with open(self.path, "rb") as stream:
                head = _parsed(next(stream, b"")) or {}
            if next(self.rows(), None) is None:
                return ()
            self._check(head.get("run"), self.path)
            return self.rows()
        if not self.output.exists():
            return ()
        run, rows = _read_table(self.output)
        self._check(run, self.output)
        return rows

    def _check(self, run: Mapping[str, Any] | None, path: Path) -> None:
        if run is None:
            raise InputError(
                f"{path} exists and is not the table of a survey; remove it, or give another "
                "--output."
            )
        here, there = (dict(_leaves(one)) for one in (self.run, run))
        for name in sorted(here.keys() | there.keys()):
            if here.get(name) != there.get(name):
                short = name.removeprefix("options.")
                raise InputError(
                    f"{path} has results with {short} {there.get(name)}, expected "
                    f"{here.get(name)} as now; give another --output, the settings of these, or "
                    "remove the file."
                )


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Values in nested dictionaries, with their names."""
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, one in value.items():
        yield from _leaves(one, f"{name}.{key}" if name else key)


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row).encode() + b"\n"


def _parsed(line: bytes) -> Row | None:
    """The dictionary in a line; None for a line that a crash of the machine has damaged."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
