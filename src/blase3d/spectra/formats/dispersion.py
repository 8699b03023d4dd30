"""Wavelengths of an axis of a FITS image, linear or logarithmic.

References: Greisen et al. (2006, A&A 446, 747) for the types of the standard; DC-FLAG is IRAF's
(`specwcs.hlp`), for log₁₀ of the wavelength.
"""

from __future__ import annotations

import numpy as np
from astropy.io import fits

from ...runtime.arrays import Floats
from . import iraf
from .headers import card, number
from .quantities import length_unit

_NO_WAVELENGTH = ("VELO", "VRAD", "VOPT", "ZOPT", "BETA")
"""Types of axes that are not wavelengths."""
_FIRST_PIXELS = 50.0
"""Values up to which an axis of type PIXEL, which some pipelines give to wavelengths, is one."""
_LOG10 = (3.0, 4.7)
"""log₁₀ of wavelengths from 1000 Å to 5 µm, in Å."""
_LN = (6.9, 10.9)
"""Natural logarithms of these, in Å."""
_DEFAULT_UNITS = {"FREQ": "Hz", "WAVN": "1/m", "ENER": "J"}
"""Units of the standard's types other than wavelength, where none is stated."""


def has_wavelength(header: fits.Header, axis: int = 1) -> bool:
    """Return whether a header has a wavelength for an axis."""
    kind = str(card(header, f"CTYPE{axis}") or "").upper()
    calibrated = number(header, "DC-FLAG", "DC_FLAG") != -1.0
    first = _first(header, axis)
    if first is None or _step(header, axis) is None or kind.startswith(_NO_WAVELENGTH):
        return False
    return calibrated and not (kind == "PIXEL" and abs(first) < _FIRST_PIXELS)


def wavelength_axis(header: fits.Header, count: int, axis: int = 1) -> tuple[Floats, str | None]:
    """Return the wavelengths (count,) of an axis, and their unit, which may be `log(nm)`.

    The unit is None where the header states none.
    """
    first, step = _first(header, axis), _step(header, axis)
    assert first is not None
    assert step is not None
    reference = number(header, f"CRPIX{axis}")
    pixel = np.arange(1.0, count + 1.0) - (1.0 if reference is None else reference)
    unit = _unit(header, axis)
    kind = str(card(header, f"CTYPE{axis}") or "").upper()
    if kind.endswith("-LOG") and _logarithm(first, unit) is None and first > 0.0:
        return np.asarray(first * np.exp(pixel * step / first), np.float64), unit
    flagged = number(header, "DC-FLAG", "DC_FLAG") == 1.0 or "LOG" in kind or kind.startswith("LN")
    logarithm = _logarithm(first, unit)
    if flagged or (logarithm is not None and unit is not None):
        base = "ln" if kind.startswith("LN") else logarithm or "log"
        unit = f"{base}({unit or 'Angstrom'})" if not _is_log(unit) else unit
    return np.asarray(first + pixel * step, np.float64), unit


def _first(header: fits.Header, axis: int) -> float | None:
    """The value at the reference pixel; W0 in IRAF's old files, COEFF0 in those of SDSS."""
    return number(header, f"CRVAL{axis}", *(("W0", "COEFF0") if axis == 1 else ()))


def _step(header: fits.Header, axis: int) -> float | None:
    """The step of an axis: CDi_i, or CDELTi where there is none, or where CDi_i was left at 1.

    The standard ignores CDELT beside CD.
    """
    old = ("WPC", "COEFF1") if axis == 1 else ()
    matrix, delta = number(header, f"CD{axis}_{axis}"), number(header, f"CDELT{axis}", *old)
    if delta is not None and (matrix is None or matrix in (0.0, 1.0)):
        scale = number(header, f"PC{axis}_{axis}")
        return delta * (1.0 if scale is None else scale)
    return matrix


def _unit(header: fits.Header, axis: int) -> str | None:
    """The unit by CUNIT, by the attributes of IRAF, or by a CTYPE that is a unit."""
    if (stated := card(header, f"CUNIT{axis}")) is not None:
        return str(stated)
    kind = str(card(header, f"CTYPE{axis}") or "")
    if kind[:4] in _DEFAULT_UNITS:
        return _DEFAULT_UNITS[kind[:4]]
    if (unit := iraf.unit_of(header)) is not None:
        return unit
    try:
        length_unit(kind)
    except ValueError:
        return None
    return kind


def _logarithm(first: float, unit: str | None) -> str | None:
    """The logarithm that a wavelength in Å or without a unit must be, by its value, or None."""
    if unit is not None and not _is_angstrom(unit):
        return None
    if _LOG10[0] < first < _LOG10[1]:
        return "log"
    return "ln" if _LN[0] < first < _LN[1] else None


def _is_angstrom(unit: str) -> bool:
    try:
        return str(length_unit(unit)) == "Angstrom"
    except ValueError:
        return False


def _is_log(unit: str | None) -> bool:
    return unit is not None and unit.lower().startswith(("log", "ln", "dex"))
