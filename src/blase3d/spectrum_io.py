"""Spectra in files: .npz, .ecsv, .csv and .fits, chosen by the ending of the name.

Columns are wavelength, flux and, where known, error (one standard deviation), mask (true: ignore),
continuum, order (number of the echelle order) and resolution (λ/Δλ at each pixel). Wavelengths
without a unit are in Å; a medium that is not stated is asked for.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from .errors import MissingExtra, SpectrumError
from .files import (
    LARGEST_SPECTRUM,
    check_expanse,
    check_size,
    first_line,
    load_npz,
    parse_meta,
    plain,
    replacing,
    require_file,
    require_writable,
    settle_medium,
    settle_version,
    to_angstrom,
    to_vacuum,
)
from .spectrum import Spectrum
from .spectrum_hpf import RESOLUTION, hpf_arrays, is_hpf

COLUMNS = ("wavelength", "flux", "error", "mask", "continuum", "order", "resolution")
FORMAT = "blase3d-spectrum"
VERSION = 1
"""Of the form of what is written; a file of others, which states none, is read too."""
_FIELDS = {"resolution": "resolving"}
"""Names of columns in `Spectrum`, where they are others."""
ERROR_EXTENSIONS = ("ERROR", "ERR", "ERRS", "SIGMA")
"""Names under which an image of errors is looked for beside an image of fluxes."""


@dataclass(frozen=True, eq=False)
class _Columns:
    """What a file holds, before its medium is settled."""

    arrays: Mapping[str, NDArray[Any]]
    medium: object = None
    resolution: object = None
    meta: dict[str, Any] = field(default_factory=dict)


def read_spectrum(
    path: str | Path, medium: str | None = None, resolution: float | None = None
) -> Spectrum:
    """Read a spectrum; `medium` ("air" or "vacuum") says what the file does not.

    Air wavelengths are converted to vacuum (`units.air_to_vacuum`). `resolution` goes before what
    the file states.
    """
    path = Path(path)
    require_file(path, SpectrumError)
    check_size(path.stat().st_size, str(path), SpectrumError, LARGEST_SPECTRUM)
    columns = _chosen(_READERS, path)(path)
    settle_version(columns.meta, FORMAT, VERSION, path, SpectrumError)
    found = settle_medium(columns.medium, medium, path, SpectrumError)
    meta = {**columns.meta, "medium": "vacuum"}
    if found == "air":
        meta["converted_from"] = "air"
    try:
        return Spectrum(
            to_vacuum(_numbers(columns.arrays, "wavelength"), found),
            _numbers(columns.arrays, "flux"),
            error=_optional(columns.arrays, "error"),
            mask=_mask(columns.arrays),
            continuum=_optional(columns.arrays, "continuum"),
            resolution=columns.resolution if resolution is None else resolution,
            order=_orders(columns.arrays),
            # a resolution that is asked for holds at every pixel
            resolving=None if resolution is not None else _resolving(columns.arrays),
            meta=meta,
        )
    except SpectrumError as fault:
        raise SpectrumError(f"{path}: {fault}") from fault


def write_spectrum(spectrum: Spectrum, path: str | Path) -> None:
    """Write a spectrum as its name ends: .npz, .ecsv, .csv or .fits; whole or not at all."""
    path = Path(path)
    write = _chosen(_WRITERS, path)
    with replacing(path) as partial:
        write(spectrum, partial)


def require_writable_spectrum(path: Path) -> None:
    """Raise unless `write_spectrum` could write to a file of this name."""
    _chosen(_WRITERS, path)
    require_writable(path)


def _chosen(table: Mapping[str, Callable[..., Any]], path: Path) -> Callable[..., Any]:
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in table:
        known = ", ".join(f".{name}" for name in table)
        raise SpectrumError(f"{path} has no ending that is known; expected one of {known}.")
    return table[suffix]


# --- columns of any kind of file ---------------------------------------------------------------


def _require(found: Iterable[str], path: Path) -> None:
    names = list(found)
    if missing := [name for name in ("wavelength", "flux") if name not in names]:
        raise SpectrumError(
            f"{path} has no {' and no '.join(missing)}, it has {', '.join(names) or 'nothing'}: "
            f"name its columns {', '.join(COLUMNS)} (the first two are needed)."
        )


def _numbers(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.float64]:
    try:
        if np.iscomplexobj(arrays[name]):
            raise TypeError("complex numbers")
        return np.asarray(arrays[name], dtype=np.float64)
    except (TypeError, ValueError) as failure:
        raise SpectrumError(
            f"the {name} is not numeric ({first_line(failure)}): give one number a pixel."
        ) from failure


def _optional(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.float64] | None:
    return _numbers(arrays, name) if name in arrays else None


def _orders(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.int64] | None:
    found = _optional(arrays, "order")
    if found is None:
        return None
    if not ((np.abs(found) < 2**31) & (found == np.rint(found))).all():
        raise SpectrumError("the orders are no whole numbers: number them.")
    return found.astype(np.int64)


def _resolving(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float64] | None:
    found = _optional(arrays, "resolution")
    return None if found is None or found.ndim == 0 else found


def _mask(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    if "mask" not in arrays:
        return np.zeros(np.shape(arrays["wavelength"]), dtype=bool)
    mask = np.asarray(arrays["mask"])
    if mask.dtype.kind in "biuf":
        return mask.astype(bool)
    words = np.char.lower(np.char.strip(mask.astype(str)))
    if not np.isin(words, ("true", "false", "1", "0", "t", "f", "")).all():
        raise SpectrumError("the mask holds other words than true and false: write these.")
    return np.isin(words, ("true", "1", "t"))


# --- .npz --------------------------------------------------------------------------------------


def _read_npz(path: Path) -> _Columns:
    arrays = load_npz(path, SpectrumError, LARGEST_SPECTRUM)
    _require(arrays, path)
    meta = parse_meta(arrays["meta"], path, SpectrumError) if "meta" in arrays else {}
    columns = {name: arrays[name] for name in COLUMNS if name in arrays}
    unit = meta.pop("wavelength_unit", None)
    columns["wavelength"] = to_angstrom(columns["wavelength"], unit, path, SpectrumError)
    if columns["flux"].ndim == 2:
        columns = _single_node(columns, path)
        if {"labels", "label_names"} <= set(arrays):
            meta["labels"] = _labels(arrays)
    return _Columns(columns, meta.pop("medium", None), meta.pop("resolution", None), meta)


def _single_node(columns: dict[str, NDArray[Any]], path: Path) -> dict[str, NDArray[Any]]:
    """The columns of a grid file that holds one node."""
    count = len(columns["flux"])
    if count != 1:
        raise SpectrumError(
            f"{path} is a grid of {count} spectra, expected one: write the one that is meant "
            "(blase3d.open_grid(...)[i], write_spectrum) to a file of its own."
        )
    return {name: array[0] if array.ndim == 2 else array for name, array in columns.items()}


def _labels(arrays: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    names, values = arrays["label_names"].ravel(), arrays["labels"].ravel()
    return {str(name): float(value) for name, value in zip(names, values, strict=False)}


def _write_npz(spectrum: Spectrum, path: Path) -> None:
    arrays: dict[str, Any] = {**_columns(spectrum), "meta": np.array(json.dumps(_meta(spectrum)))}
    with open(path, "wb") as stream:  # a name would be given a second ending
        np.savez_compressed(stream, **arrays)


def _columns(spectrum: Spectrum) -> dict[str, NDArray[Any]]:
    columns = {name: getattr(spectrum, _FIELDS.get(name, name)) for name in COLUMNS}
    return {name: values for name, values in columns.items() if values is not None}


def _meta(spectrum: Spectrum) -> dict[str, Any]:
    stated: dict[str, object] = {"medium": "vacuum", "wavelength_unit": "Angstrom"}
    stated |= {"format": FORMAT, "version": VERSION}
    if spectrum.resolution is not None:
        stated["resolution"] = spectrum.resolution
    return dict(plain({**spectrum.meta, **stated}))


# --- .ecsv and .csv ----------------------------------------------------------------------------


def _read_text(path: Path) -> _Columns:
    try:
        text = path.read_text(encoding="utf-8")
        ecsv = text.startswith("# %ECSV")
        kind = "ascii.ecsv" if ecsv else "ascii.csv"
        options: dict[str, Any] = {} if ecsv else {"comment": "#", "guess": False}
        table = Table.read(text.splitlines(), format=kind, **options)
    except Exception as failure:  # the parsers below raise whatever they happen to meet
        raise SpectrumError(
            f"{path} cannot be read as a table ({first_line(failure)}): expected columns "
            "wavelength, flux, ... under one line of names; correct or make it again."
        ) from failure
    check_expanse(table.meta, path, SpectrumError)
    return _from_table(table, dict(table.meta) if ecsv else _comments(text), path)


def _comments(text: str) -> dict[str, Any]:
    """The `# key: value` lines at the head of a plain CSV file."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        key, colon, value = line[1:].partition(":")
        if colon:
            found[key.strip()] = value.strip()
    return found


def _from_table(table: Table, stated: dict[str, Any], path: Path) -> _Columns:
    _require(table.colnames, path)
    arrays = {name: _plain_column(table[name]) for name in COLUMNS if name in table.colnames}
    meta = _unpacked(stated, path)
    unit = table["wavelength"].unit or meta.get("wavelength_unit")
    arrays["wavelength"] = to_angstrom(arrays["wavelength"], unit, path, SpectrumError)
    _match_units(table, arrays, path)
    meta.pop("wavelength_unit", None)
    return _Columns(arrays, meta.pop("medium", None), meta.pop("resolution", None), meta)


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


def _write_ecsv(spectrum: Spectrum, path: Path) -> None:
    table = Table(_columns(spectrum), meta=_meta(spectrum))
    table["wavelength"].unit = units.AA
    table.write(path, format="ascii.ecsv")


def _write_csv(spectrum: Spectrum, path: Path) -> None:
    meta = _meta(spectrum)
    keys = [key for key in ("medium", "wavelength_unit", "resolution") if key in meta]
    stated = [(key, meta.pop(key)) for key in keys]
    columns = _columns(spectrum)
    columns["mask"] = spectrum.mask.astype(int)
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        for key, value in [*stated, ("meta", json.dumps(meta))]:
            stream.write(f"# {key}: {value}\n")
        stream.write(",".join(columns) + "\n")
        for row in zip(*(values.tolist() for values in columns.values()), strict=True):
            stream.write(",".join(map(repr, row)) + "\n")


# --- .fits -------------------------------------------------------------------------------------


def _read_fits(path: Path) -> _Columns:
    try:
        with _quietly_open(path) as hdus:
            declared = sum(hdu.size for hdu in hdus)  # it may be compressed
            check_size(declared, str(path), SpectrumError, LARGEST_SPECTRUM)
            columns = _hpf(hdus) or _fits_table(hdus, path) or _fits_image(hdus, path)
    except SpectrumError:
        raise
    except Exception as failure:  # astropy raises many kinds on damaged files
        raise SpectrumError(
            f"{path} cannot be read as a FITS file ({first_line(failure)}): it is damaged, cut "
            "short or of another kind; make or copy it again."
        ) from failure
    return columns or _by_specutils(path)


@contextmanager
def _quietly_open(path: Path) -> Iterator[fits.HDUList]:
    """The units of a FITS file; one cut short raises instead of warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message=".*(truncated|corrupt|verification failed).*")
        # The stream is our own: where fits.open raises, it leaves a file of its own open.
        with open(path, "rb") as stream, fits.open(stream, memmap=False, checksum=True) as hdus:
            yield hdus


def _hpf(hdus: fits.HDUList) -> _Columns | None:
    if not is_hpf(hdus):
        return None
    arrays, meta = hpf_arrays(hdus)
    return _Columns(arrays, "vacuum", RESOLUTION, meta)


def _fits_table(hdus: fits.HDUList, path: Path) -> _Columns | None:
    for hdu in hdus[1:]:
        if isinstance(hdu, fits.BinTableHDU) and {"wavelength", "flux"} <= set(
            map(str.lower, hdu.columns.names)
        ):
            table = Table.read(hdu)
            table.rename_columns(table.colnames, [name.lower() for name in table.colnames])
            return _from_table(table, _fits_meta(hdu.header), path)
    return None


def _fits_meta(header: fits.Header) -> dict[str, Any]:
    keys = {"MEDIUM": "medium", "RESOLUT": "resolution", "B3META": "meta"}
    return {name: header[key] for key, name in keys.items() if key in header}


def _fits_image(hdus: fits.HDUList, path: Path) -> _Columns | None:
    """A one-dimensional image whose wavelengths are linear in the pixel."""
    for hdu in hdus:
        header = hdu.header
        linear = "CRVAL1" in header and ("CDELT1" in header or "CD1_1" in header)
        log = bool(header.get("DC-FLAG", 0)) or "LOG" in str(header.get("CTYPE1", "")).upper()
        if hdu.is_image and header.get("NAXIS") == 1 and linear and not log:
            return _from_image(hdu, hdus, path)
    return None


def _from_image(hdu: Any, hdus: fits.HDUList, path: Path) -> _Columns:
    header = hdu.header
    step = header.get("CDELT1", header.get("CD1_1"))
    pixel = np.arange(header["NAXIS1"]) + 1.0
    values = header["CRVAL1"] + (pixel - header.get("CRPIX1", 1.0)) * step
    arrays = {
        "wavelength": to_angstrom(values, header.get("CUNIT1"), path, SpectrumError),
        "flux": np.asarray(hdu.data, dtype=np.float64),
    }
    for name in ERROR_EXTENSIONS:
        if name in hdus:
            arrays["error"] = np.asarray(hdus[name].data, dtype=np.float64)
    stated = _fits_meta(header)
    by_type = {"AWAV": "air", "WAVE": "vacuum"}.get(str(header.get("CTYPE1", "")).strip()[:4])
    return _Columns(arrays, stated.get("medium", by_type), stated.get("resolution"))


def _by_specutils(path: Path) -> _Columns:
    try:
        import specutils
    except ImportError as failure:
        raise MissingExtra(
            "specutils", "spectra", f"Reading {path}, whose layout is not one of our own,"
        ) from failure
    reader = getattr(specutils, "Spectrum", None) or specutils.Spectrum1D
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = reader.read(str(path))
        return _from_specutils(found)
    except Exception as failure:  # its readers raise many kinds
        raise SpectrumError(
            f"{path} has no layout that our reader or specutils knows ({first_line(failure)}): "
            f"write it as a table with columns {', '.join(COLUMNS)}."
        ) from failure


def _from_specutils(found: Any) -> _Columns:
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
        raise ValueError(f"it holds spectra of shape {arrays['flux'].shape}, expected one")
    return _Columns(arrays, None, None, {"flux_unit": str(found.flux.unit)})


def _write_fits(spectrum: Spectrum, path: Path) -> None:
    meta = _meta(spectrum)
    columns = [
        fits.Column(
            name=name,
            array=values,
            format="L" if name == "mask" else "D",
            unit="Angstrom" if name == "wavelength" else None,
        )
        for name, values in _columns(spectrum).items()
    ]
    table = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    table.header["MEDIUM"] = (meta.pop("medium"), "medium of the wavelengths")
    if "resolution" in meta:
        table.header["RESOLUT"] = (meta.pop("resolution"), "resolving power (FWHM)")
    table.header["B3META"] = json.dumps(meta)
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, checksum=True)


_READERS = {
    "npz": _read_npz,
    "ecsv": _read_text,
    "csv": _read_text,
    "fits": _read_fits,
    "fit": _read_fits,
}
_WRITERS = {"npz": _write_npz, "ecsv": _write_ecsv, "csv": _write_csv, "fits": _write_fits}
