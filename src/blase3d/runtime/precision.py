"""JAX in float32, whatever the user has set: all computations here are made and tested for it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


def in_float32(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """Decorator: `jax_enable_x64` is off while the function runs, in this thread."""

    @wraps(function)
    def run(*args: Arguments.args, **named: Arguments.kwargs) -> Returned:
        with _without_x64():
            return function(*args, **named)

    return run


def _without_x64() -> AbstractContextManager[Any]:
    jax: Any = sys.modules.get("jax")
    if jax is None or not jax.config.jax_enable_x64:
        return nullcontext()
    return jax.enable_x64(False)
