"""Searches of many stars at once, with the equations of `likelihood` and `descent.py`.

Whatever concerns pixels is compiled once for two numbers of searches, and runs on the device that
JAX uses. The steps of the searches are small matrices, which NumPy handles for all searches
together. A search that has ended makes room for another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ...runtime.arrays import Bools, Floats, Integers, Singles, as_slice, symmetric_inverse
from ..coordinates import Coordinates
from ..descent import CONVERGED, INSIGNIFICANT, ITERATIONS, REFINEMENTS, ROUGHLY, SETTLED
from ..likelihood.data import (
    Data,
    ForwardForm,
    PaddedLayout,
    continuum_basis,
    form_of,
    layout_of,
    scaled_flux,
    unit_of_flux,
)
from ..likelihood.error_budget import ErrorArrays, ErrorBudget
from ..likelihood.likelihood import (
    Fit,
    FittedFlux,
    Likelihood,
    Prediction,
    correlated_pixels,
    mismatch_at,
    model_covariance_of,
)
from ..methods.least_squares import SCREENINGS
from ..noise.mismatch import PixelMismatch
from ..noise.noise import Independent, first_noise, noise_at
from ..problem import Problem
from ..solution import Solution, normal_equations
from .products import (
    Polynomials,
    Stars,
    continua,
    products_of,
    scores_of,
    whitened_rows_of,
    without_continuum,
)
from .tabulated import Tabulated, fluxes_with_slopes, modes_at

_PIXELS = 40_000
"""Pixels of the searches of one compiled call: their arrays stay in the cache of a core."""
_SEARCHES, _WITH_MODES = 16, 4
"""Searches of one call, at least. Predictions read all components of the table, which takes longer
than those of a few stars; error modes have many rows of pixels."""


@dataclass(frozen=True, eq=False)
class Searches:
    """N searches, as arrays.

    Attributes
    ----------
    star : (N,)
        Index of the star.
    theta : (N, K)
        The free parameters.
    noise : (N,) of Noise
        Errors and weights of the pixels.
    weight : (N, Q)
        Whitening of the noise, on the padded pixels.
    modes, gram : (N, E, Q), (N, E, E)
        Whitened error modes of the model, and their products.
    model_covariance : (N, K, K)
        Covariance to be added for the error of the model.
    flux, slopes : (N, Q), (N, K, Q)
        Prediction at θ.
    chi2, normal, gradient : (N,), (N, K, K), (N, K)
        Chi-square there and its derivatives, as in `Fit`.
    at_bound, converged : (N, K), (N,)
        The end of the search, as in `Descent`.
    """

    star: Integers
    theta: Floats
    noise: NDArray[np.object_]
    weight: Singles
    modes: Singles
    gram: Singles
    model_covariance: Floats
    flux: Singles
    slopes: Singles
    chi2: Floats
    normal: Floats
    gradient: Floats
    at_bound: Bools
    converged: Bools

    def __len__(self) -> int:
        return len(self.star)

    def take(self, chosen: Integers) -> Searches:
        """The chosen searches."""
        return Searches(*(getattr(self, one.name)[chosen] for one in fields(self)))

    def put(self, chosen: Integers, others: Searches) -> Searches:
        """The searches with others instead of the chosen ones."""
        columns = []
        for one in fields(self):
            column = getattr(self, one.name).copy()
            column[chosen] = getattr(others, one.name)
            columns.append(column)
        return Searches(*columns)


_MOVING = ("theta", "flux", "slopes", "chi2", "normal", "gradient")
"""Fields of `Searches` that change with θ."""


class ManyLikelihoods:
    """The likelihoods of stars whose problems are alike but for flux, errors and masks.

    Parameters
    ----------
    table : Tabulated
        Flux on their pixels.
    problems : list of Problem
        Of each star.
    """

    def __init__(self, table: Tabulated, problems: list[Problem]):
        first = problems[0]
        self.table, self.problems, self.problem = table, problems, first
        self.form: ForwardForm = form_of(first)
        self.layout: PaddedLayout = layout_of(first.spectrum)
        whole = replace(first.spectrum, mask=np.zeros(len(first.spectrum), bool))
        degree = first.options.degree
        bases = (continuum_basis(whole, n, self.layout)[0] for n in (degree, max(2 * degree, -1)))
        polynomials = Polynomials(*bases)
        self.basis = np.asarray(polynomials.basis)[None]
        self.fixed = {name: jnp.float32(value) for name, value in first.fixed.items()}
        self.shared = _Shared(table, polynomials, self.fixed)
        self.units = np.array([unit_of_flux(problem) for problem in problems])
        self.observed = np.stack(
            [
                self._pad(scaled_flux(problem.spectrum, unit))
                for problem, unit in zip(problems, self.units, strict=True)
            ]
        )
        self.n_used = np.array([int(problem.spectrum.good.sum()) for problem in problems])
        terms = len(first.free) + first.continuum_terms
        self.freedom = np.maximum(self.n_used - terms, 1)
        at_once = _PIXELS // self.layout.size
        self.at_once, self.with_modes = max(at_once, _SEARCHES), max(at_once, _WITH_MODES)

    def _pad(self, values: Floats) -> Singles:
        padded = np.zeros(self.layout.size, np.float32)
        padded[self.layout.index] = values
        return padded

    # --- a prediction, and what follows from it ---

    def begin(self, star: Integers, theta: Floats) -> Searches:
        """Searches of stars (N,) that start at θ (N, K), with the stated errors."""
        count, (size, free) = len(star), (self.layout.size, len(self.problem.free))
        noise = np.empty(count, object)
        noise[:] = [
            first_noise(self.problems[k].spectrum, float(self.units[k])) for k in star.tolist()
        ]
        blank = Searches(
            star,
            theta,
            noise,
            np.zeros((count, size), np.float32),
            np.zeros((count, 0, size), np.float32),
            np.zeros((count, 0, 0), np.float32),
            np.zeros((count, free, free)),
            np.zeros((count, size), np.float32),
            np.zeros((count, free, size), np.float32),
            np.zeros(count),
            np.zeros((count, free, free)),
            np.zeros((count, free)),
            np.zeros((count, free), bool),
            np.zeros(count, bool),
        )
        return self.at(self._with_noise(blank, noise, np.zeros((count, size))), theta)

    def at(self, searches: Searches, theta: Floats) -> Searches:
        """The searches at other θ (N, K)."""
        return replace(searches, **self._moved(searches, theta, np.arange(len(searches))))

    def _moved(self, searches: Searches, theta: Floats, chosen: Integers) -> dict[str, Any]:
        """The fields `_MOVING` of chosen searches at other θ (N', K)."""
        low = np.maximum(theta, self.problem.floor).astype(np.float32)
        flux, slopes, products = self._call(_predicted, [low], searches, chosen=chosen)
        return {"theta": theta, "flux": flux, "slopes": slopes, **_derivatives(products)}

    def again(self, searches: Searches) -> Searches:
        """The same θ and predictions, with errors that have changed."""
        (products,) = self._call(_compared, [searches.flux, searches.slopes], searches)
        return replace(searches, **_derivatives(products))

    def fitted(self, searches: Searches) -> tuple[Singles, Singles]:
        """Predictions with the best continuum, and the continuum, (N, Q)."""
        found = self._call(_continuum, [searches.flux], searches)
        return found[0], found[1]

    def screened(self, searches: Searches) -> Searches:
        """The searches with less weight for the outliers of their predictions."""
        if not self.problem.options.robust:
            return searches
        mismatch = self._mismatch(searches)
        for _ in range(SCREENINGS):
            noise, continuum = self._noise_at(searches, mismatch)
            kept = np.empty(len(noise), object)
            kept[:] = [
                replace(new, factor=old.factor, jitter=old.jitter)  # shares are not used before
                for old, new in zip(searches.noise, noise, strict=True)  # errors are refined
            ]
            searches = self._with_noise(searches, kept, continuum)
        return self.again(searches)

    def refined(self, searches: Searches) -> Searches:
        """The searches with all errors estimated at their predictions."""
        noise, continuum = self._noise_at(searches, self._mismatch(searches))
        searches = self._with_noise(searches, noise, continuum)
        if not len(self.table.modes):
            return self.again(searches)
        theta = np.maximum(searches.theta, self.problem.floor).astype(np.float32)
        given = [theta, searches.flux, searches.slopes]
        modes, gram, products, correlated = self._call(
            _with_modes, given, searches, self.with_modes
        )
        shares = np.array([one.independent_in_lines for one in noise])
        correlated = np.maximum(correlated * shares, 1.0)
        if not self.problem.calibrated:
            correlated = np.ones_like(correlated)
        chi2 = products[:, 0, 0]
        expected = self.freedom[searches.star] * [one.independent for one in noise]
        scatter = np.maximum(chi2 / expected, 1.0)
        larger = (scatter * correlated).astype(np.float32)[:, None, None]
        scaled = products[:, 1:, 1:].astype(np.float64) / scatter[:, None, None]
        covariances = [
            model_covariance_of(*each, self.problem.precision)
            for each in zip(scaled, correlated, strict=True)
        ]
        return self.again(
            replace(
                searches,
                modes=modes / np.sqrt(larger),
                gram=gram / larger,
                model_covariance=np.stack(covariances),
            )
        )

    def _mismatch(self, searches: Searches) -> list[PixelMismatch | None]:
        """Mismatch with real stars at θ of each search, where it is known."""
        pairs = zip(searches.star, searches.theta, strict=True)
        return [mismatch_at(self.problems[star], theta) for star, theta in pairs]

    def _noise_at(
        self, searches: Searches, mismatch: list[PixelMismatch | None]
    ) -> tuple[NDArray[np.object_], Singles]:
        """Noise of each search at its prediction, with its mismatch, and the continuum (N, Q)."""
        flux, continuum = self.fitted(searches)
        options, index = self.problem.options, self.layout.index
        found = np.empty(len(searches), object)
        for k, (noise, star) in enumerate(zip(searches.noise, searches.star, strict=True)):
            unit = self.units[star]
            at = flux[k][index].astype(np.float64) * unit
            level = continuum[k][index].astype(np.float64) * unit
            model = options.noise_model
            found[k] = noise_at(model, noise, at, level, options.robust, mismatch[k])
        return found, continuum

    def _with_noise(
        self, searches: Searches, noise: NDArray[np.object_], continuum: NDArray[Any]
    ) -> Searches:
        model, index = self.problem.options.noise_model, self.layout.index
        weight = np.empty((len(searches), self.layout.size), np.float32)
        for k, (one, star) in enumerate(zip(noise, searches.star, strict=True)):
            unit, good = self.units[star], self.problems[star].spectrum.good

            def pad(values: Floats, good: Bools = good) -> Any:
                return self._pad(np.where(good, values, 0.0))

            level = continuum[k][index].astype(np.float64) * unit
            weight[k] = model.whitening(one, level, unit, pad).weight  # type: ignore[attr-defined]
        return replace(searches, noise=noise, weight=weight)

    def _call(
        self,
        function: Callable[..., tuple[Array, ...]],
        given: list[NDArray[Any]],
        searches: Searches,
        at_once: int | None = None,
        chosen: Integers | None = None,
    ) -> list[NDArray[Any]]:
        """A compiled function of given rows (N', ...) and of the data of chosen searches."""
        chosen = np.arange(len(searches)) if chosen is None else chosen
        kept = searches.weight, searches.modes, searches.gram
        found, last = [], len(chosen) - 1
        for start, count in calls(len(chosen), at_once or self.at_once):
            row = np.minimum(np.arange(start, start + count), last)  # padded by the last
            at = as_slice(chosen[row])
            stars: Any = self.observed[searches.star[at]], *(rows[at] for rows in kept)
            rows = [each[as_slice(row)] for each in given]
            results = function(self.shared, *rows, Stars(*stars), form=self.form)
            found.append([np.asarray(r)[: last + 1 - start] for r in results])
        return [np.concatenate(column) for column in zip(*found, strict=True)]

    # --- searches ---

    def descended(self, searches: Searches, near: float) -> Searches:
        """The searches at minima of chi-square; `descent.descend`, for all at once."""
        problem, coordinates = self.problem, Coordinates(self.problem)
        searches = replace(searches, **{n: getattr(searches, n).copy() for n in _MOVING})
        chi2 = self.total_chi2(searches)
        damping = np.full(len(searches), 1e-3)
        converged, active = np.zeros(len(searches), bool), np.isfinite(chi2)
        for _ in range(ITERATIONS):
            now = np.flatnonzero(active)
            if not now.size:
                break
            theta = searches.theta[now]
            normal, gradient = (r[now] for r in _in_coordinates(problem, coordinates, searches))
            held = coordinates.pushed_out(theta, gradient)
            step = _damped_steps(normal, gradient, held, damping[now])
            trial, step = coordinates.moved(theta, step)
            length = np.einsum("nk,nkl,nl->n", step, normal, step)
            short = length < near**2 * chi2[now] / self.n_used[searches.star[now]]
            converged[now[short]], active[now[short]] = True, False
            now, trial = now[~short], trial[~short]
            if not now.size:
                break
            tried = self._moved(searches, trial, now)
            total = tried["chi2"] + problem.prior_chi2(trial.T)
            gain = chi2[now] - total
            better = gain > -INSIGNIFICANT * chi2[now]
            chi2[now[better]] = total[better]
            for name in _MOVING:
                values = tried[name] if better.all() else tried[name][better]
                getattr(searches, name)[now[better]] = values
            damping[now] = np.where(
                better, np.maximum(damping[now] / 10.0, 1e-9), damping[now] * 10.0
            )
            done = np.where(better, gain < INSIGNIFICANT * chi2[now], damping[now] > 1e6)
            converged[now[done]], active[now[done]] = True, False
        _, gradient = _in_coordinates(problem, coordinates, searches)
        at_bound = coordinates.pushed_out(searches.theta, gradient)
        return replace(searches, at_bound=at_bound, converged=converged)

    def total_chi2(self, searches: Searches) -> Floats:
        """Chi-square with the priors, (N,)."""
        return np.asarray(searches.chi2 + self.problem.prior_chi2(searches.theta.T))

    def minima(self, star: Integers, theta: Floats) -> Searches:
        """Minima from starts θ (N, K) of stars (N,); their errors are estimated afterwards."""
        return self.descended(self.screened(self.begin(star, theta)), ROUGHLY)

    def settled(self, searches: Searches) -> Searches:
        """The minima with the errors that are estimated there; `descent.refine`, for all."""
        left = np.arange(len(searches))
        for _ in range(REFINEMENTS):
            before = searches.take(left)
            after = self.descended(self.refined(before), CONVERGED)
            searches = after if len(left) == len(searches) else searches.put(left, after)
            change = np.abs(after.theta - before.theta)
            left = left[(change > SETTLED * self._sigmas(after)).any(axis=1)]
            if not left.size:
                break
        return searches

    def _sigmas(self, searches: Searches) -> Floats:
        """Standard deviations (N, K); zero for parameters on a bound."""
        free = ~searches.at_bound
        normal, _ = normal_equations(self.problem, searches, searches.theta)  # type: ignore[arg-type]
        scale = 1.0 / np.sqrt(np.maximum(np.einsum("nkk->nk", normal), 1e-300))
        scale = np.where(free, scale, 0.0)
        inverse = symmetric_inverse(normal * scale[:, :, None] * scale[:, None, :])
        return np.sqrt(np.maximum(np.einsum("nkk->nk", inverse), 0.0)) * scale

    def solutions(self, searches: Searches) -> Iterator[Solution]:
        """The searches as solutions, with their best continua."""
        (scores,) = self._call(_scores, [searches.flux, searches.slopes], searches)
        for k, arrays in enumerate(zip(*self.fitted(searches), strict=True)):
            unit = self.units[searches.star[k]]
            scaled = (row[self.layout.index].astype(np.float64) * unit for row in arrays)
            found = self.solution(searches, k)
            found = replace(found, fit=replace(found.fit, scores=scores[k].astype(np.float64)))
            yield found.with_fitted(FittedFlux(*scaled))

    def solution(self, searches: Searches, k: int) -> Solution:
        """The k-th search as a solution, as that of a single star, without its scores."""
        star = int(searches.star[k])
        likelihood = _TabulatedLikelihood(
            self.problems[star],
            float(self.units[star]),
            self.layout,
            self._budget(searches, k),
            self._record(searches, k),
            self.form,
            self.fixed,
            self.table,
        )
        theta = searches.theta[k]
        prediction = Prediction(theta, searches.flux[k], searches.slopes[k])
        fit = Fit(
            prediction,
            float(searches.chi2[k]),
            searches.normal[k],
            searches.gradient[k],
            np.zeros((0, theta.size)),
        )
        chi2 = fit.chi2 + float(self.problem.prior_chi2(theta))
        held, ended = searches.at_bound[k], bool(searches.converged[k])
        return Solution(theta, likelihood, fit, chi2, held, ended)

    def _budget(self, searches: Searches, k: int) -> ErrorBudget:
        arrays: Any = ErrorArrays(
            Independent(searches.weight[k]),
            searches.modes[k],
            searches.gram[k],
        )
        return ErrorBudget(searches.noise[k], searches.model_covariance[k], arrays)

    def _record(self, searches: Searches, k: int) -> Data:
        observed: Any = self.observed[searches.star[k]]
        return _data(self.basis, observed, self._budget(searches, k).arrays)


@dataclass(frozen=True, eq=False)
class _TabulatedLikelihood(Likelihood):
    """The likelihood of one star, with the tabulated flux."""

    table: Tabulated

    def predicted(self, theta: Floats) -> Prediction:
        """The prediction at θ (K,)."""
        at = jnp.asarray(np.maximum(theta, self.problem.floor), jnp.float32)
        (flux,), (slopes,) = fluxes_with_slopes(self.table, at[None], self.fixed, self.form)
        return Prediction(theta, flux, slopes)


def calls(count: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield first row and number of rows of each compiled call for `count` rows: of two sizes,
    since each other one is compiled again."""
    start, few = 0, max(most // 4, 1)
    while start < count:
        size = most if count - start > most - few else few
        yield start, size
        start += size


def _in_coordinates(
    problem: Problem, coordinates: Coordinates, searches: Searches
) -> tuple[Floats, Floats]:
    """JᵀJ (N, K, K) and Jᵀr (N, K), priors included, by the coordinates of the searches."""
    slopes = coordinates.slopes(searches.theta)
    normal, gradient = normal_equations(problem, searches, searches.theta)  # type: ignore[arg-type]
    return normal * slopes[:, :, None] * slopes[:, None, :], gradient * slopes


def _damped_steps(normal: Floats, gradient: Floats, held: Bools, damping: Floats) -> Floats:
    """The steps (N, K) that minimise chi-square, damped; zero for parameters that are held."""
    diagonal = np.einsum("nkk->nk", normal)
    scale = 1.0 / np.sqrt(np.maximum(diagonal, 1e-300))
    free = ~held
    both = free[:, :, None] & free[:, None, :]
    matrix = np.where(both, normal * scale[:, :, None] * scale[:, None, :], 0.0)
    matrix += (np.where(held, 1.0, 0.0) + damping[:, None])[:, None, :] * np.eye(held.shape[1])
    inverse = symmetric_inverse(matrix, rcond=1e-12)
    step = -np.einsum("nkl,nl->nk", inverse, np.where(held, 0.0, gradient * scale)) * scale
    return np.where(held, 0.0, step)  # exactly: the inverse is rounded


def _derivatives(products: NDArray[Any]) -> dict[str, Any]:
    """Chi-square and its derivatives, from products (N, 1 + K, 1 + K)."""
    products = products.astype(np.float64)
    return {
        "chi2": products[:, 0, 0],
        "normal": products[:, 1:, 1:],
        "gradient": products[:, 1:, 0],
    }


# --- compiled ----------------------------------------------------------------------------------


_ZERO: Any = np.zeros((), np.float32)
_NONE: Any = np.zeros(0, np.float32)
"""Fields of `Data` from which the flux would be computed."""


def _data(basis: Any, observed: Any, errors: ErrorArrays) -> Data:
    """The data of one star; the flux is not computed from them."""
    return Data(_ZERO, _NONE, _NONE, observed, basis, errors, None, None, _ZERO)


_compiled = partial(jax.jit, static_argnames="form")


class _Shared(NamedTuple):
    """The table, the polynomials of the continuum, and the fixed parameters: those of all stars."""

    table: Tabulated
    polynomials: Polynomials
    fixed: dict[str, Array]


def _predicted(
    shared: _Shared, theta: Array, stars: Stars, form: ForwardForm
) -> tuple[Array, Array, Array]:
    """Flux (N, Q), slopes (N, K, Q) and products (N, 1 + K, 1 + K) at θ (N, K)."""
    flux, slopes = fluxes_with_slopes(shared.table, theta, shared.fixed, form)
    return flux, slopes, *_compared(shared, flux, slopes, stars, form=form)


@_compiled
def _compared(
    shared: _Shared, flux: Array, slopes: Array, stars: Stars, form: ForwardForm
) -> tuple[Array]:
    """Products (N, 1 + K, 1 + K) of predictions."""
    return (products_of(shared.polynomials, flux, slopes, stars),)


@_compiled
def _scores(
    shared: _Shared, flux: Array, slopes: Array, stars: Stars, form: ForwardForm
) -> tuple[Array]:
    """Contributions (N, S, K) of segments to the gradients."""
    return (scores_of(shared.polynomials, flux, slopes, stars),)


@_compiled
def _continuum(
    shared: _Shared, flux: Array, stars: Stars, form: ForwardForm
) -> tuple[Array, Array]:
    """Predictions (N, Q) with their best continua, and these."""
    continuum, *_ = continua(shared.polynomials, flux, stars)
    return flux * continuum, continuum


def _with_modes(
    shared: _Shared, theta: Array, flux: Array, slopes: Array, stars: Stars, form: ForwardForm
) -> tuple[Array, Array, Array, Array]:
    """Whitened error modes (N, E, Q), their products, those (N, 1 + K + E, 1 + K + E) of residual,
    slopes and modes without the continuum, and the numbers (N,) of pixels that count as one."""
    modes = modes_at(shared.table, theta, shared.fixed, form)
    return _whitened(shared.polynomials, modes, flux, slopes, stars)


@jax.jit
def _whitened(
    polynomials: Polynomials, modes: Array, flux: Array, slopes: Array, stars: Stars
) -> tuple[Array, Array, Array, Array]:
    count = 1 + slopes.shape[1]
    found, continuum, whitened, factor = whitened_rows_of(polynomials, flux, slopes, stars)
    modes = modes * (stars.weight * continuum)[:, None]
    both = jnp.concatenate([found, modes], axis=1)
    products, left, _ = without_continuum(polynomials.basis, both, whitened, factor)
    correlated = jax.vmap(correlated_pixels)(modes, found[:, 0])
    return modes, products[:, count:, count:], left, correlated
