"""The residual: the spectra of the nodes less their lines, compressed to a given error.

The residuals, in `evaluate.opacity_root` S and weighted by dF/dS at each pixel, are a matrix
(nodes, pixels). Its principal components are kept, with both factors in
whole numbers of a step. Coarse steps of many components take less room than fine steps of few.
Nodes are weighted so that all reach the same rms error, the one that was asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ..runtime.arrays import Floats, Singles, Values, aligned_empty
from ..runtime.rows import Rows, empty_rows, joined_columns, read_blocks, row_blocks
from .completion import Completion, columns_at_once
from .evaluate import AnyResidual, PcaResidual, flux_of_opacity_root, flux_slope, opacity_root

_LOG = logging.getLogger(__name__)
DARKEST = 1e-4
"""Least flux of a node, so that its opacity is finite."""
_SAMPLE, _SAMPLED = 4000, 1 << 23
"""Largest number of pixels by which changes of spectra between the nodes are judged, and of values
there at all nodes."""
_TRUNCATION = 0.3
"""Fraction of the allowed variance for components that are left out. Rounding has the rest."""
_NODE_STEP = 0.5
"""Effect on the flux of rounding the nodes, relative to that of rounding the pixels."""
_SCALE_STEP = 0.05
"""Step of the ln of the scale of the pixels."""
_LEAST_WEIGHT = 1e-3
"""Least weight of a pixel, and first one of a node, relative to the largest."""
_BALANCING, _TRIALS = 2, 8
"""Least number of rounds that weight the nodes, and largest number of rounds."""
_TIGHT, _TIGHT_OF_MANY = 0.9, 0.8
"""Least error of the worst node, relative to the allowed one; and of many nodes, of which a round
takes long."""
_PACE = 0.7
"""Power of a node's error, relative to that of the others, by which its weight grows."""
_GAIN = 0.2
"""Fraction of the ln of the worst node's error, relative to the others, that the first new weights
take away."""
_LEAST_ERROR = 1e-9
"""Error that counts for weights where there is none."""
_EXACT = 1000
"""Largest number of nodes whose products are decomposed, which takes its cube in time."""
_BLOCK = 256
"""Directions that are added at once to those that span the spectra of more nodes."""
_OUTSIDE = 0.05
"""Fraction of the variance of components that are left out, outside of these directions."""


@dataclass(frozen=True, eq=False)
class Components:
    """A `PcaResidual` of which some amplitudes are in memory at a time.

    Attributes
    ----------
    amplitudes : (R, N)
        Of R components at N nodes, or at those of the box.
    pixels, scale : (R, P), (P,)
        As in `PcaResidual`.
    """

    amplitudes: Rows
    pixels: Singles
    scale: Singles

    @classmethod
    def of(cls, residual: PcaResidual) -> Components:
        """Return the components of a residual in memory."""
        nodes, pixels, scale = map(np.asarray, (residual.nodes, residual.pixels, residual.scale))
        return cls(nodes.T, pixels, scale)

    @property
    def in_memory(self) -> PcaResidual:
        """The residual with all amplitudes in memory."""
        count, box = self.amplitudes.shape
        nodes = aligned_empty((box, count))
        for some in row_blocks(count):
            nodes[:, some] = self.amplitudes[some].T
        return PcaResidual(*map(jax.device_put, (nodes, self.pixels, self.scale)))

    def completed(self, complete: Completion | Floats) -> Components:
        """Return the components in the box; `complete` (box, N) is as in `make_residual`."""
        steps, box = node_steps(self.pixels), complete.shape[0]
        amplitudes = empty_rows(steps.size, box)
        for some in row_blocks(steps.size, columns_at_once(box)):
            values = complete @ np.ascontiguousarray(self.amplitudes[some].T)
            amplitudes[some] = _whole_steps(values, steps[some]).T
        return replace(self, amplitudes=amplitudes)


def components_of(residual: AnyResidual | None) -> list[Components]:
    """Return the components of a residual in memory, of every window."""
    return [] if residual is None else [Components.of(window) for window in residual.windows]


def make_residual(
    lines: Rows, flux: Rows, complete: Completion | Floats, allowed: float
) -> PcaResidual:
    """Return the residual with which no node has more than the allowed error.

    Parameters
    ----------
    lines, flux : (N, P)
        Flux of the lines at the nodes, and the spectra, in units of the continuum.
    complete : (box, N)
        From values at the nodes to values in the full box (`completion.Completion`).
    allowed : float
        rms error of the flux at the worst node, in units of the continuum.
    """
    components, _ = make_components(lines, flux, allowed)
    return components.completed(complete).in_memory


def make_components(lines: Rows, flux: Rows, allowed: float) -> tuple[Components, Floats]:
    """Return the components of `make_residual`, with their amplitudes at the nodes, and the rms
    error of every node, (N,)."""
    remainder = _remainder(lines, flux, allowed)
    tight = (_TIGHT_OF_MANY if remainder.square is None else _TIGHT) * allowed
    weight, goal, least = remainder.effect, allowed, np.inf
    for trial in range(_TRIALS):
        residual = _coded_components(remainder, weight, goal)
        errors = residual_errors(lines, flux, residual)
        worst = float(errors.max())
        if not worst > max(allowed, least):  # the last of the good ones, or the least of the others
            least, best = worst, (residual, errors)
        if trial >= _BALANCING and tight <= worst <= allowed:
            break
        errors = np.maximum(errors, _LEAST_ERROR)
        excess = errors / np.exp(np.mean(np.log(errors)))
        weight = weight * excess**_PACE
        expected = max(worst, _LEAST_ERROR) / excess.max() ** (_GAIN if trial < _BALANCING else 0.0)
        goal *= np.clip(0.5 * (tight + allowed) / expected, 0.5, 1.5)
    if least > allowed:
        _LOG.warning("the error of the worst node is %.1e, not %.1e", least, allowed)
    return best


def node_steps(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the steps (R,) of the amplitudes at the nodes, from `pixels` (R, P): the stronger a
    component, the finer."""
    squares = np.empty(len(pixels))
    for rows in row_blocks(len(pixels), _BLOCK):
        squares[rows] = np.mean(pixels[rows].astype(np.float64) ** 2, axis=1)
    return _NODE_STEP / np.maximum(np.sqrt(squares), 1.0)


def opacity_roots(flux: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the `evaluate.opacity_root` of spectra of a library, down to the flux `DARKEST`."""
    return np.asarray(opacity_root(jnp.maximum(jnp.asarray(flux), DARKEST)), np.float64)


def pixel_sample(count: int, n_nodes: int) -> slice:
    """Return the pixels, of this number, by which changes between the nodes are judged."""
    return slice(None, None, -(-count // max(min(_SAMPLE, _SAMPLED // n_nodes), 1)))


def scale_number(scale: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the number (P,) of the nearest scale that pixels can have."""
    return np.round(np.log(scale.astype(np.float64)) / _SCALE_STEP).astype(np.int64)


def scale_of(number: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the scale (P,) of a number."""
    return np.exp(number * _SCALE_STEP).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Remainder:
    """Spectra less lines, in S times `slope` (P,), which is dF/dS, rms over the nodes.

    `effect` (N,) is dF/dS of a node in units of it, rms over the pixels. Of few nodes: `values`
    (N, P), and `square` (N, N), the products of their rows. Of many: `values` (N, K) along
    `directions` (K, P), which leave a negligible rest.
    """

    values: Rows
    slope: Singles
    effect: Floats
    square: Floats | None
    directions: Singles | None

    def eigenvectors(self, weight: Floats) -> tuple[Floats, Rows]:
        """Return eigenvalues (K,) and eigenvectors (N, K) of the products of the rows times
        `weight` (N,), in decreasing order."""
        if self.square is not None:
            eigenvalues, exact = np.linalg.eigh(self.square * np.outer(weight, weight))
            return np.maximum(eigenvalues[::-1], 0.0), exact[:, ::-1]
        blocks = row_blocks(len(self.values), _BLOCK)
        weighted = (self.values[rows] * weight[rows, None] for rows in blocks)
        eigenvalues, along = np.linalg.eigh(_sum(rows.T @ rows for rows in weighted))
        least = 1e-14 * eigenvalues.max(initial=0.0) + 1e-300
        eigenvalues = np.maximum(eigenvalues[::-1], least)
        along = along[:, ::-1] / np.sqrt(eigenvalues)
        vectors = empty_rows(*self.values.shape)
        for rows in blocks:
            vectors[rows] = (self.values[rows] * weight[rows, None]) @ along
        return eigenvalues, vectors

    def summed(self, vectors: Rows, count: int, weight: Floats) -> Singles:
        """Return sums of the rows times the first `count` of `vectors` (N, K) and `weight` (N,),
        (`count`, P)."""
        sums = _sum(
            (vectors[rows][:, :count] * weight[rows, None]).astype(np.float32).T @ self.values[rows]
            for rows in row_blocks(len(vectors), _EXACT)
        )
        return np.asarray(sums if self.directions is None else sums @ self.directions)


def _remainder(lines: Rows, flux: Rows, allowed: float) -> _Remainder:
    few, blocks = len(flux) <= _EXACT, row_blocks(len(flux))
    values = np.empty(flux.shape, np.float32) if few else empty_rows(*flux.shape)
    total, effect = np.zeros(flux.shape[1]), np.empty(len(flux))
    for rows in blocks:
        wanted = jnp.asarray(flux[rows])
        values[rows] = np.asarray(_difference(wanted, jnp.asarray(lines[rows])))
        total += np.sum(np.asarray(_slope(wanted), np.float64) ** 2, axis=0) / len(flux)
    rms = np.sqrt(total)
    weight = np.maximum(rms, _LEAST_WEIGHT * rms.max()).astype(np.float32)
    for rows in blocks:
        slope = np.asarray(_slope(jnp.asarray(flux[rows])))
        effect[rows] = np.sqrt(np.mean((slope / weight) ** 2, axis=1))
        values[rows] *= weight
    effect = np.maximum(effect, _LEAST_WEIGHT * effect.max())
    if few:
        whole = values[:]
        return _Remainder(whole, weight, effect, (whole @ whole.T).astype(np.float64), None)
    along, directions = _along(values, _OUTSIDE * _TRUNCATION * allowed**2)
    return _Remainder(along, weight, effect, None, directions)


def _along(values: Rows, allowed: float) -> tuple[Rows, Singles]:
    """Return values (N, P) along directions that leave at most the mean square `allowed` of any
    row, (N, K), and the directions (K, P).

    `values` become the rest. The directions are those of random sums of the rows, multiplied once
    more by the rows (Halko, Martinsson & Tropp 2011, SIAM Review 53, 217, algorithm 4.3), in
    blocks: time and memory follow the number of rows.
    """
    rng, (n_rows, n_pixels) = np.random.default_rng(0), values.shape
    most = min(values.shape)
    along: list[Rows] = []
    directions = [np.empty((0, n_pixels), np.float32)]
    for first in range(0, most, _BLOCK):
        if max(map(_largest_square, read_blocks(values))) <= allowed * n_pixels:
            break
        factors = rng.standard_normal((min(_BLOCK, most - first), n_rows), np.float32)
        block = _sum(factors[:, rows] @ values[rows] for rows in row_blocks(n_rows, _BLOCK))
        block = np.linalg.qr(block.T)[0]
        block = _sum(some.T @ (some @ block) for some in read_blocks(values, _BLOCK))
        block = np.linalg.qr(block)[0].T
        found = empty_rows(n_rows, len(block))
        for rows in row_blocks(n_rows, _BLOCK):
            found[rows] = values[rows] @ block.T
        for rows in row_blocks(n_rows):
            values[rows] -= found[rows] @ block
        along.append(found)
        directions.append(block)
    return joined_columns(along, n_rows), np.concatenate(directions)


def _sum(matrices: Iterator[Values]) -> Values:
    return reduce(np.add, matrices)


def _largest_square(rows: Singles) -> float:
    """Return the largest sum of squares of a row."""
    return float(np.max(np.sum(rows.astype(np.float64) ** 2, axis=1)))


@jax.jit
def _difference(wanted: Array, rendered: Array) -> Array:
    """S of a flux less S of the rendered one."""
    return opacity_root(jnp.maximum(wanted, DARKEST)) - opacity_root(rendered)


@jax.jit
def _slope(wanted: Array) -> Array:
    """dF/dS of a flux."""
    return flux_slope(opacity_root(jnp.maximum(wanted, DARKEST)))


def _coded_components(remainder: _Remainder, weight: Floats, goal: float) -> Components:
    """The rounded components that leave about the error `goal` at nodes of weight 1."""
    n_nodes, n_pixels = weight.size, remainder.slope.size
    eigenvalues, vectors = remainder.eigenvectors(weight)
    enough = _left(eigenvalues, vectors) <= _TRUNCATION * goal**2 * n_pixels
    count = int(np.argmax(enough)) if enough.any() else eigenvalues.size
    pixels = remainder.summed(vectors, count, weight) / np.sqrt(n_nodes)
    variance = (1.0 - _TRUNCATION) * goal**2 / (1.0 + _NODE_STEP**2)
    scale = scale_of(scale_number(np.sqrt(12.0 * variance / max(count, 1)) / remainder.slope))
    whole = np.round(pixels / (scale * remainder.slope))
    amplitudes, steps = empty_rows(count, n_nodes), node_steps(whole)
    for rows in row_blocks(n_nodes, _EXACT):
        nodes = vectors[rows][:, :count] * np.sqrt(n_nodes) / weight[rows, None]
        amplitudes[:, rows] = _whole_steps(nodes, steps).T
    return Components(amplitudes, whole.astype(np.float32), scale)


def _left(eigenvalues: Floats, vectors: Rows) -> Floats:
    """Return the squares that are left of the worst node by the first components, none to all,
    (components + 1,)."""
    worst = np.zeros(eigenvalues.size + 1)
    for rows in row_blocks(len(vectors), _BLOCK):
        power = eigenvalues * vectors[rows] ** 2
        total = power.sum(axis=1)
        left = total[:, None] - np.cumsum(power, axis=1)
        worst = np.maximum(worst, np.append(total.max(), left.max(axis=0)))
    return worst


def _whole_steps(nodes: NDArray[np.floating], steps: NDArray[np.float64]) -> NDArray[np.float32]:
    return (np.round(nodes / steps) * steps).astype(np.float32)


def residual_errors(lines: Rows, flux: Rows, residual: Components) -> Floats:
    """Return the rms error of lines and residual at every node, (N,)."""
    errors, pixels = np.empty(len(flux)), jnp.asarray(residual.pixels)
    for rows in row_blocks(len(flux)):
        nodes = np.ascontiguousarray(residual.amplitudes[:, rows].T)
        change = (jnp.asarray(nodes) @ pixels) * residual.scale
        model = flux_of_opacity_root(opacity_root(jnp.asarray(lines[rows])) + change)
        errors[rows] = np.sqrt(np.mean((np.asarray(model) - flux[rows]) ** 2, axis=1))
    return errors
