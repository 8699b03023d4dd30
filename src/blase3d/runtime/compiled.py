"""Compiled code, kept on disk: compilation is most of the time of a short program."""

from __future__ import annotations

import atexit
import hashlib
import os
import platform
import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from .files import user_cache_folder
from .kept import is_keeping, trim

_MOST = 500_000_000
"""Bytes that are kept, those of the latest use."""
_SHORTEST = 0.1
"""Compilation time (s) from which on code is kept."""


@cache
def keep_compiled() -> None:
    """Keep the code that JAX compiles, here and in processes that are started from here.

    Code is of one kind of processor: a home folder may be shared by machines. Folders that the user
    has set for JAX take precedence.
    """
    if not is_keeping() or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    jax: Any = sys.modules.get("jax")
    if jax is not None and jax.config.jax_compilation_cache_dir is not None:
        return
    folder = user_cache_folder() / "compiled" / _processor()
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": _SHORTEST,
    }
    for name, value in settings.items():
        os.environ.setdefault(name.upper(), str(value))  # read when JAX is imported
        if jax is not None:
            jax.config.update(name, value)
    if jax is not None:  # it may have compiled something, and found no folder
        import_module("jax.experimental.compilation_cache.compilation_cache").reset_cache()
    atexit.register(trim, folder, _MOST)


def _processor() -> str:
    """A name for the instructions of this processor."""
    about = platform.machine() + platform.processor()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        about += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(about.encode()).hexdigest()[:12]
