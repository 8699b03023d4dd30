"""Spectra of MaStar, the stellar library of MaNGA: a table with a spectrum in each row.

`mastar-goodspec` has a row for each visit, `mastar-combspec` one for each star, all on the same
pixels: WAVE (Å, vacuum), FLUX, IVAR, MASK and DISP, the standard deviation of the line spread in Å.
Spectra are shifted to rest, by HELIOV in km/s. Documentation:
https://www.sdss.org/dr17/mastar/mastar-spectra; Yan et al. 2019, ApJ 883, 175. The files are larger
than one spectrum may be: `stack.py` reads them one block of rows after the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import Floats
from .headers import describe
from .quantities import to_error
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader
from .survey import column_names, picked, resolution_of

META = {"telescope": "SDSS 2.5-M", "instrument": "MaNGA", "frame": "star"}
"""Metadata of all spectra."""
_COLUMNS = {"mangaid", "wave", "flux", "ivar"}
_SOURCES = {"flux": "flux", "error": "ivar", "mask": "mask", "pixel_resolution": "disp"}
"""Columns of the table, by what is made of them."""
_VISIT = ("mangaid", "plate", "mjd")
"""Columns that identify a visit."""
_DESCRIBED = {"ra": "ra", "dec": "dec", "mjd": "mjd", "pipeline_rv": "heliov"}
"""Columns by the key of metadata."""


def spectra_in(hdus: Any) -> Any:
    """Return the table of spectra among HDUs, or None."""
    return next((hdu for hdu in hdus if column_names(hdu) >= _COLUMNS and _has_vectors(hdu)), None)


def _has_vectors(hdu: Any) -> bool:
    return len(hdu.columns.dtype[_name(hdu, "wave")].shape) == 1


def _name(hdu: Any, wanted: str) -> str:
    """The name of a column as the file spells it."""
    return next(str(name) for name in hdu.columns.names if name.lower() == wanted)


def names_of(hdu: Any) -> list[str]:
    """Return the MANGAID of all rows, with plate and MJD where a star has several visits."""
    stars, *others = (
        [str(value).strip() for value in np.asarray(hdu.data[_name(hdu, name)]).tolist()]
        for name in _VISIT
        if name in column_names(hdu)
    )
    if len(set(stars)) == len(stars):
        return stars
    return ["-".join(words) for words in zip(stars, *others, strict=True)]


def wavelength_of(hdu: Any, row: int = 0) -> Floats:
    """Return the wavelengths (P,) of a row, in Å."""
    return np.asarray(hdu.data[_name(hdu, "wave")][row], np.float64)


def has_common_pixels(hdu: Any, rows: slice) -> bool:
    """Return whether rows have the wavelengths of the first row of the table."""
    wavelength = hdu.data[_name(hdu, "wave")]
    return bool((wavelength[rows] == wavelength[0]).all())


def columns_in(hdu: Any) -> list[str]:
    """Return which of flux, error, mask and pixel_resolution a table has."""
    known = column_names(hdu)
    return [name for name, source in _SOURCES.items() if source in known]


def column_of(hdu: Any, name: str, rows: slice) -> NDArray[Any]:
    """Return one of `columns_in` (rows, P). Every pixel with a flag is masked."""
    values = np.asarray(hdu.data[_name(hdu, _SOURCES[name])][rows])
    if name == "error":
        return to_error(values, "ivar")
    if name == "mask":
        return np.asarray(values != 0)
    return values if name == "flux" else _resolutions(values, wavelength_of(hdu))


def _resolutions(sigma: NDArray[Any], wavelength: Floats) -> Floats:
    """λ/Δλ (rows, P) of line spreads in Å; NaN in a row without any."""
    found = np.full(sigma.shape, np.nan)
    for row, one in zip(found, sigma, strict=True):
        if (known := resolution_of(one, wavelength)) is not None:
            row[:] = known
    return found


def _read(file: SpectrumFile) -> RawSpectrum:
    hdu = spectra_in(file.hdus)
    names = names_of(hdu)
    row = picked(file, names)[0]
    rows = slice(row, row + 1)
    arrays = {name: column_of(hdu, name, rows)[0] for name in columns_in(hdu)}
    arrays["wavelength"] = wavelength_of(hdu, row)
    meta = {**describe(hdu.header, file.header), **META, "object": names[row]}
    known = column_names(hdu)
    meta |= {
        key: float(hdu.data[_name(hdu, name)][row])
        for key, name in _DESCRIBED.items()
        if name in known
    }
    return RawSpectrum(arrays, "vacuum", None, meta)


MASTAR = SpectrumReader(
    "mastar",
    "a table of spectra of MaStar",
    lambda file: file.is_fits and spectra_in(file.hdus) is not None,
    _read,
)
