"""The observed spectrum on the page: in units of its continuum, order by order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from ...errors import SpectrumError
from ...inference.plots import gaps, positive_continuum
from ...inference.result import Inference
from ...model.model import Model, check_overlap
from ...runtime.arrays import Bools, Floats, Integers
from ...spectra.continuum import fit_continuum
from ...spectra.spectrum import Spectrum, cut
from .screen import thin_for_screen, window_slice, with_gaps
from .state import Interval, ViewState

_DEGREE, _QUANTILE = 2, 0.9
"""Degree and quantile of the continuum that a spectrum is divided by until it is fitted."""

Curve = tuple[Floats, NDArray[np.float32]]
"""x and y."""


@dataclass(frozen=True, eq=False)
class ShownStar:
    """An observed spectrum within the range of the model.

    Attributes
    ----------
    name : str
        Name of its file.
    spectrum : Spectrum
        The spectrum as read, cut to the model.
    wavelength, flux : (Q,)
        The pixels shown, order after order; the flux is in units of the continuum.
    order : (Q,) int
        Echelle order; zero where there are none.
    gap_before : (Q,) bool
        Pixels before which the curve is interrupted.
    """

    name: str
    spectrum: Spectrum
    wavelength: Floats
    flux: Floats
    order: Integers
    gap_before: Bools

    @property
    def orders(self) -> list[slice]:
        """The slice of each order."""
        starts = np.flatnonzero(np.diff(self.order)) + 1
        return [slice(a, b) for a, b in pairwise([0, *starts.tolist(), self.order.size])]

    @property
    def range(self) -> Interval:
        """Shortest and longest wavelength, Å."""
        return float(self.wavelength.min()), float(self.wavelength.max())


def show_star(name: str, spectrum: Spectrum, model: Model) -> ShownStar:
    """Divide a spectrum by its continuum, or by a smooth curve through its upper parts.

    Raises
    ------
    InputError
        It does not overlap with the model, or no pixel there is usable.
    """
    inside = check_overlap(model, spectrum.wavelength)
    if not (inside & spectrum.good).any():
        raise SpectrumError(
            "no pixel of the spectrum within the model can be used, expected some; give another "
            "spectrum, or a model of its range."
        )
    spectrum = cut(spectrum, inside)
    order = np.zeros(len(spectrum), np.int64) if spectrum.order is None else spectrum.order
    continuum = spectrum.continuum
    if continuum is None:
        continuum = np.empty(len(spectrum))
        for number in np.unique(order):
            continuum[order == number] = _continuum(cut(spectrum, order == number))
    good = spectrum.good
    flux = spectrum.flux[good] / continuum[good]
    return _in_orders(name, spectrum, spectrum.wavelength[good], flux, order[good])


def with_fit(star: ShownStar, inference: Inference) -> ShownStar:
    """The star by the continuum and the pixels of its fit."""
    order = inference.order
    if order is None:
        order = np.zeros(inference.wavelength.size, np.int64)
    flux = inference.flux / positive_continuum(inference)
    return _in_orders(star.name, star.spectrum, inference.wavelength, flux, order)


def _in_orders(
    name: str, spectrum: Spectrum, wavelength: Floats, flux: Floats, order: Integers
) -> ShownStar:
    """Sort pixels (Q,) by order, and find the gaps."""
    sort = np.argsort(order, kind="stable")
    wavelength, flux, order = wavelength[sort], flux[sort], order[sort]
    gap_before = np.append(True, np.diff(order) != 0)
    for number in np.unique(order):
        index = np.flatnonzero(order == number)
        gap_before[index[1:]] |= gaps(wavelength[index])
    return ShownStar(name, spectrum, wavelength, flux, order, gap_before)


def _continuum(spectrum: Spectrum) -> Floats:
    """A smooth curve through the upper parts, or a constant where there are too few pixels."""
    flux = np.where(spectrum.good, spectrum.flux, np.nan)
    try:
        return fit_continuum(spectrum.wavelength, flux, degree=_DEGREE, quantile=_QUANTILE)
    except SpectrumError:
        level = float(np.quantile(np.abs(spectrum.flux), _QUANTILE)) or 1.0
        return np.full(len(spectrum), level)


def interpolate_flux(
    wavelength: Floats, pixels: Floats, flux: NDArray[np.float32], margin: int = 16
) -> Floats:
    """Flux (P,) at `pixels` (P,) interpolated to `wavelength` (Q,) by cubic splines."""
    if not wavelength.size:
        return np.empty(0)
    index = np.interp(wavelength, pixels, np.arange(pixels.size))
    first = max(int(index.min()) - margin, 0)
    near = flux[first : int(index.max()) + margin].astype(np.float64)
    return np.asarray(map_coordinates(near, [index - first], order=3, mode="nearest"))


@dataclass(frozen=True, eq=False)
class StarCurves:
    """The observed flux, and observed minus model, with NaN in gaps."""

    x: Floats
    flux: NDArray[np.float32]
    residual_x: Floats
    residual: NDArray[np.float32]


def star_curves(
    star: ShownStar, pixels: Floats, model: NDArray[np.float32], state: ViewState
) -> StarCurves:
    """The star in the window, and its residuals from a model flux (P,) at `pixels` (P,)."""
    fluxes, residuals = [], []
    for order in star.orders:
        here = window_slice(star.wavelength[order], state.window)
        wavelength, flux = star.wavelength[order][here], star.flux[order][here]
        if wavelength.size:
            residual = flux - interpolate_flux(wavelength, pixels, model)
            gap_before = star.gap_before[order][here]
            fluxes.append(_thin(wavelength, flux, gap_before, state.columns))
            residuals.append(_thin(wavelength, residual, gap_before, state.columns))
    return StarCurves(*_joined(fluxes), *_joined(residuals))


def _thin(x: Floats, y: Floats, gap_before: Bools, columns: int) -> Curve:
    kept = thin_for_screen(y, columns)
    between = np.diff(np.cumsum(gap_before)[kept], prepend=0) > 0
    return with_gaps(x[kept], y[kept], between)


def _joined(curves: list[Curve]) -> Curve:
    """One curve made of several, with gaps between them."""
    if not curves:
        return np.empty(0), np.empty(0, np.float32)
    x = np.concatenate([np.append(x, x[-1:]) for x, _ in curves])
    return x, np.concatenate([np.append(y, np.float32(np.nan)) for _, y in curves])
