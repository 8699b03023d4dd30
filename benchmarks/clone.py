"""How expensive is it to clone a spectrum, how good is the clone, and how does the cost grow?

    python benchmarks/clone.py --data ../shared/data --out clone --json clone.json
    python benchmarks/clone.py --quick --only spectrum plain

One spectrum of 240,551 pixels is cloned by 100 epochs of Adam (the settings of the recipe `paper`),
by the recipe `single`, and as the original does it: the same lines, each evaluated over its dense
window of 6,000 pixels, derivatives by plain automatic differentiation. Then: native PHOENIX pixels;
seconds an epoch against lines and pixels; whole grids against workers and nodes; and what a large
library would cost by the numbers found.

Each measurement runs in a fresh process, for its peak memory. Wall seconds depend on what else the
machine does, CPU seconds (user and system, all threads) hardly. Results are stored in --json, where
an interrupted run continues.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial, reduce
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

from blase3d.fitting.archive import open_archive
from blase3d.fitting.build import build
from blase3d.fitting.clone_grid import clone, misfits
from blase3d.fitting.single_node import Clone, clone_spectrum, detect_lines, fit_lines
from blase3d.libraries import open_grid
from blase3d.libraries.grid import Grid
from blase3d.lines.lines import Lines
from blase3d.lines.render import make_layout, reach, render
from blase3d.model.model_file import save_model
from blase3d.recipe import DEFAULT, PAPER, SINGLE, Recipe
from blase3d.runtime.executor import LocalPool
from blase3d.spectra.continuum import normalise
from blase3d.spectra.spectrum import Spectrum

ROOT = Path(__file__).resolve().parent.parent
NODE = {"teff": 5000.0, "logg": 4.5, "feh": 0.0}
ADAM = PAPER.replace(continuum="library")
"""100 epochs of Adam at prominence 0.005, over the true continuum."""
WINDOW = 6_000
"""Pixels a line in the original."""
RANGE = 8038.0, 12849.0
PART = 8600.0, 8700.0
LIBRARIES = {"the paper's part of PHOENIX": (1_314, 338_651), "all of PHOENIX": (47_000, 1_570_000)}

Numbers = dict[str, Any]


def main() -> None:
    """Make the measurements that are requested and not yet stored, and print the tables."""
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.json or args.out / "clone.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    for name, measurement in measurements(args).items():
        if name.split(":")[0] not in args.only or name in known:
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        known[name] = in_fresh_process(measurement)
        path.write_text(json.dumps(known, indent=1))
    print_tables(known)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="example: python benchmarks/clone.py --quick --only spectrum plain --json c.json",
    )
    groups = ("spectrum", "plain", "phoenix", "lines", "pixels", "workers", "nodes")
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    parser.add_argument("--only", nargs="+", choices=groups, default=groups, help="what to measure")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller measurements")
    parser.add_argument("--out", type=Path, default=Path("clone"), help="folder to work in")
    parser.add_argument("--json", type=Path, help="default: clone.json in --out")
    return parser.parse_args()


def measurements(args: argparse.Namespace) -> dict[str, Callable[[], Numbers]]:
    """Measurements by name, with their group before the colon."""
    quick, data, out = args.quick, args.data, args.out
    found: dict[str, Callable[[], Numbers]] = {
        "spectrum:adam": partial(adam, data),
        "spectrum:single": partial(single, data),
        "plain:jax": partial(plain, data, 1 if quick else 3),
        "plain:torch": partial(plain_torch, data, 1 if quick else 2),
        "phoenix:single": partial(phoenix, data),
    }
    for n in (1_000, 10_000) if quick else (1_000, 2_000, 5_000, 10_000, 20_000):
        found[f"lines:{n}"] = partial(epoch, n, 240_000)
    for n in (25_000, 100_000) if quick else (25_000, 50_000, 100_000, 200_000, 300_000):
        found[f"pixels:{n}"] = partial(epoch, 10_000, n)
    for n in (1, 2):
        found[f"workers:{n}"] = partial(some_nodes, data, out, n, 6 if quick else 24)
    for share in (4, 2) if quick else (4, 2, 1):
        found[f"nodes:1/{share}"] = partial(joint, data, out, share)
    return found


# Each measurement in its own process


def in_fresh_process(measurement: Callable[[], Numbers]) -> Numbers:
    """The result of a measurement, and the peak memory of its process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, measurement).result()


def _measured(measurement: Callable[[], Numbers]) -> Numbers:
    try:
        numbers = measurement()
    except ImportError as error:
        return {"reason": str(error)}
    return {**numbers, "peak_memory": peak_memory()}


def peak_memory() -> int:
    """Bytes of this process at its largest. (`ru_maxrss` of a child starts at its parent's.)"""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def timed(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """The result of a function, and its wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = jax.block_until_ready(function())
    return result, time.perf_counter() - wall, time.process_time() - cpu


def twice(function: Callable[[], Clone]) -> Numbers:
    """Numbers of a clone that is made twice: what the first time took longer is compilation."""
    _, first, _ = timed(function)
    made, wall, cpu = timed(function)
    assert made.lines is not None
    return {
        "lines": len(made.lines),
        "pixels": made.target.size,
        "misfit": made.misfit,
        "flags": made.flags,
        "compile_seconds": max(first - wall, 0.0),
        "seconds": wall,
        "cpu_seconds": cpu,
    }


# One spectrum


def wide_spectrum(data: Path, recipe: Recipe) -> Spectrum:
    """The spectrum that all methods get, in units of its continuum."""
    grid = open_grid(data / "turbo-wide.npz")
    i = grid.find(**NODE)
    assert i is not None
    return normalise(grid[i], recipe, NODE["teff"])


def adam(data: Path) -> Numbers:
    """100 epochs of Adam on the lines detected."""
    spectrum = wide_spectrum(data, ADAM)
    start = detect_lines(spectrum, ADAM)
    return {**twice(lambda: fit_lines(spectrum, start, ADAM)), "epochs": ADAM.single.epochs}


def single(data: Path) -> Numbers:
    """All rounds of the recipe `single`."""
    spectrum = wide_spectrum(data, SINGLE)
    epochs = SINGLE.single.epochs * (SINGLE.single.rounds + 1)
    return {**twice(lambda: clone_spectrum(spectrum, SINGLE)), "epochs": epochs}


def phoenix(data: Path) -> Numbers:
    """Native pixels, whose step doubles at 10000 Å, over a fitted continuum."""
    stored = np.load(data / "phoenix-10000K-native.npz")
    raw = Spectrum(stored["wavelength"], stored["flux"])
    spectrum = normalise(raw, SINGLE, 10_000.0)
    epochs = SINGLE.single.epochs * (SINGLE.single.rounds + 1)
    return {**twice(lambda: clone_spectrum(spectrum, SINGLE)), "epochs": epochs}


# As the original does it


def plain(data: Path, epochs: int) -> Numbers:
    """The original's approach, for a few epochs of 100, with the time of the others extrapolated.

    Nothing is shared with the package but the lines to start from: dense windows, added up over
    pixels by scattering; the printed mixing with sigma in the Gaussian and gamma in the Lorentzian;
    Adam with the AMSGrad correction at 0.05. JAX fuses and scatters: a favour to the original,
    which adds with a sparse tensor in PyTorch (`plain_torch`, where that is installed).
    """
    spectrum = wide_spectrum(data, ADAM)
    start = detect_lines(spectrum, ADAM)
    step, state = plain_step(spectrum, start)
    state, first, _ = timed(lambda: step(state))
    _, wall, cpu = timed(lambda: reduce(lambda s, _: step(s), range(epochs), state))
    return {
        "lines": len(start),
        "pixels": len(spectrum),
        "epochs": 100,
        "epochs_timed": epochs,
        "compile_seconds": max(first - wall / epochs, 0.0),
        "seconds": 100 * wall / epochs,
        "cpu_seconds": 100 * cpu / epochs,
    }


def plain_step(spectrum: Spectrum, start: Lines) -> tuple[Callable[[Any], Any], Any]:
    """One epoch as a function of parameters and optimiser, and what both are at first."""
    pixels, offsets = (jnp.asarray(part) for part in windows_of(spectrum, start))
    target = jnp.asarray(spectrum.flux, jnp.float32)

    def loss(params: jax.Array) -> jax.Array:
        absorbed = jnp.clip(plain_lines(params, offsets), 0.0, 1.0 - 1e-6)
        depth = jnp.zeros_like(target).at[pixels].add(jnp.log1p(-absorbed))
        return jnp.mean((jnp.exp(depth) - target) ** 2)

    optimiser = optax.amsgrad(0.05)

    @jax.jit
    def step(state: Any) -> Any:
        params, memory = state
        change, memory = optimiser.update(jax.grad(loss)(params), memory)
        return optax.apply_updates(params, change), memory

    params = jnp.asarray(start.params)
    return step, (params, optimiser.init(params))


def windows_of(spectrum: Spectrum, start: Lines) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of each line, and their distances (Å) from it, (N, W)."""
    wave = spectrum.wavelength
    middle = np.searchsorted(wave, start.reference)
    first = np.clip(middle - WINDOW // 2, 0, wave.size - WINDOW)
    pixels = (first[:, None] + np.arange(WINDOW)).astype(np.int32)
    return pixels, (wave[pixels] - start.reference[:, None]).astype(np.float32)


def plain_lines(params: Any, offsets: Any, xp: Any = jnp) -> Any:
    """Absorption (N, W) of each line (N, 4) in its window."""
    shift, area, sigma, gamma = (params[:, k, None] for k in range(4))
    sigma, gamma, x = xp.exp(sigma), xp.exp(gamma), offsets - shift
    gauss, lorentz = 2.3548 * sigma, 2.0 * gamma
    powers = (1.0, 2.69269, 2.42843, 4.47163, 0.07842, 1.0)
    width = sum(c * gauss ** (5 - n) * lorentz**n for n, c in enumerate(powers)) ** 0.2
    ratio = lorentz / width
    mixing = 1.36603 * ratio - 0.47719 * ratio**2 + 0.11116 * ratio**3
    wings = gamma / (np.pi * (gamma**2 + x**2))
    core = xp.exp(-0.5 * (x / sigma) ** 2) / (sigma * np.sqrt(2.0 * np.pi))
    return xp.exp(area) * (mixing * wings + (1.0 - mixing) * core)


def plain_torch(data: Path, epochs: int) -> Numbers:
    """The same in PyTorch, summed by a sparse tensor as in the original."""
    import torch

    spectrum = wide_spectrum(data, ADAM)
    start = detect_lines(spectrum, ADAM)
    pixels, offsets = (torch.as_tensor(part) for part in windows_of(spectrum, start))
    target = torch.as_tensor(spectrum.flux.astype(np.float32))
    rows = torch.arange(len(start))[:, None].expand(pixels.shape)
    places = torch.stack([rows.reshape(-1), pixels.long().reshape(-1)])
    params = torch.tensor(start.params, requires_grad=True)
    optimiser = torch.optim.Adam([params], lr=0.05, amsgrad=True)

    def step() -> None:
        optimiser.zero_grad()
        absorbed = plain_lines(params, offsets, torch).clamp(0.0, 1.0 - 1e-6)
        depth = torch.log1p(-absorbed).reshape(-1)
        whole = torch.sparse_coo_tensor(
            places, depth, (len(start), len(target)), check_invariants=False
        )
        flux = torch.exp(torch.sparse.sum(whole, dim=0).to_dense())
        torch.mean((flux - target) ** 2).backward()
        optimiser.step()

    _, wall, cpu = timed(lambda: [step() for _ in range(epochs)])
    return {
        "lines": len(start),
        "pixels": len(spectrum),
        "epochs": 100,
        "epochs_timed": epochs,
        "compile_seconds": 0.0,
        "seconds": 100 * wall / epochs,
        "cpu_seconds": 100 * cpu / epochs,
    }


# Growth


def epoch(lines: int, pixels: int) -> Numbers:
    """Adam on so many random lines (thermal widths, depths from 0.2 to 20 %) and pixels."""
    wave = np.linspace(*RANGE, pixels)
    start = random_lines(lines)
    flux = render_at(wave, start)
    rng = np.random.default_rng(1)
    guess = Lines(start.reference, start.params + rng.normal(0, 0.1, 4).astype(np.float32))
    recipe = SINGLE.replace(epochs=20)
    numbers = twice(lambda: fit_lines(Spectrum(wave, flux), guess, recipe))
    return {**numbers, "epochs": recipe.single.epochs}


def random_lines(count: int) -> Lines:
    """Lines all over the paper's range."""
    rng = np.random.default_rng(0)
    ln_area = np.log(0.042 * 10 ** rng.uniform(-2.3, -0.2, count))
    ln_sigma, ln_gamma = np.log(rng.uniform([[0.05], [0.01]], [[0.12], [0.05]], (2, count)))
    params = np.stack([np.zeros(count), ln_area, ln_sigma, ln_gamma], axis=1)
    return Lines(np.sort(rng.uniform(*RANGE, count)), params.astype(np.float32))


def render_at(wave: np.ndarray, lines: Lines) -> np.ndarray:
    """Flux (P,) of lines."""
    layout = make_layout(wave, lines.reference, reach(lines.params, SINGLE.wing_tolerance))
    return np.asarray(render(jnp.asarray(lines.params), layout, SINGLE.composition))


def some_nodes(data: Path, out: Path, workers: int, count: int) -> Numbers:
    """A few nodes of a grid by `single`, with workers that start and compile again."""
    grid = open_grid(data / "turbo-cat.npz")
    chosen = grid.take(np.linspace(0, len(grid) - 1, count).astype(int))
    numbers = clone_grid(chosen, out / f"workers-{workers}.zarr", SINGLE, workers)
    return {**numbers, "workers": workers}


def joint(data: Path, out: Path, share: int) -> Numbers:
    """The joint fit of a part of the spectrum, at every temperature or at every second or fourth;
    then the model, for its size."""
    grid = open_grid(data / "turbo-cat.npz").cut(*PART)
    chosen = grid.take(np.flatnonzero(np.isin(grid.labels[:, 0], grid.axes["teff"][::share])))
    path = out / f"nodes-{share}.zarr"
    numbers = clone_grid(chosen, path, DEFAULT, 1)
    model, seconds, cpu = timed(lambda: build(open_archive(path)))
    save_model(model, path.with_suffix(".zip"))
    return {
        **numbers,
        "lines": int(model.reference.size),
        "build_seconds": seconds,
        "build_cpu_seconds": cpu,
        "model_bytes": path.with_suffix(".zip").stat().st_size,
    }


def clone_grid(grid: Grid, path: Path, recipe: Recipe, workers: int) -> Numbers:
    """A whole grid, from nothing, by `b3.clone`; CPU seconds include the workers."""
    shutil.rmtree(path, ignore_errors=True)
    before = children_cpu()

    def work() -> Any:
        with LocalPool(workers) as pool:
            return clone(grid, path, recipe, pool)

    archive, wall, cpu = timed(work)
    found = misfits(archive)
    return {
        "nodes": len(grid),
        "pixels": grid.wavelength.size,
        "misfit": float(np.median(found)),
        "misfit_worst": float(np.max(found)),
        "seconds": wall,
        "cpu_seconds": cpu + children_cpu() - before,
        "archive_bytes": sum(f.stat().st_size for f in path.rglob("*") if f.is_file()),
    }


def children_cpu() -> float:
    """CPU seconds of the workers that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# Tables


def print_tables(known: dict[str, Numbers]) -> None:
    """All results."""
    print_spectra(known)
    print_growth(known)
    print_grids(known)
    print_libraries(known)


def of_group(known: dict[str, Numbers], *groups: str) -> dict[str, Numbers]:
    """The results of some groups."""
    return {name: numbers for name, numbers in known.items() if name.split(":")[0] in groups}


def print_spectra(known: dict[str, Numbers]) -> None:
    """One spectrum by each method, and how many times as long as Adam they take."""
    table = Table(title="One spectrum", title_justify="left")
    columns = ("", "pixels", "lines", "epochs", "s", "CPU s", "s to compile", "memory (GB)")
    for column in (*columns, "rms misfit (1e-4)"):
        table.add_column(column, justify="right")
    for name, row in of_group(known, "spectrum", "plain", "phoenix").items():
        if "reason" in row:
            table.add_row(name, row["reason"])
            continue
        misfit = f"{1e4 * row['misfit']:.1f}" if "misfit" in row else "–"
        counts = [f"{row[key]:,}" for key in ("pixels", "lines", "epochs")]
        seconds = [f"{row[key]:.1f}" for key in ("seconds", "cpu_seconds", "compile_seconds")]
        table.add_row(name, *counts, *seconds, f"{row['peak_memory'] / 1e9:.2f}", misfit)
    if table.row_count:
        Console(width=120).print(table)
    for name, row in of_group(known, "plain").items():
        if "reason" not in row and (ours := known.get("spectrum:adam")):
            wall, cpu = (row[key] / ours[key] for key in ("seconds", "cpu_seconds"))
            print(
                f"100 epochs, {name} over ours: {wall:.0f} times the wall time, {cpu:.0f} times "
                f"the CPU time (from {row['epochs_timed']} epochs)"
            )


def print_growth(known: dict[str, Numbers]) -> None:
    """Milliseconds an epoch."""
    table = Table("", "lines", "pixels", "ms an epoch", "CPU ms an epoch", title="An epoch of Adam")
    for name, row in of_group(known, "lines", "pixels").items():
        times = [f"{1e3 * row[key] / row['epochs']:.1f}" for key in ("seconds", "cpu_seconds")]
        table.add_row(name, f"{row['lines']:,}", f"{row['pixels']:,}", *times)
    if table.row_count:
        Console().print(table)


def print_grids(known: dict[str, Numbers]) -> None:
    """Grids: workers and nodes."""
    columns = ("", "nodes", "pixels", "s", "CPU s", "CPU µs a node and pixel")
    sizes = ("bytes a node and pixel", "model (kB)")
    table = Table(*columns, "misfit (1e-4)", *sizes, title="Grids")
    for name, row in of_group(known, "workers", "nodes").items():
        values = row["nodes"] * row["pixels"]
        model = f"{row['model_bytes'] / 1e3:.0f}" if "model_bytes" in row else ""
        table.add_row(
            name,
            f"{row['nodes']}",
            f"{row['pixels']:,}",
            f"{row['seconds']:.0f}",
            f"{row['cpu_seconds']:.0f}",
            f"{1e6 * row['cpu_seconds'] / values:.0f}",
            f"{1e4 * row['misfit']:.0f}",
            f"{row['archive_bytes'] / values:.2f}",
            model,
        )
    if table.row_count:
        Console(width=130).print(table)


def print_libraries(known: dict[str, Numbers]) -> None:
    """On paper: core-hours = CPU seconds a node and pixel x nodes x pixels / 3600; bytes of the
    archive likewise."""
    costs = {"single": known.get("spectrum:single"), "default": known.get("nodes:1/1")}
    bytes_from = {"single": known.get("workers:1"), "default": known.get("nodes:1/1")}
    for recipe, row in costs.items():
        if row is None or (stored := bytes_from[recipe]) is None:
            continue
        cost = row["cpu_seconds"] / (row.get("nodes", 1) * row["pixels"])
        size = stored["archive_bytes"] / (stored["nodes"] * stored["pixels"])
        for name, (nodes, pixels) in LIBRARIES.items():
            print(
                f"{recipe}, {name}: {1e6 * cost:.1f} CPU µs x {nodes:,} nodes x {pixels:,} px = "
                f"{cost * nodes * pixels / 3600:,.0f} core-hours; x {size:.2f} bytes = "
                f"{size * nodes * pixels / 1e9:,.0f} GB of clones"
            )


if __name__ == "__main__":
    main()
