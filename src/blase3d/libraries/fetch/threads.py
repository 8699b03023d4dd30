"""Work on several items at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TypeVar

from ...errors import InputError

T = TypeVar("T")
R = TypeVar("R")

CONNECTIONS = 4
"""Requests at a time, by default."""
_TICK = 0.5
"""Seconds between looks at the threads: on Windows, Ctrl-C does not end a wait."""


def in_threads(
    work: Callable[[T, threading.Event], R], items: Sequence[T], threads: int
) -> Generator[tuple[T, R | InputError], None, None]:
    """Work on items in several threads; yield each with its result or `InputError`, when done.

    `work` also gets an event that is set when the generator is closed. Other exceptions are raised.
    """
    stop = threading.Event()
    pool = ThreadPoolExecutor(threads)
    try:
        pending = {pool.submit(work, item, stop): item for item in items}
        while pending:
            for future in wait(pending, _TICK, FIRST_COMPLETED).done:
                item = pending.pop(future)
                try:
                    result: R | InputError = future.result()
                except InputError as fault:
                    result = fault
                yield item, result
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)


def all_in_threads(
    work: Callable[[T, threading.Event], R], items: Sequence[T], threads: int
) -> Generator[tuple[T, R], None, None]:
    """Like `in_threads`, but raise the first `InputError`."""
    for item, result in in_threads(work, items, threads):
        if isinstance(result, InputError):
            raise result
        yield item, result
