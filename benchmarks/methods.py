"""How does blase3D compare with other methods, from the same nodes, on the same stars?

    python benchmarks/methods.py --library vis.npz --holdout vis-heldout.npz --model vis

Every method gets the nodes of one library within `--wave`, and fits the same spectra: held-out
spectra of the library, rotating, shifted and with noise, and the real stars of `stars.ecsv` that
lie within the library. blase3D has default settings, and its model is that of the library, not
calibrated. rvspecfit (Koposov 2019) fits by its own code. The others give templates to one
least-squares fit (`rivals/plain.py`): pixels by cubic splines, principal components with Gaussian
processes (the form of Starfish), a network (the form of The Payne) and a quadratic polynomial (the
form of The Cannon). These four and rvspecfit start at the velocity that blase3D finds.

Each method runs in a process of its own. Seconds are of the processor; `MB` is the size of what the
method stores, for blase3D the fraction of its file that falls within `--wave`; `peak` is the memory
of the process, the library included.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import blase3d as b3
from blase3d.inference.problem import make_problem
from blase3d.libraries.packaged import recorded_flux
from blase3d.model.installed import model_path
from blase3d.runtime.units import SPEED_OF_LIGHT
from blase3d.spectra.spectrum import cut
from rivals import RIVALS, Library, NotAvailable
from rivals.plain import plain_fit, plain_templates
from rivals.rvspecfit import rvspecfit_fit
from stars import TABLE, read_stars

METHODS = ("blase3d", "cubic-sqrt", "pca-gp", "payne-form", "quadratic", "rvspecfit")
SNR, RESOLUTION, VSINI, STEP = 100.0, 50_000.0, 3.0, 2
"""Of the held-out spectra: per pixel; λ/Δλ; km/s; pixels of the library in one of the spectrum."""
FASTEST = 30.0
"""Largest velocity of these, km/s."""
MARGIN = 3.0
"""Å at the ends of the range that no star is fitted to."""
Answer = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description="Methods compared on the same spectra.")
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--holdout", type=Path, required=True)
    parser.add_argument("--model", default="vis", help="model of the library, by name or file")
    parser.add_argument("--wave", default="6050:6270", help="Å in vacuum")
    parser.add_argument("--method", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--most", type=int, help="held-out spectra, at most")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    first: list[Answer] | None = None
    found = {}
    print("| method | held out | real stars | s to build | s per star | MB | peak MB |")
    for method in dict.fromkeys(["blase3d", *args.method]):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            found[method] = alone.submit(judged, method, args, first).result()
        first = first or found[method].get("stars")
        print(row_of(method, found[method]), flush=True)
        if args.json:
            args.json.write_text(json.dumps(found, indent=1))


def judged(method: str, args: argparse.Namespace, first: list[Answer] | None) -> Answer:
    """The answers of one method."""
    library = nodes(args.library, args.wave)
    stars = [*held_out(args), *real(args)]
    begun = time.process_time()
    try:
        fit, size = FITS.get(method, by_templates)(method, library, args)
    except NotAvailable as error:
        return {"missing": str(error)}
    built, answers = time.process_time() - begun, []
    for k, star in enumerate(stars):
        begun = time.process_time()
        values = fit(star["spectrum"], star["fixed"], first[k] if first else None)
        known = {name: star[name] for name in ("name", "kind", "truth")}
        answers.append({**known, **values, "seconds": time.process_time() - begun})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"built": built, "MB": size / 1e6, "peak": peak, "stars": answers}


# Spectra


def nodes(path: Path, wave: str) -> Library:
    """The nodes of a library within a range."""
    grid = b3.open_grid(path).cut(*ends(wave))
    flux = [np.asarray(node.flux / node.continuum, np.float32) for node in grid]
    return Library(grid.wavelength, grid.label_names, np.asarray(grid.labels), np.stack(flux))


def ends(wave: str) -> tuple[float, float]:
    low, high = map(float, wave.split(":"))
    return low, high


def held_out(args: argparse.Namespace) -> Iterator[Answer]:
    """Spectra that no method was trained with, as observed."""
    rng = np.random.default_rng(1)
    low, high = ends(args.wave)
    grid = b3.open_grid(args.holdout).cut(low, high)
    bounds = b3.load_model(args.model, calibrated=False).bounds.items()
    inside = [k for k in range(len(grid)) if _within(grid.labels_of(k), bounds)]
    for k in inside[: args.most]:
        exact, rv = grid[k], float(rng.uniform(-FASTEST, FASTEST))
        flux = recorded_flux(exact, VSINI, RESOLUTION) / exact.continuum
        wavelength = exact.wavelength * (1.0 + rv / SPEED_OF_LIGHT)
        noisy = flux + rng.normal(0.0, 1.0 / SNR, flux.size)
        whole = b3.Spectrum(
            wavelength[::STEP], noisy[::STEP], np.full(noisy[::STEP].size, 1.0 / SNR),
            resolution=RESOLUTION,
        )  # fmt: skip
        truth = {name: (value, 0.0) for name, value in grid.labels_of(k).items()}
        yield {
            "name": f"held out {k}",
            "kind": "held out",
            "truth": truth,
            "spectrum": within(whole, low + MARGIN, high - MARGIN),
            "fixed": {},
        }


def _within(labels: dict[str, float], bounds: Any) -> bool:
    return all(low <= labels[name] <= high for name, (low, high) in bounds)


def real(args: argparse.Namespace) -> Iterator[Answer]:
    """Real stars within the library."""
    model = b3.load_model(args.model, calibrated=False)
    low, high = ends(args.wave)
    for star in read_stars(TABLE):
        if not star.path.exists() or not star.inside(model.bounds):
            continue
        if star.spectrum.wavelength[0] > low or star.spectrum.wavelength[-1] < high:
            continue
        yield {
            "name": star.path.stem,
            "kind": "real",
            "truth": {name: star.literature[name] for name in model.label_names},
            "spectrum": within(star.spectrum, low + MARGIN, high - MARGIN),
            "fixed": star.fixed,
        }


def within(spectrum: b3.Spectrum, low: float, high: float) -> b3.Spectrum:
    return cut(spectrum, (spectrum.wavelength >= low) & (spectrum.wavelength <= high))


# Methods


def by_blase3d(method: str, library: Library, args: argparse.Namespace) -> Any:
    """Labels by `infer` with default settings."""
    model = b3.load_model(args.model, calibrated=False)
    whole = model.wavelength[-1] - model.wavelength[0]
    path = model_path(args.model) if not Path(args.model).exists() else Path(args.model)
    size = path.stat().st_size * np.ptp(ends(args.wave)) / whole

    def fit(spectrum: b3.Spectrum, fixed: Answer, before: Answer | None) -> Answer:
        found = b3.infer(spectrum, model, fixed=fixed)
        estimates = {**found.labels, **found.nuisance}
        values = {name: (float(e.value), float(e.sigma)) for name, e in estimates.items()}
        return {"values": values, "rms": float(found.rms), "flags": list(found.flags)}

    return fit, size


def by_templates(method: str, library: Library, args: argparse.Namespace) -> Any:
    """Labels by the plain fit with the templates of a method."""
    with tempfile.TemporaryDirectory() as work:
        emulator = RIVALS[method](library, Path(work))
    templates = plain_templates(library, emulator)
    model = b3.load_model(args.model, calibrated=False)

    def fit(spectrum: b3.Spectrum, fixed: Answer, before: Answer | None) -> Answer:
        assert before is not None
        problem = make_problem(spectrum, model, None, fixed)
        rv = before["values"]["rv"][0]
        found = plain_fit(problem.spectrum, templates, rv, problem.options.degree)
        return {"values": found["labels"], "rms": found["rms"], "flags": found["flags"]}

    return fit, emulator.size


def by_rvspecfit(method: str, library: Library, args: argparse.Namespace) -> Any:
    """Labels by rvspecfit, with its interpolator by Delaunay triangles."""
    model = b3.load_model(args.model, calibrated=False)

    def fit(spectrum: b3.Spectrum, fixed: Answer, before: Answer | None) -> Answer:
        assert before is not None
        problem = make_problem(spectrum, model, None, fixed)
        values = before["values"]
        resolution = problem.fixed.get("resolution") or values["resolution"][0]
        with tempfile.TemporaryDirectory() as work:
            return rvspecfit_fit(
                problem.spectrum, library, values["rv"][0], resolution, before["rms"], Path(work)
            )

    with tempfile.TemporaryDirectory() as work:
        size = RIVALS["rvspecfit-delaunay"](library, Path(work)).size
    return fit, size


FITS: dict[str, Callable[..., Any]] = {"blase3d": by_blase3d, "rvspecfit": by_rvspecfit}


# Table


def row_of(method: str, found: Answer) -> str:
    """A row in Markdown: mean absolute errors, seconds, size, memory."""
    if "missing" in found:
        return f"| {method} | {found['missing']} |"
    cells = [method]
    for kind in ("held out", "real"):
        stars = [star for star in found["stars"] if star["kind"] == kind]
        names = list(stars[0]["truth"]) if stars else []
        error = partial(np.mean, axis=0)
        off = {n: error([abs(s["values"][n][0] - s["truth"][n][0]) for s in stars]) for n in names}
        cells.append(
            " / ".join(f"{v:.0f} K" if n == "teff" else f"{v:.3f}" for n, v in off.items())
        )
    seconds = np.median([star["seconds"] for star in found["stars"]])
    cells += [
        f"{found['built']:.0f}",
        f"{seconds:.2f}",
        f"{found['MB']:.1f}",
        f"{found['peak']:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
