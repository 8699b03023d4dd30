"""Commands of blase3d in a process of their own, measured.

    python benchmarks/commands.py synth model.zip --teff 5500 -o made.npz

Imports of the package stay out of this file: a child starts with the memory of its parent.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any


def main() -> None:
    """Run the command that is given, and print its output and what it took."""
    row, output = measured("command", *sys.argv[1:])
    print(output + json.dumps(row))


def measured(stage: str, *words: object) -> tuple[dict[str, object], str]:
    """Run a command of blase3d; its seconds and largest memory (MB), and its output.

    A child starts with the memory of its parent: what is less than this process takes is not seen.
    """
    command = [sys.executable, "-m", "blase3d", *map(str, words)]
    print(f"{stage}: blase3d {' '.join(command[3:])}", file=sys.stderr)
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        out.seek(0), err.seek(0)
        said, failed = out.read(), err.read()
    if child.returncode:
        raise SystemExit(f"{stage} ended with status {child.returncode}:\n{failed[-2000:]}")
    cpu = usage.ru_utime + usage.ru_stime
    row = {"stage": stage, "seconds": seconds, "cpu": cpu, "peak_mb": usage.ru_maxrss / 1024}
    return row, said


def aside(function: Callable[..., Any], *arguments: object) -> Any:
    """The result of a function in another process, so that this one stays small."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


if __name__ == "__main__":
    main()
