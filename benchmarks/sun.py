"""The Sun observed with UVES: how accurate are the labels of a known star, and what limits them?

    python benchmarks/sun.py --model opt.zip --json sun.json

The spectrum (`../shared/data/observed/sun-uves.npz`, 6050–6350 Å) states neither errors nor
resolution, and has gaps and telluric lines; the model is one of `turbo-opt`. Labels are inferred
with macroturbulence and resolution fitted, telluric bands masked and not; with rotation and
macroturbulence of the literature, and fitted at a resolution that is given; and with a Gaussian
alone for all that broadens lines. Then, at the labels of the literature, the
lines are compared with the Sun's: by depth, the median change that they ask for, and by how much
half of them disagree with that.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import blase3d as b3
from blase3d.inference.likelihood.likelihood import make_likelihood
from blase3d.inference.problem import Options, make_problem

SUN = Path("../shared/data/observed/sun-uves.npz")
LITERATURE = {"teff": 5772.0, "logg": 4.44, "feh": 0.0, "rv": 0.22, "vsini": 1.6, "vmac": 3.6}
GIVEN = "both of the literature"
"""The run with rotation and macroturbulence of the literature: its resolution fits to these."""
RESOLUTION = 80_000.0
DEPTHS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0)


def main() -> None:
    args = parse_arguments()
    model, star = b3.load_model(args.model), b3.read_spectrum(args.sun)
    turbulent = {"vmac": b3.Prior(0.0, 10.0)}
    runs: dict[str, dict[str, Any]] = {
        "macroturbulence and resolution fitted": {
            "priors": turbulent,
            "fixed": {"vsini": LITERATURE["vsini"]},
        },
        "telluric bands not masked": {
            "priors": turbulent,
            "fixed": {"vsini": LITERATURE["vsini"]},
            "telluric": False,
        },
        GIVEN: {
            "fixed": {name: LITERATURE[name] for name in ("vsini", "vmac")},
        },
        f"both fitted at {RESOLUTION:,.0f}": {
            "priors": {**turbulent, "vsini": b3.Prior(0.0, 10.0)},
            "fixed": {"resolution": RESOLUTION},
        },
        "a Gaussian alone": {},
    }
    document: dict[str, Any] = {"literature": LITERATURE}
    document["answers"] = {
        name: answer(model, star, {"telluric": True, **options}) for name, options in runs.items()
    }
    document["lines"] = compared(model, star, document["answers"][GIVEN])
    show(document)
    if args.json is not None:
        args.json.write_text(json.dumps(document, indent=1))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The labels of the Sun.")
    parser.add_argument("--model", type=Path, required=True, help="a model of turbo-opt")
    parser.add_argument("--sun", type=Path, default=SUN)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def answer(model: b3.Model, star: b3.Spectrum, options: dict[str, Any]) -> dict[str, Any]:
    """The inferred values, with sigmas and flags."""
    found = b3.infer(star, model, **options)
    estimates = {**found.labels, **found.nuisance}
    values = {name: (float(e.value), float(e.sigma)) for name, e in estimates.items()}
    return {**values, "flags": list(found.flags)}


def compared(
    model: b3.Model, star: b3.Spectrum, found: dict[str, Any]
) -> list[dict[str, float | int]]:
    """Lines of the model at the labels from the literature, compared with the Sun, by depth."""
    fixed = {**LITERATURE, "resolution": found["resolution"][0]}
    del fixed["rv"]
    likelihood = make_likelihood(make_problem(star, model, {}, fixed, Options(telluric=True)))
    fit = likelihood.fitted(likelihood.predicted(np.array([LITERATURE["rv"]])))
    used = likelihood.problem.spectrum.good
    flux = likelihood.problem.spectrum.flux[used]
    depth, strength = changes(flux, fit.flux[used], fit.continuum[used])
    rows: list[dict[str, float | int]] = []
    for low, high in pairwise(DEPTHS):
        change = strength[(depth > low) & (depth <= high) & (strength != 0.0)]
        middle = float(np.median(change))
        half = float(np.median(np.abs(change - middle)))
        rows.append({"from": low, "to": high, "n": change.size, "median": middle, "half": half})
    return rows


def changes(
    flux: np.ndarray, fitted: np.ndarray, continuum: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Depth of each line, between two maxima of the fitted flux, and the best relative change of
    its absorption."""
    plain = fitted / continuum
    begins = np.diff(np.sign(np.diff(plain)), prepend=0, append=0) < 0
    edges = np.unique([0, *np.flatnonzero(begins)])
    absorbed = continuum - fitted
    square = np.add.reduceat(absorbed**2, edges)
    change = np.add.reduceat(absorbed * (fitted - flux), edges) / np.maximum(square, 1e-30)
    return np.maximum.reduceat(absorbed / continuum, edges), change


def show(document: dict[str, Any]) -> None:
    """Print answers and lines."""
    names = ("teff", "logg", "feh", "vsini", "vmac", "resolution")
    console = Console(width=130)
    table = Table("", *names, title="the Sun")
    table.add_row("literature", *(f"{document['literature'].get(name, '')}" for name in names))
    for run, found in document["answers"].items():
        cells = (f"{found[n][0]:.5g} ± {found[n][1]:.2g}" if n in found else "" for n in names)
        table.add_row(run, *cells)
    console.print(table)
    table = Table("depth", "lines", "median change", "half within", title="lines of the model")
    for row in document["lines"]:
        table.add_row(
            f"{row['from']:g}–{row['to']:g}",
            str(row["n"]),
            f"{row['median']:+.3f}",
            f"{row['half']:.3f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
