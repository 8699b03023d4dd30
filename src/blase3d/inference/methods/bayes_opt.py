"""Bayesian optimisation with a Gaussian process, as in the paper.

The rms difference between model and spectrum is minimised by scikit-optimize's `gp_minimize`:
100 random evaluations, then 20 that the surrogate chooses.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import MissingExtra
from ..likelihood.likelihood import Likelihood
from ..solution import Solution
from .method import Outcome

RANDOM = 100
"""Random evaluations, as in the paper."""
GUIDED = 20
"""Evaluations that the surrogate chooses, as in the paper."""
_NEAR = 1e-3
"""Distance from a bound that counts as on it, relative to the range: the search never ends there
exactly."""


@dataclass(frozen=True)
class BayesianOptimisation:
    """The best of `RANDOM` + `GUIDED` evaluations within the ranges of the priors.

    Raises
    ------
    MissingExtra
        scikit-optimize is not installed.
    """

    def __post_init__(self) -> None:
        _gp_minimize()

    def solve(self, likelihood: Likelihood, seed: int) -> Outcome:
        """Minimise the rms; intervals follow from the curvature at the minimum."""

        problem = likelihood.problem

        def loss(theta: list[float]) -> float:
            return float(np.sqrt(likelihood.chi2(np.asarray(theta)) / likelihood.n_used))

        box = list(zip(problem.lower, problem.upper, strict=True))
        with warnings.catch_warnings(), _shared_generator_kept():
            # a point chosen twice, or a kernel length at its bound, is harmless here
            warnings.simplefilter("ignore")
            best = _gp_minimize()(
                loss,
                box,
                n_calls=RANDOM + GUIDED,
                n_initial_points=RANDOM,
                initial_point_generator="random",
                random_state=seed,
            )
        theta = np.asarray(best.x, np.float64)
        near = _NEAR * (problem.upper - problem.lower)
        at_bound = (theta < problem.lower + near) | (theta > problem.upper - near)
        prediction = likelihood.predicted(theta)
        refined = likelihood.refined(prediction)
        fit = refined.fit(prediction)
        return Outcome([Solution(theta, refined, fit, fit.chi2, at_bound, True)], converged=True)


def _gp_minimize() -> Any:
    try:
        from skopt import gp_minimize  # scikit-learn takes a second to import
    except ImportError:
        raise MissingExtra("scikit-optimize", "paper", "the method gp") from None
    return gp_minimize


@contextmanager
def _shared_generator_kept() -> Iterator[None]:
    """Restore Python's shared random generator, from which a dependency of scikit-optimize draws,
    though no result depends on it."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)
