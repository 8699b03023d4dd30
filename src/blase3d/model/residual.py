"""The residual: the spectra of the nodes less their lines, compressed to a given error.

The residuals, in `evaluate.opacity_root` S and weighted by dF/dS at each pixel, are a matrix
(nodes, pixels). Its principal components are kept, with both factors in
whole numbers of a step. Coarse steps of many components take less room than fine steps of few.
Nodes are weighted so that all reach the same rms error, the one that was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from .evaluate import PcaResidual, flux_of_opacity_root, flux_slope, opacity_root
from .interpolation import Completion

DARKEST = 1e-4
"""Least flux of a node, so that its opacity is finite."""
_SAMPLE = 4000
"""Largest number of pixels by which changes of spectra between the nodes are judged."""
_TRUNCATION = 0.3
"""Fraction of the allowed variance for components that are left out. Rounding has the rest."""
_NODE_STEP = 0.5
"""Effect on the flux of rounding the nodes, relative to that of rounding the pixels."""
_SCALE_STEP = 0.05
"""Step of the ln of the scale of the pixels."""
_LEAST_WEIGHT = 1e-3
"""Least weight of a pixel, relative to the largest."""
_BALANCING, _TRIALS = 3, 12
"""Least number of rounds that weight the nodes, and largest number of rounds."""
_TIGHT = 0.95
"""Least error of the worst node, relative to the allowed one."""
_PACE = 0.7
"""Power of a node's error, relative to that of the others, by which its weight grows."""
_AT_ONCE = 32
"""Nodes whose flux is checked at once."""
_EXACT = 1000
"""Largest number of nodes whose products are decomposed, which takes its cube in time."""
_BLOCK = 256
"""Directions that are added at once to those that span the spectra of more nodes."""
_OUTSIDE = 0.05
"""Fraction of the variance of components that are left out, outside of these directions."""


def make_residual(
    lines: NDArray[np.float32],
    flux: NDArray[np.float32],
    complete: Completion | NDArray[np.float64],
    allowed: float,
) -> PcaResidual:
    """Return the residual with which no node has more than the allowed error.

    Parameters
    ----------
    lines, flux : (N, P)
        Flux of the lines at the nodes, and the spectra, in units of the continuum.
    complete : (box, N)
        From values at the nodes to values in the full box (`interpolation.Completion`).
    allowed : float
        rms error of the flux at the worst node, in units of the continuum.
    """
    remainder = _remainder(lines, flux, allowed)
    weight, goal, least = np.ones(len(flux)), allowed, np.inf
    for trial in range(_TRIALS):
        residual = _coded_components(remainder, weight, goal)
        errors = np.maximum(residual_errors(lines, flux, residual), 1e-9)
        worst = float(errors.max())
        if not worst > max(allowed, least):  # the last of the good ones, or the least of the others
            least, best = worst, residual
        if trial >= _BALANCING and _TIGHT * allowed <= worst <= allowed:
            break
        weight *= (errors / np.exp(np.mean(np.log(errors)))) ** _PACE
        goal *= np.clip(0.5 * (1.0 + _TIGHT) * allowed / worst, 0.5, 1.5)
    in_box = _whole_steps(complete @ np.asarray(best.nodes), node_steps(np.asarray(best.pixels)))
    return PcaResidual(jnp.asarray(in_box), best.pixels, best.scale)


def node_steps(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the steps (R,) of the amplitudes at the nodes, from `pixels` (R, P): the stronger a
    component, the finer."""
    return _NODE_STEP / np.maximum(np.sqrt(np.mean(pixels.astype(np.float64) ** 2, axis=1)), 1.0)


def opacity_roots(flux: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the `evaluate.opacity_root` of spectra of a library, down to the flux `DARKEST`."""
    return np.asarray(opacity_root(jnp.maximum(jnp.asarray(flux), DARKEST)), np.float64)


def pixel_sample(count: int) -> slice:
    """Return the pixels, of this number, by which changes between the nodes are judged."""
    return slice(None, None, -(-count // _SAMPLE))


def scale_number(scale: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the number (P,) of the nearest scale that pixels can have."""
    return np.round(np.log(scale.astype(np.float64)) / _SCALE_STEP).astype(np.int64)


def scale_of(number: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the scale (P,) of a number."""
    return np.exp(number * _SCALE_STEP).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Remainder:
    """Spectra less lines, in S times `slope` (P,), which is dF/dS, rms over the nodes.

    Of few nodes: `values` (N, P), and `square` (N, N), the products of their rows. Of many:
    `values` (N, K) along `directions` (K, P), which leave a negligible rest.
    """

    values: NDArray[np.float32]
    slope: NDArray[np.float32]
    square: NDArray[np.float64] | None
    directions: NDArray[np.float32] | None

    def eigenvectors(
        self, weight: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return eigenvalues (K,) and eigenvectors (N, K) of the products of the rows times
        `weight` (N,), in decreasing order."""
        if self.square is not None:
            eigenvalues, vectors = np.linalg.eigh(self.square * np.outer(weight, weight))
            return np.maximum(eigenvalues[::-1], 0.0), vectors[:, ::-1]
        weighted = self.values * weight[:, None]
        eigenvalues, vectors = np.linalg.eigh(weighted.T @ weighted)
        eigenvalues = np.maximum(eigenvalues[::-1], 1e-14 * eigenvalues[-1] + 1e-300)
        return eigenvalues, weighted @ vectors[:, ::-1] / np.sqrt(eigenvalues)

    def summed(self, factors: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return sums of the rows times `factors` (N, R), at the pixels, (R, P)."""
        sums = factors.T.astype(np.float32) @ self.values
        return np.asarray(sums if self.directions is None else sums @ self.directions)


def _remainder(lines: NDArray[np.float32], flux: NDArray[np.float32], allowed: float) -> _Remainder:
    values = np.empty_like(flux)
    total = np.zeros(flux.shape[1])
    for node, (wanted, rendered) in enumerate(zip(flux, lines, strict=True)):
        difference, slope = _difference(jnp.asarray(wanted), jnp.asarray(rendered))
        values[node] = difference
        total += np.asarray(slope, np.float64) ** 2 / len(flux)
    rms = np.sqrt(total)
    weight = np.maximum(rms, _LEAST_WEIGHT * rms.max()).astype(np.float32)
    values *= weight
    if len(flux) <= _EXACT:
        square = (values @ values.T).astype(np.float64)
        return _Remainder(values, weight, square, None)
    along, directions = _along(values, _OUTSIDE * _TRUNCATION * allowed**2)
    return _Remainder(along, weight, None, directions)


def _along(
    values: NDArray[np.float32], allowed: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return values (N, P) along directions that leave at most the mean square `allowed` of any
    row, (N, K), and the directions (K, P).

    `values` become the rest. The directions are those of random sums of the rows, multiplied once
    more by the rows (Halko, Martinsson & Tropp 2011, SIAM Review 53, 217, algorithm 4.3), in
    blocks: time and memory follow the number of rows.
    """
    rng = np.random.default_rng(0)
    most = min(values.shape)
    along, directions = [np.empty((len(values), 0), np.float32)], [values[:0]]
    for first in range(0, most, _BLOCK):
        if max(np.sum(row.astype(np.float64) ** 2) for row in values) <= allowed * values.shape[1]:
            break
        block = rng.standard_normal((min(_BLOCK, most - first), len(values)), np.float32) @ values
        block = np.linalg.qr(block.T)[0]
        block = np.linalg.qr(values.T @ (values @ block))[0].T
        along.append(values @ block.T)
        for rows in _chunks(len(values)):
            values[rows] -= along[-1][rows] @ block
        directions.append(block)
    return np.concatenate(along, axis=1), np.concatenate(directions)


def _chunks(count: int) -> list[slice]:
    return [slice(first, first + _AT_ONCE) for first in range(0, count, _AT_ONCE)]


@jax.jit
def _difference(wanted: Array, rendered: Array) -> tuple[Array, Array]:
    """S of a flux less S of the rendered one, and dF/dS."""
    value = opacity_root(jnp.maximum(wanted, DARKEST))
    return value - opacity_root(rendered), flux_slope(value)


def _coded_components(
    remainder: _Remainder, weight: NDArray[np.float64], goal: float
) -> PcaResidual:
    """The rounded components that leave about the error `goal` at nodes of weight 1."""
    n_nodes, n_pixels = weight.size, remainder.slope.size
    eigenvalues, vectors = remainder.eigenvectors(weight)
    power = eigenvalues * vectors**2 / n_pixels  # (N, components)
    total = power.sum(axis=1)
    left = total[:, None] - np.cumsum(power, axis=1)
    enough = np.append(total.max(), left.max(axis=0)) <= _TRUNCATION * goal**2
    count = int(np.argmax(enough)) if enough.any() else eigenvalues.size
    vectors = vectors[:, :count]
    pixels = remainder.summed(vectors * weight[:, None]) / np.sqrt(n_nodes)
    variance = (1.0 - _TRUNCATION) * goal**2 / (1.0 + _NODE_STEP**2)
    scale = scale_of(scale_number(np.sqrt(12.0 * variance / max(count, 1)) / remainder.slope))
    whole = np.round(pixels / (scale * remainder.slope))
    nodes = vectors * np.sqrt(n_nodes) / weight[:, None]
    return PcaResidual(
        jnp.asarray(_whole_steps(nodes, node_steps(whole))), jnp.asarray(whole), jnp.asarray(scale)
    )


def _whole_steps(nodes: NDArray[np.floating], steps: NDArray[np.float64]) -> NDArray[np.float32]:
    return (np.round(nodes / steps) * steps).astype(np.float32)


def residual_errors(
    lines: NDArray[np.float32], flux: NDArray[np.float32], residual: PcaResidual
) -> NDArray[np.float64]:
    """Return the rms error of lines and residual (N, R) at every node, (N,)."""
    errors = np.empty(len(flux))
    for chunk in _chunks(len(flux)):
        change = (residual.nodes[chunk] @ residual.pixels) * residual.scale
        model = flux_of_opacity_root(opacity_root(jnp.asarray(lines[chunk])) + change)
        errors[chunk] = np.sqrt(np.mean((np.asarray(model) - flux[chunk]) ** 2, axis=1))
    return errors
