"""Where a search starts: the spectrum against coarse templates of the whole library.

The templates are those of `coarse`. A first velocity comes from cross-correlation with some of
them: on equal steps in ln λ a shift is a velocity (Tonry & Davis 1979, AJ 84, 1511). Then
chi-square, with the continuum solved for, is computed on a finer lattice of labels, whose coarse
spectra are interpolated between the templates, and the search starts from its local minima.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import minimum_filter

from ..model.interpolation import Interpolation
from ..parameters import parameter
from ..spectra.continuum import chebyshev_basis
from ..units import FWHM_PER_SIGMA, SPEED_OF_LIGHT
from .problem import Problem
from .templates import Coarse, coarse_of

Floats = NDArray[np.float64]
Single = NDArray[np.float32]

_FINE = 300
"""Points of the scan, at the most."""
_CORRELATED = 24
"""Templates, at the most, with which a velocity is sought."""
_STARTS = 3
"""Starts that are proposed, at the most."""
_WORTH = 1.5
"""A local minimum of chi-square this much above the best is no start."""
_ROTATION_SIGMA = 0.48
"""Standard deviation of the rotation kernel in units of v sin i, at a limb darkening of 0.6."""
_CLIP = 5.0


# --- the spectrum ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Cells:
    """The spectrum in the N cells that it fills: `place` (N,) among the cells of the model, `flux`
    (N,) in units of its smooth level, `weight` (N,) inverse variances of it, `basis` (N, D) of the
    continuum and `order` (N,)."""

    place: NDArray[np.int64]
    flux: Floats
    weight: Floats
    basis: Floats
    order: NDArray[np.int64]


def _observed(problem: Problem, coarse: Coarse) -> _Cells:
    spectrum = problem.spectrum
    flux, weight, order = _levelled(problem)
    ln = np.log(spectrum.wavelength[spectrum.good])
    cell = np.rint((ln - coarse.first) * SPEED_OF_LIGHT / coarse.step).astype(np.int64)
    count = coarse.templates.shape[1]
    cell = np.clip(cell, 0, count - 1)
    keys, inverse = np.unique(order * count + cell, return_inverse=True)
    total = np.asarray(np.bincount(inverse, weight), np.float64)
    mean = np.bincount(inverse, weight * flux) / total
    place, of_order = np.divmod(keys, count)[::-1]
    degree = max(problem.options.continuum_degree, 0)
    basis = np.empty((keys.size, degree + 1))
    for number in np.unique(of_order):
        chosen = of_order == number
        basis[chosen] = _basis(np.asarray(place[chosen], np.float64), degree)
    return _Cells(place.astype(np.int64), mean, total, basis, of_order.astype(np.int64))


def _basis(place: Floats, degree: int) -> Floats:
    if np.ptp(place) == 0.0:
        return np.eye(1, degree + 1).repeat(place.size, axis=0)
    return chebyshev_basis(place, degree)


def _levelled(problem: Problem) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Usable pixels over a smooth polynomial, order by order, without spikes: flux, inverse
    variance and number of the order."""
    spectrum, good = problem.spectrum, problem.spectrum.good
    flux, order = spectrum.flux[good], np.zeros(int(good.sum()), np.int64)
    if spectrum.order is not None:
        order = np.unique(spectrum.order[good], return_inverse=True)[1].astype(np.int64)
    error = np.ones_like(flux) if spectrum.error is None else spectrum.error[good]
    level = np.ones_like(flux)
    if problem.options.continuum_degree >= 0:
        for number in range(order.max() + 1):
            chosen = order == number
            level[chosen] = _smooth(spectrum.wavelength[good][chosen], flux[chosen], problem)
    noise = np.zeros_like(flux) if spectrum.error is None else _CLIP * error / level
    relative = np.clip(flux / level, -0.5 - noise, 1.5 + noise)
    return relative, (level / error) ** 2, order


def _smooth(wavelength: Floats, flux: Floats, problem: Problem) -> Floats:
    """A polynomial through the flux (P,) that heeds no spikes, nowhere near zero."""
    degree = min(problem.options.continuum_degree, max(wavelength.size // 20, 0))
    if np.ptp(wavelength) == 0.0:
        degree = 0
    basis = _basis(wavelength, degree)
    keep = np.ones(flux.size, bool)
    smooth = flux
    for _ in range(4):
        smooth = basis @ np.linalg.lstsq(basis[keep], flux[keep], rcond=None)[0]
        distance = np.abs(flux - smooth)
        keep = distance <= _CLIP * 1.4826 * np.median(distance) + 1e-12
        if keep.sum() <= 2 * (degree + 1):
            break
    usual = np.median(np.abs(flux)) or 1.0
    return np.where(smooth > 0.05 * usual, smooth, usual)


# --- velocity ----------------------------------------------------------------------------------


def _velocity(problem: Problem, coarse: Coarse, cells: _Cells, allowed: NDArray[np.int64]) -> float:
    """The velocity (km/s) at which the spectrum resembles one of the templates most."""
    prior = problem.free["rv"]
    chosen = allowed[:: -(-len(allowed) // _CORRELATED)]
    templates = coarse.templates[chosen]
    templates = templates - templates.mean(axis=1, keepdims=True)
    size = np.linalg.norm(templates, axis=1)
    length = next_fast_len(2 * templates.shape[1], real=True)
    departure = np.zeros(templates.shape[1])
    total = np.bincount(cells.place, cells.weight, departure.size)
    departure += np.bincount(cells.place, cells.weight * (cells.flux - 1.0), departure.size)
    departure /= np.where(total > 0.0, total, 1.0)
    velocity = np.fft.fftfreq(length, 1.0 / (length * coarse.step))
    spectrum = rfft(departure, length)
    correlation = irfft(spectrum * np.conj(rfft(templates, length)), length)
    correlation /= np.where(size > 0.0, size, 1.0)[:, None]
    shift = SPEED_OF_LIGHT * np.expm1(velocity / SPEED_OF_LIGHT)
    inside = (shift >= prior.low) & (shift <= prior.high)
    if not inside.any():
        return 0.5 * (prior.low + prior.high)
    best = np.unravel_index(np.where(inside, correlation, -np.inf).argmax(), correlation.shape)
    return float(
        np.clip(_peak(correlation[best[0]], int(best[1]), velocity), prior.low, prior.high)
    )


def _peak(correlation: Floats, at: int, velocity: Floats) -> float:
    """Top of the parabola through a maximum and its neighbours, as a velocity."""
    left, middle, right = (correlation[(at + k) % correlation.size] for k in (-1, 0, 1))
    curvature = left - 2.0 * middle + right
    part = 0.5 * (left - right) / curvature if curvature < 0.0 else 0.0
    step = velocity[1] - velocity[0]
    return float(SPEED_OF_LIGHT * np.expm1((velocity[at] + part * step) / SPEED_OF_LIGHT))


# --- labels ------------------------------------------------------------------------------------


def starts(problem: Problem) -> list[Floats]:
    """Points θ from which to search, the most promising first."""
    coarse = coarse_of(problem.model)
    cells = _observed(problem, coarse)
    allowed = _allowed(problem, coarse)
    first: dict[str, float] = {}
    if "rv" in problem.free:
        first["rv"] = _velocity(problem, coarse, cells, allowed)
    first |= _sharpest(problem, coarse, cells, allowed, first)
    values = _label_values(problem)
    points = np.array(list(product(*values)))
    templates = _shifted(coarse, cells, problem, first, slice(None))
    weights = np.asarray(_weights(coarse.manifold, jnp.asarray(points, jnp.float32)))
    chi2 = _chi2(cells, weights @ templates, problem.options.continuum_degree)
    if problem.spectrum.error is None:
        chi2 = chi2 * (cells.place.size / max(float(chi2.min()), 1e-12))
    chi2 = chi2 + [_label_prior(problem, point) for point in points]
    return [_theta(problem, point, first) for point in _minima(chi2, points, values)]


@jax.jit
def _weights(manifold: Interpolation, points: Array) -> Array:
    return jax.vmap(manifold.weights)(points)


def _allowed(problem: Problem, coarse: Coarse) -> NDArray[np.int64]:
    """Templates within the range of the labels, or nearest to it."""
    inside = []
    for name, values in zip(problem.model.label_names, coarse.lattice, strict=True):
        low, high = _range(problem, name)
        near = np.abs(values - 0.5 * (low + high))
        inside.append(((values >= low) & (values <= high)) | (near == near.min()))
    every = np.stack(np.meshgrid(*inside, indexing="ij")).all(axis=0).ravel()
    return np.flatnonzero(every)


def _range(problem: Problem, name: str) -> tuple[float, float]:
    if name in problem.fixed:
        return problem.fixed[name], problem.fixed[name]
    prior = problem.free[name]
    if not np.isfinite(prior.sigma):
        return prior.low, prior.high
    low, high = prior.mean - 3.0 * prior.sigma, prior.mean + 3.0 * prior.sigma
    low, high = (float(np.clip(value, prior.low, prior.high)) for value in (low, high))
    return (low, high) if low < high else (prior.low, prior.high)


def _label_values(problem: Problem) -> list[Floats]:
    """Values of each label in the scan: the middles of equal parts of its range."""
    free = [name for name in problem.model.label_names if name in problem.free]
    counts = {name: min(2 * len(problem.model.axes[name]), 12) for name in free}
    while free and np.prod(list(counts.values())) > _FINE:
        counts[max(counts, key=lambda name: counts[name])] -= 1
    values = []
    for name in problem.model.label_names:
        low, high = _range(problem, name)
        count = counts.get(name, 1)
        values.append(low + (high - low) * (np.arange(count) + 0.5) / count)
    return values


def _sharpest(
    problem: Problem,
    coarse: Coarse,
    cells: _Cells,
    allowed: NDArray[np.int64],
    first: dict[str, float],
) -> dict[str, float]:
    """Rotation, turbulence and resolution, as far as they are free, with which one of the allowed
    templates fits best."""
    guesses = {
        name: sorted({float(np.clip(value, prior.low, prior.high)) for value in guessed})
        for name, prior in problem.free.items()
        if (guessed := parameter(name).guesses)
    }
    trials = [dict(zip(guesses, values, strict=True)) for values in product(*guesses.values())]
    if len(trials) == 1:
        return trials[0]
    chosen = allowed[:: -(-len(allowed) // _CORRELATED)]
    degree = problem.options.continuum_degree
    return min(
        trials,
        key=lambda trial: _chi2(
            cells, _shifted(coarse, cells, problem, {**first, **trial}, chosen), degree
        ).min(),
    )


def _shifted(
    coarse: Coarse,
    cells: _Cells,
    problem: Problem,
    first: dict[str, float],
    chosen: NDArray[np.int64] | slice,
) -> Single:
    """Templates (T, N), less one, as the cells of the spectrum show them."""
    value = {**problem.fixed, **first}
    sigma = np.hypot(
        _ROTATION_SIGMA * value["vsini"], SPEED_OF_LIGHT / FWHM_PER_SIGMA / value["resolution"]
    )
    smooth = coarse.smoothed(float(np.hypot(sigma, value["vmac"] / 2.0)))[chosen]
    shift = np.log1p(value["rv"] / SPEED_OF_LIGHT) * SPEED_OF_LIGHT / coarse.step
    place = np.clip(cells.place - shift, 0.0, smooth.shape[1] - 1.001)
    left = place.astype(np.int64)
    part = (place - left).astype(np.float32)
    return smooth[:, left] * (1.0 - part) + smooth[:, left + 1] * part


def _chi2(cells: _Cells, departure: Single, degree: int) -> Floats:
    """Chi-square (S,) of spectra 1 + departure (S, N) with the best continuum of each."""
    flux = departure + np.float32(1.0)
    if degree < 0:
        return ((cells.flux - flux) ** 2) @ cells.weight
    result = np.full(len(flux), float(np.sum(cells.weight * cells.flux**2)))
    for number in np.unique(cells.order):
        chosen = cells.order == number
        basis, weight = cells.basis[chosen], cells.weight[chosen]
        pairs = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), -1)
        model = flux[:, chosen]
        gram = (model**2 @ _single(weight[:, None] * pairs)).astype(np.float64)
        gram = gram.reshape(-1, basis.shape[1], basis.shape[1])
        target = model @ _single((weight * cells.flux[chosen])[:, None] * basis)
        ridge = 1e-9 * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(basis.shape[1])
        solution = np.linalg.solve(gram + ridge, target[..., None])[..., 0]
        result -= np.sum(solution * target, axis=1)
    return result


def _single(values: Floats) -> Single:
    return values.astype(np.float32)


def _label_prior(problem: Problem, point: Floats) -> float:
    named = dict(zip(problem.model.label_names, point, strict=True))
    return sum(
        ((named[name] - prior.mean) / prior.sigma) ** 2
        for name, prior in problem.free.items()
        if name in named
    )


def _minima(chi2: Floats, points: Floats, values: list[Floats]) -> Iterator[Floats]:
    """Local minima of chi-square on the lattice, the deepest first."""
    box = chi2.reshape([len(v) for v in values])
    lowest = (minimum_filter(box, size=3, mode="nearest") == box).ravel()
    order = [i for i in np.argsort(chi2, kind="stable") if lowest[i]]
    for i in order[:_STARTS]:
        if chi2[i] <= _WORTH * max(chi2[order[0]], 0.0) or i == order[0]:
            yield points[i]


def _theta(problem: Problem, point: Floats, first: dict[str, float]) -> Floats:
    named = {**dict(zip(problem.model.label_names, map(float, point), strict=True)), **first}
    return np.clip([named[name] for name in problem.names], problem.lower, problem.upper)
