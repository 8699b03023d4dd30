"""Bayesian optimisation with a Gaussian process, as in the paper.

The rms difference between model and spectrum is minimised by scikit-optimize's `gp_minimize`:
100 random evaluations, then 20 that the surrogate chooses.
"""

from __future__ import annotations

import warnings

import numpy as np

from .gradient import Solution
from .problem import Evaluator, Problem

RANDOM = 100
GUIDED = 20


def search(problem: Problem, evaluate: Evaluator, seed: int = 0) -> list[Solution]:
    """The best of `RANDOM` + `GUIDED` evaluations within the priors' ranges, as one solution."""
    from skopt import gp_minimize  # scikit-learn takes a second to import

    def loss(theta: list[float]) -> float:
        return float(np.sqrt(evaluate.chi2(np.asarray(theta)) / n_pixels))

    n_pixels = int(problem.spectrum.good.sum())
    box = list(zip(problem.lower, problem.upper, strict=True))
    with warnings.catch_warnings():
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
    fit = evaluate(theta)
    return [Solution(theta, fit, fit.chi2, at_bound, True)]
