"""Spectra in the tables of SpecMatch-Emp: wavelength `w` (Å, at rest), flux `s`, error `serr`.

The column `mask`, if there is one, is true where a pixel may be used.

Reference: Yee et al. 2017, ApJ 836, 77; https://specmatch-emp.readthedocs.io
"""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from . import headers
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader


def _table(file: SpectrumFile) -> Any:
    for hdu in file.hdus[1:]:
        if isinstance(hdu, fits.BinTableHDU):
            names = [name.lower() for name in hdu.columns.names]
            if {"s", "serr", "w"} <= set(names) <= {"s", "serr", "w", "mask"}:
                return hdu
    return None


def _read(file: SpectrumFile) -> RawSpectrum:
    hdu = _table(file)
    columns = {name.lower(): np.asarray(hdu.data[name]) for name in hdu.columns.names}
    arrays: dict[str, NDArray[Any]] = {
        "wavelength": columns["w"],
        "flux": columns["s"],
        "error": columns["serr"],
    }
    if "mask" in columns:
        arrays["mask"] = columns["mask"] == 0
    meta = {**headers.describe(file.header, hdu.header), "frame": "star"}
    return RawSpectrum(arrays, headers.medium(file.header), headers.resolution(file.header), meta)


SPECMATCH = SpectrumReader(
    "specmatch",
    "a table of SpecMatch (w, s, serr)",
    lambda file: file.is_fits and _table(file) is not None,
    _read,
)
