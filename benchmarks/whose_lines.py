"""Is every star fitted with the right lines of a calibrated model, of its library or of real stars?

    python benchmarks/whose_lines.py --model vis --held-out vis-heldout.npz --json whose_lines.json

Spectra that the library computed, at points that are not nodes, are inferred with noise of several
S/N at a resolution of 60,000, and real ones of `stars.ecsv` as they are. Printed is how many have
the lines of the library and those of stars, and, for the former, the rms errors of the labels
beside those by the model before calibration.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.interpolate import CubicSpline

import blase3d as b3
from blase3d.analysis.calibration import read_known_stars
from blase3d.analysis.validation import choose_held_out
from blase3d.runtime.units import SPEED_OF_LIGHT
from blase3d.spectra.broaden import broaden, log_grid

RESOLUTION, STEP = 60_000.0, 0.02
SNR = (100.0, 20.0, 5.0)

Star = tuple[b3.Spectrum, dict[str, float], dict[str, float]]
"""A spectrum, its labels, where they are known exactly, and the parameters that are fixed."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Which lines are stars fitted with?")
    parser.add_argument("--model", required=True, help="calibrated model, name or file")
    parser.add_argument("--held-out", type=Path, required=True, help="spectra of its library")
    parser.add_argument("--table", type=Path, default=Path(__file__).parent / "stars.ecsv")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    model = b3.load_model(args.model)
    rows = [
        row_of(f"computed, S/N {snr:g}", model, computed(model, args.held_out, snr, args.seed))
        for snr in SNR
    ]
    rows.append(row_of("real", model, observed(model, args.table)))
    table = Table()
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console(width=130).print(table)
    if args.json is not None:
        args.json.write_text(json.dumps(rows, indent=1))


def computed(model: b3.Model, grid_file: Path, snr: float, seed: int) -> Iterator[Star]:
    """Held-out spectra of the library."""
    rng, grid = np.random.default_rng(seed), b3.open_grid(grid_file)
    nodes = np.asarray(model.meta["nodes"], np.float64)
    for i in choose_held_out(model, grid, nodes).index:
        spectrum = grid[i]
        ln = log_grid(spectrum.wavelength)
        # straight lines between pixels would be 20 K of broadening
        even = CubicSpline(spectrum.wavelength, spectrum.flux / spectrum.continuum)(np.exp(ln))
        step = SPEED_OF_LIGHT * (ln[1] - ln[0])
        broad = np.asarray(broaden(even.astype(np.float32), step, 0.0, RESOLUTION))
        at = np.arange(model.wavelength[0] + 1.0, model.wavelength[-1] - 1.0, STEP)
        flux = CubicSpline(ln, broad)(np.log(at)) + rng.normal(0.0, 1.0 / snr, at.size)
        error = np.full(at.size, 1.0 / snr)
        star = b3.Spectrum(at, flux, error, resolution=RESOLUTION)
        yield star, grid.labels_of(i), {"vsini": 0.0}


def observed(model: b3.Model, table: Path) -> Iterator[Star]:
    """Real spectra of stars that lie within the model."""
    for one in read_known_stars(table, model.label_names):
        known = {name: value for name, (value, _) in one.labels.items()}
        inside = all(low <= known.get(n, np.nan) <= high for n, (low, high) in model.bounds.items())
        if inside:
            fixed = {n: v for n, v in one.fixed.items() if n == "resolution"}
            yield one.read(), {}, fixed


def row_of(kind: str, model: b3.Model, stars: Iterable[Star]) -> dict[str, object]:
    """How stars of one kind are fitted."""
    library, whose, off = model.uncalibrated(), [], []
    for star, truth, fixed in stars:
        try:
            answer = b3.infer(star, model, fixed=fixed)
        except b3.InputError:
            continue  # it does not overlap the model
        whose.append(answer.model_identity["lines"])
        if truth:
            answers = answer, b3.infer(star, library, fixed=fixed)
            off.append([[a.labels[n].value - truth[n] for n in model.label_names] for a in answers])
    after, before = rms_of(off) if off else ("", "")
    return {
        "spectra": kind,
        "lines of the library": whose.count("library"),
        "lines of stars": whose.count("stars"),
        "rms error of labels": after,
        "before calibration": before,
    }


def rms_of(off: list[list[list[float]]]) -> Iterator[str]:
    """rms over stars of label errors (N, 2, L), after and before calibration."""
    for rms in np.sqrt(np.mean(np.square(off), axis=0)):
        yield " / ".join(f"{value:.2g}" for value in rms)


if __name__ == "__main__":
    main()
