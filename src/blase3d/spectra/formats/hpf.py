"""Spectra of the Habitable-zone Planet Finder, in the two forms that its pipelines write.

Both have images of 28 orders by 2048 pixels, `Sci Flux` and `Sci Wavl` (Å, vacuum, in the frame of
the observatory), with the errors as `Sci Error` (Goldilocks) or as `Sci Variance` (the optimal
extraction), and the same for the fibre on the sky. Wavelengths are brought to the barycentre: by
the header's `BRVCORR` (m/s) where it is, or else by the direction, the time and the place of the
observation. Pixels where the sky is bright are masked.
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
from numpy.typing import NDArray

from ...runtime.arrays import Bools, Floats
from ...units import SPEED_OF_LIGHT

RESOLUTION = 55_000.0
"""Nominal resolving power (Mahadevan et al. 2014, Proc. SPIE 9147, 91471G)."""
SITE = (-104.0147, 30.6814, 2026.0)
"""The Hobby–Eberly Telescope: east longitude and latitude in degrees, height in m."""
_SKY_SHARE = 0.02
_SKY_SIGMA = 5.0
"""A pixel is masked where the sky stands out of its order by so much of the star's light, and by
so many errors."""


def is_hpf(hdus: fits.HDUList) -> bool:
    """Whether a file is one of the two forms."""
    names = _names(hdus)
    return {"SCI FLUX", "SCI WAVL"} <= names and bool({"SCI ERROR", "SCI VARIANCE"} & names)


def hpf_arrays(hdus: fits.HDUList) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Columns of all orders together in order of wavelength, and what the header says."""
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
    place = np.argsort(wavelength, axis=None, kind="stable")
    columns = {
        "wavelength": wavelength.ravel(),
        "flux": flux.ravel(),
        "error": error.ravel(),
        "mask": _bright_sky(hdus, flux).ravel(),
        "order": order,
    }
    return {name: values[place] for name, values in columns.items()}, meta


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
    """Pixels (orders, pixels) with emission lines of the sky."""
    if "SKY FLUX" not in _names(hdus):
        return np.zeros(flux.shape, bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an order without a pixel
        sky, error = _flux_and_error(hdus, "SKY")
        above = sky - np.nanmedian(sky, axis=1, keepdims=True)
        usual = np.nanmedian(flux, axis=1, keepdims=True)
        return (above > _SKY_SIGMA * error) & (above > _SKY_SHARE * usual)


def _barycentric_correction(header: fits.Header) -> float | None:
    """Velocity (km/s) by which wavelengths are to be stretched, or None if nothing tells."""
    if "BRVCORR" in header:
        return float(header["BRVCORR"]) / 1e3
    if not {"QRA", "QDEC", "DATE-OBS"} <= set(header):
        return None
    star = SkyCoord(header["QRA"], header["QDEC"], unit=(units.hourangle, units.deg))
    longitude, latitude, height = SITE
    place = EarthLocation.from_geodetic(longitude, latitude, height)
    with warnings.catch_warnings(), iers.conf.set_temp("auto_download", False):
        warnings.simplefilter("ignore")  # the rotation of the Earth is known well enough
        time = Time(header["DATE-OBS"], scale="utc", location=place)
        found = star.radial_velocity_correction("barycentric", obstime=time)
    return float(found.to_value(units.km / units.s))
