"""Draws from the posterior by the No-U-Turn sampler (Hoffman & Gelman 2014, JMLR 15, 1593).

The density is that of the likelihood at the solution of `least_squares`: its errors are held fixed,
continuum and error modes are solved for at every θ, and chi-square is divided by the scatter of the
solution. Parameters are mapped from their range to the whole line, u = ln(p/(1 − p)) with p the
fraction of the range of ψ (`Coordinates`), and scaled by the Cholesky factor of their covariance,
so that the density is nearly a unit normal; a short window adaptation learns the remaining scales.
In float32, chi-square is summed as the difference from that of the solution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ...errors import InputError, MissingExtra
from ...model.evaluate import ForwardModel
from ...runtime.arrays import Floats
from ..coordinates import Coordinates
from ..likelihood.data import Data, ForwardForm
from ..likelihood.likelihood import Likelihood, chi2_change
from ..solution import Solution, covariance, misfit_covariance, normal_equations
from .least_squares import LeastSquares
from .method import Outcome

_FEWEST_DRAWS, _FEWEST_CHAINS = 20, 2
"""Draws of each chain, and chains, from which convergence can be judged."""
_WARMUP = 80
"""Steps of the adaptation, on one chain."""
_BURN_IN = 25
"""Steps of each chain that are discarded: chains start too wide."""
_SPREAD = 1.2
"""Standard deviation of the starts of the chains, in that of the posterior."""
_LARGEST_RHAT = 1.03
"""Split-R̂ of a converged run, at most."""
_FEWEST_EFFECTIVE = 100.0
"""Effective draws of a converged run, of all chains, at least."""
_DIVERGENT = 0.02
"""Fraction of divergent draws of a converged run, at most."""
_TINY = 1e-20
"""Smallest ψ whose logarithm is taken: θ = ψ^(1/p) may be zero."""
_DEEPEST = 6
"""Doublings of a trajectory, at most: 64 steps."""


@dataclass(frozen=True)
class NoUTurnSampler:
    """The No-U-Turn sampler, started at the solution of least squares.

    Attributes
    ----------
    draws, chains : int
        Draws kept of each chain, and chains.

    Raises
    ------
    InputError
        The convergence of so few draws or chains cannot be judged.
    MissingExtra
        blackjax is not installed.
    """

    draws: int = 200
    chains: int = 4

    def __post_init__(self) -> None:
        _blackjax()
        if self.draws < _FEWEST_DRAWS or self.chains < _FEWEST_CHAINS:
            raise InputError(
                f"got {self.draws} draws of {self.chains} chains, expected at least "
                f"{_FEWEST_DRAWS} of at least {_FEWEST_CHAINS}; take more, or the convergence "
                "cannot be judged."
            )

    def solve(self, likelihood: Likelihood, seed: int) -> Outcome:
        """Draw from the posterior around the best solution of least squares."""
        start = LeastSquares().solve(likelihood, seed)
        likelihood = start.best.likelihood
        theta, of_draws = _sample(
            _blackjax(),
            likelihood.problem.model.forward,
            likelihood.data,
            likelihood.fixed,
            _target(start.best),
            jax.random.split(jax.random.key(seed), self.chains + 1),
            form=likelihood.form,
            draws=self.draws,
        )
        values = np.asarray(theta, np.float64)
        stats = {name: np.asarray(one) for name, one in of_draws.items()}
        found = _diagnostics(likelihood.problem.names, values, stats["diverging"], stats["n_steps"])
        converged = start.converged and _has_converged(found)
        return Outcome(start.solutions, converged, _widened(values, start.best, seed), found, stats)


def _blackjax() -> Any:
    try:
        import blackjax
    except ImportError:
        raise MissingExtra("blackjax", "posterior", "the method posterior") from None
    return blackjax


def _has_converged(diagnostics: Mapping[str, Any]) -> bool:
    """Whether chains agree and are long enough."""
    return bool(
        max(diagnostics["r_hat"].values()) < _LARGEST_RHAT
        and min(diagnostics["ess"].values()) > _FEWEST_EFFECTIVE
        and diagnostics["divergent"] <= _DIVERGENT
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
    """The density: ranges (K,) and powers (K,) of ψ, the normal approximation in u with its centre
    (K,) and Cholesky factor (K, K), the normal priors (K,), the whitened residual (R,) of the
    solution, and the scatter."""

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
        root = jnp.where(plain, 1.0, jnp.maximum(psi, _TINY)) ** (1.0 / self.power)
        return jnp.where(plain, psi, root)

    def prior_chi2(self, theta: Array) -> Array:
        """Contribution of the normal priors to chi-square at θ (K,)."""
        return jnp.sum(self.precision * (theta - self.mean) ** 2)

    def log_volume(self, z: Array) -> Array:
        """ln |dθ/dz| but for a constant: the logistic function, and θ = ψ^(1/p)."""
        u = self.center + self.factor @ z
        psi = self.low + self.span * jax.nn.sigmoid(u)
        slope = (1.0 / self.power - 1.0) * jnp.log(jnp.maximum(psi, _TINY))
        of_power = jnp.where(self.power == 1.0, 0.0, slope)
        return jnp.sum(jax.nn.log_sigmoid(u) + jax.nn.log_sigmoid(-u) + of_power)


def _widened(values: Floats, solution: Solution, seed: int) -> Floats:
    """Draws (chains, N, K) widened for errors of lines and of the model, within the bounds."""
    problem, scatter = solution.likelihood.problem, solution.scatter
    normal = np.random.default_rng(seed).standard_normal(values.shape)
    more = misfit_covariance(solution, scatter) - covariance(solution, scatter)
    sizes, vectors = np.linalg.eigh(more)
    moved = values + normal @ (vectors * np.sqrt(np.maximum(sizes, 0.0))).T
    return np.clip(moved, problem.lower, problem.upper)


def _target(solution: Solution) -> _Target:
    """The density around a solution, with its normal approximation in ψ and from there in u.

    For a parameter on a bound it decreases as exp(−g ψ), with g the gradient of half chi-square.
    """
    scatter = solution.scatter
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
    fraction = np.clip((coordinates.psi(solution.theta) - low) / span, edge, 1.0 - edge)
    by_u = 1.0 / (span * fraction * (1.0 - fraction))
    priors = list(problem.free.values())
    arrays = (
        low,
        span,
        coordinates.power,
        np.log(fraction / (1.0 - fraction)),
        np.linalg.cholesky(covariance * np.outer(by_u, by_u)),
        np.array([prior.mean for prior in priors]),
        problem.precision,
        np.asarray(likelihood.residual(solution.theta)),
        np.asarray(scatter),
    )
    return _Target(*(jnp.asarray(array, jnp.float32) for array in arrays))


def _log_density(
    forward: ForwardModel,
    data: Data,
    fixed: dict[str, Array],
    target: _Target,
    form: ForwardForm,
    z: Array,
) -> Array:
    theta = target.theta(z)
    change = chi2_change(forward, data, theta, fixed, form, target.residual)
    chi2 = change / target.scatter + target.prior_chi2(theta)
    return -0.5 * chi2 + target.log_volume(z)


@partial(jax.jit, static_argnums=0, static_argnames=("form", "draws"))
def _sample(
    blackjax: Any,
    forward: ForwardModel,
    data: Data,
    fixed: dict[str, Array],
    target: _Target,
    keys: Array,
    form: ForwardForm,
    draws: int,
) -> tuple[Array, dict[str, Array]]:
    """θ (chains, draws, K), and statistics of each draw (chains, draws) by ArviZ's names."""
    log_density = partial(_log_density, forward, data, fixed, target, form)
    dimension = target.low.size
    nuts = blackjax.nuts
    adapt = blackjax.window_adaptation(
        nuts, log_density, initial_step_size=0.7, max_num_doublings=_DEEPEST
    )
    (state, settings), _ = adapt.run(keys[0], jnp.zeros(dimension), _WARMUP)
    kernel = nuts(log_density, **settings)
    # not wider than the normal approximation: no chain starts far out in a long tail
    spread = _SPREAD * jnp.minimum(jnp.sqrt(settings["inverse_mass_matrix"]), 1.0)

    def step(state: Any, key: Array) -> tuple[Any, tuple[Array, dict[str, Array]]]:
        state, info = kernel.step(key, state)
        theta = target.theta(state.position)
        log_prior = -0.5 * target.prior_chi2(theta)
        lp = state.logdensity - target.log_volume(state.position)
        stats = {
            "lp": lp,
            "log_likelihood": lp - log_prior,
            "diverging": info.is_divergent,
            "n_steps": info.num_integration_steps,
            "acceptance_rate": info.acceptance_rate,
            "energy": info.energy,
        }
        return state, (theta, stats)

    def chain(key: Array) -> tuple[Array, dict[str, Array]]:
        first, key = jax.random.split(key)
        offset = spread * jax.random.normal(first, (dimension,))
        keys = jax.random.split(key, _BURN_IN + draws)
        _, found = jax.lax.scan(step, kernel.init(state.position + offset), keys)
        return jax.tree.map(lambda values: values[_BURN_IN:], found)

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
    """Return split-R̂ of draws (chains, N): Gelman et al. (2013), Bayesian Data Analysis, 11.4."""
    half = values.shape[1] // 2
    halves = np.concatenate([values[:, :half], values[:, half : 2 * half]])
    within = halves.var(axis=1, ddof=1).mean()
    between = half * halves.mean(axis=1).var(ddof=1)
    if within == 0.0:
        return 1.0 if between == 0.0 else np.inf
    return float(np.sqrt((half - 1) / half + between / half / within))


def effective_draws(values: Floats) -> float:
    """Return the effective number of draws (chains, N): Geyer's (1992) monotone sequence."""
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
