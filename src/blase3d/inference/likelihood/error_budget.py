"""Errors of a comparison of data and prediction, of three kinds, in one budget.

    noise of the pixels        `inference/noise`      stated errors, outliers, jitter
    errors of single lines     `line_errors.py`       strengths and shapes of lines
    error of interpolation     `marginal.py`          error modes that the model states

`Likelihood.error_budget` estimates all three at a prediction. They are held fixed while θ is
sought, and estimated again at the θ that was found. In the compiled functions, rows of pixels pass
through the noise and the line errors (`ErrorArrays.whitened`); then continuum and error modes are
projected out of them (`marginal.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from ...runtime.arrays import Floats
from ..noise.noise import Noise, Whitening
from .line_errors import LineErrors, LineWhitening, right_lines


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("noise", "lines", "modes", "gram"),
    meta_fields=(),
)
@dataclass(frozen=True)
class ErrorArrays:
    """The errors as arrays for the compiled functions, on the padded pixels.

    Attributes
    ----------
    noise : Whitening
        Whitening of the noise.
    lines : LineWhitening
        Line errors.
    modes : (E, O·Q)
        Whitened error modes of the model, times the continuum.
    gram : (E, E)
        Their products.
    """

    noise: Whitening
    lines: LineWhitening
    modes: Array
    gram: Array

    def whitened(self, rows: Array) -> Array:
        """Rows (N, O·Q) as pixels of unit variance, but for continuum and modes."""
        return self.lines(self.noise(rows))


def without_modes(
    noise: Whitening, lines: LineWhitening | None, count: int, size: int
) -> ErrorArrays:
    """Return errors of `size` padded pixels, with `count` error modes of zero, and line errors."""
    modes, gram = jnp.zeros((count, size)), jnp.zeros((count, count))
    return ErrorArrays(noise, right_lines(size) if lines is None else lines, modes, gram)


@dataclass(frozen=True, eq=False)
class ErrorBudget:
    """The errors of a comparison.

    Attributes
    ----------
    noise : Noise
        Errors and weights of the pixels.
    lines : LineErrors or None
        Errors of single lines; None before θ is known.
    model_covariance : (K, K)
        Covariance to be added to that of θ, for the error of the model.
    arrays : ErrorArrays
        The same for the compiled functions.
    """

    noise: Noise
    lines: LineErrors | None
    model_covariance: Floats
    arrays: ErrorArrays
