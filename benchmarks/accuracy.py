"""How accurate are our models between the nodes of a library, compared with other methods?

    python benchmarks/accuracy.py --data ../shared/data --out accuracy --json accuracy.json
    python benchmarks/accuracy.py --quick --case turbo --method multilinear default

Two cases. `turbo`: 156 spectra, and 15 held-out ones between them. `synspec`: every second
temperature above 5000 K is held out, and errors below and above 7000 K are given separately. All
methods get the same spectra, in units of the true continuum. Flux errors are those of all held-out
spectra. Label errors are those of a random choice, without noise, by the same least-squares fit of
the labels for all methods, within the library, from the nearest node.

Leave-one-out: a temperature in the middle is left out with all its nodes, and some of these are
predicted from the other nodes, over twice the spacing. (Our model keeps the lines, which were
fitted with that node, but not its residual or its node of the interpolation.)

Clones, models and results are stored in `--out`, where an interrupted run continues.
rvspecfit (Koposov 2019) and PyTorch are needed for the methods of that name only.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from blase3d.analysis.validation import validate
from blase3d.fitting.archive import open_archive
from blase3d.fitting.build import build
from blase3d.fitting.clone_grid import clone
from blase3d.libraries import open_grid
from blase3d.libraries.grid import Grid
from blase3d.model.completion import fill_holes
from blase3d.model.evaluate import ForwardModel, PcaResidual, evaluate
from blase3d.model.interpolation import coordinates
from blase3d.model.model import Model
from blase3d.model.model_file import load_model, save_model
from blase3d.model.queries import without_node
from blase3d.model.residual import make_residual
from blase3d.recipe import DEFAULT, PAPER, Recipe
from blase3d.runtime.executor import LocalPool
from blase3d.spectra.continuum import normalise
from rivals import RIVALS, Emulator, Floats, Library, NotAvailable
from rivals.tables import print_tables

ROOT = Path(__file__).resolve().parent.parent
SEED = 0
HOT = 7000.0
RECIPES = {"paper": PAPER.replace(continuum="library"), "default": DEFAULT}
RESIDUALS = 2e-5, 5e-5, 1e-4, 2e-4, 4e-4, 1e-3
BATCH = 25
"""Calls of which the median time is taken."""

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A library, what is held out of it or beside it, and the grids that both come from."""

    name: str
    nodes: Library
    held: Library
    node_grid: Grid
    held_grid: Grid

    def groups(self) -> dict[str, NDArray[np.bool_]]:
        """Groups of held-out spectra."""
        hot = self.held.labels[:, 0] > HOT
        if not hot.any():
            return {self.name: ~hot}
        return {f"{self.name}, to 7000 K": ~hot, f"{self.name}, hotter": hot}


def main() -> None:
    """Make the measurements that are requested and not yet stored, and print the tables."""
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.json or args.out / "accuracy.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    for case in (open_case(name, args.data) for name in args.case):
        for key, measurement in measurements(case, args).items():
            if key not in known:
                print(f"{key} ...", file=sys.stderr, flush=True)
                known[key] = attempted(measurement)
                path.write_text(json.dumps(known, indent=1))
    print_tables(known)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="example: python benchmarks/accuracy.py --case turbo --method multilinear default",
    )
    methods = [*RIVALS, *RECIPES]
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    parser.add_argument("--case", nargs="+", choices=("turbo", "synspec"), default=["turbo"])
    which = {"nargs": "+", "choices": methods, "metavar": "METHOD"}
    parser.add_argument("--method", **which, default=methods, help=", ".join(methods))
    parser.add_argument("--skip", **which, default=[], help="methods left out")
    parser.add_argument("--no-curve", action="store_true", help="no size against error")
    parser.add_argument("--stars", type=int, default=24, help="label fits in each group")
    parser.add_argument("--quick", action="store_true", help="4 label fits, no curve")
    parser.add_argument("--workers", type=int, default=2, help="of cloning")
    parser.add_argument("--nn-minutes", type=float, default=10.0, help="to train the network")
    parser.add_argument("--out", type=Path, default=Path("accuracy"), help="folder to work in")
    parser.add_argument("--json", type=Path, help="default: accuracy.json in --out")
    args = parser.parse_args()
    if args.quick:
        args.stars, args.no_curve = 4, True
    return args


def measurements(case: Case, args: argparse.Namespace) -> dict[str, Callable[[], Numbers]]:
    """Measurements of a case, by name."""
    found: dict[str, Callable[[], Numbers]] = {}
    chosen = [name for name in args.method if name not in args.skip]
    for name in chosen:
        if name in RIVALS:
            found[f"{case.name}:{name}"] = partial(judge_rival, case, name, args)
        else:
            found[f"{case.name}:{name}"] = partial(judge_ours, case, name, args)
    if "default" in chosen and not args.no_curve:
        for residual in RESIDUALS:
            found[f"{case.name}:curve {residual:g}"] = partial(judge_size, case, residual, args)
        found[f"{case.name}:growth"] = partial(growth, case, args)
    return found


def attempted(measurement: Callable[[], Numbers]) -> Numbers:
    """The result of a measurement, or the reason why there is none."""
    try:
        return measurement()
    except NotAvailable as reason:
        return {"reason": str(reason)}


# The cases


def open_case(name: str, data: Path) -> Case:
    """The spectra of a case, in units of the true continuum."""
    if name == "turbo":
        nodes, held = (open_grid(data / f"turbo-cat{end}.npz") for end in ("", "-offgrid"))
    else:
        grid = open_grid(data / "synspec-cat.npz")
        hotter = grid.axes["teff"][grid.axes["teff"] > 5000.0]
        out = np.isin(grid.labels[:, 0], hotter[:-1:2])
        nodes, held = grid.take(np.flatnonzero(~out)), grid.take(np.flatnonzero(out))
    return Case(name, library_of(nodes), library_of(held), nodes, held)


def library_of(grid: Grid) -> Library:
    """All spectra of a grid."""
    flux = np.stack([normalise(spectrum, DEFAULT).flux for spectrum in grid])
    return Library(grid.wavelength, grid.label_names, grid.labels, flux.astype(np.float32))


# Ours


def cloned(case: Case, name: str, out: Path, workers: int) -> tuple[Path, float | None]:
    """The archive of a case by a recipe, and the seconds of all runs that made it; None if it was
    put there by others."""
    path, clock = out / f"{case.name}-{name}.zarr", out / f"{case.name}-{name}-seconds.json"
    if not clock.exists():
        clock.write_text("null" if path.exists() else "0.0")
    spent = json.loads(clock.read_text())
    if spent is not None and (out / f"{case.name}-{name}.done").exists():
        return path, spent
    start = time.perf_counter()
    with LocalPool(workers) as pool:
        clone(case.node_grid, path, RECIPES[name], pool, say)
    if spent is not None:
        spent += time.perf_counter() - start
        clock.write_text(json.dumps(spent))
    (out / f"{case.name}-{name}.done").touch()
    return path, spent


def model_of(archive: Path, path: Path, recipe: Recipe) -> tuple[Model, float]:
    """The model of an archive with another setting of the residual, and seconds to build it."""
    opened = open_archive(archive)
    opened.recipe = recipe
    start = time.perf_counter()
    save_model(build(opened), path)
    return load_model(path), time.perf_counter() - start


def emulator_of(forward: ForwardModel, path: Path, *, residual: bool = True) -> Emulator:
    """A model as an emulator like all others."""
    run = jax.jit(partial(evaluate, residual=residual))

    def flux(labels: Floats) -> Floats:
        return np.asarray(run(forward, jnp.asarray(labels, jnp.float32)))

    return Emulator(flux, path.stat().st_size)


# What is measured


def judge_rival(case: Case, name: str, args: argparse.Namespace) -> Numbers:
    """All numbers of a method that is not ours."""
    make = RIVALS[name]
    work = args.out / "work" / case.name
    if name == "rvspecfit-nn":
        make = partial(make, minutes=args.nn_minutes)
    start = time.perf_counter()
    emulator = make(case.nodes, work)
    seconds = time.perf_counter() - start
    left_out = None
    if name != "rvspecfit-nn":
        left_out = lambda teff: make(  # noqa: E731
            case.nodes.take(case.nodes.labels[:, 0] != teff), work / "left-out"
        )
    return {**judge(case, emulator, left_out, args), "build_seconds": seconds}


def judge_ours(case: Case, name: str, args: argparse.Namespace) -> Numbers:
    """All numbers of one of our recipes: with the residual, by the lines alone, and by `infer`."""
    archive, clone_seconds = cloned(case, name, args.out, args.workers)
    path = args.out / f"{case.name}-{name}.zip"
    model, seconds = model_of(archive, path, RECIPES[name])

    def left_out(teff: float) -> Emulator:
        return emulator_of(without_node(model, "teff", teff).forward, path)

    numbers = judge(case, emulator_of(model.forward, path), left_out, args)
    lines = emulator_of(model.forward, path, residual=False)
    return {
        **numbers,
        "clone_seconds": clone_seconds,
        "build_seconds": seconds,
        "lines": int(model.reference.size),
        "lines_alone": {
            "nodes": summary(errors(lines, case.nodes)),
            "held": of_groups(case, errors(lines, case.held)),
        },
        "infer": by_infer(case, model, args),
    }


def judge(
    case: Case,
    emulator: Emulator,
    left_out: Callable[[float], Emulator] | None,
    args: argparse.Namespace,
) -> Numbers:
    """Flux errors at nodes, left out and held out, label errors, size, and time of a spectrum."""
    return {
        "bytes": emulator.size,
        "milliseconds": milliseconds(emulator, case.nodes),
        "nodes": summary(errors(emulator, case.nodes)),
        "left_out": None if left_out is None else summary(leave_out(case.nodes, left_out)),
        "held": of_groups(case, errors(emulator, case.held)),
        "labels": label_errors(case, emulator, args.stars),
    }


def errors(emulator: Emulator, library: Library) -> Floats:
    """rms over pixels for every spectrum, (N,)."""
    pairs = zip(library.labels, library.flux, strict=True)
    return np.array(
        [np.sqrt(np.mean((np.float64(emulator.flux(at)) - flux) ** 2)) for at, flux in pairs]
    )


def summary(values: Floats) -> dict[str, float]:
    """Quantiles of errors."""
    return {
        "median": float(np.median(values)),
        "mean": float(np.mean(values)),
        "p95": float(np.percentile(values, 95)),
        "worst": float(np.max(values)),
        "n": int(values.size),
    }


def of_groups(case: Case, values: Floats) -> dict[str, dict[str, float]]:
    """Summaries of the held-out groups."""
    return {name: summary(values[chosen]) for name, chosen in case.groups().items()}


def leave_out(nodes: Library, make: Callable[[float], Emulator], each: int = 4) -> Floats:
    """Errors at a few inner nodes of every third inner temperature, which is left out."""
    rng = np.random.default_rng(SEED)
    found = []
    for teff in nodes.axes["teff"][2:-2:3]:
        inner = nodes.labels[:, 0] == teff
        for k, axis in list(enumerate(nodes.axes.values()))[1:]:
            inner &= (nodes.labels[:, k] > axis[0]) & (nodes.labels[:, k] < axis[-1])
        chosen = rng.permutation(np.flatnonzero(inner))[:each]
        found.append(errors(make(teff), nodes.take(chosen)))
    return np.concatenate(found)


def milliseconds(emulator: Emulator, nodes: Library) -> float:
    """Median wall time of a spectrum at labels all over the box."""
    rng = np.random.default_rng(SEED)
    low, high = nodes.labels.min(axis=0), nodes.labels.max(axis=0)
    times = []
    for labels in rng.uniform(low, high, (BATCH, low.size)):
        start = time.perf_counter()
        emulator.flux(labels)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times[1:]))


def stars_of(case: Case, count: int) -> dict[str, NDArray[np.int64]]:
    """Held-out spectra whose labels are fitted: a random choice of each group."""
    rng = np.random.default_rng(SEED)
    groups = case.groups().items()
    return {name: rng.permutation(np.flatnonzero(chosen))[:count] for name, chosen in groups}


def label_errors(case: Case, emulator: Emulator, count: int) -> dict[str, dict[str, float]]:
    """Mean absolute errors of the labels in each group."""
    found = {}
    for name, chosen in stars_of(case, count).items():
        stars = case.held.take(chosen)
        answers = [fit_labels(emulator, case.nodes, flux) for flux in stars.flux]
        wrong = np.abs(np.array(answers) - stars.labels).mean(axis=0)
        found[name] = dict(zip(case.held.names, wrong.tolist(), strict=True))
    return found


def fit_labels(emulator: Emulator, nodes: Library, flux: Floats, step: float = 1e-3) -> Floats:
    """Labels (L,) by least squares with equal weights and derivatives by central differences."""
    low, high = nodes.labels.min(axis=0), nodes.labels.max(axis=0)

    def at(unit: Floats) -> Floats:
        return np.float64(emulator.flux(low + np.clip(unit, 0.0, 1.0) * (high - low)))

    def slopes(unit: Floats) -> Floats:
        columns = []
        for one in np.eye(low.size):
            up, down = (np.clip(unit + sign * step * one, 0.0, 1.0) for sign in (1, -1))
            columns.append((at(up) - at(down)) / (up - down).sum())
        return np.stack(columns, axis=1)

    nearest = nodes.labels[np.argmin(((nodes.flux - flux) ** 2).sum(axis=1))]
    start = np.clip((nearest - low) / (high - low), 0.01, 0.99)
    found = least_squares(
        lambda unit: at(unit) - flux, start, slopes, (0.0, 1.0), xtol=1e-7, ftol=1e-9, max_nfev=40
    )
    return low + found.x * (high - low)


def by_infer(case: Case, model: Model, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Mean absolute errors of the labels by the package's own inference."""
    found = {}
    for name, chosen in stars_of(case, args.stars).items():
        held = validate(model, case.held_grid.take(chosen), progress=say).holdout
        assert held is not None
        found[name] = {label: error.mean_abs for label, error in held.labels.items()}
    return found


def judge_size(case: Case, residual: float, args: argparse.Namespace) -> Numbers:
    """Size and errors of the default model with this error allowed at the nodes."""
    model = default_model(case, args)
    complete = fill_holes(coordinates(model.axes), case.node_grid.box_index)
    rest = make_residual(lines_at_nodes(case, model, args), case.nodes.flux, complete, residual)
    path = args.out / f"{case.name}-default-{residual:g}.zip"
    save_model(with_rest(model, rest, residual), path)
    emulator = emulator_of(load_model(path).forward, path)
    return {
        "residual": residual,
        "bytes": emulator.size,
        "spectra_bytes": case.nodes.flux.nbytes,
        "modes": int(rest.pixels.shape[0]),
        "nodes": summary(errors(emulator, case.nodes)),
        "held": of_groups(case, errors(emulator, case.held)),
    }


def growth(case: Case, args: argparse.Namespace) -> Numbers:
    """Modes of the residual for every fourth, every second and every temperature of a library, at
    the default's error, and the size of the model less that of the residual.

    Lines have as many coefficients whatever the number of nodes, so only the residual grows.
    """
    model, bare = default_model(case, args), args.out / f"{case.name}-bare.zip"
    lines, flux = lines_at_nodes(case, model, args), case.nodes.flux

    def size_with(rest: PcaResidual) -> int:
        save_model(with_rest(model, rest, DEFAULT.residual.tolerance), bare)
        return bare.stat().st_size

    rows = []
    for every in (4, 2, 1):
        chosen = np.isin(case.nodes.labels[:, 0], case.nodes.axes["teff"][::every])
        count = int(chosen.sum())
        rest = make_residual(lines[chosen], flux[chosen], np.eye(count), DEFAULT.residual.tolerance)
        row = {"nodes": count, "modes": int(rest.pixels.shape[0]), "bytes": size_with(rest)}
        rows.append(row)
    empty = make_residual(lines[:1], lines[:1], np.eye(1), DEFAULT.residual.tolerance)
    return {"rows": rows, "lines_bytes": size_with(empty), "pixels": flux.shape[1]}


def default_model(case: Case, args: argparse.Namespace) -> Model:
    """The default model of a case, built unless that is done."""
    path = args.out / f"{case.name}-default.zip"
    if not path.exists():
        archive, _ = cloned(case, "default", args.out, args.workers)
        model_of(archive, path, DEFAULT)
    return load_model(path)


def with_rest(model: Model, rest: PcaResidual, allowed: float) -> Model:
    """A model with another residual."""
    return replace(model, residual=rest, recipe=model.recipe.replace(residual=allowed))


def lines_at_nodes(case: Case, model: Model, args: argparse.Namespace) -> Floats:
    """Flux (N, P) of the lines at the nodes, to which the residual is added."""
    lines = emulator_of(
        replace(model.forward, residual=None), args.out / f"{case.name}-default.zip"
    )
    return np.stack([lines.flux(labels) for labels in case.nodes.labels])


def say(stage: str, done: int, total: int) -> None:
    """Progress on one line of stderr."""
    print(f"\r{stage}: {done}/{total}\x1b[K", end="\n" if done == total else "", file=sys.stderr)


if __name__ == "__main__":
    main()
