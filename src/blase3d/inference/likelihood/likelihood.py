"""The likelihood: chi-square of a problem at θ, with all linear unknowns solved for.

Data d with errors e are compared with m(θ) C + Σ a_k M_k: the model flux at the labels, velocity,
rotation and resolution θ times a smooth continuum C = T c (Chebyshev polynomials, separate in each
order), and the error of the model. The model states the covariance of its error as Σ M_k M_kᵀ over
a dozen modes; observed like the flux and times the continuum, they are added to the covariance of
the pixels, N = diag(e²) + Σ M_k M_kᵀ. By Woodbury's identity,

    rᵀ N⁻¹ r = min over a of |(r − Σ a_k M_k)/e|² + |a|²,

so each mode is one more linear unknown with a normal prior of unit width. For given θ the best c
and a are linear least squares; they are solved each time, and their uncertainty is part of that of
θ (variable projection: Golub & Pereyra 1973, in Kaufman's 1975 approximation of the derivative).
With Q the orthonormal columns of the weighted continuum, P = 1 − QQᵀ, Z = P M/e and J = P ∂r/∂θ,

    a = (1 + ZᵀZ)⁻¹ Zᵀ P r/e,      whitened residual = [P r/e − Z a; −a],

and the same for the columns of J in place of r. Chi-square and its curvature are the plain sums
of squares of these longer vectors. The errors (`error_budget`: noise, modes) are held fixed while θ
is sought, and estimated again at the θ that was found (`Likelihood.refined`).

Where chi-square exceeds its expectation, the variances e² are too small by its reduced value s²,
and N = s² diag(e²) + Σ M_k M_kᵀ = s² (diag(e²) + Σ M_k M_kᵀ/s²). So the modes are divided by s, and
the covariance of θ is multiplied by s² later (`Solution.scatter`). Otherwise the amplitudes would
be far beyond their prior where the library is incomplete, and would change the labels.

Where lines are wrong, neighbouring pixels are wrong together, and c of them count as one. If the
mismatch with stars is known, the modes are divided by √c too. c is estimated as the covariance of θ
is (`solution.misfit_covariance`): with z_p r_p the contribution of a pixel to Zᵀr, it is the sum of
(Σ z_p r_p)² over segments, over that of (z_p r_p)² over pixels; one for white noise. The
variance of the mismatch with stars, which is the same over a line, already counts as many times as
that has pixels (`noise/mismatch.py`): c is multiplied by the share of e² that is of single pixels.

So the amplitudes a are measured from all pixels, and θ is corrected for the modes. But real model
errors are not spanned by these modes, and the better the data, the less such a correction can be
relied on: it is made, but the stated covariance is the one that θ has without it,

    (JᵀJ)⁻¹ + B Bᵀ,    B = (JᵀJ)⁻¹ JᵀZ.

`ErrorBudget.model_covariance` is its difference from the covariance with the correction (never
negative: Gauss–Markov).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ...model.evaluate import ForwardModel
from ...runtime.arrays import Floats, median, symmetric_inverse
from ...runtime.traces import traced_once
from ...runtime.units import SIGMA_PER_MAD
from ..noise.mismatch import PixelMismatch, mismatch_of_pixels
from ..noise.noise import OUTLIER, Noise, Whitening, first_noise, noise_at, with_shares
from ..problem import Problem
from .data import Data, ForwardForm, PaddedLayout, form_of, layout_of, make_data, unit_of_flux
from .error_budget import ErrorArrays, ErrorBudget, without_modes
from .forward import observed_flux, parameters_at, predict, predict_with_slopes
from .marginal import linear_at

SEGMENT = 64
"""Pixels whose products are summed in float32, before float64 takes over: a few lines."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The flux at θ (K,) before the continuum, on the padded pixels: `flux` (O·Q,) and its
    derivatives by θ, `slopes` (K, O·Q). It does not depend on the errors of the data."""

    theta: Floats
    flux: Array
    slopes: Array


@dataclass(frozen=True, eq=False)
class Fit:
    """Chi-square at θ and its derivatives.

    Attributes
    ----------
    prediction : Prediction
        The flux at θ.
    chi2 : float
        |r|², with r the whitened residual.
    normal : (K, K)
        JᵀJ, with J the derivative of r by θ.
    gradient : (K,)
        Jᵀr.
    scores : (S, K)
        Contributions to the gradient by S segments of the spectrum.
    """

    prediction: Prediction
    chi2: float
    normal: Floats
    gradient: Floats
    scores: Floats


@dataclass(frozen=True, eq=False)
class FittedFlux:
    """A prediction on the pixels of the spectrum (Q,), in the unit of the data: `flux` with its
    best `continuum`, and this."""

    flux: Floats
    continuum: Floats


@dataclass(frozen=True, eq=False)
class Likelihood:
    """The likelihood of a problem; `make_likelihood` builds it.

    Attributes
    ----------
    problem : Problem
        The problem.
    unit : float
        Unit of the flux of the computation, in the unit of the data.
    layout : PaddedLayout
        Arrangement of the pixels in the padded arrays.
    errors : ErrorBudget
        Errors of pixels and model.
    data, form, fixed
        Arguments of the compiled functions; `data` has the arrays of `errors`.
    """

    problem: Problem
    unit: float
    layout: PaddedLayout
    errors: ErrorBudget
    data: Data
    form: ForwardForm
    fixed: dict[str, Array]

    def of_problem(self, problem: Problem) -> Likelihood:
        """The likelihood of a problem of the same pixels, with the errors of these."""
        other = make_likelihood(problem)
        errors = replace(other.errors, noise=self.errors.noise, arrays=self.errors.arrays)
        return other._with_errors(errors)

    def predicted(self, theta: Floats) -> Prediction:
        """The prediction at θ (K,)."""
        return Prediction(theta, *predict_with_slopes(*self.arguments(theta), self.form))

    def fit(self, prediction: Prediction) -> Fit:
        """Chi-square of a prediction and its derivatives."""
        segments = np.asarray(
            segment_products(self.data, prediction.flux, prediction.slopes), np.float64
        )
        products = segments.sum(axis=0)
        scores = segments[:, 1:, 0]
        return Fit(prediction, float(products[0, 0]), products[1:, 1:], products[1:, 0], scores)

    def fitted(self, prediction: Prediction) -> FittedFlux:
        """A prediction with its best continuum, on the pixels of the spectrum."""
        arrays = fitted_arrays(self.data, prediction.flux)
        return FittedFlux(
            *(np.asarray(a, np.float64)[self.layout.index] * self.unit for a in arrays)
        )

    def chi2(self, theta: Floats) -> float:
        """Chi-square at θ alone."""
        return float(_chi2(*self.arguments(theta), self.form))

    def residual(self, theta: Floats) -> Array:
        """The whitened residual (R,) at θ alone."""
        return _residual(*self.arguments(theta), self.form)

    def arguments(self, theta: Floats) -> tuple[ForwardModel, Data, Array, dict[str, Array]]:
        """Arguments of the compiled functions at θ (K,)."""
        at = jax.device_put(np.maximum(theta, self.problem.floor).astype(np.float32))
        return self.problem.model.forward, self.data, at, self.fixed

    @property
    def flat_chi2(self) -> float:
        """Chi-square of a spectrum without lines."""
        return float(_flat_chi2(self.data))

    @property
    def n_used(self) -> int:
        """Number of pixels that are not masked."""
        return int(self.problem.spectrum.good.sum())

    def freedom(self) -> int:
        """Degrees of freedom: pixels minus free parameters."""
        terms = len(self.problem.free) + self.problem.continuum_terms
        return max(self.n_used - terms, 1)

    def independent_in_lines(self, fit: Fit) -> float:
        """Share of the information on lines that is of independent pixels."""
        return self.errors.noise.independent_in_lines

    @property
    def expected_chi2(self) -> float:
        """Expectation of chi-square with the errors of the likelihood."""
        return self.freedom() * self.errors.noise.independent

    def reduced(self, chi2: float) -> float:
        """Chi-square over its expectation."""
        return chi2 / self.expected_chi2

    def refined(self, prediction: Prediction) -> Likelihood:
        """The likelihood with all errors estimated at a prediction."""
        return self._with_errors(self.error_budget(prediction))

    def screened(self, prediction: Prediction) -> Likelihood:
        """The likelihood with less weight for the outliers of a prediction; the errors stay."""
        fit, before = self.fitted(prediction), self.errors.noise
        noise = self._noise_at(prediction.theta, fit)
        noise = replace(noise, factor=before.factor, jitter=before.jitter)
        noise = with_shares(noise, fit.flux, fit.continuum)
        return self._with_noise(noise, self._whitening(noise, fit.continuum))

    def with_better_lines(self, prediction: Prediction) -> Likelihood:
        """The likelihood with the lines of the library, if these fit better at θ of a prediction
        than those that real stars taught; itself otherwise.

        Stars that the library computed are fitted with its lines, real ones with theirs. Outliers
        of either do not decide.
        """
        if not self.problem.lines_of_stars:
            return self
        problem = replace(self.problem, model=self.problem.model.with_library_lines())
        library = replace(self, problem=problem)
        pairs = (self, prediction), (library, library.predicted(prediction.theta))
        left = np.array([one._deviations(predicted) for one, predicted in pairs])
        largest = OUTLIER * SIGMA_PER_MAD * median(left.min(axis=0))
        of_stars, of_library = np.sum(np.minimum(left, largest) ** 2, axis=1)
        return library if of_library < of_stars else self

    def _deviations(self, prediction: Prediction) -> Floats:
        """Absolute residuals of a prediction at the used pixels, in stated errors."""
        spectrum, fit = self.problem.spectrum, self.screened(prediction).fitted(prediction)
        return (np.abs(spectrum.flux - fit.flux) / self.errors.noise.error)[spectrum.good]

    def error_budget(self, prediction: Prediction) -> ErrorBudget:
        """The errors at a prediction: of pixels, then modes."""
        fit = self.fitted(prediction)
        noise = self._noise_at(prediction.theta, fit)
        whitening = self._whitening(noise, fit.continuum)
        fitted = self._with_noise(noise, whitening)
        scatter = max(fitted.reduced(fitted.fit(prediction).chi2), 1.0)
        count = len(self.problem.model.error_modes)
        arrays = without_modes(whitening, count, self.layout.size)
        return ErrorBudget(noise, *self._with_modes(noise, arrays, prediction, fit, scatter))

    def _with_modes(
        self,
        noise: Noise,
        arrays: ErrorArrays,
        prediction: Prediction,
        fit: FittedFlux,
        scatter: float,
    ) -> tuple[Floats, ErrorArrays]:
        """The model covariance (K, K), and the errors with the error modes at a prediction; the
        variances of the pixels are `scatter` times those of `arrays`."""
        modes = self.problem.model.error_modes
        if not len(modes):
            return np.zeros_like(self.errors.model_covariance), arrays
        arguments = jax.device_put(modes), *self.arguments(prediction.theta)
        observed = _observed_modes(*arguments, self.form)
        found = _whitened_modes(
            replace(self.data, errors=arrays),
            prediction.flux,
            prediction.slopes,
            observed,
            self._pad(fit.continuum / self.unit),
            scatter,
            noise.independent_in_lines,
            self.problem.calibrated,
        )
        products, correlated = (np.asarray(each, np.float64) for each in found[2:])
        covariance = model_covariance_of(products, float(correlated), self.problem.precision)
        return covariance, replace(arrays, modes=found[0], gram=found[1])

    def _noise_at(self, theta: Floats, fit: FittedFlux) -> Noise:
        options, mismatch = self.problem.options, mismatch_at(self.problem, theta)
        noise = self.errors.noise
        return noise_at(
            options.noise_model, noise, fit.flux, fit.continuum, options.robust, mismatch
        )

    def _whitening(self, noise: Noise, continuum: Floats) -> Whitening:
        model = self.problem.options.noise_model
        return model.whitening(noise, continuum, self.unit, self._pad)

    def _with_noise(self, noise: Noise, whitening: Whitening) -> Likelihood:
        arrays = replace(self.errors.arrays, noise=whitening)
        return self._with_errors(replace(self.errors, noise=noise, arrays=arrays))

    def _with_errors(self, errors: ErrorBudget) -> Likelihood:
        return replace(self, errors=errors, data=replace(self.data, errors=errors.arrays))

    def _pad(self, values: Floats) -> Array:
        """Values (Q,) on the padded pixels (O·Q,), zero for masked ones."""
        return self.layout.pad(np.where(self.problem.spectrum.good, values, 0.0))


def make_likelihood(problem: Problem) -> Likelihood:
    """Return the likelihood of a problem before anything is known of θ: with the stated errors."""
    unit, layout = unit_of_flux(problem), layout_of(problem.spectrum)
    noise = first_noise(problem.spectrum, unit)

    def pad(values: Floats) -> Array:
        return layout.pad(np.where(problem.spectrum.good, values, 0.0))

    unknown = np.zeros(len(problem.spectrum))
    whitening = problem.options.noise_model.whitening(noise, unknown, unit, pad)
    arrays = without_modes(whitening, len(problem.model.error_modes), layout.size)
    no_covariance = np.zeros((len(problem.free), len(problem.free)))
    return Likelihood(
        problem,
        unit,
        layout,
        ErrorBudget(noise, no_covariance, arrays),
        make_data(problem, layout, unit, arrays),
        form_of(problem),
        {n: jax.device_put(np.float32(value)) for n, value in problem.fixed.items()},
    )


def mismatch_at(problem: Problem, theta: Floats) -> PixelMismatch | None:
    """Return the mismatch of the model with real stars at the pixels of a problem, with the
    parameters θ (K,); None if it is not known."""
    mismatch = problem.model.mismatch
    if mismatch is None:
        return None
    return mismatch_of_pixels(mismatch, problem.spectrum.wavelength, problem.parameters(theta))


# --- compiled ----------------------------------------------------------------------------------


@traced_once()
def segment_products(data: Data, flux: Array, slopes: Array) -> Array:
    """Products (S, 1 + K, 1 + K) of whitened residual and Jacobian with each other, of each of S
    segments."""
    linear, continuum = linear_at(data, flux)
    pixels = jnp.concatenate([(data.flux - flux * continuum)[None], -slopes * continuum])
    rows = linear.whitened(data.errors.whitened(pixels))
    rows = jnp.pad(rows, ((0, 0), (0, -rows.shape[1] % SEGMENT)))
    segments = rows.reshape(len(rows), -1, SEGMENT)
    return jnp.einsum("ipn,jpn->pij", segments, segments, precision="highest")


@traced_once()
def fitted_arrays(data: Data, flux: Array) -> tuple[Array, Array]:
    """A flux (O·Q,) with its best continuum, and the continuum."""
    _, continuum = linear_at(data, flux)
    return flux * continuum, continuum


def whitened_residual(
    forward: ForwardModel, data: Data, theta: Array, fixed: dict[str, Array], form: ForwardForm
) -> Array:
    """Return the whitened residual (R,), differentiable: its sum of squares is chi-square."""
    flux = predict(forward, data, theta, fixed, form)
    linear, continuum = linear_at(data, flux)
    return linear.whitened(data.errors.whitened((data.flux - flux * continuum)[None]))[0]


_residual = jax.jit(whitened_residual, static_argnames="form")
"""The whitened residual, compiled for itself."""


def chi2_change(
    forward: ForwardModel,
    data: Data,
    theta: Array,
    fixed: dict[str, Array],
    form: ForwardForm,
    reference: Array,
) -> Array:
    """Return chi-square at θ minus that of a whitened residual `reference` (R,), differentiable.

    The sum over differences is precise in float32, in which chi-square itself is not.
    """
    residual = whitened_residual(forward, data, theta, fixed, form)
    return jnp.sum((residual - reference) * (residual + reference))


@partial(jax.jit, static_argnames="form")
def _chi2(
    forward: ForwardModel, data: Data, theta: Array, fixed: dict[str, Array], form: ForwardForm
) -> Array:
    return jnp.sum(whitened_residual(forward, data, theta, fixed, form) ** 2)


@jax.jit
def _flat_chi2(data: Data) -> Array:
    flux = jnp.ones_like(data.flux)
    linear, continuum = linear_at(data, flux)
    return jnp.sum(linear.whitened(data.errors.whitened((data.flux - continuum)[None])) ** 2)


@jax.jit
def correlated_pixels(modes: Array, left: Array) -> Array:
    """Number of pixels that count as one, at least one, from whitened modes (E, R) and residuals
    (R,)."""
    products = modes * left
    segments = jnp.pad(products, ((0, 0), (0, -left.size % SEGMENT)))
    sums = segments.reshape(len(modes), -1, SEGMENT).sum(axis=2)
    return jnp.maximum(jnp.sum(sums**2) / jnp.maximum(jnp.sum(products**2), 1e-30), 1.0)


@traced_once(static="calibrated")
def _whitened_modes(
    data: Data,
    flux: Array,
    slopes: Array,
    modes: Array,
    continuum: Array,
    scatter: float,
    independent: float,
    calibrated: bool,
) -> tuple[Array, Array, Array, Array]:
    """Whitened error modes (E, O·Q), their products, those (K + E, K + E) of slopes and modes
    without the continuum, and the number of pixels that count as one.

    The variances of the pixels are `scatter` times those of the data, in which pixels that are
    alike already count less: a share of them is `independent`.
    """
    linear, _ = linear_at(data, flux)
    rows = data.errors.whitened(jnp.concatenate([slopes, modes]) * continuum)
    products, found = _gram(linear.projected(rows)) / scatter, rows[len(slopes) :]
    correlated = jnp.ones(())
    if calibrated:
        left = data.errors.whitened((data.flux - flux * continuum)[None])[0]
        correlated = jnp.maximum(correlated_pixels(found, left) * independent, 1.0)
    found /= jnp.sqrt(scatter * correlated)
    return found, _gram(found), products, correlated


def model_covariance_of(products: Floats, correlated: float, precision: Floats) -> Floats:
    """The model covariance (K, K), from the products (K + E, K + E) of slopes and modes, the number
    of pixels that count as one, and the precision (K,) of the priors."""
    count = precision.size
    plain = products[:count, :count] + np.diag(precision)
    known = np.diag(plain) > 0.0
    scale = np.where(known, 1.0 / np.sqrt(np.where(known, np.diag(plain), 1.0)), 0.0)
    both, modes = scale[:, None] * products[:count, count:], products[count:, count:]
    plain = plain * np.outer(scale, scale)
    inverse = symmetric_inverse(plain, rcond=1e-6)
    corrected = plain - both @ np.linalg.solve(correlated * np.eye(len(modes)) + modes, both.T)
    moved = inverse @ both
    sizes, vectors = np.linalg.eigh(
        inverse + moved @ moved.T - symmetric_inverse(corrected, rcond=1e-9)
    )
    return (vectors * np.maximum(sizes, 0.0)) @ vectors.T * np.outer(scale, scale)


def _gram(modes: Array) -> Array:
    return jnp.matmul(modes, modes.T, precision="highest")


@traced_once(static="form")
def _observed_modes(
    modes: Array,
    forward: ForwardModel,
    data: Data,
    theta: Array,
    fixed: dict[str, Array],
    form: ForwardForm,
) -> Array:
    """Error modes (E, P) of the model as observed, (E, O·Q)."""
    value = parameters_at(theta, fixed, form)

    def observed(mode: Array) -> Array:
        return 1.0 - observed_flux(forward, 1.0 - mode, data, value, form)

    return jax.vmap(observed)(modes)
