"""Stars of a survey: their number per second, and whether the answers are those of `infer`.

    python benchmarks/survey_speed.py --model rvs --library rvs.npz --out survey.json
    python benchmarks/survey_speed.py --model vis --instrument many --stars 60 --compared 10

`instrument`: `rvs` has 2,401 pixels of 0.1 Å at a resolution of 11,500, `many` has 16,000 over most
of the range of the model at 28,000. Stars are simulated from the model at labels of its whole
range, S/N of 10 to 200, velocities to 200 km/s, rotations to 50 km/s and different slopes; held-out
spectra are those of a library, with the same noise. The labels, velocity, rotation and a continuum
of degree 3 are free. With the library of the model, rvspecfit (Koposov 2019) fits some of the stars
too. Times are CPU seconds of this process, with one thread: two processes on two cores fit twice
as many stars a second as one CPU second. (Threads that wait would count as well.) `equality`:
difference of `b3.Survey` and `b3.infer` in units of the errors of `infer`, ratio of the errors, and
the fraction of stars with the same flags.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is imported
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)

import numpy as np
from rich.console import Console
from rich.table import Table

import blase3d as b3
from blase3d.inference.result import Estimate, Inference
from blase3d.spectra.broaden import broaden, log_grid
from rivals.library import Library
from rivals.rvspecfit import fit_templates, rvspecfit_templates

PERCENTILES = (50, 90, 99, 100)


def main() -> None:
    args = parse_arguments()
    model, rng = b3.load_model(args.model), np.random.default_rng(args.seed)
    wavelength, resolution = instrument(args.instrument, model)
    document: dict[str, Any] = {"model": args.model, "pixels": wavelength.size}
    begin = time.process_time()
    survey = b3.Survey(model, wavelength, resolution=resolution, medium="vacuum", progress=progress)
    document["table"] = {"cpu_seconds": time.process_time() - begin, "rms_error": survey.error}
    rv = rng.uniform(-200.0, 200.0, args.stars)
    flux, error = observed(simulated(model, wavelength, resolution, rv, rng), rng)
    survey.infer(flux, error)  # compiles, for every number of stars at once
    answers, seconds = timed(survey, flux, error)
    document["speed"] = {"cpu_seconds_per_star": seconds, "stars_per_cpu_second": 1.0 / seconds}
    count = min(args.compared, args.stars)
    one_by_one, seconds = alone(model, wavelength, resolution, flux[:count], error[:count])
    document["speed"]["cpu_seconds_per_star_by_infer"] = seconds
    document["equality simulated"] = equality(answers[:count], one_by_one)
    if args.library is not None:
        stars = spectra(wavelength, resolution, flux[: args.rival], error[: args.rival])
        document["rvspecfit"] = rival(args.library, stars, rv, resolution)
    if args.holdout is not None:
        flux, error = observed(held_out(args.holdout, wavelength, resolution, rng), rng)
        one_by_one, _ = alone(model, wavelength, resolution, flux[:count], error[:count])
        document["equality held out"] = equality(
            survey.infer(flux[:count], error[:count]), one_by_one
        )
    show(document)
    if args.out is not None:
        args.out.write_text(json.dumps(document, indent=1))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed and accuracy for stars of a survey.")
    parser.add_argument("--model", default="rvs", help="name or path")
    parser.add_argument("--instrument", choices=("rvs", "many"), default="rvs")
    parser.add_argument("--stars", type=int, default=300)
    parser.add_argument("--compared", type=int, default=36, help="stars also fitted by infer")
    parser.add_argument("--library", type=Path, help="grid of the model, for rvspecfit")
    parser.add_argument("--rival", type=int, default=12, help="stars also fitted by rvspecfit")
    parser.add_argument("--holdout", type=Path, help="grid of spectra that are not in the model")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON")
    return parser.parse_args()


def progress(stage: str, done: int, total: int) -> None:
    """Print each tenth of the table."""
    if done * 10 // total > (done - 1) * 10 // total:
        print(f"{stage}: {done} of {total}", flush=True)


def instrument(name: str, model: b3.Model) -> tuple[np.ndarray, float]:
    """Wavelengths (P,) and resolution."""
    if name == "rvs":
        return 8460.0 + 0.1 * np.arange(2401), 11_500.0
    low, high = model.wavelength[[0, -1]]
    return np.linspace(low * 1.002, high / 1.002, 16_000), 28_000.0


def simulated(
    model: b3.Model,
    wavelength: np.ndarray,
    resolution: float,
    velocities: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Spectra (N, P) of stars over the whole range of a model."""
    low, high = np.array(list(model.bounds.values())).T
    found = []
    for rv in velocities:
        labels = dict(zip(model.label_names, rng.uniform(low, high), strict=True))
        effects = {"rv": rv, "vsini": rng.uniform(0.0, 50.0)}
        flux = model.flux(**labels, **effects, wavelength=wavelength, resolution=resolution)
        found.append(np.asarray(flux, float))
    return np.array(found)


def normalised(path: Path, low: float = 0.0, high: float = np.inf) -> Library:
    """The spectra of a grid with continua, over these, between two wavelengths."""
    grid = b3.open_grid(path)
    inside = (grid.wavelength > low) & (grid.wavelength < high)
    rows = [
        (node.flux / node.continuum)[inside] for node in map(grid.__getitem__, range(len(grid)))
    ]
    flux = np.array(rows, np.float32)
    return Library(grid.wavelength[inside], grid.label_names, np.array(grid.labels), flux)


def held_out(
    path: Path, wavelength: np.ndarray, resolution: float, rng: np.random.Generator
) -> np.ndarray:
    """Spectra (N, P) of a library as the instrument observes them."""
    library = normalised(path)
    ln = log_grid(library.wavelength)
    step = 299_792.458 * (ln[1] - ln[0])
    found = []
    for row in library.flux:
        flux = np.interp(ln, np.log(library.wavelength), row)
        effects = rng.uniform(0.0, 50.0), rng.uniform(-200.0, 200.0)
        broad = np.asarray(broaden(flux.astype(np.float32), step, effects[0], resolution))
        found.append(np.interp(np.log(wavelength) - np.log1p(effects[1] / 299_792.458), ln, broad))
    return np.array(found)


def observed(exact: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Fluxes and errors (N, P), with noise and a slope."""
    count, size = exact.shape
    error = 10.0 ** rng.uniform(-2.3, -1.0, (count, 1)) * np.ones(size)
    slope = 1.0 + rng.uniform(-0.3, 0.3, (count, 1)) * np.linspace(-1.0, 1.0, size)
    return (exact + error * rng.normal(size=exact.shape)) * slope, error * slope


def spectra(
    wavelength: np.ndarray, resolution: float, flux: np.ndarray, error: np.ndarray
) -> list[b3.Spectrum]:
    """Single spectra of the same stars."""
    pairs = zip(flux, error, strict=True)
    return [b3.Spectrum(wavelength, *pair, resolution=resolution) for pair in pairs]


def timed(survey: b3.Survey, flux: np.ndarray, error: np.ndarray) -> tuple[list[Any], float]:
    """Answers, and CPU seconds per star."""
    begin = time.process_time()
    answers = survey.infer(flux, error)
    return answers, (time.process_time() - begin) / len(flux)


def alone(
    model: b3.Model, wavelength: np.ndarray, resolution: float, flux: np.ndarray, error: np.ndarray
) -> tuple[list[Any], float]:
    """Answers of `infer`, and CPU seconds per star, without compilation."""
    stars = spectra(wavelength, resolution, flux, error)
    b3.infer(stars[0], model)
    begin = time.process_time()
    answers = [answer for _, answer in b3.infer_many(stars, model)]
    return answers, (time.process_time() - begin) / len(stars)


def rival(
    path: Path, stars: list[b3.Spectrum], rv: np.ndarray, resolution: float
) -> dict[str, float]:
    """CPU seconds of rvspecfit for its templates and per star; it searches near the true rv."""
    low, high = stars[0].wavelength[[0, -1]]
    library = normalised(path, low - 30.0, high + 30.0)
    with tempfile.TemporaryDirectory() as work:
        begin = time.process_time()
        folder = rvspecfit_templates(library, resolution, Path(work))
        templates = time.process_time() - begin
        fit_templates(stars[0], library, folder, rv[0], 0.01)  # reads the templates
        begin = time.process_time()
        for star, velocity in zip(stars, rv, strict=False):
            fit_templates(star, library, folder, velocity, 0.01)
        seconds = (time.process_time() - begin) / len(stars)
    return {"cpu_seconds_templates": templates, "cpu_seconds_per_star": seconds}


def equality(found: list[Any], expected: list[Any]) -> dict[str, Any]:
    """Differences of two lists of answers."""
    pairs = [
        (estimates(a), estimates(b))
        for a, b in zip(found, expected, strict=True)
        if isinstance(a, Inference) and isinstance(b, Inference)
    ]
    document: dict[str, Any] = {"stars": len(pairs), "percentiles": list(PERCENTILES)}
    for name in pairs[0][0]:
        both = [(a[name], b[name]) for a, b in pairs if np.isfinite(a[name].sigma + b[name].sigma)]
        shift = [abs(a.value - b.value) / b.sigma for a, b in both]
        ratio = [abs(np.log(a.sigma / b.sigma)) for a, b in both]
        document[name] = {
            "difference_in_sigmas": np.percentile(shift, PERCENTILES).tolist(),
            "ln_ratio_of_sigmas": np.percentile(ratio, PERCENTILES).tolist(),
            "within_a_tenth": float(np.mean(np.array(shift) < 0.1)),
        }
    flags = [kinds(a) == kinds(b) for a, b in zip(found, expected, strict=True)]
    document["same_flags"] = float(np.mean(flags))
    return document


def estimates(answer: Inference) -> dict[str, Estimate]:
    return {**answer.labels, **answer.nuisance}


def kinds(answer: Any) -> set[str]:
    """Flags without their numbers; the sentence of a failure."""
    if not isinstance(answer, Inference):
        return {str(answer)}
    return {"".join(c for c in flag if not c.isdigit()) for flag in answer.flags}


def show(document: dict[str, Any]) -> None:
    """Print one table of every section."""
    for title, section in document.items():
        if isinstance(section, dict):
            table = Table(title=title, show_header=False)
            for name, value in section.items():
                table.add_row(name, json.dumps(value))
            Console().print(table)


if __name__ == "__main__":
    main()
