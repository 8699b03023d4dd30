"""The paper's protocol: labels of noise-free nodes, Teff sought within 500 K of the truth.

    python benchmarks/protocol.py --grid ../shared/data/synspec-cat.npz \\
        --run gradient=default.zip gp=default.zip gp=paper.zip --json protocol.json

The labels are the only unknowns; the other two are sought over the whole library. Of each model
nodes are normalised as its recipe does it. `gradient` takes all nodes of the library, `gp` (100
random and 20 guided evaluations) a seeded subset of 60. Mean absolute errors, below and above
7000 K, stand beside those that the paper gives for 210 nodes of its own library.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import blase3d as b3
from blase3d.spectra.continuum import normalise

SPLIT = 7000.0
"""K."""
PAPER = {"cool": (93.0, 0.24, 0.056, 200.0), "hot": (347.0, 0.26, 0.16, 200.0)}
"""Mean absolute errors of Teff (K), log g and [Fe/H], and seconds a star, as published."""


def main() -> None:
    args = parse_arguments()
    grid = b3.open_grid(args.grid)
    document: dict[str, Any] = {"grid": str(args.grid)}
    for run in args.run:
        method, _, path = run.partition("=")
        model = b3.load_model(path)
        nodes = np.arange(len(grid))
        if method == "gp":
            nodes = np.random.default_rng(args.seed).permutation(nodes)[: args.subset]
        rows: list[dict[str, Any]] = []
        for i in track(nodes, run):
            rows.append(tried(model, grid, int(i), method))
            document[run] = summaries(rows)
            if args.json is not None:
                args.json.write_text(json.dumps(document, indent=1))
        show(document)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The paper's protocol on the nodes of a library.")
    parser.add_argument("--grid", type=Path, required=True, help="the library of the models")
    parser.add_argument("--run", nargs="+", required=True, metavar="METHOD=MODEL")
    parser.add_argument("--subset", type=int, default=60, help="nodes that gp takes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def tried(model: b3.Model, grid: b3.Grid, i: int, method: str) -> dict[str, Any]:
    """Truth and answer of one node."""
    truth = grid.labels_of(i)
    star = replace(normalise(grid[i], model.recipe, truth["teff"]), error=None)
    answer = b3.infer(
        star,
        model,
        method=method,
        priors={"teff": b3.Prior(truth["teff"] - 500.0, truth["teff"] + 500.0)},
        fixed={"rv": 0.0, "vsini": 0.0, "resolution": np.inf},
        continuum_degree=-1,
        seed=i,
    )
    found = {name: estimate.value for name, estimate in answer.labels.items()}
    return {"truth": truth, "found": found, "seconds": answer.seconds, "flags": answer.flags}


def summaries(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Errors below and from `SPLIT` on, and all answers."""
    cool = [row for row in rows if row["truth"]["teff"] < SPLIT]
    hot = [row for row in rows if row["truth"]["teff"] >= SPLIT]
    parts = {
        part: summary(chosen) for part, chosen in zip(PAPER, (cool, hot), strict=True) if chosen
    }
    return {**parts, "rows": rows}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean absolute errors of the labels, and seconds a star."""
    errors = {
        name: float(np.mean([abs(row["found"][name] - row["truth"][name]) for row in rows]))
        for name in rows[0]["truth"]
    }
    on_bound = np.mean([any("at a bound" in flag for flag in row["flags"]) for row in rows])
    seconds = float(np.median([row["seconds"] for row in rows]))
    return {"n": len(rows), **errors, "seconds": seconds, "on a bound": float(on_bound)}


def show(document: dict[str, Any]) -> None:
    """Print what there is, beside the paper's own numbers."""
    table = Table("", "Teff", "n", "K", "log g", "[Fe/H]", "s a star", "on a bound")
    for part, published in PAPER.items():
        where = f"{'<' if part == 'cool' else '≥'} {SPLIT:.0f} K"
        table.add_row("paper, as published", where, "210", *(f"{v:g}" for v in published), "")
        for run, found in document.items():
            if run != "grid" and part in found:
                row = found[part]
                numbers = (row[name] for name in ("teff", "logg", "feh", "seconds", "on a bound"))
                table.add_row(run, where, str(row["n"]), *(f"{value:.3g}" for value in numbers))
    Console().print(table)


if __name__ == "__main__":
    main()
