"""The likelihood of a star as a function of its parameters, for samplers and other programs.

It is the likelihood of `infer` at the solution of least squares, whose errors are held fixed: those
of the pixels with the weights of outliers, the error modes of the model, and the scatter. Continuum
and amplitudes of the modes are solved for at every θ (`likelihood`).

Errors of lines, and of the model beyond its modes, change the covariance of θ from Σ, the inverse
curvature of that likelihood, to Σ′ (`solution.misfit_covariance`). They displace θ at random, by δ
of covariance Σ′ − Σ, and the likelihood is marginalised over δ. For a normal one that is a change
of scale around the solution θ̂,

    ∫ L(θ + δ) p(δ) dδ = |A| L(θ̂ + A (θ − θ̂)),    A = R (R⁻¹ Σ R⁻ᵀ)^½ R⁻¹,    Σ′ = R Rᵀ,

with which AᵀΣ⁻¹A = Σ′⁻¹, in any units of θ. The right side is used for likelihoods of other forms
too: they keep their form, and flat tails stay flat. It is applied to the coordinates in which the
flux is nearly linear (`Coordinates`). Parameters on a bound are not scaled.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ..errors import InputError
from ..model.evaluate import ForwardModel
from ..model.model import Model
from ..runtime.arrays import DEFAULT_FLOATING_POINT, Floats
from ..runtime.precision import in_float32
from ..runtime.with_units import in_parameter_unit
from ..spectra.formats.in_memory import as_spectrum
from .coordinates import Coordinates
from .likelihood.data import Data, ForwardForm
from .likelihood.likelihood import chi2_change, make_likelihood
from .methods.least_squares import LeastSquares
from .prior import prior_on
from .result import Inference
from .single import answer_of, check_settings, problem_of
from .solution import Solution, covariance

_SMALLEST = 1e-20
"""Smallest coordinate of which a root is taken: the slope is infinite at zero."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=(
        "low",
        "high",
        "floor",
        "power",
        "center",
        "bounds",
        "scale",
        "residual",
        "scatter",
    ),
    meta_fields=(),
)
@dataclass(frozen=True)
class _Around:
    """The solution: bounds and floor (K,) of θ, powers (K,) of the coordinates ψ, their values (K,)
    and bounds (2, K), the change of scale A (K, K), the whitened residual (R,), and the scatter."""

    low: Array
    high: Array
    floor: Array
    power: Array
    center: Array
    bounds: Array
    scale: Array
    residual: Array
    scatter: Array

    def scaled(self, theta: Array) -> Array:
        """θ (K,), within its bounds, after the change of scale around the solution."""
        at = jnp.maximum(jnp.clip(theta, self.low, self.high), self.floor)
        plain = self.power == 1.0
        psi = jnp.where(plain, at, jnp.where(plain, 1.0, at) ** self.power)
        psi = jnp.clip(self.center + self.scale @ (psi - self.center), *self.bounds)
        root = jnp.where(plain, 1.0, jnp.maximum(psi, _SMALLEST)) ** (1.0 / self.power)
        return jnp.maximum(jnp.where(plain, psi, root), self.floor)


@dataclass(frozen=True, eq=False, repr=False)
class LogLikelihood:
    """The log-likelihood of a star: a pure function of its parameters, by name.

    It works inside `jax.jit`, `jax.grad` and `jax.vmap`, and is a pytree: as an argument of a
    compiled function, that of another star with as many pixels needs no new compilation.

    Attributes
    ----------
    ranges : dict
        Range (low, high) of each parameter, beyond which the likelihood is zero: the library's for
        labels. Empty inside compiled functions.
    answer : Inference or None
        The solution with its flags, whose errors are used. None inside compiled functions.

    Examples
    --------
    >>> import jax
    >>> import blase3d as b3
    >>> star, model = b3.read_spectrum("star.npz"), b3.load_model("model.zip")
    >>> log_likelihood = b3.log_likelihood(star, model, fixed={"vsini": 0.0})
    >>> log_likelihood.names
    ('teff', 'logg', 'feh', 'rv')
    >>> bool(abs(log_likelihood(log_likelihood.best)) < 1e-3)
    True
    >>> slopes = jax.grad(log_likelihood)({"teff": 5800.0, "logg": 4.4, "feh": 0.1, "rv": 0.0})
    >>> float(slopes["teff"]) < 0.0
    True
    """

    _arrays: tuple[ForwardModel, Data, dict[str, Array], _Around]
    _form: ForwardForm
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    answer: Inference | None = None

    def __repr__(self) -> str:
        return f"<LogLikelihood of {', '.join(self.names)}>"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return self._form.names

    @property
    def best(self) -> dict[str, float]:
        """The parameters of the solution, where a sampler can start."""
        if self.answer is None:
            raise InputError("the solution is unknown inside a compiled function; read it outside.")
        found = {**self.answer.labels, **self.answer.nuisance}
        return {name: found[name].value for name in self.names}

    def __call__(self, parameters: Mapping[str, ArrayLike]) -> Array:
        """Return the natural logarithm of the likelihood, relative to that of the solution.

        Parameters
        ----------
        parameters : dict
            A number for each of `names`: labels, rv, vsini and vmac (km/s), resolution, dilution.
            astropy Quantities are converted.

        Returns
        -------
        float
            −inf beyond `ranges` and for NaN.

        Raises
        ------
        InputError
            A parameter is missing or unknown.
        """
        if set(parameters) != set(self.names):
            raise InputError(
                f"got the parameters {', '.join(parameters) or 'none'}, expected "
                f"{', '.join(self.names)}; give each of these once."
            )
        given = [in_parameter_unit(name, parameters[name]) for name in self.names]
        theta = jnp.stack([jnp.asarray(value, float) for value in given])
        value = self._in_float32(theta.astype(jnp.float32))
        return value.astype(theta.dtype)

    @in_float32
    def _in_float32(self, theta: Array) -> Array:
        return _relative(*self._arrays, theta, self._form)


# by hand: `drop_fields` of `register_dataclass` does not work in JAX 0.8
jax.tree_util.register_pytree_node(
    LogLikelihood,
    lambda one: ((one._arrays,), one._form),
    lambda form, arrays: LogLikelihood(*arrays, form),
)


@partial(jax.jit, static_argnames="form")
def _relative(
    forward: ForwardModel,
    data: Data,
    fixed: dict[str, Array],
    around: _Around,
    theta: Array,
    form: ForwardForm,
) -> Array:
    """The log-likelihood at θ (K,) relative to that of the solution."""
    inside = jnp.all((theta >= around.low) & (theta <= around.high))
    at = around.scaled(jnp.where(inside, theta, around.low))
    change = chi2_change(forward, data, at, fixed, form, around.residual)
    return jnp.where(inside, -0.5 * change / around.scatter, -jnp.inf)


@in_float32
@DEFAULT_FLOATING_POINT
def log_likelihood(
    spectrum: Any,
    model: Model,
    *,
    medium: str | None = None,
    ranges: Mapping[str, tuple[Any, Any]] | None = None,
    fixed: Mapping[str, Any] | None = None,
    **options: Any,
) -> LogLikelihood:
    """Return the log-likelihood of a star as a function of its parameters, for samplers.

    The star is inferred once by least squares. Errors of pixels and model are those of this
    solution; the continuum is solved for at every point. With flat priors, the posterior has the
    estimates and the covariance of `infer`.

    Parameters
    ----------
    spectrum, model, medium
        As in `infer`.
    ranges : dict, optional
        Range (low, high) of parameters by name, to narrow them or to free vmac, dilution, or a
        stated resolution. Other priors are added to the function: the sum is the log-posterior.
    fixed : dict, optional
        Fixed values by name.
    **options
        Fields of `Options`: continuum_degree, robust, jitter, integrate, limb_darkening, telluric,
        noise.

    Returns
    -------
    LogLikelihood
        A function of a dict of the free parameters. Its `answer` has the flags of the solution:
        read them before you rely on the function.

    Raises
    ------
    InputError
        The spectrum cannot be compared with the model, or a setting is unknown or impossible.

    Examples
    --------
    Two spectra of one star, each with its velocity:

    >>> import blase3d as b3
    >>> star, model = b3.read_spectrum("star.npz"), b3.load_model("model.zip")
    >>> one = b3.log_likelihood(star, model, fixed={"vsini": 0.0})
    >>> two = b3.log_likelihood(star, model, fixed={"vsini": 0.0})
    >>> def log_posterior(labels, rv_one, rv_two):
    ...     prior = -0.5 * ((labels["logg"] - 4.4) / 0.05) ** 2
    ...     return one({**labels, "rv": rv_one}) + two({**labels, "rv": rv_two}) + prior
    >>> value = log_posterior({"teff": 5700.0, "logg": 4.4, "feh": 0.1}, 0.0, 0.0)
    >>> bool(value < 0.0)
    True
    """
    start = time.perf_counter()
    priors = {name: _uniform(name, given) for name, given in (ranges or {}).items()}
    check_settings("gradient", options)
    star = as_spectrum(spectrum, medium)
    problem = problem_of(star, model, priors, fixed, options)
    problem = replace(problem, dilution_assumed=False)  # names of a function are known beforehand
    outcome = LeastSquares().solve(make_likelihood(problem), seed=0)
    answer = answer_of(outcome, model, "gradient", start)
    likelihood, problem = outcome.best.likelihood, outcome.best.problem
    around = _around(outcome.best, answer.covariance)
    return LogLikelihood(
        (problem.model.forward, likelihood.data, likelihood.fixed, around),
        likelihood.form,
        {name: (prior.low, prior.high) for name, prior in problem.free.items()},
        answer,
    )


def _uniform(name: str, given: Any) -> Any:
    prior = prior_on(name, given)
    if np.isfinite(prior.sigma):
        raise InputError(
            f"got a normal prior on {name}, expected a range (low, high); add the prior to the "
            "log-likelihood."
        )
    return prior


def _around(best: Solution, stated: Floats) -> _Around:
    """A solution as arrays, with the covariance (K, K) that is stated of it."""
    problem, likelihood = best.problem, best.likelihood
    coordinates = Coordinates(problem)
    slopes = coordinates.slopes(best.theta)
    per_slope = 1.0 / np.outer(slopes, slopes)
    free = ~best.at_bound
    scale = np.eye(len(free))
    inner = np.ix_(free, free)
    plain = (covariance(best, best.scatter) * per_slope)[inner]
    scale[inner] = change_of_scale(plain, (stated * per_slope)[inner])
    arrays = (
        problem.lower,
        problem.upper,
        problem.floor,
        coordinates.power,
        coordinates.psi(best.theta),
        coordinates.bounds,
        scale,
        likelihood.residual(best.theta),
        best.scatter,
    )
    return _Around(*(jnp.asarray(array, jnp.float32) for array in arrays))


def change_of_scale(plain: Floats, stated: Floats) -> Floats:
    """Return the A (K, K) with AᵀΣ⁻¹A = Σ′⁻¹, for covariances Σ `plain` and Σ′ `stated`; directions
    in which Σ′ is smaller are not scaled."""
    unit = np.sqrt(np.diag(stated))
    root = unit[:, None] * np.linalg.cholesky(stated / np.outer(unit, unit))
    inverse = np.linalg.inv(root)
    sizes, vectors = np.linalg.eigh(inverse @ plain @ inverse.T)
    roots = np.sqrt(np.clip(sizes, 0.0, 1.0))
    return root @ ((vectors * roots) @ vectors.T) @ inverse
