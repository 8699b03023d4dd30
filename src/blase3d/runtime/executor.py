"""One function over many items, on any `concurrent.futures` executor."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import suppress
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from ..errors import InputError, WorkerError
from .precision import in_float32
from .threads import stay_with_one_blas_thread

Item = TypeVar("Item")
Result = TypeVar("Result")

_TRIES = 3
"""Attempts at an item whose worker dies."""
_AHEAD = 2
"""Tasks per worker that are submitted ahead; it bounds the memory."""


class LocalPool(Executor):
    """Processes on this machine, each on one core. A broken pool is replaced.

    Processes are spawned, not forked: JAX runs threads, which do not survive a fork.

    Raises
    ------
    InputError
        The number of workers is not a whole one from 1.
    """

    def __init__(self, workers: int):
        if not isinstance(workers, int | np.integer) or workers < 1:
            raise InputError(f"got workers={workers!r}, expected a whole number from 1.")
        self.workers = int(workers)
        self._pool = self._open()

    def _open(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self.workers, mp_context=context, initializer=_start_worker)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        try:
            return self._pool.submit(fn, *args, **kwargs)
        except BrokenExecutor:
            self._without_readers()
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = self._open()
            return self._pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait, cancel_futures=cancel_futures)

    def stop(self) -> None:
        """End the processes now, whatever they are doing."""
        for process in list((self._pool._processes or {}).values()):
            process.terminate()
        self._without_readers()
        self.shutdown(cancel_futures=True)

    def _without_readers(self) -> None:
        """Close the end of the queue of tasks that dead workers read, where Python does not.

        Up to Python 3.11.4, the thread that fills the queue would otherwise wait for them for ever,
        and this process for the thread (CPython issue 94777). Later versions close it in a thread:
        closed by both at once, its number may be that of a pipe of the next pool by then.
        """
        if sys.version_info >= (3, 11, 5):
            return
        if (queue := getattr(self._pool, "_call_queue", None)) is not None:
            with suppress(OSError):
                queue._reader.close()


def _start_worker() -> None:
    """Prepare a process of a pool. It ends with its parent, which also handles Ctrl-C."""
    _one_core()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Exit when the parent has ended, even by SIGKILL; workers would wait for tasks for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _one_core() -> None:
    """Keep XLA and BLAS from starting one thread per core in every process."""
    stay_with_one_blas_thread()
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = (
        f"{flags} --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    )


def run(
    function: Callable[[Any], Result], items: Iterable[Item], executor: Executor | None = None
) -> Iterator[tuple[Item, Result | InputError]]:
    """Yield items with their results, in the order in which they are finished.

    An item that raises `InputError` gets the error as its result; the others continue. An item
    whose worker dies is tried again, the last time alone, after all others: a pool that breaks
    ends all running tasks, including unrelated ones. Items are drawn from `items` as workers
    become free. Without an executor, items are processed one by one in this process.
    """
    if executor is None:
        for item in items:
            yield item, _attempt(function, item)
        return
    _refuse_fork(executor)
    queue = iter(items)
    ahead = _AHEAD * max(getattr(executor, "workers", 0) or _workers_of(executor), 1)
    pending: dict[Future[Result | InputError], tuple[Item, int]] = {}
    suspects: list[Item] = []
    while True:
        for item in islice(queue, ahead - len(pending)):
            pending[executor.submit(_attempt, function, item)] = item, 1
        if not pending and suspects:
            item = suspects.pop()
            pending[executor.submit(_attempt, function, item)] = item, _TRIES
        if not pending:
            return
        for future in wait(pending, return_when=FIRST_COMPLETED).done:
            item, tries = pending.pop(future)
            failure = future.exception()
            if failure is None:
                yield item, future.result()
            elif tries < _TRIES - 1:
                pending[executor.submit(_attempt, function, item)] = item, tries + 1
            elif tries < _TRIES:
                suspects.append(item)
            else:
                yield item, _given_up(tries, failure)


def _given_up(tries: int, failure: BaseException) -> WorkerError:
    return WorkerError(
        f"its worker died {tries} times ({_described(failure)}); if memory ran out, give fewer "
        "workers, and try again."
    )


def _refuse_fork(executor: Executor) -> None:
    """Raise InputError for a pool of forked processes, in which JAX's threads would be missing."""
    context = getattr(executor, "_mp_context", None)
    if context is not None and context.get_start_method() == "fork":
        raise InputError(
            "got an executor that forks this process, expected one that spawns others: forked "
            "workers hang once JAX has run; give ProcessPoolExecutor("
            "mp_context=multiprocessing.get_context('spawn'))."
        )


def from_here(items: list[Item]) -> list[Item]:
    """Rotate the items by the number of this process.

    Two processes that work on one archive then share the items instead of doing all of them twice.
    """
    start = os.getpid() % max(len(items), 1)
    return items[start:] + items[:start]


def _workers_of(executor: Executor) -> int:
    """Number of workers that a cluster has now."""
    cores = getattr(getattr(executor, "_client", None), "ncores", None)
    return sum(cores().values()) if cores is not None else 2


@in_float32
def _attempt(function: Callable[[Any], Result], item: Any) -> Result | InputError:
    """The result, or an error: of the item, or an unforeseen one, which stops no other."""
    try:
        return function(item)
    except InputError as error:
        return error
    except OSError as error:
        return WorkerError(
            f"a file cannot be read or written ({_described(error)}); check the path, the disk and "
            "the connection, and try again."
        )
    except Exception as error:
        return WorkerError(f"it failed unexpectedly ({_described(error)}); please report this.")


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
