"""Run the examples with samplers, and compare what they print with the outputs that the page shows.

    python tools/run_examples.py                     # extras: posterior, samplers
    python tools/run_examples.py dynesty_star        # one of them
    python tools/run_examples.py --store             # keep what they print as their outputs

The words have to be the same, and numbers within a third or 0.1: draws depend on the versions of
JAX and of the samplers. Effective numbers of draws, which vary most, are not compared. Each example
takes one to six minutes of a processor.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
OUTPUTS = EXAMPLES / "outputs"
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
EFFECTIVE = re.compile(r" +\d+\.\d\d( +\d\.\d\d)$")
"""The column n_eff of a table of NumPyro, before the last one."""
RELATIVE, ABSOLUTE = 1 / 3, 0.1


def differences(printed: str, stored: str) -> list[str]:
    """Return a sentence for each line that differs from the stored output."""
    lines, expected = printed.splitlines(), stored.splitlines()
    if len(lines) != len(expected):
        return [f"printed {len(lines)} lines, expected {len(expected)}"]
    return [
        f"printed {line!r}, expected {other!r}"
        for line, other in zip(lines, expected, strict=True)
        if not agree(line, other)
    ]


def agree(line: str, expected: str) -> bool:
    """Whether two lines have the same words, and about the same numbers."""
    line, expected = (EFFECTIVE.sub(r"\1", one) for one in (line, expected))
    if NUMBER.sub("#", line).split() != NUMBER.sub("#", expected).split():
        return False
    pairs = zip(numbers(line), numbers(expected), strict=True)
    return all(abs(a - b) <= max(ABSOLUTE, RELATIVE * abs(b)) for a, b in pairs)


def numbers(line: str) -> list[float]:
    return [float(one) for one in NUMBER.findall(line)]


def run(name: str) -> str:
    """Return what an example prints; say what it took."""
    before = cpu_seconds()
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"], check=True, stdout=subprocess.PIPE, text=True
    )
    print(f"{name}: {cpu_seconds() - before:.0f} s of CPU time", flush=True)
    return done.stdout


def cpu_seconds() -> float:
    """Return the CPU time of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    every = sorted(path.stem for path in OUTPUTS.glob("*.txt"))
    parser = argparse.ArgumentParser(description="Run the examples with samplers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(every)}")
    parser.add_argument("--store", action="store_true", help="keep what they print")
    arguments = parser.parse_args()
    found = []
    for name in arguments.names or every:
        printed, path = run(name), OUTPUTS / f"{name}.txt"
        if arguments.store:
            path.write_text(printed, "utf-8")
        else:
            sentences = differences(printed, path.read_text("utf-8"))
            found += [f"{name}: {sentence}" for sentence in sentences]
    if found:
        raise SystemExit("\n".join(found))


if __name__ == "__main__":
    main()
