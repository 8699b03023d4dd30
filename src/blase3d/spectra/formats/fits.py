"""Spectra in FITS files: tables, one-dimensional images, those of HPF, and what specutils knows."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units
from astropy.io import fits
from astropy.table import Table

from ...errors import MissingExtra, SpectrumError
from ...runtime.files import LARGEST_SPECTRUM, check_size, first_line, to_angstrom
from ..spectrum import Spectrum
from .columns import COLUMNS, Columns, columns_of, from_table, meta_of
from .hpf import RESOLUTION, hpf_arrays, is_hpf

_ERROR_EXTENSIONS = ("ERROR", "ERR", "ERRS", "SIGMA")
"""Names under which an image of errors is looked for beside an image of fluxes."""


def read_fits(path: Path) -> Columns:
    """What a FITS file holds, in whatever layout (SpectrumError if in none that is known)."""
    try:
        with _quietly_open(path) as hdus:
            declared = sum(hdu.size for hdu in hdus)  # it may be compressed
            check_size(declared, str(path), SpectrumError, LARGEST_SPECTRUM)
            columns = _hpf(hdus) or _fits_table(hdus, path) or _fits_image(hdus, path)
    except SpectrumError:
        raise
    except Exception as failure:  # astropy raises many kinds on damaged files
        raise SpectrumError(
            f"{path} cannot be read as a FITS file ({first_line(failure)}): it is damaged, cut "
            "short or of another kind; make or copy it again."
        ) from failure
    return columns or _by_specutils(path)


@contextmanager
def _quietly_open(path: Path) -> Iterator[fits.HDUList]:
    """The units of a FITS file; one cut short raises instead of warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message=".*(truncated|corrupt|verification failed).*")
        # The stream is our own: where fits.open raises, it leaves a file of its own open.
        with open(path, "rb") as stream, fits.open(stream, memmap=False, checksum=True) as hdus:
            yield hdus


def _hpf(hdus: fits.HDUList) -> Columns | None:
    if not is_hpf(hdus):
        return None
    arrays, meta = hpf_arrays(hdus)
    return Columns(arrays, "vacuum", RESOLUTION, meta)


def _fits_table(hdus: fits.HDUList, path: Path) -> Columns | None:
    for hdu in hdus[1:]:
        if isinstance(hdu, fits.BinTableHDU) and {"wavelength", "flux"} <= set(
            map(str.lower, hdu.columns.names)
        ):
            table = Table.read(hdu)
            table.rename_columns(table.colnames, [name.lower() for name in table.colnames])
            return from_table(table, _fits_meta(hdu.header), path)
    return None


def _fits_meta(header: fits.Header) -> dict[str, Any]:
    keys = {"MEDIUM": "medium", "RESOLUT": "resolution", "B3META": "meta"}
    return {name: header[key] for key, name in keys.items() if key in header}


def _fits_image(hdus: fits.HDUList, path: Path) -> Columns | None:
    """A one-dimensional image whose wavelengths are linear in the pixel."""
    for hdu in hdus:
        header = hdu.header
        linear = "CRVAL1" in header and ("CDELT1" in header or "CD1_1" in header)
        log = bool(header.get("DC-FLAG", 0)) or "LOG" in str(header.get("CTYPE1", "")).upper()
        if hdu.is_image and header.get("NAXIS") == 1 and linear and not log:
            return _from_image(hdu, hdus, path)
    return None


def _from_image(hdu: Any, hdus: fits.HDUList, path: Path) -> Columns:
    header = hdu.header
    step = header.get("CDELT1", header.get("CD1_1"))
    pixel = np.arange(header["NAXIS1"]) + 1.0
    values = header["CRVAL1"] + (pixel - header.get("CRPIX1", 1.0)) * step
    arrays = {
        "wavelength": to_angstrom(values, header.get("CUNIT1"), path, SpectrumError),
        "flux": np.asarray(hdu.data, dtype=np.float64),
    }
    for name in _ERROR_EXTENSIONS:
        if name in hdus:
            arrays["error"] = np.asarray(hdus[name].data, dtype=np.float64)
    stated = _fits_meta(header)
    by_type = {"AWAV": "air", "WAVE": "vacuum"}.get(str(header.get("CTYPE1", "")).strip()[:4])
    return Columns(arrays, stated.get("medium", by_type), stated.get("resolution"))


def _by_specutils(path: Path) -> Columns:
    try:
        import specutils
    except ImportError as failure:
        raise MissingExtra(
            "specutils", "spectra", f"Reading {path}, whose layout is not one of our own,"
        ) from failure
    reader = getattr(specutils, "Spectrum", None) or specutils.Spectrum1D
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = reader.read(str(path))
        return _from_specutils(found)
    except Exception as failure:  # its readers raise many kinds
        raise SpectrumError(
            f"{path} has no layout that our reader or specutils knows ({first_line(failure)}): "
            f"write it as a table with columns {', '.join(COLUMNS)}."
        ) from failure


def _from_specutils(found: Any) -> Columns:
    arrays = {
        "wavelength": np.asarray(found.spectral_axis.to_value(units.AA, units.spectral())),
        "flux": np.asarray(found.flux.value),
    }
    if found.uncertainty is not None:
        from astropy.nddata import StdDevUncertainty

        arrays["error"] = np.asarray(found.uncertainty.represent_as(StdDevUncertainty).array)
    if found.mask is not None:
        arrays["mask"] = np.asarray(found.mask)
    if arrays["flux"].ndim != 1:
        raise ValueError(f"it holds spectra of shape {arrays['flux'].shape}, expected one")
    return Columns(arrays, None, None, {"flux_unit": str(found.flux.unit)})


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
