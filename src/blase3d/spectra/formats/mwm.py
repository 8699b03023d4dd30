"""Spectra of the Milky Way Mapper of SDSS-V: mwmStar and mwmVisit.

Data model: https://www.sdss.org/dr19/mwm/astra/output-files/. There is a table for each instrument
at each observatory, with a row of vectors for each spectrum. Wavelengths are in vacuum and at rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import Floats
from . import apogee, sdss
from .headers import card, describe
from .quantities import bits, to_error
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader
from .survey import column_names, join_arms, nominal, picked

_COLUMNS = {"flux", "ivar", "pixel_flags"}


def _tables(file: SpectrumFile) -> list[Any]:
    return [hdu for hdu in file.hdus if column_names(hdu) >= _COLUMNS and hdu.header["NAXIS2"] > 0]


def _read(file: SpectrumFile) -> RawSpectrum:
    tables = _tables(file)
    arrays = join_arms([_spectrum(file, hdu) for hdu in tables])
    meta = {**describe(file.header), "frame": "star"}
    if (name := card(file.header, "SDSS_ID")) is not None:
        meta["object"] = str(name)
    known = all(map(_is_apogee, tables))
    resolution = nominal(apogee.RESOLUTION, apogee.PIXELS, arrays["wavelength"]) if known else None
    return RawSpectrum(arrays, "vacuum", resolution, meta)


def _is_apogee(hdu: Any) -> bool:
    return str(hdu.name).upper().startswith("APOGEE")


def _spectrum(file: SpectrumFile, hdu: Any) -> dict[str, NDArray[Any]]:
    rows = hdu.data
    row = rows[picked(file, rows["mjd"] if "mjd" in rows.names else [0])[0]]
    return {
        "wavelength": _wavelength(hdu, row),
        "flux": row["flux"],
        "error": to_error(row["ivar"], "ivar"),
        "mask": bits(row["pixel_flags"], apogee.BAD if _is_apogee(hdu) else sdss.BAD),
    }


def _wavelength(hdu: Any, row: Any) -> Floats:
    if "wavelength" in column_names(hdu):
        return np.asarray(row["wavelength"], np.float64)
    pixel = np.arange(len(row["flux"]))
    return np.asarray(10.0 ** (hdu.header["CRVAL"] + hdu.header["CDELT"] * pixel))


MWM = SpectrumReader(
    "mwm",
    "an SDSS-V mwmStar or mwmVisit file",
    lambda file: file.is_fits and "SDSS_ID" in file.header and bool(_tables(file)),
    _read,
)
