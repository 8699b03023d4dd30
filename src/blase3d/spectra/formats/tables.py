"""Spectra in tables of text: .ecsv and .csv."""

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
from .columns import Columns, columns_of, from_table, meta_of


def read_text(path: Path) -> Columns:
    """What a table of text holds (SpectrumError if it cannot be read as one)."""
    try:
        text = path.read_text(encoding="utf-8")
        ecsv = text.startswith("# %ECSV")
        kind = "ascii.ecsv" if ecsv else "ascii.csv"
        options: dict[str, Any] = {} if ecsv else {"comment": "#", "guess": False}
        with warnings.catch_warnings():
            # said of numbers next to zero, which are read right
            warnings.filterwarnings("ignore", message="OverflowError converting")
            table = Table.read(text.splitlines(), format=kind, **options)
    except Exception as failure:  # the parsers below raise whatever they happen to meet
        raise SpectrumError(
            f"{path} cannot be read as a table ({first_line(failure)}): expected columns "
            "wavelength, flux, ... under one line of names; correct or make it again."
        ) from failure
    check_expanse(table.meta, path, SpectrumError)
    return from_table(table, dict(table.meta) if ecsv else _comments(text), path)


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


def write_ecsv(spectrum: Spectrum, path: Path) -> None:
    """Write a spectrum as an ECSV table."""
    table = Table(columns_of(spectrum), meta=meta_of(spectrum))
    table["wavelength"].unit = units.AA
    table.write(path, format="ascii.ecsv")


def write_csv(spectrum: Spectrum, path: Path) -> None:
    """Write a spectrum as CSV under comments that state the rest."""
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
