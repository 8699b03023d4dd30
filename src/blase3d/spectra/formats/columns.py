"""Columns of a spectrum, as files of every kind hold them."""

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

COLUMNS = ("wavelength", "flux", "error", "mask", "continuum", "order", "resolution")
FORMAT = "blase3d-spectrum"
VERSION = 1
"""Of the form of what is written; a file of others, which states none, is read too."""
_FIELDS = {"resolution": "resolving"}
"""Names of columns in `Spectrum`, where they are others."""


@dataclass(frozen=True, eq=False)
class Columns:
    """What a file holds, before its medium is settled."""

    arrays: Mapping[str, NDArray[Any]]
    medium: object = None
    resolution: Any = None
    meta: dict[str, Any] = field(default_factory=dict)


def spectrum_of(columns: Columns, medium: str, resolution: float | None) -> Spectrum:
    """The spectrum whose wavelengths are in a medium; a resolution goes before what is stated."""
    arrays, meta = columns.arrays, {**columns.meta, "medium": "vacuum"}
    if medium == "air":
        meta["converted_from"] = "air"
    return Spectrum(
        to_vacuum(_numbers(arrays, "wavelength"), medium),
        _numbers(arrays, "flux"),
        error=_optional(arrays, "error"),
        mask=_mask(arrays),
        continuum=_optional(arrays, "continuum"),
        resolution=columns.resolution if resolution is None else resolution,
        order=_orders(arrays),
        # a resolution that is asked for holds at every pixel
        resolving=None if resolution is not None else _resolving(arrays),
        meta=meta,
    )


def require_columns(found: Iterable[str], path: Path) -> None:
    """SpectrumError unless there are wavelengths and fluxes among the columns of a file."""
    names = list(found)
    if missing := [name for name in ("wavelength", "flux") if name not in names]:
        raise SpectrumError(
            f"{path} has no {' and no '.join(missing)}, it has {', '.join(names) or 'nothing'}: "
            f"name its columns {', '.join(COLUMNS)} (the first two are needed)."
        )


def _numbers(arrays: Mapping[str, NDArray[Any]], name: str) -> Floats:
    try:
        if np.iscomplexobj(arrays[name]):
            raise TypeError("complex numbers")
        return np.asarray(arrays[name], dtype=np.float64)
    except (TypeError, ValueError) as failure:
        raise SpectrumError(
            f"the {name} is not numeric ({first_line(failure)}): give one number a pixel."
        ) from failure


def _optional(arrays: Mapping[str, NDArray[Any]], name: str) -> Floats | None:
    return _numbers(arrays, name) if name in arrays else None


def _orders(arrays: Mapping[str, NDArray[Any]]) -> Integers | None:
    found = _optional(arrays, "order")
    if found is None:
        return None
    if not ((np.abs(found) < 2**31) & (found == np.rint(found))).all():
        raise SpectrumError("the orders are no whole numbers: number them.")
    return found.astype(np.int64)


def _resolving(arrays: Mapping[str, NDArray[Any]]) -> Floats | None:
    found = _optional(arrays, "resolution")
    return None if found is None or found.ndim == 0 else found


def _mask(arrays: Mapping[str, NDArray[Any]]) -> Bools:
    if "mask" not in arrays:
        return np.zeros(np.shape(arrays["wavelength"]), dtype=bool)
    mask = np.asarray(arrays["mask"])
    if mask.dtype.kind in "biuf":
        return mask.astype(bool)
    words = np.char.lower(np.char.strip(mask.astype(str)))
    if not np.isin(words, ("true", "false", "1", "0", "t", "f", "")).all():
        raise SpectrumError("the mask holds other words than true and false: write these.")
    return np.isin(words, ("true", "1", "t"))


def from_table(table: Table, stated: dict[str, Any], path: Path) -> Columns:
    """The columns of a table, in Å and in one unit of flux, with what its file states."""
    require_columns(table.colnames, path)
    arrays = {name: _plain_column(table[name]) for name in COLUMNS if name in table.colnames}
    meta = _unpacked(stated, path)
    unit = table["wavelength"].unit or meta.get("wavelength_unit")
    arrays["wavelength"] = to_angstrom(arrays["wavelength"], unit, path, SpectrumError)
    _match_units(table, arrays, path)
    meta.pop("wavelength_unit", None)
    return Columns(arrays, meta.pop("medium", None), meta.pop("resolution", None), meta)


def _unpacked(stated: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What a file states, with the JSON text under `meta` taken apart."""
    rest = {name: value for name, value in stated.items() if name != "meta"}
    if "meta" not in stated:
        return rest
    return {**parse_meta(stated["meta"], path, SpectrumError), **rest}


def _plain_column(column: Any) -> NDArray[Any]:
    """The values of a table's column; an empty cell is not a number."""
    if hasattr(column, "mask") and np.any(column.mask):
        if column.dtype.kind in "fiu":
            return np.asarray(column.astype(np.float64).filled(np.nan))
        return np.asarray(column.filled())
    return np.asarray(column)


def _match_units(table: Table, arrays: dict[str, NDArray[Any]], path: Path) -> None:
    """Bring error and continuum to the unit of the flux, where all have one."""
    for name in ("error", "continuum"):
        unit, target = (table[c].unit if c in arrays else None for c in (name, "flux"))
        if unit is None or target is None or unit == target:
            continue
        try:
            arrays[name] = arrays[name] * float(unit.to(target))
        except (units.UnitConversionError, TypeError, AttributeError) as failure:
            raise SpectrumError(
                f"{path} has its {name} in {unit} and its flux in {target}: give both in one unit."
            ) from failure


def columns_of(spectrum: Spectrum) -> dict[str, NDArray[Any]]:
    """The columns that a file of this spectrum has."""
    columns = {name: getattr(spectrum, _FIELDS.get(name, name)) for name in COLUMNS}
    return {name: values for name, values in columns.items() if values is not None}


def meta_of(spectrum: Spectrum) -> dict[str, Any]:
    """What a file of this spectrum states, as plain values."""
    stated: dict[str, object] = {"medium": "vacuum", "wavelength_unit": "Angstrom"}
    stated |= {"format": FORMAT, "version": VERSION}
    if spectrum.resolution is not None:
        stated["resolution"] = spectrum.resolution
    return dict(plain({**spectrum.meta, **stated}))
