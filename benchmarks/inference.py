"""Inference: its speed, and how often the intervals contain the true labels.

    python benchmarks/inference.py --model model.zip --out inference.json
    python benchmarks/inference.py --model model.zip --holdout ../shared/data/turbo-cat-offgrid.npz
    python benchmarks/inference.py --model model.zip --quick

`speed`: seconds a star, of wall and CPU time, compiled, with the labels, velocity, rotation and a
continuum of degree 3 free; the first star, with compilation; and the same stars from files by one
command, start, loading and compilation included, by one process and by two. `coverage`: stars
simulated from the model, with noise, velocity, rotation and a draw of the error that the model
states for itself, the part of it that looks like a change of labels included; how often the 68 %
and 95 % intervals hold the truth, beside the 99 % band of the binomial distribution, the mean and
the standard deviation of error over sigma, and the rank of the truth in ten bins. `holdout`:
spectra that are not of the model, noise-free and at several signal-to-noise ratios; here the error
of the model is real.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.interpolate import CubicSpline
from scipy.stats import binom, norm

import blase3d as b3
from blase3d.inference import infer_many
from blase3d.inference.likelihood.likelihood import make_likelihood
from blase3d.inference.problem import make_problem
from blase3d.inference.result import Estimate, Inference
from blase3d.model.instrument import Broadening, apply_instrument
from blase3d.runtime.units import SPEED_OF_LIGHT
from blase3d.spectra.broaden import broaden, log_grid

RESOLUTION = 50_000.0
WIDTHS = {"68": 1.0, "95": 1.959964}
MARGIN = 0.1
"""Part of the range of each label, at both ends, where no star is simulated."""


def main() -> None:
    args = parse_arguments()
    model = b3.load_model(args.model)
    document: dict[str, Any] = {"model": str(args.model), "pixels": int(model.wavelength.size)}
    stars = list(simulated(model, args.stars, args.snr, args.seed))
    document["speed"] = speed(model, [spectrum for spectrum, _ in stars[: args.timed]])
    document["speed"] |= by_command(args.model, [spectrum for spectrum, _ in stars[: args.timed]])
    print_rows("speed", document["speed"])
    for method in args.method:
        chosen = stars
        if method == "posterior":
            chosen = list(
                simulated(model, args.posterior_stars, args.snr, args.seed, args.posterior_span)
            )
        found = answers(model, chosen, method)
        document[f"coverage {method}"] = judged(found)
        print_judged(f"stars simulated from the model, {method}", document[f"coverage {method}"])
    if args.holdout is not None:
        document["holdout"] = {}
        for snr in (None, 30.0, 100.0, 300.0):
            noisy = list(held_out(model, args.holdout, snr, args.draws, args.seed))
            name = "noise-free" if snr is None else f"S/N {snr:g}"
            document["holdout"][name] = judged(answers(model, noisy, "gradient"))
            print_judged(f"held out, {name}", document["holdout"][name])
    if args.out is not None:
        args.out.write_text(json.dumps(document, indent=1))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed and coverage of the inference.")
    parser.add_argument("--model", type=Path, required=True, help="made by blase3d build")
    parser.add_argument("--holdout", type=Path, help="grid of spectra that are not in the model")
    parser.add_argument("--method", nargs="+", default=["gradient"], help="gradient, posterior")
    parser.add_argument("--stars", type=int, default=1000)
    parser.add_argument("--posterior-stars", type=int, default=60)
    parser.add_argument("--posterior-span", type=float, help="Å that these show; all if not given")
    parser.add_argument("--timed", type=int, default=100, help="stars that are timed")
    parser.add_argument("--draws", type=int, default=10, help="noise draws of a held-out spectrum")
    parser.add_argument("--snr", type=float, default=100.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="50 stars, 20 timed, 6 by posterior")
    parser.add_argument("--out", type=Path, help="JSON")
    args = parser.parse_args()
    if args.quick:
        args.stars, args.timed, args.posterior_stars, args.draws = 50, 20, 6, 2
    return args


Star = tuple[b3.Spectrum, dict[str, float]]


def simulated(
    model: b3.Model, count: int, snr: float, seed: int, span: float | None = None
) -> Iterator[Star]:
    """Stars drawn from all that the model says, its own error included, over a span (Å)."""
    rng = np.random.default_rng(seed)
    low, high = np.array(list(model.bounds.values())).T
    wavelength = model.wavelength[150:-150]
    if span is not None:
        middle = 0.5 * (wavelength[0] + wavelength[-1])
        wavelength = wavelength[np.abs(wavelength - middle) < 0.5 * span]
    for _ in range(count):
        part = rng.uniform(MARGIN, 1.0 - MARGIN, low.size)
        truth = dict(zip(model.label_names, (low + part * (high - low)).tolist(), strict=True))
        truth |= {"rv": rng.uniform(-50.0, 50.0), "vsini": rng.uniform(3.0, 20.0)}
        exact = seen(model, wavelength, truth, rng.normal(size=len(model.error_modes)))
        star = noisy_star(wavelength, exact, snr, rng)
        shifted = truth | dict(zip(truth, moved(model, star, truth, rng), strict=True))
        exact += seen(model, wavelength, shifted) - seen(model, wavelength, truth)
        yield noisy_star(wavelength, exact, snr, rng), truth


def seen(
    model: b3.Model,
    wavelength: np.ndarray,
    truth: dict[str, float],
    amplitudes: np.ndarray | None = None,
) -> np.ndarray:
    """The flux of a star, changed by the modes of the model's error times their amplitudes."""
    flux = model.flux(**{name: truth[name] for name in model.label_names})
    flux = flux if amplitudes is None else flux + amplitudes @ model.error_modes
    whole, place = model.split_log_pixels(wavelength)
    broadening = Broadening(rv=truth["rv"], vsini=truth["vsini"], resolution=RESOLUTION)
    observed = apply_instrument(model.forward, flux, place, broadening, whole=whole)
    return np.asarray(observed, float)


def moved(
    model: b3.Model, star: b3.Spectrum, truth: dict[str, float], rng: np.random.Generator
) -> np.ndarray:
    """The parameters of a star, moved by a draw of the error that looks like a change of them."""
    likelihood = make_likelihood(make_problem(star, model))
    theta = np.array([truth[name] for name in likelihood.problem.names])
    errors = likelihood.refined(likelihood.predicted(theta)).errors
    step = rng.multivariate_normal(np.zeros(theta.size), errors.model_covariance, method="eigh")
    return np.clip(theta + step, likelihood.problem.lower, likelihood.problem.upper)


def noisy_star(
    wavelength: np.ndarray, flux: np.ndarray, snr: float | None, rng: np.random.Generator
) -> b3.Spectrum:
    """A spectrum with a continuum and noise of 1/snr of the continuum."""
    x = np.linspace(-1.0, 1.0, wavelength.size)
    level = 1.0 + rng.normal(0.0, 0.1) * x + rng.normal(0.0, 0.05) * x**2
    if snr is None:
        return b3.Spectrum(wavelength, level * flux, resolution=RESOLUTION)
    error = level / snr
    noise = error * rng.normal(size=flux.size)
    return b3.Spectrum(wavelength, level * flux + noise, error, resolution=RESOLUTION)


def held_out(
    model: b3.Model, path: Path, snr: float | None, draws: int, seed: int
) -> Iterator[Star]:
    """Held-out spectra within the labels, rotated and seen as the simulated stars are."""
    grid = b3.open_grid(path)
    rng = np.random.default_rng(seed)
    low, high = np.array(list(model.bounds.values())).T
    for i in range(len(grid)):
        labels = grid.labels_of(i)
        values = np.array([labels[name] for name in model.label_names])
        if not ((values >= low) & (values <= high)).all():
            continue
        star = grid[i]
        plain = star.flux / (star.continuum if star.continuum is not None else 1.0)
        for _ in range(1 if snr is None else draws):
            truth = {"rv": rng.uniform(-50.0, 50.0), "vsini": rng.uniform(3.0, 20.0)}
            ln = log_grid(star.wavelength)
            on_log = CubicSpline(star.wavelength, plain)(np.exp(ln))
            step = SPEED_OF_LIGHT * (ln[1] - ln[0])
            seen = broaden(np.asarray(on_log, np.float32), step, truth["vsini"], RESOLUTION)
            wavelength = star.wavelength[150:-150]
            at = np.log(wavelength / (1.0 + truth["rv"] / SPEED_OF_LIGHT))
            flux = CubicSpline(ln, np.asarray(seen, float))(at)
            yield noisy_star(wavelength, flux, snr, rng), {**labels, **truth}


def speed(model: b3.Model, spectra: list[b3.Spectrum]) -> dict[str, float]:
    """Seconds of the first star, and of the others."""
    start = time.process_time()
    b3.infer(spectra[0], model)
    first = time.process_time() - start
    seconds, cpu = [], []
    for spectrum in spectra:
        start, begun = time.perf_counter(), time.process_time()
        b3.infer(spectrum, model)
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - begun)
    return {
        "first star, compiling (s of CPU time)": first,
        "a star, median (s of CPU time)": float(np.median(cpu)),
        "a star, median (s)": float(np.median(seconds)),
        "a star, 95th percentile (s)": float(np.percentile(seconds, 95)),
        f"{len(seconds)} stars (s)": float(np.sum(seconds)),
    }


def by_command(model: Path, spectra: list[b3.Spectrum]) -> dict[str, float]:
    """Seconds that `blase3d infer` takes for all spectra, in files, all it loads included."""
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / f"{k}.npz") for k in range(len(spectra))]
        for spectrum, file in zip(spectra, files, strict=True):
            b3.write_spectrum(spectrum, file)
        for workers in (1, 2):
            table = str(Path(folder) / f"{workers}.ecsv")
            command = ["blase3d", "infer", *files, "--model", str(model), "-o", table]
            start = time.perf_counter()
            subprocess.run([*command, "--workers", str(workers)], check=True, capture_output=True)
            taken = time.perf_counter() - start
            seconds[f"by one command, {workers} processes (s)"] = taken
    return seconds


Answer = tuple[Inference, dict[str, float]]


def answers(model: b3.Model, stars: list[Star], method: str) -> list[Answer]:
    spectra = [spectrum for spectrum, _ in stars]
    found: list[Answer] = []
    for place, answer in infer_many(spectra, model, method=method):
        if isinstance(answer, Inference):
            found.append((answer, stars[place][1]))
        else:
            print(f"\n{place}: {answer}", file=sys.stderr)
        print(f"\r{method}: {place + 1}/{len(stars)}\x1b[K", end="", flush=True)
    print()
    return found


def judged(found: list[Answer]) -> dict[str, Any]:
    """For each parameter: coverage with its band, errors in sigmas, ranks, and absolute errors."""
    names = [name for name in found[0][1] if name in {**found[0][0].labels, **found[0][0].nuisance}]
    return {name: judged_one(found, name) for name in names}


def judged_one(found: list[Answer], name: str) -> dict[str, Any]:
    pairs = [({**answer.labels, **answer.nuisance}[name], truth[name]) for answer, truth in found]
    known = [(estimate, truth) for estimate, truth in pairs if np.isfinite(estimate.sigma)]
    error = np.array([estimate.value - truth for estimate, truth in pairs])
    pull = np.array([(estimate.value - truth) / estimate.sigma for estimate, truth in known])
    row: dict[str, Any] = {"n": len(pairs), "on a bound": len(pairs) - len(known)}
    row |= {"mean abs. error": float(np.abs(error).mean())}
    row |= {"mean of error/sigma": float(pull.mean()), "std of error/sigma": float(pull.std())}
    for level, width in WIDTHS.items():
        share = 2.0 * norm.cdf(width) - 1.0
        hits = np.mean([in_interval(estimate, truth, width) for estimate, truth in known])
        row[level] = float(hits)
        band = binom.interval(0.99, len(known), share)
        row[f"{level} band"] = [float(edge) / len(known) for edge in band]
    ranks = np.histogram(norm.cdf(-pull), bins=10, range=(0.0, 1.0))[0]
    return {**row, "ranks": ranks.tolist()}


def in_interval(estimate: Estimate, truth: float, width: float) -> bool:
    low = estimate.q50 - width * (estimate.q50 - estimate.q16)
    high = estimate.q50 + width * (estimate.q84 - estimate.q50)
    return low <= truth <= high


def print_rows(title: str, rows: dict[str, float]) -> None:
    table = Table("", "", title=title)
    for name, value in rows.items():
        table.add_row(name, f"{value:.3g}")
    Console().print(table)


def print_judged(title: str, rows: dict[str, Any]) -> None:
    table = Table("", *rows, title=title)
    for key in next(iter(rows.values())):
        cells = (row[key] for row in rows.values())
        table.add_row(key, *(shown(cell) for cell in cells))
    Console().print(table)


def shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(f"{item:.3g}" for item in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
