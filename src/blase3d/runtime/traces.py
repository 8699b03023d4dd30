"""Functions that JAX compiles, with traces in the cache folder: a short program spends more time on
tracing its functions than on running them."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, is_dataclass
from functools import update_wrapper
from typing import Any, Generic

import jax
import jax.export
import jaxlib
import numpy as np
from numpy.typing import NDArray

from .kept import digest_of_code, is_keeping, kept_arrays
from .precision import Arguments, Returned

_LOG = logging.getLogger(__name__)

_PACKAGE = __name__.partition(".")[0]
"""Records of other code are not known by their names: that code may change."""
_CONFIG: Any = jax.config
_SETTINGS = ("jax_enable_x64", "jax_default_matmul_precision", "jax_numpy_dtype_promotion")
"""Settings of JAX that change a trace."""

digest_of_code()  # now: files may be edited while the code that was imported runs on


class TracedOnce(Generic[Arguments, Returned]):
    """A function compiled by `jax.jit`, whose traces are used by later processes again.

    Inside other functions that JAX traces it is that of `jax.jit`.

    Parameters
    ----------
    function : callable
        Arrays, and records and dicts of arrays, to an array or a tuple of arrays. What it does
        follows from its arguments and from the code of this package; with a record of other code,
        no trace is kept. Numbers may be arguments; in records and dicts they should be arrays,
        since traces for each value of a number there are apart.
    static : str or None
        The argument that is no array: a record of texts and numbers.
    """

    def __init__(self, function: Callable[Arguments, Returned], static: str | None = None):
        update_wrapper(self, function)
        self._function: Callable[..., Returned] = function
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._static = static
        self._compiled = jax.jit(function, static_argnames=static)
        self._signature = inspect.signature(function)
        self._known: dict[Hashable, Callable[..., Returned]] = {}

    def __call__(self, *args: Arguments.args, **named: Arguments.kwargs) -> Returned:
        bound = self._signature.bind(*args, **named)
        bound.apply_defaults()
        arguments = bound.arguments
        static = {self._static: arguments.pop(self._static)} if self._static else {}
        leaves, tree = jax.tree.flatten(arguments)
        if _CONFIG.jax_disable_jit or any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return self._compiled(*args, **named)
        key = tree, tuple(map(_kind, leaves)), tuple(static.values()), _settings()
        if key not in self._known:
            self._known[key] = self._traced(arguments, static, leaves, tree)
        return self._known[key](*leaves)

    def _traced(
        self, arguments: Mapping[str, Any], static: Mapping[str, Any], leaves: list[Any], tree: Any
    ) -> Callable[..., Returned]:
        """The function of the leaves of arguments: of an earlier trace if there is one."""

        def of_leaves(*leaves: Any) -> Returned:
            return self._function(**jax.tree.unflatten(tree, leaves), **static)

        plain = jax.jit(of_leaves)
        if not is_keeping() or not all(map(_on_default_device, leaves)):
            return plain
        try:
            about = [
                *(f"{name}:{_described_argument(x)}" for name, x in arguments.items()),
                *(f"{name}:{_described(x)}" for name, x in static.items()),
                *map(str, (self._name, *_settings(), *_versions())),
            ]
            inputs = [np.frombuffer("\n".join(about).encode(), np.uint8)]
            (stored,) = kept_arrays("traces", inputs, lambda: [_exported(plain, leaves)])
            return jax.jit(jax.export.deserialize(bytearray(stored)).call)
        except Exception:  # what cannot be kept can still be run
            _LOG.debug("no trace of %s is kept", self._name, exc_info=True)
            return plain


def traced_once(
    static: str | None = None,
) -> Callable[[Callable[Arguments, Returned]], TracedOnce[Arguments, Returned]]:
    """Decorator: as `jax.jit`, with traces in the cache folder (`TracedOnce`)."""
    return lambda function: TracedOnce(function, static)


def _settings() -> tuple[object, ...]:
    return tuple(getattr(_CONFIG, name) for name in _SETTINGS)


def _versions() -> tuple[str, ...]:
    return jax.__version__, jaxlib.__version__, jax.export.default_export_platform()


def _kind(leaf: Any) -> Hashable:
    """Type and shape of an array, and where it is: compiled code depends on them."""
    if isinstance(leaf, jax.Array):
        return leaf.aval, leaf.sharding
    return type(leaf), np.shape(leaf), getattr(leaf, "dtype", None)


def _on_default_device(leaf: Any) -> bool:
    """Whether an array is where the kept code runs."""
    if not isinstance(leaf, jax.Array):
        return _CONFIG.jax_default_device is None
    return [device.platform for device in leaf.devices()] == [jax.default_backend()]


def _exported(function: Any, leaves: list[Any]) -> NDArray[np.uint8]:
    """The trace of a compiled function, as bytes."""
    return np.frombuffer(jax.export.export(function)(*leaves).serialize(), np.uint8)


def _described_argument(value: Any) -> str:
    """A text for an argument: numbers differ from call to call, as elements of arrays do."""
    number = isinstance(value, int | float | np.generic)
    return type(value).__name__ if number else _described(value)


def _described(value: Any) -> str:
    """A text that tells values apart by all that a trace depends on.

    Raises
    ------
    TypeError
        The value is of a kind whose text might be that of another.
    """
    if value is None or isinstance(value, str | int | float | np.generic):
        return repr(value)
    if isinstance(value, jax.Array):
        return str(value.aval) + "w" * value.weak_type
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__}({', '.join(map(_described, value))})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_described(value[key])}' for key in sorted(value))}}}"
    if is_dataclass(value) and type(value).__module__.partition(".")[0] == _PACKAGE:
        parts = (f"{x.name}={_described(getattr(value, x.name))}" for x in fields(value))
        return f"{type(value).__qualname__}({', '.join(parts)})"
    raise TypeError(f"a trace of {type(value).__name__} is not kept")
