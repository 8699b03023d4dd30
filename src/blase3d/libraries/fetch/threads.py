"""Work on several items at a time, in threads that do not hold up the end of the program."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from queue import Empty, SimpleQueue
from typing import TypeVar

from ...errors import InputError

T = TypeVar("T")
R = TypeVar("R")

CONNECTIONS = 4
"""Requests at a time, unless told otherwise."""
JOIN = 2.0
"""Seconds that threads are given to end when the work is called off."""


def in_threads(
    work: Callable[[T, threading.Event], R], items: Sequence[T], threads: int
) -> Generator[tuple[T, R | InputError], None, None]:
    """Work on items in several threads; each with its result or InputError, as they are done.

    `work` is given an event that is set when the caller leaves off. The threads are daemons, so
    that one which waits for a silent server does not hold up the end of the program.
    """
    stop = threading.Event()
    waiting: SimpleQueue[T] = SimpleQueue()
    for item in items:
        waiting.put(item)
    done: SimpleQueue[tuple[T, R | Exception]] = SimpleQueue()

    def run() -> None:
        while not stop.is_set():
            try:
                item = waiting.get_nowait()
            except Empty:
                return
            try:
                done.put((item, work(item, stop)))
            except Exception as failure:  # raised again by the caller's thread
                done.put((item, failure))

    crew = [threading.Thread(target=run, daemon=True) for _ in range(min(threads, len(items)))]
    try:
        for thread in crew:
            thread.start()
        for _ in items:
            item, result = _next(done)
            if isinstance(result, Exception) and not isinstance(result, InputError):
                raise result
            yield item, result
    finally:
        stop.set()
        deadline = time.monotonic() + JOIN
        for thread in crew:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))


def _next(queue: SimpleQueue[T]) -> T:
    """The next of a queue, in waits short enough for Ctrl-C to be heard everywhere."""
    while True:
        try:
            return queue.get(timeout=0.5)
        except Empty:
            continue


def all_in_threads(
    work: Callable[[T, threading.Event], R], items: Sequence[T], threads: int
) -> Generator[tuple[T, R], None, None]:
    """As `in_threads`, but the first failure ends it."""
    with closing(in_threads(work, items, threads)) as results:
        for item, result in results:
            if isinstance(result, InputError):
                raise result
            yield item, result
