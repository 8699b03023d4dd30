"""How accurate are emulators between the nodes of a library: ours beside its rivals?

    python benchmarks/accuracy.py --data ../shared/data --out accuracy --json accuracy.json
    python benchmarks/accuracy.py --quick --case turbo --method multilinear default

Two cases. `turbo`: 156 spectra, and 15 held-out ones between them. `synspec`: every second
temperature above 5000 K is held out, and errors below and above 7000 K are told apart. All methods
get the same spectra, in units of the true continuum. Held-out flux errors are of all spectra;
label errors of a seeded choice, noise-free, by one and the same least-squares fit of the labels
alone, bounded by the library, from the node of least distance.

Leave-one-out: a temperature in the middle is left out with all its nodes, and some of these are
predicted from the rest, over twice the spacing. (Ours keeps the lines, which were fitted with that
node there, and loses its residual and its place in the manifold.)

Clones, models and results are kept in `--out`, so that a run that was stopped goes on from there.
rvspecfit (Koposov 2019) and PyTorch are needed for the methods of that name only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.optimize import least_squares

from blase3d.archive import open_archive
from blase3d.building import build
from blase3d.emulator import Residual, emulate, flux_of_strength, strength
from blase3d.farm import LocalPool
from blase3d.grid import Grid
from blase3d.manifold import coordinates, fill_holes, make_manifold
from blase3d.model import Model
from blase3d.model_file import load_model, save_model
from blase3d.normalise import normalise
from blase3d.pipeline import clone
from blase3d.recipe import DEFAULT, PAPER, Recipe
from blase3d.residual import make_residual
from blase3d.sources import open_grid
from blase3d.validate import validate

ROOT = Path(__file__).resolve().parent.parent
SEED = 0
HOT = 7000.0
DARKEST = 1e-4
RECIPES = {"paper": replace(PAPER, continuum="library"), "default": DEFAULT}
RESIDUALS = 2e-5, 5e-5, 1e-4, 2e-4, 4e-4, 1e-3
PAPER_NODES, PAPER_PIXELS = 1_314, 338_651
BATCH = 25
"""Calls of which the median time is taken."""

Floats = NDArray[np.floating]
Numbers = dict[str, Any]


@dataclass(frozen=True)
class Library:
    """Spectra (N, P) in units of the continuum at labels (N, L)."""

    wavelength: Floats
    names: tuple[str, ...]
    labels: Floats
    flux: Floats

    @property
    def axes(self) -> dict[str, Floats]:
        """The values of each label."""
        return {name: np.unique(self.labels[:, k]) for k, name in enumerate(self.names)}

    def take(self, chosen: NDArray[Any]) -> Library:
        """Some of the spectra."""
        return replace(self, labels=self.labels[chosen], flux=self.flux[chosen])

    def box(self, values: Floats) -> Floats:
        """Rows of the nodes in the order of the box, last label fastest."""
        axes = self.axes.values()
        columns = zip(axes, self.labels.T, strict=True)
        place = [np.searchsorted(axis, column) for axis, column in columns]
        order = np.ravel_multi_index(tuple(place), tuple(len(axis) for axis in axes))
        return values[np.argsort(order)]


@dataclass(frozen=True)
class Case:
    """A library, what is held out of it or beside it, and the grids that both come from."""

    name: str
    nodes: Library
    held: Library
    node_grid: Grid
    held_grid: Grid

    def groups(self) -> dict[str, NDArray[np.bool_]]:
        """Which held-out spectra are taken together."""
        hot = self.held.labels[:, 0] > HOT
        if not hot.any():
            return {self.name: ~hot}
        return {f"{self.name}, to 7000 K": ~hot, f"{self.name}, hotter": hot}


@dataclass(frozen=True)
class Emulator:
    """What every method makes of a library: labels (L,) to flux (P,), and its size on disk."""

    flux: Callable[[Floats], Floats]
    size: int


class NotAvailable(Exception):
    """A method cannot be used here, for the reason given."""


def main() -> None:
    """Measure what is asked for and not yet known, and print the tables."""
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
    methods = [*METHODS, *RECIPES]
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
    """What can be measured in a case, by name."""
    found: dict[str, Callable[[], Numbers]] = {}
    chosen = [name for name in args.method if name not in args.skip]
    for name in chosen:
        if name in METHODS:
            found[f"{case.name}:{name}"] = partial(judge_rival, case, name, args)
        else:
            found[f"{case.name}:{name}"] = partial(judge_ours, case, name, args)
    if "default" in chosen and not args.no_curve:
        for residual in RESIDUALS:
            found[f"{case.name}:curve {residual:g}"] = partial(judge_size, case, residual, args)
        found[f"{case.name}:growth"] = partial(growth, case, args)
    return found


def attempted(measurement: Callable[[], Numbers]) -> Numbers:
    """What a measurement gives, or why it cannot be had."""
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


# The rivals: each makes an emulator of a library


@dataclass(frozen=True)
class Space:
    """A function of the flux in which a method interpolates, and its inverse."""

    forward: Callable[[Floats], Floats]
    inverse: Callable[[Floats], Floats]


FLUX = Space(lambda f: f, lambda f: f)
SQRT_DEPTH = Space(
    lambda f: np.sqrt(np.maximum(-np.log(np.maximum(f, DARKEST)), 0.0)), lambda v: np.exp(-(v**2))
)
STRENGTH = Space(
    lambda f: np.asarray(strength(jnp.maximum(f, DARKEST))),
    lambda v: np.asarray(flux_of_strength(v)),
)
"""The space of our residual: pixels get every advantage that it has."""


def pixels(library: Library, work: Path, kind: str, space: Space) -> Emulator:
    """Every pixel interpolated: in the labels (`linear`), or in ln Teff and the other labels by a
    manifold of ours: tensor splines, `cubic` where the axis has enough nodes, or natural quintic
    ones (`spline`), as our models have them; or a ridge regression."""
    weights = jax.jit(make_manifold(library.axes, kind).weights)
    table = library.box(space.forward(library.flux)).astype(np.float32)
    return Emulator(
        lambda labels: space.inverse(np.asarray(weights(jnp.asarray(labels, jnp.float32))) @ table),
        table.nbytes,
    )


def principal(library: Library, work: Path, count: int = 60) -> Emulator:
    """Principal components of the flux, their amplitudes by the cubic tensor spline."""
    weights = jax.jit(make_manifold(library.axes, "cubic").weights)
    mean = library.flux.mean(axis=0)
    u, s, vt = np.linalg.svd(library.flux - mean, full_matrices=False)
    count = min(count, s.size)
    amplitudes = library.box(u[:, :count] * s[:count]).astype(np.float32)
    components = vt[:count].astype(np.float32)

    def flux(labels: Floats) -> Floats:
        at = np.asarray(weights(jnp.asarray(labels, jnp.float32))) @ amplitudes
        return mean + at @ components

    return Emulator(flux, amplitudes.nbytes + components.nbytes + mean.nbytes)


def quadratic(library: Library, work: Path) -> Emulator:
    """A quadratic polynomial of the labels for every pixel (the form of The Cannon)."""
    low, high = library.labels.min(axis=0), library.labels.max(axis=0)
    upper = np.triu_indices(len(low) + 1)

    def terms(labels: Floats) -> Floats:
        scaled = np.concatenate([[1.0], 2.0 * (labels - low) / (high - low) - 1.0])
        return np.outer(scaled, scaled)[upper]

    design = np.stack([terms(labels) for labels in library.labels])
    coefficients = np.linalg.lstsq(design, library.flux, rcond=None)[0].astype(np.float32)
    return Emulator(lambda labels: terms(labels) @ coefficients, coefficients.nbytes)


def rvspecfit_grid(library: Library, work: Path) -> Emulator:
    """rvspecfit's multilinear interpolator of ln flux over log Teff.

    (Its own files of it cannot be written where axes have unlike numbers of nodes, by 0.9.0.)
    """
    spec_inter = rvspecfit_module("spec_inter")
    labels = log_teff(library.labels)
    axes, place = zip(*(np.unique(column, return_inverse=True) for column in labels.T), strict=True)
    number = np.full([len(axis) for axis in axes], -1)
    number[place] = np.arange(len(labels))
    spectra = ln_flux(library)
    found = spec_inter.GridInterp(list(axes), number, labels.T, spectra, exp=True)
    # on the upper faces of the box it gives the nearest node
    high = labels.max(axis=0) - 1e-7 * np.ptp(labels, axis=0)
    return Emulator(lambda at: found(np.minimum(log_teff(at), high)), spectra.nbytes)


def rvspecfit_delaunay(library: Library, work: Path) -> Emulator:
    """rvspecfit's interpolator of ln flux over log Teff by Delaunay triangles, from its files."""
    make_nd, spec_inter = (rvspecfit_module(name) for name in ("make_nd", "spec_inter"))
    folder = write_for_rvspecfit(library, work / "delaunay")
    make_nd.execute("cat", prefix=str(folder), regular=False)
    found = spec_inter.getInterpolator("cat", {"template_lib": str(folder)}, cache={})
    return Emulator(found.eval, (folder / "interpdat_cat.npy").stat().st_size)


def log_teff(labels: Floats) -> Floats:
    """Labels (..., L) with log10 of the first, as rvspecfit takes them."""
    values = np.array(labels, dtype=np.float64)
    values[..., 0] = np.log10(values[..., 0])
    return values


def ln_flux(library: Library) -> Floats:
    """Spectra (N, P) as rvspecfit takes them."""
    return np.log(np.maximum(library.flux, DARKEST)).astype(np.float32)


def network(library: Library, work: Path, minutes: float) -> Emulator:
    """rvspecfit's neural network, trained by its own program with its own settings."""
    rvspecfit_module("nn.NNInterpolator")
    from rvspecfit.nn.NNInterpolator import Mapper, NNInterpolator, load_checkpoint

    folder = write_for_rvspecfit(library, work / "nn")
    components = min(200, len(library.labels) - 1)
    train_network(folder, library.names, components, minutes)
    shape = {"indim": len(library.names), "npc": components, "nlayers": 2, "width": 256}
    net = NNInterpolator(**shape, npix=library.wavelength.size, withbn=False)
    load_checkpoint(net, str(folder / "NNstate_cat.sav"), map_location="cpu")
    net.eval()
    values = log_teff(library.labels)
    mapper = Mapper(values.mean(axis=0), values.std(axis=0), [0])
    return Emulator(partial(of_network, net, mapper), (folder / "NNstate_cat.sav").stat().st_size)


def train_network(folder: Path, names: tuple[str, ...], components: int, minutes: float) -> None:
    """Train, unless that is done, until it has converged or the time is up; go on where it was."""
    final = folder / "NNstate_cat.sav"
    command = [sys.executable, "-m", "rvspecfit.nn.train_interpolator", "--cpu", "--pca_init"]
    command += ["--resume", "--setup", "cat", "--dir", str(folder), "--npc", str(components)]
    command += ["--parnames", ",".join(names)]
    with (folder / "train.log").open("a") as log:
        run = partial(subprocess.run, stdout=log, stderr=subprocess.STDOUT, check=False)
        try:
            if not final.exists():
                run(command, timeout=60.0 * minutes)
        except subprocess.TimeoutExpired:  # it keeps its state; one idle epoch writes the result
            run([*command, "--num_epochs", "1", "--learning_rate0", "1e-7"])
    if not final.exists():
        raise NotAvailable(f"no network after {minutes:g} minutes; see {log.name}")


def of_network(net: Any, mapper: Any, labels: Floats) -> Floats:
    """Flux of a trained network, which gives ln flux."""
    import torch

    with torch.inference_mode():
        given = torch.tensor(mapper.forward(labels), dtype=torch.float32)
        return np.exp(net(given).numpy().ravel())


def rvspecfit_module(name: str) -> Any:
    """A module of rvspecfit, or why there is none."""
    import importlib

    try:
        return importlib.import_module(f"rvspecfit.{name}")
    except ImportError as error:
        raise NotAvailable(f"{error}; pip install 'blase3d[bench]'") from None


def write_for_rvspecfit(library: Library, folder: Path) -> Path:
    """A folder with a library as rvspecfit's `make_interpol` leaves it."""
    serializer = rvspecfit_module("serializer")
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "specs": ln_flux(library),
        "vec": np.ascontiguousarray(library.labels.T),
        "lam": library.wavelength,
        "parnames": library.names,
        "mapper_module": "rvspecfit.read_grid",
        "mapper_class_name": "LogParamMapper",
        "mapper_args": ([0],),
        "lognorms": np.zeros(len(library.labels)),
        "revision": "",
        "log_step": False,
        "log_spec": True,
    }
    serializer.save_dict_to_hdf5(str(folder / "specs_cat.h5"), content)
    return folder


METHODS: Mapping[str, Callable[..., Emulator]] = {
    "multilinear": partial(pixels, kind="linear", space=FLUX),
    "cubic": partial(pixels, kind="cubic", space=FLUX),
    "cubic-sqrt": partial(pixels, kind="cubic", space=SQRT_DEPTH),
    "cubic-strength": partial(pixels, kind="cubic", space=STRENGTH),
    "quintic-strength": partial(pixels, kind="spline", space=STRENGTH),
    "ridge-strength": partial(pixels, kind="ridge", space=STRENGTH),
    "pca": principal,
    "quadratic": quadratic,
    "rvspecfit-grid": rvspecfit_grid,
    "rvspecfit-delaunay": rvspecfit_delaunay,
    "rvspecfit-nn": network,
}
TITLES = {
    "multilinear": "pixels, multilinear",
    "cubic": "pixels, cubic spline of flux",
    "cubic-sqrt": "pixels, cubic spline of sqrt(−ln flux)",
    "cubic-strength": "pixels, cubic spline of opacity^¼",
    "quintic-strength": "pixels, natural quintic of opacity^¼ (our residual's way)",
    "ridge-strength": "pixels, ridge regression of opacity^¼",
    "pca": "60 principal components, cubic spline",
    "quadratic": "pixels, quadratic (The Cannon's form)",
    "rvspecfit-grid": "rvspecfit GridInterp",
    "rvspecfit-delaunay": "rvspecfit Delaunay",
    "rvspecfit-nn": "rvspecfit neural network",
    "paper": "blase3d, `paper`",
    "default": "blase3d, `default`",
}


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


def emulator_of(model: Model, path: Path, *, residual: bool = True) -> Emulator:
    """A model as an emulator like all others."""
    run = jax.jit(partial(emulate, residual=residual))

    def flux(labels: Floats) -> Floats:
        return np.asarray(run(model.emulator, jnp.asarray(labels, jnp.float32)))

    return Emulator(flux, path.stat().st_size)


def without_teff(model: Model, teff: float) -> Model:
    """A model that does not know the nodes of a temperature (but for its lines)."""
    axes = dict(model.axes)
    shape = tuple(len(axis) for axis in axes.values())
    keep = np.repeat(axes["teff"] != teff, int(np.prod(shape[1:])))
    axes["teff"] = axes["teff"][axes["teff"] != teff]
    old = model.emulator
    rest = old.residual
    emulator = replace(
        old,
        manifold=make_manifold(axes, model.recipe.manifold),
        modes=old.modes[keep],
        residual=None if rest is None else replace(rest, nodes=rest.nodes[keep]),
    )
    return replace(model, axes=axes, emulator=emulator)


# What is measured


def judge_rival(case: Case, name: str, args: argparse.Namespace) -> Numbers:
    """All numbers of a method that is not ours."""
    make = METHODS[name]
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
        return emulator_of(without_teff(model, teff), path)

    numbers = judge(case, emulator_of(model, path), left_out, args)
    lines = emulator_of(model, path, residual=False)
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
    """How errors are spread."""
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
    """Errors at a few nodes inside the box of every third inner temperature, which is left out."""
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
    """Held-out spectra whose labels are fitted, at most so many of each group, by chance."""
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
    """Labels (L,) by least squares, all pixels alike, with derivatives by central differences."""
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
    emulator = emulator_of(load_model(path), path)
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

    def size_with(rest: Residual) -> int:
        save_model(with_rest(model, rest, DEFAULT.residual), bare)
        return bare.stat().st_size

    rows = []
    for every in (4, 2, 1):
        chosen = np.isin(case.nodes.labels[:, 0], case.nodes.axes["teff"][::every])
        count = int(chosen.sum())
        rest = make_residual(lines[chosen], flux[chosen], np.eye(count), DEFAULT.residual)
        row = {"nodes": count, "modes": int(rest.pixels.shape[0]), "bytes": size_with(rest)}
        rows.append(row)
    empty = make_residual(lines[:1], lines[:1], np.eye(1), DEFAULT.residual)
    return {"rows": rows, "lines_bytes": size_with(empty), "pixels": flux.shape[1]}


def default_model(case: Case, args: argparse.Namespace) -> Model:
    """The default model of a case, built unless that is done."""
    path = args.out / f"{case.name}-default.zip"
    if not path.exists():
        archive, _ = cloned(case, "default", args.out, args.workers)
        model_of(archive, path, DEFAULT)
    return load_model(path)


def with_rest(model: Model, rest: Residual, allowed: float) -> Model:
    """A model with another residual."""
    emulator = replace(model.emulator, residual=rest)
    return replace(model, emulator=emulator, recipe=replace(model.recipe, residual=allowed))


def lines_at_nodes(case: Case, model: Model, args: argparse.Namespace) -> Floats:
    """What the lines alone render at the nodes, (N, P)."""
    lines = emulator_of(model, args.out / f"{case.name}-default.zip", residual=False)
    return np.stack([lines.flux(labels) for labels in case.nodes.labels])


def say(stage: str, done: int, total: int) -> None:
    """Progress on one line of stderr."""
    print(f"\r{stage}: {done}/{total}\x1b[K", end="\n" if done == total else "", file=sys.stderr)


# Tables


def print_tables(known: dict[str, Numbers]) -> None:
    """All that is known, case by case."""
    for case in dict.fromkeys(key.split(":")[0] for key in known):
        rows = {k.split(":")[1]: v for k, v in known.items() if k.split(":")[0] == case}
        methods = {name: rows[name] for name in TITLES if name in rows}
        groups = dict.fromkeys(g for row in methods.values() for g in row.get("held", {}))
        for group in groups:
            print_group(group, methods)
        print_costs(case, methods)
        print_curve(case, {k: v for k, v in rows.items() if k.startswith("curve")})
        if "growth" in rows:
            print_growth(case, rows["growth"])


def print_group(group: str, methods: dict[str, Numbers]) -> None:
    """Held-out errors of all methods in a group: flux in 1e-4, labels."""
    columns = ("", "median", "mean", "p95", "worst", "Teff", "log g", "[Fe/H]")
    table = Table(*columns, title=f"{group}: held out, flux rms (1e-4), label errors")
    for name, row in methods.items():
        if "reason" in row:
            table.add_row(TITLES[name], row["reason"])
            continue
        flux = [f"{1e4 * row['held'][group][key]:.2f}" for key in columns[1:5]]
        table.add_row(TITLES[name], *flux, *label_cells(row["labels"][group]))
        if "lines_alone" in row:
            alone = row["lines_alone"]["held"][group]
            table.add_row("  lines alone", *(f"{1e4 * alone[key]:.2f}" for key in columns[1:5]))
            table.add_row("  by `infer`", *[""] * 4, *label_cells(row["infer"][group]))
    Console(width=120).print(table)


def label_cells(wrong: dict[str, float]) -> list[str]:
    """Mean absolute errors of the labels."""
    return [f"{wrong['teff']:.2f}", f"{wrong['logg']:.4f}", f"{wrong['feh']:.4f}"]


def print_costs(case: str, methods: dict[str, Numbers]) -> None:
    """Errors at nodes and left out, size and times."""
    columns = ("", "nodes: median", "worst", "left out: median", "worst", "MB", "s to build", "ms")
    table = Table(*columns, title=f"{case}: flux rms (1e-4), size and times")
    for name, row in methods.items():
        if "reason" in row:
            continue
        cells = [f"{1e4 * row['nodes'][key]:.2f}" for key in ("median", "worst")]
        left = row["left_out"]
        cells += [f"{1e4 * left[key]:.2f}" if left else "–" for key in ("median", "worst")]
        seconds = f"{row['build_seconds']:.1f}"
        if "clone_seconds" in row:
            cloning = row["clone_seconds"]
            seconds = f"{'?' if cloning is None else round(cloning)} + {seconds}"
        cells += [f"{row['bytes'] / 1e6:.2f}", seconds, f"{row['milliseconds']:.1f}"]
        table.add_row(TITLES[name], *cells)
    Console(width=120).print(table)


def print_curve(case: str, rows: dict[str, Numbers]) -> None:
    """Size against error."""
    if not rows:
        return
    groups = list(next(iter(rows.values()))["held"])
    columns = ("residual", "modes", "MB", "spectra / model", "nodes: median", "worst")
    table = Table(*columns, *groups, title=f"{case}: size against flux rms (1e-4)")
    for row in rows.values():
        table.add_row(
            f"{row['residual']:g}",
            f"{row['modes']}",
            f"{row['bytes'] / 1e6:.2f}",
            f"{row['spectra_bytes'] / row['bytes']:.1f}",
            *(f"{1e4 * row['nodes'][key]:.2f}" for key in ("median", "worst")),
            *(f"{1e4 * row['held'][group]['median']:.2f}" for group in groups),
        )
    Console(width=120).print(table)


def print_growth(case: str, row: Numbers) -> None:
    """Size against nodes, by a power law to the paper's library."""
    lines, pixels_ = row["lines_bytes"], row["pixels"]
    table = Table("nodes", "modes", "MB", "of it residual", title=f"{case}: size against nodes")
    for each in row["rows"]:
        rest = each["bytes"] - lines
        cells = f"{each['nodes']}", f"{each['modes']}", f"{each['bytes'] / 1e6:.2f}"
        table.add_row(*cells, f"{rest / 1e6:.2f}")
    Console().print(table)
    nodes = np.array([each["nodes"] for each in row["rows"]], float)
    rest = np.maximum([each["bytes"] - lines for each in row["rows"]], 1.0)
    power = float(np.polyfit(np.log(nodes), np.log(rest), 1)[0])
    grown = rest[-1] * (PAPER_NODES / nodes[-1]) ** power
    total = (lines + grown) * PAPER_PIXELS / pixels_
    print(
        f"residual ~ nodes^{power:.2f}; {PAPER_NODES:,} nodes x {PAPER_PIXELS:,} px: "
        f"({lines / 1e6:.2f} + {grown / 1e6:.2f} MB) x {PAPER_PIXELS:,} / {pixels_:,} "
        f"= {total / 1e9:.2f} GB"
    )


if __name__ == "__main__":
    main()
