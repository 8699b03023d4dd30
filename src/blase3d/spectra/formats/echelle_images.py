"""Echelle orders as images (orders, pixels) that do not say in their names what they are.

- HIRES of the California Planet Search (r, b and i chips: `rj76.1.fits`): flux, error and
  wavelength, without names (read_hires_fits of SpecMatch-Emp; Yee et al. 2017, ApJ 836, 77).
- HIRES by MAKEE, as in the Keck Observatory Archive (`Flux-023.fits`): flux, with the polynomials
  of the wavelengths in `WV_0_01`, `WV_4_01`, ...; errors in `Err-023.fits` beside it. Reference:
  https://sites.astro.caltech.edu/~tb/makee/Waves/index.html
- CHIRON (`achi120606.1124.fits`): one image (orders, pixels, 2) of wavelengths and flux, with the
  blaze, in the frame of the observatory (Tokovinin et al. 2013, PASP 125, 1336).
- Flux alone, as of the Automated Planet Finder, with the wavelengths in another file: the one that
  the user names, or the only one beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ...errors import SpectrumError
from ...runtime.arrays import Floats
from . import headers, quantities
from .companions import (
    are_wavelengths,
    image_beside,
    wavelengths_beside,
    wavelengths_in,
)
from .echelle import deblazed, raw_orders
from .fits import FITS_IMAGE
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader

_WAVELENGTHS = (300.0, 1e6)
"""Å or nm; medians outside are of no wavelengths of a file that does not say what they are."""
_MOST_IMAGES = 8
_FEWEST_PIXELS = 100
"""Of an order."""
_NAMES = {
    "wavelength": quantities.WAVELENGTH_NAMES,
    "flux": quantities.FLUX_NAMES,
    "error": quantities.ERROR_NAMES,
    "ivar": quantities.IVAR_NAMES,
    "variance": quantities.VARIANCE_NAMES,
    "mask": quantities.MASK_NAMES,
    "blaze": ("blaze",),
}
"""Names of extensions (EXTNAME) by role."""


def _images(file: SpectrumFile) -> list[Any]:
    """The first image of orders, and those of the same shape."""
    found = [hdu for hdu in file.hdus if hdu.is_image and len(hdu.shape) == 2]
    return [hdu for hdu in found if hdu.shape == found[0].shape]


def _role(hdu: Any) -> str | None:
    """The role of an image by its name; empty if it has no name, None for another one."""
    name = hdu.name.strip().lower().removeprefix("primary")
    if not name:
        return ""
    return next((role for role, names in _NAMES.items() if name in names), None)


def _of_wavelengths(images: list[Any]) -> Any:
    """The only image that has wavelengths, or None."""
    unnamed = [hdu for hdu in images if _role(hdu) in ("", "wavelength")]
    found = [hdu for hdu in unnamed if _is_wavelength(hdu.data)]
    return found[0] if len(found) == 1 else None


def _is_wavelength(image: Any) -> bool:
    low, high = _WAVELENGTHS
    return are_wavelengths(image) and low <= float(np.nanmedian(image)) <= high


def _is_triple(file: SpectrumFile) -> bool:
    if not file.is_fits:
        return False
    images = _images(file)
    if not 2 <= len(images) <= _MOST_IMAGES or images[0].shape[1] < _FEWEST_PIXELS:
        return False
    known = all(_role(hdu) is not None for hdu in images)
    return known and _of_wavelengths(images) is not None


def _read_triple(file: SpectrumFile) -> RawSpectrum:
    images = _images(file)
    wavelength = _of_wavelengths(images)
    values = np.asarray(wavelength.data, np.float64)
    unit = str(headers.card(wavelength.header, "BUNIT") or quantities.likely_unit(values))
    arrays = _planes([hdu for hdu in images if hdu is not wavelength])
    arrays["wavelength"] = quantities.angstroms(values, unit)
    header = file.header
    meta = headers.describe(header)
    return RawSpectrum(arrays, headers.medium(header), headers.resolution(header), meta)


def _planes(images: list[Any]) -> dict[str, NDArray[Any]]:
    """Flux and error, which are the first images unless their names say something else."""
    by_role: dict[str, Any] = {}
    for hdu in images:
        unnamed = (role for role in ("flux", "error") if role not in by_role)
        by_role.setdefault(_role(hdu) or next(unnamed, "unknown"), hdu)
    arrays = {role: np.asarray(hdu.data, np.float64) for role, hdu in by_role.items()}
    for kind in ("ivar", "variance"):
        if kind in arrays:
            arrays["error"] = quantities.to_error(arrays[kind], kind)
    if "blaze" in arrays:
        flux, error, dark = deblazed(arrays["flux"], arrays.get("error"), arrays["blaze"])
        arrays |= {"flux": flux, "mask": dark | (arrays.get("mask", 0.0) != 0.0)}
        arrays |= {} if error is None else {"error": error}
    return {role: arrays[role] for role in ("flux", "error", "mask") if role in arrays}


def _is_cube(file: SpectrumFile) -> bool:
    if not file.is_fits or not file.hdus[0].is_image:
        return False
    shape = file.hdus[0].shape
    if len(shape) != 3 or shape[1] < _FEWEST_PIXELS or shape[2] != 2:
        return False
    return _is_wavelength(np.asarray(file.hdus[0].data)[..., 0])


def _read_cube(file: SpectrumFile) -> RawSpectrum:
    wavelength, flux = np.moveaxis(np.asarray(file.hdus[0].data, np.float64), 2, 0)
    unit = quantities.likely_unit(wavelength)
    return raw_orders(
        (file.header,),
        quantities.angstroms(wavelength, unit),
        flux,
        None,
        blazed=True,
        medium=headers.medium(file.header),
    )


def _is_makee(file: SpectrumFile) -> bool:
    return file.is_fits and file.header.get("NAXIS") == 2 and "WV_0_01" in file.header


def _read_makee(file: SpectrumFile) -> RawSpectrum:
    flux = np.asarray(file.hdus[0].data, np.float64)
    meta = headers.describe(file.header)
    guessed = []
    if "frame" not in meta:
        meta["frame"] = "heliocentric"
        guessed.append("wavelengths are heliocentric, as MAKEE writes them by default")
    arrays: dict[str, NDArray[Any]] = {
        "wavelength": _by_polynomials(file.header, flux.shape),
        "flux": flux,
    }
    name = file.path.name
    for one, other in (("Flux", "Err"), ("flux", "err")):
        error = image_beside(file, name.replace(one, other), flux.shape) if one in name else None
        if error is not None:
            arrays["error"] = error
    return RawSpectrum(arrays, headers.medium(file.header), None, meta, tuple(guessed))


def _by_polynomials(header: fits.Header, shape: tuple[int, ...]) -> Floats:
    """Wavelengths (orders, pixels); the polynomials' argument is the column of the detector."""
    column = header.get("CRVAL1", 0.0) + np.arange(shape[1]) * header.get("CDELT1", 1.0)
    numbers = [
        [float(one) for card in ("WV_0_", "WV_4_") for one in header[f"{card}{row:02d}"].split()]
        for row in range(1, shape[0] + 1)
    ]
    return np.asarray(np.polynomial.polynomial.polyval(column, np.transpose(numbers)))


def _is_flux(file: SpectrumFile) -> bool:
    """Whether wavelengths are in another file: the user says so, or this one has none."""
    if not file.is_fits or not file.hdus[0].is_image or len(file.hdus[0].shape) == 0:
        return False
    if file.wavelengths is not None:
        return True
    shape = file.hdus[0].shape
    return len(shape) == 2 and shape[1] >= _FEWEST_PIXELS and not FITS_IMAGE.matches(file)


def _read_flux(file: SpectrumFile) -> RawSpectrum:
    header = file.header
    flux = np.asarray(file.hdus[0].data, np.float64)
    name, wavelength = _wavelengths_of(file, flux)
    unit = quantities.likely_unit(wavelength)
    arrays = {"wavelength": quantities.angstroms(wavelength, unit), "flux": flux}
    meta = {**headers.describe(header), "notes": [f"wavelengths are those in {name}"]}
    return RawSpectrum(arrays, headers.medium(header), headers.resolution(header), meta)


def _wavelengths_of(file: SpectrumFile, flux: Floats) -> tuple[str, Floats]:
    """Name and wavelengths of another file.

    Raise `SpectrumError` if none, or several, lie beside this one.
    """
    if file.wavelengths is not None:
        return file.wavelengths.name, wavelengths_in(file.wavelengths, flux.shape)
    if _is_wavelength(flux):
        raise SpectrumError(
            f"{file.path} is an image of wavelengths, expected one of flux; give that file."
        )
    found = wavelengths_beside(file, flux.shape)
    if found is None:
        shape = " x ".join(map(str, flux.shape))
        raise SpectrumError(
            f"{file.path} is an image of {shape} pixels without wavelengths, and no single file "
            "beside it has them; name the file with --wavelengths FILE (wavelengths=... in Python)."
        )
    return found


ECHELLE_IMAGES = SpectrumReader(
    "echelle-images",
    "images of flux, error and wavelength of echelle orders, as of HIRES",
    _is_triple,
    _read_triple,
)
ECHELLE_CUBE = SpectrumReader(
    "echelle-cube",
    "an image of wavelengths and flux of echelle orders, as of CHIRON",
    _is_cube,
    _read_cube,
)
MAKEE = SpectrumReader("makee", "echelle orders of HIRES by MAKEE", _is_makee, _read_makee)
ORDERS_OF_FLUX = SpectrumReader(
    "echelle-flux",
    "an image of echelle orders, as of APF, with a file of wavelengths beside it",
    _is_flux,
    _read_flux,
)
