"""The observed spectrum on the page: in units of its continuum, order by order."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from ...errors import SpectrumError
from ...inference.plots import gaps, sections
from ...inference.result import Inference
from ...model.model import Model, check_overlap
from ...runtime.arrays import Bools, Floats, Integers
from ...spectra.continuum import fit_continuum
from ...spectra.spectrum import Spectrum, cut
from .screen import thin_for_screen, window_slice, with_gaps
from .state import ViewState

_DEGREE, _QUANTILE = 2, 0.9
"""Degree and quantile of the continuum that a spectrum is divided by until it is fitted."""

Curve = tuple[Floats, NDArray[np.float32]]
"""x and y."""


@dataclass(frozen=True, eq=False)
class ShownOrder:
    """The pixels shown of one echelle order, or of a spectrum without orders.

    Attributes
    ----------
    number : int
        Number of the order; zero without orders.
    wavelength, flux : (Q,)
        Å, increasing; units of the continuum.
    gap_before : (Q,) bool
        Pixels before which the curve is interrupted.
    """

    number: int
    wavelength: Floats
    flux: Floats
    gap_before: Bools


@dataclass(frozen=True, eq=False)
class ShownStar:
    """An observed spectrum within the range of the model.

    Attributes
    ----------
    name : str
        Name of its file.
    spectrum : Spectrum
        The spectrum as read, cut to the model.
    orders : list of ShownOrder
        Its pixels, order by order.
    """

    name: str
    spectrum: Spectrum
    orders: list[ShownOrder]

    @property
    def wavelength(self) -> Floats:
        """Wavelengths (Q,) of all orders, one after the other, Å."""
        return np.concatenate([order.wavelength for order in self.orders])

    @property
    def flux(self) -> Floats:
        """Flux (Q,) of all orders, in units of the continuum."""
        return np.concatenate([order.flux for order in self.orders])

    @property
    def order(self) -> Integers:
        """Number (Q,) of the order of every pixel."""
        numbers = [order.number for order in self.orders]
        return np.repeat(numbers, [order.flux.size for order in self.orders])


def show_star(name: str, spectrum: Spectrum, model: Model) -> ShownStar:
    """Divide a spectrum by its continuum, or by a smooth curve through its upper envelope.

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
    numbers = np.zeros(len(spectrum), np.int64) if spectrum.order is None else spectrum.order
    orders = []
    for number in np.unique(numbers[spectrum.good]):
        order = cut(spectrum, numbers == number)
        continuum = _continuum(order) if order.continuum is None else order.continuum
        wavelength, flux = order.wavelength[order.good], (order.flux / continuum)[order.good]
        gap_before = np.append(True, gaps(wavelength))
        orders.append(ShownOrder(int(number), wavelength, flux, gap_before))
    return ShownStar(name, spectrum, orders)


def with_fit(star: ShownStar, inference: Inference) -> ShownStar:
    """The star by the continuum and the pixels of its fit."""
    orders = [
        ShownOrder(one.order or 0, one.wavelength, one.flux, one.gap_before)
        for one in sections(inference)
    ]
    return replace(star, orders=orders)


def _continuum(spectrum: Spectrum) -> Floats:
    """A smooth curve through the upper envelope, or a constant where there are too few pixels."""
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
    fluxes: list[Curve] = []
    residuals: list[Curve] = []
    for order in star.orders:
        here = window_slice(order.wavelength, state.window)
        wavelength, flux = order.wavelength[here], order.flux[here]
        if wavelength.size:
            residual = flux - interpolate_flux(wavelength, pixels, model)
            for curves, values in ((fluxes, flux), (residuals, residual)):
                curves.append(_thin(wavelength, values, order.gap_before[here], state.columns))
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
