"""The Spectrum record: one spectrum on its own pixels, checked once, at birth.

Wavelengths are in Å and in vacuum. A pixel that cannot be used is masked, never removed, so that
the pixels of a spectrum keep their places. Files are read and written in `spectrum_io`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import SpectrumError
from ..runtime.arrays import Bools, Floats, Integers


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum:
    """A spectrum, observed or computed.

    Pixels whose flux, error or continuum cannot be used (not finite; error or continuum not
    positive) join the mask at birth, and get a harmless finite value there: NaN times a weight
    of zero would still be NaN. The arrays are read-only.
    """

    wavelength: Floats
    """(P,) Å in vacuum, strictly increasing."""
    flux: Floats
    """(P,), finite."""
    error: Floats | None = None
    """(P,) one standard deviation, positive and finite; None where unknown."""
    mask: Bools = None  # type: ignore[assignment]  # replaced by an array at birth
    """(P,) True: ignore this pixel. None stands for no masked pixel."""
    continuum: Floats | None = None
    """(P,) the true continuum in the units of `flux`, where a library brings it."""
    resolution: float | None = None
    """Resolving power λ/Δλ (full width at half maximum), where known."""
    meta: Mapping[str, object] = field(default_factory=dict)
    order: Integers | None = None
    """(P,) the echelle order of each pixel, if there are several; their pixels may interleave."""
    resolving: Floats | None = None
    """(P,) resolving power of each pixel, where it varies; `resolution` is then its median."""

    def __post_init__(self) -> None:
        wavelength = _vector(self.wavelength, "wavelength", None)
        check_wavelength(wavelength, SpectrumError)
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
                f"All {count} pixels of the spectrum are masked, not finite or without a positive "
                "error: give at least one usable pixel."
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

    @property
    def good(self) -> Bools:
        """(P,) True where the pixel may be used."""
        return ~self.mask

    @property
    def n_masked(self) -> int:
        """How many pixels are masked."""
        return int(self.mask.sum())


def cut(spectrum: Spectrum, keep: Bools) -> Spectrum:
    """The pixels of a spectrum where `keep` (P,) is true."""
    arrays = ("wavelength", "flux", "error", "mask", "continuum", "order", "resolving")
    parts = {
        name: values[keep] for name in arrays if (values := getattr(spectrum, name)) is not None
    }
    return replace(spectrum, **parts)


def check_wavelength(
    wavelength: Floats, error: type[Exception], what: str = "The wavelengths"
) -> None:
    """Raise `error` unless the wavelengths are finite, positive and strictly increasing."""
    if not len(wavelength):
        raise error(f"{what} are empty: expected at least one pixel.")
    wrong = ~_usable(wavelength)
    if wrong.any():
        where = int(np.argmax(wrong))
        raise error(
            f"{what} have {wavelength[where]} at pixel {where}, expected finite positive Å: "
            "remove or repair these pixels."
        )
    steps = np.diff(wavelength)
    if (steps <= 0).any():
        where = int(np.argmax(steps <= 0))
        kind = "twice" if steps[where] == 0 else f"before {wavelength[where + 1]}"
        raise error(
            f"{what} have {wavelength[where]} {kind} at pixel {where}, expected strictly "
            "increasing values: sort by wavelength and remove duplicates."
        )


def read_only(values: NDArray) -> NDArray:
    """A view of `values` that cannot be written to; the caller's own array stays as it is."""
    view = values.view()
    view.flags.writeable = False
    return view


def _vector(values: ArrayLike, name: str, count: int | None) -> Floats:
    try:
        if np.iscomplexobj(values):
            raise TypeError("complex numbers")
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as failure:
        raise SpectrumError(f"The {name} is not numeric: give one number a pixel.") from failure
    if array.ndim != 1 or (count is not None and len(array) != count):
        wanted = "(P,)" if count is None else f"({count},) as the wavelength"
        raise SpectrumError(
            f"The {name} has shape {array.shape}, expected {wanted}: give one value a pixel."
        )
    return array


def _set_optional(spectrum: Spectrum, count: int) -> None:
    """Check and set order and resolution of a spectrum of so many pixels."""
    resolution, resolving, order = spectrum.resolution, spectrum.resolving, spectrum.order
    if resolving is not None:
        resolving = _vector(resolving, "resolving power", count)
        if not _usable(resolving).all():
            raise SpectrumError(
                "The resolving power has values that are not positive, expected λ/Δλ at every "
                "pixel: correct it or leave it out."
            )
        resolution = float(np.median(resolving)) if resolution is None else resolution
        resolving = read_only(resolving)
    if order is not None:
        order = read_only(_vector(order, "order", count).astype(np.int64))
    object.__setattr__(spectrum, "resolution", _resolution(resolution))
    object.__setattr__(spectrum, "resolving", resolving)
    object.__setattr__(spectrum, "order", order)


def _given_mask(mask: ArrayLike | None, count: int) -> Bools:
    if mask is None:
        return np.zeros(count, dtype=bool)
    array = np.asarray(mask)
    if array.shape != (count,):
        raise SpectrumError(
            f"The mask has shape {array.shape}, expected ({count},) as the wavelength: "
            "give one value a pixel."
        )
    return array.astype(bool)


def _usable(values: Floats) -> Bools:
    return np.isfinite(values) & (values > 0)


def _filled(values: Floats, usable: Bools, bad: Bools) -> Floats:
    """`values` with the unusable ones drawn straight between their unmasked neighbours."""
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
            f"Got resolution {value!r}, expected a positive λ/Δλ: correct it or leave it out."
        )
    return number
