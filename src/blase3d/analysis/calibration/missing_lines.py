"""Lines that the stars show and the model does not have.

What a joint fit leaves of each spectrum is compared, at every velocity, with a line of typical
width as the instrument shows it (a matched filter). Least squares give its area there in each star,

    W = −Σ w r g t / Σ w (g t)²

with the residual r, the weight w, the flux g of the model, which a further line can absorb, and the
profile t. A feature is a line if all stars together show it, and at least two of them do so by
themselves: that of one star may be telluric, or of the instrument.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import fftconvolve, find_peaks

from ...runtime.arrays import Bools, Floats
from ...runtime.units import FWHM_PER_SIGMA, SPEED_OF_LIGHT
from ...spectra.telluric import in_bands
from .joint import EnsembleFit
from .known_stars import intrinsic_width
from .observation import Observation, Predicted, weights_of

_STEP = 0.5
"""Step of the velocities, km/s."""
_TOGETHER, _EACH = 6.0, 3.0
"""Least ratio of area to error, of all stars together, and of two by themselves."""
_LOCAL = 8.0
"""Standard deviation, in full widths, of the mean residual that does not count as a line."""
_NEAR = 0.5
"""Distance, in observed full widths, within which a stronger line of the model has to change
instead."""
_FAINTEST = 0.005
"""Least depth that a line would have without broadening, in the star that shows it best."""
_LEAST_FLUX = 0.05
"""Least flux of the model that a line can absorb."""


@dataclass(frozen=True, eq=False)
class MissingLines:
    """A lines that S stars show and a model does not have.

    Attributes
    ----------
    stars : tuple of str
        The stars.
    labels : (S, L)
        Their labels.
    center : (A,)
        Wavelengths, Å in vacuum.
    area, error : (S, A)
        Equivalent width in each star, and its error, Å; the error is infinite beyond its spectra.
    """

    stars: tuple[str, ...]
    labels: Floats
    center: Floats
    area: Floats
    error: Floats

    def shown(self, without: str | None = None) -> Bools:
        """Whether the stars, all or without one, show each line, (A,)."""
        used = np.array([star != without for star in self.stars])
        return _shown(self.area[used] / self.error[used], self.error[used])

    def take(self, which: Bools) -> MissingLines:
        """Some of the lines."""
        rows = self.center[which], self.area[:, which], self.error[:, which]
        return MissingLines(self.stars, self.labels, *rows)


def unmodelled_lines(fit: EnsembleFit, widths: Sequence[float]) -> MissingLines:
    """Return the lines that a joint fit misses; `widths` (Å) are those of lines in its spectra."""
    ensemble = fit.ensemble
    model = ensemble.observations[0].model
    ends = np.array([one.rest_wavelength()[[0, -1]] for one in ensemble.observations])
    start = float(np.log(ends.min()))
    count = int((np.log(ends.max()) - start) * SPEED_OF_LIGHT / _STEP) + 1
    middle = float(np.exp(start + 0.5 * count * _STEP / SPEED_OF_LIGHT))
    sums = {star: np.zeros((2, count)) for star in ensemble.stars}
    for number, (one, width) in enumerate(zip(ensemble.observations, widths, strict=True)):
        prediction = one.predicted(fit.changes_in(number))
        repeated = sum(other.star == one.star for other in ensemble.observations)
        weights = weights_of(prediction, repeated, width)
        sums[one.star] += _filtered(prediction, weights.without_tails, width, start, count)
    data, square = np.stack(list(sums.values()), axis=1)
    known = _in_spectra(square)
    area = np.where(known, data / np.where(known, square, 1.0), 0.0)
    error = np.where(known, np.where(known, square, 1.0) ** -0.5, np.inf)
    together = _together(area / error, error)
    apart = max(min(widths) / middle * SPEED_OF_LIGHT / _STEP, 1.0)
    peaks, _ = find_peaks(together, height=_TOGETHER, distance=apart)
    center = np.exp(start + peaks * _STEP / SPEED_OF_LIGHT)
    per_velocity = center / SPEED_OF_LIGHT
    labels = np.array([list(_labels_of(fit, star).values()) for star in ensemble.stars])
    found = MissingLines(
        ensemble.stars,
        labels,
        center,
        area[:, peaks] * per_velocity,
        error[:, peaks] * per_velocity,
    )
    width = intrinsic_width(model, _labels_of(fit, ensemble.stars[0]))
    deep = found.area.max(axis=0, initial=0.0) > _FAINTEST * width
    stellar = ~in_bands(center)  # stars of one velocity share telluric lines
    return found.take(found.shown() & deep & stellar & ~_beside_a_line(found, fit, min(widths)))


def _in_spectra(square: Floats) -> Bools:
    """Whether stars (S, V) have pixels at a velocity, from the squares of the filter: where they
    have none, it leaves rounding errors of the transform."""
    some = np.where(square > 1e-9 * square.max(axis=1, keepdims=True), square, np.nan)
    return square > 1e-3 * np.nanmedian(some, axis=1, keepdims=True)


def _labels_of(fit: EnsembleFit, star: str) -> dict[str, float]:
    return next(one for one in fit.ensemble.observations if one.star == star).labels()


def _filtered(
    prediction: Predicted, weight: Floats, width: float, start: float, count: int
) -> Floats:
    """Sums (2, `count`) of data and squares of the filter, on velocities from `start` in ln λ."""
    one = prediction.observation
    level = prediction.level(prediction.continuum(weight))
    left = one.flux / level - prediction.flux
    weight = weight * level**2
    rest = one.rest_wavelength()
    at = ((np.log(rest) - start) * SPEED_OF_LIGHT / _STEP).round().astype(int).clip(0, count - 1)

    def on_grid(values: Floats) -> Floats:
        return np.bincount(at, values, count).astype(np.float64)

    profile = _profile(one)
    local = _LOCAL * width / float(np.median(rest)) * SPEED_OF_LIGHT / _STEP
    total, mean = (gaussian_filter1d(on_grid(each), local) for each in (weight, weight * left))
    left = left - (mean / np.maximum(total, 1e-12 * total.max()))[at]
    gain = np.maximum(prediction.flux, _LEAST_FLUX)
    data = fftconvolve(on_grid(-weight * left * gain), profile, mode="same")
    square = fftconvolve(on_grid(weight * gain**2), profile**2, mode="same")
    return np.stack([data, square])


def _profile(one: Observation) -> Floats:
    """A line of unit area (km/s), broadened as in a spectrum; symmetric, so that it is its own
    mirror."""
    velocity, kernel = one.kernel()
    middle = float(np.median(one.wavelength))
    sigma = intrinsic_width(one.model, one.labels()) / FWHM_PER_SIGMA / middle * SPEED_OF_LIGHT
    far = np.arange(0.0, velocity[-1], _STEP)
    broad = np.interp(np.concatenate([-far[:0:-1], far]), velocity, kernel)
    smooth = gaussian_filter1d(broad, sigma / _STEP, mode="constant")
    return smooth / (smooth.sum() * _STEP)


def _together(ratio: Floats, error: Floats) -> Floats:
    """Area over error of all stars together, from those (S, A) of each."""
    weight = error**-2.0
    return (ratio / error).sum(axis=0) / np.sqrt(np.maximum(weight.sum(axis=0), 1e-300))


def _shown(ratio: Floats, error: Floats) -> Bools:
    if len(ratio) < 2:
        return np.zeros(ratio.shape[1], bool)
    second = np.sort(ratio, axis=0)[-2]
    return (_together(ratio, error) > _TOGETHER) & (second > _EACH)


def _beside_a_line(found: MissingLines, fit: EnsembleFit, width: float) -> Bools:
    """Whether a line of the model that is as strong lies within half a width (Å)."""
    beside, changes = np.zeros(found.center.size, bool), fit.changes()[:, :3]
    ends = found.center[:, None] + _NEAR * width * np.array([-1.0, 1.0])
    for one in fit.ensemble.observations:
        lines = one.model_with(changes).lines(**one.labels())
        order = np.argsort(lines.center)
        area = np.exp(lines.ln_area[order])
        near = np.searchsorted(lines.center[order], ends)
        strongest = np.array([area[slice(*each)].max(initial=0.0) for each in near])
        beside |= strongest > np.abs(found.area[found.stars.index(one.star)])
    return beside
