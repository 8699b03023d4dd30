"""How long does a process take to its first answer?

    python benchmarks/start.py --json start.json

`blase3d infer` on the spectra of the demo: in a cache folder that is empty, once more in the same
folder, and without one. What does not depend on the star is timed by itself: the help, the imports
of the packages that an inference needs, and a second inference in one process. CPU seconds of
processes of their own, the least of some runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from commands import measured

# Imports of the package stay out of this file: a child starts with the memory of its parent.

STARS = {"rvs": "gaia-rvs.npz", "vis": "harps.npz"}
"""Spectrum of the demo that a model covers."""
IMPORTS = {
    "JAX and NumPy": "import jax.numpy",
    "and SciPy": "import jax.numpy, scipy.fft, scipy.interpolate, scipy.ndimage",
    "and astropy and zarr": "import jax.numpy, scipy.fft, scipy.interpolate, scipy.ndimage, "
    "zarr, astropy.io.fits, astropy.table",
}
AGAIN = """
import sys, time
import blase3d as b3
star, model = b3.read_spectrum(sys.argv[1]), b3.load_model(sys.argv[2])
b3.infer(star, model)
start = time.process_time()
b3.infer(star, model)
print(time.process_time() - start)
"""


def main() -> None:
    """Time all of it, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3, help="of each, the fastest counts")
    parser.add_argument("--models", nargs="+", choices=STARS, default=list(STARS))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = {"blase3d --help": least(lambda: cpu_of("--help"), args.runs)}
    for name, code in IMPORTS.items():
        rows[f"imports: {name}"] = least(lambda code=code: cpu_of_python(code), args.runs)
    with tempfile.TemporaryDirectory() as folder:
        for model in args.models:
            rows |= of_model(model, Path(folder), args.runs)
    for name, seconds in rows.items():
        print(f"{name:40s}{seconds:8.2f} CPU s")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


def of_model(model: str, folder: Path, runs: int) -> dict[str, float]:
    """CPU seconds of inferences with a packaged model."""
    star = Path(packaged_stars()) / STARS[model]
    command = ("infer", star, "--model", model)
    os.environ["BLASE3D_CACHE"] = str(folder / model)
    rows = {f"{model}: first inference": cpu_of(*command)}
    rows[f"{model}: in a later process"] = least(lambda: cpu_of(*command), runs)
    os.environ["BLASE3D_COMPILED"] = "off"
    rows[f"{model}: without a cache"] = cpu_of(*command)
    del os.environ["BLASE3D_COMPILED"]
    again = [sys.executable, "-c", AGAIN, str(star), model]
    rows[f"{model}: second in one process"] = float(subprocess.check_output(again))
    return rows


def packaged_stars() -> str:
    """The folder of the stars that ship with the package."""
    code = "from importlib.resources import files; print(files('blase3d.libraries') / 'data')"
    return subprocess.check_output([sys.executable, "-c", code], text=True).strip()


def cpu_of(*words: object) -> float:
    """CPU seconds of a command of blase3d."""
    row, _ = measured("start", *words)
    return float(str(row["cpu"]))


def cpu_of_python(code: str) -> float:
    """CPU seconds of a Python process that runs this code."""
    code += "\nimport time; print(time.process_time())"
    return float(subprocess.check_output([sys.executable, "-c", code]))


def least(seconds: Callable[[], float], runs: int) -> float:
    """The least of some runs."""
    return min(seconds() for _ in range(runs))


if __name__ == "__main__":
    main()
