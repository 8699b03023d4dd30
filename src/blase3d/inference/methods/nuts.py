"""Draws from the posterior by the No-U-Turn sampler (Hoffman & Gelman 2014, JMLR 15, 1593).

The density is that of the likelihood at the solution of the gradient search: errors, weights of
outliers and modes of the emulator's error are held as they are there, the continuum and the modes
are solved for at every θ, and chi-square is divided by the same scatter. Parameters are mapped
from their range to the whole line, u = ln(p/(1 − p)) with p the part of the range of ψ
(`gradient.Coordinates`), and scaled by the Cholesky factor of their covariance, so that the
sampler sees nearly a unit normal; what is left of it a short window adaptation learns. In float32,
chi-square is summed as its difference from that of the solution.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ...errors import InputError, MissingExtra
from ...model.model import ForwardModel
from ..likelihood.data import Data, Form
from ..likelihood.likelihood import whitened_residual
from .least_squares import Coordinates, Solution, normal_equations

Floats = NDArray[np.float64]

DRAWS = 200
CHAINS = 4
WARMUP = 80
"""Steps of the adaptation, of one chain."""
SETTLING = 25
"""Steps of each chain that are thrown away."""
_SPREAD = 1.2
"""Chains start so many standard deviations wide."""
_LARGEST_RHAT = 1.03
_FEWEST = 100.0
"""Effective draws, of all chains, below which a run has not converged."""
_DIVERGENT = 0.02
_TINY = 1e-20
_DEEPEST = 6
"""Doublings of a trajectory, at the most."""


@dataclass(frozen=True, eq=False)
class Draws:
    """`values` (chains, draws, K) of θ, and `diagnostics`: r_hat, ess (by name of the parameter)
    and divergent (share of the draws)."""

    values: Floats
    diagnostics: dict[str, Any]

    @property
    def converged(self) -> bool:
        """Whether chains agree and are long enough."""
        found = self.diagnostics
        return bool(
            max(found["r_hat"].values()) < _LARGEST_RHAT
            and min(found["ess"].values()) > _FEWEST
            and found["divergent"] <= _DIVERGENT
        )


@partial(
    jax.tree_util.register_dataclass,
    data_fields=(
        "low",
        "span",
        "power",
        "center",
        "factor",
        "mean",
        "precision",
        "residual",
        "scatter",
    ),
    meta_fields=(),
)
@dataclass(frozen=True, eq=False)
class _Target:
    """The range of ψ (K,) and its powers, the normal approximation in u (center (K,), Cholesky
    factor (K, K)), the normal priors, the residual (R,) of the solution and the scatter."""

    low: Array
    span: Array
    power: Array
    center: Array
    factor: Array
    mean: Array
    precision: Array
    residual: Array
    scatter: Array

    def theta(self, z: Array) -> Array:
        """θ (K,) at a point z (K,) of the scaled space."""
        psi = self.low + self.span * jax.nn.sigmoid(self.center + self.factor @ z)
        plain = self.power == 1.0
        bent = jnp.where(plain, 1.0, jnp.maximum(psi, _TINY)) ** (1.0 / self.power)
        return jnp.where(plain, psi, bent)

    def log_volume(self, z: Array) -> Array:
        """ln |dθ/dz| but for a constant: of the logistic function, and of θ = ψ^(1/p)."""
        u = self.center + self.factor @ z
        psi = self.low + self.span * jax.nn.sigmoid(u)
        bent = (1.0 / self.power - 1.0) * jnp.log(jnp.maximum(psi, _TINY))
        of_power = jnp.where(self.power == 1.0, 0.0, bent)
        return jnp.sum(jax.nn.log_sigmoid(u) + jax.nn.log_sigmoid(-u) + of_power)


def sampler() -> Any:
    """The module blackjax (MissingExtra if it is not installed)."""
    try:
        import blackjax
    except ImportError:
        raise MissingExtra("blackjax", "posterior", "the method posterior") from None
    return blackjax


def draw(
    blackjax: Any, solution: Solution, scatter: float, seed: int, draws: int, chains: int
) -> Draws:
    """Draws around a solution, from several chains.

    Raises
    ------
    InputError
        Fewer than two chains, or too few draws to judge them by.
    """
    if draws < 20 or chains < 2:
        raise InputError(
            f"got {draws} draws of {chains} chains, expected at least 20 of at least 2; "
            "take more, or the convergence cannot be judged."
        )
    likelihood = solution.likelihood
    theta, divergent, steps = _sample(
        blackjax,
        likelihood.problem.model.forward,
        likelihood.data,
        likelihood.fixed,
        _target(solution, scatter),
        jax.random.split(jax.random.key(seed), chains + 1),
        form=likelihood.form,
        draws=draws,
    )
    values = np.asarray(theta, np.float64)
    diagnostics = _diagnostics(likelihood.problem.names, values, divergent, steps)
    return Draws(_widened(values, solution, seed), diagnostics)


def _widened(values: Floats, solution: Solution, seed: int) -> Floats:
    """Draws (chains, N, K) widened by the excess for the emulator's error, within the bounds."""
    problem = solution.likelihood.problem
    normal = np.random.default_rng(seed).standard_normal(values.shape)
    sizes, vectors = np.linalg.eigh(solution.excess)
    moved = values + normal @ (vectors * np.sqrt(np.maximum(sizes, 0.0))).T
    return np.clip(moved, problem.lower, problem.upper)


def _target(solution: Solution, scatter: float) -> _Target:
    """The normal approximation at a solution, in ψ and from there in u.

    A parameter on a bound falls off from it as exp(−g ψ), with g the gradient of half chi-square.
    """
    likelihood, problem = solution.likelihood, solution.likelihood.problem
    coordinates = Coordinates(problem)
    low, high = coordinates.bounds
    span, slopes = high - low, coordinates.slopes(solution.theta)
    normal, gradient = normal_equations(problem, solution.fit, solution.theta, scatter)
    normal, gradient = normal * np.outer(slopes, slopes), np.abs(gradient * slopes)
    bound = solution.at_bound
    normal[bound, :], normal[:, bound] = 0.0, 0.0
    normal += np.diag(np.where(bound, gradient**2, 0.0) + 12.0 / span**2)
    covariance = np.linalg.inv(normal)
    sigma = np.sqrt(np.diag(covariance))
    edge = np.minimum(np.where(bound, 1.0, 0.5) * sigma / span, 0.25)
    part = np.clip((coordinates.psi(solution.theta) - low) / span, edge, 1.0 - edge)
    by_u = 1.0 / (span * part * (1.0 - part))
    priors = list(problem.free.values())
    arrays = (
        low,
        span,
        coordinates.power,
        np.log(part / (1.0 - part)),
        np.linalg.cholesky(covariance * np.outer(by_u, by_u)),
        np.array([prior.mean for prior in priors]),
        problem.precision,
        np.asarray(_residual(*likelihood.arguments(solution.theta), likelihood.form)),
        np.asarray(scatter),
    )
    return _Target(*(jnp.asarray(array, jnp.float32) for array in arrays))


_residual = jax.jit(whitened_residual, static_argnames="form")


def _log_density(
    emulator: ForwardModel,
    data: Data,
    fixed: dict[str, Array],
    target: _Target,
    form: Form,
    z: Array,
) -> Array:
    theta = target.theta(z)
    residual = whitened_residual(emulator, data, theta, fixed, form)
    change = jnp.sum((residual - target.residual) * (residual + target.residual))
    of_prior = jnp.sum(target.precision * (theta - target.mean) ** 2)
    return -0.5 * (change / target.scatter + of_prior) + target.log_volume(z)


@partial(jax.jit, static_argnums=0, static_argnames=("form", "draws"))
def _sample(
    blackjax: Any,
    emulator: ForwardModel,
    data: Data,
    fixed: dict[str, Array],
    target: _Target,
    keys: Array,
    form: Form,
    draws: int,
) -> tuple[Array, ...]:
    """θ (chains, draws, K), which of them diverged, and steps of each (chains, draws)."""
    log_density = partial(_log_density, emulator, data, fixed, target, form)
    dimension = target.low.size
    nuts = blackjax.nuts
    adapt = blackjax.window_adaptation(
        nuts, log_density, initial_step_size=0.7, max_num_doublings=_DEEPEST
    )
    (state, settings), _ = adapt.run(keys[0], jnp.zeros(dimension), WARMUP)
    kernel = nuts(log_density, **settings)
    # a long tail of one parameter is no place to start from
    spread = _SPREAD * jnp.minimum(jnp.sqrt(settings["inverse_mass_matrix"]), 1.0)

    def step(state: Any, key: Array) -> tuple[Any, tuple[Array, ...]]:
        state, info = kernel.step(key, state)
        return state, (target.theta(state.position), info.is_divergent, info.num_integration_steps)

    def chain(key: Array) -> tuple[Array, ...]:
        first, key = jax.random.split(key)
        offset = spread * jax.random.normal(first, (dimension,))
        keys = jax.random.split(key, SETTLING + draws)
        _, found = jax.lax.scan(step, kernel.init(state.position + offset), keys)
        return jax.tree.map(lambda values: values[SETTLING:], found)

    return jax.lax.map(chain, keys[1:])


def _diagnostics(
    names: tuple[str, ...], values: Floats, divergent: Any, steps: Any
) -> dict[str, Any]:
    return {
        "r_hat": {name: split_r_hat(values[..., k]) for k, name in enumerate(names)},
        "ess": {name: effective_draws(values[..., k]) for k, name in enumerate(names)},
        "divergent": float(np.mean(divergent)),
        "steps": float(np.mean(steps)),
    }


def split_r_hat(values: Floats) -> float:
    """Split-R̂ of draws (chains, N) (Gelman et al. 2013, Bayesian Data Analysis, eq. 11.4)."""
    half = values.shape[1] // 2
    parts = np.concatenate([values[:, :half], values[:, half : 2 * half]])
    within = parts.var(axis=1, ddof=1).mean()
    between = half * parts.mean(axis=1).var(ddof=1)
    if within == 0.0:
        return 1.0 if between == 0.0 else np.inf
    return float(np.sqrt((half - 1) / half + between / half / within))


def effective_draws(values: Floats) -> float:
    """Effective number of draws (chains, N), by Geyer's (1992) initial monotone sequence."""
    chains, count = values.shape
    centred = values - values.mean(axis=1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(centred, 2 * count)) ** 2
    autocovariance = np.fft.irfft(spectrum)[:, :count].mean(axis=0) / count
    within = autocovariance[0] * count / (count - 1.0)
    total = autocovariance[0] + values.mean(axis=1).var(ddof=1)
    if total == 0.0:
        return float(chains * count)
    correlation = 1.0 - (within - autocovariance) / total
    pairs = correlation[: count // 2 * 2].reshape(-1, 2).sum(axis=1)
    stop = int(np.argmax(pairs < 0.0)) if (pairs < 0.0).any() else pairs.size
    time = 2.0 * np.minimum.accumulate(pairs[:stop]).sum() - 1.0
    return float(chains * count / max(time, 1.0 / np.log10(chains * count)))
