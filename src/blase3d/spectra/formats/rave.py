"""Spectra of RAVE, data release 6.

Data model: https://www.rave-survey.org/cms/documentation/spectra/ and Steinmetz et al. (2020, AJ
160, 82): normalised flux and its relative error on linear wavelengths, in air and at rest.
"""

from __future__ import annotations

import numpy as np

from .headers import card, describe, number
from .quantities import to_error
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader
from .survey import mentions, nominal

_RESOLUTION = 7500.0
"""Steinmetz et al. (2006, AJ 132, 1645)."""
_PIXELS = 3.1
"""Pixels in a full width at half maximum."""


def _matches(file: SpectrumFile) -> bool:
    if not file.is_fits or file.named("SPECTRUM") is None or file.named("ERROR") is None:
        return False
    return "ROI" in file.header or mentions(
        file.header, "RAVE", ("ORIGIN", "SURVEY", "PROJECT", "DOI", "RAVE_ID")
    )


def _read(file: SpectrumFile) -> RawSpectrum:
    header = file.named("SPECTRUM").header
    flux = np.asarray(file.named("SPECTRUM").data, np.float64).ravel()
    pixel = np.arange(1, len(flux) + 1) - float(header.get("CRPIX1", 1.0))
    wavelength = header["CRVAL1"] + (number(header, "CDELT1", "CD1_1") or np.nan) * pixel
    arrays = {
        "wavelength": wavelength,
        "flux": flux,
        "error": to_error(file.named("ERROR").data.ravel(), "error") * np.abs(flux),
    }
    known = {"telescope": "UK Schmidt", "instrument": "6dF"}
    meta = known | describe(file.header, header) | {"frame": "star"}
    if (name := card(file.header, "ROI")) is not None:
        meta["object"] = str(name)
    return RawSpectrum(arrays, "air", nominal(_RESOLUTION, _PIXELS, wavelength), meta)


RAVE = SpectrumReader("rave", "a RAVE spectrum", _matches, _read)
