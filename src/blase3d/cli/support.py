"""What the verbs of the command line share: progress, parsing, printing."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..errors import InputError, MissingExtra
from ..runtime.files import cache_folder

if TYPE_CHECKING:
    from astropy.table import Table


class LabelOptions:
    """Options for labels: the paper's three by name, any other through --label."""

    teff = Annotated[float | None, typer.Option(help="Effective temperature, K.")]
    logg = Annotated[float | None, typer.Option(help="Surface gravity, dex of cm/s².")]
    feh = Annotated[float | None, typer.Option(help="[Fe/H], dex.")]
    label = Annotated[list[str] | None, typer.Option(help="NAME=VALUE for any other label.")]


class ProgressBars:
    """A bar for each stage, on stderr; called as the chain's `progress` argument."""

    def __init__(self, console: Console):
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._stages: dict[str, Any] = {}

    def __enter__(self) -> ProgressBars:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._stages:
            self._stages[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._stages[stage], completed=done, total=total)


def keep_compilations() -> None:
    """Have JAX keep what it compiles, here and in the workers, for the next command: that is most
    of the time of a short one. Settings of the user stay."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_folder() / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")


@contextmanager
def executor(workers: int, scheduler: str | None = None) -> Iterator[Executor | None]:
    """Local processes, or a Dask cluster; None (here, one by one) for one worker."""
    if workers < 0:
        raise InputError(f"got {workers} workers, expected 0 (one for every core) or more.")
    if scheduler is not None:
        try:
            from distributed import Client
        except ImportError:
            raise MissingExtra("distributed", "cluster", "--scheduler") from None
        with Client(scheduler) as client:
            yield client.get_executor()
        return
    from ..runtime.executor import LocalPool

    workers = workers or os.cpu_count() or 1
    if workers == 1:
        yield None
        return
    pool = LocalPool(workers)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def parse_range(text: str, option: str) -> tuple[float, float]:
    """LO:HI as two numbers.

    Raises
    ------
    InputError
        It is something else, or LO is not below HI.
    """
    match = re.fullmatch(r"\s*([-+.\deE]+)\s*:\s*([-+.\deE]+)\s*", text)
    try:
        low, high = (float(part) for part in match.groups()) if match else (math.nan, math.nan)
    except ValueError:
        low, high = math.nan, math.nan
    if not low < high:
        raise InputError(f"got {option} {text}, expected LO:HI with LO below HI, e.g. 8400:8900.")
    return low, high


def labels_from(
    names: tuple[str, ...], extra: list[str] | None, *, partial: bool = False, **given: float | None
) -> dict[str, float]:
    """The labels of a model from options.

    Raises
    ------
    InputError
        One is missing (unless `partial`) or unknown.
    """
    from ..inference.prior import parse_assignments, parse_number

    labels = {name: value for name, value in given.items() if value is not None}
    more = {name: parse_number(text) for name, text in parse_assignments(extra or []).items()}
    if twice := sorted(set(labels) & set(more)):
        raise InputError(f"got {', '.join(twice)} by --label and by its own option; give one.")
    labels |= more
    unknown = set(labels) - set(names)
    missing = set(names) - set(labels)
    if unknown or (missing and not partial):
        wrong = [f"unknown: {name}" for name in sorted(unknown)]
        lacking = [] if partial else [f"missing: {name}" for name in sorted(missing)]
        raise InputError(
            f"this model has the labels {', '.join(names)} ({'; '.join(wrong + lacking)}); "
            "give each of them once (--label NAME=VALUE)."
        )
    return labels


def print_json(document: object) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(document, allow_nan=False))


def table_of_inferences(rows: list[dict[str, Any]], labels: tuple[str, ...]) -> Table:
    """Inferences as an astropy table, one row a spectrum; NaN where there is no answer."""
    from astropy.table import Table

    names = [*labels, *("rv", "vsini", "vmac", "resolution")]
    columns: dict[str, list[Any]] = {"spectrum": [row["spectrum"] for row in rows]}
    for name in names:
        found = [{**row.get("labels", {}), **row.get("nuisance", {})}.get(name) for row in rows]
        if not any(found):
            continue
        for key, suffix in (("value", ""), ("sigma", "_sigma")):
            values = [math.nan if f is None or f[key] is None else f[key] for f in found]
            columns[f"{name}{suffix}"] = values
    columns["chi2_red"] = [
        math.nan if row.get("chi2_red") is None else row["chi2_red"] for row in rows
    ]
    columns["flags"] = ["; ".join(row.get("flags", [])) for row in rows]
    columns["error"] = [row.get("error", "") for row in rows]
    units = {"teff": "K", "logg": "dex(cm/s2)", "feh": "dex"}
    units |= {name: "km/s" for name in ("rv", "vsini", "vmac")}
    table = Table(columns, meta={"format": "blase3d-inferences", "version": 1})
    for name, unit in units.items():
        for column in {name, f"{name}_sigma"} & set(table.colnames):
            table[column].unit = unit
    return table
