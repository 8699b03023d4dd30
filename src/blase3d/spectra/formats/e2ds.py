"""Echelle orders of the first pipelines of HARPS and HARPS-N (e2ds), with a wavelength solution.

The wavelength (Å, in air, in the frame of the observatory) of pixel x, counted from 0, of order o
is a polynomial of degree d = `DRS CAL TH DEG LL`, with the coefficients `DRS CAL TH COEFF LL` + n,
where n = o (d + 1), ..., o (d + 1) + d. `DRS BERV` (km/s) brings it to the barycentre. The flux
contains the blaze, which is divided out if the file that `DRS BLAZE FILE` names lies beside this
one.

Reference: HARPS DRS user manual (3M6-MAN-HAR-33110-0016), section 4.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ...runtime.arrays import Floats
from . import headers
from .companions import image_beside
from .echelle import deblazed
from .eso import in_barycentre, resolution_of
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader


def _drs(header: fits.Header) -> str | None:
    """Beginning of the pipeline's keywords, or None if there are no wavelengths."""
    for name in ("ESO DRS", "TNG DRS"):
        if f"{name} CAL TH DEG LL" in header and f"{name} CAL TH COEFF LL0" in header:
            return name
    return None


def _matches(file: SpectrumFile) -> bool:
    return file.is_fits and file.header.get("NAXIS") == 2 and _drs(file.header) is not None


def _wavelength(header: fits.Header, drs: str) -> Floats:
    """Wavelengths (orders, pixels) in air."""
    terms = int(header[f"{drs} CAL TH DEG LL"]) + 1
    orders, pixels = header["NAXIS2"], header["NAXIS1"]
    numbers = [header[f"{drs} CAL TH COEFF LL{n}"] for n in range(orders * terms)]
    coefficients = np.reshape(numbers, (orders, terms)).T
    return np.asarray(np.polynomial.polynomial.polyval(np.arange(pixels), coefficients))


def _read(file: SpectrumFile) -> RawSpectrum:
    header, drs = file.header, str(_drs(file.header))
    meta = {**headers.describe(header), "frame": "observatory"}
    wavelength, meta = in_barycentre(_wavelength(header, drs), meta, header)
    flux = np.asarray(file.hdus[0].data, np.float64)
    arrays: dict[str, NDArray[Any]] = {"wavelength": wavelength, "flux": flux}
    blaze = image_beside(file, str(headers.card(header, f"{drs} BLAZE FILE") or ""), flux.shape)
    if blaze is None:
        meta["blaze"] = "included"
    else:
        arrays["flux"], _, arrays["mask"] = deblazed(flux, None, blaze)
    resolution, guessed = resolution_of(header, flux.size)
    return RawSpectrum(arrays, "air", resolution, meta, guessed)


HARPS_E2DS = SpectrumReader(
    "harps-e2ds", "echelle orders of the pipelines of HARPS or HARPS-N (e2ds)", _matches, _read
)
