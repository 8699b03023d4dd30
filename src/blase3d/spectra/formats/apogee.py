"""Spectra of APOGEE: apStar and asStar, aspcapStar, apVisit and asVisit.

Data models: https://data.sdss.org/datamodel/files/APOGEE_REDUX/APRED_VERS/stars/TELESCOPE/FIELD/
apStar.html, https://data.sdss.org/datamodel/files/APOGEE_ASPCAP/APRED_VERS/ASPCAP_VERS/TELESCOPE/
FIELD/aspcapStar.html and https://data.sdss.org/datamodel/files/APOGEE_REDUX/APRED_VERS/visit/
TELESCOPE/FIELD/PLATE_ID/MJD5/apVisit.html. Wavelengths are in vacuum: those of stars at rest, those
of visits as observed (https://www.sdss4.org/dr17/irspec/spectra/).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from .headers import card, describe, number, shifted
from .quantities import bits, to_error
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader
from .survey import log_axis, mentions, nominal

BAD = (*range(8), 12, 14)
"""Bits of APOGEE_PIXMASK that make a pixel unusable: BADPIX, CRPIX, SATPIX, UNFIXABLE, BADDARK,
BADFLAT, BADERR, NOSKY, SIG_SKYLINE, NOT_ENOUGH_PSF. Those on ghosts, persistence and corrected
telluric lines are warnings. https://www.sdss4.org/dr17/irspec/apogee-bitmasks"""
RESOLUTION = 22500.0
"""Majewski et al. (2017, AJ 154, 94)."""
PIXELS = 3.2
"""Pixels in a full width at half maximum, on the common axis of combined spectra."""
_VISIT_PIXELS = 5.0
"""The same for visits, of which the pixels are half as wide as those of the detectors."""
_CARDS = ("TELESCOP", "INSTRUME", "SURVEY", "ORIGIN", "EXTNAME")
_TELESCOPES = ("apo25m", "lco25m", "apo1m")
_NAMES = ("apstar", "asstar", "aspcapstar", "apvisit", "asvisit")


def _images(file: SpectrumFile) -> list[fits.Header]:
    """The headers of the extensions up to the first that is no image."""
    found = []
    for hdu in file.hdus[1:]:
        if not isinstance(hdu, fits.ImageHDU | fits.CompImageHDU):
            break
        found.append(hdu.header)
    return found


def _same_shape(headers: list[fits.Header]) -> bool:
    shapes = {tuple(header.get(f"NAXIS{i}") for i in (1, 2, 3)) for header in headers}
    return len(shapes) == 1 and None not in {shape[0] for shape in shapes}


def _is_apogee(file: SpectrumFile, images: list[fits.Header]) -> bool:
    history = " ".join(map(str, file.header.get("HISTORY", ())))
    return (
        mentions(file.header, "APOGEE", _CARDS)
        or str(card(file.header, "TELESCOP")).lower() in _TELESCOPES
        or file.path.name.lower().startswith(_NAMES)
        or "APOGEE" in history.upper()
        or bool({"NVISITS", "APRED", "VHELIO", "LOCID"} & set(file.header))
        or str(card(images[0], "BUNIT")).startswith(("Flux (10^-17", "Normalized flux"))
        or "LOG-LINEAR" in str(card(images[0], "CTYPE1")).upper()
    )


def _is_star(file: SpectrumFile) -> bool:
    """Whether flux, error and a third image are on a common grid of the logarithm."""
    if not file.is_fits or len(images := _images(file)) < 3 or not _same_shape(images[:3]):
        return False
    start, step = (number(images[0], name) or 0.0 for name in ("CRVAL1", "CDELT1"))
    return 3.0 < start < 5.0 and 0.0 < step < 1e-3 and _is_apogee(file, images)


def _is_visit(file: SpectrumFile) -> bool:
    """Whether flux, error, mask and wavelength are images of one row for each detector."""
    if not file.is_fits or len(images := _images(file)) < 4 or not _same_shape(images[:4]):
        return False
    if "CRVAL1" in images[0]:
        return False
    if "CRVAL1" in images[0]:
        return False
    wavelengths = str(card(images[3], "BUNIT")).upper().startswith("WAVE")
    return wavelengths or (images[2]["BITPIX"] > 0 and _is_apogee(file, images))


def _read_star(file: SpectrumFile) -> RawSpectrum:
    header = file.hdus[1].header
    arrays: dict[str, NDArray[Any]] = {
        "wavelength": log_axis(header, header["NAXIS1"]),
        "flux": _first_row(file.hdus[1]),
        "error": to_error(_first_row(file.hdus[2]), "error"),
    }
    if file.hdus[3].header["BITPIX"] > 0:  # in aspcapStar the third image is a model
        arrays["mask"] = bits(_first_row(file.hdus[3]), BAD)
    meta = _observation(file.header) | {"frame": "star"}
    return RawSpectrum(arrays, "vacuum", nominal(RESOLUTION, PIXELS, arrays["wavelength"]), meta)


def _first_row(hdu: Any) -> NDArray[Any]:
    """The spectrum combined from all visits, which are in the other rows."""
    return np.asarray(np.atleast_2d(hdu.data)[0])


def _read_visit(file: SpectrumFile) -> RawSpectrum:
    flux, error, mask, wavelength = (np.atleast_2d(hdu.data) for hdu in file.hdus[1:5])
    meta = _observation(file.header) | {"frame": "observatory"}
    if (velocity := number(file.header, "BC")) is not None:
        wavelength = shifted(wavelength, velocity)
        meta |= {"frame": "barycentric", "barycentric_correction": velocity}
    arrays = {
        "wavelength": wavelength,
        "flux": flux,
        "error": to_error(error, "error"),
        "mask": bits(mask, BAD),
    }
    return RawSpectrum(arrays, "vacuum", nominal(RESOLUTION, _VISIT_PIXELS, wavelength[0]), meta)


def _observation(header: fits.Header) -> dict[str, Any]:
    meta = {"instrument": "APOGEE", **describe(header)}
    if (name := card(header, "OBJID", "APOGEE_ID")) is not None:
        meta["object"] = str(name)
    if (velocity := number(header, "VHELIO", "VRAD")) is not None:
        meta["pipeline_rv"] = velocity
    return meta


APOGEE_STAR = SpectrumReader(
    "apogee-star", "an APOGEE apStar or aspcapStar file", _is_star, _read_star
)
APOGEE_VISIT = SpectrumReader("apogee-visit", "an APOGEE apVisit file", _is_visit, _read_visit)
