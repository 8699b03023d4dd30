"""What the model may be wrong by in single lines, and how it counts.

Strengths of transitions are uncertain, by several per cent at best, and some are wrong by far. So
are shapes: of saturated cores, of wings, of blends with lines that are not in the list. Such an
error is common to all pixels of a line, so that the many pixels of a deep line say no more of the
labels than a number or two. Every order is cut into cells at the maxima of the predicted flux F, a
line or a blend each, and in cell b the absorption is taken to be

    (1 + δ_b + ε_b (D − D̄)) (1 − F),    D = (1 − F)/max(1 − F),

with D̄ such that the strength δ and the shape ε, core against wing, are independent; both are normal
with standard deviations σ_b of their own. What remains of a cell of n pixels beyond its noise, an
excess x of reduced chi-square, may all lie in the direction in which labels change it: the errors e
of its pixels are taken to be f = √(1 + n x) times as large. (Some of x is chance; to subtract it
makes labels of stars with wrong lines worse.) The errors of the pixels of a cell are then
1 + Σ m mᵀ over the two patterns, in units of f e, with m = σ_b (1 − F) C/(f e) for the strength,
times D − D̄ for the shape, and residuals and slopes over f are multiplied by

    (1 + Σ m mᵀ)^(−1/2) = 1 − Σ (1 − 1/√(1 + |m|²)) u uᵀ,    u = m/|m|.

σ_b is found from the lines themselves. Those of about one depth have a Student's t of scale s in
common: the weak ones are known worse, and show errors in full that saturation hides in strong ones.
The scales are the most probable ones at the labels that suit the strengths best (which must not be
those found so far, at which errors of lines and of labels are mixed), and

    σ_b² = s² (ν + δ_b²/s²)/(ν + 1) · (ν + 3)/(ν + 1),

which is how much a line counts in that distribution (Lange, Little & Taylor 1989, JASA 84, 881),
and how well many of them tell a mean. Where lines do not disagree beyond the noise, σ_b is zero and
f is one. `benchmarks/wrong_lines.py` shows what that is worth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]

_LEAST = 0.01
"""s below which lines count as right: what interpolation is wrong by is the model's own error."""
_TAILS = 4.0
"""ν."""
_EFFICIENCY = (_TAILS + 3.0) / (_TAILS + 1.0)
"""By which the variance of a mean of Student's t exceeds that of the weights that find it."""
_KNOWN = 0.1
"""Largest error by noise of δ of the lines that tell s ..."""
_ALIKE = 25
"""... and how many of about one depth tell it."""
_SURE = 4.0
"""Standard deviations of a variance by which lines disagree for sure."""
_ROUNDS = 6
"""Steps in which the scale of Student's t is found."""
_RANGE = 0.3
"""How far labels are first moved: what changes the most sensitive line by this part."""


@partial(
    jax.tree_util.register_dataclass, data_fields=("cell", "along", "loss", "trust"), meta_fields=()
)
@dataclass(frozen=True)
class Cells:
    """For every padded pixel: the number of its `cell` (O·Q,), in increasing order; for the two
    patterns its part `along` u (2, O·Q) and the `loss` 1 − 1/√(1 + |m|²) of the cell (2, O·Q), zero
    where lines are right; and the `trust` 1/f (O·Q,), one there."""

    cell: Array
    along: Array
    loss: Array
    trust: Array


def no_cells(size: int) -> Cells:
    """Lines that are right, on so many padded pixels."""
    nothing = jnp.zeros((2, size))
    return Cells(jnp.zeros(size, jnp.int32), nothing, nothing, jnp.ones(size))


def without_line_errors(cells: Cells, rows: Array) -> Array:
    """Weighted rows (N, O·Q) times (1 + Σ m mᵀ)^(−1/2)/f."""
    size = cells.cell.size
    rows = rows * cells.trust
    left = rows
    for along, loss in zip(cells.along, cells.loss, strict=True):
        products = jax.ops.segment_sum((rows * along).T, cells.cell, size, indices_are_sorted=True)
        left -= products[cells.cell].T * (along * loss)
    return left


@dataclass(frozen=True, eq=False)
class LineErrors:
    """Lines as they compare with a spectrum.

    Attributes
    ----------
    cell : (Q,)
        Of each pixel.
    change, sigma : (2, B)
        Of each cell, the best changes of strength and of shape, and what they may be.
    depth : (B,)
        Of each cell, the greatest 1 − F.
    patterns : (2, Q)
        What lines that are stronger by one, and of a shape that differs by one, absorb more.
    relative : (Q,)
        D, the absorption of a pixel by the greatest of its cell.
    left : (Q,)
        Data less prediction less the best changes.
    """

    cell: NDArray[np.int64]
    change: Floats
    sigma: Floats
    depth: Floats
    patterns: Floats
    relative: Floats
    left: Floats

    @property
    def correction(self) -> Floats:
        """What changed lines add to the predicted flux, (Q,): nothing where lines are right."""
        changes = np.where(self.sigma > 0.0, self.change, 0.0)
        return -(changes[:, self.cell] * self.patterns).sum(axis=0)

    def cells(self, weight: Floats, index: NDArray[np.int64], size: int) -> Cells:
        """The same for compiled functions: `weight` (Q,) of the pixels, which stand at `index`
        among `size` padded ones."""
        trust = self._trust(weight)
        m = self.sigma[:, self.cell] * weight * trust
        m *= _patterns(self.patterns[0], self.relative, weight, self.cell)
        square = np.stack([np.bincount(self.cell, row**2)[self.cell] for row in m])
        cell, u, loss = np.zeros(size, np.int32), np.zeros((2, size)), np.zeros((2, size))
        trusted = np.ones(size)
        trusted[index] = trust
        u[:, index] = np.divide(m, np.sqrt(square), out=np.zeros_like(m), where=square > 0.0)
        cell[index], loss[:, index] = self.cell, 1.0 - 1.0 / np.sqrt(1.0 + square)
        numbers = jnp.asarray(np.maximum.accumulate(cell))
        return Cells(numbers, *(jnp.asarray(part, jnp.float32) for part in (u, loss, trusted)))

    def _trust(self, weight: Floats) -> Floats:
        """1/f (Q,) of the pixels."""
        if not self.sigma.any():
            return np.ones_like(weight)
        count = np.bincount(self.cell, weight > 0.0).astype(np.float64)
        freedom = np.maximum(count - 2.0, 1.0)
        misfit = np.bincount(self.cell, (self.left * weight) ** 2) / freedom
        return (1.0 / np.sqrt(1.0 + count * np.maximum(misfit - 1.0, 0.0)))[self.cell]


def _patterns(
    absorbed: Floats, relative: Floats, weight: Floats, cell: NDArray[np.int64]
) -> Floats:
    """What lines that are stronger by one, and of a shape that differs by one, absorb more, (2, Q):
    independent of each other under the weights."""
    known = (absorbed * weight) ** 2
    total = np.maximum(np.bincount(cell, known), 1e-30)
    mean = np.bincount(cell, known * relative) / total
    return np.stack([absorbed, absorbed * (relative - mean[cell])])


def find_line_errors(
    residual: Floats,
    flux: Floats,
    continuum: Floats,
    weight: Floats,
    place: NDArray[np.int64],
    order: NDArray[np.int64],
    slopes: Callable[[], Floats],
) -> LineErrors:
    """How lines compare with data.

    Parameters
    ----------
    residual, flux, continuum : (Q,)
        Data less prediction, prediction with its continuum, and this.
    weight : (Q,)
        Inverse errors of the pixels, zero for those that do not count.
    place, order : (Q,)
        Where pixels stand, order after order and in each along the spectrum, and their order.
    slopes : callable
        Gives the derivatives (L, Q) of the prediction by the labels, where they are needed.
    """
    cell = _cells(flux / continuum, place, order)
    absorbed = continuum - flux
    depth = np.zeros(cell.max() + 1)
    fraction = absorbed / continuum
    np.maximum.at(depth, cell, fraction)
    relative = np.clip(fraction / np.maximum(depth, 1e-30)[cell], 0.0, 1.0)
    patterns = _patterns(absorbed, relative, weight, cell)
    noise = 1.0 / np.maximum([np.bincount(cell, (row * weight) ** 2) for row in patterns], 1e-30)

    def as_changes(rows: Floats) -> Floats:
        """What rows (N, Q) are as changes of the lines, (2, B, N)."""
        weighted = patterns * weight**2
        sums = [[-np.bincount(cell, pattern * row) for row in rows] for pattern in weighted]
        return np.moveaxis(np.reshape(sums, (2, len(rows), depth.size)), 1, 2) * noise[..., None]

    change = as_changes(residual[None])[..., 0]
    classes = [_classes(of_pattern, depth) for of_pattern in noise]
    sigma = np.zeros_like(change)
    if any(map(_disagree, change, noise, classes)):
        moved = as_changes(-slopes())
        own = change + moved @ _explaining(change[0], moved[0], classes[0])
        sigma = np.stack([_sigma(own[k], noise[k], depth, classes[k]) for k in (0, 1)])
    left = np.where(weight > 0.0, residual + (change[:, cell] * patterns).sum(axis=0), 0.0)
    return LineErrors(cell, change, sigma, depth, patterns, relative, left)


def _cells(flux: Floats, place: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The cell of each pixel (Q,), numbered as they stand: a new one at local maxima and at the
    beginning of an order."""
    along = np.argsort(place)
    height, orders = flux[along], order[along]
    begins = np.zeros(flux.size, bool)
    begins[1:-1] = (height[1:-1] >= height[:-2]) & (height[1:-1] > height[2:])
    begins[1:] |= orders[1:] != orders[:-1]
    cell = np.empty(flux.size, np.int64)
    cell[along] = np.cumsum(begins)
    return cell


def _classes(noise: Floats, depth: Floats) -> list[NDArray[np.int64]]:
    """Lines that noise (B,) leaves known, in classes of about one depth (B,); none where they are
    too few."""
    known = np.flatnonzero(noise < _KNOWN**2)
    known = known[np.argsort(depth[known], kind="stable")]
    return np.array_split(known, known.size // _ALIKE) if known.size >= _ALIKE else []


def _disagree(change: Floats, noise: Floats, classes: list[NDArray[np.int64]]) -> bool:
    """Whether lines of any class change by more than noise makes them, chance included."""
    return any(
        _variance(change[lines])
        > _LEAST**2 + (1.0 + _SURE * np.sqrt(2.0 / lines.size)) * np.median(noise[lines])
        for lines in classes
    )


def _explaining(change: Floats, moved: Floats, classes: list[NDArray[np.int64]]) -> Floats:
    """The change of the labels (L,) at which the lines are most probable, all scales being the best
    for it: `moved` (B, L) are the derivatives of the changes (B,) of the lines."""
    largest = np.max(np.abs(moved[np.concatenate(classes)]), axis=0, initial=0.0)
    unit = 1.0 / np.where(largest > 0.0, largest, 1.0)

    def misfit(x: Floats) -> float:
        left = change + moved @ (unit * x)
        return sum(_surprise(left[lines]) for lines in classes)

    start = np.zeros(unit.size)
    if start.size == 0:
        return start
    simplex = np.vstack([start, _RANGE * np.eye(start.size)])
    best = minimize(misfit, start, method="Nelder-Mead", options={"initial_simplex": simplex})
    return unit * best.x


def _sigma(left: Floats, noise: Floats, depth: Floats, classes: list[NDArray[np.int64]]) -> Floats:
    """σ_b (B,) from what the labels leave of the changes (B,)."""
    if not classes:
        return np.zeros_like(left)
    scale = [max(_scale(left[lines], noise[lines]), 1e-6) for lines in classes]
    middle = [np.median(depth[lines]) for lines in classes]
    usual = np.exp(np.interp(depth, middle, np.log(scale)))
    sigma = usual * np.sqrt(_EFFICIENCY * (_TAILS + (left / usual) ** 2) / (_TAILS + 1.0))
    return np.where(usual > _LEAST, sigma, 0.0)


def _variance(left: Floats) -> float:
    """Squared scale of Student's t of which values (N,) are the likeliest draws."""
    variance = float(2.2 * np.median(left**2)) + 1e-12
    for _ in range(_ROUNDS):
        weighted = left**2 * (_TAILS + 1.0) / (_TAILS + left**2 / variance)
        variance = float(np.mean(weighted)) + 1e-12
    return variance


def _scale(left: Floats, noise: Floats) -> float:
    """The scale without what noise makes of it."""
    return float(np.sqrt(max(_variance(left) - np.median(noise), 0.0)))


def _surprise(left: Floats) -> float:
    """−ln likelihood of values (N,) at their scale."""
    variance = _variance(left)
    tails = np.log1p(left**2 / (_TAILS * variance)).sum()
    return float(0.5 * left.size * np.log(variance) + 0.5 * (_TAILS + 1.0) * tails)
