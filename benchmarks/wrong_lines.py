"""How good are the labels of stars whose lines differ from those of the model?

    python benchmarks/wrong_lines.py --model opt.zip --json wrong.json

Transitions are known to several per cent at best, profiles no better. Stars are simulated from a
model whose lines are changed at random: strengths by Student's t of 4 degrees of freedom, of a
scale of 0.3 in ln a for weak lines and less for strong ones; Gaussian widths by 10 %, Lorentzian
ones by 30 %. Their labels are inferred with the model as it is.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import blase3d as b3

STRENGTH, GAUSS, LORENTZ = 0.3, 0.1, 0.3
KNOWN, LEAST = 0.3, 0.15
"""Depth from which strengths are known better, in inverse proportion, and the least part left."""
SEEN = {"rv": 3.0, "vsini": 2.0, "resolution": 60_000.0}
CHANGED = {
    "strengths": (STRENGTH, 0.0, 0.0),
    "shapes": (0.0, GAUSS, LORENTZ),
    "both": (STRENGTH, GAUSS, LORENTZ),
}


def main() -> None:
    args = parse_arguments()
    model = b3.load_model(args.model)
    truth = dict(zip(model.label_names, args.labels, strict=True))
    rows = []
    for changed, scales in CHANGED.items():
        stars = [simulated(model, truth, scales, args.snr, seed) for seed in range(args.stars)]
        rows.append({"changed": changed, **judged(model, truth, stars)})
    show(rows, model.label_names)
    if args.json is not None:
        args.json.write_text(json.dumps(rows, indent=1))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Stars whose lines are not those of the model.")
    parser.add_argument("--model", type=Path, required=True, help="made by blase3d build")
    labels = {"type": float, "nargs": "+", "default": [5772.0, 4.4, -0.1]}
    parser.add_argument("--labels", **labels, help="of the stars, in the order of the model")
    parser.add_argument("--stars", type=int, default=40)
    parser.add_argument("--snr", type=float, default=300.0)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def simulated(
    model: b3.Model,
    truth: dict[str, float],
    scales: tuple[float, float, float],
    snr: float,
    seed: int,
) -> b3.Spectrum:
    """A star with changed lines, and noise."""
    rng = np.random.default_rng(seed)
    strength, gauss, lorentz = scales
    params = model.lines(**truth).params
    depth = np.exp(params[:, 1] - params[:, 2]) / np.sqrt(2.0 * np.pi)
    base = np.array(model.line_grid.base)
    base[:, 1] += strength * np.clip(KNOWN / depth, LEAST, 1.0) * rng.standard_t(4, len(base))
    base[:, 2] += gauss * rng.normal(size=len(base))
    base[:, 3] += lorentz * rng.normal(size=len(base))
    other = model.with_lines(replace(model.line_grid, base=base))
    wavelength = model.wavelength[200:-200]
    flux = np.asarray(other.flux(**truth, **SEEN, wavelength=wavelength), np.float64)
    error = np.full(flux.size, 1.0 / snr)
    noisy = flux + error * rng.normal(size=flux.size)
    return b3.Spectrum(wavelength, noisy, error, resolution=SEEN["resolution"])


def judged(
    model: b3.Model, truth: dict[str, float], stars: list[b3.Spectrum]
) -> dict[str, list[float]]:
    """Of each label, the rms of errors, the median of those stated, and the rms of the ratio."""
    found = [b3.infer(star, model).labels for star in stars]
    wrong = np.array([[labels[name].value - truth[name] for name in truth] for labels in found])
    stated = np.array([[labels[name].sigma for name in truth] for labels in found])
    return {
        "rms": rms(wrong),
        "stated": np.median(stated, axis=0).tolist(),
        "pull": rms(wrong / stated),
    }


def rms(values: NDArray[np.float64]) -> list[float]:
    """Root mean square over stars."""
    return np.sqrt(np.mean(values**2, axis=0)).tolist()


def show(rows: list[dict[str, Any]], names: tuple[str, ...]) -> None:
    """Print a table."""
    table = Table("wrong", *(f"{n}: error / stated, pull" for n in names))
    for row in rows:
        triples = zip(row["rms"], row["stated"], row["pull"], strict=True)
        cells = (f"{error:.3g} / {stated:.3g}, {pull:.2f}" for error, stated, pull in triples)
        table.add_row(row["changed"], *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
