"""Columns of tables, recognised by their names: the content of a spectrum file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units
from astropy.table import Table
from numpy.typing import NDArray

from ...errors import SpectrumError
from ...runtime.arrays import Floats
from ...runtime.files import parse_meta
from . import quantities
from .raw import RawSpectrum, mask_of, numeric_column
from .reader import SpectrumFile
from .written import COLUMNS, FORMAT

_SYNONYMS = {"resolution": "pixel_resolution"}
"""Other names of columns that are read."""


def known_columns(names: Iterable[str]) -> dict[str, str]:
    """Map columns of `COLUMNS` to their names in a file, which may be synonyms."""
    found = {_SYNONYMS.get(name, name): name for name in names}
    return {name: found[name] for name in COLUMNS if name in found}


def require_columns(found: Iterable[str], path: Path, known: Iterable[str] | None = None) -> None:
    """Raise `SpectrumError` unless wavelength and flux are among the columns of a file.

    `known` are the roles of columns that were recognised, by default the columns themselves.
    """
    names = list(found)
    roles = names if known is None else list(known)
    if missing := [name for name in ("wavelength", "flux") if name not in roles]:
        raise SpectrumError(
            f"{path} has no {' and no '.join(missing)}, it has {', '.join(names) or 'nothing'}; "
            f"expected columns {', '.join(COLUMNS)}, of which the first two are required; name "
            "others with --columns wavelength=NAME,flux=NAME (columns=... in Python)."
        )


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a table: its values, its unit as the file spells it, and how it was guessed."""

    values: NDArray[Any]
    unit: str | None = None
    guess: str = ""


def from_table(table: Table, stated: Mapping[str, Any], file: SpectrumFile) -> RawSpectrum:
    """Return the content of a table, and what its file states."""
    columns = {
        name: Column(plain_column(table[name]), str(table[name].unit or "") or None)
        for name in table.colnames
    }
    return from_columns(columns, stated, file)


def from_columns(
    columns: Mapping[str, Column], stated: Mapping[str, Any], file: SpectrumFile
) -> RawSpectrum:
    """Return the content of columns, in Å and in one unit of flux, and what their file states.

    Columns are recognised by their names (`quantities`), or named by `file.columns`. `stated` may
    have a medium, a resolution, a wavelength_unit and, as JSON, meta.
    """
    names = recognised(columns, file)
    if missing := [name for role, name in file.columns.items() if role not in names]:
        raise SpectrumError(
            f"{file.path} has no column {missing[0]}, it has {', '.join(columns)}; give the name "
            "of one of these, or its number."
        )
    require_columns(columns, file.path, names)
    meta = _unpacked(stated, file.path)
    if meta.get("format") != FORMAT and columns[names["flux"]].unit:
        meta.setdefault("flux_unit", columns[names["flux"]].unit)
    guessed = [columns[name].guess for name in names.values() if columns[name].guess]
    unit = _unit_of(names["wavelength"], columns, meta.pop("wavelength_unit", None), file)
    values = np.asarray(columns[names["wavelength"]].values)
    _require_wavelengths(values, file.path)
    if unit is None:
        unit = quantities.likely_unit(_floats(values, "wavelength"))
        if unit != "Angstrom":
            guessed.append(f"wavelengths without a unit were taken for {unit}, by their values")
    arrays: dict[str, NDArray[Any]] = {"wavelength": in_angstrom(values, unit, file.path)}
    _require_stellar(arrays["wavelength"], unit, file.path)
    names = _with_flags(names, columns, file)
    for name in ("flux", "mask", "continuum", "order", "pixel_resolution"):
        if name in names:
            arrays[name] = np.asarray(columns[names[name]].values)
    _add_good(arrays, names, columns)
    guessed += _add_error(arrays, names, columns, file.path)
    guessed += _unused(columns, names)
    _match_units(arrays, names, columns, file.path)
    if meta.get("format") != FORMAT and "mask" not in file.columns:
        guessed += _judge_mask(arrays, names)
    if meta.get("format") != FORMAT:
        meta |= {"columns": names, "unit": unit}
    medium = meta.pop("medium", None) or _medium_of(names["wavelength"], columns)
    return RawSpectrum(arrays, medium, meta.pop("resolution", None), meta, tuple(guessed))


ROLES = {
    "wavelength": quantities.WAVELENGTH_NAMES,
    "flux": quantities.FLUX_NAMES,
    "error": quantities.ERROR_NAMES,
    "ivar": quantities.IVAR_NAMES,
    "variance": quantities.VARIANCE_NAMES,
    "weight": quantities.WEIGHT_NAMES,
    "mask": quantities.MASK_NAMES,
    "good": quantities.GOOD_NAMES,
    "continuum": quantities.CONTINUUM_NAMES,
    "order": quantities.ORDER_NAMES,
    "pixel_resolution": quantities.RESOLUTION_NAMES,
}
"""Names of columns, in the order of preference, by the role that they have."""
_WITH_MEDIUM = re.compile(r"\s*[(,]\s*(?:in )?(air|vac|vacuum)\)?$", re.IGNORECASE)
"""The medium in a unit: `Angstrom (air)`."""
_ERROR_KINDS = ("error", "ivar", "variance", "weight")
_MASK_KINDS = ("mask", "good")


def recognised(names: Iterable[str], file: SpectrumFile) -> dict[str, str]:
    """Map roles (wavelength, flux, error, ivar, variance, weight, mask, good, ...) to columns.

    Those of `file.columns` are as the user says, the others by their names.
    """
    known = list(names)
    found = {role: quantities.first_named(known, wanted) for role, wanted in ROLES.items()}
    for roles in (_ERROR_KINDS, _MASK_KINDS):  # the user's replaces others of its kind
        if set(roles) & set(file.columns):
            found |= dict.fromkeys(roles)
    for role, name in file.columns.items():
        found[role] = _named(known, name)
    names = {role: name for role, name in found.items() if name is not None}
    return {**names, **_error_of_flux(known, names), **_mask_of_flux(known, names)}


_ERROR_WORDS = {
    "error": {"err", "error", "errors", "sigma", "sig", "unc", "uncertainty", "std"},
    "ivar": {"ivar", "invvar"},
    "variance": {"var", "variance"},
}
"""Words that, with the name of the flux, name its error: `flux_norm_err`."""


def _error_of_flux(known: list[str], names: Mapping[str, str]) -> dict[str, str]:
    """The role of the column whose name is that of the flux and a word for the error; or none."""
    if "flux" not in names or set(_ERROR_KINDS) & set(names):
        return {}
    stems = {quantities.split_name(name)[0]: name for name in known}
    flux = set(quantities.split_name(names["flux"])[0].split("_"))
    for stem, name in stems.items():
        for role, words in _ERROR_WORDS.items():
            others = [word for word in stem.split("_") if word not in words]
            related = bool(flux & set(others)) and "_".join(others) != stem
            of_flux = stems.get("_".join(others), names["flux"]) == names["flux"]
            if related and of_flux:
                return {role: name}
    return {}


def _mask_of_flux(known: list[str], names: Mapping[str, str]) -> dict[str, str]:
    """The mask, if its name is that of the flux and of a mask: `spec_dq`; or none."""
    if "flux" not in names or set(_MASK_KINDS) & set(names):
        return {}
    flux = quantities.split_name(names["flux"])[0]
    found = quantities.first_named(known, [f"{flux}_{word}" for word in quantities.MASK_NAMES])
    return {} if found is None else {"mask": found}


def _named(names: list[str], wanted: str) -> str | None:
    """The name that is wanted, in any case or by its number from 1; None if there is none."""
    by_case = {name.lower(): name for name in reversed(names)}
    by_number = {str(number): name for number, name in enumerate(names, 1)}
    exact = wanted if wanted in names else None
    return exact or by_case.get(wanted.lower()) or by_number.get(wanted)


def in_angstrom(values: Any, unit: object, path: Path) -> Floats:
    """Return wavelengths in Å. Raise `SpectrumError` if they are not numeric or in no length."""
    try:
        return quantities.angstroms(_floats(values, "wavelength"), unit)
    except ValueError as failure:
        raise SpectrumError(
            f"{path} has wavelengths in {str(unit)!r}, expected a unit of length; correct it."
        ) from failure


def _require_wavelengths(values: NDArray[Any], path: Path) -> None:
    """Raise `SpectrumError` for wavelengths that are the numbers of the pixels."""
    if quantities.counts_pixels(values):
        raise SpectrumError(
            f"{path} has numbers of pixels, {np.ravel(values)[0]:.0f} to {np.ravel(values)[-1]:.0f}"
            ", instead of wavelengths; give a file that is calibrated."
        )


def _require_stellar(wavelength: Floats, unit: str, path: Path) -> None:
    """Raise `SpectrumError` for wavelengths (Å) that no spectrum of a star has."""
    known = wavelength[np.isfinite(wavelength) & (wavelength > 0.0)]
    middle = float(np.median(known)) if known.size else quantities.SHORTEST
    if not quantities.SHORTEST <= middle <= quantities.LONGEST:
        raise SpectrumError(
            f"{path} has wavelengths near {middle:.3g} Å, if {unit} is their unit; expected those "
            "of a star. Correct the unit, or give other columns or another unit."
        )


def _floats(values: Any, name: str) -> Floats:
    return numeric_column({name: values}, name)


def _unit_of(
    name: str, columns: Mapping[str, Column], stated: object, file: SpectrumFile
) -> str | None:
    """The unit of the wavelengths, by their column, its name, the file or the user."""
    in_name = quantities.split_name(name)
    logarithmic = "log(Angstrom)" if in_name[0].startswith("log") else None
    if in_name[0].startswith("ln"):
        logarithmic = "ln(Angstrom)"
    of_column = _WITH_MEDIUM.sub("", columns[name].unit or "")
    units_stated = (of_column, _length_in(in_name[1]), stated, file.unit)
    unit = next(
        (str(unit) for unit in units_stated if unit is not None and str(unit).strip()), None
    )
    if unit is None and in_name[0] in quantities.WAVENUMBER_NAMES:
        return "cm-1"
    if logarithmic is None:
        return unit
    return logarithmic if unit is None or "log" not in unit.lower() else unit


def _length_in(words: str | None) -> str | None:
    """The unit among the words in brackets after a name: `(air, nm)`; None if there is none."""
    for word in (words or "", *re.split(r"[,;\s]+", words or "")):
        try:
            quantities.angstroms(1.0, word)
        except ValueError:
            continue
        return word
    return None


def _medium_of(name: str, columns: Mapping[str, Column]) -> str | None:
    """The medium in the name of a column (`wavelength_air`), or None.

    Beside a column of the other medium, a name without one means what is left.
    """
    stems = {quantities.split_name(other)[0] for other in columns}
    stem = quantities.split_name(name)[0]
    words = set(stem.split("_"))
    if (in_unit := _WITH_MEDIUM.search(columns[name].unit or "")) is not None:
        words.add(in_unit[1].lower())
    if stem in quantities.WAVENUMBER_NAMES:
        return "vacuum"
    if {"air", "awav"} & words or {f"{stem}_vac", f"{stem}_vacuum"} & stems:
        return "air"
    return "vacuum" if {"vac", "vacuum"} & words or f"{stem}_air" in stems else None


def _with_flags(
    names: dict[str, str], columns: Mapping[str, Column], file: SpectrumFile
) -> dict[str, str]:
    """The roles, with another column as the mask if that of the first name is zero everywhere."""
    if "mask" not in names or "mask" in file.columns or _flags(columns[names["mask"]]):
        return names
    stems = {quantities.split_name(name)[0]: name for name in columns}
    others = (stems[name] for name in quantities.MASK_NAMES if name in stems)
    mask = next((name for name in others if _flags(columns[name])), names["mask"])
    return {**names, "mask": mask}


def _flags(column: Column) -> bool:
    """Whether a column of numbers flags some pixels, but not all."""
    values = np.asarray(column.values)
    return values.dtype.kind in "biuf" and bool(values.any()) and not bool(values.all())


def _add_good(
    arrays: dict[str, NDArray[Any]], names: Mapping[str, str], columns: Mapping[str, Column]
) -> None:
    if "good" in names and "mask" not in names:
        arrays["mask"] = ~mask_of({"mask": columns[names["good"]].values})


def _add_error(
    arrays: dict[str, NDArray[Any]],
    names: Mapping[str, str],
    columns: Mapping[str, Column],
    path: Path,
) -> list[str]:
    """Add errors, by the first of `_ERROR_KINDS` that there is; return what was guessed."""
    kind = next((kind for kind in _ERROR_KINDS if kind in names), None)
    if kind is None:
        return []
    values = _floats(columns[names[kind]].values, names[kind])
    if kind == "error":
        weight = _floats(columns[names["ivar"]].values, "ivar") if "ivar" in names else None
        unusable = np.zeros(1, bool) if weight is None else ~(weight > 0.0)
        if unusable.shape != values.shape or unusable.all():
            unusable = np.zeros(1, bool)
        arrays["error"] = np.where(unusable, np.nan, values)
        return []
    arrays["error"] = quantities.to_error(values, kind)
    return _scale_weights(arrays, names[kind]) if kind == "weight" else []


def _unused(columns: Mapping[str, Column], names: Mapping[str, str]) -> list[str]:
    """A sentence on columns that could be the error, if none is."""
    if set(_ERROR_KINDS) & set(names):
        return []
    size = np.size(columns[names["flux"]].values)
    left = [
        name
        for name, column in columns.items()
        if name not in names.values()
        and quantities.split_name(name)[0] not in quantities.WAVELENGTH_NAMES
        and np.size(column.values) == size > 0
        and np.asarray(column.values).dtype.kind in "fiu"
    ]
    return [f"no errors: columns not used are {', '.join(left)}"] if left else []


def _scale_weights(arrays: dict[str, NDArray[Any]], name: str) -> list[str]:
    """Turn weights into errors, or into a mask if all that are positive are equal."""
    error = arrays.pop("error")
    unweighted = ~np.isfinite(error)
    arrays["mask"] = mask_of(arrays) | unweighted if "mask" in arrays else unweighted
    good = error[~unweighted]
    if not good.size or np.ptp(good) == 0.0:
        return [f"column {name} was taken for a mask: zero where a pixel is ignored"]
    noise = quantities.per_pixel_noise(
        np.where(unweighted, np.nan, numeric_column(arrays, "flux")).ravel()
    )
    factor = noise / float(np.median(good))
    if not 1.0 / _LIKELY < factor < _LIKELY:
        arrays["error"] = error * factor
        return [f"column {name} was taken for relative weights, scaled to the noise of the flux"]
    arrays["error"] = error
    return [f"column {name} was taken for the inverse variance"]


_MOST_MASKED = 0.9
"""Share of ones in a mask above which they are the good pixels."""
_LIKELY = 3.0
"""Factor to the noise of the flux within which weights are inverse variances."""


def _judge_mask(arrays: dict[str, NDArray[Any]], names: Mapping[str, str]) -> list[str]:
    """Drop a mask that ignores all pixels; return what was guessed.

    A mask that leaves only pixels without a flux or an error marks the good ones.
    """
    if "mask" not in arrays or arrays["mask"].size < 2:
        return []
    name, mask = names.get("mask", "mask"), mask_of(arrays)
    if not mask.all():
        measured = np.isfinite(numeric_column(arrays, "flux"))
        if "error" in arrays and arrays["error"].shape == measured.shape:
            measured &= arrays["error"] > 0.0
        if mask.shape != measured.shape or not (measured & mask).any():
            return []
        flags = bool((arrays["mask"] == mask).all()) or arrays["mask"].dtype.kind not in "biuf"
        if (measured & ~mask).any() and not (flags and mask.mean() > _MOST_MASKED):
            return []
        arrays["mask"] = ~mask
        return [f"column {name} is zero at few pixels: zero was taken for bad"]
    if name.lower() == "mask":
        return []
    del arrays["mask"]
    return [f"column {name} is not zero at any pixel, and was not taken for a mask"]


def _unpacked(stated: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Metadata of a file, together with the JSON object under `meta`."""
    others = {name: value for name, value in stated.items() if name != "meta"}
    if "meta" not in stated:
        return others
    return {**parse_meta(stated["meta"], path, SpectrumError), **others}


def plain_column(column: Any) -> NDArray[Any]:
    """The values of a table's column; an empty cell becomes NaN."""
    if hasattr(column, "mask") and np.any(column.mask):
        if column.dtype.kind in "fiu":
            return np.asarray(column.astype(np.float64).filled(np.nan))
        return np.asarray(column.filled())
    return np.asarray(column)


def _match_units(
    arrays: dict[str, NDArray[Any]],
    names: Mapping[str, str],
    columns: Mapping[str, Column],
    path: Path,
) -> None:
    """Convert error and continuum to the unit of the flux, where both are known."""
    target = quantities.flux_unit(columns[names["flux"]].unit or "")
    for name in ("error", "continuum"):
        if name not in names or not (text := columns[names[name]].unit):
            continue
        unit = quantities.flux_unit(text)
        if unit is None or target is None or not columns[names["flux"]].unit or unit == target:
            continue
        try:
            arrays[name] = numeric_column(arrays, name) * float(unit.to(target))
        except (units.UnitConversionError, TypeError) as failure:
            raise SpectrumError(
                f"{path} has its {name} in {unit} and its flux in {target}; give both in one unit."
            ) from failure
