"""Bayesian optimisation with a Gaussian process, as in the paper.

The rms difference between model and spectrum is minimised by scikit-optimize's `gp_minimize`:
100 random evaluations, then 20 that the surrogate chooses.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..likelihood.likelihood import Likelihood
from .least_squares import Solution

RANDOM = 100
GUIDED = 20


def search(likelihood: Likelihood, seed: int = 0) -> list[Solution]:
    """The best of `RANDOM` + `GUIDED` evaluations within the priors' ranges, as one solution.

    Its intervals are those of the curvature there, with errors and modes as they are there.
    """
    from skopt import gp_minimize  # scikit-learn takes a second to import

    problem = likelihood.problem

    def loss(theta: list[float]) -> float:
        return float(np.sqrt(likelihood.chi2(np.asarray(theta)) / likelihood.n_used))

    box = list(zip(problem.lower, problem.upper, strict=True))
    with warnings.catch_warnings(), _shared_generator_kept():
        # a point chosen twice, or a kernel length at its bound, harms nothing here
        warnings.simplefilter("ignore")
        best = gp_minimize(
            loss,
            box,
            n_calls=RANDOM + GUIDED,
            n_initial_points=RANDOM,
            initial_point_generator="random",
            random_state=seed,
        )
    theta = np.asarray(best.x, np.float64)
    near = 1e-3 * (problem.upper - problem.lower)
    at_bound = (theta < problem.lower + near) | (theta > problem.upper - near)
    prediction = likelihood.predicted(theta)
    refined = likelihood.refined(prediction)
    fit = refined.fit(prediction)
    return [Solution(theta, refined, fit, fit.chi2, at_bound, True)]


@contextmanager
def _shared_generator_kept() -> Iterator[None]:
    """Python's shared generator as it was: something below scikit-optimize draws from it, though
    no result depends on that."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)
