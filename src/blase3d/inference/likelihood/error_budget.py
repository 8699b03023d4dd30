"""Errors of a comparison of data and prediction, of two kinds, in one budget.

    noise of the pixels        `inference/noise`      stated errors, outliers, jitter
    error of interpolation     `marginal.py`          error modes that the model states

`Likelihood.error_budget` estimates both at a prediction. They are held fixed while θ is sought, and
estimated again at the θ that was found. In the compiled functions, rows of pixels pass through the
noise (`ErrorArrays.whitened`); then continuum and error modes are projected out of them
(`marginal.py`). Errors of single lines change the covariance of θ alone
(`solution.misfit_covariance`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
from jax import Array

from ...runtime.arrays import Floats
from ..noise.noise import Noise, Whitening


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("noise", "modes", "gram"),
    meta_fields=(),
)
@dataclass(frozen=True)
class ErrorArrays:
    """The errors as arrays for the compiled functions, on the padded pixels.

    Attributes
    ----------
    noise : Whitening
        Whitening of the noise.
    modes : (E, O·Q)
        Whitened error modes of the model, times the continuum.
    gram : (E, E)
        Their products.
    """

    noise: Whitening
    modes: Array
    gram: Array

    def whitened(self, rows: Array) -> Array:
        """Rows (N, O·Q) as pixels of unit variance, but for continuum and modes."""
        return self.noise(rows)


def without_modes(noise: Whitening, count: int, size: int) -> ErrorArrays:
    """Return errors of `size` padded pixels, with `count` error modes of zero."""
    modes, gram = np.zeros((count, size), np.float32), np.zeros((count, count), np.float32)
    return ErrorArrays(noise, jax.device_put(modes), jax.device_put(gram))


@dataclass(frozen=True, eq=False)
class ErrorBudget:
    """The errors of a comparison.

    Attributes
    ----------
    noise : Noise
        Errors and weights of the pixels.
    model_covariance : (K, K)
        Covariance to be added to that of θ, for the error of the model.
    arrays : ErrorArrays
        The same for the compiled functions.
    """

    noise: Noise
    model_covariance: Floats
    arrays: ErrorArrays
