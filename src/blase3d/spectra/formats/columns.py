"""The content of a spectrum file, and the columns of those that blase3D writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units
from astropy.table import Table
from numpy.typing import NDArray

from ...errors import SpectrumError
from ...runtime.arrays import Bools, Floats, Integers
from ...runtime.files import first_line, parse_meta, plain, to_angstrom, to_vacuum
from ..spectrum import Spectrum

COLUMNS = ("wavelength", "flux", "error", "mask", "continuum", "order", "pixel_resolution")
"""Names of columns in files, and of the fields of `Spectrum`."""
_SYNONYMS = {"resolution": "pixel_resolution"}
"""Other names of columns that are read."""
FORMAT = "blase3d-spectrum"
VERSION = 2
"""Version of the files that are written. Files of others state none, and are read too."""


@dataclass(frozen=True, eq=False)
class RawSpectrum:
    """The content of a spectrum file, before the medium is settled.

    Attributes
    ----------
    arrays : mapping
        Columns of `COLUMNS` by name, (P,) each: wavelength (Å) and flux, and where the file has
        them error (one standard deviation), mask (true: ignore), continuum, order and
        pixel_resolution.
    medium : str, optional
        "air" or "vacuum"; None if the file does not state it.
    resolution : float or mapping, optional
        Resolving power λ/Δλ, one number, or one for each echelle order by its number in the
        column `order`.
    meta : dict
        Whatever else the file states.
    """

    arrays: Mapping[str, NDArray[Any]]
    medium: object = None
    resolution: Any = None
    meta: dict[str, Any] = field(default_factory=dict)


def spectrum_of(raw: RawSpectrum, medium: str, resolution: float | None) -> Spectrum:
    """Return the spectrum of a file, with wavelengths in vacuum.

    `medium` is that of the wavelengths in the file. `resolution`, unless None, replaces what the
    file states.
    """
    arrays, meta = raw.arrays, {**raw.meta, "medium": "vacuum"}
    if medium == "air":
        meta["converted_from"] = "air"
    order = _orders(arrays)
    if resolution is not None:
        stated, varying = resolution, None
    elif isinstance(raw.resolution, Mapping):
        stated, varying = None, _resolution_of_orders(raw.resolution, order)
    else:
        stated, varying = raw.resolution, _pixel_resolution(arrays)
    return Spectrum(
        to_vacuum(_numbers(arrays, "wavelength"), medium),
        _numbers(arrays, "flux"),
        error=_optional(arrays, "error"),
        mask=_mask(arrays),
        continuum=_optional(arrays, "continuum"),
        resolution=stated,
        order=order,
        pixel_resolution=varying,
        meta=meta,
    )


def known_columns(names: Iterable[str]) -> dict[str, str]:
    """Map columns of `COLUMNS` to their names in a file, which may be synonyms."""
    found = {_SYNONYMS.get(name, name): name for name in names}
    return {name: found[name] for name in COLUMNS if name in found}


def require_columns(found: Iterable[str], path: Path) -> None:
    """Raise `SpectrumError` unless wavelength and flux are among the columns of a file."""
    names = list(found)
    if missing := [name for name in ("wavelength", "flux") if name not in names]:
        raise SpectrumError(
            f"{path} has no {' and no '.join(missing)}, it has {', '.join(names) or 'nothing'}; "
            f"expected columns {', '.join(COLUMNS)}, of which the first two are required."
        )


def _numbers(arrays: Mapping[str, NDArray[Any]], name: str) -> Floats:
    try:
        if np.iscomplexobj(arrays[name]):
            raise TypeError("complex numbers")
        return np.asarray(arrays[name], dtype=np.float64)
    except (TypeError, ValueError) as failure:
        raise SpectrumError(
            f"the {name} is not numeric ({first_line(failure)}); expected one number per pixel."
        ) from failure


def _optional(arrays: Mapping[str, NDArray[Any]], name: str) -> Floats | None:
    return _numbers(arrays, name) if name in arrays else None


def _orders(arrays: Mapping[str, NDArray[Any]]) -> Integers | None:
    found = _optional(arrays, "order")
    if found is None:
        return None
    if not ((np.abs(found) < 2**31) & (found == np.rint(found))).all():
        raise SpectrumError("the column order has fractions; expected integers.")
    return found.astype(np.int64)


def _pixel_resolution(arrays: Mapping[str, NDArray[Any]]) -> Floats | None:
    found = _optional(arrays, "pixel_resolution")
    return None if found is None or found.ndim == 0 else found


def _resolution_of_orders(stated: Mapping[int, float], order: Integers | None) -> Floats:
    """Resolution (P,) of pixels, from that of their echelle orders."""
    if order is None or (missing := set(order.tolist()) - set(stated)):
        wanted = "a column order" if order is None else f"one of order {min(missing)} too"
        raise SpectrumError(f"the resolution is stated for echelle orders; expected {wanted}.")
    return np.array([stated[number] for number in order.tolist()], dtype=np.float64)


def _mask(arrays: Mapping[str, NDArray[Any]]) -> Bools:
    if "mask" not in arrays:
        return np.zeros(np.shape(arrays["wavelength"]), dtype=bool)
    mask = np.asarray(arrays["mask"])
    if mask.dtype.kind in "biuf":
        return mask.astype(bool)
    words = np.char.lower(np.char.strip(mask.astype(str)))
    if not np.isin(words, ("true", "false", "1", "0", "t", "f", "")).all():
        raise SpectrumError("the mask has other words than true and false; write these.")
    return np.isin(words, ("true", "1", "t"))


def from_table(table: Table, stated: dict[str, Any], path: Path) -> RawSpectrum:
    """Return the content of a table, in Å and in one unit of flux, and what its file states."""
    require_columns(table.colnames, path)
    names = known_columns(table.colnames)
    arrays = {name: _plain_column(table[column]) for name, column in names.items()}
    meta = _unpacked(stated, path)
    unit = table["wavelength"].unit or meta.get("wavelength_unit")
    arrays["wavelength"] = to_angstrom(arrays["wavelength"], unit, path, SpectrumError)
    _match_units(table, arrays, path)
    meta.pop("wavelength_unit", None)
    return RawSpectrum(arrays, meta.pop("medium", None), meta.pop("resolution", None), meta)


def _unpacked(stated: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Metadata of a file, together with the JSON object under `meta`."""
    others = {name: value for name, value in stated.items() if name != "meta"}
    if "meta" not in stated:
        return others
    return {**parse_meta(stated["meta"], path, SpectrumError), **others}


def _plain_column(column: Any) -> NDArray[Any]:
    """The values of a table's column; an empty cell becomes NaN."""
    if hasattr(column, "mask") and np.any(column.mask):
        if column.dtype.kind in "fiu":
            return np.asarray(column.astype(np.float64).filled(np.nan))
        return np.asarray(column.filled())
    return np.asarray(column)


def _match_units(table: Table, arrays: dict[str, NDArray[Any]], path: Path) -> None:
    """Convert error and continuum to the unit of the flux, where all have one."""
    for name in ("error", "continuum"):
        unit, target = (table[c].unit if c in arrays else None for c in (name, "flux"))
        if unit is None or target is None or unit == target:
            continue
        try:
            arrays[name] = arrays[name] * float(unit.to(target))
        except (units.UnitConversionError, TypeError, AttributeError) as failure:
            raise SpectrumError(
                f"{path} has its {name} in {unit} and its flux in {target}; give both in one unit."
            ) from failure


def columns_of(spectrum: Spectrum) -> dict[str, NDArray[Any]]:
    """Return the columns of a file of this spectrum."""
    columns = {name: getattr(spectrum, name) for name in COLUMNS}
    return {name: values for name, values in columns.items() if values is not None}


def meta_of(spectrum: Spectrum) -> dict[str, Any]:
    """Return the metadata of a file of this spectrum, as plain values."""
    stated: dict[str, object] = {"medium": "vacuum", "wavelength_unit": "Angstrom"}
    stated |= {"format": FORMAT, "version": VERSION}
    if spectrum.resolution is not None:
        stated["resolution"] = spectrum.resolution
    return dict(plain({**spectrum.meta, **stated}))
