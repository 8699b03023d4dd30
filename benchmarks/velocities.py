"""How often is the first velocity of a star wrong, where pixels or lines are missing?

    python benchmarks/velocities.py --model rvs --stars 150 --json velocities.json

Stars of a model have random labels, velocities within 150 km/s, v sin i of 2, 10 or 40 km/s and S/N
of 6 to 100. The search for labels starts at the velocity that is measured here, by comparison with
templates; it seldom recovers where that is off by more than a line's width. The table has the
fraction of such stars: off by more than the largest of 5 km/s, half of v sin i, and 0.3 times the
standard deviation of the line spread.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

import blase3d as b3
from blase3d.inference.problem import make_problem
from blase3d.inference.start import scan_of
from blase3d.runtime.units import FWHM_PER_SIGMA, SPEED_OF_LIGHT

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
SAMPLING = 2.5
"""Pixels per resolution element."""
STRONGEST = 3
"""Lines that are masked."""


def main() -> None:
    """Print the table of failures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="rvs", help="name or file")
    parser.add_argument("--resolution", type=float, default=11_500.0)
    parser.add_argument("--stars", type=int, default=150)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    model, rng = b3.load_model(args.model), np.random.default_rng(args.seed)
    strongest = strongest_lines(model)
    failed: dict[str, list[bool]] = {}
    for _ in track(range(args.stars), "stars", console=Console(stderr=True)):
        for case, wrong in of_one_star(model, strongest, args.resolution, rng):
            failed.setdefault(case, []).append(wrong)
    rows = {case: float(np.mean(found)) for case, found in failed.items()}
    table = Table("pixels", "wrong", title=f"{args.stars} stars of {args.model}")
    for case, fraction in rows.items():
        table.add_row(case, f"{fraction:.0%}")
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


def of_one_star(
    model: b3.Model, strongest: Floats, resolution: float, rng: np.random.Generator
) -> Iterator[tuple[str, bool]]:
    """Whether the first velocity of a random star is wrong, in each case."""
    low, high = model.wavelength[[0, -1]] * [1.0006, 0.9994]
    wave = np.exp(np.arange(np.log(low), np.log(high), 1.0 / resolution / SAMPLING))
    labels = {name: float(rng.uniform(axis[0], axis[-1])) for name, axis in model.axes.items()}
    rv, vsini = float(rng.uniform(-150.0, 150.0)), float(rng.choice([2.0, 10.0, 40.0]))
    noise = 10.0 ** -rng.uniform(0.8, 2.0)
    effects = {"rv": rv, "vsini": vsini, "resolution": resolution}
    flux = np.asarray(model.flux(**labels, wavelength=wave, **effects), np.float64)
    observed = flux + noise * rng.normal(size=wave.size)
    enough = max(5.0, 0.5 * vsini, 0.3 * SPEED_OF_LIGHT / resolution / FWHM_PER_SIGMA)
    for case, kept in selections(strongest, wave, rv, rng).items():
        values = observed[kept] + (flux[kept] * _slow_wave(wave[kept]) if case == WAVY else 0.0)
        error = np.full(values.size, noise)
        star = b3.Spectrum(wave[kept], values, error, resolution=resolution)
        first = scan_of(make_problem(star, model)).first["rv"]
        yield case, abs(first - rv) > enough


WAVY = "all, with a continuum of 4 % off"


def selections(
    strongest: Floats, wave: Floats, rv: float, rng: np.random.Generator
) -> dict[str, Bools]:
    """Pixels (P,) that are there, by case."""
    every, shifted = np.ones(wave.size, bool), 1.0 + rv / SPEED_OF_LIGHT
    distance = np.abs(wave[:, None] - strongest * shifted).min(axis=1)
    span = float(rng.choice([30.0, 60.0]))
    first = rng.uniform(wave[0], wave[-1] - span)
    blocks = rng.random(int(np.ptp(wave) / 3.0) + 1) < 0.5
    return {
        "all": every,
        WAVY: every,
        "without the strongest lines, 2 Å to each side": distance > 2.0,
        "without the strongest lines, 6 Å to each side": distance > 6.0,
        "30 or 60 Å": (wave > first) & (wave < first + span),
        "half of all, in pieces of 3 Å": blocks[((wave - wave[0]) / 3.0).astype(int)],
    }


def strongest_lines(model: b3.Model) -> Floats:
    """Centres of the strongest lines, Å, in the middle of the labels."""
    middle = {name: float(np.median(axis)) for name, axis in model.axes.items()}
    depth = 1.0 - np.asarray(model.flux(**middle, resolution=5_000.0), np.float64)
    found: list[float] = []
    for at in np.argsort(-depth):
        line = float(model.wavelength[at])
        if all(abs(line - other) > 15.0 for other in found):
            found.append(line)
        if len(found) == STRONGEST:
            break
    return np.array(found)


def _slow_wave(wave: Floats) -> Floats:
    return 0.04 * np.sin(wave / 8.0)


if __name__ == "__main__":
    main()
