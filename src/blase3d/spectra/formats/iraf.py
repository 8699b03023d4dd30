"""Wavelengths of IRAF's multispec format.

Each row of an image has its dispersion function in the header: linear, log-linear, Chebyshev or
Legendre polynomials, splines or tables, and a Doppler factor. References: `specwcs.hlp` in IRAF's
package onedspec (Valdes 1993), and `sys/mwcs/wfmspec.x`, which evaluates the functions
(https://github.com/iraf-community/iraf).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from astropy.io import fits

from ...runtime.arrays import Floats
from .headers import number

_CARD = 68
"""Characters of a full WAT card; the blanks at its end are lost where a card was rewritten."""
_LOG, _NONLINEAR = 1, 2
"""Types of dispersion functions; 0 is linear, -1 none."""


@dataclass(frozen=True, eq=False)
class Dispersions:
    """Wavelengths of the rows of an image.

    Attributes
    ----------
    wavelength : (rows, pixels), in `unit`; NaN where a row has none
    order : (rows,) the beam numbers, which are the echelle orders, or else the apertures
    unit : the unit as the header spells it, or None
    """

    wavelength: Floats
    order: list[int]
    unit: str | None


def is_multispec(header: fits.Header) -> bool:
    """Return whether a header has dispersion functions of the rows."""
    return "system=multispec" in _attributes(header, 0)[0] or (
        str(header.get("CTYPE1")).strip() == "MULTISPE"
    )


def unit_of(header: fits.Header) -> str | None:
    """Return the unit of the wavelengths in an IRAF header, or None."""
    match = re.search(r"units=\s*(\"[^\"]*\"|\S+)", _attributes(header, 1)[0])
    return match[1].strip('"') if match else None


def dispersions(header: fits.Header, rows: int, pixels: int) -> Dispersions:
    """Return the wavelengths of an image. Raise ValueError if a row has no dispersion function."""
    logical = np.arange(pixels) + 1.0
    shift, scale = number(header, "LTV1") or 0.0, number(header, "LTM1_1") or 1.0
    physical = np.asarray((logical - shift) / scale, np.float64)
    for text in _attributes(header, 2):  # with the blanks of full cards, and without
        try:
            found = [_Row.parsed(text, i + 1) for i in range(rows)]
            wavelength = np.stack([row.wavelength(physical) for row in found])
        except ValueError as failure:
            fault = failure
            continue
        beams, apertures = ([getattr(row, name) for row in found] for name in ("beam", "aperture"))
        order = beams if len(set(beams)) == rows else apertures
        return Dispersions(wavelength, order, unit_of(header))
    raise fault


def _attributes(header: fits.Header, axis: int) -> tuple[str, str]:
    """The attributes of an axis: the WAT cards joined as they are, and each filled to its width."""
    texts = []
    for name in sorted(name for name in header if name.startswith(f"WAT{axis}_")):
        image = re.match(r"^.{8}= '(.*)'\s*(/.*)?$", header.cards[name].image)
        one_card = image is not None and len(header.cards[name].image) <= 80
        texts.append((image[1] if image and one_card else str(header[name])).replace("''", "'"))
    return "".join(texts), "".join(text.ljust(_CARD) for text in texts)


@dataclass(frozen=True)
class _Row:
    """The dispersion function of a row."""

    aperture: int
    beam: int
    kind: int
    first: float
    step: float
    pixels: int
    doppler: float
    coefficients: list[float]

    @classmethod
    def parsed(cls, text: str, row: int) -> _Row:
        match = re.search(rf'spec{row}\s*=\s*"([^"]*)"', text)
        words = match[1].split() if match else []
        if len(words) < 9:
            raise ValueError(f"row {row} has no dispersion function of 9 numbers or more")
        numbers = [float(word) for word in words]
        aperture, beam, kind, first, step, pixels, redshift = numbers[:7]
        whole = (int(aperture), int(beam), int(kind), first, step, int(pixels))
        return cls(*whole, 1.0 + redshift, numbers[9:])

    def wavelength(self, pixel: Floats) -> Floats:
        """Wavelengths at physical pixels; NaN beyond the last."""
        if self.kind == _NONLINEAR:
            values = _mean_function(self.coefficients, pixel)
        else:
            values = self.first + self.step * (pixel - 1.0)
            values = 10.0**values if self.kind == _LOG else values
        inside = (pixel >= 0.5) & (pixel <= self.pixels + 0.5) & (self.kind >= 0)
        return np.where(inside, values / self.doppler, np.nan)


def _mean_function(numbers: list[float], pixel: Floats) -> Floats:
    """The weighted mean of the functions in a list of weight, zero point, type and parameters."""
    total, weights = np.zeros_like(pixel), 0.0
    while numbers:
        weight, zero, kind, count = numbers[0], numbers[1], int(numbers[2]), int(numbers[3])
        values, used = _function(kind, count, numbers[4:], pixel)
        total += weight * (zero + values)
        weights += weight
        numbers = numbers[4 + used :]
    if weights == 0.0:
        raise ValueError("a dispersion function has no weight")
    return total / weights


def _function(kind: int, count: int, numbers: list[float], pixel: Floats) -> tuple[Floats, int]:
    """The values of a function, and the count of its parameters."""
    if kind == 5:  # wavelengths of pixels
        return np.interp(pixel, np.arange(count) + 1.0, numbers[:count]), count
    if kind == 6:  # pixels and their wavelengths
        return np.interp(pixel, numbers[: 2 * count : 2], numbers[1 : 2 * count : 2]), 2 * count
    low, high = numbers[0], numbers[1]
    terms = count + {3: 3, 4: 1}.get(kind, 0)
    coefficients = np.array(numbers[2 : 2 + terms])
    if len(coefficients) < terms or kind not in (1, 2, 3, 4):
        raise ValueError(f"a dispersion function of type {kind} has {len(numbers)} parameters")
    if kind in (3, 4):
        return _spline(coefficients, kind, count, (pixel - low) / (high - low)), 2 + terms
    x = (2.0 * pixel - (high + low)) / (high - low)
    series = np.polynomial.chebyshev.chebval if kind == 1 else np.polynomial.legendre.legval
    return series(x, coefficients), 2 + terms


def _spline(coefficients: Floats, kind: int, pieces: int, x: Floats) -> Floats:
    """A linear (4) or cubic (3) spline of equal pieces; x runs from 0 to 1."""
    piece = np.clip((x * pieces).astype(int), 0, pieces - 1)
    b = x * pieces - piece
    a = 1.0 - b
    cubic = (a**3, 1 + 3 * a * (1 + a * b), 1 + 3 * b * (1 + a * b), b**3)
    basis = cubic if kind == 3 else (a, b)
    return np.sum([part * coefficients[piece + i] for i, part in enumerate(basis)], axis=0)
