"""Spectra of NEID, levels 1 and 2 of its pipeline.

Images of orders by pixels: `SCIFLUX`, `SCIVAR` (variance), `SCIWAVE` (Å, vacuum, in the frame of
the observatory), `SCIBLAZE`, and on level 2 `TELLURIC`, the transmission of the atmosphere by lines
and by continua. The header has the barycentric redshift of each echelle order, SSBZ052 to SSBZ173;
rows begin with order 173. Format: https://neid.ipac.caltech.edu/docs/NEID-DRP/dataformat.html
"""

from __future__ import annotations

import numpy as np

from ...runtime.arrays import Floats
from ...runtime.units import SPEED_OF_LIGHT
from . import headers
from .echelle import (
    TRANSPARENT,
    has_images,
    image,
    is_instrument,
    opaque,
    raw_orders,
)
from .quantities import to_error
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader

RESOLUTION = {"HR": 110_000.0, "HE": 60_000.0}
"""Nominal resolving power of the modes (Schwab et al. 2016, Proc. SPIE 9908, 99087H)."""
_FIRST_ORDER = 173
"""Echelle order of the first row."""


def _read(file: SpectrumFile) -> RawSpectrum:
    flux, blaze = image(file, "SCIFLUX"), image(file, "SCIBLAZE")
    velocity = _velocity(file, len(flux))
    known = is_instrument(file, "NEID")
    mode = str(file.header.get("OBS-MODE", "HR")).strip().upper()
    return raw_orders(
        (file.header,),
        image(file, "SCIWAVE"),
        flux,
        to_error(image(file, "SCIVAR"), "variance"),
        mask=opaque(_transmission(file, flux), TRANSPARENT),
        blaze=blaze,
        blazed=known,
        number=_FIRST_ORDER - np.arange(len(flux)) if known or velocity is not None else None,
        velocity=velocity,
        resolution=RESOLUTION.get(mode) if known else None,
    )


def _velocity(file: SpectrumFile, count: int) -> Floats | None:
    """Barycentric correction (km/s) of each of `count` orders, or None."""
    middle = headers.number(file.header, "SSBZ100", "SSBZ")
    redshifts = [
        headers.number(file.header, f"SSBZ{_FIRST_ORDER - row:03d}") for row in range(count)
    ]
    found = [middle if redshift is None else redshift for redshift in redshifts]
    if None in found:
        return None
    return SPEED_OF_LIGHT * np.array(found, np.float64)


def _transmission(file: SpectrumFile, flux: Floats) -> Floats | None:
    """Transmission by telluric lines, where the file has a model of it."""
    model = image(file, "TELLURIC")
    if model is not None and model.shape[:2] == flux.shape:
        return np.asarray(model.reshape(*flux.shape, -1)[..., 0])
    return None


NEID = SpectrumReader(
    "neid",
    "a FITS file of NEID",
    lambda file: has_images(file, "SCIFLUX", "SCIVAR", "SCIWAVE"),
    _read,
)
