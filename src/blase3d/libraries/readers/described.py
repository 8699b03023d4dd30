"""The description of the files of a folder, in the settings of its owner.

The settings are in the folder's `library.json`, or in the header of its table of labels:

    medium             air, vacuum, or "air above 2000" (vacuum below 2000 Å)
    wavelength_unit    a unit of length; default: Angstrom
    columns            the columns of the files, in order: wavelength, flux, normalised, continuum,
                       or - for one that is not used; default: wavelength flux
    format             turbospectrum or synspec: the output of these codes (see `CODES`)
    flux_factor        factor of flux and continuum
    continuum_ending   ending of a second file for each spectrum, with wavelength and continuum
    wave, step         first and last wavelength (Å, vacuum) and step of the common pixels;
                       default: the pixels of the first spectrum
    library, code, citation, licence, flux_unit    metadata

Files with named columns (.npz, .ecsv, .csv, .fits) are read like observed spectra
(`spectra.formats`), unless `columns` or `format` is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units

from ...errors import GridError, SpectrumError
from ...runtime.arrays import Floats
from ...runtime.files import MEDIA, settle_medium, to_vacuum
from ...spectra.formats import read_spectrum
from .spectrum_files import Columns
from .text import parse, read_text, width

KINDS = ("wavelength", "flux", "normalised", "continuum", "-")
"""Kinds of columns."""
MIXED = "air above 2000"
"""The medium of many codes: vacuum below 2000 Å, air above."""
CODES: Mapping[str, Mapping[str, Any]] = {
    "turbospectrum": {
        "columns": ("wavelength", "normalised", "flux"),
        "medium": "air",
        "code": "Turbospectrum",
        "flux_unit": "erg s-1 cm-2 Angstrom-1",
    },
    "synspec": {
        "columns": ("wavelength", "flux"),
        "medium": MIXED,
        "flux_factor": 4.0 * math.pi,
        "continuum_ending": ".17",
        "code": "Synspec",
        "flux_unit": "erg s-1 cm-2 Angstrom-1",
    },
}
"""Settings of the codes. Synspec writes Eddington fluxes; spectra to unit 7, continua to 17."""
META = ("library", "code", "citation", "licence", "flux_unit")
SETTINGS = (
    *("medium", "wavelength_unit", "columns", "format", "flux_factor", "continuum_ending"),
    *("wave", "step"),
    *META,
)
_NAMED = (".npz", ".ecsv", ".csv", ".fits", ".fit", ".fits.gz")
_MOST_PIXELS = 100_000_000
"""Most common pixels."""
_LEAST_NORMALISED = 0.2
"""Least normalised flux from which the continuum is computed: files have few digits of it."""


@dataclass(frozen=True)
class Description:
    """The settings of a folder, checked."""

    columns: tuple[str, ...] | None = None
    medium: str | None = None
    wavelength_unit: str = "Angstrom"
    flux_factor: float = 1.0
    continuum_ending: str | None = None
    wave: tuple[float, float] | None = None
    step: float | None = None
    meta: Mapping[str, object] | None = None

    @property
    def pixels(self) -> Floats | None:
        """The common pixels (P,), Å in vacuum; None if not stated."""
        if self.wave is None or self.step is None:
            return None
        count = math.floor((self.wave[1] - self.wave[0]) / self.step + 1e-9) + 1
        return np.round(self.wave[0] + self.step * np.arange(count), 8)

    def __call__(self, path: Path) -> Columns:
        """Read the spectrum in one file."""
        if self.columns is None and path.suffix.lower() in _NAMED:
            return self._named(path)
        text = read_text(path)
        kinds = self.columns or ("wavelength", "flux")
        if (found := width(text)) != len(kinds):
            raise GridError(
                f"{path} has {found} columns, expected {len(kinds)} ({' '.join(kinds)}); list them "
                "in `columns`, with - for those that are not used."
            )
        rows = parse(text, path, tuple(range(len(kinds))))
        read = {kind: row for kind, row in zip(kinds, rows, strict=True) if kind != "-"}
        wavelength = self._vacuum(read.pop("wavelength"), path)
        flux, continuum = _flux_and_continuum(read, wavelength)
        if continuum is None and self.continuum_ending is not None:
            continuum = self._second_file(path, wavelength)
        return _scaled(Columns(wavelength, flux, continuum), self.flux_factor)

    def _named(self, path: Path) -> Columns:
        """Read a file with named columns."""
        try:
            found = read_spectrum(path, self.medium if self.medium in MEDIA else None)
        except SpectrumError as fault:
            raise GridError(str(fault)) from fault
        flux = np.where(found.good, found.flux, np.nan)
        return _scaled(Columns(found.wavelength, flux, found.continuum), self.flux_factor)

    def _vacuum(self, values: Floats, path: Path) -> Floats:
        """Wavelengths (n,) in Å in vacuum, in the order of the file."""
        stated = values * float(units.Unit(self.wavelength_unit).to(units.AA))
        if self.medium == MIXED:
            stated = np.where(stated < 2000.0, stated, to_vacuum(np.maximum(stated, 2000.0), "air"))
        else:
            stated = to_vacuum(stated, settle_medium(self.medium, None, path, GridError))
        steps = np.diff(stated)
        if not ((steps > 0).all() and stated[0] > 0 and np.isfinite(stated).all()):
            raise GridError(
                f"{path} has wavelengths that are not positive and increasing: it is damaged, or "
                "has other columns than stated."
            )
        return stated

    def _second_file(self, path: Path, wavelength: Floats) -> Floats | None:
        """The continuum (n,) in the second file, interpolated linearly between its few points."""
        other = path.with_suffix(self.continuum_ending or "")
        if not other.is_file():
            return None
        points, values = parse(read_text(other), other, (0, 1))
        return np.interp(wavelength, self._vacuum(points, other), values)


def _scaled(columns: Columns, factor: float) -> Columns:
    if factor == 1.0:
        return columns
    continuum = None if columns.continuum is None else factor * columns.continuum
    return Columns(columns.wavelength, factor * columns.flux, continuum)


def _flux_and_continuum(
    read: Mapping[str, Floats], wavelength: Floats
) -> tuple[Floats, Floats | None]:
    """Flux and continuum (n,) from the columns of a file."""
    normalised, continuum = read.get("normalised"), read.get("continuum")
    if normalised is None:
        return read["flux"], continuum
    if "flux" not in read:
        continuum = np.ones_like(normalised) if continuum is None else continuum
        return normalised * continuum, continuum
    bright = normalised > _LEAST_NORMALISED
    if continuum is None and bright.any():
        ratio = read["flux"][bright] / normalised[bright]
        continuum = np.interp(wavelength, wavelength[bright], ratio)
    return read["flux"], continuum


# --- settings ----------------------------------------------------------------------------------


def describe(stated: Mapping[str, object], medium: str | None, where: Path) -> Description:
    """Return the description by the settings `stated`; `medium` is that of the user.

    Raises
    ------
    GridError
        A setting is unknown, or has an impossible value.
    """
    if unknown := [name for name in stated if name not in SETTINGS]:
        raise GridError(
            f"{where} states {', '.join(unknown)}, expected of {', '.join(SETTINGS)}; correct it."
        )
    preset = _preset(stated.get("format"), where)
    given = {**preset, **stated}
    if "medium" not in stated and medium is not None:
        given["medium"] = medium
    if ("wave" in given) != ("step" in given):
        raise GridError(f"{where} states one of wave and step; state both, or neither.")
    try:
        return Description(
            _columns(given.get("columns")),
            _medium(given.get("medium"), medium),
            _unit(given.get("wavelength_unit", "Angstrom")),
            float(given.get("flux_factor", 1.0)),
            _ending(given.get("continuum_ending")),
            span := _span(given.get("wave")),
            _step(given.get("step"), span),
            {name: given[name] for name in META if name in given},
        )
    except (TypeError, ValueError) as fault:
        raise GridError(f"{where} has a wrong setting ({fault}); correct it.") from fault


def _preset(name: object, where: Path) -> Mapping[str, Any]:
    if name is None:
        return {}
    known = CODES.get(str(name).strip().lower())
    if known is None:
        raise GridError(f"{where} states the format {name!r}, expected {' or '.join(CODES)}.")
    return known


def _columns(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    kinds = value.replace(",", " ").split() if isinstance(value, str) else value
    kinds = tuple(str(kind) for kind in kinds)  # type: ignore[attr-defined]
    named = [kind for kind in kinds if kind != "-"]
    full = "wavelength" in named and {"flux", "normalised"} & set(named)
    if not (full and set(kinds) <= set(KINDS) and len(set(named)) == len(named)):
        raise ValueError(
            f"the columns {' '.join(kinds)}, expected wavelength, flux or normalised or both, and "
            "perhaps continuum, each once, and - for others"
        )
    return kinds


def _medium(value: object, asked: str | None) -> str | None:
    if value is None:
        return None
    medium = " ".join(str(value).lower().split())
    if medium not in (*MEDIA, MIXED):
        raise ValueError(f"the medium {value!r}, expected air, vacuum or {MIXED!r}")
    if asked is not None and asked != medium:
        raise ValueError(f"the medium {medium}, but {asked} was asked for")
    return medium


def _unit(value: object) -> str:
    try:
        units.Unit(str(value)).to(units.AA)
    except units.UnitConversionError as fault:
        raise ValueError(f"the unit {value!r}, expected one of length") from fault
    return str(value)


def _ending(value: object) -> str | None:
    if value is not None and not (str(value).startswith(".") and len(str(value)) > 1):
        raise ValueError(f"the ending {value!r}, expected one such as .cont")
    return None if value is None else str(value)


def _span(value: object) -> tuple[float, float] | None:
    if value is None:
        return None
    parts = value.replace(":", " ").split() if isinstance(value, str) else value
    low, high = (float(part) for part in parts)  # type: ignore[attr-defined]
    if not 0 < low < high < math.inf:
        raise ValueError(f"wavelengths from {low:g} to {high:g}, expected LO below HI")
    return low, high


def _step(value: Any, span: tuple[float, float] | None) -> float | None:
    if value is None or span is None:
        return None
    step = float(value)
    if not (0 < step < math.inf and (span[1] - span[0]) / step < _MOST_PIXELS):
        raise ValueError(
            f"a step of {value} from {span[0]:g} to {span[1]:g}, expected a positive one, and at "
            f"most {_MOST_PIXELS} pixels"
        )
    return step
