"""Does the same job give the same numbers again, in another environment or with another JAX?

    python benchmarks/fixed_job.py --json here.json
    python benchmarks/fixed_job.py --against here.json

Twelve spectra of the toy universe are cloned and built; a star with noise is inferred by each
method, compared with two models and synthesised. `--json` stores all numbers with all digits;
`--against` prints their differences from those of a file, and ends with status 1 where they exceed
`TOLERANCES`.

Versions of XLA add float32 numbers in different orders, and the many steps of a fit or of a random
search amplify the differences. The tolerances are twice to twenty times those between JAX 0.8.0
with the lowest versions of other packages, JAX 0.10.2 with these, and JAX 0.10.2 with the newest.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import blase3d as b3
from blase3d.libraries import write_grid
from blase3d.libraries.toy import toy_flux, toy_grid

AXES = {"teff": (5000.0, 5500.0, 6000.0), "logg": (4.0, 5.0), "feh": (-0.5, 0.5)}
RANGE = 8503.6, 8519.4
"""Å"""
QUICK = {"rounds": 1, "epochs": 20, "window": 400, "margin": 50}
TRUTH = {"teff": 5730.0, "logg": 4.32, "feh": -0.13}
SHARP = {"vsini": 0.0, "resolution": float("inf")}
SNR = 100.0
TOLERANCES = {"flux": 1e-3, "gradient": 0.2, "posterior": 0.5, "gp": 0.5}
"""Of fluxes in units of the continuum; of labels and their intervals in standard deviations."""

Numbers = dict[str, list[float]]


def main() -> None:
    """Do the job, and print or keep or compare its numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="where to keep the numbers")
    parser.add_argument("--against", type=Path, help="numbers kept earlier")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {"jax": version("jax"), "numbers": job(Path(folder))}
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))
    if args.against:
        sys.exit(report(found, json.loads(args.against.read_text())))


def job(folder: Path) -> Numbers:
    """The numbers of the job, done in an empty folder through every public function."""
    write_grid(toy_grid(AXES).cut(*RANGE), folder / "grid.npz")
    grid = b3.open_grid(folder / "grid.npz")
    b3.clone(grid, str(folder / "clones"), b3.get_recipe("default", **QUICK))
    clones = b3.open_archive(str(folder / "clones"))
    b3.save_model(b3.build(clones), folder / "model.zip")
    model = b3.load_model(folder / "model.zip")
    b3.write_spectrum(star(grid.wavelength), folder / "star.npz")
    seen = b3.read_spectrum(folder / "star.npz")
    numbers: Numbers = {
        "flux": np.asarray(model.flux(**TRUTH), np.float64).tolist(),
    }
    for method in methods():
        fixed = SHARP | {"rv": 0.0} if method == "gp" else SHARP  # few trials do not find it
        answer = b3.infer(seen, model, method=method, fixed=fixed, seed=3, draws=50, chains=2)
        numbers[method] = estimates(answer)
    small = b3.build(clones, small=True)
    compared = b3.compare(seen, {"whole": model, "small": small}, fixed=SHARP)
    numbers["compare"] = [candidate.chi2 for candidate in compared.candidates]
    ((_, answer),) = b3.infer_many([seen], model, fixed=SHARP)
    numbers["many"] = estimates(answer)
    return numbers


def star(wavelength: np.ndarray) -> b3.Spectrum:
    """A star that is no node, with noise."""
    flux, error = toy_flux(TRUTH, wavelength), np.full(wavelength.size, 1.0 / SNR)
    noise = np.random.default_rng(5).normal(size=wavelength.size)
    return b3.Spectrum(wavelength, flux + error * noise, error)


def methods() -> tuple[Any, ...]:
    """Those that are installed."""
    return ("gradient", "gp", "posterior") if find_spec("blackjax") else ("gradient", "gp")


def estimates(answer: b3.Inference) -> list[float]:
    """Value and standard deviation of each parameter, in turn."""
    both = (answer.labels | answer.nuisance).values()
    return [number for one in both for number in (one.value, one.sigma)]


# Beside other numbers


def report(found: dict[str, Any], other: dict[str, Any]) -> int:
    """Print how far two results are apart; 1 where that is too far, else 0."""
    print(f"JAX {other['jax']} and {found['jax']}")
    apart = distances(found["numbers"], other["numbers"])
    for name, distance in apart.items():
        print(f"{name:10} {distance:8.2g}   allowed {TOLERANCES[name]:g}")
    return int(any(not distance <= TOLERANCES[name] for name, distance in apart.items()))


def distances(one: Numbers, two: Numbers) -> dict[str, float]:
    """Differences of the results that both have, in the units of `TOLERANCES`."""
    return {
        name: (distance if name == "flux" else sigmas)(one[name], two[name])
        for name in TOLERANCES
        if name in one and name in two
    }


def distance(one: list[float], two: list[float]) -> float:
    """The largest difference."""
    return float(np.abs(np.subtract(one, two)).max())


def sigmas(one: list[float], two: list[float]) -> float:
    """The largest difference of values or standard deviations, in the standard deviation."""
    ours, theirs = (np.reshape(numbers, (-1, 2)) for numbers in (one, two))
    return float((np.abs(ours - theirs) / ours[:, 1:]).max())


if __name__ == "__main__":
    main()
