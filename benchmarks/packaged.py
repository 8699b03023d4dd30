"""How good are the packaged models? Errors at held-out points, beside splines of the pixels.

The splines are cubic in ln Teff and the other labels, of sqrt(−ln flux), through the same nodes.

example: python benchmarks/packaged.py --model vis --library vis.npz --held-out vis-heldout.npz
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from blase3d.analysis.validation import choose_held_out
from blase3d.libraries import open_grid
from blase3d.libraries.grid import Grid
from blase3d.model.completion import fill_holes
from blase3d.model.interpolation import coordinates, make_interpolation
from blase3d.model.model import Model
from blase3d.model.model_file import load_model
from rivals.pixels import SQRT_DEPTH

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="name or file of a model")
    parser.add_argument("--library", type=Path, required=True, help="its nodes")
    parser.add_argument("--held-out", type=Path, required=True, help="points between them")
    parser.add_argument("--json", type=Path, default=Path("packaged.json"))
    args = parser.parse_args()
    model = load_model(args.model, calibrated=False)  # spectra of its library
    rows = held_out_rows(model, open_grid(args.library), open_grid(args.held_out))
    args.json.write_text(json.dumps(rows))
    print_table(args.model, model, rows)


def held_out_rows(model: Model, library: Grid, held_out: Grid) -> list[dict[str, float]]:
    """Labels of every held-out point, and rms errors of the flux by all methods."""
    nodes = np.asarray(model.meta["nodes"], np.float64)
    spline = spline_of_pixels(model, library)
    rows = []
    for i in choose_held_out(model, held_out, nodes).index:
        labels, truth = held_out.labels_of(i), normalised(held_out, i)
        ours = np.asarray(model.flux(**labels))
        lines = np.asarray(model.flux(**labels, residual=False))
        point = np.array([labels[name] for name in model.label_names])
        errors = {"model": rms(ours, truth), "lines": rms(lines, truth)}
        rows.append({**labels, **errors, "spline": rms(spline(point), truth)})
    return rows


def spline_of_pixels(model: Model, library: Grid) -> Callable[[Floats], Floats]:
    """The flux (P,) at labels (L,) by splines through the nodes of a model; holes are completed as
    those of the model."""
    axes = model.axes
    wanted = {tuple(node) for node in model.meta["nodes"]}
    chosen = [i for i in range(len(library)) if tuple(library.labels[i]) in wanted]
    index = [
        [int(np.searchsorted(axes[name], library.labels_of(i)[name])) for name in axes]
        for i in chosen
    ]
    table = np.stack([SQRT_DEPTH.forward(normalised(library, i)) for i in chosen])
    table = table.astype(np.float32)
    complete = fill_holes(coordinates(axes), np.array(index)).astype(np.float32)
    weights = jax.jit(make_interpolation(axes, "cubic").weights)

    def flux(labels: Floats) -> Floats:
        of_nodes = np.asarray(weights(jnp.asarray(labels, jnp.float32))) @ complete
        return SQRT_DEPTH.inverse(of_nodes @ table)

    return flux


def normalised(grid: Grid, i: int) -> Floats:
    """The flux (P,) of a spectrum in units of its continuum."""
    spectrum = grid[i]
    assert spectrum.continuum is not None
    return spectrum.flux / spectrum.continuum


def rms(ours: Floats, truth: Floats) -> float:
    return float(np.sqrt(np.mean((np.asarray(ours, np.float64) - truth) ** 2)))


def print_table(name: str, model: Model, rows: list[dict[str, float]]) -> None:
    """Median, 95th percentile and worst error, and the errors at the nodes."""
    table = Table(title=f"{name}: rms of the flux at {len(rows)} held-out points (1e-4)")
    for column in ("", "median", "95 %", "worst"):
        table.add_column(column, justify="right")
    for method in ("model", "lines", "spline"):
        values = 1e4 * np.array([row[method] for row in rows])
        numbers = (np.median(values), np.percentile(values, 95), values.max())
        table.add_row(method, *(f"{x:.2f}" for x in numbers))
    for key, title in (("node_rms", "model, nodes"), ("node_lines_rms", "lines, nodes")):
        values = 1e4 * np.asarray(model.meta[key])
        numbers = (np.median(values), np.percentile(values, 95), values.max())
        table.add_row(title, *(f"{x:.2f}" for x in numbers))
    Console().print(table)


if __name__ == "__main__":
    main()
