"""Spectra of CARMENES, as its pipeline CARACAL writes them.

Images of orders by pixels: `SPEC` (relative to the flat field, so without the blaze), `SIG` (one
standard deviation), `WAVE` (Å, vacuum, in the frame of the observatory) and `CONT`, which is not
used. The header has the barycentric correction as CARACAL BERV (km/s). Templates of SERVAL have the
natural logarithm of the wavelength, in a frame that they do not state. Format: Ribas et al. 2023,
A&A 670, A139; Zechmeister, Anglada-Escudé & Reiners 2014, A&A 561, A59 (extraction).
"""

from __future__ import annotations

import numpy as np

from .echelle import has_images, image, is_instrument, raw_orders
from .headers import number
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader

RESOLUTION = {"VIS": 94_600.0, "NIR": 80_400.0}
"""Nominal resolving power of the arms (Quirrenbach et al. 2018, Proc. SPIE 10702, 107020W)."""
_ARMS_MEET = 9600.0
"""Å, where the near-infrared arm begins."""
_LOGARITHMS = 20.0
"""Numbers below are logarithms of wavelengths."""


def _read(file: SpectrumFile) -> RawSpectrum:
    wavelength = image(file, "WAVE")
    if is_template := bool(np.nanmedian(wavelength) < _LOGARITHMS):
        wavelength = np.exp(wavelength)
    arm = "VIS" if np.nanmedian(wavelength) < _ARMS_MEET else "NIR"
    return raw_orders(
        (file.header,),
        wavelength,
        image(file, "SPEC"),
        image(file, "SIG"),
        velocity=None if is_template else number(file.header, "CARACAL BERV"),
        resolution=RESOLUTION[arm] if is_instrument(file, "CARMENES") else None,
        frame=None if is_template else "observatory",
    )


CARMENES = SpectrumReader(
    "carmenes",
    "a FITS file of CARMENES",
    lambda file: has_images(file, "SPEC", "SIG", "WAVE"),
    _read,
)
