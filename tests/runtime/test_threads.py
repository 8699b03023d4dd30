"""BLAS with one thread: while a function runs, in nested calls, and in several threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from blase3d.runtime.threads import one_blas_thread

pytestmark = pytest.mark.lowest


def blas_threads() -> set[int]:
    return {row["num_threads"] for row in threadpool_info() if row["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def two_threads():
    np.eye(2) @ np.eye(2)  # loads BLAS
    with threadpool_limits(2, user_api="blas"):
        if blas_threads() != {2}:
            pytest.skip("the BLAS of this machine has one thread")
        yield


def test_one_thread_while_the_function_runs_and_as_before_afterwards():
    assert one_blas_thread()(blas_threads)() == {1}
    assert blas_threads() == {2}


def test_nested_calls_restore_once():
    @one_blas_thread()
    def outer():
        return one_blas_thread()(blas_threads)(), blas_threads()

    assert outer() == ({1}, {1})
    assert blas_threads() == {2}


def test_restored_after_an_error():
    with pytest.raises(ZeroDivisionError):
        one_blas_thread()(lambda: 1 / 0)()
    assert blas_threads() == {2}


def test_the_number_is_restored_after_calls_in_two_threads():
    for _ in range(2):
        thread = threading.Thread(target=one_blas_thread()(blas_threads))
        thread.start()
        thread.join(10.0)
    assert one_blas_thread()(blas_threads)() == {1}
    assert blas_threads() == {2}
