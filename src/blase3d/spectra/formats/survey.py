"""Functions that the readers of spectroscopic surveys share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray

from ...runtime.arrays import Floats
from ...runtime.units import FWHM_PER_SIGMA
from .headers import card
from .reader import SpectrumFile

_OTHER_SAMPLING = 1.5
"""Factor between the pixels of a spectrum and those of its survey from which on they differ."""


def mentions(header: fits.Header, word: str, names: Iterable[str]) -> bool:
    """Whether one of these keywords contains a word, in upper or lower case."""
    return any(word in str(card(header, name)).upper() for name in names)


def column_names(hdu: Any) -> set[str]:
    """Return the names of a table's columns in lower case; none for an image."""
    return {name.lower() for name in getattr(hdu, "columns", fits.ColDefs([])).names}


def table_columns(hdu: Any) -> dict[str, NDArray[Any]]:
    """Return the columns of a table by lower-case name; a single row of vectors becomes columns."""
    return {name.lower(): np.atleast_1d(np.squeeze(hdu.data[name])) for name in hdu.columns.names}


def log_axis(header: fits.Header, count: int) -> Floats:
    """Return wavelengths of which CRVAL1 and CDELT1 are the decimal logarithms."""
    pixel = np.arange(1, count + 1) - float(header.get("CRPIX1", 1.0))
    return np.asarray(10.0 ** (header["CRVAL1"] + header["CDELT1"] * pixel))


def resolution_of(sigma: ArrayLike, wavelength: ArrayLike) -> Floats | None:
    """Return λ/Δλ (P,) of Gaussians with standard deviations `sigma` (P,) in Å.

    Pixels without a positive one get the median; None if there are only such pixels.
    """
    widths = FWHM_PER_SIGMA * np.asarray(sigma, np.float64)
    good = np.isfinite(widths) & (widths > 0.0)
    if not good.any():
        return None
    found = np.asarray(wavelength, np.float64) / np.where(good, widths, 1.0)
    return np.where(good, found, np.median(found[good]))


def nominal(resolution: float, pixels: float, wavelength: ArrayLike) -> float | None:
    """Return the resolution of a survey, or None if the spectrum does not have its sampling.

    `pixels` are those in a full width at half maximum of the survey's spectra. Spectra that were
    simulated, degraded or resampled have the same layout, but an unknown resolution.
    """
    step = np.abs(np.diff(np.log(np.asarray(wavelength, np.float64))))
    ratio = pixels * resolution * float(np.nanmedian(step))
    return resolution if 1.0 / _OTHER_SAMPLING < ratio < _OTHER_SAMPLING else None


def join_arms(parts: Sequence[Mapping[str, ArrayLike]]) -> dict[str, NDArray[Any]]:
    """Join spectra of several arms or exposures, and number them in the column `order`.

    Columns that not all of them have are left out.
    """
    names = [name for name in parts[0] if all(name in part for part in parts)]
    arrays = {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in names}
    if len(parts) > 1:
        sizes = [np.size(part["wavelength"]) for part in parts]
        arrays["order"] = np.repeat(np.arange(len(parts)), sizes)
    return arrays


def picked(file: SpectrumFile, names: ArrayLike) -> list[int]:
    """Return the rows of the source that the user chose, among the names (N,) of all rows."""
    known = [str(name) for name in np.asarray(names).tolist()]
    chosen = file.chosen(list(dict.fromkeys(known)))
    return [row for row, name in enumerate(known) if name == chosen]
