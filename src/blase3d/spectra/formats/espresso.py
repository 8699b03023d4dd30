"""Spectra of the pipeline of ESPRESSO, which HARPS, HARPS-N, NIRPS and CORALIE use as well.

S1D files (S1D_A, S1D_FINAL_A, S1D_SKYSUB_A, ...) are tables with wavelength and wavelength_air (Å,
barycentric), flux, error and quality. S2D files have images of all orders: SCIDATA, ERRDATA,
QUALDATA, WAVEDATA_VAC_BARY and WAVEDATA_AIR_BARY (Å), and DLLDATA, the width of the pixels.
The quality is zero where a pixel is good. Wavelengths in vacuum are read, those in air only where
they are the only ones.

Reference: ESPRESSO Pipeline User Manual (ESO-331895), sections on data products.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ...runtime.arrays import Floats
from . import headers
from .columns import in_angstrom
from .eso import bad_quality, in_barycentre, resolution_of
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader

_VACUUM, _AIR = "WAVEDATA_VAC_BARY", "WAVEDATA_AIR_BARY"
_PAIRS = (("flux", "error"), ("flux_cal", "error_cal"), ("flux_el", "error_el"))
"""Columns of flux and error, the preferred first."""


def _table(file: SpectrumFile) -> Any:
    for hdu in file.hdus[1:]:
        if isinstance(hdu, fits.BinTableHDU):
            names = {name.lower() for name in hdu.columns.names}
            if {"wavelength", "wavelength_air"} <= names and names & {one for one, _ in _PAIRS}:
                return hdu
    return None


def _read_s1d(file: SpectrumFile) -> RawSpectrum:
    hdu = _table(file)
    columns = {name.lower(): np.ravel(hdu.data[name]) for name in hdu.columns.names}
    units = {column.name.lower(): column.unit for column in hdu.columns}
    flux, error = next(pair for pair in _PAIRS if pair[0] in columns)
    wavelength = in_angstrom(columns["wavelength"], units["wavelength"] or "Angstrom", file.path)
    arrays: dict[str, NDArray[Any]] = {"wavelength": wavelength, "flux": columns[flux]}
    if error in columns:
        arrays["error"] = columns[error]
    if "quality" in columns:
        arrays["mask"] = bad_quality(columns["quality"], file.header)
    return _barycentric(arrays, "vacuum", file, hdu.header)


def _read_s2d(file: SpectrumFile) -> RawSpectrum:
    """Flux per Å, by the widths of the pixels where the file has them."""
    medium = "air" if file.named(_VACUUM) is None else "vacuum"
    width = _width(file)
    arrays: dict[str, NDArray[Any]] = {
        "wavelength": _image(file, _VACUUM, _AIR),
        "flux": _image(file, "SCIDATA") / width,
    }
    if file.named("ERRDATA") is not None:
        arrays["error"] = _image(file, "ERRDATA") / width
    if (quality := file.named("QUALDATA")) is not None:
        arrays["mask"] = bad_quality(quality.data, file.header)
    raw = _barycentric(arrays, medium, file, file.named("SCIDATA").header)
    if "BLAZE" in str(headers.card(file.header, "ESO PRO CATG") or "").upper():
        raw.meta["blaze"] = "included"  # S2D_BLAZE_A and the like
    return raw


def _image(file: SpectrumFile, *names: str) -> Floats:
    return np.asarray(file.named(*names).data, np.float64)


def _width(file: SpectrumFile) -> Floats | float:
    """Widths of the pixels (Å), NaN where they are unknown; 1 without them."""
    if file.named("DLLDATA_VAC_BARY", "DLLDATA", "DLLDATA_AIR_BARY") is None:
        return 1.0
    width = _image(file, "DLLDATA_VAC_BARY", "DLLDATA", "DLLDATA_AIR_BARY")
    return np.where(width > 0.0, width, np.nan)


def _barycentric(
    arrays: dict[str, NDArray[Any]], medium: str, file: SpectrumFile, header: fits.Header
) -> RawSpectrum:
    meta = {**headers.describe(file.header, header), "frame": "barycentric"}
    arrays["wavelength"], meta = in_barycentre(arrays["wavelength"], meta, file.header)
    resolution, guessed = resolution_of(file.header, arrays["wavelength"].size)
    return RawSpectrum(arrays, medium, resolution, meta, guessed)


def _has_orders(file: SpectrumFile) -> bool:
    return file.named("SCIDATA") is not None and file.named(_VACUUM, _AIR) is not None


ESPRESSO_S1D = SpectrumReader(
    "espresso-s1d",
    "an S1D table of the pipeline of ESPRESSO, HARPS or NIRPS",
    lambda file: file.is_fits and _table(file) is not None,
    _read_s1d,
)
ESPRESSO_S2D = SpectrumReader(
    "espresso-s2d",
    "an S2D file of the pipeline of ESPRESSO, HARPS or NIRPS",
    lambda file: file.is_fits and _has_orders(file),
    _read_s2d,
)
