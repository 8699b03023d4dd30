"""Spectra of the Habitable-zone Planet Finder, in the two formats that its pipelines write.

Both have images of 28 orders by 2048 pixels, `Sci Flux` and `Sci Wavl` (Å, vacuum, in the frame of
the observatory), with the errors as `Sci Error` (Goldilocks) or `Sci Variance` (the optimal
extraction), and the same for the sky fibre. Wavelengths are shifted to the barycentre, by the
header's `BRVCORR` (m/s) or else by the direction, time and site of the observation. Pixels with
bright sky lines are masked.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from astropy import units
from astropy.coordinates import EarthLocation, SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy.utils import iers

from ...runtime.arrays import Bools, Floats
from ...units import SPEED_OF_LIGHT
from .columns import RawSpectrum
from .reader import SpectrumFile, SpectrumReader

RESOLUTION = 55_000.0
"""Nominal resolving power (Mahadevan et al. 2014, Proc. SPIE 9147, 91471G)."""
SITE = (-104.0147, 30.6814, 2026.0)
"""Hobby–Eberly Telescope: east longitude and latitude (degrees), height (m)."""
_SKY_SHARE = 0.02
"""Sky above the median of its order, relative to the star, from which on a pixel is masked."""
_SKY_SIGMA = 5.0
"""Significance (standard deviations) that such a sky line must have."""


def _matches(file: SpectrumFile) -> bool:
    if not file.is_fits:
        return False
    names = _names(file.hdus)
    return {"SCI FLUX", "SCI WAVL"} <= names and bool({"SCI ERROR", "SCI VARIANCE"} & names)


def _read(file: SpectrumFile) -> RawSpectrum:
    """All orders together, in order of wavelength."""
    hdus = file.hdus
    flux, error = _flux_and_error(hdus, "SCI")
    wavelength = _image(hdus, "SCI WAVL")
    order = np.repeat(np.arange(len(flux)), flux.shape[1])
    velocity = _barycentric_correction(hdus[0].header)
    meta: dict[str, Any] = {
        "object": str(hdus[0].header.get("OBJECT", "")).strip(),
        "telescope": "HET/HPF",
    }
    if velocity is not None:
        meta["barycentric_correction"] = velocity
        wavelength = wavelength * (1.0 + velocity / SPEED_OF_LIGHT)
    columns = {
        "wavelength": wavelength.ravel(),
        "flux": flux.ravel(),
        "error": error.ravel(),
        "mask": _bright_sky(hdus, flux).ravel(),
        "order": order,
    }
    by_wavelength = np.argsort(wavelength, axis=None, kind="stable")
    arrays = {name: values[by_wavelength] for name, values in columns.items()}
    return RawSpectrum(arrays, "vacuum", RESOLUTION, meta)


HPF = SpectrumReader("hpf", "a FITS file of HPF", _matches, _read)


def _names(hdus: fits.HDUList) -> set[str]:
    return {hdu.name.upper() for hdu in hdus}


def _image(hdus: fits.HDUList, name: str) -> Floats:
    return np.asarray(hdus[name].data, np.float64)


def _flux_and_error(hdus: fits.HDUList, fibre: str) -> tuple[Floats, Floats]:
    names = _names(hdus)
    flux = _image(hdus, f"{fibre} FLUX")
    if f"{fibre} ERROR" in names:
        return flux, _image(hdus, f"{fibre} ERROR")
    variance = _image(hdus, f"{fibre} VARIANCE")
    return flux, np.sqrt(np.where(variance > 0.0, variance, np.nan))


def _bright_sky(hdus: fits.HDUList, flux: Floats) -> Bools:
    """Whether pixels (orders, pixels) have emission lines of the sky."""
    if "SKY FLUX" not in _names(hdus):
        return np.zeros(flux.shape, bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an order without good pixels
        sky, error = _flux_and_error(hdus, "SKY")
        above = sky - np.nanmedian(sky, axis=1, keepdims=True)
        typical = np.nanmedian(flux, axis=1, keepdims=True)
        return (above > _SKY_SIGMA * error) & (above > _SKY_SHARE * typical)


def _barycentric_correction(header: fits.Header) -> float | None:
    """Barycentric correction (km/s), or None if the header does not determine it."""
    if "BRVCORR" in header:
        return float(header["BRVCORR"]) / 1e3
    if not {"QRA", "QDEC", "DATE-OBS"} <= set(header):
        return None
    star = SkyCoord(header["QRA"], header["QDEC"], unit=(units.hourangle, units.deg))
    longitude, latitude, height = SITE
    site = EarthLocation.from_geodetic(longitude, latitude, height)
    with warnings.catch_warnings(), iers.conf.set_temp("auto_download", False):
        warnings.simplefilter("ignore")  # predicted rotation of the Earth is accurate enough
        time = Time(header["DATE-OBS"], scale="utc", location=site)
        found = star.radial_velocity_correction("barycentric", obstime=time)
    return float(found.to_value(units.km / units.s))
