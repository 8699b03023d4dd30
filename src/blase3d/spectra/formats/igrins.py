"""Spectra of IGRINS, as its pipeline PLP writes them.

Images of orders by pixels, in vacuum and in the frame of the observatory. `NAME.spec_a0v.fits` has
the star divided by an A0 star and multiplied by a model of Vega, `SPEC_DIVIDE_A0V`, with
`WAVELENGTH` (µm) and, from version 3 on, `SPEC_DIVIDE_A0V_VARIANCE`. `NAME.spec.fits` has the
extracted flux; its wavelengths are in the HDU `WAVELENGTH`, in `NAME.spec_a0v.fits` or in
`NAME.wave.fits` (nm) beside it. Errors are otherwise in `NAME.variance.fits` or, per resolution
element, in `NAME.sn.fits`. Format: https://github.com/igrins/plp and
https://igrinscontact.github.io/RRISA_reduced.
"""

from __future__ import annotations

import numpy as np

from ...errors import SpectrumError
from ...runtime.arrays import Floats
from .echelle import has_images, image, is_instrument, raw_orders
from .quantities import to_error
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader

RESOLUTION = 45_000.0
"""Nominal resolving power (Park et al. 2014, Proc. SPIE 9147, 91471D)."""
_RESOLUTION_ELEMENT = 40_000.0
"""Resolving power by which the pipeline counts the pixels of a resolution element."""
_FIRST_ORDER = {"H": 98, "K": 71}
"""Echelle order of the first row; numbers grow with the row."""
_BANDS_MEET = 18_500.0
"""Å, between the bands H and K."""
_ENDINGS = (".spec_a0v.fits", ".spec.fits")


def _divided(file: SpectrumFile) -> bool:
    return has_images(file, "SPEC_DIVIDE_A0V", "WAVELENGTH")


def _extracted(file: SpectrumFile) -> bool:
    return (
        file.is_fits
        and is_instrument(file, "IGRINS")
        and file.header["NAXIS"] == 2
        and file.path.name.removesuffix(".gz").endswith(".spec.fits")
    )


def _read(file: SpectrumFile) -> RawSpectrum:
    divided = _divided(file)
    flux = image(file, "SPEC_DIVIDE_A0V") if divided else np.asarray(file.hdus[0].data, np.float64)
    wavelength = _wavelength(file, flux.shape)
    band = "H" if np.nanmedian(wavelength) < _BANDS_MEET else "K"
    return raw_orders(
        (file.header,),
        wavelength,
        flux,
        _error(file, wavelength, flux),
        blazed=not divided,
        number=_FIRST_ORDER[band] + np.arange(len(flux)),
        resolution=RESOLUTION,
    )


def _wavelength(file: SpectrumFile, shape: tuple[int, ...]) -> Floats:
    """Wavelengths (Å) from the file, or from one beside it."""
    inside = image(file, "WAVELENGTH")
    if inside is not None:
        return 1e4 * inside
    for ending, name, scale in ((".spec_a0v.fits", "WAVELENGTH", 1e4), (".wave.fits", None, 10.0)):
        found = _beside(file, ending, shape, name)
        if found is not None:
            return scale * found
    raise SpectrumError(
        f"{file.path} has no wavelengths; put {_stem(file)}.spec_a0v.fits or "
        f"{_stem(file)}.wave.fits of the pipeline beside it."
    )


def _error(file: SpectrumFile, wavelength: Floats, flux: Floats) -> Floats | None:
    variance = image(file, "SPEC_DIVIDE_A0V_VARIANCE")
    if variance is not None:
        return to_error(variance, "variance")
    variance = None if _divided(file) else _beside(file, ".variance.fits", flux.shape)
    if variance is not None:
        return to_error(variance, "variance")
    ratio = _beside(file, ".sn.fits", flux.shape)
    if ratio is None:
        return None
    pixels = wavelength / _RESOLUTION_ELEMENT / np.gradient(wavelength, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.abs(flux) * np.sqrt(np.abs(pixels)) / ratio)


def _beside(
    file: SpectrumFile, ending: str, shape: tuple[int, ...], name: str | None = None
) -> Floats | None:
    """The image of another file of this spectrum: the HDU `name`, or the first; or None."""
    path = file.path.with_name(_stem(file) + ending)
    if not path.is_file():
        return None
    with SpectrumFile(path) as other:
        found = image(other, name) if name else np.asarray(other.hdus[0].data, np.float64)
    return found if found is not None and found.shape == shape else None


def _stem(file: SpectrumFile) -> str:
    name = file.path.name.removesuffix(".gz")
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name


IGRINS = SpectrumReader(
    "igrins",
    "a FITS file of IGRINS (spec_a0v.fits or spec.fits)",
    lambda file: _divided(file) or _extracted(file),
    _read,
)
