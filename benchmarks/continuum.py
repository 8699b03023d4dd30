"""Fitted against true continua, and how smoothly the fit moves over the grid.

    python benchmarks/continuum.py --data ../shared/data --json continuum.json

Every row is one way of fitting on one set of nodes. With e = ln(fit / true) at each pixel, in
per cent: rms over pixels and nodes; median and worst over nodes of the rms of a node; mean; and
jump, the rms of the second difference of e over three neighbouring nodes in Teff, which is what
interpolation between nodes suffers from.

The original's form is re-enacted: the quotient of spectrum and blackbody, its highest peaks at
least 50 Å apart (5,001 pixels of 0.01 Å), and a polynomial in powers of raw Å through them: by
least squares as it stands ("raw"), and with the columns scaled first ("polyfit").
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from blase3d.runtime.units import blackbody
from blase3d.spectra.continuum import fit_continuum

Floats = NDArray[np.float64]
Fit = Callable[[Floats, Floats, float], Floats]

ROOT = Path(__file__).resolve().parent.parent
PEAK_DISTANCE = 50.0
"""Å between the peaks of the original's form."""
THIN = 20
"""Continua are smooth: errors are taken at every so many pixels."""


@dataclass(frozen=True)
class Nodes:
    """Spectra of one library with their true continua; flux and continuum are (N, P)."""

    name: str
    wavelength: Floats
    labels: Floats
    flux: Floats
    continuum: Floats

    def where(self, keep: NDArray[np.bool_], suffix: str) -> Nodes:
        rows = self.labels[keep], self.flux[keep], self.continuum[keep]
        return Nodes(f"{self.name} {suffix}", self.wavelength, *rows)


@dataclass(frozen=True)
class Row:
    """One line of the table; errors and jump in per cent, milliseconds for one spectrum."""

    nodes: str
    n: int
    method: str
    degree: int
    rms: float
    median: float
    worst: float
    mean: float
    jump: float
    milliseconds: float


def load(path: Path) -> Nodes:
    with np.load(path) as file:
        names = "wavelength", "labels", "flux", "continuum"
        return Nodes(path.stem, *(file[name].astype(np.float64) for name in names))


def node_sets(folder: Path, full: bool) -> Iterator[Nodes]:
    yield load(folder / "turbo-cat.npz")
    yield load(folder / "turbo-wide.npz")
    synspec = load(folder / "synspec-cat.npz")
    teff, logg, feh = synspec.labels.T
    some = np.ones_like(teff, bool) if full else (feh == 0.0) & np.isin(logg, (2.0, 3.5, 5.0))
    yield synspec.where(some & (teff <= 7000.0), "to 7000 K")
    yield synspec.where(some & (teff > 7000.0), "hotter")


def original_form(degree: int, scaled: bool) -> Fit:
    """Peaks of the quotient and a polynomial in raw Å; `scaled` columns are np.polyfit's."""

    def fit(wavelength: Floats, flux: Floats, teff: float) -> Floats:
        shape = blackbody(wavelength, teff)
        quotient = flux / shape
        distance = PEAK_DISTANCE / np.median(np.diff(wavelength))
        peaks = find_peaks(quotient, distance=distance)[0]
        x, y = wavelength[peaks], quotient[peaks]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # np.polyfit knows that it is badly conditioned
            if scaled:
                return shape * np.polyval(np.polyfit(x, y, degree), wavelength)
        return shape * np.polyval(np.linalg.lstsq(np.vander(x, degree + 1), y)[0], wavelength)

    return fit


def methods() -> Iterator[tuple[str, int, Fit]]:
    yield "original, raw", 4, original_form(4, scaled=False)
    yield "original, polyfit", 4, original_form(4, scaled=True)
    for degree in (1, 2, 3, 4, 5, 6):
        yield "fit_continuum", degree, partial(fit_continuum, degree=degree)
    yield "no blackbody", 4, lambda w, f, t: fit_continuum(w, f, None, 4)


def teff_triples(labels: Floats) -> list[tuple[int, int, int]]:
    """Indices of three neighbouring, evenly spaced nodes in Teff, the other labels equal."""
    columns: dict[tuple[float, ...], list[tuple[float, int]]] = {}
    for index, (teff, *others) in enumerate(labels.tolist()):
        columns.setdefault(tuple(others), []).append((teff, index))
    triples = []
    for column in map(sorted, columns.values()):
        for (a, i), (b, j), (c, k) in zip(column, column[1:], column[2:], strict=False):
            if np.isclose(b - a, c - b):
                triples.append((i, j, k))
    return triples


def measure(nodes: Nodes, method: str, degree: int, fit: Fit) -> Row:
    start = time.perf_counter()
    fitted = np.array(
        [
            fit(nodes.wavelength, flux, labels[0])[::THIN]
            for flux, labels in zip(nodes.flux, nodes.labels, strict=True)
        ]
    )
    seconds = time.perf_counter() - start
    error = 100.0 * np.log(fitted / nodes.continuum[:, ::THIN])
    rms = np.sqrt(np.mean(error**2, axis=1))
    second = np.array(
        [error[i] - 2.0 * error[j] + error[k] for i, j, k in teff_triples(nodes.labels)]
    )
    return Row(
        nodes=nodes.name,
        n=len(rms),
        method=method,
        degree=degree,
        rms=float(np.sqrt(np.mean(error**2))),
        median=float(np.median(rms)),
        worst=float(rms.max()),
        mean=float(error.mean()),
        jump=float(np.sqrt(np.mean(second**2))),
        milliseconds=1e3 * seconds / len(rms),
    )


def print_row(row: Row) -> None:
    print(
        f"{row.nodes:22s} {row.n:4d}  {row.method:18s} {row.degree:3d} {row.rms:8.3f} "
        f"{row.median:8.3f} {row.worst:8.3f} {row.mean:+8.3f} {row.jump:8.4f} "
        f"{row.milliseconds:7.1f}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data", help="folder")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--full", action="store_true", help="all nodes of synspec-cat, not 72")
    arguments = parser.parse_args()
    needed = ("turbo-cat.npz", "turbo-wide.npz", "synspec-cat.npz")
    absent = [name for name in needed if not (arguments.data / name).is_file()]
    if absent:
        print(
            f"{', '.join(absent)} not found in {arguments.data}; name their folder with --data.",
            file=sys.stderr,
        )
        return 1
    print(
        f"{'nodes':22s} {'n':>4s}  {'method':18s} {'deg':>3s} {'rms %':>8s} {'median':>8s} "
        f"{'worst':>8s} {'mean':>8s} {'jump':>8s} {'ms':>7s}"
    )
    rows = []
    for nodes in node_sets(arguments.data, arguments.full):
        for method, degree, fit in methods():
            rows.append(measure(nodes, method, degree, fit))
            print_row(rows[-1])
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
