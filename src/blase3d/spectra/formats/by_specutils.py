"""Spectra in FITS files that the package specutils reads, where no reader here does."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from astropy import units

from ...errors import SpectrumError
from ...runtime.files import first_line
from . import headers
from .columns import COLUMNS, RawSpectrum
from .reader import SpectrumFile, SpectrumReader

_WAVELENGTHS = (500.0, 1e7)
"""Å. Medians outside are no wavelengths of a star, but an axis that was not understood."""


def _read(file: SpectrumFile) -> RawSpectrum:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import specutils  # takes seconds

            found = specutils.Spectrum.read(str(file.path))
        return _converted(found, file)
    except Exception as failure:  # its readers raise many kinds
        raise SpectrumError(
            f"{file.path} has no layout that blase3D or specutils reads ({first_line(failure)}); "
            f"write it as a table with columns {', '.join(COLUMNS)}."
        ) from failure


def _converted(found: Any, file: SpectrumFile) -> RawSpectrum:
    wavelength = np.asarray(found.spectral_axis.to_value(units.AA, units.spectral()))
    low, high = _WAVELENGTHS
    if not low < np.nanmedian(wavelength) < high:
        raise ValueError(f"its wavelengths would be near {np.nanmedian(wavelength):.3g} Å")
    arrays = {"wavelength": wavelength, "flux": np.asarray(found.flux.value)}
    if found.uncertainty is not None:
        from astropy.nddata import StdDevUncertainty

        arrays["error"] = np.asarray(found.uncertainty.represent_as(StdDevUncertainty).array)
    if found.mask is not None:
        arrays["mask"] = np.asarray(found.mask)
    if arrays["flux"].shape != wavelength.shape:
        raise ValueError(f"got spectra of shape {arrays['flux'].shape}, expected one")
    meta = {**headers.describe(file.header), "flux_unit": str(found.flux.unit)}
    return RawSpectrum(arrays, headers.medium(file.header), headers.resolution(file.header), meta)


SPECUTILS = SpectrumReader(
    "specutils",
    "another FITS file that specutils reads",
    lambda file: file.is_fits,
    _read,
)
