"""What the report shows, computed once: an inference in units of the continuum, and its lines."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from ...analysis.fisher import LineInformation, line_information
from ...errors import InputError
from ...inference.result import Inference
from ...model.instrument import observe
from ...model.model import Model
from ...spectra.continuum import chebyshev_basis
from ...spectra.spectrum import Spectrum
from ...units import SPEED_OF_LIGHT

Floats = NDArray[np.float64]
Stretch = tuple[float, float]

ZOOMS = 4
"""Windows shown from near."""
_ZOOM_PART = 700.0
"""A window is this fraction of its wavelength wide, about 12 Å at 8500 Å."""
_BESIDE = 0.35
"""Å from its centre at which a line is compared with its surroundings."""
_SMOOTH = 8
"""Degree of the continuum by which a fit is divided, in each order."""
_ROUGH = 0.01
"""rms part of the fit that such a continuum may miss; beyond it every pixel has its own."""
_DARK = 0.05
"""Part of the continuum below which a pixel does not tell it."""
_GAP = 1.6
"""Steps in wavelength longer than so many usual ones are gaps, which curves do not bridge."""
_AROUND = 9
"""Steps by whose median it is judged what is usual."""


@dataclass(frozen=True, eq=False)
class View:
    """An inference as it is shown.

    Attributes
    ----------
    inference : Inference
        The inference.
    wavelength : (Q,)
        The pixels used, Å in vacuum as observed; increasing within an order, order after order.
    flux, model, error : (Q,)
        In units of the continuum.
    outlier : (Q,) bool
        Pixels that were given less weight.
    order : (Q,) int
        Echelle order of each pixel; zero where none are known.
    unused : list of (low, high)
        Stretches (Å) without a used pixel, within what was used.
    masked : Floats
        Wavelengths of pixels that are there and were not used; empty where they are not known.
    information : LineInformation
        The lines, and which label each carries.
    labels : dict of float
        The labels at which they are.
    stretch : float
        Observed over emitted wavelength.
    width : float
        What instrument and rotation broaden lines by: full width at half maximum, part of λ.
    """

    inference: Inference
    wavelength: Floats
    flux: Floats
    model: Floats
    error: Floats
    outlier: NDArray[np.bool_]
    order: NDArray[np.int64]
    unused: list[Stretch]
    masked: Floats
    information: LineInformation
    labels: dict[str, float]
    stretch: float
    width: float

    @property
    def low(self) -> float:
        """Shortest wavelength, Å."""
        return float(self.wavelength.min())

    @property
    def high(self) -> float:
        """Longest wavelength, Å."""
        return float(self.wavelength.max())

    @property
    def orders(self) -> list[slice]:
        """Where each order stands in the arrays."""
        starts = np.flatnonzero(np.diff(self.order)) + 1
        ends = [0, *starts.tolist(), self.order.size]
        return [slice(a, b) for a, b in pairwise(ends)]

    @property
    def gap_before(self) -> NDArray[np.bool_]:
        """Pixels (Q,) before which a curve is interrupted."""
        gap = np.zeros(self.wavelength.size, bool)
        for part in self.orders:
            gap[part] = np.concatenate([[True], gaps(self.wavelength[part])])
        return gap

    @property
    def seen_centers(self) -> Floats:
        """Where the lines stand in the observation, Å."""
        return self.information.lines.center * self.stretch

    @property
    def contrast(self) -> Floats:
        """How far the model at each line is below what it is a little to both sides of it."""
        centers, order = self.seen_centers, np.argsort(self.wavelength, kind="stable")
        middle, left, right = (
            np.interp(centers + offset, self.wavelength[order], self.model[order])
            for offset in (0.0, -_BESIDE, _BESIDE)
        )
        return np.minimum(left, right) - middle

    @property
    def windows(self) -> list[Stretch]:
        """The windows that hold most of the information: the best of each label, then others."""
        centers, share = self.seen_centers, self.information.share
        inside = (centers >= self.low) & (centers <= self.high)
        chosen: list[Stretch] = []
        for column in [*share.T, *[share.sum(axis=1)] * ZOOMS]:
            if len(chosen) == ZOOMS:
                break
            free = inside & ~_within(centers, chosen)
            if free.any():
                chosen.append(_best_window(centers[free], column[free]))
        return sorted(chosen)


def make_view(inference: Inference, model: Model, spectrum: Spectrum | None = None) -> View:
    """What is shown of an inference.

    Parameters
    ----------
    inference : Inference
        What was found.
    model : Model
        The model it was found with.
    spectrum : Spectrum, optional
        The observation: it tells which pixels were masked, and the orders.

    Raises
    ------
    InputError
        The spectrum is another than the one that was inferred.
    """
    labels, sight = found_values(inference, model)
    rv, vsini = sight.get("rv", 0.0), sight.get("vsini")
    resolution = _finite(sight.get("resolution"))
    order, masked = _placed(inference, spectrum)
    continuum = fitted_continuum(inference, model, spectrum)
    error = inference.error / continuum
    information = line_information(
        model,
        labels,
        free=[name for name in model.label_names if name in inference.names] or None,
        rv=rv,
        vsini=vsini,
        resolution=resolution,
        wavelength=inference.wavelength,
        error=np.where(error > 0, error, np.inf),
    )
    sort = np.argsort(order, kind="stable")
    weight = np.ones(order.size) if inference.weight is None else inference.weight
    return View(
        inference,
        inference.wavelength[sort],
        (inference.flux / continuum)[sort],
        (inference.model / continuum)[sort],
        error[sort],
        (weight < 1.0)[sort],
        order[sort],
        _unused(np.sort(inference.wavelength)),
        masked,
        information,
        labels,
        1.0 + rv / SPEED_OF_LIGHT,
        float(np.hypot(1.0 / resolution if resolution else 0.0, (vsini or 0.0) / SPEED_OF_LIGHT)),
    )


def found_values(inference: Inference, model: Model) -> tuple[dict[str, float], dict[str, float]]:
    """The labels that were found, within the library, and rv, vsini, vmac and resolution."""
    labels = {
        name: float(np.clip(inference.labels[name].value, *bounds))
        for name, bounds in model.bounds.items()
    }
    return labels, {**inference.fixed, **{name: e.value for name, e in inference.nuisance.items()}}


def fitted_continuum(
    inference: Inference, model: Model, spectrum: Spectrum | None = None
) -> Floats:
    """The continuum (Q,) of what was inferred, in units of the observation; the spectrum tells of
    orders, and InputError is raised as by `make_view`."""
    labels, sight = found_values(inference, model)
    seen = jax.jit(observe)(
        model.emulator,
        model.label_vector(**labels),
        model.places(inference.wavelength),
        sight.get("rv", 0.0),
        sight.get("vsini"),
        _finite(sight.get("resolution")),
        vmac=sight.get("vmac") or None,
    )
    order, _ = _placed(inference, spectrum)
    plain = np.asarray(seen, np.float64)
    return _continuum(inference, plain, None if spectrum is None else order)


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else value


def _placed(inference: Inference, spectrum: Spectrum | None) -> tuple[NDArray[np.int64], Floats]:
    """Orders (Q,) of the pixels used, and wavelengths of those that were not."""
    if spectrum is None:
        return np.zeros(inference.wavelength.size, np.int64), np.empty(0)
    place = np.searchsorted(spectrum.wavelength, inference.wavelength)
    place = np.minimum(place, len(spectrum) - 1)
    if not np.array_equal(spectrum.wavelength[place], inference.wavelength):
        raise InputError(
            "the spectrum has other wavelengths than the one that was inferred, expected the same; "
            "give that one."
        )
    order = np.zeros(len(spectrum), np.int64) if spectrum.order is None else spectrum.order
    unused = np.ones(len(spectrum), bool)
    unused[place] = False
    low, high = inference.wavelength[[0, -1]]
    unused &= (spectrum.wavelength >= low) & (spectrum.wavelength <= high)
    return order[place], spectrum.wavelength[unused]


def _continuum(inference: Inference, plain: Floats, order: NDArray[np.int64] | None) -> Floats:
    """The C in units of the observation with which plain C is closest to the fit, (Q,): smooth in
    every order. Where orders are not known and one smooth curve is far off, pixel by pixel."""
    wavelength, fit = inference.wavelength, inference.model
    if order is None:
        smooth = _smooth_continuum(wavelength, fit, plain)
        off = np.sqrt(np.mean((fit - plain * smooth) ** 2)) / np.sqrt(np.mean(fit**2))
        return smooth if off <= _ROUGH else _pixel_continuum(wavelength, fit, plain)
    continuum = np.empty_like(plain)
    for name in np.unique(order):
        part = order == name
        continuum[part] = _smooth_continuum(wavelength[part], fit[part], plain[part])
    return continuum


def _smooth_continuum(wavelength: Floats, fit: Floats, plain: Floats) -> Floats:
    if wavelength.size <= _SMOOTH:
        return np.full_like(plain, np.median(fit) or 1.0)
    basis = chebyshev_basis(wavelength, _SMOOTH)
    best, *_ = np.linalg.lstsq(basis * plain[:, None], fit, rcond=None)
    continuum = basis @ best
    usual = float(np.median(np.abs(continuum))) or 1.0
    return np.where(continuum > 0.01 * usual, continuum, usual)


def _pixel_continuum(wavelength: Floats, fit: Floats, plain: Floats) -> Floats:
    tells = (plain > _DARK) & (fit > 0)
    if not tells.any():
        return np.full_like(plain, np.median(np.abs(fit)) or 1.0)
    return np.interp(wavelength, wavelength[tells], (fit / plain)[tells])


def gaps(wavelength: Floats) -> NDArray[np.bool_]:
    """Which steps (Q − 1,) are longer than those around them."""
    steps = np.diff(wavelength)
    if steps.size < 2:
        return np.zeros(steps.size, bool)
    return steps > _GAP * median_filter(steps, min(_AROUND, steps.size), mode="nearest")


def _unused(wavelength: Floats) -> list[Stretch]:
    """Stretches without a pixel, from half a step after one to half a step before the next."""
    steps = np.diff(wavelength)
    if steps.size < 2:
        return []
    usual = median_filter(steps, min(_AROUND, steps.size), mode="nearest")
    places = np.flatnonzero(steps > _GAP * usual)
    return [
        (float(wavelength[i] + usual[i] / 2), float(wavelength[i + 1] - usual[i] / 2))
        for i in places
    ]


def _within(values: Floats, windows: list[Stretch]) -> NDArray[np.bool_]:
    """Which values are inside a window, or so near that a window around them would overlap."""
    near = np.zeros(values.shape, bool)
    for low, high in windows:
        margin = (high - low) / 2
        near |= (values > low - margin) & (values < high + margin)
    return near


def _best_window(centers: Floats, worth: Floats) -> Stretch:
    """The window around one of the lines within which the lines are worth most together."""
    order = np.argsort(centers)
    ordered, total = centers[order], np.append(0.0, np.cumsum(worth[order]))
    half = ordered / _ZOOM_PART / 2
    first = np.searchsorted(ordered, ordered - half)
    stop = np.searchsorted(ordered, ordered + half, side="right")
    best = int(np.argmax(total[stop] - total[first]))
    return float(ordered[best] - half[best]), float(ordered[best] + half[best])
