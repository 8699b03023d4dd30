"""Spectra of GALAH: one file for each of the four cameras of HERMES.

Data models: https://docs.datacentral.org.au/galah/dr3/galah-dr3-spectra/ (releases 2 and 3) and
https://github.com/sheliak/galah_reduction/blob/master/documentation/folder_and_file_structure.txt
(release 4). Wavelengths are in air and barycentric; telluric lines are divided out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits

from ...runtime.arrays import Floats
from ...runtime.units import FWHM_PER_SIGMA
from .headers import card, describe, number
from .quantities import to_error
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader
from .survey import mentions, nominal, resolution_of

_RESOLUTION, _HIGH = 28000.0, 42000.0
"""Without and with the slit mask (De Silva et al. 2015, MNRAS 449, 2604)."""
_PIXELS = 3.7
"""Pixels in a full width at half maximum, without the slit mask."""
_FEWEST = 4
"""HDUs: spectra with and without the sky, and their errors. Later releases have others too."""
_RELATIVE = ("RELATIVE_ERROR", "INPUT_SIGMA")
"""Names of the extension with the relative error; it is the second HDU where they are absent."""
_NAMES = {*_RELATIVE, "NO_SKY_SIGMA", "NO_SKY_INPUT_SIGMA", "TELURIC", "CROSS_TALK"}


def _matches(file: SpectrumFile) -> bool:
    if not file.is_fits or file.header.get("NAXIS") != 1 or len(file.hdus) < _FEWEST:
        return False
    named = {hdu.name.strip().upper() for hdu in file.hdus} & _NAMES
    return bool(named) or mentions(file.header, "GALAH", ("ORIGIN", "SURVEY", "PROJECT"))


def _read(file: SpectrumFile) -> RawSpectrum:
    header, flux = file.header, np.asarray(file.hdus[0].data, np.float64)
    step = number(header, "CDELT1", "CD1_1")
    pixel = np.arange(1, len(flux) + 1) - float(header.get("CRPIX1", 1.0))
    wavelength = header["CRVAL1"] + (step or np.nan) * pixel
    error = to_error((file.named(*_RELATIVE) or file.hdus[1]).data, "error")
    arrays = {
        "wavelength": wavelength,
        "flux": flux,
        "error": error * np.abs(flux) if _is_relative(error) else error,
    }
    resolution = nominal(_RESOLUTION, _PIXELS, wavelength)
    if resolution is not None and _masked_slit(header):
        resolution = _HIGH
    profile = file.named("RESOLUTION_PROFILE")
    if profile is not None and np.shape(profile.data) == flux.shape:
        found = resolution_of(profile.data / FWHM_PER_SIGMA, wavelength)
        if found is not None:
            arrays["pixel_resolution"], resolution = found, None
    return RawSpectrum(arrays, "air", resolution, _observation(header))


def _is_relative(error: Floats) -> bool:
    """Whether errors can be relative: absolute ones, in electrons, are larger than one."""
    return bool(np.nanmedian(error) < 1.0)


def _masked_slit(header: fits.Header) -> bool:
    return str(card(header, "SLITMASK")).upper() == "IN"


def _observation(header: fits.Header) -> dict[str, Any]:
    meta = {"telescope": "AAT", "instrument": "HERMES", **describe(header)}
    return meta | {"frame": "barycentric"}


GALAH = SpectrumReader("galah", "a GALAH spectrum of one camera", _matches, _read)
