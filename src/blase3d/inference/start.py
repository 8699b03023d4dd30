"""Starts of a search: the spectrum compared with coarse templates of the model.

A first velocity comes from cross-correlation with some templates: on equal steps in ln λ a shift is
a velocity (Tonry & Davis 1979, AJ 84, 1511). Then chi-square, with the continuum solved for, is
computed on a finer lattice of labels, for which the templates are interpolated. The search starts
at its local minima.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import jax
import numpy as np
from jax import Array
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import minimum_filter

from ..model.interpolation import Interpolation
from ..parameters import parameter
from ..runtime.arrays import Floats, Integers, Singles, median
from ..runtime.traces import traced_once
from ..runtime.units import FWHM_PER_SIGMA, SIGMA_PER_MAD, SPEED_OF_LIGHT
from ..spectra.continuum import chebyshev_basis
from .problem import FreeParameters, Problem
from .templates import Templates, templates_of

_FINE = 300
"""Points of the scan, at most."""
_FEWER = 24
"""Templates with which a velocity, or a broadening, is sought, at most."""
_STARTS = 3
"""Starts, at most."""
_WORTH = 1.5
"""Chi-square of a start over the lowest, at most: a search hardly recovers from a higher one."""
_ROTATION_SIGMA = 0.48
"""Standard deviation of the rotation kernel in units of v sin i, at a limb darkening of 0.6."""
_TURBULENCE_SIGMA = 0.5
"""Standard deviation of the macroturbulence kernel in units of vmac."""
CLIP = 5.0
"""Typical deviations beyond which a pixel does not count for the smooth level."""
CLIPPINGS = 4
"""Fits of the smooth level."""
PIXELS_PER_DEGREE = 20
"""Pixels for each degree of the smooth level, at least."""
DARK = 0.05
"""Smallest smooth level, in units of the median flux: lower values are replaced by that."""
LEAST_VARIANCE = 1e-4
"""Variance of a template over the pixels of a spectrum, relative to the largest at any velocity:
where it is less, next to no line is left to compare."""
RANGE = 0.5
"""Fluxes are clipped to this far below zero and above one, in units of the smooth level."""


# --- the spectrum ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _BinnedSpectrum:
    """A spectrum in the N bins of the templates that hold its pixels.

    Attributes
    ----------
    position : (N,)
        Index of the bin in the templates.
    flux : (N,)
        In units of the smooth level.
    weight : (N,)
        Inverse variance of the flux.
    basis : (N, D)
        Polynomials of the continuum.
    order : (N,)
        Index of the echelle order.
    """

    position: Integers
    flux: Floats
    weight: Floats
    basis: Floats
    order: Integers


def _binned(problem: Problem, templates: Templates) -> _BinnedSpectrum:
    spectrum = problem.spectrum
    flux, weight, order = levelled(problem)
    ln = np.log(spectrum.wavelength[spectrum.good])
    position = np.rint((ln - templates.first) * SPEED_OF_LIGHT / templates.step).astype(np.int64)
    count = templates.departure.shape[1]
    position = np.clip(position, 0, count - 1)
    keys, inverse = np.unique(order * count + position, return_inverse=True)
    total = np.asarray(np.bincount(inverse, weight), np.float64)
    mean = np.bincount(inverse, weight * flux) / total
    order, position = np.divmod(keys, count)
    degree = max(problem.options.degree, 0)
    basis = np.empty((keys.size, degree + 1))
    for number in np.unique(order):
        chosen = order == number
        basis[chosen] = _basis(np.asarray(position[chosen], np.float64), degree)
    return _BinnedSpectrum(position.astype(np.int64), mean, total, basis, order.astype(np.int64))


def _basis(x: Floats, degree: int) -> Floats:
    """Chebyshev polynomials (N, D) over the range of x (N,); the constant alone if it has none."""
    if np.ptp(x) == 0.0:
        return np.eye(1, degree + 1).repeat(x.size, axis=0)
    return chebyshev_basis(x, degree)


def levelled(problem: Problem) -> tuple[Floats, Floats, Integers]:
    """Flux of the used pixels over a smooth level of each order, with spikes clipped, its inverse
    variance, and the index of the order."""
    spectrum, good = problem.spectrum, problem.spectrum.good
    flux, order = spectrum.flux[good], np.zeros(int(good.sum()), np.int64)
    if spectrum.order is not None:
        order = np.unique(spectrum.order[good], return_inverse=True)[1].astype(np.int64)
    error = np.ones_like(flux) if spectrum.error is None else spectrum.error[good]
    level = np.ones_like(flux)
    if problem.options.degree >= 0:
        for number in range(order.max() + 1):
            chosen = order == number
            level[chosen] = _smooth_level(spectrum.wavelength[good][chosen], flux[chosen], problem)
    noise = np.zeros_like(flux) if spectrum.error is None else CLIP * error / level
    relative = np.clip(flux / level, -RANGE - noise, 1.0 + RANGE + noise)
    return relative, (level / error) ** 2, order


def _smooth_level(wavelength: Floats, flux: Floats, problem: Problem) -> Floats:
    """A polynomial through the flux (P,), fitted with outliers clipped, and clearly positive."""
    degree = min(problem.options.degree, max(wavelength.size // PIXELS_PER_DEGREE, 0))
    if np.ptp(wavelength) == 0.0:
        degree = 0
    basis = _basis(wavelength, degree)
    keep = np.ones(flux.size, bool)
    smooth = flux
    for _ in range(CLIPPINGS):
        kept = basis[keep]  # of tall columns, their products are ten times faster to solve
        smooth = basis @ np.linalg.lstsq(kept.T @ kept, kept.T @ flux[keep], rcond=None)[0]
        distance = np.abs(flux - smooth)
        keep = distance <= CLIP * SIGMA_PER_MAD * median(distance) + 1e-12
        if keep.sum() <= 2 * (degree + 1):
            break
    typical = median(np.abs(flux)) or 1.0
    return np.where(smooth > DARK * typical, smooth, typical)


# --- velocity ----------------------------------------------------------------------------------


def _velocity(
    problem: Problem, templates: Templates, binned: _BinnedSpectrum, allowed: Integers
) -> float:
    """Velocity (km/s) at which a multiple of any of the allowed templates fits best.

    The residual falls by C²/E, with the covariance C of spectrum and template and the variance E of
    the template, both over the bins of the spectrum (Zucker 2003, MNRAS 342, 1291). E depends on
    the velocity: strong lines may be masked, or beyond the ends.
    """
    prior = problem.free["rv"]
    rows = templates.departure[evenly_chosen(allowed)].astype(np.float64)
    count = rows.shape[1]
    length = next_fast_len(2 * count, real=True)
    total = np.bincount(binned.position, binned.weight, count)
    absorbed = np.bincount(binned.position, binned.weight * (binned.flux - 1.0), count)
    seen = total > 0.0
    departure = absorbed / np.where(seen, total, 1.0)
    departure[seen] -= departure[seen].mean()

    def correlated(data: Floats, rows: Floats) -> Floats:
        return irfft(rfft(data, length) * np.conj(rfft(rows, length)), length)

    found = seen.astype(np.float64)
    variance = correlated(found, rows**2) - correlated(found, rows) ** 2 / found.sum()
    least = LEAST_VARIANCE * variance.max(axis=1, keepdims=True) + 1e-30
    correlation = correlated(departure, rows) / np.sqrt(np.maximum(variance, least))
    velocity = np.fft.fftfreq(length, 1.0 / (length * templates.step))
    shift = SPEED_OF_LIGHT * np.expm1(velocity / SPEED_OF_LIGHT)
    inside = (shift >= prior.low) & (shift <= prior.high)
    if not inside.any():
        return 0.5 * (prior.low + prior.high)
    best = np.unravel_index(np.where(inside, correlation, -np.inf).argmax(), correlation.shape)
    peak = _peak(correlation[best[0]], int(best[1]), velocity)
    return float(np.clip(peak, prior.low, prior.high))


def evenly_chosen(allowed: Integers) -> Integers:
    """At most `_FEWER` of the allowed templates, evenly chosen."""
    return allowed[:: -(-len(allowed) // _FEWER)]


def _peak(correlation: Floats, at: int, velocity: Floats) -> float:
    """Velocity at the top of the parabola through a maximum and its neighbours."""
    left, middle, right = (correlation[(at + k) % correlation.size] for k in (-1, 0, 1))
    curvature = left - 2.0 * middle + right
    fraction = 0.5 * (left - right) / curvature if curvature < 0.0 else 0.0
    step = velocity[1] - velocity[0]
    return float(SPEED_OF_LIGHT * np.expm1((velocity[at] + fraction * step) / SPEED_OF_LIGHT))


# --- labels ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Scan:
    """A spectrum compared with templates of its model.

    Attributes
    ----------
    problem : Problem
        The spectrum and the model.
    first : dict of float
        First guesses of the free parameters of the observation.
    """

    problem: Problem
    templates: Templates
    binned: _BinnedSpectrum
    first: dict[str, float]

    @property
    def size(self) -> int:
        """Number of bins."""
        return self.binned.position.size

    def chi2(self, points: Floats, first: dict[str, float]) -> Floats:
        """Chi-square (S,) at points (S, L) of the labels, with guesses of the other parameters.

        Without stated errors, the lowest is the number of bins.
        """
        departure = _observed(self.templates, self.binned, self.problem, first, slice(None))
        interpolation = self.templates.interpolation
        weights = np.asarray(_weights(interpolation, jax.device_put(points.astype(np.float32))))
        degree = self.problem.options.degree
        chi2 = _chi2(self.binned, weights @ departure, degree)
        if self.problem.spectrum.error is None:
            chi2 = chi2 * (self.size / max(float(chi2.min()), 1e-12))
        return chi2

    def gain(self) -> float:
        """Improvement of chi-square by the lines, at the best template, over its scatter."""
        degree = self.problem.options.degree
        departure = _observed(self.templates, self.binned, self.problem, self.first, slice(None))
        flat = _chi2(self.binned, np.zeros_like(departure[:1]), degree)[0]
        best = _chi2(self.binned, departure, degree).min()
        least = 1e-30 if self.problem.spectrum.error is None else 1.0
        return float((flat - best) / max(best / self.size, least))


def scan_of(problem: Problem) -> Scan:
    """Return the comparison of a spectrum with templates, with first guesses of velocity and
    broadening."""
    templates = templates_of(problem.model)
    binned = _binned(problem, templates)
    allowed = _allowed(problem, templates)
    first: dict[str, float] = {}
    if "rv" in problem.free:
        first["rv"] = _velocity(problem, templates, binned, allowed)
    first |= _broadening(problem, templates, binned, allowed, first)
    return Scan(problem, templates, binned, first)


def starts(problem: Problem) -> list[Floats]:
    """Return points θ (K,) from which to search, that of the lowest chi-square first."""
    scan = scan_of(problem)
    lattice = lattice_of(problem)
    return lattice_starts(problem, lattice, scan.chi2(lattice.points, scan.first), scan.first)


@dataclass(frozen=True, eq=False)
class LabelLattice:
    """The labels of a scan: values of each, all combinations (S, L) of these, and the chi-square
    (S,) of their priors."""

    values: list[Floats]
    points: Floats
    prior: Floats


def lattice_of(problem: FreeParameters) -> LabelLattice:
    """Return the lattice of labels of a problem."""
    values = label_values(problem)
    points = np.array(list(product(*values)))
    return LabelLattice(values, points, _label_prior(problem, points))


def lattice_starts(
    problem: FreeParameters, lattice: LabelLattice, chi2: Floats, first: dict[str, float]
) -> list[Floats]:
    """Return points θ (K,) at local minima of chi-square on a lattice of labels, the lowest first.

    Parameters
    ----------
    problem : FreeParameters
        The labels and their ranges.
    lattice : LabelLattice
        The labels of the scan.
    chi2 : (S,)
        Chi-square there.
    first : dict of float
        First guesses of the other free parameters.
    """
    minima = _minima(chi2 + lattice.prior, lattice.points, lattice.values)
    return [_theta(problem, point, first) for point in minima]


@traced_once()
def _weights(interpolation: Interpolation, points: Array) -> Array:
    return jax.vmap(interpolation.weights)(points)


def _allowed(problem: Problem, templates: Templates) -> Integers:
    """Templates within the ranges of the labels, or nearest to them."""
    inside = []
    for name, values in zip(problem.model.label_names, templates.lattice, strict=True):
        low, high = _range(problem, name)
        distance = np.abs(values - 0.5 * (low + high))
        inside.append(((values >= low) & (values <= high)) | (distance == distance.min()))
    every = np.stack(np.meshgrid(*inside, indexing="ij")).all(axis=0).ravel()
    return np.flatnonzero(every)


def _range(problem: FreeParameters, name: str) -> tuple[float, float]:
    """Range of a label in the scan: its prior's, or 3 sigma around the mean of a normal one."""
    if name in problem.fixed:
        return problem.fixed[name], problem.fixed[name]
    prior = problem.free[name]
    if not np.isfinite(prior.sigma):
        return prior.low, prior.high
    low, high = prior.mean - 3.0 * prior.sigma, prior.mean + 3.0 * prior.sigma
    low, high = (float(np.clip(value, prior.low, prior.high)) for value in (low, high))
    return (low, high) if low < high else (prior.low, prior.high)


def label_values(problem: FreeParameters) -> list[Floats]:
    """Values of each label in the scan: the middles of equal intervals of its range."""
    free = [name for name in problem.axes if name in problem.free]
    counts = {name: min(2 * len(problem.axes[name]), 12) for name in free}
    while free and np.prod(list(counts.values())) > _FINE:
        counts[max(counts, key=lambda name: counts[name])] -= 1
    values = []
    for name in problem.axes:
        low, high = _range(problem, name)
        count = counts.get(name, 1)
        values.append(low + (high - low) * (np.arange(count) + 0.5) / count)
    return values


def _broadening(
    problem: Problem,
    templates: Templates,
    binned: _BinnedSpectrum,
    allowed: Integers,
    first: dict[str, float],
) -> dict[str, float]:
    """The first guesses with which any of the allowed templates fits best."""
    trials = broadening_trials(problem)
    if len(trials) == 1:
        return trials[0]
    chosen, degree = evenly_chosen(allowed), problem.options.degree

    def chi2(trial: dict[str, float]) -> float:
        departure = _observed(templates, binned, problem, {**first, **trial}, chosen)
        return float(_chi2(binned, departure, degree).min())

    return min(trials, key=chi2)


def broadening_trials(problem: FreeParameters) -> list[dict[str, float]]:
    """Return all combinations of first guesses of rotation, turbulence, resolution and dilution, as
    far as they are free."""
    guesses = {
        name: sorted({float(np.clip(value, prior.low, prior.high)) for value in guessed})
        for name, prior in problem.free.items()
        if (guessed := parameter(name).guesses)
    }
    return [dict(zip(guesses, values, strict=True)) for values in product(*guesses.values())]


def _observed(
    templates: Templates,
    binned: _BinnedSpectrum,
    problem: Problem,
    first: dict[str, float],
    chosen: Integers | slice,
) -> Singles:
    """Departures (T, N) of chosen templates in the bins of the spectrum, broadened and shifted."""
    value = {**problem.fixed, **first}
    sigma = np.hypot(
        _ROTATION_SIGMA * value["vsini"], SPEED_OF_LIGHT / FWHM_PER_SIGMA / value["resolution"]
    )
    sigma = float(np.hypot(sigma, _TURBULENCE_SIGMA * value["vmac"]))
    smooth = templates.smoothed(sigma)[chosen]
    shift = np.log1p(value["rv"] / SPEED_OF_LIGHT) * SPEED_OF_LIGHT / templates.step
    position = np.clip(binned.position - shift, 0.0, smooth.shape[1] - 1.001)
    left = position.astype(np.int64)
    fraction = (position - left).astype(np.float32)
    departure = smooth[:, left] * (1.0 - fraction) + smooth[:, left + 1] * fraction
    return departure * np.float32(1.0 - value["dilution"])


def _chi2(binned: _BinnedSpectrum, departure: Singles, degree: int) -> Floats:
    """Chi-square (S,) of spectra 1 + departure (S, N), each with its best continuum."""
    flux = departure + np.float32(1.0)
    if degree < 0:
        return ((binned.flux - flux) ** 2) @ binned.weight
    result = np.full(len(flux), float(np.sum(binned.weight * binned.flux**2)))
    for number in np.unique(binned.order):
        chosen = binned.order == number
        basis, weight = binned.basis[chosen], binned.weight[chosen]
        pairs = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), -1)
        model = flux[:, chosen]
        gram = (model**2 @ _single(weight[:, None] * pairs)).astype(np.float64)
        gram = gram.reshape(-1, basis.shape[1], basis.shape[1])
        target = model @ _single((weight * binned.flux[chosen])[:, None] * basis)
        ridge = 1e-9 * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(basis.shape[1])
        solution = np.linalg.solve(gram + ridge, target[..., None])[..., 0]
        result -= np.sum(solution * target, axis=1)
    return result


def _single(values: Floats) -> Singles:
    return values.astype(np.float32)


def _label_prior(problem: FreeParameters, points: Floats) -> Floats:
    """Contribution of the normal priors to chi-square at points (S, L) of the labels, (S,)."""
    named = dict(zip(problem.axes, points.T, strict=True))
    total = np.zeros(len(points))
    for name, prior in problem.free.items():
        if name in named:
            total += ((named[name] - prior.mean) / prior.sigma) ** 2
    return total


def _minima(chi2: Floats, points: Floats, values: list[Floats]) -> Iterator[Floats]:
    """Local minima of chi-square on the lattice, the deepest first."""
    box = chi2.reshape([len(v) for v in values])
    lowest = (minimum_filter(box, size=3, mode="nearest") == box).ravel()
    order = [i for i in np.argsort(chi2, kind="stable") if lowest[i]]
    for i in order[:_STARTS]:
        if chi2[i] <= _WORTH * max(chi2[order[0]], 0.0) or i == order[0]:
            yield points[i]


def _theta(problem: FreeParameters, point: Floats, first: dict[str, float]) -> Floats:
    """θ (K,) within the bounds, from labels (L,) and first guesses of the other parameters."""
    named = {**dict(zip(problem.axes, map(float, point), strict=True)), **first}
    return np.clip([named[name] for name in problem.names], problem.lower, problem.upper)
