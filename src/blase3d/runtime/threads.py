"""One thread for linear algebra: of matrices with few rows, several spend their time waiting for
each other, the more the busier the machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import scipy.linalg  # noqa: F401 - loads its BLAS, which is not that of NumPy
from threadpoolctl import ThreadpoolController


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS has one thread within, and as many as before afterwards; also a decorator."""
    with _libraries().limit(limits=1):
        yield


def stay_with_one_blas_thread() -> None:
    """Leave BLAS one thread for the rest of this process."""
    _libraries().limit(limits=1)


@cache
def _libraries() -> ThreadpoolController:
    """The BLAS of NumPy and that of SciPy; to find them takes some milliseconds."""
    return ThreadpoolController().select(user_api="blas")
