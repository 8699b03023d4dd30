"""Three overlapping echelle orders, as the tests of readers of such formats write them.

Files have wavelengths of the observatory, and a flux times `BLAZE`. One pixel is bad.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from tests.spectra.formats.truth import expected

from blase3d.runtime.units import SPEED_OF_LIGHT

SHAPE = (3, 80)
VELOCITY = np.array([12.5, 12.6, 12.7])
"""Barycentric correction (km/s) of each order."""
OBSERVED = np.stack([np.linspace(low, low + 40.0, 80) for low in (6100.0, 6135.0, 6170.0)])
FLUX = 1000.0 * (1.0 - 0.6 * np.exp(-0.5 * ((OBSERVED - OBSERVED[:, [40]]) / 1.5) ** 2))
ERROR = np.linspace(7.0, 9.0, FLUX.size).reshape(SHAPE)
BLAZE = 5e4 * np.sinc(np.linspace(-0.99, 0.6, 80)) ** 2 * np.array([[1.0], [2.0], [3.0]])
"""In any unit; the first pixels have no signal."""
RELATIVE = BLAZE / np.percentile(BLAZE, 99.0, axis=1, keepdims=True)
DARK = RELATIVE < 0.05
BAD = np.zeros(SHAPE, bool)
BAD[1, 55] = True
RAW, RAW_ERROR = FLUX * RELATIVE, ERROR * RELATIVE
"""As extracted, with the blaze."""
FRAME = {"OBJECT": "HD 1", "TELESCOP": "a telescope", "DATE-OBS": "2024-05-06T07:08:09"}


def write(path, header, images, tables=()):
    """Write a FITS file of a primary header, images by name, and tables.

    An image may come with its header.
    """
    hdus = [fits.PrimaryHDU(header=fits.Header({**FRAME, **header}))]
    for name, content in images.items():
        data, cards = content if isinstance(content, tuple) else (content, {})
        hdus.append(fits.ImageHDU(data, fits.Header(cards), name=name))
    fits.HDUList([*hdus, *tables]).writeto(path)
    return path


def shifted(velocity: Any = VELOCITY):
    """Wavelengths of the barycentre, for a correction (km/s) of all or of each order."""
    correction = np.broadcast_to(np.asarray(velocity, float), 3)[:, None]
    return OBSERVED * (1.0 + correction / SPEED_OF_LIGHT)


def expected_orders(reader, wavelength, numbers=(0, 1, 2), **changes):
    """The spectrum that a reader returns for a file of these orders; other keys as `expected`.

    Arrays are (3, 80).
    """
    arrays = {"flux": FLUX, "error": ERROR, "mask": BAD, **changes}
    order = np.repeat(numbers, SHAPE[1])
    by = np.lexsort((order, wavelength.ravel()))
    for name in ("flux", "error", "mask"):
        if arrays[name] is not None:
            arrays[name] = arrays[name].ravel()[by]
    meta = {"object": "HD 1", "telescope": "a telescope", "date": "2024-05-06T07:08:09"}
    arrays["meta"] = {**meta, **changes.get("meta", {})}
    return expected(reader, wavelength=wavelength.ravel()[by], order=order[by], **arrays)


def barycentric(velocity):
    """Metadata of a spectrum that was corrected by a velocity (km/s)."""
    return {"frame": "barycentric", "barycentric_correction": velocity, "berv": None}
