"""Spectra in text tables: .ecsv and .csv."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from astropy import units
from astropy.table import Table

from ...errors import SpectrumError
from ...runtime.files import check_expanse, first_line
from ..spectrum import Spectrum
from .columns import RawSpectrum, columns_of, from_table, meta_of
from .reader import SpectrumFile, SpectrumReader


def _read(file: SpectrumFile) -> RawSpectrum:
    path = file.path
    try:
        text = file.text
        if not text and path.stat().st_size:
            raise ValueError("it is not a text")
        ecsv = text.startswith("# %ECSV")
        kind = "ascii.ecsv" if ecsv else "ascii.csv"
        options: dict[str, Any] = {} if ecsv else {"comment": "#", "guess": False}
        with warnings.catch_warnings():
            # raised for numbers close to zero, which are read correctly
            warnings.filterwarnings("ignore", message="OverflowError converting")
            table = Table.read(text.splitlines(), format=kind, **options)
    except Exception as failure:  # the parsers raise many kinds
        raise SpectrumError(
            f"{path} cannot be read as a table ({first_line(failure)}): expected one line of "
            "column names (wavelength, flux, ...), then numbers; correct or make it again."
        ) from failure
    check_expanse(table.meta, path, SpectrumError)
    return from_table(table, dict(table.meta) if ecsv else _comments(text), file)


def _comments(text: str) -> dict[str, Any]:
    """The `# key: value` lines at the head of a plain CSV file."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        key, colon, value = line[1:].partition(":")
        if colon:
            found[key.strip()] = value.strip()
    return found


TEXT = SpectrumReader(
    "text",
    "an .ecsv or .csv table",
    lambda file: file.ending in ("ecsv", "csv") and not (file.is_fits or file.is_zip),
    _read,
)


def write_ecsv(spectrum: Spectrum, path: Path) -> None:
    """Write a spectrum as an ECSV table."""
    table = Table(columns_of(spectrum), meta=meta_of(spectrum))
    table["wavelength"].unit = units.AA
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
