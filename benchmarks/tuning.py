"""Tuning: do lines that are adjusted to a star hold on pixels that were masked out?

    python benchmarks/tuning.py sun --model opt.zip --out tuning.json
    python benchmarks/tuning.py simulated --model model.zip

`sun` takes the Sun by UVES (`../shared/data/observed/sun-uves.npz`) and a model of its range, with
telluric bands masked: the rms of data less model over masked-out pixels, in units of the continuum,
untuned and tuned, within lines (runs of half a line) and over whole lines (blocks of twelve), for
each step of what the errors of lines are multiplied by, and with strengths alone, with shifts too,
and with widths too. Labels are once inferred, and once those of the literature.

`simulated` takes stars from the model with lines changed at random by known amounts, seen with
noise, and compares changes found with the true ones, for lines of several depths: the correlation,
and the rms of the error beside that of the changes themselves.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import blase3d as b3
from blase3d.analysis.calibration.changes import with_changes
from blase3d.analysis.tuning import QUANTITIES, Scales, Tuned, tune
from blase3d.runtime.units import SPEED_OF_LIGHT

SUN = Path("../shared/data/observed/sun-uves.npz")
LITERATURE = {"teff": 5772.0, "logg": 4.44, "feh": 0.0, "vsini": 1.6}
RESOLUTION, SNR = 80_000.0, 200.0
DEPTHS = ((0.02, 0.05), (0.05, 0.1), (0.1, 0.3), (0.3, 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description="Do tuned lines hold on masked-out pixels?")
    parser.add_argument("what", choices=["sun", "simulated"])
    parser.add_argument("--model", type=Path, required=True, help="made by blase3d build")
    parser.add_argument("--stars", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="all quantities, labels inferred")
    parser.add_argument("--out", type=Path, help="JSON")
    args = parser.parse_args()
    model = b3.load_model(args.model)
    if args.what == "sun":
        rows = list(sun(model, args.quick))
        print_sun(rows)
    else:
        rows = [simulated(model, args.seed + i) for i in range(args.stars)]
        print_simulated(rows)
    if args.out is not None:
        args.out.write_text(json.dumps(rows, indent=1))


def sun(model: b3.Model, quick: bool) -> Iterator[dict[str, Any]]:
    spectrum = b3.read_spectrum(SUN)
    turbulence = {"vmac": b3.Prior(0.0, 8.0)}
    for labels in ("inferred", "of the literature"):
        given = {} if labels == "inferred" else {"fixed": LITERATURE, "priors": turbulence}
        for count in (3,) if quick else (1, 2, 3):
            start = time.perf_counter()
            found = tune(spectrum, model, telluric=True, adjust=QUANTITIES[:count], **given)
            yield {
                "case": labels,
                "adjusted": QUANTITIES[:count],
                "seconds": time.perf_counter() - start,
                **found.to_dict(),
            }
        if quick:
            return


def print_sun(rows: list[dict[str, Any]]) -> None:
    table = Table(title="the Sun: rms over masked-out pixels, 1e-4")
    for column in (
        *("labels", "adjusted", "times", "within lines: untuned", "tuned"),
        *("whole lines: untuned", "tuned", "chosen"),
    ):
        table.add_column(column, justify="right")
    for row in rows:
        for trial in row["trials"]:
            runs, blocks = trial["runs"], trial["blocks"]
            table.add_row(
                row["case"],
                ", ".join(row["adjusted"]),
                f"{trial['times']:g}",
                *(f"{1e4 * value:.0f}" for value in (runs["untuned"], runs["tuned"])),
                *(f"{1e4 * value:.0f}" for value in (blocks["untuned"], blocks["tuned"])),
                "yes" if trial == row["best"] else "",
            )
    Console(width=130).print(table)


def simulated(model: b3.Model, seed: int) -> dict[str, Any]:
    """One star of changed lines, and what is found of the changes."""
    rng = np.random.default_rng(seed)
    labels = {name: rng.uniform(*inner(ends)) for name, ends in model.bounds.items()}
    usual = Scales()
    size = np.array([[usual.strength, usual.shift, usual.width]]) * 0.5
    truth = rng.normal(size=(model.reference.size, 3)) * size
    truth[:, 1] *= model.reference / SPEED_OF_LIGHT
    other = with_changes(model, truth)
    flux = np.asarray(other.flux(**labels, resolution=RESOLUTION, rv=5.0), np.float64)
    star = b3.Spectrum(
        model.wavelength,
        flux + rng.normal(size=flux.size) / SNR,
        error=np.full(flux.size, 1.0 / SNR),
        resolution=RESOLUTION,
    )
    start = time.perf_counter()
    found = tune(star, model, fixed={"vsini": 0.0})
    depth = model.lines(**labels).central_depth(model.recipe.composition)
    return {
        "labels": labels,
        "seconds": time.perf_counter() - start,
        "best": None if found.best is None else asdict(found.best),
        "template_rms": template_error(found, flux, star),
        "lines": [recovered(truth, found.changes, depth, ends) for ends in DEPTHS],
    }


def inner(ends: tuple[float, float]) -> tuple[float, float]:
    low, high = ends
    return low + 0.2 * (high - low), high - 0.2 * (high - low)


def template_error(found: Tuned, flux: np.ndarray, star: b3.Spectrum) -> dict[str, float]:
    """The rms by which the untuned model at the labels found, and the template, miss the flux
    without noise."""
    inside = np.isin(star.wavelength, found.template.wavelength)
    answer = found.inference
    untuned = answer.model / np.median(answer.model / flux[inside])
    truth = flux[inside]
    return {
        "untuned": float(np.sqrt(np.mean((untuned - truth) ** 2))),
        "template": float(np.sqrt(np.mean((found.template.flux - truth) ** 2))),
        "noise": 1.0 / SNR,
    }


def recovered(
    truth: np.ndarray, found: np.ndarray, depth: np.ndarray, ends: tuple[float, float]
) -> dict[str, Any]:
    chosen = (depth >= ends[0]) & (depth < ends[1])
    result: dict[str, Any] = {"depth": ends, "lines": int(chosen.sum())}
    for k, name in enumerate(QUANTITIES):
        true, got = truth[chosen, k], found[chosen, k]
        result[name] = {
            "correlation": float(np.corrcoef(true, got)[0, 1]) if got.any() else 0.0,
            "rms": float(np.sqrt(np.mean(true**2))),
            "rms_error": float(np.sqrt(np.mean((got - true) ** 2))),
        }
    return result


def print_simulated(rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"simulated stars, S/N {SNR:g}, R {RESOLUTION:g}")
    for column in ("Teff", "depth", "lines", *QUANTITIES):
        table.add_column(column, justify="right")
    for row in rows:
        for part in row["lines"]:
            found = [part[name] for name in QUANTITIES]
            cells = [f"{x['correlation']:.2f} ({x['rms_error'] / x['rms']:.2f})" for x in found]
            table.add_row(
                f"{row['labels']['teff']:.0f}",
                f"{part['depth'][0]}–{part['depth'][1]}",
                f"{part['lines']}",
                *cells,
            )
    console = Console(width=130)
    console.print(table)
    print("correlation with the true change, and (rms error over rms of the changes)")
    for row in rows:
        best, error = row["best"], row["template_rms"]
        print(
            f"{row['labels']['teff']:.0f} K: flux without noise missed by {error['untuned']:.4f} "
            f"untuned, {error['template']:.4f} by the template (noise {error['noise']:.4f}); "
            f"chosen {best}; {row['seconds']:.0f} s"
        )


if __name__ == "__main__":
    main()
