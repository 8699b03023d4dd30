"""One thread for linear algebra: of matrices with few rows, several spend their time waiting for
each other, the more the busier the machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

import scipy.linalg  # noqa: F401 - loads its BLAS, which is not that of NumPy
from threadpoolctl import ThreadpoolController

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


def with_one_blas_thread(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """Decorator: BLAS has one thread while the function runs, as many as before afterwards."""

    @wraps(function)
    def run(*args: Arguments.args, **named: Arguments.kwargs) -> Returned:
        with _libraries().limit(limits=1):
            return function(*args, **named)

    return run


def stay_with_one_blas_thread() -> None:
    """Leave BLAS one thread for the rest of this process."""
    _libraries().limit(limits=1)


@cache
def _libraries() -> ThreadpoolController:
    """The BLAS of NumPy and that of SciPy; to find them takes some milliseconds."""
    return ThreadpoolController().select(user_api="blas")
