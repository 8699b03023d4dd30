"""Spectra of PypeIt: extracted objects (spec1d), and coadds of one star.

A spec1d file has a table for each object, or for each order of one (`OBJ0500-MSC01-ORDER0056`),
with the columns `OPT_WAVE`, `OPT_COUNTS`, `OPT_COUNTS_IVAR` and `OPT_MASK` (true: good) of an
optimal extraction, `OPT_FLAM` and `OPT_FLAM_IVAR` where the flux is calibrated, and the same with
`BOX`. The header of a table states the frame (VEL_TYPE) and the factor that brought the wavelengths
there (VEL_CORR); without them no correction was made. A coadd is a table `SPECTRUM` with `wave`,
`flux`, `ivar`, `mask` (1: good), and a model `telluric` once the flux is corrected by it. All
wavelengths are in vacuum. Data models: https://pypeit.readthedocs.io/en/stable/out_spec1D.html,
https://pypeit.readthedocs.io/en/stable/out_onespec.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ...runtime.units import SPEED_OF_LIGHT
from .echelle import CORRECTABLE, opaque
from .headers import card, describe, number
from .quantities import to_error
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader
from .survey import table_columns

_KINDS = ("OPT", "BOX")
"""Extractions, the preferred first."""
_FLUXES = ("FLAM", "COUNTS")
"""Calibrated flux, and counts."""
_ORDER = re.compile(r"-ORDER(\d+)$")
_COADD = {"wave", "flux", "ivar", "mask"}
_FRAMES = ("heliocentric", "barycentric")
_DEFAULT_FRAME = "heliocentric"


def _is_pypeit(file: SpectrumFile) -> bool:
    return file.is_fits and bool({"VERSPYP", "PYP_SPEC"} & set(file.header))


def _tables(file: SpectrumFile) -> Iterable[Any]:
    return (hdu for hdu in file.hdus if isinstance(hdu, fits.BinTableHDU))


def _extracted(file: SpectrumFile) -> list[Any]:
    """The tables of extracted spectra."""
    return [hdu for hdu in _tables(file) if _prefixes(hdu)] if _is_pypeit(file) else []


def _prefixes(hdu: Any) -> list[tuple[str, str]]:
    """The extractions of a table, and the name of the flux of each, the preferred first."""
    known = set(hdu.columns.names)
    return [
        (kind, f"{kind}_{flux}")
        for kind in _KINDS
        for flux in _FLUXES
        if {f"{kind}_WAVE", f"{kind}_{flux}", f"{kind}_{flux}_IVAR"} <= known
    ]


def _object(hdu: Any) -> str:
    """The name of an object, which all its orders share."""
    return str(card(hdu.header, "ECH_NAME") or _ORDER.sub("", hdu.name.strip()))


def _read_extracted(file: SpectrumFile) -> RawSpectrum:
    tables = _extracted(file)
    chosen = file.chosen(list(dict.fromkeys(map(_object, tables))))
    found = [hdu for hdu in tables if _object(hdu) == chosen]
    arrays = _stacked([_columns(hdu) for hdu in found])
    if (orders := [_order(hdu) for hdu in found])[0] is not None:
        arrays["order"] = np.array(orders)
    else:
        arrays = {name: values[0] for name, values in arrays.items()}
    return RawSpectrum(arrays, "vacuum", None, _observation(file, found[0]))


def _columns(hdu: Any) -> dict[str, NDArray[Any]]:
    kind, flux = _prefixes(hdu)[0]
    rows = hdu.data
    mask = f"{kind}_MASK"
    good = rows[mask] if mask in rows.names else np.ones(len(rows), bool)
    return {
        "wavelength": rows[f"{kind}_WAVE"],
        "flux": rows[flux],
        "error": to_error(rows[f"{flux}_IVAR"], "ivar"),
        "mask": ~np.asarray(good, bool),
    }


def _stacked(spectra: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Columns (orders, pixels); orders that are shorter than others have no wavelength there."""
    pixels = max(len(one["wavelength"]) for one in spectra)
    found = {name: np.zeros((len(spectra), pixels)) for name in spectra[0]}
    for row, one in enumerate(spectra):
        for name, values in one.items():
            found[name][row, : len(values)] = values
    return found


def _order(hdu: Any) -> int | None:
    """The number of an echelle order; None of a spectrum that is none."""
    stated, by_name = number(hdu.header, "ECH_ORDER"), _ORDER.search(hdu.name.strip())
    if stated is not None:
        return int(stated)
    return None if by_name is None else int(by_name[1])


def _observation(file: SpectrumFile, hdu: Any) -> dict[str, Any]:
    meta = describe(hdu.header, file.header)
    if (name := card(hdu.header, "MASKDEF_OBJNAME")) is not None:
        meta["object"] = str(name)
    frame, factor = str(card(hdu.header, "VEL_TYPE")).lower(), number(hdu.header, "VEL_CORR")
    if frame not in _FRAMES or factor is None:
        return {**meta, "frame": "observatory"}
    velocity = (factor - 1.0) * SPEED_OF_LIGHT
    return {**meta, "frame": frame, "barycentric_correction": velocity}


def _coadded(file: SpectrumFile) -> Any:
    """The table of a coadd, or None."""
    if not _is_pypeit(file):
        return None
    return next((hdu for hdu in _tables(file) if set(hdu.columns.names) >= _COADD), None)


def _read_coadded(file: SpectrumFile) -> RawSpectrum:
    hdu = _coadded(file)
    columns = table_columns(hdu)
    mask = np.asarray(columns["mask"]) == 0
    if (lines := opaque(columns.get("telluric"), CORRECTABLE)) is not None:
        mask |= lines
    arrays = {
        "wavelength": columns["wave"],
        "flux": columns["flux"],
        "error": to_error(columns["ivar"], "ivar"),
        "mask": mask,
    }
    meta = {**describe(hdu.header, file.header), "frame": _DEFAULT_FRAME}
    guess = f"wavelengths are {_DEFAULT_FRAME}, as PypeIt writes them by default"
    return RawSpectrum(arrays, "vacuum", None, meta, (guess,))


PYPEIT = SpectrumReader(
    "pypeit",
    "a spec1d file of PypeIt",
    lambda file: bool(_extracted(file)),
    _read_extracted,
)
PYPEIT_COADD = SpectrumReader(
    "pypeit-coadd",
    "a coadd of PypeIt",
    lambda file: not _extracted(file) and _coadded(file) is not None,
    _read_coadded,
)
