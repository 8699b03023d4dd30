"""The library that comes with the package, and a star: a spectrum between its nodes."""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np

from ..spectra.spectrum import Spectrum
from ..units import SPEED_OF_LIGHT
from . import open_grid
from .grid import Grid

LIBRARY = "turbo-cat-45.npz"
STAR = "turbo-cat-offgrid-1.npz"
SNR = 100.0
"""Signal-to-noise ratio per pixel of the star."""
RV = 23.4
"""km/s"""
_SEED = 20261123


def packaged_grid(name: str) -> Grid:
    """Return a grid that comes with the package: `LIBRARY` or `STAR`."""
    with as_file(files("blase3d.libraries") / "data" / name) as path:
        return open_grid(path)


def noisy_star(
    snr: float = SNR, rv: float = RV, seed: int = _SEED
) -> tuple[Spectrum, dict[str, float]]:
    """Return the star, at velocity `rv` (km/s) and with noise, and its labels."""
    grid = packaged_grid(STAR)
    exact = grid[0]
    error = exact.flux / snr
    flux = exact.flux + error * np.random.default_rng(seed).normal(size=len(exact))
    wavelength = exact.wavelength * (1.0 + rv / SPEED_OF_LIGHT)
    star = Spectrum(wavelength, flux, error, meta={"flux_unit": grid.meta.get("flux_unit")})
    return star, grid.labels_of(0)
