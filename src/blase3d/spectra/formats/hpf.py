"""Spectra of the Habitable-zone Planet Finder, in the two formats that its pipelines write.

Both have images of 28 orders by 2048 pixels, `Sci Flux` and `Sci Wavl` (Å, vacuum, in the frame of
the observatory), with the errors as `Sci Error` (Goldilocks) or `Sci Variance` (the optimal
extraction), and the same for the sky fibre. Wavelengths are shifted to the barycentre, by the
header's `BRVCORR` (m/s) or else by the direction, time and site of the observation. Pixels with
bright sky lines are masked. The blaze is in the flux. Formats: Kaplan et al. 2019, ASP Conf. Ser.
523, 567 (optimal extraction); https://github.com/grzeimann/Goldilocks_Documentation.
"""

from __future__ import annotations

import warnings

import numpy as np
from astropy import units
from astropy.io import fits

from ...runtime.arrays import Bools, Floats
from .echelle import has_images, image, raw_orders
from .headers import card
from .quantities import to_error
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader

RESOLUTION = 55_000.0
"""Nominal resolving power (Mahadevan et al. 2014, Proc. SPIE 9147, 91471G)."""
SITE = (-104.0147, 30.6814, 2026.0)
"""Hobby–Eberly Telescope: east longitude and latitude (degrees), height (m)."""
_SPREADS = {"ERROR": "error", "VARIANCE": "variance"}
"""HDUs of the errors, by the pipeline, and their kind."""
_SKY_SHARE = 0.02
"""Sky above the median of its order, relative to the star, from which on a pixel is masked."""
_SKY_SIGMA = 5.0
"""Significance (standard deviations) that such a sky line must have."""


def _matches(file: SpectrumFile) -> bool:
    return any(has_images(file, "SCI FLUX", "SCI WAVL", f"SCI {spread}") for spread in _SPREADS)


def _read(file: SpectrumFile) -> RawSpectrum:
    flux, error = _flux_and_error(file, "SCI")
    raw = raw_orders(
        (file.header,),
        image(file, "SCI WAVL"),
        flux,
        error,
        mask=_bright_sky(file, flux),
        blazed=True,
        velocity=_barycentric_correction(file.header),
        resolution=RESOLUTION,
    )
    for key, name in (("ra", "QRA"), ("dec", "QDEC")):  # RA of the telescope is in hours
        if stated := card(file.header, name):
            raw.meta[key] = stated
    raw.meta.setdefault("telescope", "HET")
    return raw


HPF = SpectrumReader("hpf", "a FITS file of HPF", _matches, _read)


def _flux_and_error(file: SpectrumFile, fibre: str) -> tuple[Floats, Floats]:
    spread = next(name for name in _SPREADS if file.named(f"{fibre} {name}") is not None)
    error = to_error(image(file, f"{fibre} {spread}"), _SPREADS[spread])
    return image(file, f"{fibre} FLUX"), error


def _bright_sky(file: SpectrumFile, flux: Floats) -> Bools:
    """Whether pixels (orders, pixels) have emission lines of the sky."""
    if file.named("SKY FLUX") is None:
        return np.zeros(flux.shape, bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an order without good pixels
        sky, error = _flux_and_error(file, "SKY")
        above = sky - np.nanmedian(sky, axis=1, keepdims=True)
        typical = np.nanmedian(flux, axis=1, keepdims=True)
        return (above > _SKY_SIGMA * error) & (above > _SKY_SHARE * typical)


def _barycentric_correction(header: fits.Header) -> float | None:
    """Barycentric correction (km/s), or None if the header does not determine it."""
    if "BRVCORR" in header:
        return float(header["BRVCORR"]) / 1e3
    if not {"QRA", "QDEC", "DATE-OBS"} <= set(header):
        return None
    # imported here: half a second that no other file needs
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    star = SkyCoord(header["QRA"], header["QDEC"], unit=(units.hourangle, units.deg))
    longitude, latitude, height = SITE
    site = EarthLocation.from_geodetic(longitude, latitude, height)
    with warnings.catch_warnings(), iers.conf.set_temp("auto_download", False):
        warnings.simplefilter("ignore")  # predicted rotation of the Earth is accurate enough
        time = Time(header["DATE-OBS"], scale="utc", location=site)
        found = star.radial_velocity_correction("barycentric", obstime=time)
    return float(found.to_value(units.km / units.s))
