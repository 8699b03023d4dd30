"""Spectra in FITS files that the package specutils reads, where no reader here does."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import SpectrumError
from ...runtime.files import first_line
from . import headers, quantities
from .in_memory import content_of
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader
from .written import COLUMNS

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
    raw = content_of(found)
    middle = np.nanmedian(raw.arrays["wavelength"])
    low, high = _WAVELENGTHS
    if not low < middle < high:
        raise ValueError(f"its wavelengths would be near {middle:.3g} Å")
    if quantities.counts_pixels(found.spectral_axis.value):
        raise ValueError("it has numbers of pixels instead of wavelengths")
    header = file.header
    return replace(
        raw,
        medium=headers.medium(header) or raw.medium,
        resolution=headers.resolution(header),
        meta={**headers.describe(header), "flux_unit": str(found.flux.unit)},
    )


SPECUTILS = SpectrumReader(
    "specutils",
    "another FITS file that specutils reads",
    lambda file: file.is_fits,
    _read,
)
