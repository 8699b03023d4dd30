"""Spectra of NRES, as the pipeline of Las Cumbres Observatory (BANZAI-NRES) writes them.

A table `SPECTRUM` has a row for each order of each fibre that has light: `fiber`, `order`,
`wavelength` (Å, in the frame of the observatory; zero where there is none), `flux`, `uncertainty`,
`blaze` and `mask`. `OBJECTS` in the header says what each fibre has, as in `HD 1&thar&none`;
`BARYCORR` is the barycentric correction in m/s. Reference: https://banzai-nres.readthedocs.io
"""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ...errors import SpectrumError
from ...runtime.arrays import Floats
from . import headers
from .echelle import raw_orders
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader

_COLUMNS = {"fiber", "order", "wavelength", "flux", "uncertainty", "blaze"}
_LAMPS = ("thar", "none", "wave", "")
"""Names of lamps, and of nothing."""


def _table(file: SpectrumFile) -> Any:
    """The table of the spectra, or None."""
    if not file.is_fits:
        return None
    hdu = file.named("SPECTRUM")
    if not isinstance(hdu, fits.BinTableHDU):
        return None
    return hdu if {name.lower() for name in hdu.columns.names} >= _COLUMNS else None


def _on_star(header: fits.Header, fibres: NDArray[Any], file: SpectrumFile) -> int:
    """The fibre on the star, of those in the table."""
    objects = str(headers.card(header, "OBJECTS") or "").lower().split("&")
    stars = [k for k, one in enumerate(objects) if one.strip() not in _LAMPS]
    found = [int(one) for one in np.unique(fibres) if not stars or one in stars]
    if len(found) != 1:
        raise SpectrumError(
            f"{file.path} has {len(np.unique(fibres))} fibres, and OBJECTS "
            f"{headers.card(header, 'OBJECTS')!r}, expected one fibre on a star; write its orders "
            "to a file."
        )
    return found[0]


def _read(file: SpectrumFile) -> RawSpectrum:
    hdu, header = _table(file), file.header
    fibres = np.asarray(hdu.data["fiber"])
    rows = fibres == _on_star(header, fibres, file)

    def column(name: str) -> Floats:
        return np.asarray(hdu.data[name][rows], np.float64)

    velocity = headers.number(header, "BARYCORR")
    masked = "mask" in {name.lower() for name in hdu.columns.names}
    return raw_orders(
        (header, hdu.header),
        column("wavelength"),
        column("flux"),
        column("uncertainty"),
        mask=column("mask") != 0.0 if masked else None,
        blaze=column("blaze"),
        number=column("order").astype(int),
        velocity=None if velocity is None else velocity / 1000.0,
        medium=headers.medium(header),
    )


NRES = SpectrumReader(
    "nres", "a table of NRES (BANZAI-NRES)", lambda file: _table(file) is not None, _read
)
