"""The library and the stars that come with the package: spectra between nodes, as observed."""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np
from scipy.interpolate import CubicSpline

from ..runtime.arrays import Floats
from ..runtime.units import SPEED_OF_LIGHT
from ..spectra.broaden import broaden, log_grid
from ..spectra.formats import read_spectrum
from ..spectra.spectrum import Spectrum
from . import open_grid
from .grid import Grid

STARS = {"harps": "vis", "gaia-rvs": "rvs"}
"""Names of the stars, as these two instruments would record them, and of the packaged models that
they are for. They are computed (tools/make_stars.py), at points that are no nodes."""
LIBRARY = "turbo-cat-45.npz"
STAR = "turbo-cat-offgrid-1.npz"
SNR = 100.0
"""Signal-to-noise ratio per pixel of the star."""
RV = 23.4
"""km/s"""
VSINI = 2.0
"""km/s"""
STAR_RESOLUTION = 100_000.0
"""Resolving power of the instrument of the star, which its file states."""
_SEED = 20261123


def packaged_grid(name: str) -> Grid:
    """Return a grid that comes with the package: `LIBRARY` or `STAR`."""
    with as_file(files("blase3d.libraries") / "data" / name) as path:
        return open_grid(path)


def packaged_star(name: str) -> Spectrum:
    """Return a star that comes with the package, one of `STARS`.

    Its meta has the true `labels`, `rv` and `vsini` (km/s).
    """
    with as_file(files("blase3d.libraries") / "data" / f"{name}.npz") as path:
        return read_spectrum(path)


def noisy_star(
    snr: float = SNR, rv: float = RV, seed: int = _SEED
) -> tuple[Spectrum, dict[str, float]]:
    """Return the star, at velocity `rv` (km/s) and with noise, and its labels.

    It rotates, with `VSINI`, and is observed at `STAR_RESOLUTION`.
    """
    grid = packaged_grid(STAR)
    exact = grid[0]
    observed = recorded_flux(exact, VSINI, STAR_RESOLUTION)
    error = observed / snr
    flux = observed + error * np.random.default_rng(seed).normal(size=len(exact))
    wavelength = exact.wavelength * (1.0 + rv / SPEED_OF_LIGHT)
    meta = {"flux_unit": grid.meta.get("flux_unit")}
    return Spectrum(wavelength, flux, error, resolution=STAR_RESOLUTION, meta=meta), grid.labels_of(
        0
    )


def recorded_flux(exact: Spectrum, vsini: float, resolution: float) -> Floats:
    """Return the flux (P,) of a spectrum that rotates (km/s), at the resolution of an instrument.

    The continuum is not broadened.
    """
    continuum = exact.flux if exact.continuum is None else exact.continuum
    grid = log_grid(exact.wavelength)
    fine = CubicSpline(np.log(exact.wavelength), exact.flux / continuum)(grid)
    step = SPEED_OF_LIGHT * float(grid[1] - grid[0])
    broadened = np.asarray(broaden(fine, step, vsini, resolution), np.float64)
    return continuum * CubicSpline(grid, broadened)(np.log(exact.wavelength))
