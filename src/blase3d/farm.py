"""The farm: one function over many items, on any `concurrent.futures` executor."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from itertools import islice
from typing import Any, TypeVar

from .errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 4
"""Tasks submitted ahead, so that memory is bounded whatever the number of items."""


def local_pool(workers: int) -> Executor:
    """Processes on this machine, each on one core.

    They are spawned, not forked (JAX runs threads, which do not survive a fork).
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_one_core)


def _one_core() -> None:
    """Keep XLA from starting as many threads as there are cores in every process."""
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = (
        f"{flags} --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    )


def run(
    function: Callable[[Any], Result], items: Iterable[Item], executor: Executor | None = None
) -> Iterator[tuple[Item, Result | InputError]]:
    """Results in the order in which they are finished, each beside its item.

    An item at fault gives its error instead of a result; the others go on. Items are drawn only
    as room is free. Without an executor everything runs here, one after the other.
    """
    if executor is None:
        for item in items:
            yield item, _attempt(function, item)
        return
    queue = iter(items)
    pending: dict[Future[Result | InputError], Item] = {}
    while True:
        for item in islice(queue, _AHEAD - len(pending)):
            pending[executor.submit(_attempt, function, item)] = item
        if not pending:
            return
        for future in wait(pending, return_when=FIRST_COMPLETED).done:
            yield pending.pop(future), future.result()


def _attempt(function: Callable[[Any], Result], item: Any) -> Result | InputError:
    try:
        return function(item)
    except InputError as error:
        return error
