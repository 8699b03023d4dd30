"""How do the time and memory of `blase3d build` grow with nodes and pixels, those of `clone` with
nodes?

    python benchmarks/build.py --json build.json
    python benchmarks/build.py --verb clone --json clone.json

Archives of clones are written from known lines, without a fit: those of the toy universe, side by
side in wavelength, as functions of the labels. Each is built by a process of its own, whose CPU
time and largest memory are printed; then a spectrum of 40 Å is made with the model, and one of all
pixels.

Libraries of two windows are cloned in two short rounds, each of four passes over the nodes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from commands import aside, measured

SIZES = {
    "base": (48, 2),
    "nodes x 4": (192, 2),
    "nodes x 16": (768, 2),
    "nodes x 64": (3072, 2),
    "pixels x 4": (48, 8),
}
"""Nodes; windows of 16,384 pixels."""
COUNTS = {48: (4, 4, 3), 192: (8, 6, 4), 768: (16, 8, 6), 3072: (32, 12, 8)}
"""Values of Teff, log g and [Fe/H] of so many nodes."""
TWO_WINDOWS = 12_500
"""Pixels of a library that is cloned."""
SHORT = {"rounds": 1, "epochs": 4}
"""Settings of its recipe."""
STEP = 0.005
SPAN = 40.0
"""Å: pixels, and the range of the toy universe."""
LABELS = ("--teff", "5730", "--logg", "4.4", "--feh", "-0.1")


def library(n_nodes: int, n_pixels: int) -> Any:
    """The library of so many nodes and pixels."""
    from blase3d.libraries.grid import grid_of
    from blase3d.libraries.toy import AXES, META, toy_flux
    from blase3d.libraries.toy import WAVELENGTH as TOY
    from blase3d.recipe import DEFAULT

    names = ("teff", "logg", "feh")
    ends = ((AXES[name][0], AXES[name][-1]) for name in names)
    axes = [np.linspace(*both, n) for both, n in zip(ends, COUNTS[n_nodes], strict=True)]
    nodes = np.array(list(product(*axes)))
    wave = TOY[0] + STEP * np.arange(n_pixels)
    period = round(SPAN / STEP)
    once = [
        toy_flux(dict(zip(names, node, strict=True)), wave[:period], DEFAULT.composition)
        for node in nodes
    ]
    flux = np.array(once, np.float32)[:, np.arange(wave.size) % period]
    return grid_of(wave, nodes, names, flux, meta=META)


def write_library(folder: Path, n_nodes: int) -> None:
    """Write a library, and a recipe to clone it."""
    from blase3d.libraries import write_grid
    from blase3d.recipe import DEFAULT

    write_grid(library(n_nodes, TWO_WINDOWS), folder / "library.zarr")
    (folder / "recipe.json").write_text(DEFAULT.replace(name="short", **SHORT).to_json())


def write_archive(path: Path, n_nodes: int, n_windows: int) -> None:
    """Write the clones of a library of so many nodes and windows."""
    from blase3d.fitting.archive import create_archive
    from blase3d.fitting.windows import windows
    from blase3d.libraries.toy import toy_lines
    from blase3d.model.grid_basis import smooth_basis
    from blase3d.model.interpolation import coordinates
    from blase3d.model.line_grid import LineGrid, total_of
    from blase3d.recipe import DEFAULT

    grid = library(n_nodes, n_windows * 16_384)
    nodes, wave = grid.labels, grid.wavelength
    recipe = DEFAULT.replace(name="known", rounds=0, data_functions=0)
    archive = create_archive(path, grid, recipe)
    for i, spectrum in enumerate(grid):
        archive.write_spectrum(i, spectrum.flux.astype(np.float32))

    params = np.stack([toy_lines(node).params for node in nodes])  # (N, C, 4)
    basis = smooth_basis(coordinates(grid.axes), recipe.joint.smooth_functions)
    base = params.mean(axis=0)
    change = params - base
    root = recipe.joint.area_root
    area = np.linalg.lstsq(basis, total_of(change[:, :, 1].astype(float), root), rcond=None)[0]
    count = min(recipe.joint.shape_functions, basis.shape[1])
    shapes = [np.linalg.lstsq(basis[:, :count], change[:, :, k], rcond=None)[0] for k in (0, 2, 3)]
    lines = LineGrid(
        toy_lines(nodes[0]).reference,
        base.astype(np.float32),
        area.astype(np.float32),
        np.stack(shapes, axis=-1).astype(np.float32),
        root,
    )
    for k, window in enumerate(windows(wave.size, recipe.joint)):
        low, high = wave[window.core][[0, -1]]
        copies = [
            (lines.reference + SPAN * n, np.arange(len(lines)))
            for n in range(-1, int(np.ptp(wave) / SPAN) + 2)
        ]
        reference = np.concatenate([found for found, _ in copies])
        which = np.concatenate([numbers for _, numbers in copies])
        inside = (reference >= low - (k == 0) * SPAN) & (reference < high + STEP)
        inside &= (reference >= wave[0]) & (reference < wave[-1])
        core = lines.take(which[inside])
        archive.write_window(
            k,
            0,
            LineGrid(reference[inside], core.base, core.area, core.shape, root),
            np.zeros(len(nodes)),
        )


def measure_clone(n_nodes: int, workers: int) -> dict[str, object]:
    """Return what the clone of a library of two windows took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        aside(write_library, folder, n_nodes)
        recipe, clones = folder / "recipe.json", folder / "clones.zarr"
        words = ("-o", clones, "--recipe", recipe, "--workers", workers)
        row, _ = measured("clone", "clone", folder / "library.zarr", *words)
        return row | {"nodes": n_nodes, "pixels": TWO_WINDOWS}


def measure_build(n_nodes: int, n_windows: int, workers: int) -> dict[str, object]:
    """Return what the build of one archive took, and the spectra made with the model."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clones, model = folder / "clones.zarr", folder / "model.zip"
        aside(write_archive, clones, n_nodes, n_windows)
        row, _ = measured("build", "build", clones, "-o", model, "--workers", workers)
        row |= {"nodes": n_nodes, "pixels": n_windows * 16_384}
        row["model_mb"] = model.stat().st_size / 1e6
        for stage, words in (("part", ("--wave", "8500:8540")), ("whole", ())):
            made, _ = measured(stage, "synth", model, *LABELS, *words, "-o", folder / "made.npz")
            row |= {f"{stage}_cpu": made["cpu"], f"{stage}_mb": made["peak_mb"]}
    return row


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--verb", choices=("build", "clone"), default="build")
    parser.add_argument("--only", nargs="+", choices=SIZES, help="default: all that differ")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = {}
    for name, (n_nodes, n_windows) in SIZES.items():
        if name not in (args.only or SIZES):
            continue
        if args.verb == "build":
            rows[name] = measure_build(n_nodes, n_windows, args.workers)
        elif n_windows == 2:
            rows[name] = measure_clone(n_nodes, args.workers)
    for name, row in rows.items():
        numbers = (f"{key} {value:.4g}" for key, value in row.items() if key != "stage")
        print(name, *numbers, sep=" | ")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
