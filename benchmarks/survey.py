"""Memory and overhead of `blase3d infer` against the number of stars, without the fits.

    python benchmarks/survey.py --stars 1000 10000 100000

A stack of spectra of 200 pixels is labelled by a fit that returns at once, in a process of its own:
reading, storing, the log and the table remain.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from blase3d.analysis import many_stars
from blase3d.inference.result import Estimate, Inference
from blase3d.model.installed import model_path

PIXELS = 200
BLOCK = 1000
SURVEY = "--survey"
"""First argument of the process that is measured."""


def main() -> None:
    """Print a line for each number of stars, or do one survey."""
    if sys.argv[1:2] == [SURVEY]:
        survey(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stars", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--ending", default="parquet", help="format of the table")
    args = parser.parse_args()
    print("stars  peak memory of the command (MB)  CPU (ms a star)  table (MB)")
    for count in args.stars:
        print("{:6d}  {:8.0f}  {:8.2f}  {:8.1f}".format(count, *measured(count, args.ending)))


def measured(count: int, ending: str) -> tuple[float, float, float]:
    """Peak memory (MB), CPU per star (ms) and size of the table (MB)."""
    with tempfile.TemporaryDirectory() as folder:
        stack, table = Path(folder, "stack.npz"), Path(folder, f"table.{ending}")
        write_stack(stack, count)
        words = [sys.executable, __file__, SURVEY, str(stack), str(table)]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        memory, seconds = map(float, done.stdout.split()[-2:])
        return memory, 1e3 * seconds / count, table.stat().st_size / 1e6


def write_stack(path: Path, count: int) -> None:
    """Write a stack, as maps of a file so that this process stays small."""
    flux = np.ones((count, PIXELS), np.float32)
    wavelength = 8500.0 + np.arange(PIXELS)
    meta = json.dumps({"medium": "vacuum", "resolution": 11500.0})
    np.savez(path, wavelength=wavelength, flux=flux, error=0.01 * flux, meta=meta)


def survey(stack: str, table: str) -> None:
    """Label a stack, and print peak memory (MB) and CPU (s)."""
    from blase3d.cli import app

    many_stars.infer = lambda *_, **__: answer()
    app(["infer", stack, "--model", str(model_path("rvs")), "-o", table], standalone_mode=False)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_maxrss / 1e3, used.ru_utime + used.ru_stime)


def answer() -> Inference:
    """An answer without a fit."""
    pixels = np.ones(PIXELS)
    names = ("teff", "logg", "feh", "rv")
    found = {name: Estimate.normal(1.0, 0.1) for name in names}
    return Inference(
        labels={name: found[name] for name in names[:3]},
        nuisance={"rv": found["rv"]},
        fixed={},
        names=names,
        covariance=np.eye(4),
        chi2_red=1.0,
        method="gradient",
        seconds=0.0,
        flags=("rv at a bound", "12 outlying pixels given less weight"),
        n_pixels=PIXELS,
        n_masked=0,
        wavelength=pixels,
        flux=pixels,
        model=pixels,
        error=pixels,
    )


if __name__ == "__main__":
    main()
