"""The likelihood: chi-square of a problem at θ, with everything linear solved for.

Data d with errors e are compared with m(θ) C + Σ a_k M_k: the model flux at labels, velocity,
rotation and resolution θ times a smooth continuum C = T c (Chebyshev polynomials, of their own in
every order), and what the emulator may be wrong by. The model states the covariance of its own
error as Σ M_k M_kᵀ over a dozen modes; seen through the instrument and times the continuum, they
are added to the errors of the pixels, N = diag(e²) + Σ M_k M_kᵀ. By Woodbury's identity,

    rᵀ N⁻¹ r = min over a of |(r − Σ a_k M_k)/e|² + |a|²,

so each mode is one more linear unknown with a normal prior of unit width. For given θ the best c
and a are linear least squares; they are solved each time, not fitted away beforehand, and their
uncertainty is in that of θ (variable projection: Golub & Pereyra 1973, in Kaufman's 1975
approximation of the derivative). With Q the orthonormal columns of the weighted continuum,
P = 1 − QQᵀ, Z = P M/e and J = P ∂r/∂θ,

    a = (1 + ZᵀZ)⁻¹ Zᵀ P r/e,      residual = [P r/e − Z a; −a],

and the same for the columns of J in place of r. Chi-square and its curvature are the plain sums
of squares of these longer vectors. The modes, the weights of outliers and the scale of the errors
are held while θ is sought, and set anew at what was found (`Likelihood.refined`).

So the amplitudes a are read off all pixels, and what the modes do to θ is corrected. True errors
have not those shapes alone, and the better the data, the less such a correction is to be relied on:
it is made, but the covariance is given that θ has without it,

    (JᵀJ)⁻¹ + B Bᵀ,    B = (JᵀJ)⁻¹ JᵀZ,

by what this exceeds the other by, `Likelihood.excess` (never negative: Gauss–Markov).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ...model.model import ForwardModel
from ..problem import Problem
from .data import Data, Form, form_of, observe, unit_of_flux
from .forward import predict, predict_with_slopes, seen_by, values_of
from .line_errors import LineErrors, find_line_errors
from .marginal import linear_at, whitened_pixels
from .noise import Noise, first_noise, noise_of

Floats = NDArray[np.float64]

_PART = 256
"""Pixels whose products are summed in float32, at the most."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the data would be at θ (K,) but for the continuum, on their padded pixels: `flux`
    (O·Q,) and its derivatives by θ, `slopes` (K, O·Q). Whatever the errors of the data are."""

    theta: Floats
    flux: Array
    slopes: Array


@dataclass(frozen=True, eq=False)
class Fit:
    """Chi-square at θ, and with r the residual and J its derivative by θ, both whitened and with
    what is linear taken out: `normal` JᵀJ (K, K), `gradient` Jᵀr (K,), and the parts of this that
    come from stretches of the spectrum, `scores` (parts, K)."""

    prediction: Prediction
    chi2: float
    normal: Floats
    gradient: Floats
    scores: Floats


@dataclass(frozen=True, eq=False)
class Picture:
    """What is predicted for the pixels of the spectrum (Q,): `flux` m C, and its `continuum` C, in
    the unit of the data."""

    flux: Floats
    continuum: Floats


@dataclass(frozen=True, eq=False)
class Likelihood:
    """A problem ready to be evaluated at θ. `made` by `make_likelihood`.

    Attributes
    ----------
    problem : Problem
        The problem.
    scale : float
        Unit of the flux in the computation, in that of the data.
    index : (Q,)
        Where the pixels of the spectrum stand in the padded arrays.
    noise : Noise
        Errors, weights and what was found about them, on the pixels of the spectrum.
    excess : (K, K)
        Covariance to be added to that of θ, for the emulator's error.
    data, form, fixed
        What goes into the compiled functions.
    """

    problem: Problem
    scale: float
    index: NDArray[np.int64]
    noise: Noise
    excess: Floats
    data: Data
    form: Form
    fixed: dict[str, Array]

    def predicted(self, theta: Floats) -> Prediction:
        """The prediction at θ (K,)."""
        return Prediction(theta, *predict_with_slopes(*self.arguments(theta), self.form))

    def fit(self, prediction: Prediction) -> Fit:
        """Chi-square of a prediction and its first two derivatives."""
        parts = np.asarray(_products(self.data, prediction.flux, prediction.slopes), np.float64)
        products = parts.sum(axis=0)
        scores = parts[:, 1:, 0]
        return Fit(prediction, float(products[0, 0]), products[1:, 1:], products[1:, 0], scores)

    def picture(self, prediction: Prediction) -> Picture:
        """Flux and continuum of a prediction."""
        flux, continuum = _picture(self.data, prediction.flux)
        both = (np.asarray(values, np.float64)[self.index] for values in (flux, continuum))
        return Picture(*(values * self.scale for values in both))

    def chi2(self, theta: Floats) -> float:
        """Chi-square at θ alone."""
        return float(_chi2(*self.arguments(theta), self.form))

    def arguments(self, theta: Floats) -> tuple[ForwardModel, Data, Array, dict[str, Array]]:
        """What the compiled functions take."""
        at = np.maximum(theta, self.problem.floor)
        emulator = self.problem.model.forward
        return emulator, self.data, jnp.asarray(at, jnp.float32), self.fixed

    @property
    def flat_chi2(self) -> float:
        """Chi-square of a spectrum without lines."""
        return float(_flat_chi2(self.data))

    @property
    def n_used(self) -> int:
        """Pixels that count."""
        return int(self.problem.spectrum.good.sum())

    def freedom(self) -> int:
        """Pixels less free parameters."""
        terms = len(self.problem.free) + self.problem.continuum_terms
        return max(self.n_used - terms, 1)

    def refined(self, prediction: Prediction, *, outliers_only: bool = False) -> Likelihood:
        """The same with weights, scale of the errors and modes as a prediction shows them."""
        fit = self.picture(prediction)
        if outliers_only:
            noise = noise_of(self.problem, self.noise, fit.flux, fit.continuum)
            noise = replace(self.noise, robust=noise.robust)
            return self._weighted(noise, fit)
        lines = self.line_errors(prediction, fit)
        noise = noise_of(self.problem, self.noise, fit.flux + lines.correction, fit.continuum)
        made = self._weighted(noise, fit)
        weight = noise.weight(fit.continuum) * noise.used
        data = replace(made.data, cells=lines.cells(weight, self.index, self.data.place.size))
        return made._with_modes(data, prediction, fit)

    def _with_modes(self, data: Data, prediction: Prediction, fit: Picture) -> Likelihood:
        """The same with these data, and the modes of the emulator's error at a prediction."""
        modes = self.problem.model.error_modes
        if not len(modes):
            return replace(self, data=data)
        at = self.arguments(prediction.theta)
        seen = _see_modes(jnp.asarray(modes), *at, self.form)
        rows = jnp.concatenate([prediction.slopes, seen]) * self._padded(fit.continuum / self.scale)
        rows, products = _whitened(data, prediction.flux, rows)
        excess = _excess(np.asarray(products, np.float64), self.problem.precision)
        found = rows[len(excess) :]
        return replace(self, excess=excess, data=replace(data, modes=found, gram=_gram(found)))

    def _weighted(self, noise: Noise, fit: Picture) -> Likelihood:
        """The same with other errors of the pixels."""
        weight = self._padded(noise.weight(fit.continuum) * self.scale)
        return replace(self, noise=noise, data=replace(self.data, weight=weight))

    def line_errors(self, prediction: Prediction, fit: Picture) -> LineErrors:
        """How the lines of a prediction, and its picture, compare with the data, every pixel taken
        for good."""
        noise = noise_of(self.problem, self.noise, fit.flux, fit.continuum)
        weight = noise.used / noise.total(fit.continuum)
        residual = np.where(noise.used, self.problem.spectrum.flux - fit.flux, 0.0)

        def slopes() -> Floats:
            labels = [name in self.form.labels for name in self.form.names]
            every = np.asarray(prediction.slopes, np.float64)[labels]
            return every[:, self.index] * fit.continuum

        order = self.index // self.data.basis.shape[-1]
        return find_line_errors(
            residual, fit.flux, fit.continuum, weight, self.index, order, slopes
        )

    def _padded(self, values: Floats) -> Array:
        padded = np.zeros(self.data.place.size, np.float32)
        padded[self.index] = np.where(self.problem.spectrum.good, values, 0.0)
        return jnp.asarray(padded)


def make_likelihood(problem: Problem) -> Likelihood:
    """The likelihood of a problem before anything is known of θ: no modes, all weights equal."""
    scale = unit_of_flux(problem)
    noise = first_noise(problem, scale)
    index, data = observe(problem, noise.first_weight * scale, scale)
    fixed = {name: jnp.float32(value) for name, value in problem.fixed.items()}
    excess = np.zeros((len(problem.free), len(problem.free)))
    return Likelihood(problem, scale, index, noise, excess, data, form_of(problem), fixed)


# --- compiled ----------------------------------------------------------------------------------


@jax.jit
def _products(data: Data, flux: Array, slopes: Array) -> Array:
    """Products (parts, 1 + K, 1 + K) of residual and Jacobian with each other, in parts to be
    summed in float64."""
    linear, continuum = linear_at(data, flux)
    pixels = jnp.concatenate([(data.flux - flux * continuum)[None], -slopes * continuum])
    rows = linear.whitened(whitened_pixels(data, pixels))
    rows = jnp.pad(rows, ((0, 0), (0, -rows.shape[1] % _PART)))
    parts = rows.reshape(len(rows), -1, _PART)
    return jnp.einsum("ipn,jpn->pij", parts, parts, precision="highest")


@jax.jit
def _picture(data: Data, flux: Array) -> tuple[Array, Array]:
    _, continuum = linear_at(data, flux)
    return flux * continuum, continuum


def whitened_residual(
    emulator: ForwardModel, data: Data, theta: Array, fixed: dict[str, Array], form: Form
) -> Array:
    """The residual (R,) alone, differentiable: its sum of squares is chi-square."""
    flux = predict(emulator, data, theta, fixed, form)
    linear, continuum = linear_at(data, flux)
    return linear.whitened(whitened_pixels(data, (data.flux - flux * continuum)[None]))[0]


@partial(jax.jit, static_argnames="form")
def _chi2(
    emulator: ForwardModel, data: Data, theta: Array, fixed: dict[str, Array], form: Form
) -> Array:
    return jnp.sum(whitened_residual(emulator, data, theta, fixed, form) ** 2)


@jax.jit
def _flat_chi2(data: Data) -> Array:
    flux = jnp.ones_like(data.flux)
    linear, continuum = linear_at(data, flux)
    return jnp.sum(linear.whitened(whitened_pixels(data, (data.flux - continuum)[None])) ** 2)


@jax.jit
def _whitened(data: Data, flux: Array, rows: Array) -> tuple[Array, Array]:
    """Whitened rows (N, O·Q), and their products (N, N) but for the continuum."""
    linear, _ = linear_at(data, flux)
    rows = whitened_pixels(data, rows)
    return rows, _gram(linear.projected(rows))


def _excess(products: Floats, precision: Floats) -> Floats:
    """The excess (K, K), of products (K + E, K + E) of slopes and modes; prior precision (K,)."""
    count = precision.size
    plain = products[:count, :count] + np.diag(precision)
    known = np.diag(plain) > 0.0
    scale = np.where(known, 1.0 / np.sqrt(np.where(known, np.diag(plain), 1.0)), 0.0)
    both, modes = scale[:, None] * products[:count, count:], products[count:, count:]
    plain = plain * np.outer(scale, scale)
    inverse = np.linalg.pinv(plain, rcond=1e-6, hermitian=True)
    corrected = plain - both @ np.linalg.solve(np.eye(len(modes)) + modes, both.T)
    moved = inverse @ both
    sizes, vectors = np.linalg.eigh(
        inverse + moved @ moved.T - np.linalg.pinv(corrected, rcond=1e-9, hermitian=True)
    )
    return (vectors * np.maximum(sizes, 0.0)) @ vectors.T * np.outer(scale, scale)


@jax.jit
def _gram(modes: Array) -> Array:
    return jnp.matmul(modes, modes.T, precision="highest")


@partial(jax.jit, static_argnames="form")
def _see_modes(
    modes: Array,
    emulator: ForwardModel,
    data: Data,
    theta: Array,
    fixed: dict[str, Array],
    form: Form,
) -> Array:
    """Modes (E, P) of the emulator's error as the data show them, (E, O·Q)."""
    value = values_of(theta, fixed, form)
    return jax.vmap(lambda mode: 1.0 - seen_by(emulator, 1.0 - mode, data, value, form))(modes)
