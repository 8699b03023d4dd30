"""Spectra of DESI, coadds and single exposures, with many targets in a file.

Data model: https://desidatamodel.readthedocs.io/en/latest/DESI_SPECTRO_REDUX/SPECPROD/healpix/
SURVEY/PROGRAM/PIXGROUP/PIXNUM/coadd-SURVEY-PROGRAM-PIXNUM.html. Wavelengths are in vacuum and
barycentric. The arms stay separate, and all exposures of a target are taken.
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
from .survey import join_arms, picked, resolution_of

_ARMS = ("B", "R", "Z", "BRZ")
"""Prefixes of the names of HDUs; BRZ is the sum of all arms."""
_NEEDED = ("WAVELENGTH", "IVAR")


def _arms(file: SpectrumFile) -> list[str]:
    return [arm for arm in _ARMS if file.named(f"{arm}_FLUX") is not None]


def _matches(file: SpectrumFile) -> bool:
    if not file.is_fits or not (arms := _arms(file)):
        return False
    return all(file.named(f"{arm}_{name}") is not None for arm in arms for name in _NEEDED)


def _read(file: SpectrumFile) -> RawSpectrum:
    arms = _arms(file)
    table = file.named("FIBERMAP")
    count = len(file.named(f"{arms[0]}_FLUX").data)
    targets = range(count) if table is None else table.data["TARGETID"]
    rows = picked(file, targets)
    arrays = join_arms([_spectrum(file, arm, row) for arm in arms for row in rows])
    return RawSpectrum(arrays, "vacuum", None, _observation(file, rows[0]))


def _spectrum(file: SpectrumFile, arm: str, row: int) -> dict[str, NDArray[Any]]:
    wavelength = np.asarray(file.named(f"{arm}_WAVELENGTH").data, np.float64)
    columns = {
        "wavelength": wavelength,
        "flux": file.named(f"{arm}_FLUX").data[row],
        "error": to_error(file.named(f"{arm}_IVAR").data[row], "ivar"),
    }
    if (mask := file.named(f"{arm}_MASK")) is not None:
        columns["mask"] = mask.data[row] != 0  # as in the coadds of the pipeline
    if (matrix := file.named(f"{arm}_RESOLUTION")) is not None:
        sigma = _width(matrix.data[row]) * np.gradient(wavelength)
        if (resolution := resolution_of(sigma, wavelength)) is not None:
            columns["pixel_resolution"] = resolution
    return columns


def _width(diagonals: NDArray[Any]) -> Floats:
    """Return the standard deviation (P,) in pixels of the diagonals (D, P) of a resolution matrix.

    Column j has the response of the pixels from j − D // 2 to j + D // 2 to light of pixel j.
    """
    weight = np.asarray(diagonals, np.float64)
    offset = np.arange(len(weight))[:, None] - len(weight) // 2
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (weight * offset).sum(axis=0) / weight.sum(axis=0)
        return np.sqrt((weight * (offset - mean) ** 2).sum(axis=0) / weight.sum(axis=0))


def _observation(file: SpectrumFile, row: int) -> dict[str, Any]:
    meta = {"telescope": "Mayall 4-m", "instrument": "DESI", **describe(file.header)}
    meta["frame"] = "barycentric"
    if (table := file.named("FIBERMAP")) is not None:
        meta["object"] = str(table.data["TARGETID"][row])
        for key, name in (("ra", "TARGET_RA"), ("dec", "TARGET_DEC"), ("mjd", "MJD")):
            if name in table.columns.names:
                meta[key] = float(table.data[name][row])
    return meta


DESI = SpectrumReader("desi", "a DESI file of coadds or spectra", _matches, _read)
