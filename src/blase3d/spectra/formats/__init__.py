"""Spectra in files: readers of many formats, and writers of .npz, .ecsv, .csv and .fits.

Columns of the files that are written, and of most that are read, are wavelength, flux and, where
known, error (one standard deviation), mask (true: ignore), continuum, order (number of the echelle
order) and pixel_resolution (λ/Δλ at each pixel). Wavelengths without a unit are in Å. A medium that
the file does not state must be given.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import SpectrumError
from ...runtime.families import Family
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
from .by_specutils import SPECUTILS
from .columns import FORMAT, VERSION, RawSpectrum, spectrum_of
from .fits import FITS_IMAGE, FITS_TABLE, write_fits
from .hpf import HPF
from .npz import NPZ, write_npz
from .reader import GROUP, SpectrumFile, SpectrumReader
from .tables import TEXT, write_csv, write_ecsv

__all__ = [
    "RawSpectrum",
    "SpectrumFile",
    "SpectrumReader",
    "read_spectrum",
    "require_writable_spectrum",
    "write_spectrum",
]

READERS = Family(
    SpectrumReader,
    "spectrum",
    GROUP,
    SpectrumError,
    members=(NPZ, TEXT, HPF, FITS_TABLE, FITS_IMAGE),
    fallback=(SPECUTILS,),
)
"""Spectrum readers, in the order in which they are tried."""
_WRITERS = {"npz": write_npz, "ecsv": write_ecsv, "csv": write_csv, "fits": write_fits}


def read_spectrum(
    path: str | Path, medium: str | None = None, resolution: float | None = None
) -> Spectrum:
    """Read a spectrum, in whatever format of `READERS` it is.

    Parameters
    ----------
    path
        The file.
    medium
        "air" or "vacuum", for a file that does not state it. Air wavelengths are converted to
        vacuum (`units.air_to_vacuum`).
    resolution
        Resolving power λ/Δλ; replaces what the file states.

    Raises
    ------
    SpectrumError
        The file does not exist, is in no known format, is damaged, or states no medium.

    Examples
    --------
    >>> import blase3d as b3
    >>> star = b3.read_spectrum("star.npz")
    >>> star.resolution
    100000.0
    """
    path = Path(path)
    require_file(path, SpectrumError)
    check_size(path.stat().st_size, str(path), SpectrumError, LARGEST_SPECTRUM)
    with SpectrumFile(path) as file:
        reader = READERS.choose(file, path)
        with READERS.naming(reader, path):
            raw = reader.read(file)
    settle_version(raw.meta, FORMAT, VERSION, path, SpectrumError)
    found = settle_medium(raw.medium, medium, path, SpectrumError)
    try:
        return spectrum_of(raw, found, resolution)
    except SpectrumError as fault:
        raise SpectrumError(f"{path}: {fault}") from fault


def write_spectrum(spectrum: Spectrum, path: str | Path) -> None:
    """Write a spectrum to an .npz, .ecsv, .csv or .fits file, by the ending of its name.

    A failure keeps the previous file.

    Examples
    --------
    >>> import blase3d as b3
    >>> b3.write_spectrum(b3.Spectrum([5000.0, 5001.0], [1.0, 0.9]), "two-pixels.ecsv")
    """
    path = Path(path)
    require_writable_spectrum(path)
    with replacing(path) as partial:
        _WRITERS[_ending(path)](spectrum, partial)


def require_writable_spectrum(path: Path) -> None:
    """Raise `SpectrumError` unless `write_spectrum` could write to this path."""
    if _ending(path) not in _WRITERS:
        known = ", ".join(f".{name}" for name in _WRITERS)
        raise SpectrumError(f"{path} has no ending that is known; expected one of {known}.")
    require_writable(path)


def _ending(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")
