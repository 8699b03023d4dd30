"""Spectra of EXPRES, as its pipeline writes them.

A table with a row for each order and a vector in each cell: spectrum (divided by the blaze),
uncertainty, wavelength and bary_wavelength (Å, vacuum, in the frames of the observatory and the
barycentre), in orders with the laser comb also excalibur and bary_excalibur, which are better, and
pixel_mask (true: good) and tellurics (transmission). Format: Petersburg et al. 2020, AJ 159, 187;
Zhao et al. 2022, AJ 163, 171.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits

from ...runtime.arrays import Floats
from ...runtime.units import SPEED_OF_LIGHT
from .echelle import TRANSPARENT, opaque, raw_orders
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader

RESOLUTION = 137_500.0
"""Median resolving power (Jurgenson et al. 2016, Proc. SPIE 9908, 99086T)."""
_COLUMNS = {"spectrum", "uncertainty", "wavelength", "bary_wavelength"}


def _table(file: SpectrumFile) -> Any:
    """The table of orders and the names of its columns, or None."""
    for hdu in file.hdus[1:]:
        if isinstance(hdu, fits.BinTableHDU):
            names = {name.lower(): name for name in hdu.columns.names}
            if set(names) >= _COLUMNS:
                return hdu, names
    return None


def _read(file: SpectrumFile) -> RawSpectrum:
    hdu, names = _table(file)
    columns = {name: np.asarray(hdu.data[column]) for name, column in names.items()}
    wavelength = _best(columns, "bary_wavelength", "bary_excalibur")
    observed = _best(columns, "wavelength", "excalibur")
    bad = ~columns["pixel_mask"].astype(bool) if "pixel_mask" in columns else None
    hidden = opaque(columns.get("tellurics"), TRANSPARENT)
    known = [mask for mask in (bad, hidden) if mask is not None]
    raw = raw_orders(
        (file.header, hdu.header),
        wavelength,
        np.asarray(columns["spectrum"], np.float64),
        np.asarray(columns["uncertainty"], np.float64),
        mask=np.any(known, axis=0) if known else None,
        resolution=RESOLUTION,
        frame="barycentric",
        barycentric_correction=float(np.nanmedian(wavelength / observed - 1.0) * SPEED_OF_LIGHT),
    )
    raw.meta.pop("berv", None)
    return raw


def _best(columns: dict[str, Any], general: str, comb: str) -> Floats:
    """Wavelengths by the laser comb where the file has them, else by the thorium lamp."""
    wavelength = np.asarray(columns[general], np.float64)
    if comb not in columns:
        return wavelength
    better = np.isfinite(columns[comb]) & (columns[comb] > 0.0)
    whole = better.all(axis=1, keepdims=True)  # never two solutions in one order
    return np.where(whole, columns[comb], wavelength)


EXPRES = SpectrumReader(
    "expres",
    "a FITS file of EXPRES",
    lambda file: file.is_fits and _table(file) is not None,
    _read,
)
