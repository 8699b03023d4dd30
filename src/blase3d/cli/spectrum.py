"""`blase3d spectrum`: the content of spectrum files, as it is understood."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.table import Table

from ..errors import Blase3dError, SpectrumError
from ..runtime.files import plain, printable, require_writable
from . import options
from .support import complain, out, print_json

if TYPE_CHECKING:
    from ..spectra.spectrum import Spectrum

_ASKED = "not stated; give --medium air or --medium vacuum"
_FITTED = "not stated; give infer --resolution R, or it is fitted"
_ENTRIES = (
    *("columns", "unit", "medium", "frame", "barycentric_correction", "berv", "blaze"),
    *("object", "telescope", "instrument", "date", "ra", "dec"),
)
"""Entries of the metadata that are shown."""


def spectrum(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Spectrum files.")],
    medium: options.MediumOption = None,
    columns: options.Columns = None,
    unit: options.Unit = None,
    source: options.Source = None,
    wavelengths: options.Wavelengths = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Picture of the spectra: .png, .svg or .pdf."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Show how spectrum files are read: format, columns, medium, errors, mask, and guesses.

    Example: blase3d spectrum star.fits --medium air -o star.png
    """
    if output is not None:
        from ..views.observed import require_picture

        require_picture(output)
        require_writable(output)
    reading = options.parse_reading(medium, columns, unit, source, wavelengths)
    rows, read = [], []
    for path in paths:
        try:
            found, known = _read(path, reading)
        except Blase3dError as error:
            rows.append({"spectrum": str(path), "error": str(error)})
            continue
        rows.append(_row(path, found, known))
        read.append((path.name, found))
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            _print(row)
    if output is not None and read:
        from ..views.observed import write_observed  # loads Matplotlib

        write_observed(read, output)
    if len(read) < len(paths):
        raise typer.Exit(1)


def _read(path: Path, reading: dict[str, Any]) -> tuple[Spectrum, bool]:
    """A spectrum, and whether its medium is known; if not, as if it were vacuum."""
    from ..spectra.formats import read_spectrum

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shown as notes
        try:
            return read_spectrum(path, **reading), True
        except SpectrumError:
            if reading["medium"] is not None:
                raise
            try:
                return read_spectrum(path, **{**reading, "medium": "vacuum"}), False
            except SpectrumError:
                pass
            raise


def _row(path: Path, found: Spectrum, known: bool) -> dict[str, Any]:
    """The content of a spectrum, as in the JSON output."""
    meta = found.meta
    good = found.good
    row = {
        "spectrum": str(path),
        "reader": meta.get("reader", "blase3d"),
        "pixels": len(found),
        "masked": found.n_masked,
        "wavelength": [float(found.wavelength[0]), float(found.wavelength[-1])],
        **{key: meta[key] for key in _ENTRIES if key in meta},
        "medium": meta.get("converted_from", "vacuum") if known else None,
        "resolution": found.resolution,
        "errors": found.error is not None,
        "snr": None,
        "orders": None if found.order is None else len(np.unique(found.order)),
        "guessed": meta.get("guessed", []),
        "notes": meta.get("notes", []),
    }
    if found.error is not None:
        row["snr"] = float(np.median(np.abs(found.flux[good]) / found.error[good]))
    return dict(plain(row))


def _print(row: dict[str, Any]) -> None:
    if "error" in row:
        complain(f"{row['spectrum']}: {row['error']}")
        return
    out.print(printable(row["spectrum"]), soft_wrap=True, highlight=False)  # paths can be copied
    table = Table(show_header=False, box=None)
    for name, text in _lines(row):
        table.add_row(name, printable(text))
    out.print(table)


def _lines(row: dict[str, Any]) -> list[tuple[str, str]]:
    low, high = row["wavelength"]
    signal = f"median signal-to-noise ratio {row['snr']:.4g}" if row["errors"] else "not stated"
    resolution = _FITTED if row["resolution"] is None else f"{row['resolution']:.6g}"
    medium = "air, converted to vacuum" if row["medium"] == "air" else row["medium"]
    lines = [
        ("reader", row["reader"]),
        ("wavelength", f"{low:.2f} to {high:.2f} Å in {'vacuum' if row['medium'] else 'the file'}"),
        ("medium", medium or _ASKED),
        ("pixels", f"{row['pixels']}, {row['masked']} masked"),
        ("errors", signal),
        ("resolution", resolution),
        ("frame", row.get("frame", "not stated")),
    ]
    shown = {name for name, _ in lines}
    if row["orders"] is not None:
        lines.append(("orders", str(row["orders"])))
    for name in _ENTRIES:
        if name in row and name not in shown:
            lines.append((name.replace("_", " "), _text(row[name])))
    lines += [("guessed", text) for text in row["guessed"]]
    lines += [("note", text) for text in row["notes"]]
    return lines


def _text(value: Any) -> str:
    if isinstance(value, dict):  # columns by role
        return ", ".join(
            name if name == role else f"{name} ({role})" for role, name in value.items()
        )
    return str(value)
