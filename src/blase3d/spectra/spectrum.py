"""The record `Spectrum`: one spectrum, checked on construction.

Wavelengths are in Å in vacuum. Unusable pixels are masked, never removed, so that pixel numbers
stay the same. `formats` reads and writes files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import SpectrumError
from ..runtime.arrays import Bools, Floats, Integers
from ..runtime.moved import warn_of_former
from ..runtime.notebook import html_table
from ..runtime.with_units import has_unit, in_unit


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum:
    """An observed or computed spectrum.

    Pixels whose flux, error or continuum is not finite, or whose error or continuum is not
    positive, are masked on construction and filled with finite values: NaN times a weight of zero
    would still be NaN. The arrays are read-only.

    Examples
    --------
    >>> spectrum = Spectrum([5000.0, 5001.0, 5002.0], [1.0, float("nan"), 0.8])
    >>> spectrum.mask.tolist()
    [False, True, False]
    """

    wavelength: Floats
    """(P,) Å in vacuum, strictly increasing."""
    flux: Floats
    """(P,), finite."""
    error: Floats | None = None
    """(P,) one standard deviation, positive and finite; None where unknown."""
    mask: Bools = None  # type: ignore[assignment]  # replaced by an array on construction
    """(P,) True: ignore this pixel. None: no pixel is masked."""
    continuum: Floats | None = None
    """(P,) true continuum in the units of `flux`, where a library has it."""
    resolution: float | None = None
    """Resolving power λ/Δλ (full width at half maximum), where known."""
    meta: Mapping[str, object] = field(default_factory=dict)
    order: Integers | None = None
    """(P,) echelle order of each pixel, if there are several; their pixels may interleave."""
    pixel_resolution: Floats | None = None
    """(P,) resolving power at each pixel, where it varies. `resolution` is then its median, unless
    stated."""

    def __post_init__(self) -> None:
        _convert_units(self)
        wavelength = _vector(self.wavelength, "wavelength", None)
        check_increasing(wavelength, SpectrumError)
        count = len(wavelength)
        flux = _vector(self.flux, "flux", count)
        error = None if self.error is None else _vector(self.error, "error", count)
        continuum = None if self.continuum is None else _vector(self.continuum, "continuum", count)
        bad = _given_mask(self.mask, count) | ~np.isfinite(flux)
        for positive in (error, continuum):
            if positive is not None:
                bad |= ~_usable(positive)
        if bad.all():
            raise SpectrumError(
                f"all {count} pixels of the spectrum are masked, not finite or without a positive "
                "error; expected at least one usable pixel."
            )
        values = {
            "wavelength": wavelength,
            "flux": _filled(flux, np.isfinite(flux), bad),
            "error": None if error is None else _filled(error, _usable(error), bad),
            "continuum": None if continuum is None else _filled(continuum, _usable(continuum), bad),
            "mask": bad,
        }
        for name, value in values.items():
            object.__setattr__(self, name, None if value is None else read_only(value))
        _set_optional(self, count)

    def __len__(self) -> int:
        return len(self.wavelength)

    def __repr__(self) -> str:
        return (
            f"<Spectrum of {len(self)} pixels from {self.wavelength[0]:.6g} to "
            f"{self.wavelength[-1]:.6g} Å, {self.n_masked} masked>"
        )

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        level = np.median(self.flux[self.good])
        rows = {
            "wavelength": f"{self.wavelength[0]:.2f} to {self.wavelength[-1]:.2f} Å in vacuum",
            "pixels": f"{len(self)}, {self.n_masked} masked",
            "flux": f"median {level:.4g} {self.meta.get('flux_unit') or ''}",
        }
        if self.error is not None:
            noise = np.median((np.abs(self.flux) / self.error)[self.good])
            rows["signal to noise"] = f"{noise:.4g} at the median"
        if self.resolution is not None:
            rows["resolution"] = f"{self.resolution:.5g}"
        if self.order is not None:
            rows["orders"] = f"{np.unique(self.order).size}"
        for name in ("object", "telescope", "instrument", "date"):
            if name in self.meta:
                rows[name] = str(self.meta[name])
        return html_table("Spectrum", rows)

    @classmethod
    def from_specutils(
        cls, spectrum: Any, medium: str | None = None, resolution: float | None = None
    ) -> Spectrum:
        """Return the spectrum that a specutils.Spectrum (Spectrum1D) holds.

        Parameters
        ----------
        spectrum : specutils.Spectrum
            One spectrum, with any spectral axis and any uncertainty. Its flux must be linear.
        medium : str, optional
            "air" or "vacuum", where neither `spectrum.meta["medium"]` nor its FITS axis says it.
        resolution : float, optional
            Resolving power λ/Δλ; replaces `spectrum.meta["resolution"]`.

        Raises
        ------
        SpectrumError
            It has several spectra, an uncertainty of unknown kind, or no medium.
        """
        from .formats.in_memory import as_spectrum

        return as_spectrum(spectrum, medium, resolution)

    def to_specutils(self) -> Any:
        """Return a specutils.Spectrum, with errors as standard deviations.

        The flux has the unit of `meta["flux_unit"]`, or none. `meta` has the medium, resolution,
        continuum and orders, so that `from_specutils` returns an equal spectrum.
        """
        from .formats.in_memory import to_specutils

        return to_specutils(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Make copies by the constructor, so that their arrays are read-only too."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return type(self), tuple({**values, "meta": dict(self.meta)}.values())

    @property
    def good(self) -> Bools:
        """(P,) True where the pixel may be used."""
        return ~self.mask

    @property
    def n_masked(self) -> int:
        """Number of masked pixels."""
        return int(self.mask.sum())

    @property
    def resolving(self) -> Floats | None:
        """Former name of `pixel_resolution`."""
        _warn_of_old_name()
        return self.pixel_resolution


def _convert_units(spectrum: Spectrum) -> None:
    """Replace values with units by plain ones; the unit of the flux goes into `meta`."""
    unit = getattr(spectrum.flux, "unit", None)
    wavelength = in_unit(spectrum.wavelength, "Angstrom", "wavelengths", SpectrumError)
    found: dict[str, Any] = {"wavelength": wavelength}
    if unit is not None:
        if hasattr(unit, "physical_unit"):
            raise SpectrumError(f"got a flux in {unit}, expected a linear unit; convert it.")
        found["flux"] = in_unit(spectrum.flux, unit, "the flux", SpectrumError)
        found["meta"] = {**spectrum.meta, "flux_unit": str(unit)}
    for name in ("error", "continuum"):
        value = getattr(spectrum, name)
        target = unit if unit is not None else "" if has_unit(value) else None
        found[name] = in_unit(value, target, f"the {name}", SpectrumError)
    for name in ("resolution", "pixel_resolution"):
        found[name] = in_unit(getattr(spectrum, name), "", f"the {name}", SpectrumError)
    for name, value in found.items():
        object.__setattr__(spectrum, name, value)


def _warn_of_old_name() -> None:
    warn_of_former("Spectrum.resolving is now Spectrum.pixel_resolution; use that", stacklevel=3)


def _with_old_name(init: Callable[..., None]) -> Callable[..., None]:
    """Let a constructor accept the former name of `pixel_resolution`."""

    @wraps(init)
    def accept(self: Spectrum, *args: Any, **named: Any) -> None:
        if "resolving" in named:
            _warn_of_old_name()
            named["pixel_resolution"] = named.pop("resolving")
        init(self, *args, **named)

    return accept


Spectrum.__init__ = _with_old_name(Spectrum.__init__)  # type: ignore[method-assign]


def cut(spectrum: Spectrum, keep: Bools) -> Spectrum:
    """Return the pixels of a spectrum where `keep` (P,) is true."""
    names = ("wavelength", "flux", "error", "mask", "continuum", "order", "pixel_resolution")
    arrays = {name: getattr(spectrum, name) for name in names}
    kept = {name: values[keep] for name, values in arrays.items() if values is not None}
    return replace(spectrum, **kept)


def check_increasing(
    wavelength: Floats, error: type[Exception], what: str = "the wavelengths"
) -> None:
    """Raise `error` unless the wavelengths are finite, positive and strictly increasing."""
    if not len(wavelength):
        raise error(f"{what} are empty, expected at least one pixel.")
    wrong = ~_usable(wavelength)
    if wrong.any():
        where = int(np.argmax(wrong))
        raise error(
            f"{what} have {wavelength[where]} at pixel {where}, expected finite positive Å; "
            "remove or repair these pixels."
        )
    steps = np.diff(wavelength)
    if (steps <= 0).any():
        where = int(np.argmax(steps <= 0))
        kind = "twice" if steps[where] == 0 else f"before {wavelength[where + 1]}"
        raise error(
            f"{what} have {wavelength[where]} {kind} at pixel {where}, expected strictly "
            "increasing values; sort by wavelength and remove duplicates."
        )


def read_only(values: NDArray) -> NDArray:
    """Return a read-only view of `values`; the caller's array stays writeable."""
    view = values.view()
    view.flags.writeable = False
    return view


def _vector(values: ArrayLike, name: str, count: int | None) -> Floats:
    try:
        if np.iscomplexobj(values):
            raise TypeError("complex numbers")
        if isinstance(values, np.ma.MaskedArray):
            values = np.ma.filled(values.astype(np.float64), np.nan)
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as failure:
        raise SpectrumError(
            f"the {name} is not numeric; expected one number per pixel."
        ) from failure
    if array.ndim != 1 or (count is not None and len(array) != count):
        wanted = "(P,)" if count is None else f"({count},) as the wavelength"
        raise SpectrumError(
            f"the {name} has shape {array.shape}, expected {wanted}: one value per pixel."
        )
    return array


def _set_optional(spectrum: Spectrum, count: int) -> None:
    """Check and set order and resolution of a spectrum of `count` pixels."""
    resolution, varying, order = spectrum.resolution, spectrum.pixel_resolution, spectrum.order
    if varying is not None:
        varying = _vector(varying, "resolution", count)
        if not _usable(varying).all():
            raise SpectrumError(
                "the resolution has values that are not positive, expected λ/Δλ at every pixel; "
                "correct it or leave it out."
            )
        resolution = float(np.median(varying)) if resolution is None else resolution
        varying = read_only(varying)
    if order is not None:
        numbers = _vector(order, "order", count)
        if not (numbers == np.rint(numbers)).all():
            raise SpectrumError(
                "the order has values that are no whole numbers, expected the echelle order of "
                "each pixel; correct it or leave it out."
            )
        order = read_only(numbers.astype(np.int64))
    object.__setattr__(spectrum, "resolution", _resolution(resolution))
    object.__setattr__(spectrum, "pixel_resolution", varying)
    object.__setattr__(spectrum, "order", order)


def _given_mask(mask: ArrayLike | None, count: int) -> Bools:
    if mask is None:
        return np.zeros(count, dtype=bool)
    array = np.asarray(mask)
    if array.shape != (count,):
        raise SpectrumError(
            f"the mask has shape {array.shape}, expected ({count},) as the wavelength: "
            "one value per pixel."
        )
    return array.astype(bool)


def _usable(values: Floats) -> Bools:
    return np.isfinite(values) & (values > 0)


def _filled(values: Floats, usable: Bools, bad: Bools) -> Floats:
    """`values`, with the unusable ones interpolated linearly between unmasked neighbours."""
    if usable.all():
        return values
    pixel = np.arange(len(values))
    filled = values.copy()
    filled[~usable] = np.interp(pixel[~usable], pixel[~bad], values[~bad])
    return filled


def _resolution(value: object) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = np.nan
    if not (np.isfinite(number) and number > 0):
        raise SpectrumError(
            f"got resolution {value!r}, expected a positive λ/Δλ; correct it or leave it out."
        )
    return number
