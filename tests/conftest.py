"""Settings and fixtures of all tests."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path

import jaxlib
import platformdirs

CACHE = Path(os.environ.get("BLASE3D_TEST_CACHE") or platformdirs.user_cache_path("blase3d-tests"))
COMPILED = CACHE / f"compiled-{platform.node()}"
"""Compiled code, kept between sessions and shared by processes; of this machine's processor."""
MOST_COMPILED = 500e6
"""Bytes of it that are kept."""
# Read when JAX is imported, also by processes that a test starts.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(COMPILED))
# All of it: most compilations are of small operations.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

# The models of who runs the tests are not those of the tests, nor of processes that they start.
os.environ["BLASE3D_MODELS"] = str(CACHE / "no-models")
# Nor is their cache: a test computes what it needs.
os.environ.setdefault("BLASE3D_COMPILED", "off")
# There is a process for each core; more threads of small linear algebra wait for each other, and
# double the time of Gaussian processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax  # noqa: E402
import pytest  # noqa: E402
from cli_runner import Done, status_of  # noqa: E402
from hypothesis import settings  # noqa: E402

# The same examples every time; others are looked for with `--hypothesis-profile=search`.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile("steady")


MOST_PROCESSES = 4
"""Of tests at once: each takes up to 2.5 GB of memory."""


SHORT = "not long"
"""The marker expression in pyproject.toml."""
QUICK = (SHORT, "x64")
"""Marker expressions of tests that are compiled quickly."""


QUICK_EMITTERS = "xla_cpu_use_fusion_emitters"
"""Flag of XLA; false compiles small programs in half of the time if little is optimised."""


def _xla_knows(flag: str) -> bool:
    """Whether XLA has a flag: one that it does not know ends the process.

    As a string that ends in NUL: of a flag that was removed (JAX 0.12), the list of reserved names
    of `DebugOptions` still has the name, without NUL.
    """
    library = Path(jaxlib.__file__).with_name("libjax_common.so")
    if not library.exists():
        return False
    with library.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        return content.find(f"\0{flag}\0".encode()) >= 0


def _compile_quickly() -> None:
    """Optimise little, also in processes that a test starts.

    Most programs of short tests run once, and compiling takes longer than running them.
    """
    if "JAX_DISABLE_MOST_OPTIMIZATIONS" in os.environ:
        return
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    jax.config.update("jax_disable_most_optimizations", True)
    if _xla_knows(QUICK_EMITTERS):
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --{QUICK_EMITTERS}=false"


def _names_files(config: pytest.Config) -> bool:
    return all(".py" in argument for argument in config.args)


def pytest_configure(config: pytest.Config) -> None:
    """Run the long tests too of files that are named; compile quickly what is in `QUICK`."""
    if config.option.markexpr == SHORT and _names_files(config):
        config.option.markexpr = ""
    if config.option.markexpr in QUICK:
        _compile_quickly()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Processes of `-n auto`: one per processor for folders, none beside this one for files."""
    return 0 if _names_files(config) else min(os.cpu_count() or 1, MOST_PROCESSES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start modules with most long tests first, so that no process waits for another at the end."""
    long = Counter(item.path for item in items if item.get_closest_marker("long"))
    items.sort(key=lambda item: -long[item.path])


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say which tests run, and where compiled code is kept."""
    short = config.option.markexpr == SHORT
    hint = 'short tests only; all of them: pytest -m ""'
    return [*([hint] if short else []), f"compiled code: {COMPILED}"]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Delete the oldest compiled code beyond what is kept, in the first process alone."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    files = [(path.stat(), path) for path in COMPILED.glob("*")]
    files.sort(key=lambda file: file[0].st_mtime, reverse=True)
    size = 0
    for stat, path in files:
        size += stat.st_size
        if size > MOST_COMPILED:
            path.unlink(missing_ok=True)


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


MAPS = Path("/proc/self/maps")
"""Memory maps of this process, a line each, on Linux."""
MOST_MAPS = 30_000
"""Of 65,530 that Linux grants a process; compiled code takes a few for each program."""


@pytest.fixture(autouse=True, scope="module")
def _few_memory_maps():
    """Forget compiled code after a module that leaves too many memory maps for the next one."""
    yield
    if MAPS.exists() and MAPS.read_text("utf-8").count("\n") > MOST_MAPS:
        with suppress(RuntimeError):  # a server's thread compiles; the next module forgets that too
            jax.clear_caches()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """A command of `blase3d`, by its words."""

    def call(*words: object) -> Done:
        capsys.readouterr()
        status = status_of(*words)
        return Done(status, *capsys.readouterr())

    return call
