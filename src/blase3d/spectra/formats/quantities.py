"""Names, units and errors as spectrum files spell them.

Names are in lower case, each tuple in the order of preference. Units are those of the FITS standard
(Pence et al. 2010, A&A 524, A42, section 4.3) and the spellings that pipelines use instead.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from astropy import units
from numpy.typing import ArrayLike, NDArray

from ...runtime.arrays import Bools, Floats

SHORTEST, LONGEST = 100.0, 1e7
"""Å. Wavelengths of no spectrum of a star are beyond."""
WAVENUMBER_NAMES = ("wavenumber", "wavenumbers", "wave_number", "wn")
"""Wavenumbers in vacuum, as Fourier transform spectrometers measure; cm⁻¹ unless stated."""
WAVELENGTH_NAMES = (
    *("wavelength", "wavelengths", "wave", "lambda", "lam", "waveobs", "wavel", "wl", "wlen"),
    *("wavelength_vac", "wave_vac", "lambda_vac", "wavelength_vacuum", "vacuum_wavelength"),
    *("wavelength_air", "wave_air", "lambda_air", "air_wavelength", "air_wave", "awav"),
    *("loglam", "log_lam", "loglambda", "log_lambda", "logwave", "log_wave", "log_wavelength"),
    *("lnwave", "ln_wave", "ln_lambda", "lnlambda", "ln_wavelength"),
    *("spectral_axis", "obswave", "lambda_obs", "angstrom", "angstroms", "w", "wav", "opt_wave"),
    *("wave_obs", "wavelength_obs", "obs_wave", "obs_wavelength", "arg"),  # arg, fun: PEPSI
    *WAVENUMBER_NAMES,
)
FLUX_NAMES = (
    *("flux", "fluxes", "flux_density", "flux_lambda", "flux_reduced", "flux_norm"),
    *("normalized_flux", "normalised_flux", "norm_flux", "normflux", "flam", "f_lambda"),
    *("flux_normalized", "flux_normalised", "normalized", "normalised", "nflux", "flux_cal"),
    *("spec", "spectrum", "sci", "intensity", "counts", "fnu", "f_nu", "data", "value", "s", "f"),
    *("opt_flam", "opt_counts", "fun"),
)
ERROR_NAMES = (
    *("error", "err", "errors", "errs", "sigma", "sig", "uncertainty", "uncert", "unc"),
    *("flux_error", "flux_err", "fluxerr", "fluxerror", "flux_uncertainty", "flux_unc"),
    *("flux_sigma", "error_flux", "err_flux", "sigma_flux", "eflux", "e_flux", "flux_errors"),
    *("uncertainties", "errflux", "sigflux", "flux_sig", "fluxsigma", "flux_std", "std", "stddev"),
    *("stdev", "noise", "serr", "err_reduced", "dflux", "flux_e", "e", "sigmas", "normalized_err"),
    *("df", "ef", "ierr", "σ", "errorspectrum", "error_spectrum", "sigma_spectrum", "err_spec"),
)
IVAR_NAMES = ("ivar", "inverse_variance", "invvar", "flux_ivar", "inv_var", "ivars", "fluxivar")
VARIANCE_NAMES = (
    *("variance", "var", "flux_variance", "flux_var", "vari", "fluxvar", "cov_diag", "stat"),
)
WEIGHT_NAMES = ("weight", "weights", "wgt", "wt", "relative_weight")
MASK_NAMES = (
    *("mask", "masked", "masks", "bpm", "badpix", "bad_pixel", "bad_pixels", "bad", "flag"),
    *("flags", "quality", "qual", "dq", "flux_mask", "flux_qual", "pixel_quality", "pixelflags"),
)
"""Zero or false where a pixel may be used."""
GOOD_NAMES = ("good", "valid", "ok", "goodpix", "good_pixel", "opt_mask")
"""True or not zero where a pixel may be used."""
CONTINUUM_NAMES = ("continuum", "cont")
ORDER_NAMES = ("order", "orders", "echelle_order", "ord", "sporder")
RESOLUTION_NAMES = ("pixel_resolution", "resolution", "resolving_power")

_LENGTHS = {
    units.AA: "a å aa ang angs angst angstrom angstroms ångström ångstrom angstroem 0.1nm",
    units.nm: "nm nanometer nanometers nanometre nanometres nms",
    units.um: "um μm mum mu micron microns micrometer micrometers micrometre micrometres",
    units.m: "m meter meters metre metres",
}
_LENGTH = {name: unit for unit, names in _LENGTHS.items() for name in names.split()}
_LOG = re.compile(r"^(log10|log|dex|ln|loge)\s*[(\[_ ]?\s*([^)\]]*)[)\]]?$", re.IGNORECASE)


def length_unit(text: object) -> units.UnitBase:
    """Return the unit of a wavelength, frequency or wavenumber, in any of its spellings.

    Raise ValueError if it is none of these.
    """
    words = unicodedata.normalize("NFKC", str(text)).strip().strip("[]()'\"").rstrip(".").strip()
    if words.lower() in _LENGTH:
        return _LENGTH[words.lower()]
    for spelling in (words, words.lower()):
        try:
            unit = units.Unit(spelling)
            unit.to(units.AA, 1.0, units.spectral())
        except (ValueError, TypeError):  # UnitConversionError is a TypeError
            continue
        return unit
    raise ValueError(f"{str(text)!r} is no unit of length")


def angstroms(values: ArrayLike, unit: object) -> Floats:
    """Return wavelengths in Å, from those in a unit, which may be `log(Angstrom)` or the like.

    Raise ValueError if the unit is none of length, frequency or wavenumber.
    """
    numbers = np.asarray(values, np.float64)
    words = str(unit).strip()
    if match := _LOG.match(words):
        base = np.e if match[1].lower() in ("ln", "loge") else 10.0
        with np.errstate(over="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # no finite number
            found = angstroms(base**numbers, match[2] or "Angstrom")
            if match[1].lower() == "log" and np.nanmedian(found) > LONGEST:
                return angstroms(np.exp(numbers), match[2] or "Angstrom")
            return found
    found = length_unit(unit)
    if found == units.AA:
        return numbers
    if found.is_equivalent(units.AA):
        return numbers * float(found.to(units.AA))
    with np.errstate(divide="ignore"):
        return np.asarray(found.to(units.AA, numbers, units.spectral()))


def likely_unit(wavelength: ArrayLike) -> str:
    """Return the unit that wavelengths without one most likely have, by their values.

    Stars are observed from 0.1 to 30 µm. Numbers from 1000 to 2500, which could be nm or Å, are
    taken for nm: high-resolution spectra are more often of the near infrared than of the far
    ultraviolet.
    """
    values = np.asarray(wavelength, np.float64)
    values = values[np.isfinite(values) & (values > 0.0)]
    middle = float(np.median(values)) if values.size else 5000.0
    for limit, unit in _RANGES:
        if middle < limit:
            return "Angstrom" if "(" in unit and np.ptp(values) > _LOG_SPAN else unit
    return "Angstrom"


_RANGES = (
    (1e-7, "Angstrom"),
    (1e-4, "m"),
    (0.3, "Angstrom"),
    (3.3, "um"),
    (4.5, "log(Angstrom)"),
    (8.0, "Angstrom"),
    (10.4, "ln(Angstrom)"),
    (300.0, "Angstrom"),
    (2500.0, "nm"),
)
"""Upper limits of the median wavelength, and the unit below each."""

_LOG_SPAN = 1.5
"""Widest range of logarithms of wavelengths."""

_FLUX_WORDS = (
    (r"\bang(strom)?s?\b|å|(?<=[/ ])a(?=$|[ )^*/-])|(?<=[/ ])aa\b", "Angstrom"),
    (r"\bergs\b", "erg"),
    (r"\bsec(onds?)?\b", "s"),
    (r"\bcts?\b|\bcounts?\b", "ct"),
    (r"\belectrons?\b|\be-(?![\d])", "electron"),
    (r"\bphotons?\b", "ph"),
    (r"\bmicrons?\b", "um"),
    (r"\b10\s*(?:\*\*|\^)?\s*\(?\s*(-\s*\d+)\s*\)?", r"1e\1 "),
    (r"\bcm2\b", "cm**2"),
    (r"\^", "**"),
)
_RELATIVE = ("", "none", "relative", "relative flux", "normalized", "normalised", "unitless", "1")


def flux_unit(text: object) -> units.UnitBase | None:
    """Return the unit of a flux in any of its spellings, or None if it is not understood."""
    words = unicodedata.normalize("NFKC", str(text)).strip().strip("[]'\"").strip()
    if words.lower() in _RELATIVE:
        return units.dimensionless_unscaled
    changed = words.lower()
    for pattern, cure in _FLUX_WORDS:
        changed = re.sub(pattern, cure, changed)
    for spelling in (words, changed):
        try:
            return units.Unit(spelling)
        except (ValueError, TypeError):
            continue
    return None


def to_error(values: ArrayLike, kind: str) -> Floats:
    """Return standard deviations; NaN where a pixel has no weight.

    `kind` is "error", "ivar" (inverse variance), "variance" or "weight" (a multiple of the inverse
    variance; the deviations are then relative).
    """
    numbers = np.asarray(values, np.float64)
    good = np.where(np.isfinite(numbers) & (numbers > 0.0), numbers, np.nan)
    if kind == "error":
        return good
    return np.sqrt(good) if kind == "variance" else 1.0 / np.sqrt(good)


def bits(values: ArrayLike, bad: int | Iterable[int]) -> Bools:
    """Return whether values have any of the bits `bad`: a number of all bits, or their positions.

    Values that are not finite are bad.
    """
    wanted = bad if isinstance(bad, int) else sum(1 << bit for bit in set(bad))
    numbers = np.asarray(values)
    finite = np.isfinite(numbers)
    whole = np.where(finite, numbers, 0).astype(np.int64)
    return np.asarray((whole & np.int64(wanted)) != 0) | ~finite


def per_pixel_noise(flux: Floats) -> float:
    """Return the noise of a spectrum by third differences (DER_SNR; Stoehr et al. 2008).

    Reference: ASP Conf. Ser. 394, 505. Pixels that are not finite, and zeros, are left out.
    """
    good = flux[np.isfinite(flux) & (flux != 0.0)]
    if len(good) < 5:
        return np.nan
    difference = 2.0 * good[2:-2] - good[:-4] - good[4:]
    return float(1.482602 / np.sqrt(6.0) * np.median(np.abs(difference)))


def split_name(name: str) -> tuple[str, str | None]:
    """Return a column's name in lower case, and the unit in it: `Wave (nm)`, `lambda[AA]`.

    A unit also follows an underscore, as in `wavelength_nm`.
    """
    words = name.strip().lstrip("#").strip().strip("\"'").strip()
    match = re.match(r"^([^(\[]*)[(\[]\s*([^)\]]*?)\s*[)\]]?$", words)
    stem, unit = (match[1], match[2] or None) if match else (words, None)
    stem = re.sub(r"[\s.-]+", "_", stem.strip().lower()).strip("_")
    head, _, tail = stem.rpartition("_")
    if head in WAVELENGTH_NAMES and tail in _LENGTH:
        return head, unit or tail
    return stem, unit


def counts_pixels(values: ArrayLike) -> bool:
    """Return whether numbers are those of pixels or rows: 0, 1, 2, ..., from 0, 1 or 2."""
    numbers = np.ravel(values)
    return len(numbers) > 2 and numbers[0] in (0, 1, 2) and bool((np.diff(numbers) == 1).all())


def first_named(names: Iterable[str], wanted: Iterable[str]) -> str | None:
    """Return the first of the names that is wanted, in the order of `wanted`, or None.

    Upper and lower case are the same, and a unit in a name does not count.
    """
    by_stem: dict[str, str] = {}
    for name in names:
        by_stem.setdefault(split_name(name)[0], name)
    return next((by_stem[name] for name in wanted if name in by_stem), None)


def native(values: Any) -> NDArray[Any]:
    """Return an array in the byte order of this machine, without units and masks."""
    array = np.asarray(values)
    return array.astype(array.dtype.newbyteorder("="), copy=False)
