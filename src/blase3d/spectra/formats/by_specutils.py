"""Spectra in FITS files that the package specutils reads, an optional dependency."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from astropy import units

from ...errors import MissingExtra, SpectrumError
from ...runtime.files import first_line
from .columns import COLUMNS, RawSpectrum
from .reader import SpectrumFile, SpectrumReader


def _read(file: SpectrumFile) -> RawSpectrum:
    try:
        import specutils
    except ImportError as failure:
        raise MissingExtra(
            "specutils", "spectra", f"{file.path} has a layout without a reader here; reading it"
        ) from failure
    spectrum_type = getattr(specutils, "Spectrum", None) or specutils.Spectrum1D
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = spectrum_type.read(str(file.path))
        return _converted(found)
    except Exception as failure:  # its readers raise many kinds
        raise SpectrumError(
            f"{file.path} has no layout that blase3D or specutils reads ({first_line(failure)}); "
            f"write it as a table with columns {', '.join(COLUMNS)}."
        ) from failure


def _converted(found: Any) -> RawSpectrum:
    arrays = {
        "wavelength": np.asarray(found.spectral_axis.to_value(units.AA, units.spectral())),
        "flux": np.asarray(found.flux.value),
    }
    if found.uncertainty is not None:
        from astropy.nddata import StdDevUncertainty

        arrays["error"] = np.asarray(found.uncertainty.represent_as(StdDevUncertainty).array)
    if found.mask is not None:
        arrays["mask"] = np.asarray(found.mask)
    if arrays["flux"].ndim != 1:
        raise ValueError(f"got spectra of shape {arrays['flux'].shape}, expected one")
    return RawSpectrum(arrays, None, None, {"flux_unit": str(found.flux.unit)})


SPECUTILS = SpectrumReader(
    "specutils",
    "another FITS file that specutils reads",
    lambda file: file.is_fits,
    _read,
)
