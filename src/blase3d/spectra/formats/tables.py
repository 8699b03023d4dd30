"""Spectra in text: .ecsv, .csv, .tsv, and plain columns with or without names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.table import Table

from ...errors import SpectrumError
from ...runtime.files import check_expanse, first_line
from ..cleaning import SENTINELS
from ..spectrum import Spectrum
from .columns import Column, from_columns, from_table, recognised
from .headers import stated_in
from .quantities import angstroms, counts_pixels, likely_unit
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader
from .text_parser import TextTable, has_numbers, parse_table
from .written import columns_of, meta_of, units_of

_ENDINGS = ("ecsv", "csv", "tsv")
"""Endings of texts that are tables, even if they have no numbers."""
_MARKUP = ("<", "{", "[")
"""First characters of XML and JSON."""
_FORMATS = (
    ("ascii.ecsv", re.compile(r"# %ECSV")),
    (
        "ascii.ipac",
        re.compile(r"(\\[^\n]*\n)*\|[^\n]*\|[ \t]*\n\|( *(double|float|int|long|char|real) *\|)+"),
    ),
    ("ascii.mrt", re.compile(r"(?s).{0,10000}?^Byte-by-byte Description of file", re.MULTILINE)),
)
"""Formats of astropy, and how their texts begin."""
_UNITS = {"waveobs": "nm"}
"""Units of columns that one program writes: iSpec (Blanco-Cuaresma et al. 2014, A&A 569, A111)."""
_MEDIUM = re.compile(r"\b(air|vac|vacuum)\b", re.IGNORECASE)
_ABOUT_WAVELENGTHS = re.compile(r"wave|lambda|λ|medium", re.IGNORECASE)
_OTHER_AXES = re.compile(
    r"^(velocity|vel|v|rv|time|jd|hjd|mjd|r?bjd|date|epoch|year|phase|pixel|pix|freq|frequency|nu"
    r"|energy|id|star|name|source_id|teff|logg|feh|mass|age|radius|ra|dec|mag|parallax)\b"
)
"""Names of columns that are no wavelengths, though they increase."""
_WAVELENGTHS = (500.0, 1e6)
"""Å. Medians outside are no wavelengths of a star."""
_MONOTONIC = 0.9
"""Share of steps in one direction in a column of wavelengths."""


def _read(file: SpectrumFile) -> RawSpectrum:
    try:
        kind = next((kind for kind, head in _FORMATS if head.match(file.text)), None)
        if kind is not None:
            return _read_by_astropy(file, kind)
        found = parse_table(file.text)
    except SpectrumError:
        raise
    except Exception as failure:  # the parsers raise many kinds
        raise SpectrumError(
            f"{file.path} cannot be read as a table ({first_line(failure)}): expected one line of "
            "column names (wavelength, flux, ...), then numbers; correct or make it again."
        ) from failure
    return _from_text(found, file)


def _read_by_astropy(file: SpectrumFile, kind: str) -> RawSpectrum:
    table = Table.read(file.text.split("\n"), format=kind)
    check_expanse(table.meta, file.path, SpectrumError)
    stated = dict(table.meta) if kind == "ascii.ecsv" else {}
    return from_table(table, stated, file)


def _from_text(found: TextTable, file: SpectrumFile) -> RawSpectrum:
    units_known = {**_UNITS, **found.units}
    columns = {
        name: Column(values, units_known.get(name)) for name, values in found.columns.items()
    }
    names = list(columns)
    if not found.named and found.header and _OTHER_AXES.match(found.header[-1].lower()):
        columns = {f"{found.header[-1].split()[0]} (column 1)": columns.pop("column 1"), **columns}
    columns, guessed = _by_position(columns, recognised(columns, file), file)
    stated = stated_in(found.entries)
    if "medium" not in stated and (medium := _medium_in(found.header)):
        stated["medium"] = medium
        guessed.append(f"wavelengths in {medium}, by a line of the header")
    raw = from_columns(columns, stated, file)
    if "columns" in raw.meta:  # by the names in the file
        in_file = dict(zip(columns, names, strict=True))
        raw.meta["columns"] = {role: in_file[name] for role, name in raw.meta["columns"].items()}
    return replace(raw, guessed=(*guessed, *raw.guessed))


def _by_position(
    columns: dict[str, Column], names: Mapping[str, str], file: SpectrumFile
) -> tuple[dict[str, Column], list[str]]:
    """Columns whose names are not known, renamed by their position; and what was guessed."""
    if {"wavelength", "flux"} <= set(names) or (file.columns and len(columns) > 2):
        return columns, []
    free = [
        name
        for name, column in columns.items()
        if name not in names.values() and column.values.dtype.kind == "f"
    ]
    if len(free) > 2 and counts_pixels(columns[free[0]].values):
        free = free[1:]
    roles: dict[str, str] = {}
    if "wavelength" not in names:
        if not free or not _can_be_wavelength(free[0], columns[free[0]].values):
            return columns, []
        roles[free.pop(0)] = "wavelength"
    if "flux" not in names:
        if not free or ("wavelength" in names and len(free) > 1):
            return columns, []
        roles[flux := free.pop(0)] = "flux"
        error = _likely_error(columns, flux, free) if not names else None
        if error is not None:
            roles[error] = "error"
        if not names and (flags := _likely_flags(columns, free)) is not None:
            roles[flags[0]] = flags[1]
    guessed = [f"{_shown(name)} was taken for the {role}" for name, role in roles.items()]
    return {roles.get(name, name): column for name, column in columns.items()}, guessed


def _shown(name: str) -> str:
    return name if name.startswith("column ") else f"column {name}"


def _can_be_wavelength(name: str, values: np.ndarray) -> bool:
    if _OTHER_AXES.match(name.strip().lower()):
        return False
    steps = np.sign(np.diff(values))
    positive = bool((values[np.isfinite(values)] > 0.0).all())
    if not positive or not len(steps) or abs(float(np.nanmean(steps))) < 2 * _MONOTONIC - 1:
        return False
    low, high = _WAVELENGTHS
    return low < float(np.nanmedian(angstroms(values, likely_unit(values)))) < high


def _likely_error(columns: Mapping[str, Column], flux: str, free: list[str]) -> str | None:
    """The column after the flux, or else the last of five or more, if it can be the error.

    No error is negative, most are below the flux, and they are not flags (0 and 1).
    """
    size = float(np.nanmedian(np.abs(columns[flux].values)))
    for name in (*free[:1], *(free[-1:] if len(free) > 2 else ())):
        values = columns[name].values
        finite = values[np.isfinite(values) & ~np.isin(values, SENTINELS)]
        if not finite.size or (finite < 0.0).any() or float(np.median(finite)) >= size:
            continue
        if set(np.unique(finite[:1000])) <= {0.0, 1.0} and finite.any():
            continue
        return name
    return None


def _likely_flags(columns: Mapping[str, Column], free: list[str]) -> tuple[str, str] | None:
    """The first column of zeros and ones, and its role: the ones are good if they are the most."""
    for name in free:
        values = columns[name].values
        if set(np.unique(values)) == {0.0, 1.0}:
            return name, "good" if values.mean() > 0.5 else "mask"
    return None


def _medium_in(header: tuple[str, ...]) -> str | None:
    """The medium that a line of the header on the wavelengths names, if only one is named."""
    lines = [line for line in header if _ABOUT_WAVELENGTHS.search(line) or len(line.split()) < 4]
    found = {word.lower()[:3] for line in lines for word in _MEDIUM.findall(line)}
    return {"air": "air", "vac": "vacuum"}[found.pop()] if len(found) == 1 else None


def _matches(file: SpectrumFile) -> bool:
    if file.is_fits or file.is_zip or file.text.lstrip()[:1] in _MARKUP:
        return False
    known = any(head.match(file.text) for _, head in _FORMATS)
    return known or file.ending in _ENDINGS or has_numbers(file.text)


TEXT = SpectrumReader("text", "a table in text (.ecsv, .csv, .tsv, .txt)", _matches, _read)


def write_ecsv(spectrum: Spectrum, path: Path) -> None:
    """Write a spectrum as an ECSV table."""
    table = Table(columns_of(spectrum), meta=meta_of(spectrum))
    for name, unit in units_of(spectrum).items():
        if name in table.colnames:
            table[name].unit = unit
    table.write(path, format="ascii.ecsv")


def write_csv(spectrum: Spectrum, path: Path) -> None:
    """Write a spectrum as CSV, with medium, resolution and metadata in comments."""
    meta = meta_of(spectrum)
    keys = [key for key in ("medium", "wavelength_unit", "resolution") if key in meta]
    stated = [(key, meta.pop(key)) for key in keys]
    columns = columns_of(spectrum)
    columns["mask"] = spectrum.mask.astype(int)
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        for key, value in [*stated, ("meta", json.dumps(meta))]:
            stream.write(f"# {key}: {value}\n")
        stream.write(",".join(columns) + "\n")
        for row in zip(*(values.tolist() for values in columns.values()), strict=True):
            stream.write(",".join(map(repr, row)) + "\n")
