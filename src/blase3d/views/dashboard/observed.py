"""An observed spectrum as the page shows it: in units of its continuum, order after order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from ...errors import SpectrumError
from ...inference.result import Inference
from ...model.model import Model, check_overlap
from ...spectra.continuum import fit_continuum
from ...spectra.spectrum import Spectrum, cut
from ..report.report_data import fitted_continuum, gaps
from .curves import Floats, shown, stretch_of, with_gaps
from .settings import Settings, Window

_DEGREE, _QUANTILE = 2, 0.9
"""Of the continuum that a spectrum is divided by until it is fitted."""


@dataclass(frozen=True, eq=False)
class Observed:
    """An observed spectrum within the range of the model.

    Attributes
    ----------
    name : str
        Of its file.
    spectrum : Spectrum
        As it was read, cut to the model.
    wavelength, flux, continuum : (Q,)
        The pixels used, order after order; the flux is in units of the continuum.
    order : (Q,)
        Number of the echelle order; zero where there are none.
    breaks : (Q,) bool
        Pixels before which the curve is interrupted.
    inference : Inference or None
        What was found of it.
    """

    name: str
    spectrum: Spectrum
    wavelength: Floats
    flux: Floats
    continuum: Floats
    order: NDArray[np.int64]
    breaks: NDArray[np.bool_]
    inference: Inference | None = None

    @property
    def orders(self) -> list[slice]:
        """Where each order stands in the arrays."""
        starts = np.flatnonzero(np.diff(self.order)) + 1
        return [slice(a, b) for a, b in pairwise([0, *starts.tolist(), self.order.size])]

    @property
    def range(self) -> Window:
        """Å of its pixels."""
        return float(self.wavelength.min()), float(self.wavelength.max())


def observed(name: str, spectrum: Spectrum, model: Model) -> Observed:
    """A spectrum by its own continuum, or one through its upper parts.

    Raises
    ------
    InputError
        It does not overlap with the model, or no pixel there can be used.
    """
    inside = check_overlap(model, spectrum.wavelength)
    if not (inside & spectrum.good).any():
        raise SpectrumError(
            "no pixel of the spectrum within the model can be used, expected some; give another "
            "spectrum, or a model of its range."
        )
    spectrum = cut(spectrum, inside)
    order = np.zeros(len(spectrum), np.int64) if spectrum.order is None else spectrum.order
    if spectrum.continuum is not None:
        continuum = spectrum.continuum
    else:
        continuum = np.empty(len(spectrum))
        for one in np.unique(order):
            continuum[order == one] = _continuum(cut(spectrum, order == one))
    good = spectrum.good
    return _ordered(name, spectrum, continuum[good], order[good])


def fitted_to(before: Observed, inference: Inference, model: Model) -> Observed:
    """The spectrum by the continuum of its fit, with the pixels that were used for it."""
    spectrum = before.spectrum
    place = np.searchsorted(spectrum.wavelength, inference.wavelength)
    order = np.zeros(len(spectrum), np.int64) if spectrum.order is None else spectrum.order
    used = np.zeros(len(spectrum), bool)
    used[place] = True
    kept = replace(spectrum, mask=~used)
    continuum = fitted_continuum(inference, model, spectrum)
    return replace(
        _ordered(before.name, kept, continuum, order[place]),
        spectrum=spectrum,
        inference=inference,
    )


def _ordered(
    name: str, spectrum: Spectrum, continuum: Floats, order: NDArray[np.int64]
) -> Observed:
    """From the continuum and order of the usable pixels (Q,)."""
    good, sort = spectrum.good, np.argsort(order, kind="stable")
    wavelength, flux = spectrum.wavelength[good][sort], spectrum.flux[good][sort]
    continuum, order = continuum[sort], order[sort]
    breaks = np.append(True, np.diff(order) != 0)
    for name_of_order in np.unique(order):
        place = np.flatnonzero(order == name_of_order)
        breaks[place[1:]] |= gaps(wavelength[place])
    return Observed(name, spectrum, wavelength, flux / continuum, continuum, order, breaks)


def _continuum(spectrum: Spectrum) -> Floats:
    """A smooth curve through the upper parts; a level where there are too few for one."""
    flux = np.where(spectrum.good, spectrum.flux, np.nan)
    try:
        return fit_continuum(spectrum.wavelength, flux, degree=_DEGREE, quantile=_QUANTILE)
    except SpectrumError:
        level = float(np.quantile(np.abs(spectrum.flux), _QUANTILE)) or 1.0
        return np.full(len(spectrum), level)


def model_at(
    wavelength: Floats, own: Floats, flux: NDArray[np.float32], margin: int = 16
) -> Floats:
    """The model's flux (P,) on its own pixels (P,), at other wavelengths (Q,): by cubic splines."""
    if not wavelength.size:
        return np.empty(0)
    place = np.interp(wavelength, own, np.arange(own.size))
    first = max(int(place.min()) - margin, 0)
    near = flux[first : int(place.max()) + margin].astype(np.float64)
    return np.asarray(map_coordinates(near, [place - first], order=3, mode="nearest"))


@dataclass(frozen=True, eq=False)
class Drawn:
    """What of an observation is sent: the spectrum, and observed minus model, with NaN in gaps."""

    x: Floats
    flux: NDArray[np.float32]
    residual_x: Floats
    residual: NDArray[np.float32]


def drawn(star: Observed, own: Floats, model: NDArray[np.float32], settings: Settings) -> Drawn:
    """The observation in the window, and what is left of it by the model on its `own` pixels."""
    fluxes, residuals = [], []
    for order in star.orders:
        part = stretch_of(star.wavelength[order], settings.window)
        wavelength, flux = star.wavelength[order][part], star.flux[order][part]
        if wavelength.size:
            left, breaks = flux - model_at(wavelength, own, model), star.breaks[order][part]
            fluxes.append(_curve(wavelength, flux, breaks, settings.columns))
            residuals.append(_curve(wavelength, left, breaks, settings.columns))
    return Drawn(*_joined(fluxes), *_joined(residuals))


def _curve(
    x: Floats, y: Floats, breaks: NDArray[np.bool_], columns: int
) -> tuple[Floats, NDArray[np.float32]]:
    kept = shown(y, columns)
    between = np.diff(np.cumsum(breaks)[kept], prepend=0) > 0
    return with_gaps(x[kept], y[kept], between)


def _joined(
    curves: list[tuple[Floats, NDArray[np.float32]]],
) -> tuple[Floats, NDArray[np.float32]]:
    """One curve of several, with a gap between them."""
    if not curves:
        return np.empty(0), np.empty(0, np.float32)
    x = np.concatenate([np.append(x, x[-1:]) for x, _ in curves])
    return x, np.concatenate([np.append(y, np.float32(np.nan)) for _, y in curves])
