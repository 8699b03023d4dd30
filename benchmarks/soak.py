"""Does memory grow over many inferences in one process?

    python benchmarks/soak.py --json soak.json
    python benchmarks/soak.py --count 1000

Small spectra of the toy universe, each at labels, a velocity and noise of its own, of several
lengths and ranges, are inferred one after the other with one model. The resident memory is sampled,
and so is the number of functions compiled; a line through what follows the warm-up says how much
memory grows with each inference.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

import blase3d as b3
from blase3d.libraries.toy import LINES, WAVELENGTH, toy_flux, toy_grid, toy_lines
from blase3d.model.line_grid import LineGrid
from blase3d.model.model import Model

SHARP = {"vsini": 0.0, "resolution": float("inf")}
LENGTHS = 256, 384
"""Pixels of a spectrum, least and most."""
ERROR = 0.01
SAMPLES = 50


def main() -> None:
    """Infer, sample, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    samples = []
    for sample in soak(toy_model(), args.count, np.random.default_rng(args.seed)):
        samples.append(sample)
        row = "{done:6d} {mb:7.1f} MB {compiled:4d} compiled {seconds:7.0f} s"
        print(row.format(**sample), flush=True)
        if args.json:
            args.json.write_text(json.dumps(summary(samples), indent=1))
    print("{kb_each:.3f} kB an inference after the warm-up".format(**summary(samples)))


def toy_model() -> b3.Model:
    """The true lines at the nodes, interpolated."""
    grid = toy_grid()
    params = np.stack([toy_lines(labels).params for labels in grid.labels])
    base = np.zeros(params.shape[1:], np.float32)
    surface = LineGrid(LINES[:, 0], base, params[:, :, 1], params[:, :, [0, 2, 3]])
    recipe = b3.get_recipe("default", catalogue="equality", composition="sum", residual=0.0)
    return Model(grid.wavelength, grid.axes, surface, recipe)


def soak(model: b3.Model, count: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """A sample now and then, over `count` inferences."""
    compiled = counted_compilations()
    start, every = time.perf_counter(), max(count // SAMPLES, 1)
    for done in range(1, count + 1):
        b3.infer(star(rng), model, fixed=SHARP)
        if done % every == 0:
            seconds = time.perf_counter() - start
            yield {"done": done, "mb": resident(), "compiled": len(compiled), "seconds": seconds}


def counted_compilations() -> list[float]:
    """A list that gets longer with each compilation from now on."""
    seconds: list[float] = []

    def listen(event: str, duration: float, **_: Any) -> None:
        if event.endswith("backend_compile_duration"):
            seconds.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return seconds


def star(rng: np.random.Generator) -> b3.Spectrum:
    """A star at labels of chance, seen in a range of chance."""
    labels = {
        "teff": rng.uniform(5100.0, 6400.0),
        "logg": rng.uniform(4.1, 4.9),
        "feh": rng.uniform(-0.4, 0.4),
    }
    length = int(rng.integers(*LENGTHS))
    first = int(rng.integers(50, WAVELENGTH.size - length - 50))
    wavelength = WAVELENGTH[first : first + length]
    flux = toy_flux(labels, wavelength) + rng.normal(0.0, ERROR, length)
    return b3.Spectrum(wavelength, flux, np.full(length, ERROR))


def resident() -> float:
    """MB of this process, after what nobody refers to is gone."""
    gc.collect()
    rows = Path("/proc/self/status").read_text().splitlines()
    return int(next(row for row in rows if row.startswith("VmRSS")).split()[1]) / 1024


def summary(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """The samples, and the slope of memory (kB an inference) since the last compilation; NaN if
    that was just now."""
    late = [row for row in samples if row["compiled"] == samples[-1]["compiled"]]
    slope = float("nan")
    if len(late) > 2:
        slope = np.polyfit([row["done"] for row in late], [row["mb"] for row in late], 1)[0]
    return {"samples": samples, "kb_each": 1024.0 * float(slope)}


if __name__ == "__main__":
    main()
