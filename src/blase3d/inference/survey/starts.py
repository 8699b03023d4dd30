"""Starts of the searches of many stars, with templates of the tabulated flux.

The steps are those of `inference/start.py`: velocity by cross-correlation, broadening by some
templates, then chi-square on a lattice of labels with the continuum solved for. Here the templates
stay, on equal steps in ln λ at rest, and the spectra are shifted. With D the depth of a template, T
the polynomials of the continuum and d, w the flux minus one and its weight, chi-square follows from

    Σ w (d + D)²,    Σ w T (1 − D) (d + D),    Σ w T Tᵀ (1 − D)²,

sums over the pixels that are linear in D and D². Products of Chebyshev polynomials are such
polynomials, 2 T_i T_j = T_{i+j} + T_{|i−j|}, so that all follow from the products of D and D² with
w T_k and w d T_k. D and D² are combinations of a hundred principal components, with which the
data are multiplied; what remains for each template is small.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.fft import next_fast_len

from ...model.model import Model
from ...parameters import parameter
from ...runtime.arrays import Bools, Floats, Integers, Singles, median, symmetric_inverse
from ...runtime.units import SIGMA_PER_MAD, SPEED_OF_LIGHT
from ...spectra.continuum import chebyshev_basis
from ..likelihood.data import ForwardForm, form_of
from ..problem import Problem
from ..start import (
    CLIP,
    CLIPPINGS,
    DARK,
    LEAST_VARIANCE,
    PIXELS_PER_DEGREE,
    RANGE,
    LabelLattice,
    broadening_trials,
    evenly_chosen,
    lattice_of,
    lattice_starts,
)
from .tabulate import principal_components
from .tabulated import Tabulated, tabulated_flux

_STEP, _PER_SIGMA = 2.5, 1.0
"""Step of the templates, km/s, at least: a quarter of the width of lines of a slow star at R of
20,000; and that over the standard deviation of the line spread."""
_DEGREE = 3
"""Degree of the continuum, at most: the flux is over a smooth level of the full degree."""
_AT_ONCE = 16
"""Stars, and templates, of one compiled call."""
_ALIKE = 0.01
"""Pixels of a star that are masked, but not in all stars, at most, for velocities to be found as if
there were none: they hold little of any line."""
_RIDGE = 1e-6
"""Added to the products of the continuum, relative to their size: float32 rounding."""
_UNEXPLAINED = 3e-4
"""Rms error of the worst template, in units of the continuum: templates of neighbouring labels
differ by more."""


@dataclass(frozen=True, eq=False)
class StartTemplates:
    """Templates of one instrument.

    Attributes
    ----------
    problem : Problem
        Of any of its stars.
    lattice : LabelLattice
        Labels of the S templates.
    trials : list of dict
        First guesses of the broadening.
    components : (R, M)
        Principal components of the line depths at rest and of their squares, on steps in ln λ from
        the first pixel of the model; the first is one at every step.
    depth, square : (B, S, R)
        Amplitudes of these, for each guess.
    few : (T,)
        Indices of some of the templates, by which the broadening is found.
    sharp : (T, M)
        These without rotation.
    step : float
        Width of the steps, km/s.
    """

    problem: Problem
    lattice: LabelLattice
    trials: list[dict[str, float]]
    components: Array
    depth: Singles
    square: Singles
    few: Integers
    sharp: Singles
    step: float


def start_templates(table: Tabulated, problem: Problem) -> StartTemplates:
    """Return the templates for stars whose problems are alike but for flux, errors and masks."""
    span = float(np.log(problem.model.wavelength[-1] / problem.model.wavelength[0]))
    step = max(_STEP, _PER_SIGMA * float(table.sigma), table.velocity_step)
    count = int(span * SPEED_OF_LIGHT / step) + 1
    grid = table.at(np.asarray(np.arange(count) * step, np.float64))
    lattice = lattice_of(problem)
    points = lattice.points
    trials = broadening_trials(problem)
    form = form_of(problem)
    depth = np.stack([_depths(grid, problem, form, points, one)[:, :count] for one in trials])
    narrow = {name: max(parameter(name).floor, 0.0) for name in trials[0] if name == "vsini"}
    few = evenly_chosen(np.arange(len(points)))
    sharp = _depths(grid, problem, form, points[few], {**trials[0], **narrow})[:, :count]
    rows = np.stack([depth, depth**2])
    components = principal_components(rows.reshape(-1, count), _UNEXPLAINED)
    depth, square = np.pad(rows @ components.T, ((0, 0), (0, 0), (0, 0), (1, 0)))
    return StartTemplates(
        problem,
        lattice,
        trials,
        jnp.asarray(np.pad(components, ((1, 0), (0, 0)), constant_values=1.0)),
        depth,
        square,
        few,
        sharp,
        step,
    )


def _depths(
    grid: Tabulated, problem: Problem, form: ForwardForm, points: Floats, trial: dict[str, float]
) -> Singles:
    """Line depths (S, M) at labels (S, L), at rest."""
    known = {**problem.fixed, **trial, "rv": 0.0}
    labels = dict(zip(problem.axes, points.T, strict=True))
    rest = {name: np.full(len(points), known.get(name, 0.0)) for name in problem.names}
    theta = np.stack([labels.get(name, rest[name]) for name in problem.names], axis=1)
    theta = np.maximum(theta, problem.floor).astype(np.float32)
    fixed = {name: jnp.float32(known[name]) for name in problem.fixed}
    found = []
    for start in range(0, len(theta), _AT_ONCE):
        chunk = theta[start : start + _AT_ONCE]
        padded = np.concatenate([chunk, np.repeat(chunk[-1:], _AT_ONCE - len(chunk), axis=0)])
        found.append(np.asarray(_many_depths(grid, padded, fixed, form))[: len(chunk)])
    return np.concatenate(found)


@partial(jax.jit, static_argnames="form")
def _many_depths(
    grid: Tabulated, theta: Array, fixed: dict[str, Array], form: ForwardForm
) -> Array:
    return 1.0 - jax.vmap(lambda one: tabulated_flux(grid, one, fixed, form))(theta)


# --- stars -------------------------------------------------------------------------------------


def many_starts(templates: StartTemplates, problems: list[Problem]) -> tuple[Integers, Floats]:
    """Return index of the star (N,) and θ (N, K) of all starts, the best of each star first."""
    chunks = [problems[k : k + _AT_ONCE] for k in range(0, len(problems), _AT_ONCE)]
    columns = zip(*(_at_rest(templates, chunk) for chunk in chunks), strict=True)
    rv, sums, squares = (np.concatenate(column) for column in columns)
    trial, chi2 = _of_templates(templates, sums, squares)
    stars, thetas = [], []
    for k, problem in enumerate(problems):
        guess = {"rv": float(rv[k])} if "rv" in problem.free else {}
        guess |= templates.trials[trial[k]]
        found = lattice_starts(problem, templates.lattice, chi2[k], guess)
        stars += [k] * len(found)
        thetas += found
    return np.array(stars), np.array(thetas)


def _at_rest(templates: StartTemplates, problems: list[Problem]) -> tuple[Floats, Singles, Singles]:
    """Velocities (N,) of at most `_AT_ONCE` stars, their `_sums` at rest, and Σ w d² (N,)."""
    problem = templates.problem
    departure, weight = _departures(problems)
    position = _position(problem.model, problem.spectrum.wavelength, templates.step)
    count = templates.sharp.shape[1]
    if "rv" in problem.free:
        rv = _velocities(templates, departure, weight, position)
    else:
        rv = np.full(len(departure), problem.fixed["rv"])
    shift = np.log1p(rv / SPEED_OF_LIGHT) * SPEED_OF_LIGHT / templates.step
    at = np.clip(position - shift[:, None], 0.0, count - 1.001).astype(np.float32)
    sums = np.asarray(
        _sums(departure, weight, at, _polynomials(problem, count), templates.components)
    )
    squares = np.sum(weight * departure**2, axis=1)
    real = slice(len(problems))
    return rv[real], sums[real], squares[real]


def _of_templates(
    templates: StartTemplates, sums: Singles, squares: Singles
) -> tuple[Integers, Floats]:
    """The best guess of the broadening of each star (N,), and chi-square (N, S) of the templates
    with this."""
    normalised = templates.problem.options.degree < 0
    amplitudes = list(zip(templates.depth, templates.square, strict=True))
    trial = np.zeros(len(sums), np.int64)
    if len(amplitudes) > 1:
        few = templates.few
        lowest = [
            _chi2(depth[few], square[few], sums, squares, normalised).min(axis=1)
            for depth, square in amplitudes
        ]
        trial = np.argmin(lowest, axis=0)
    chi2 = np.empty((len(sums), len(templates.lattice.points)))
    for one in np.unique(trial):
        alike = trial == one
        depth, square = amplitudes[one]
        chi2[alike] = _chi2(depth, square, sums[alike], squares[alike], normalised)
    return trial, chi2


def _departures(problems: list[Problem]) -> tuple[Singles, Singles]:
    """Flux over a smooth level minus one, and its weight, of `_AT_ONCE` stars, (N, P)."""
    good = np.stack([problem.spectrum.good for problem in problems])
    flux = np.stack([problem.spectrum.flux for problem in problems])
    error = np.stack([problem.spectrum.error for problem in problems])  # type: ignore[misc]
    flux, error = np.where(good, flux, 0.0), np.where(good, error, 1.0)
    level = _smooth_levels(problems[0], flux, good)
    noise = CLIP * error / level
    relative = np.clip(flux / level, -RANGE - noise, 1.0 + RANGE + noise)
    shape = _AT_ONCE, flux.shape[1]
    departure, weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    departure[: len(problems)] = np.where(good, relative - 1.0, 0.0)
    weight[: len(problems)] = np.where(good, (level / error) ** 2, 0.0)
    weight[len(problems) :] = weight[0]
    return departure, weight


def _smooth_levels(problem: Problem, flux: Floats, good: Bools) -> Floats:
    """Polynomials through fluxes (N, P), as `start.levelled` fits them, by products of Chebyshev
    polynomials."""
    fewest = int(good.sum(axis=1).min())
    degree = min(problem.options.degree, fewest // PIXELS_PER_DEGREE)
    if degree < 0:
        return np.ones_like(flux)
    basis = chebyshev_basis(problem.spectrum.wavelength, 2 * degree)
    i, j = np.indices((degree + 1, degree + 1))
    keep = good
    for _ in range(CLIPPINGS):
        sums, target = keep @ basis, (keep * flux) @ basis[:, : degree + 1]
        gram = 0.5 * (sums[:, i + j] + sums[:, abs(i - j)])
        smooth = np.einsum("nij,nj->ni", symmetric_inverse(gram), target)
        smooth = smooth @ basis[:, : degree + 1].T
        distance = np.abs(flux - smooth)
        typical = [median(row[used]) for row, used in zip(distance, good, strict=True)]
        limit = CLIP * SIGMA_PER_MAD * np.array(typical)[:, None] + 1e-12
        found = good & (distance <= limit)
        keep = np.where(found.sum(axis=1, keepdims=True) > 2 * (degree + 1), found, keep)
    level = [median(np.abs(row[used])) or 1.0 for row, used in zip(flux, good, strict=True)]
    return np.where(smooth > DARK * np.array(level)[:, None], smooth, np.array(level)[:, None])


def _position(model: Model, wavelength: Floats, step: float) -> Floats:
    return np.asarray(np.log(wavelength / model.wavelength[0]) * SPEED_OF_LIGHT / step)


def _polynomials(problem: Problem, count: int) -> Singles:
    """Polynomials (D, M) of the continuum in ln λ at the steps of the templates, to twice its
    degree: their products are sums of these. The constant alone for a normalised spectrum."""
    degree = max(min(problem.options.degree, _DEGREE), 0)
    return chebyshev_basis(np.arange(count, dtype=np.float64), 2 * degree).T.astype(np.float32)


def _velocities(
    templates: StartTemplates, departure: Singles, weight: Singles, position: Floats
) -> Floats:
    """Velocities (N,), km/s, at which a multiple of any of the sharp templates fits best."""
    prior, step = templates.problem.free["rv"], templates.step
    count = templates.sharp.shape[1]
    far = min(int(max(abs(prior.low), abs(prior.high)) / step) + 2, count - 1)
    lag = np.arange(-far, far + 1)
    shift = SPEED_OF_LIGHT * np.expm1(lag * step / SPEED_OF_LIGHT)
    inside = (shift >= prior.low) & (shift <= prior.high)
    if not inside.any():
        return np.full(len(departure), 0.5 * (prior.low + prior.high))
    bins = np.clip(np.rint(position), 0, count - 1).astype(np.int32)
    used = _used_by_each(weight).astype(np.float32)
    lags = np.asarray(_best_lags(templates.sharp, departure, weight, used, bins, inside))
    found = SPEED_OF_LIGHT * np.expm1(lags * step / SPEED_OF_LIGHT)
    return np.asarray(np.clip(found, prior.low, prior.high))


def _used_by_each(weight: Singles) -> Bools:
    """Whether pixels have a weight (N, P): those of each spectrum, or (1, P) if they are alike."""
    used: Bools = np.greater(weight, 0.0)
    of_any = np.any(used, axis=0, keepdims=True)
    alike = np.mean(of_any & ~used, axis=1).max() <= _ALIKE
    return of_any if alike else used


@jax.jit
def _best_lags(
    sharp: Array, departure: Array, weight: Array, used: Array, bins: Array, inside: Array
) -> Array:
    """Lags (N,), in steps, at which a multiple of any template fits best, of lags from −m to m
    (2 m + 1,) those that are `inside`.

    As in `inference/start.py`, with the variance of the templates over the pixels that are `used`,
    (N, P), or (1, P) for all spectra. Blocks of the templates are compared with longer ones of the
    data, and only the sums of their transforms are transformed back.
    """
    count, far = sharp.shape[1], inside.size // 2
    length = next_fast_len(max(8 * far, 256), real=True)
    block = length - 2 * far
    begins = np.arange(0, count, block)

    def binned(rows: Array) -> Array:
        return jax.vmap(lambda row: jnp.zeros(count).at[bins].add(row))(rows)

    def correlated(rows: Array, patterns: Array) -> Array:
        padded = jnp.pad(rows, ((0, 0), (far, length)))
        data = jnp.fft.rfft(padded[:, begins[:, None] + np.arange(length)])
        padded = jnp.pad(patterns, ((0, 0), (0, length)))
        template = jnp.fft.rfft(padded[:, begins[:, None] + np.arange(block)], length)
        product = jnp.einsum("nbf,tbf->ntf", data, jnp.conj(template), precision="highest")
        return jnp.fft.irfft(product, length)[..., : inside.size]

    total = binned(weight)
    seen = total > 0.0
    depth = binned(weight * -departure) / jnp.where(seen, total, 1.0)
    level = depth.sum(axis=1) / jnp.maximum(seen.sum(axis=1), 1)
    depth = jnp.where(seen, depth - level[:, None], 0.0)
    found = (binned(used) > 0.0).astype(jnp.float32)
    number = jnp.maximum(found.sum(axis=1), 1.0)[:, None, None]
    variance = correlated(found, sharp**2) - correlated(found, sharp) ** 2 / number
    least = LEAST_VARIANCE * variance.max(axis=-1, keepdims=True) + 1e-30
    correlation = correlated(depth, sharp) / jnp.sqrt(jnp.maximum(variance, least))

    def one(correlation: Array) -> Array:
        best = jnp.argmax(jnp.where(inside, correlation, -jnp.inf))
        row, at = jnp.divmod(best, inside.size)
        left, middle, right = (correlation[row, at + k] for k in (-1, 0, 1))
        bend = left - 2.0 * middle + right
        fraction = jnp.where(bend < 0.0, 0.5 * (left - right) / jnp.minimum(bend, -1e-30), 0.0)
        return at - far + fraction

    return jax.vmap(one)(correlation)


@jax.jit
def _sums(departure: Array, weight: Array, at: Array, basis: Array, components: Array) -> Array:
    """Products with the components, (N, 3 D − 1, R), of w T_k to twice the degree, and then of
    w d T_k to the degree."""
    terms = (len(basis) + 1) // 2

    def one(departure: Array, weight: Array, at: Array) -> Array:
        values = jnp.stack([weight, weight * departure], axis=1)
        left = jnp.floor(at).astype(jnp.int32)
        right = (at - left)[:, None]
        empty = jnp.zeros((components.shape[1], 2))
        found = empty.at[left].add(values * (1.0 - right)).at[left + 1].add(values * right).T
        return jnp.concatenate([basis * found[0], basis[:terms] * found[1]])

    return jax.vmap(one)(departure, weight, at) @ components.T


def _chi2(
    depth: Singles, square: Singles, sums: Singles, squares: Singles, normalised: bool
) -> Floats:
    """Chi-square (N, S) of templates of amplitudes (S, R), each with its best continuum, from the
    `_sums` of N stars and Σ w d² (N,)."""
    terms = (sums.shape[1] + 1) // 3

    def split(rows: Singles) -> tuple[Singles, Singles]:
        return rows[..., : 2 * terms - 1], rows[..., 2 * terms - 1 :]

    by_component = np.swapaxes(sums, 1, 2)
    whole, of_whole = split(by_component[:, :1])
    once, of_once = split(depth @ by_component)
    twice, _ = split(square @ by_component)
    chi2 = (squares[:, None] + 2.0 * of_once[..., 0] + twice[..., 0]).astype(np.float64)
    if normalised:
        return chi2
    target = of_whole - of_once + (once - twice)[..., :terms]
    products = whole - 2.0 * once + twice
    i, j = np.indices((terms, terms))
    gram = 0.5 * (products[..., i + j] + products[..., abs(i - j)])
    ridge = _RIDGE * np.trace(gram, axis1=2, axis2=3)[..., None, None] * np.eye(terms)
    solution = np.linalg.solve(gram + ridge + 1e-30 * np.eye(terms), target[..., None])[..., 0]
    return np.asarray(chi2 - np.sum(solution * target, axis=-1), np.float64)
