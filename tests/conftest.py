"""What several test modules need."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# What one process compiles, those that it starts need not. Read when JAX is imported.
_COMPILED = tempfile.TemporaryDirectory(prefix="blase3d-compiled-", ignore_cleanup_errors=True)
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _COMPILED.name)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

import jax  # noqa: E402
import pytest  # noqa: E402
from cli_runner import Done, status_of  # noqa: E402
from hypothesis import settings  # noqa: E402

# The same examples every time; others are looked for with `--hypothesis-profile=search`.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile("steady")


@contextmanager
def _double() -> Iterator[None]:
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


@pytest.fixture
def double():
    """JAX in float64 for one test, so that finite differences mean something."""
    with _double():
        yield


@pytest.fixture(autouse=True, scope="module")
def _compiled_for_one_module():
    """What is compiled takes up maps of memory, of which Linux grants a process 65,530: the whole
    suite would need more, and die in the middle of a compilation."""
    yield
    jax.clear_caches()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """A command of `blase3d`, by its words."""

    def call(*words: object) -> Done:
        capsys.readouterr()
        status = status_of(*words)
        return Done(status, *capsys.readouterr())

    return call
