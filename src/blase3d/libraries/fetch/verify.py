"""Checks of the files of PHOENIX: complete, of the right shape, finite, with the right labels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from ...errors import GridError
from ...runtime.arrays import Floats
from ...runtime.files import first_line
from ...spectra.spectrum import check_increasing
from ..readers.phoenix import HEADER_KEYS, HEADER_TOLERANCE, WAVE_FILE
from .listing import Labels


@contextmanager
def _whole_fits(path: Path) -> Iterator[Any]:
    """The HDUs of a FITS file of exactly the size that they state."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what astropy warns of is checked here
            with open(path, "rb") as stream, fits.open(stream, memmap=False) as hdus:
                last = hdus.fileinfo(len(hdus) - 1)
                end, size = last["datLoc"] + last["datSpan"], path.stat().st_size
                if end != size:
                    raise ValueError(f"its HDUs end at byte {end}, the file at {size}")
                yield hdus
    except GridError:
        raise
    except Exception as failure:  # astropy raises many kinds on damaged files
        raise GridError(f"it is no whole FITS file ({first_line(failure)})") from failure


def read_wavelengths(path: Path) -> Floats:
    """Return the wavelengths (P,) in Å of the library's wavelength file. Raise `GridError`."""
    with _whole_fits(path) as hdus:
        values = np.asarray(hdus[0].data, dtype=np.float64)
    if values.ndim != 1:
        raise GridError(f"its data have shape {values.shape}, expected (P,)")
    check_increasing(values, GridError, f"the wavelengths of {WAVE_FILE}")
    return values


def check_spectrum(path: Path, labels: Labels, count: int) -> None:
    """Raise `GridError` unless a file is a finite spectrum of `count` pixels with these labels."""
    with _whole_fits(path) as hdus:
        header, flux = hdus[0].header, hdus[0].data
        if flux is None or flux.shape != (count,):
            shape = None if flux is None else flux.shape
            raise GridError(f"its flux has shape {shape}, expected ({count},) as in {WAVE_FILE}")
        if wrong := int((~np.isfinite(flux)).sum()):
            raise GridError(f"{wrong} pixels of its flux are not finite")
        if not (flux > 0).any():
            raise GridError("its flux is nowhere positive")
        for name, value in labels.items():
            stated = header.get(HEADER_KEYS[name], value)
            if not abs(float(stated) - value) <= HEADER_TOLERANCE[name]:
                raise GridError(f"its header says {name}={stated}, its name {name}={value:g}")
