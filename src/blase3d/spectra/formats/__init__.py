"""Spectra in files: .npz, .ecsv, .csv and .fits, chosen by the ending of the name.

Columns are wavelength, flux and, where known, error (one standard deviation), mask (true: ignore),
continuum, order (number of the echelle order) and resolution (λ/Δλ at each pixel). Wavelengths
without a unit are in Å; a medium that is not stated is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...errors import SpectrumError
from ...runtime.files import (
    LARGEST_SPECTRUM,
    check_size,
    replacing,
    require_file,
    require_writable,
    settle_medium,
    settle_version,
)
from ..spectrum import Spectrum
from .columns import FORMAT, VERSION, spectrum_of
from .fits import read_fits, write_fits
from .npz import read_npz, write_npz
from .tables import read_text, write_csv, write_ecsv

_READERS = {
    "npz": read_npz,
    "ecsv": read_text,
    "csv": read_text,
    "fits": read_fits,
    "fit": read_fits,
}
_WRITERS = {"npz": write_npz, "ecsv": write_ecsv, "csv": write_csv, "fits": write_fits}


def read_spectrum(
    path: str | Path, medium: str | None = None, resolution: float | None = None
) -> Spectrum:
    """Read a spectrum; `medium` ("air" or "vacuum") says what the file does not.

    Air wavelengths are converted to vacuum (`units.air_to_vacuum`). `resolution` goes before what
    the file states.
    """
    path = Path(path)
    require_file(path, SpectrumError)
    check_size(path.stat().st_size, str(path), SpectrumError, LARGEST_SPECTRUM)
    columns = _chosen(_READERS, path)(path)
    settle_version(columns.meta, FORMAT, VERSION, path, SpectrumError)
    found = settle_medium(columns.medium, medium, path, SpectrumError)
    try:
        return spectrum_of(columns, found, resolution)
    except SpectrumError as fault:
        raise SpectrumError(f"{path}: {fault}") from fault


def write_spectrum(spectrum: Spectrum, path: str | Path) -> None:
    """Write a spectrum as its name ends: .npz, .ecsv, .csv or .fits; whole or not at all."""
    path = Path(path)
    write = _chosen(_WRITERS, path)
    with replacing(path) as partial:
        write(spectrum, partial)


def require_writable_spectrum(path: Path) -> None:
    """Raise unless `write_spectrum` could write to a file of this name."""
    _chosen(_WRITERS, path)
    require_writable(path)


def _chosen(table: Mapping[str, Callable[..., Any]], path: Path) -> Callable[..., Any]:
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in table:
        known = ", ".join(f".{name}" for name in table)
        raise SpectrumError(f"{path} has no ending that is known; expected one of {known}.")
    return table[suffix]
