"""Consoles, progress bars, worker processes and output of the commands."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from ..errors import InputError, MissingExtra
from ..runtime.compiled import keep_compiled
from ..runtime.files import replacing
from ..runtime.progress import Progress as ProgressCallback

if TYPE_CHECKING:
    from astropy.table import Table

# Text from files is printed as it is ([red] is no colour), and tables in a pipe need room.
out = Console(width=None if sys.stdout.isatty() else 160, markup=False)
# soft_wrap: a message is one line.
err = Console(stderr=True, soft_wrap=True, markup=False)

_BETWEEN_LINES = 60.0
"""Seconds between lines of progress."""


def complain(sentence: str) -> None:
    """Print an error to stderr, with --quiet too."""
    quiet, err.quiet = err.quiet, False
    err.print(sentence, style="red", highlight=False)
    err.quiet = quiet


@contextmanager
def progress_bars() -> Iterator[ProgressCallback]:
    """A bar for each stage, on stderr; yields the `progress` argument of the chain.

    Where there is no terminal, it is a line of text once a minute.
    """
    if not err.is_terminal:
        yield _lines_of_progress()
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    stages: dict[str, TaskID] = {}
    with Progress(*columns, TimeRemainingColumn(), console=err) as bars:

        def show(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total)
            bars.update(stages[stage], completed=done, total=total)

        yield show


def _lines_of_progress() -> ProgressCallback:
    last = time.monotonic()
    begun: dict[str, tuple[float, int]] = {}  # what came before a stage is not part of its rate

    def show(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        start, before = begun.setdefault(stage, (now, done))
        if now - max(last, start) > _BETWEEN_LINES and done > before:
            left = (now - start) / (done - before) * (total - done) / 60.0
            err.print(f"{stage}: {done} of {total}, about {left:.0f} min left", highlight=False)
            last = now

    return show


def settle_environment() -> None:
    """Set the environment of this process and its workers.

    Compiled code is kept on disk for the next command. Figures go to files, so no backend of a
    notebook or a window is needed, which a command run from a notebook may inherit.
    """
    os.environ["MPLBACKEND"] = "agg"
    keep_compiled()


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the work as Ctrl-C does: workers are stopped, results written, and files
    that are half written removed."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def executor(workers: int, scheduler: str | None = None) -> Iterator[Executor | None]:
    """Local processes, or a Dask cluster; None for one worker, which is this process."""
    if workers < 0:
        raise InputError(f"got {workers} workers, expected 0 (one per core) or more.")
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
    except BaseException:  # Ctrl-C and SIGTERM too
        pool.stop()
        raise
    pool.shutdown(cancel_futures=True)


def print_json(document: object) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(document, allow_nan=False))


def write_table(table: Table, path: Path) -> None:
    """Write an ECSV table, in one step."""
    with replacing(path) as partial_path:
        table.write(partial_path, format="ascii.ecsv", overwrite=True)
