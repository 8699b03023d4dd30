"""Mean spectra of the Radial Velocity Spectrometer in Gaia DR3.

From DataLink, as CSV, ECSV, FITS or VOTable: one source, or the rows of several with a column
`source_id`, or one row of arrays for each source (structure RAW, without wavelengths). The pixels
are 0.01 nm from 846 to 870 nm in vacuum, in the rest frame of the star; the flux is normalised.

References: Gaia DR3 documentation, section 20.12.1 (rvs_mean_spectrum); Cropper et al. (2018, A&A
616, A5) for the resolution.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import ascii, fits
from astropy.table import Table

from ...errors import SpectrumError
from ...runtime.arrays import Floats
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader
from .votable import is_votable, tables_of

_RESOLUTION = 11_500.0
_FIRST, _STEP, _COUNT = 846.0, 0.01, 2401
"""Grid of the wavelengths, nm."""
_NAMES = {"flux", "flux_error"}
_SOURCE_IN_NAME = re.compile(r"Gaia[ _+]*DR\d[ _+]*(\d{6,19})", re.IGNORECASE)
"""Identifier in the names of files from DataLink."""
_HEAD = 100_000
"""Characters in which a text names its columns."""


def _matches(file: SpectrumFile) -> bool:
    if file.is_fits:
        return any(_names_source(hdu) for hdu in file.hdus[1:])
    if is_votable(file):
        head = file.text[:_HEAD]
        return all(f'"{name}"' in head for name in (*_NAMES, "source_id"))
    names, row = _first_lines(file.text)
    if not set(names) >= _NAMES:
        return False
    if "source_id" in names:
        return True
    return names == ["wavelength", "flux", "flux_error"] and _starts_at(row[0])


def _names_source(hdu: Any) -> bool:
    if not isinstance(hdu, fits.BinTableHDU):
        return False
    names = {name.lower() for name in hdu.columns.names}
    return names >= _NAMES and ("source_id" in names or "SOURCE_ID" in hdu.header)


def _first_lines(text: str) -> tuple[list[str], list[str]]:
    """Names of the columns of a CSV text, and its first row."""
    lines = (line for line in text[:_HEAD].split("\n") if line.strip() and line[0] != "#")
    names, row = (next(lines, "").split(",") for _ in range(2))
    return [name.strip(' "').lower() for name in names], row


def _starts_at(cell: str) -> bool:
    try:
        return abs(float(cell) - _FIRST) < _STEP / 10
    except ValueError:
        return False


@dataclass(frozen=True, eq=False)
class _Source:
    """The spectrum of one source: identifier, wavelength (nm), flux, error, and coordinates."""

    name: str
    wavelength: Floats
    flux: Floats
    error: Floats
    coordinates: dict[str, float]


def _read(file: SpectrumFile) -> RawSpectrum:
    found = {
        source.name: source
        for table, stated in _tables(file)
        for source in _sources(table, stated, file)
    }
    one = found[file.chosen(list(found))]
    _check_grid(one.wavelength, file)
    known = one.name.isdigit()
    guessed = () if known else ("a Gaia RVS spectrum (vacuum, at rest), by its wavelengths",)
    meta = {
        **one.coordinates,
        "object": f"Gaia DR3 {one.name}" if known else one.name,
        "telescope": "Gaia",
        "instrument": "RVS",
        "frame": "star",
    }
    arrays = {"wavelength": one.wavelength * 10.0, "flux": one.flux, "error": one.error}
    return RawSpectrum(arrays, "vacuum", _RESOLUTION, meta, guessed)


def _check_grid(wavelength: Floats, file: SpectrumFile) -> None:
    number = (wavelength - _FIRST) / _STEP
    if not (np.abs(number - np.rint(number)) < 0.1).all() or np.ptp(number) > _COUNT:
        raise SpectrumError(
            f"{file.path} has {len(wavelength)} samples from {wavelength.min():g} to "
            f"{wavelength.max():g} nm, as BP and RP spectra of Gaia; expected a spectrum of RVS."
        )


def _tables(file: SpectrumFile) -> Iterator[tuple[Table, dict[str, Any]]]:
    """Tables with lower-case names, and the entries of their headers."""
    if file.is_fits:
        for hdu in filter(_names_source, file.hdus[1:]):
            header = {key.lower(): hdu.header[key] for key in hdu.header if key}
            yield _lower_case(Table.read(hdu)), header
    elif is_votable(file):
        for table in tables_of(file):
            yield _lower_case(table), dict(table.meta)
    else:
        yield _lower_case(ascii.read(file.text, format="csv", comment="#", guess=False)), {}


def _lower_case(table: Table) -> Table:
    table.rename_columns(table.colnames, [name.lower() for name in table.colnames])
    return table


def _sources(table: Table, stated: dict[str, Any], file: SpectrumFile) -> Iterator[_Source]:
    names = set(table.colnames)
    if not names >= _NAMES:
        return
    if "wavelength" not in names:  # one row of arrays for each source
        for row in table:
            flux, error = (_floats(row[name]) for name in ("flux", "flux_error"))
            wavelength = _FIRST + _STEP * np.arange(len(flux), dtype=np.float64)
            name = str(row["source_id"])
            yield _Source(name, wavelength, flux, error, _coordinates(row, names))
    elif "source_id" in names:
        sources = np.asarray(table["source_id"])
        for name in dict.fromkeys(sources.tolist()):
            rows = table[sources == name]
            yield _Source(str(name), *_columns(rows), _coordinates(rows[0], names))
    else:
        name = str(stated.get("source_id") or _name_of(file))
        yield _Source(name, *_columns(table), _coordinates(stated, set(stated)))


def _columns(table: Table) -> tuple[Floats, Floats, Floats]:
    wavelength, flux, error = (_floats(table[n]) for n in ("wavelength", "flux", "flux_error"))
    return wavelength.ravel(), flux.ravel(), error.ravel()


def _floats(cells: Any) -> Floats:
    """Numbers of a column, or of a cell that may be a text such as `[0.98, null]`."""
    if isinstance(cells, str):
        words = cells.strip("[]() ").replace("null", "nan").replace('"', "").split(",")
        return np.array([float(word.strip() or "nan") for word in words])
    return np.asarray(np.ma.filled(np.ma.asarray(cells, dtype=np.float64), np.nan))


def _coordinates(stated: Any, names: set[str]) -> dict[str, float]:
    return {key: float(stated[key]) for key in ("ra", "dec") if key in names}


def _name_of(file: SpectrumFile) -> str:
    match = _SOURCE_IN_NAME.search(file.path.name)
    return match[1] if match else file.path.stem


GAIA_RVS = SpectrumReader(
    "gaia-rvs", "RVS spectra of Gaia DR3 (CSV, ECSV, FITS or VOTable)", _matches, _read
)
