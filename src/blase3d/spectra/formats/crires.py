"""Spectra of CRIRES+, as its pipeline (cr2res) extracts them.

There is a table for each detector, `CHIP1.INT1` to `CHIP3.INT1`, with columns for each order and
trace on the slit: `02_01_SPEC`, `02_01_ERR` and `02_01_WL` (nm) are those of order 2 and trace 1.
Wavelengths are in vacuum, in the frame of the observatory. The pipeline's products for the archive
state so, and the resolving power of the slit; they are read as all data products of ESO (`eso.py`).
Code of the pipeline: https://www.eso.org/sci/software/pipelines/cr2res/cr2res-pipe-recipes.html
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from astropy.io import fits

from ...runtime.arrays import Bools
from .echelle import raw_orders
from .headers import card
from .quantities import angstroms
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader

RESOLUTION = {"w_0.2": 86_000.0, "w_0.4": 43_000.0}
"""Nominal resolving power of the slits, as the pipeline writes it into products for the archive."""
_DETECTOR = re.compile(r"CHIP(\d)\.INT1")
_COLUMN = re.compile(r"(\d\d)_(\d\d)_SPEC")
_PIXELS, _EDGE = 2048, 5
"""Pixels of a detector, and those at either edge that the pipeline calls bad."""


def _spectra(file: SpectrumFile) -> list[tuple[Any, int, int, int]]:
    """Table, detector, order and trace of each spectrum."""
    found = []
    for hdu in file.hdus if file.is_fits else ():
        detector = _DETECTOR.fullmatch(hdu.name.strip())
        if detector is None or not isinstance(hdu, fits.BinTableHDU):
            continue
        columns = (_COLUMN.fullmatch(name) for name in hdu.columns.names)
        found += [(hdu, int(detector[1]), int(one[1]), int(one[2])) for one in columns if one]
    return found


def piece_numbers(order: Any, detector: Any) -> Any:
    """Return the numbers of the parts of orders on detectors: 23 for order 2 on detector 3."""
    return 10 * order + detector


def _read(file: SpectrumFile) -> RawSpectrum:
    spectra = _spectra(file)
    trace = file.chosen([str(one) for one in sorted({trace for *_, trace in spectra})])
    pieces = [piece for piece in spectra if str(piece[3]) == trace]
    wavelength, flux, error = (
        np.stack([_values(piece, name) for piece in pieces]) for name in ("WL", "SPEC", "ERR")
    )
    resolution = RESOLUTION.get(str(card(file.header, "ESO INS SLIT1 ID")))
    return raw_orders(
        (file.header,),
        angstroms(wavelength, "nm"),
        flux,
        error,
        mask=np.broadcast_to(_at_edges(flux.shape[1]), flux.shape),
        number=[piece_numbers(order, detector) for _, detector, order, _ in pieces],
        resolution=resolution,
    )


def _values(piece: tuple[Any, int, int, int], name: str) -> Any:
    hdu, _, order, trace = piece
    return np.asarray(hdu.data[f"{order:02d}_{trace:02d}_{name}"], np.float64)


def _at_edges(pixels: int) -> Bools:
    """Whether pixels are at an edge of the detector; none of a part of it."""
    pixel = np.arange(pixels)
    return (pixels == _PIXELS) & ((pixel < _EDGE) | (pixel >= _PIXELS - _EDGE))


CRIRES = SpectrumReader(
    "crires", "extracted spectra of CRIRES+ (cr2res)", lambda file: bool(_spectra(file)), _read
)
