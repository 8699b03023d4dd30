"""Echelle orders as images (orders, pixels): blaze, frame and telluric model.

Pipelines of precise radial velocities write such images in vacuum wavelengths of the observatory,
with the barycentric correction in the header.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import ArrayLike

from ...runtime.arrays import Bools, Floats
from ...runtime.units import SPEED_OF_LIGHT
from .headers import describe
from .raw import RawSpectrum
from .reader import SpectrumFile

FAINTEST = 0.05
"""Blaze, relative to its maximum in the order, below which pixels are masked: no signal."""
TRANSPARENT = 0.95
"""Transmission of the atmosphere below which pixels that are not corrected for it are masked."""
CORRECTABLE = 0.5
"""Transmission below which pixels that are corrected for it are masked: too uncertain."""


def image(file: SpectrumFile, *names: str) -> Any:
    """Return the image of the first of the HDUs that the file has, or None."""
    hdu = file.named(*names)
    if hdu is None or not hdu.is_image or hdu.data is None:
        return None
    return np.asarray(hdu.data, np.float64)


def has_images(file: SpectrumFile, *names: str) -> bool:
    """Whether a file is a FITS file with images (orders, pixels) of all these names."""
    if not file.is_fits:
        return False
    hdus = [file.named(name) for name in names]
    return all(hdu is not None and hdu.is_image and hdu.header["NAXIS"] == 2 for hdu in hdus)


def is_instrument(file: SpectrumFile, name: str) -> bool:
    """Whether the primary header names this instrument (upper case), as INSTRUME or INSTRMNT."""
    cards = (file.header.get(card) for card in ("INSTRUME", "INSTRMNT", "INSTRUMENT"))
    return any(str(found).upper().startswith(name) for found in cards)


def raw_orders(
    headers: tuple[fits.Header, ...],
    wavelength: Floats,
    flux: Floats,
    error: Floats | None,
    *,
    mask: Bools | None = None,
    blaze: Floats | None = None,
    blazed: bool = False,
    number: ArrayLike | None = None,
    velocity: ArrayLike | None = None,
    resolution: float | None = None,
    medium: str | None = "vacuum",
    **meta: Any,
) -> RawSpectrum:
    """Return the orders of a spectrum, divided by the blaze and in the frame of the barycentre.

    `wavelength` (Å, in the frame of the observatory), `flux`, `error`, `mask` (true: ignore) and
    `blaze` are (orders, pixels). `number` (orders,) is that of each order, `velocity` (km/s) the
    barycentric correction, one number, (orders,) or (orders, pixels); None if unknown. `resolution`
    is the nominal one. `medium` is that of the wavelengths, None if unknown. `blazed`: the blaze is
    in the flux; unless it is given too, `meta["blaze"]` is then "included".
    `meta` is added to what the headers state, the first of them first.
    """
    masked = np.zeros(flux.shape, bool) if mask is None else mask
    if blaze is not None:
        flux, error, dark = deblazed(flux, error, blaze)
        masked = masked | dark
    elif blazed:
        meta["blaze"] = "included"
    meta = {**describe(*headers), "frame": "observatory", **meta}
    if velocity is not None:
        correction = np.asarray(velocity, np.float64)
        correction = correction[:, None] if correction.ndim == 1 else correction
        wavelength = wavelength * (1.0 + correction / SPEED_OF_LIGHT)
        meta.pop("berv", None)
        typical = float(np.nanmedian(correction))
        meta |= {"frame": "barycentric", "barycentric_correction": typical}
    meta = {key: stated for key, stated in meta.items() if stated is not None}
    arrays: dict[str, Any] = {"wavelength": wavelength, "flux": flux, "mask": masked}
    arrays["order"] = np.arange(len(flux)) if number is None else np.asarray(number)
    if error is not None:
        arrays["error"] = error
    guessed = () if resolution is None else (f"resolution {resolution:.0f} is the nominal one",)
    return RawSpectrum(arrays, medium, resolution, meta, guessed)


def deblazed(
    flux: Floats, error: Floats | None, blaze: Floats
) -> tuple[Floats, Floats | None, Bools]:
    """Return flux and error divided by the blaze, all (orders, pixels), and where it is too low.

    The blaze of each order is normalised to its maximum (99th percentile).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an order without a blaze
        top = np.nanpercentile(blaze, 99.0, axis=1, keepdims=True)
    signal = (top > 0.0) & (blaze > FAINTEST * top)
    relative = np.where(signal, blaze, 1.0) / np.where(signal, top, 1.0)
    return flux / relative, None if error is None else error / relative, ~signal


def opaque(transmission: Floats | None, limit: float) -> Bools | None:
    """Return whether a model of the atmosphere's transmission is below a limit; None without one.

    Pixels where the model is not finite are taken for transparent.
    """
    return None if transmission is None else np.asarray(transmission < limit)


def summed(traces: list[dict[str, Floats]]) -> dict[str, Floats]:
    """Return the sum of traces of one spectrum, at the mean of their wavelengths.

    Each has wavelength, flux, variance, and all or none blaze, (orders, pixels) each.
    """
    total = {name: np.sum([trace[name] for trace in traces], axis=0) for name in traces[0]}
    return {**total, "wavelength": total["wavelength"] / len(traces)}
