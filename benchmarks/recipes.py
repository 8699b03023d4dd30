"""The recipes side by side: errors, sizes and times of the whole chain.

    python benchmarks/recipes.py --data ../shared/data --out recipes --json recipes.json
    python benchmarks/recipes.py --packaged --out recipes-packaged

Clones the library with each recipe, builds the models, and validates them at their nodes and on
the held-out spectra. Clones, models and times are stored in `--out`, where an interrupted run
continues. With `--packaged` the library in the package and its one held-out spectrum are used.

Held-out spectra are divided by their own continua. A recipe that fits the continuum has a second
column, in which the held-out spectra are normalised as the recipe does it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from blase3d.analysis.validation import Validation, validate
from blase3d.errors import InputError
from blase3d.fitting.build import build
from blase3d.fitting.clone_grid import clone
from blase3d.libraries import open_grid
from blase3d.libraries.grid import Grid
from blase3d.model.model_file import load_model, save_model
from blase3d.recipe import RECIPES, get_recipe
from blase3d.runtime.executor import LocalPool

ROOT = Path(__file__).resolve().parent.parent
PACKAGED = "turbo-cat-45.npz", "turbo-cat-offgrid-1.npz"


@dataclass(frozen=True)
class Result:
    """Result of one recipe; seconds are summed over all runs into one folder."""

    recipe: str
    validation: Validation
    fitted: Validation | None
    archive_bytes: int
    clone_seconds: float
    build_seconds: float
    workers: int


def main() -> None:
    args = parse_arguments()
    nodes, holdout = open_libraries(args)
    results = []
    for name in args.recipe:
        made = make(name, nodes, args.out, args.workers)
        results.append(judge(name, holdout, args.out, args.workers, **made))
        print_table(results)
    document = {result.recipe: as_dict(result) for result in results}
    (args.json or args.out / "recipes.json").write_text(json.dumps(document, indent=1))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The recipes side by side.")
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    parser.add_argument("--grid", default="turbo-cat.npz", help="library, in --data")
    parser.add_argument("--holdout", default="turbo-cat-offgrid.npz", help="held out, in --data")
    parser.add_argument("--packaged", action="store_true", help="use the library in the package")
    parser.add_argument("--recipe", nargs="+", default=list(RECIPES), help="which recipes")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("recipes"), help="folder to work in")
    parser.add_argument("--json", type=Path, help="default: recipes.json in --out")
    return parser.parse_args()


def open_libraries(args: argparse.Namespace) -> tuple[Grid, Grid]:
    if args.packaged:
        folder = resources.files("blase3d.libraries") / "data"
        with resources.as_file(folder) as path:
            nodes, holdout = (open_grid(path / name) for name in PACKAGED)
        return nodes, holdout
    return open_grid(args.data / args.grid), open_grid(args.data / args.holdout)


def make(name: str, nodes: Grid, out: Path, workers: int) -> dict[str, float]:
    """Clone and build with one recipe, unless that is done; seconds of both."""
    out.mkdir(parents=True, exist_ok=True)
    times_path, model_path = out / f"{name}-seconds.json", out / f"{name}.zip"
    times = json.loads(times_path.read_text()) if times_path.exists() else {}
    start = time.perf_counter()
    with LocalPool(workers) as pool:
        archive = clone(nodes, out / f"{name}.zarr", get_recipe(name), pool, say)
    if not model_path.exists():
        times["clone"] = times.get("clone", 0.0) + time.perf_counter() - start
        times_path.write_text(json.dumps(times))
    for index, reason in archive.failed.items():
        print(f"\n{name}: node {index} failed: {reason}", file=sys.stderr)
    if not model_path.exists():
        start = time.perf_counter()
        save_model(build(archive, say), model_path)
        times["build"] = time.perf_counter() - start
        times_path.write_text(json.dumps(times))
    return {f"{stage}_seconds": times.get(stage, float("nan")) for stage in ("clone", "build")}


def judge(name: str, holdout: Grid, out: Path, workers: int, **seconds: float) -> Result:
    """Validate the model that a recipe made."""
    path = out / f"{name}.zip"
    model = load_model(path)
    validation = validate(model, holdout, path=path, progress=say)
    fitted = None
    if model.recipe.normalisation.continuum == "fit":
        fitted = validate(model, without_continuum(holdout), path=path, progress=say)
    files = (file for file in (out / f"{name}.zarr").rglob("*") if file.is_file())
    archive_bytes = sum(file.stat().st_size for file in files)
    return Result(name, validation, fitted, archive_bytes, workers=workers, **seconds)


@dataclass(frozen=True)
class WithoutContinuum:
    """Reads nodes of a grid as if its library brought no continuum."""

    grid: Grid

    def __call__(self, i: int) -> tuple[Any, None]:
        return self.grid.read(i)[0], None


def without_continuum(grid: Grid) -> Grid:
    return replace(grid, read=WithoutContinuum(grid))


def say(stage: str, done: int, total: int) -> None:
    """Progress on one line of stderr."""
    print(f"\r{stage}: {done}/{total}\x1b[K", end="\n" if done == total else "", file=sys.stderr)


def rows(validation: Validation) -> Iterator[tuple[str, float]]:
    """Names and numbers of what is measured, flux errors in 1e-4 of the continuum."""
    nodes, holdout = validation.nodes, validation.holdout
    if holdout is None:
        raise InputError("the benchmark needs held-out spectra; name a file of them.")
    yield "nodes: number", nodes.n
    yield "nodes: flux rms, median (1e-4)", 1e4 * nodes.flux_rms_median
    yield "nodes: flux rms, worst (1e-4)", 1e4 * nodes.flux_rms_worst
    yield "nodes: lines only, median (1e-4)", 1e4 * nodes.lines_only_rms_median
    yield "nodes: lines only, worst (1e-4)", 1e4 * nodes.lines_only_rms_worst
    yield "held out: number", holdout.n
    yield "held out: flux rms, median (1e-4)", 1e4 * holdout.flux_rms_median
    yield "held out: flux rms, 95th percentile (1e-4)", 1e4 * holdout.flux_rms_p95
    yield "held out: lines only, median (1e-4)", 1e4 * holdout.lines_only_rms_median
    for name, errors in holdout.labels.items():
        yield f"held out: {name}, mean abs. error", errors.mean_abs
        yield f"held out: {name}, median abs. error", errors.median_abs
        yield f"held out: {name}, std of errors", errors.std
    yield "lines", validation.lines
    yield "model (MB)", validation.bytes / 1e6
    yield "ms a spectrum", 1e3 * validation.seconds_per_spectrum
    yield "s an inference", validation.seconds_per_inference or float("nan")


def print_table(results: list[Result]) -> None:
    columns: dict[str, dict[str, float]] = {}
    for result in results:
        making = {
            "clones (MB)": result.archive_bytes / 1e6,
            f"s to clone, {result.workers} workers": result.clone_seconds,
            "s to build": result.build_seconds,
        }
        columns[result.recipe] = {**dict(rows(result.validation)), **making}
        if result.fitted is not None:
            columns[f"{result.recipe}, fitted continuum"] = dict(rows(result.fitted))
    table = Table("", *columns)
    for name in dict.fromkeys(name for column in columns.values() for name in column):
        cells = (column.get(name) for column in columns.values())
        table.add_row(name, *("" if cell is None else f"{cell:.4g}" for cell in cells))
    Console().print(table)


def as_dict(result: Result) -> dict[str, Any]:
    return {
        "validation": result.validation.to_dict(),
        "fitted_continuum": None if result.fitted is None else result.fitted.to_dict(),
        "archive_bytes": result.archive_bytes,
        "clone_seconds": result.clone_seconds,
        "build_seconds": result.build_seconds,
        "workers": result.workers,
    }


if __name__ == "__main__":
    main()
