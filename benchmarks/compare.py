"""Which library made a star? Spectra of two libraries, with noise, against the models of both.

example: python benchmarks/compare.py --model turbo.zip synspec.zip \
    --grid ../shared/data/turbo-cat-offgrid.npz ../shared/data/synspec-cat.npz
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from blase3d.analysis.comparison import compare
from blase3d.libraries import open_grid
from blase3d.libraries.grid import Grid
from blase3d.model.model import Model
from blase3d.model.model_file import load_model
from blase3d.spectra.spectrum import Spectrum

HELD = {"resolution": float("inf"), "vsini": 0.0}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", nargs=2, type=Path, required=True)
    parser.add_argument("--grid", nargs=2, type=Path, required=True, help="spectra of each library")
    parser.add_argument("--stars", type=int, default=15, help="of each library")
    parser.add_argument("--snr", nargs="+", type=float, default=[30.0, 100.0, 300.0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=Path("compare.json"))
    args = parser.parse_args()
    models = {path.stem: load_model(path) for path in args.model}
    rows = []
    for own, path in zip(models, args.grid, strict=True):
        for snr in args.snr:
            rows.append(judged(own, open_grid(path), snr, models, args))
            print_row(rows[-1])
    args.json.write_text(json.dumps(rows))
    print_table(rows)


def judged(
    own: str, grid: Grid, snr: float, models: dict[str, Model], args: argparse.Namespace
) -> dict[str, float | str]:
    """Number of spectra of the library `own` for which it is chosen."""
    rng = np.random.default_rng(args.seed)
    chosen = rng.choice(len(grid), min(args.stars, len(grid)), replace=False)
    right = sure = poor = edges = 0
    for i in chosen:
        node = grid[int(i)]
        flux = node.flux / node.continuum
        noisy = flux + rng.normal(0.0, 1.0 / snr, flux.size)
        star = Spectrum(node.wavelength, noisy, error=np.full(flux.size, 1.0 / snr))
        found = compare(star, models, fixed=HELD)
        right += found.best.name == own
        sure += found.best.name == own and found.best.odds > 0.99
        poor += any("fits poorly" in warning for warning in found.warnings)
        edges += any("on the edge" in warning for warning in found.warnings)
    count = len(chosen)
    return {
        "library": own,
        "snr": snr,
        "stars": count,
        "right": right,
        "sure_and_right": sure,
        "poor": poor,
        "edge_warnings": edges,
    }


def print_row(row: dict[str, float | str]) -> None:
    print(" ".join(f"{key}={value}" for key, value in row.items()), flush=True)


def print_table(rows: list[dict[str, float | str]]) -> None:
    table = Table(title="the library that made the star")
    for key in rows[0]:
        table.add_column(key.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
