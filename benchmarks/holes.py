"""How much do missing nodes increase the error?

    python benchmarks/holes.py --data ../shared/data --wave 8650:8750
    python benchmarks/holes.py --cost

The library is cloned and built whole, and with 5 % of its nodes removed at random; the table has
the errors at held-out spectra of both models. With --cost, CPU time and memory of completing ragged
boxes.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np

from blase3d.fitting.build import build
from blase3d.fitting.clone_grid import clone
from blase3d.libraries import open_grid
from blase3d.libraries.grid import Grid
from blase3d.model.completion import Completion
from blase3d.recipe import DEFAULT
from blase3d.runtime.executor import LocalPool
from blase3d.spectra.continuum import normalise
from commands import aside

BOXES = (
    *((14, 6, 5, 1), (28, 12, 5, 1), (30, 12, 5, 3)),
    *((30, 12, 9, 3), (40, 13, 11, 4), (50, 13, 11, 5), (78, 13, 12, 8)),
)
"""Values of Teff, log g, [Fe/H] and [α/Fe] of boxes whose holes are filled."""
GRID, HELD = "turbo-cat.npz", "turbo-cat-offgrid.npz"


def main() -> None:
    """Print the table; with --json write the numbers too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--wave", default="8650:8750", help="Å, vacuum")
    parser.add_argument("--share", type=float, default=0.05, help="of the nodes that are removed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cost", action="store_true", help="of completing ragged boxes")
    args = parser.parse_args()
    if args.cost:
        for shape in BOXES:
            print(shape, *aside(cost, shape))
        return
    low, high = map(float, args.wave.split(":"))
    nodes = open_grid(args.data / GRID).cut(low, high)
    held = open_grid(args.data / HELD).cut(low, high)
    rows = [measure(grid, held, args.workers) for grid in (nodes, holed(nodes, args))]
    print("nodes  holes  held-out flux rms: median  mean  worst (1e-4)")
    for row in rows:
        print("{nodes:5d} {holes:6d} {median:25.2f} {mean:6.2f} {worst:6.2f}".format(**row))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


def cost(shape: tuple[int, ...]) -> tuple[int, int, float, float, float, float]:
    """Nodes of a box, those that are missing, CPU seconds of its equations and of 20 values at each
    node, in double and in single precision, and the largest memory of the process, MB."""
    axes = [np.arange(count, dtype=float) for count in shape]
    index = np.array(list(product(*map(range, shape))))
    teff, logg, feh, alpha = index.T
    here = logg >= (teff - shape[0] // 2) / 3
    here &= (alpha == 0) | ((feh > 1) & (teff < 0.7 * shape[0]))
    here &= np.random.default_rng(0).random(len(here)) > 0.02
    start = time.process_time()
    completion = Completion.of(axes, index[here])
    made = time.process_time()
    values = np.random.default_rng(1).normal(size=(here.sum(), 20))
    _ = completion @ values
    found = time.process_time()
    _ = completion @ values.astype(np.float32)
    single = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = made - start, found - made, single - found
    return len(here), int((~here).sum()), *seconds, peak


def holed(grid: Grid, args: argparse.Namespace) -> Grid:
    """The grid without some of its nodes, none of them a corner of the box."""
    inner = np.flatnonzero(
        ((grid.box_index > 0) & (grid.box_index < np.array(grid.shape) - 1)).any(axis=1)
    )
    count = max(round(args.share * len(grid)), 1)
    gone = np.random.default_rng(args.seed).choice(inner, count, replace=False)
    return grid.take(np.setdiff1d(np.arange(len(grid)), gone))


def measure(grid: Grid, held: Grid, workers: int) -> dict[str, float]:
    """Clone, build, and compare with the held-out spectra."""
    with tempfile.TemporaryDirectory() as folder, LocalPool(workers) as pool:
        model = build(clone(grid, Path(folder) / "clones.zarr", DEFAULT, pool, say))
    errors = []
    for i, spectrum in enumerate(held):
        difference = np.asarray(model.flux(**held.labels_of(i))) - normalise(spectrum, DEFAULT).flux
        errors.append(1e4 * np.sqrt(np.mean(difference**2)))
    return {
        "nodes": len(grid),
        "holes": grid.n_holes,
        "median": float(np.median(errors)),
        "mean": float(np.mean(errors)),
        "worst": float(np.max(errors)),
    }


def say(stage: str, done: int, total: int) -> None:
    """Progress on stderr."""
    print(f"\r{stage} {done}/{total}    ", end="", file=sys.stderr)


if __name__ == "__main__":
    main()
