"""Errors of single lines of the model, and their weight in the likelihood.

Strengths of transitions are uncertain by several per cent at best, and some are wrong by far. So
are shapes: of saturated cores, of wings, of blends with lines that are not in the list. Such an
error is common to all pixels of a line, so that the many pixels of a deep line constrain the labels
no more than one or two numbers would. Every order is divided into cells at the maxima of the
predicted flux F, one line or blend each, and in cell b the absorption is taken to be

    (1 + δ_b + ε_b (D − D̄)) (1 − F),    D = (1 − F)/max(1 − F),

with D̄ such that the strength δ and the shape ε, core against wing, are independent; both are normal
with standard deviations σ_b. After the best changes, n pixels of a cell may still have a reduced
chi-square that exceeds one by x. All of this may lie in the direction in which labels change the
line: the errors e of its pixels are multiplied by f = √(1 + n x). (Part of x is chance, but
subtracting it makes labels of stars with wrong lines worse.) In units of f e, the covariance of the
pixels of a cell is then 1 + Σ m mᵀ over the two patterns, with m = σ_b (1 − F) C/(f e) for the
strength, times D − D̄ for the shape, and residuals and slopes over f are multiplied by

    (1 + Σ m mᵀ)^(−1/2) = 1 − Σ (1 − 1/√(1 + |m|²)) u uᵀ,    u = m/|m|.

σ_b is estimated from the lines themselves. Lines of similar depth share a Student's t distribution
of scale s: weak lines are known worse, and saturation hides errors of strong ones. The scales are
the most probable ones at the labels that suit the strengths best, not at the labels of the current
fit, which mixes errors of lines and of labels. Then

    σ_b² = s² (ν + δ_b²/s²)/(ν + 1) · (ν + 3)/(ν + 1):

the first fraction is the weight of a line in that distribution (Lange, Little & Taylor 1989, JASA
84, 881), the second the efficiency of a mean over many lines. Where lines do not disagree beyond
the noise, σ_b is zero and f is one. `benchmarks/wrong_lines.py` measures the effect on labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.optimize import minimize

from ...runtime.arrays import Floats, Integers

_SMALLEST = 0.01
"""Smallest s (relative change of a line): smaller ones are errors of interpolation, which the model
states itself."""
_TAILS = 4.0
"""Degrees of freedom ν of Student's t: few lines are wrong by far, but some are."""
_EFFICIENCY = (_TAILS + 3.0) / (_TAILS + 1.0)
"""Variance of a mean of Student's t over that of the mean with the weights of its maximum."""
_KNOWN = 0.1
"""Largest error of δ by noise of lines from which s is estimated."""
_CLASS = 25
"""Lines of similar depth from which one s is estimated, at least: s is then known to 20 %."""
_SIGNIFICANCE = 4.0
"""Excess of a variance over that of the noise, in its standard errors, that proves line errors."""
_ROUNDS = 6
"""Iterations for the scale of Student's t, which is then right to 1 %."""
_RANGE = 0.3
"""First step of the labels: the relative change of the most sensitive line."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("cell", "direction", "loss", "weight"),
    meta_fields=(),
)
@dataclass(frozen=True)
class LineWhitening:
    """Multiplication of weighted rows by (1 + Σ m mᵀ)^(−1/2)/f, on the padded pixels.

    Attributes
    ----------
    cell : (O·Q,)
        Number of the cell of each pixel, not decreasing.
    direction : (2, O·Q)
        u of both patterns.
    loss : (2, O·Q)
        1 − 1/√(1 + |m|²) of the pixel's cell; zero where lines are right.
    weight : (O·Q,)
        1/f; one where lines are right.
    """

    cell: Array
    direction: Array
    loss: Array
    weight: Array

    def __call__(self, rows: Array) -> Array:
        """Weighted rows (N, O·Q) with the errors of the lines taken into account."""
        count = self.cell.size
        rows = rows * self.weight
        left = rows
        for u, loss in zip(self.direction, self.loss, strict=True):
            products = jax.ops.segment_sum((rows * u).T, self.cell, count, indices_are_sorted=True)
            left -= products[self.cell].T * (u * loss)
        return left


def right_lines(size: int) -> LineWhitening:
    """Return the whitening of `size` padded pixels whose lines have no errors."""
    zeros = jnp.zeros((2, size))
    return LineWhitening(jnp.zeros(size, jnp.int32), zeros, zeros, jnp.ones(size))


@dataclass(frozen=True, eq=False)
class LineErrors:
    """Lines of a prediction compared with a spectrum.

    Attributes
    ----------
    cell : (Q,)
        Cell of each pixel.
    change, sigma : (2, B)
        Best changes of strength and shape of each cell, and their standard deviations σ_b.
    depth : (B,)
        Greatest 1 − F of each cell.
    patterns : (2, Q)
        Additional absorption of lines stronger by one, and of a shape that differs by one.
    relative : (Q,)
        D: absorption over the greatest of the cell.
    left : (Q,)
        Data minus prediction minus the best changes.
    """

    cell: Integers
    change: Floats
    sigma: Floats
    depth: Floats
    patterns: Floats
    relative: Floats
    left: Floats

    @property
    def correction(self) -> Floats:
        """Change of the predicted flux (Q,) by the changed lines: zero where lines are right."""
        changes = np.where(self.sigma > 0.0, self.change, 0.0)
        return -(changes[:, self.cell] * self.patterns).sum(axis=0)

    def whitening(self, weight: Floats, index: Integers, size: int) -> LineWhitening:
        """Return the whitening of `size` padded pixels, from the inverse errors `weight` (Q,) of
        the pixels at `index` (Q,)."""
        reduced = self._reduced(weight)
        m = self.sigma[:, self.cell] * weight * reduced
        m *= _patterns(self.patterns[0], self.relative, weight, self.cell)
        square = np.stack([np.bincount(self.cell, row**2)[self.cell] for row in m])
        cell, u, loss = np.zeros(size, np.int32), np.zeros((2, size)), np.zeros((2, size))
        padded = np.ones(size)
        padded[index] = reduced
        u[:, index] = np.divide(m, np.sqrt(square), out=np.zeros_like(m), where=square > 0.0)
        cell[index], loss[:, index] = self.cell, 1.0 - 1.0 / np.sqrt(1.0 + square)
        numbers = jnp.asarray(np.maximum.accumulate(cell))
        return LineWhitening(numbers, *(jnp.asarray(a, jnp.float32) for a in (u, loss, padded)))

    def _reduced(self, weight: Floats) -> Floats:
        """1/f (Q,) of the pixels."""
        if not self.sigma.any():
            return np.ones_like(weight)
        count = np.bincount(self.cell, weight > 0.0).astype(np.float64)
        freedom = np.maximum(count - 2.0, 1.0)
        misfit = np.bincount(self.cell, (self.left * weight) ** 2) / freedom
        return (1.0 / np.sqrt(1.0 + count * np.maximum(misfit - 1.0, 0.0)))[self.cell]


def _patterns(absorbed: Floats, relative: Floats, weight: Floats, cell: Integers) -> Floats:
    """Patterns (2, Q) of strength and shape, independent of each other under the weights."""
    known = (absorbed * weight) ** 2
    total = np.maximum(np.bincount(cell, known), 1e-30)
    mean = np.bincount(cell, known * relative) / total
    return np.stack([absorbed, absorbed * (relative - mean[cell])])


def find_line_errors(
    residual: Floats,
    flux: Floats,
    continuum: Floats,
    weight: Floats,
    position: Integers,
    order: Integers,
    slopes: Callable[[], Floats],
) -> LineErrors:
    """Compare the lines of a prediction with data.

    Parameters
    ----------
    residual, flux, continuum : (Q,)
        Data minus prediction, prediction, and its continuum.
    weight : (Q,)
        Inverse errors of the pixels; zero for masked ones.
    position, order : (Q,)
        Index of each pixel in the padded arrays, increasing along each order, and its order.
    slopes : callable
        Returns the derivatives (L, Q) of the prediction by the labels; called if lines disagree.
    """
    cell = _cells(flux / continuum, position, order)
    absorbed = continuum - flux
    depth = np.zeros(cell.max() + 1)
    fraction = absorbed / continuum
    np.maximum.at(depth, cell, fraction)
    relative = np.clip(fraction / np.maximum(depth, 1e-30)[cell], 0.0, 1.0)
    patterns = _patterns(absorbed, relative, weight, cell)
    noise = 1.0 / np.maximum([np.bincount(cell, (row * weight) ** 2) for row in patterns], 1e-30)

    def as_changes(rows: Floats) -> Floats:
        """Project rows (N, Q) on the patterns of each cell: (2, B, N)."""
        weighted = patterns * weight**2
        sums = [[-np.bincount(cell, pattern * row) for row in rows] for pattern in weighted]
        return np.moveaxis(np.reshape(sums, (2, len(rows), depth.size)), 1, 2) * noise[..., None]

    change = as_changes(residual[None])[..., 0]
    classes = [_classes(of_pattern, depth) for of_pattern in noise]
    sigma = np.zeros_like(change)
    if any(map(_disagree, change, noise, classes)):
        moved = as_changes(-slopes())
        unexplained = change + moved @ _explaining(change[0], moved[0], classes[0])
        sigma = np.stack([_sigma(unexplained[k], noise[k], depth, classes[k]) for k in (0, 1)])
    left = np.where(weight > 0.0, residual + (change[:, cell] * patterns).sum(axis=0), 0.0)
    return LineErrors(cell, change, sigma, depth, patterns, relative, left)


def _cells(flux: Floats, position: Integers, order: Integers) -> Integers:
    """Cell of each pixel (Q,), numbered by position: a new one begins at each local maximum of the
    flux and at each order."""
    along = np.argsort(position)
    height, orders = flux[along], order[along]
    begins = np.zeros(flux.size, bool)
    begins[1:-1] = (height[1:-1] >= height[:-2]) & (height[1:-1] > height[2:])
    begins[1:] |= orders[1:] != orders[:-1]
    cell = np.empty(flux.size, np.int64)
    cell[along] = np.cumsum(begins)
    return cell


def _classes(noise: Floats, depth: Floats) -> list[Integers]:
    """Lines with small errors by noise (B,), in classes of similar depth (B,); none if they are too
    few."""
    known = np.flatnonzero(noise < _KNOWN**2)
    known = known[np.argsort(depth[known], kind="stable")]
    return np.array_split(known, known.size // _CLASS) if known.size >= _CLASS else []


def _disagree(change: Floats, noise: Floats, classes: list[Integers]) -> bool:
    """Whether the changes of any class of lines scatter significantly more than the noise."""
    return any(
        _variance(change[lines])
        > _SMALLEST**2 + (1.0 + _SIGNIFICANCE * np.sqrt(2.0 / lines.size)) * np.median(noise[lines])
        for lines in classes
    )


def _explaining(change: Floats, moved: Floats, classes: list[Integers]) -> Floats:
    """Change of the labels (L,) that makes the changes (B,) of the lines most probable, each class
    with its best scale; `moved` (B, L) are their derivatives."""
    largest = np.max(np.abs(moved[np.concatenate(classes)]), axis=0, initial=0.0)
    unit = 1.0 / np.where(largest > 0.0, largest, 1.0)

    def misfit(x: Floats) -> float:
        left = change + moved @ (unit * x)
        return sum(_negative_log_likelihood(left[lines]) for lines in classes)

    start = np.zeros(unit.size)
    if start.size == 0:
        return start
    simplex = np.vstack([start, _RANGE * np.eye(start.size)])
    best = minimize(misfit, start, method="Nelder-Mead", options={"initial_simplex": simplex})
    return unit * best.x


def _sigma(left: Floats, noise: Floats, depth: Floats, classes: list[Integers]) -> Floats:
    """σ_b (B,) from the changes (B,) that the labels do not explain."""
    if not classes:
        return np.zeros_like(left)
    scales = [max(_scale(left[lines], noise[lines]), 1e-6) for lines in classes]
    depths = [np.median(depth[lines]) for lines in classes]
    scale = np.exp(np.interp(depth, depths, np.log(scales)))
    sigma = scale * np.sqrt(_EFFICIENCY * (_TAILS + (left / scale) ** 2) / (_TAILS + 1.0))
    return np.where(scale > _SMALLEST, sigma, 0.0)


def _variance(left: Floats) -> float:
    """Squared scale of the Student's t that is most probable for values (N,)."""
    variance = float(2.2 * np.median(left**2)) + 1e-12
    for _ in range(_ROUNDS):
        weighted = left**2 * (_TAILS + 1.0) / (_TAILS + left**2 / variance)
        variance = float(np.mean(weighted)) + 1e-12
    return variance


def _scale(left: Floats, noise: Floats) -> float:
    """Scale of values (N,) without the contribution of the noise."""
    return float(np.sqrt(max(_variance(left) - np.median(noise), 0.0)))


def _negative_log_likelihood(left: Floats) -> float:
    """−ln likelihood of values (N,) at their most probable scale, but for a constant."""
    variance = _variance(left)
    tails = np.log1p(left**2 / (_TAILS * variance)).sum()
    return float(0.5 * left.size * np.log(variance) + 0.5 * (_TAILS + 1.0) * tails)
