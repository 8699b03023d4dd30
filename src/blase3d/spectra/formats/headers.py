"""Observation, frame and medium of a spectrum, from the keywords of a FITS header."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import ArrayLike

from ...runtime.arrays import Floats
from ...runtime.units import SPEED_OF_LIGHT

_WORDS = {
    "object": ("OHP TARG NAME", "OBJECT", "OBJNAME", "TARGNAME", "TARGET", "OBJ"),
    "telescope": ("TELESCOP",),
    "instrument": ("INSTRUME", "INSTRUMENT"),
    "date": ("DATE-OBS", "DATE_OBS", "DATEOBS"),
}
_NUMBERS = {
    "ra": ("RA", "RA_TARG", "OBJRA", "RADEG"),
    "dec": ("DEC", "DEC_TARG", "OBJDEC", "DECDEG"),
    "mjd": ("MJD-OBS", "MJD", "MJD_OBS"),
    "snr": ("SNR", "S/N", "MEANSNR"),
    "berv": ("BERV", "ESO QC BERV", "ESO DRS BERV", "CARACAL BERV", "BARYCORR"),
}
"""Numbers; `berv` in km/s."""
_RESOLUTION = ("SPEC_RES", "RESOLUT", "SPEC_RP", "SPECRES", "RESOLVPW", "RESOLUTION", "R")
_FRAMES = {
    "BARYCENT": "barycentric",
    "BARYCENTER": "barycentric",
    "BARYCENTRIC": "barycentric",
    "HELIOCEN": "heliocentric",
    "HELIOCENTRIC": "heliocentric",
    "TOPOCENT": "observatory",
    "TOPOCENTRIC": "observatory",
    "SOURCE": "star",
}
"""SPECSYS (Greisen et al. 2006, A&A 446, 747, table 11) and its spellings."""
_MEDIA = {"air": "air", "vac": "vacuum", "vacuum": "vacuum", "true": "vacuum", "t": "vacuum"}


def card(header: fits.Header, *names: str) -> Any:
    """Return the value of the first keyword that is present and not blank, or None."""
    for name in names:
        try:
            found = header.get(name)
        except (fits.VerifyError, ValueError):  # a card that does not follow the standard
            continue
        if found is None or isinstance(found, fits.card.Undefined) or not str(found).strip():
            continue
        return found.strip() if isinstance(found, str) else found
    return None


def number(header: fits.Header, *names: str) -> float | None:
    """Return the first of the keywords that is a finite number, or None."""
    for name in names:
        found = card(header, name)
        try:
            result = float(found) if not isinstance(found, bool) else math.nan
        except (TypeError, ValueError):
            continue
        if math.isfinite(result):
            return result
    return None


def describe(*headers: fits.Header) -> dict[str, Any]:
    """Return what headers, the first of them first, state of an observation.

    Keys: object, telescope, instrument, date, ra, dec (degrees or as written), mjd, snr, berv
    (km/s, as stated), frame. Unknown ones are absent.
    """
    found: dict[str, Any] = {}
    for header in headers:
        words = {key: card(header, *cards) for key, cards in _WORDS.items()}
        numbers = {key: number(header, *cards) for key, cards in _NUMBERS.items()}
        for key in ("ra", "dec"):  # sexagesimal
            if numbers[key] is None:
                words[key] = card(header, *_NUMBERS[key])
        everything = {**numbers, **words, "frame": frame(header)}
        for key, stated in everything.items():
            if stated is not None and key not in found:
                found[key] = stated if isinstance(stated, float) else str(stated)
    return found


def frame(header: fits.Header) -> str | None:
    """Return the velocity frame by SPECSYS, or by REST_COR of the X-shooter Spectral Library, or
    None."""
    if header.get("REST_COR") is True:
        return "star"
    return _FRAMES.get(str(card(header, "SPECSYS", "SPECSYS1")).upper())


def resolution(header: fits.Header) -> float | None:
    """Return the resolving power that a header states, or None. Numbers of 100 or less are none."""
    stated = (number(header, name) for name in _RESOLUTION)
    return next((value for value in stated if value is not None and value > 100.0), None)


def medium(header: fits.Header) -> str | None:
    """Return "air" or "vacuum" where a header says so, else None.

    By MEDIUM, AIRORVAC, VACUUM, a TUCD with `obs.atmos` (ESO science data product standard), or
    the type AWAV or WAVE of the FITS standard, which may have an algorithm (`WAVE-LOG`).
    """
    stated = card(header, "MEDIUM")
    if stated is not None:
        return _MEDIA.get(str(stated).lower(), str(stated))
    for name in ("AIRORVAC", "VACUUM"):
        if (found := _MEDIA.get(str(card(header, name)).lower())) is not None:
            return found
    if any("obs.atmos" in str(card(header, f"TUCD{i}")).lower() for i in range(1, 10)):
        return "air"
    return by_ctype(card(header, "CTYPE1"))


def by_ctype(ctype: object) -> str | None:
    """Return the medium of a spectral type of the FITS standard (Greisen et al. 2006), or None."""
    kind, dash, algorithm = str(ctype or "").strip().partition("-")
    if dash and len(algorithm.lstrip("-")) != 3:
        return None
    return {"AWAV": "air", "WAVE": "vacuum"}.get(kind)


def shifted(wavelength: ArrayLike, velocity: float) -> Floats:
    """Return wavelengths times 1 + v/c, for a correction of `velocity` (km/s)."""
    return np.asarray(wavelength, np.float64) * (1.0 + velocity / SPEED_OF_LIGHT)


def stated_in(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return what lines `key: value` of a text, or parameters of a VOTable, state.

    Keys are those of `describe`, medium and resolution, and all others as they are.
    """
    words = {key: _unquoted(value) for key, value in entries.items()}
    upper: Any = {key.strip().upper().replace(" ", "_"): value for key, value in words.items()}
    stated = {"medium": medium(upper), "resolution": resolution(upper), **describe(upper)}
    known = {key: value for key, value in stated.items() if value is not None}
    if number(upper, "RESOLUTION") is None and "RESOLUTION" in upper:  # such as 0.1 A
        known["stated_resolution"] = upper.pop("RESOLUTION")
        words = {key: value for key, value in words.items() if key.lower() != "resolution"}
    return {**{key: value for key, value in words.items() if key.lower() not in known}, **known}


def _unquoted(value: Any) -> Any:
    """A value without the quotation marks and the comment of a FITS card."""
    match = re.match(r"^'([^']*)'\s*(/.*)?$", value.strip()) if isinstance(value, str) else None
    return value if match is None else match[1].strip()
