"""The next derivative along labels of few values, estimated from the other labels.

A label with two to four values, as abundances often have, is interpolated by a polynomial, whose
degree is too low for the variation between the nodes. But line strengths follow one curve of
growth, whatever the label: raising Teff acts much like lowering the metallicity. So the curvature
along one label can be predicted from how the slopes along it change with the others. With S the
`opacity_root` of any pixel, x the label of n values and y the others,

    ∂ⁿS/∂xⁿ = Σₗ cₗ ∂/∂yₗ ∂ⁿ⁻¹S/∂xⁿ⁻¹

with coefficients c that are the same at all wavelengths. They are fitted one order below, where the
nodes give both sides: by least squares over the pixels, at every node of the other labels, with the
errors of the flux as weights. No node can tell how well they hold at the next order, so the term
counts twice as the model's error (`interpolation_error`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .evaluate import flux_slope
from .interpolation import SHORT, highest_difference, slopes_between, unit_axes

_RIDGE = 1e-6
"""Ridge of the coefficients, relative to the squares of the derivative that they explain: a label
without effect contributes nothing."""


def fit_cross_derivatives(
    axes: Mapping[str, NDArray[np.float64]], roots: NDArray[np.floating]
) -> dict[str, NDArray[np.float64]]:
    """Return the coefficients c of each label of few values, if there are other labels.

    Parameters
    ----------
    axes : dict
        Values of each label at the nodes of the box.
    roots : (..., P)
        `evaluate.opacity_root` of the spectra of the box, one dimension for each label, at some
        pixels.

    Returns
    -------
    dict of (..., L − 1)
        At the nodes of the other labels, as in `interpolation.CrossDerivative`.
    """
    units = unit_axes(axes)
    varying = sum(unit.size > 1 for unit in units)
    return {
        name: _coefficients(units, k, roots)
        for k, name in enumerate(axes)
        if 1 < units[k].size <= SHORT and varying > 1
    }


def _coefficients(
    units: list[NDArray[np.float64]], k: int, roots: NDArray[np.floating]
) -> NDArray[np.float64]:
    along = np.moveaxis(roots, k, -2)
    weight = np.asarray(flux_slope(jnp.asarray(along.mean(axis=-2))), np.float64)
    others = [unit for i, unit in enumerate(units) if i != k]
    known = np.tensordot(along, highest_difference(units[k]), axes=(-2, 0)) * weight
    below = np.tensordot(along, _mean_difference(units[k]), axes=(-2, 0))
    changes = np.stack(
        [
            np.moveaxis(np.tensordot(slopes_between(unit), below, axes=(1, i)), 0, i) * weight
            for i, unit in enumerate(others)
        ],
        axis=-2,
    )
    normal = changes @ np.swapaxes(changes, -1, -2)
    ridge = _RIDGE * np.sum(known**2, axis=-1) + 1e-30
    normal += ridge[..., None, None] * np.eye(len(others))
    return np.asarray(np.linalg.solve(normal, changes @ known[..., None])[..., 0], np.float64)


def _mean_difference(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (n,) of values at x (n,) in the mean derivative of order n − 2: that of the
    least-squares polynomial of this degree."""
    design = np.vander(x - x.mean(), x.size - 1)
    return math.factorial(x.size - 2) * np.linalg.pinv(design)[0]
