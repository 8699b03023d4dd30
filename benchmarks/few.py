"""What do cross derivatives (`model/short_axes.py`) gain for labels of few values?

    python benchmarks/few.py --json few.json

Pixels are interpolated with and without cross derivatives, in the fourth root of the opacity, from
cuts of a library to a few values of a label, at held-out spectra inside the cut. `turbo-cat` has
held-out spectra; those of `synspec-cat` are nodes that a cut leaves out, at the values of the other
labels in the cut. Flux rms, 1e-4 of the continuum. A second table shows, for the held-out spectra
of `turbo-cat`, how much of the error is equivalent to a change of their labels.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from accuracy import ROOT, errors, library_of
from blase3d.libraries import open_grid
from rivals.library import Emulator, Library
from rivals.pixels import STRENGTH, borrowed, pixels

Cut = dict[str, tuple[float, ...]]
TURBO: dict[str, Cut] = {
    "[Fe/H] 3 (all)": {},
    "[Fe/H] 2": {"feh": (-0.5, 0.0)},
    "log g 3, [Fe/H] 3": {"logg": (3.5, 4.5, 5.0)},
    "log g 2, [Fe/H] 3": {"logg": (3.5, 5.0)},
    "Teff 4, [Fe/H] 3": {"teff": (5000.0, 5500.0, 6000.0, 6500.0)},
    "Teff 3, log g 3, [Fe/H] 3": {"teff": (5000.0, 5500.0, 6000.0), "logg": (4.0, 4.5, 5.0)},
    "Teff 3, log g 3, [Fe/H] 2": {
        "teff": (5000.0, 5500.0, 6000.0),
        "logg": (4.0, 4.5, 5.0),
        "feh": (-0.5, 0.0),
    },
    "Teff 2, log g 2, [Fe/H] 2": {
        "teff": (5000.0, 6000.0),
        "logg": (4.0, 5.0),
        "feh": (-0.5, 0.0),
    },
}
SYNSPEC: dict[str, Cut] = {
    "log g 4": {"logg": (2.0, 3.0, 4.0, 5.0)},
    "log g 3": {"logg": (2.0, 3.5, 5.0)},
    "[Fe/H] 2": {"feh": (-0.5, 0.5)},
    "Teff 4, cool": {"teff": (4000.0, 4500.0, 5000.0, 5500.0)},
    "Teff 4, warm": {"teff": (5500.0, 6000.0, 6500.0, 7000.0)},
    "Teff 4, hot": {"teff": (8000.0, 9000.0, 10000.0, 11000.0)},
}
EVERY = 3
"""One in this number of spectra that a cut of `synspec-cat` leaves out is used."""


def main() -> None:
    args = parse_arguments()
    turbo, held = (library_of(open_grid(args.data / f"turbo-cat{e}.npz")) for e in ("", "-offgrid"))
    synspec = library_of(open_grid(args.data / "synspec-cat.npz"))
    rows = [row("turbo-cat", name, kept(turbo, cut), held) for name, cut in TURBO.items()]
    for name, cut in SYNSPEC.items():
        inside = kept(synspec, cut)
        (label,) = cut
        others = {n: tuple(axis) for n, axis in inside.axes.items() if n != label}
        rest = kept(synspec, others)
        column = rest.names.index(label)
        rest = rest.take(~np.isin(rest.labels[:, column], cut[label]))
        rows.append(
            row("synspec-cat", name, inside, rest.take(np.arange(0, len(rest.flux), EVERY)))
        )
    like_labels = as_labels(borrowed(turbo, Path()), held)
    show(rows, like_labels)
    if args.json is not None:
        args.json.write_text(json.dumps({"cuts": rows, "labels": like_labels}, indent=1))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Labels of few values.")
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def kept(library: Library, cut: Cut) -> Library:
    """The spectra at some values of labels."""
    inside = [np.isin(library.labels[:, library.names.index(n)], v) for n, v in cut.items()]
    return library.take(np.all(inside, axis=0) if inside else np.ones(len(library.flux), bool))


def row(library: str, name: str, nodes: Library, held: Library) -> dict[str, Any]:
    """Errors of the held-out spectra inside the nodes, with and without cross derivatives."""
    low, high = nodes.labels.min(axis=0), nodes.labels.max(axis=0)
    held = held.take(np.all((held.labels >= low) & (held.labels <= high), axis=1))
    made = {
        "without": pixels(nodes, Path(), "spline", STRENGTH),
        "with": borrowed(nodes, Path()),
    }
    wrong = {name: errors(emulator, held) for name, emulator in made.items()}
    return {
        "library": library,
        "cut": name,
        "nodes": len(nodes.flux),
        "held": len(held.flux),
        **{f"{n}_{k}": float(f(e)) for n, e in wrong.items() for k, f in STATISTICS.items()},
        "better": float(np.mean(wrong["with"] < wrong["without"])),
    }


STATISTICS = {"median": np.median, "mean": np.mean, "worst": np.max}


def as_labels(emulator: Emulator, held: Library) -> list[dict[str, Any]]:
    """The error at every held-out spectrum, the change of labels that is nearest to it, and what is
    left then."""
    rows = []
    for at, truth in zip(held.labels, held.flux, strict=True):
        steps = np.diag([STEPS[name] for name in held.names])
        slopes = [(emulator.flux(at + s) - emulator.flux(at - s)) / 2.0 for s in steps]
        wrong = np.float64(truth - emulator.flux(at))
        parts, *_ = np.linalg.lstsq(np.stack(slopes, axis=1), wrong, rcond=None)
        left = wrong - parts @ slopes
        changes = dict(zip(held.names, (parts * steps.diagonal()).tolist(), strict=True))
        rms, rest = (float(np.sqrt(np.mean(values**2))) for values in (wrong, left))
        rows.append({"labels": at.tolist(), "rms": rms, "left": rest, "change": changes})
    return rows


STEPS = {"teff": 10.0, "logg": 0.02, "feh": 0.02}


def show(rows: list[dict[str, Any]], like_labels: list[dict[str, Any]]) -> None:
    """Print two tables."""
    table = Table("values of labels", "nodes", "held out", "median", "mean", "worst", "better in")
    for found in rows:
        pairs = [
            " → ".join(f"{1e4 * found[f'{n}_{k}']:.2f}" for n in ("without", "with"))
            for k in STATISTICS
        ]
        table.add_row(
            f"{found['library']}, {found['cut']}",
            str(found["nodes"]),
            str(found["held"]),
            *pairs,
            f"{100 * found['better']:.0f} %",
        )
    Console().print(table)
    table = Table("held out", "rms", "left", *(f"change of {name}" for name in STEPS))
    for found in like_labels:
        changes = (f"{found['change'][name]:+.3g}" for name in STEPS)
        numbers = (f"{1e4 * found[name]:.2f}" for name in ("rms", "left"))
        table.add_row("/".join(f"{x:g}" for x in found["labels"]), *numbers, *changes)
    Console().print(table)


if __name__ == "__main__":
    main()
