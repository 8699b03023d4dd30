"""Spectra in memory, as other packages hold them: specutils and astropy tables.

specutils takes seconds to import. Its objects exist only once it is, so that it is not imported to
recognise them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import SpectrumError
from ...runtime.files import MEDIA, settle_medium, settle_version
from ...runtime.with_units import in_unit
from ..spectrum import Spectrum
from .columns import from_table
from .raw import RawSpectrum, spectrum_of
from .reader import SpectrumFile
from .written import FORMAT, VERSION, meta_of, stated_unit

_NAME = Path("the spectrum")
"""Name of an object in messages."""
_TABLE = Path("the table")
_ARRAYS = ("continuum", "order", "pixel_resolution")
"""Fields of `Spectrum` that specutils does not have; they travel in `meta`."""


def as_spectrum(
    given: Any,
    medium: str | None = None,
    resolution: Any = None,
    *,
    columns: Mapping[str, str] | None = None,
    unit: str | None = None,
) -> Spectrum:
    """Return a spectrum of this package, a specutils.Spectrum or an astropy table as `Spectrum`.

    Raises
    ------
    SpectrumError
        It is something else, has more than one spectrum, or states no medium.
    """
    if isinstance(given, Spectrum):
        return given
    if _is_specutils(given):
        raw = content_of(given)
    elif _is_table(given):
        from astropy.table import Table

        plain = Table(given, copy=False)  # masked and plain columns, also of a QTable
        raw = from_table(plain, dict(given.meta), SpectrumFile(_TABLE, columns, unit))
    else:
        raise SpectrumError(_refusal(given))
    name = _NAME if _is_specutils(given) else _TABLE
    own = raw.meta.get("format") == FORMAT
    settle_version(raw.meta, FORMAT, VERSION, name, SpectrumError)
    asked = None if str(raw.medium).strip().lower() in MEDIA else medium
    found = settle_medium(raw.medium, asked, name, SpectrumError)
    return spectrum_of(raw, found, in_unit(resolution, "", "the resolution"), clean=not own)


def _is_specutils(given: Any) -> bool:
    package = sys.modules.get("specutils")
    kinds = (getattr(package, name, None) for name in ("Spectrum", "Spectrum1D"))
    return any(kind is not None and isinstance(given, kind) for kind in kinds)


def _is_table(given: Any) -> bool:
    module = sys.modules.get("astropy.table")
    return module is not None and isinstance(given, module.Table)


def _refusal(given: Any) -> str:
    wanted = "expected a Spectrum, a specutils.Spectrum or an astropy Table"
    if isinstance(given, str | Path):
        return f"got the path {given}, {wanted}; read it with read_spectrum."
    if isinstance(given, list | tuple) or type(given).__name__ == "SpectrumCollection":
        return f"got a {type(given).__name__}, {wanted}; give its spectra one by one."
    return f"got a {type(given).__name__}, {wanted}; make a Spectrum of it."


def content_of(given: Any) -> RawSpectrum:
    """The content of a specutils.Spectrum. Its uncertainty may be of any kind that is known."""
    if np.ndim(given.flux) != 1:
        raise SpectrumError(
            f"got a specutils.Spectrum of shape {np.shape(given.flux)}, expected one spectrum; "
            "choose one by its index."
        )
    axis = given.spectral_axis
    arrays: dict[str, Any] = {
        "wavelength": in_unit(_spectral(axis), "Angstrom", "a spectral axis", SpectrumError),
        "flux": _linear(given.flux),
    }
    if given.uncertainty is not None:
        arrays["error"] = _standard_deviation(given)
    if given.mask is not None:
        arrays["mask"] = np.asarray(given.mask)
    stated = dict(getattr(given, "meta", None) or {})
    meta = {key: value for key, value in stated.items() if key != "header"}
    for name in _ARRAYS:
        if name in meta:
            arrays[name] = np.asarray(meta.pop(name))
    if str(given.flux.unit):
        meta.setdefault("flux_unit", str(given.flux.unit))
    meta.pop("wavelength_unit", None)
    medium = meta.pop("medium", None) or _medium(given)
    return RawSpectrum(arrays, medium, meta.pop("resolution", None), meta)


def _spectral(axis: Any) -> Any:
    """A spectral axis, with velocities converted by its rest value and convention."""
    if str(getattr(axis.unit, "physical_type", "")) != "speed/velocity":
        return axis
    try:
        return axis.to("Angstrom")
    except Exception as failure:  # of several kinds
        raise SpectrumError(
            "got a spectral axis in velocities without a rest wavelength, expected wavelengths; "
            "convert it."
        ) from failure


def _linear(flux: Any) -> Any:
    """The numbers of a flux; logarithmic units such as magnitudes are refused."""
    if hasattr(flux.unit, "physical_unit"):
        raise SpectrumError(
            f"got a flux in {flux.unit}, expected a linear unit; convert it, and its errors too."
        )
    return np.asarray(flux.value, np.float64)


def _standard_deviation(given: Any) -> Any:
    from astropy.nddata import StdDevUncertainty

    try:
        with np.errstate(divide="ignore"):
            found = given.uncertainty.represent_as(StdDevUncertainty).quantity
    except Exception as failure:  # of several kinds
        kind = type(given.uncertainty).__name__
        raise SpectrumError(
            f"got errors of kind {kind}, expected standard deviations, variances or inverse "
            "variances; say which they are, as StdDevUncertainty(...)."
        ) from failure
    if not str(found.unit):  # an uncertainty without a unit has that of the flux
        return np.asarray(found.value)
    return in_unit(found, given.flux.unit, "errors", SpectrumError)


def _medium(given: Any) -> str | None:
    """The medium by the code of the spectral axis in FITS (Greisen et al. 2006), or None."""
    header = dict(getattr(given, "meta", None) or {}).get("header") or {}
    stated = header.get("MEDIUM") if hasattr(header, "get") else None
    if stated is not None:
        return str(stated)
    codes: Any = getattr(getattr(getattr(given, "wcs", None), "wcs", None), "ctype", None)
    code = "" if codes is None else str(codes[0])[:4]
    return {"AWAV": "air", "WAVE": "vacuum"}.get(code)


def to_specutils(spectrum: Spectrum) -> Any:
    """Return a specutils.Spectrum."""
    import specutils  # takes seconds
    from astropy import units
    from astropy.nddata import StdDevUncertainty

    unit = stated_unit(spectrum) or units.one
    meta = meta_of(spectrum)
    for name in _ARRAYS:
        if getattr(spectrum, name) is not None:
            meta[name] = np.array(getattr(spectrum, name))
    error = spectrum.error
    return specutils.Spectrum(
        spectral_axis=np.array(spectrum.wavelength) * units.AA,
        flux=np.array(spectrum.flux) * unit,
        uncertainty=None if error is None else StdDevUncertainty(np.array(error), unit=unit),
        mask=np.array(spectrum.mask),
        meta=meta,
    )
