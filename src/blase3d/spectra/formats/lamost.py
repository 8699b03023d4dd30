"""Spectra of LAMOST, low (LRS) and medium resolution (MRS), of all data releases.

Data models: http://dr5.lamost.org/doc/data-production-description (images),
http://www.lamost.org/dr8/v1.0/doc/lr-data-production-description (LRS tables) and
http://www.lamost.org/dr9/v1.0/doc/mr-data-production-description (MRS). Wavelengths are in vacuum
and heliocentric.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ...errors import SpectrumError
from .headers import card, describe, number
from .quantities import bits, to_error
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader
from .survey import column_names, join_arms, mentions, nominal, table_columns

_BAD = range(6)
"""Mask bits: bad pixel, bad profile, no sky, bright sky, fibre outside the CCD, no good data."""
_MASKS = ("andmask", "pixmask", "ormask")
_ROWS = 5
"""Rows of an image: flux, inverse variance, wavelength, and-mask, or-mask."""
_LOW, _MEDIUM = (1800.0, 2.4), (7500.0, 5.8)
"""Resolving power at 5500 Å (LRS), at 5163 and 6593 Å (MRS), and pixels in a full width."""
_SHORTEST = 1000.0
"""Å. The third row of pilot-survey images has no wavelengths, but fluxes."""


def _is_lamost(header: fits.Header) -> bool:
    return mentions(header, "LAMOST", ("TELESCOP", "ORIGIN", "DATA_V", "DESIG"))


def _is_image(file: SpectrumFile) -> bool:
    header = file.header
    if (header["NAXIS"], header.get("NAXIS2")) != (2, _ROWS):
        return False
    return _is_lamost(header) or ("COEFF0" in header and _are_wavelengths(file.hdus[0].data[2]))


def _are_wavelengths(row: NDArray[Any]) -> bool:
    return bool(row[0] > _SHORTEST and (np.diff(row) > 0.0).all())


def _tables(file: SpectrumFile) -> list[Any]:
    """The tables with a spectrum: those of coadded exposures, else those of single ones."""
    found = [hdu for hdu in file.hdus if _has_spectrum(hdu, _is_lamost(file.header))]
    return [hdu for hdu in found if hdu.name.upper().startswith("COADD")] or found


def _has_spectrum(hdu: Any, lamost: bool) -> bool:
    names = column_names(hdu)
    known = {"flux", "ivar"} <= names and bool({"wavelength", "loglam"} & names)
    return known and (lamost or bool({"andmask", "pixmask"} & names)) and hdu.header["NAXIS2"] > 0


def _matches(file: SpectrumFile) -> bool:
    return file.is_fits and (_is_image(file) or bool(_tables(file)))


def _read(file: SpectrumFile) -> RawSpectrum:
    if _is_image(file):
        parts = [_of_image(file)]
    else:
        parts = [_of_columns(table_columns(hdu)) for hdu in _tables(file)]
    arrays = join_arms(parts)
    stated = nominal(*(_MEDIUM if len(parts) > 1 else _LOW), parts[0]["wavelength"])
    return RawSpectrum(arrays, "vacuum", stated, _observation(file.header))


def _of_image(file: SpectrumFile) -> dict[str, NDArray[Any]]:
    header = file.header
    names = ("flux", "ivar", "wavelength", "andmask", "ormask")
    columns = dict(zip(names, np.asarray(file.hdus[0].data), strict=True))
    if not _are_wavelengths(columns["wavelength"]):
        pixel = np.arange(header["NAXIS1"])
        columns["wavelength"] = 10.0 ** (header["COEFF0"] + header["COEFF1"] * pixel)
    return _of_columns(columns)


def _of_columns(columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    if "wavelength" in columns:
        wavelength = np.asarray(columns["wavelength"], np.float64)
    else:
        wavelength = 10.0 ** np.asarray(columns["loglam"], np.float64)
    if np.shape(columns["flux"]) != wavelength.shape:
        raise SpectrumError("a table has several spectra, expected one row of vectors.")
    mask = next((columns[name] for name in _MASKS if name in columns), np.zeros(wavelength.shape))
    return {
        "wavelength": wavelength,
        "flux": columns["flux"],
        "error": to_error(columns["ivar"], "ivar"),
        "mask": bits(mask, _BAD),
    }


def _observation(header: fits.Header) -> dict[str, Any]:
    meta = {"telescope": "LAMOST", **describe(header), "frame": "heliocentric"}
    if (name := card(header, "DESIG")) is not None:
        meta["object"] = str(name)
    if (velocity := number(header, "HELIO_RV")) is not None:
        meta["barycentric_correction"] = velocity
    return meta


LAMOST = SpectrumReader("lamost", "a LAMOST spectrum, LRS or MRS", _matches, _read)
