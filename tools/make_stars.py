"""Make the stars that ship with the package: held-out spectra as spectrographs would record them.

    python tools/make_stars.py vis-heldout.npz rvs-heldout.npz

The spectra are computed at points between the nodes of the packaged models, beside the libraries
(docs/compute-library.md). Each rotates, has a velocity, the resolution and the pixels of an
instrument, and has noise of a fixed seed. Flux and error are float32, of which the last bits are
rounded away, far below the noise. The true labels, rv and vsini are in the meta. The files are
written to src/blase3d/libraries/data.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline

from blase3d.libraries import open_grid
from blase3d.libraries.grid import Grid
from blase3d.libraries.packaged import recorded_flux
from blase3d.runtime.units import SPEED_OF_LIGHT
from make_library import DESTINATION, keep_bits, write_npz

FLUX_BITS, ERROR_BITS = 14, 7
"""Binary digits kept after the leading one: 6e-5 and 8e-3, relative."""
MAX_BYTES = 1_000_000
"""Of all stars together."""


@dataclass(frozen=True)
class Star:
    """A star and the instrument that records it.

    Attributes
    ----------
    name : str
        Name of the file.
    library : str
        Name of the library of its held-out spectrum, which begins the name of the file.
    labels : dict
        Labels of that spectrum.
    recorded_by : str
        The instrument, in words.
    low, high, step : float
        Pixels, Å in vacuum.
    resolution, snr, rv, vsini : float
        Resolving power, signal-to-noise ratio per pixel, km/s.
    seed : int
        Random seed of the noise.
    """

    name: str
    library: str
    labels: dict[str, float]
    recorded_by: str
    low: float
    high: float
    step: float
    resolution: float
    snr: float
    rv: float
    vsini: float
    seed: int


STARS = (
    Star(
        name="harps",
        library="vis",
        labels={"teff": 5522.0, "logg": 4.36, "feh": 0.21},
        recorded_by="HARPS (R 115,000)",
        low=5155.0,
        high=6498.0,
        step=0.02,
        resolution=115_000.0,
        snr=150.0,
        rv=-12.7,
        vsini=2.4,
        seed=20,
    ),
    Star(
        name="gaia-rvs",
        library="rvs",
        labels={"teff": 5324.0, "logg": 2.87, "feh": -0.25, "alpha": 0.1},
        recorded_by="Gaia's Radial Velocity Spectrometer (R 11,500)",
        low=8460.0,
        high=8700.0,
        step=0.1,
        resolution=11_500.0,
        snr=100.0,
        rv=31.4,
        vsini=5.0,
        seed=21,
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("held_out", type=Path, nargs="+", help="grid files of held-out spectra")
    parser.add_argument("--out", type=Path, default=DESTINATION, help="default: the package's data")
    args = parser.parse_args()
    for path in args.held_out:
        grid = open_grid(path)
        for star in STARS:
            if path.name.startswith(star.library):
                write_star(star, grid, args.out / f"{star.name}.npz")
    total = sum((args.out / f"{star.name}.npz").stat().st_size for star in STARS)
    if total > MAX_BYTES:
        raise SystemExit(f"The stars have {total} bytes, more than {MAX_BYTES}: keep fewer bits.")


def write_star(star: Star, grid: Grid, path: Path) -> None:
    """Write a star, and print its size."""
    exact = grid[index_of(star, grid)]
    shifted = np.log(exact.wavelength * (1.0 + star.rv / SPEED_OF_LIGHT))
    count = round((star.high - star.low) / star.step) + 1
    wavelength = np.round(star.low + star.step * np.arange(count), 4)
    spline = CubicSpline(shifted, recorded_flux(exact, star.vsini, star.resolution))
    flux = spline(np.log(wavelength))
    flux /= flux.max()
    error = flux / star.snr
    flux += error * np.random.default_rng(star.seed).normal(size=count)
    arrays = {
        "wavelength": wavelength,
        "flux": keep_bits(flux.astype(np.float32), FLUX_BITS),
        "error": keep_bits(error.astype(np.float32), ERROR_BITS),
        "meta": np.array(json.dumps(describe(star, grid), ensure_ascii=False)),
    }
    write_npz(path, arrays)
    print(f"{path.name}: {count} pixels, {path.stat().st_size} bytes")


def index_of(star: Star, grid: Grid) -> int:
    """Which spectrum of a grid has the labels of a star."""
    wanted = [star.labels[name] for name in grid.label_names]
    (found,) = np.flatnonzero(np.all(np.abs(grid.labels - wanted) < 1e-6, axis=1))
    return int(found)


def describe(star: Star, grid: Grid) -> dict[str, object]:
    """The metadata of a star."""
    return {
        "medium": "vacuum",
        "resolution": star.resolution,
        "object": f"computed spectrum, as {star.recorded_by} would record it",
        "frame": "barycentric",
        "labels": star.labels,
        "rv": star.rv,
        "vsini": star.vsini,
        "snr": star.snr,
        "flux_unit": "relative",
        "library": grid.meta["library"],
        "citation": grid.meta["citation"],
        "licence": "BSD-3-Clause, as the package: the spectra were computed for this project",
        "provenance": (
            f"held-out spectrum of {grid.meta['library']}, as recorded by {star.recorded_by}, with "
            f"Gaussian noise of seed {star.seed}; tools/make_stars.py"
        ),
    }


if __name__ == "__main__":
    main()
