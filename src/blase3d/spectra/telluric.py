"""Telluric bands in the red and near infrared.

The bands are those of O₂, H₂O and CO₂, with rounded limits. Line lists are in HITRAN (Gordon et
al. 2022, JQSRT 277, 107949); Hinkle, Wallace & Livingston (2003, BAAS 35, 1260) show the spectrum
over Kitt Peak. There are weak lines outside the bands, for which the likelihood has robust weights.
Telluric lines are at rest in the frame of the observatory, so a barycentric correction shifts them.
"""

from __future__ import annotations

import numpy as np

from ..runtime.arrays import Bools, Floats
from ..runtime.units import SPEED_OF_LIGHT
from .spectrum import Spectrum

BANDS = (
    (6278.0, 6325.0, "O2 gamma"),
    (6868.0, 6965.0, "O2 B"),
    (7160.0, 7345.0, "H2O"),
    (7594.0, 7710.0, "O2 A"),
    (8130.0, 8370.0, "H2O"),
    (8930.0, 9820.0, "H2O"),
    (10950.0, 12120.0, "H2O"),
    (12570.0, 12780.0, "O2"),
    (13000.0, 15100.0, "H2O"),
    (17500.0, 20800.0, "H2O, CO2"),
)
"""First and last wavelength (Å, vacuum, at rest), and the absorber."""


def telluric_bands(spectrum: Spectrum) -> Bools:
    """Return whether pixels (P,) of a spectrum lie in one of `BANDS`."""
    velocity = spectrum.meta.get("barycentric_correction")
    shift = float(velocity) if isinstance(velocity, float) else 0.0
    return in_bands(spectrum.wavelength / (1.0 + shift / SPEED_OF_LIGHT))


def in_bands(wavelength: Floats) -> Bools:
    """Return whether wavelengths (P,), at rest, lie in one of `BANDS`."""
    inside = np.zeros(wavelength.size, bool)
    for low, high, _ in BANDS:
        inside |= (wavelength >= low) & (wavelength <= high)
    return inside
