"""Spectra in FITS files: a table with named columns, or an image on linear wavelengths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from ...errors import SpectrumError
from ...runtime.files import to_angstrom
from ..spectrum import Spectrum
from .columns import RawSpectrum, columns_of, from_table, meta_of
from .reader import SpectrumFile, SpectrumReader

_ERROR_EXTENSIONS = ("ERROR", "ERR", "ERRS", "SIGMA")
"""Names of an extension with the errors of an image."""
_KEYS = {"MEDIUM": "medium", "RESOLUT": "resolution", "B3META": "meta"}
"""Keywords of the header that are read."""


def _table(file: SpectrumFile) -> fits.BinTableHDU | None:
    for hdu in file.hdus[1:]:
        if isinstance(hdu, fits.BinTableHDU) and {"wavelength", "flux"} <= set(
            map(str.lower, hdu.columns.names)
        ):
            return hdu
    return None


def _read_table(file: SpectrumFile) -> RawSpectrum:
    hdu = _table(file)
    assert hdu is not None
    table = Table.read(hdu)
    table.rename_columns(table.colnames, [name.lower() for name in table.colnames])
    return from_table(table, _stated(hdu.header), file.path)


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
        "wavelength": to_angstrom(values, header.get("CUNIT1"), file.path, SpectrumError),
        "flux": np.asarray(hdu.data, dtype=np.float64),
    }
    for name in _ERROR_EXTENSIONS:
        if name in file.hdus:
            arrays["error"] = np.asarray(file.hdus[name].data, dtype=np.float64)
    stated = _stated(header)
    by_type = {"AWAV": "air", "WAVE": "vacuum"}.get(str(header.get("CTYPE1", "")).strip()[:4])
    return RawSpectrum(arrays, stated.get("medium", by_type), stated.get("resolution"))


def _stated(header: fits.Header) -> dict[str, Any]:
    return {name: header[key] for key, name in _KEYS.items() if key in header}


FITS_TABLE = SpectrumReader(
    "fits-table",
    "a FITS table with columns wavelength and flux",
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
