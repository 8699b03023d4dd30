"""Spectra in FITS files: a table with named columns, or an image on linear wavelengths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from ...errors import SpectrumError
from ..spectrum import Spectrum
from . import headers
from .columns import (
    Column,
    RawSpectrum,
    columns_of,
    from_columns,
    in_angstrom,
    meta_of,
    recognised,
)
from .quantities import WAVELENGTH_NAMES, split_name
from .reader import SpectrumFile, SpectrumReader

_ERROR_EXTENSIONS = ("ERROR", "ERR", "ERRS", "SIGMA")
"""Names of an extension with the errors of an image."""


def _table(file: SpectrumFile) -> Any:
    """The first table with columns of wavelength and flux, or None."""
    return next((hdu for hdu in file.hdus[1:] if _is_table_of(hdu, file)), None)


def _is_table_of(hdu: Any, file: SpectrumFile) -> bool:
    if not isinstance(hdu, fits.BinTableHDU | fits.TableHDU) or isinstance(hdu, fits.CompImageHDU):
        return False
    return {"wavelength", "flux"} <= set(recognised(hdu.columns.names, file))


def _read_table(file: SpectrumFile) -> RawSpectrum:
    hdu = _table(file)
    names = set(recognised(hdu.columns.names, file).values())
    columns = {
        name: Column(hdu.data[name], hdu.columns[name].unit if name in names else None)
        for name in hdu.columns.names
        if name in names or _is_wavelength(name)
    }
    if len(hdu.data) == 1:
        columns = _first_row(columns)
    else:
        _require_orders(columns[recognised(columns, file)["wavelength"]].values, file)
    return from_columns(columns, _stated(hdu.header, file.header), file)


def _is_wavelength(name: str) -> bool:
    return split_name(name)[0] in WAVELENGTH_NAMES


def _first_row(columns: Mapping[str, Column]) -> dict[str, Column]:
    """The vectors in a table of one row."""
    rows = {name: replace(column, values=column.values[0]) for name, column in columns.items()}
    vectors = {name: column for name, column in rows.items() if np.ndim(column.values) > 0}
    return vectors or dict(columns)


def _require_orders(wavelength: Any, file: SpectrumFile) -> None:
    """Raise `SpectrumError` for rows that are spectra of the same wavelengths."""
    if wavelength.ndim == 2 and np.array_equal(wavelength[0], wavelength[1], equal_nan=True):
        raise SpectrumError(
            f"{file.path} is a table of {len(wavelength)} spectra, expected one; write one of them "
            "to a file."
        )


def _image(file: SpectrumFile) -> Any:
    """The first one-dimensional image on linear wavelengths, or None."""
    for hdu in file.hdus:
        header = hdu.header
        linear = "CRVAL1" in header and ("CDELT1" in header or "CD1_1" in header)
        log = bool(header.get("DC-FLAG", 0)) or "LOG" in str(header.get("CTYPE1", "")).upper()
        if hdu.is_image and header.get("NAXIS") == 1 and linear and not log:
            return hdu
    return None


def _read_image(file: SpectrumFile) -> RawSpectrum:
    hdu = _image(file)
    header = hdu.header
    step = header.get("CDELT1", header.get("CD1_1"))
    pixel = np.arange(header["NAXIS1"]) + 1.0
    values = header["CRVAL1"] + (pixel - header.get("CRPIX1", 1.0)) * step
    arrays = {
        "wavelength": in_angstrom(values, header.get("CUNIT1") or "Angstrom", file.path),
        "flux": np.asarray(hdu.data, dtype=np.float64),
    }
    for name in _ERROR_EXTENSIONS:
        if name in file.hdus:
            arrays["error"] = np.asarray(file.hdus[name].data, dtype=np.float64)
    stated = _stated(header)
    return RawSpectrum(arrays, stated.pop("medium", None), stated.pop("resolution", None), stated)


def _stated(*hdu_headers: fits.Header) -> dict[str, Any]:
    """Medium, resolution and metadata that headers state, the first of them first."""
    found: dict[str, Any] = headers.describe(*hdu_headers)
    for name, reading in (("medium", headers.medium), ("resolution", headers.resolution)):
        stated = (reading(header) for header in hdu_headers)
        found[name] = next((value for value in stated if value is not None), None)
    if (own := headers.card(hdu_headers[0], "RESOLUT")) is not None:
        found["resolution"] = own
    if (meta := headers.card(hdu_headers[0], "B3META")) is not None:
        found["meta"] = meta
    return {name: value for name, value in found.items() if value is not None}


FITS_TABLE = SpectrumReader(
    "fits-table",
    "a FITS table with columns of wavelength and flux",
    lambda file: file.is_fits and _table(file) is not None,
    _read_table,
)
FITS_IMAGE = SpectrumReader(
    "fits-image",
    "a one-dimensional FITS image on linear wavelengths",
    lambda file: file.is_fits and _image(file) is not None,
    _read_image,
)


def write_fits(spectrum: Spectrum, path: Path) -> None:
    """Write a spectrum as a binary table."""
    meta = meta_of(spectrum)
    columns = [
        fits.Column(
            name=name,
            array=values,
            format="L" if name == "mask" else "D",
            unit="Angstrom" if name == "wavelength" else None,
        )
        for name, values in columns_of(spectrum).items()
    ]
    table = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    table.header["MEDIUM"] = (meta.pop("medium"), "medium of the wavelengths")
    if "resolution" in meta:
        table.header["RESOLUT"] = (meta.pop("resolution"), "resolving power (FWHM)")
    table.header["B3META"] = json.dumps(meta)
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, checksum=True)
