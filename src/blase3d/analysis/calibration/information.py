"""Normal equations of observations in changes of lines and in everything else.

With the residual r of an observation, the derivatives D of its flux by lines, and the derivatives G
by the dense unknowns (parameters of the star, continuum, changes that lines have in common),

    r + D x₀ + G y₀ = D x + G y + noise

to first order about the present x₀ and y₀. The weighted products of these columns add up over
observations, can be subtracted for one star or for some pixels, and are solved for any prior.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

from ...lines.render import parts
from ...model.evaluate import ForwardModel
from ...model.line_derivatives import depths_and_changes, single_line_changes
from ...runtime.arrays import Floats, Integers
from ...runtime.units import SPEED_OF_LIGHT
from .block_matrix import BlockFactor, BlockMatrix
from .cells import Cells, LineGroups
from .observation import Predicted

_BROAD = 1e-3
"""The kernel is cut where less than this share of it is left on either side."""
_ROUND = 16
"""Lines and pixels of a window are rounded up to multiples, for few compilations."""


@dataclass(frozen=True, eq=False)
class Window:
    """Derivatives in one window of pixels.

    Attributes
    ----------
    cell : int
        The first of its two cells.
    pixels : (q,)
        Indices of the pixels.
    lines : slice
        Groups of lines.
    slopes : (q, 3 n)
        Derivatives of the flux, in units of the continuum, by ln area, wavelength (km/s) and ln
        width of each group.
    """

    cell: int
    pixels: Integers
    lines: slice
    slopes: Floats


def windows_of(prediction: Predicted, cells: Cells, chosen: LineGroups) -> Iterator[Window]:
    """Yield the derivatives by groups of lines of the whole model, window by window."""
    observation = prediction.observation
    model, forward = prediction.model, prediction.model.forward
    wavelength = observation.rest_wavelength()
    window_of = cells.window_of(wavelength)
    slots = _slots(observation.lines, chosen.members)
    labels = jnp.asarray(list(observation.labels().values()), jnp.float32)
    columns, changes, gain = single_line_changes(forward, labels, _directions(model.reference))
    gain = np.asarray(gain, np.float64)
    velocity, kernel = observation.kernel()
    margin = _half_width(velocity, kernel)
    order = np.argsort(window_of, kind="stable")
    ends = np.searchsorted(window_of[order], np.arange(cells.windows + 1))
    spans = [
        _native_span(model.wavelength, wavelength[order[a:b]], margin) for a, b in pairwise(ends)
    ]
    most_pixels = _rounded(max(b - a for a, b in spans))
    members = [chosen.of(cells.lines(j)) for j in range(cells.windows)]
    counts = [one.stop - one.start for one in members]
    most_lines = _rounded(max(counts))
    for j, (first, stop) in enumerate(spans):
        pixels, lines = order[ends[j] : ends[j + 1]], cells.lines(j)
        if not pixels.size:
            continue
        if not counts[j]:
            yield Window(j, pixels, lines, np.zeros((pixels.size, 0)))
            continue
        here, middle = slots[members[j]], cells.middle(j)
        native = model.wavelength[first:stop]
        found = _depth_changes(
            forward,
            columns,
            changes,
            _padded(native - middle, most_pixels),
            jnp.asarray(_filled(here, most_lines, len(model.reference))),
            _padded(np.append(model.reference, middle)[here] - middle, most_lines),
        )
        by_lines = np.asarray(found)[:, : here.size, : native.size] * gain[first:stop]
        by_lines = np.add.reduceat(by_lines, chosen.starts(lines), axis=1)
        spread = _spread(wavelength[pixels], native, velocity, kernel)
        flat = by_lines.transpose(1, 0, 2).reshape(-1, native.size)
        yield Window(j, pixels, lines, spread @ flat.T)


def information_of(
    prediction: Predicted,
    windows: Iterable[Window],
    cells: Cells,
    weight: Floats,
    patterns: Floats,
    present: tuple[Floats, Floats],
    continuum: Floats | None = None,
) -> Information:
    """Return the information of one observation.

    Its dense unknowns are the amplitudes of `patterns`, changes of the free parameters, and changes
    of the coefficients of the continuum.

    Parameters
    ----------
    weight : (Q,)
        Inverse variances of the pixels.
    patterns : (3 n, M)
        Changes that lines have in common.
    present : (3 n,), (M,)
        Line unknowns and amplitudes in the prediction.
    continuum : (B,), optional
        Coefficients of the continuum; those that fit the weighted pixels best if None.
    """
    observation = prediction.observation
    level = prediction.level(prediction.continuum(weight) if continuum is None else continuum)
    left = observation.flux - level * prediction.flux
    fixed = np.column_stack(
        [prediction.slopes.T * level[:, None], observation.basis * prediction.flux[:, None]]
    )
    count = patterns.shape[1] + fixed.shape[1]
    lines, size = BlockMatrix.zeros(3 * cells.sizes), 3 * int(cells.first[-1])
    cross, rhs_lines = np.zeros((size, count)), np.zeros(size)
    dense, rhs_dense = np.zeros((count, count)), np.zeros(count)
    diagonal, upper = list(lines.diagonal), list(lines.upper)
    for window in windows:
        at, rows = window.pixels, slice(3 * window.lines.start, 3 * window.lines.stop)
        scale = np.sqrt(weight[at])[:, None]
        by_lines = window.slopes * (level[at, None] * scale)
        by_dense = np.column_stack([by_lines @ patterns[rows], fixed[at] * scale])
        data = left[at] * scale[:, 0] + by_lines @ present[0][rows]
        data += by_dense[:, : len(present[1])] @ present[1]
        j, half = window.cell, 3 * (int(cells.first[window.cell + 1]) - window.lines.start)
        gram = by_lines.T @ by_lines
        diagonal[j] = diagonal[j] + gram[:half, :half]
        diagonal[j + 1] = diagonal[j + 1] + gram[half:, half:]
        upper[j] = upper[j] + gram[:half, half:]
        cross[rows] += by_lines.T @ by_dense
        rhs_lines[rows] += by_lines.T @ data
        dense += by_dense.T @ by_dense
        rhs_dense += by_dense.T @ data
    return Information(
        BlockMatrix(tuple(diagonal), tuple(upper)), cross, dense, rhs_lines, rhs_dense
    )


def _slots(lines: Integers, chosen: Integers) -> Integers:
    """Slot, in the cut model with `lines` (C',), of other lines (m,); C' where it has none."""
    position = np.searchsorted(lines, chosen).clip(0, len(lines) - 1)
    return np.where(lines[position] == chosen, position, len(lines))


def _directions(reference: Floats) -> jnp.ndarray:
    """Changes (3, C, 4) of the parameters of lines with those of `QUANTITIES`."""
    moved = np.zeros((3, reference.size, 4), np.float32)
    moved[0, :, 1] = 1.0
    moved[1, :, 0] = reference / SPEED_OF_LIGHT
    moved[2, :, 2:] = 1.0
    return jnp.asarray(moved)


@jax.jit
def _depth_changes(
    forward: ForwardModel,
    columns: jax.Array,
    changes: jax.Array,
    x: jax.Array,
    slots: jax.Array,
    offsets: jax.Array,
) -> jax.Array:
    (_, of_line), _ = parts(forward.layout, forward.composition)
    return depths_and_changes(of_line, columns[slots], changes[:, slots], x, offsets)[1]


def _filled(slots: Integers, count: int, blank: int) -> Integers:
    return np.pad(slots, (0, count - slots.size), constant_values=blank)


def _rounded(count: int) -> int:
    return max(-(-count // _ROUND) * _ROUND, _ROUND)


def _padded(values: Floats, count: int) -> jax.Array:
    return jnp.asarray(np.pad(values, (0, count - values.size)), jnp.float32)


def _half_width(velocity: Floats, kernel: Floats) -> float:
    """Velocity (km/s) within which the kernel is."""
    total = np.abs(kernel).sum()
    outside = [np.abs(kernel[np.abs(velocity) > v]).sum() for v in velocity[velocity >= 0.0]]
    found = int(np.argmax(np.array(outside) < _BROAD * total))
    return float(velocity[velocity >= 0.0][found]) + 2.0 * float(velocity[1] - velocity[0])


def _native_span(native: Floats, wavelength: Floats, margin: float) -> tuple[int, int]:
    """Pixels of the model whose light reaches these wavelengths."""
    if not wavelength.size:
        return 0, 0
    far = margin / SPEED_OF_LIGHT
    first = int(np.searchsorted(native, wavelength.min() * (1.0 - far))) - 1
    stop = int(np.searchsorted(native, wavelength.max() * (1.0 + far))) + 1
    return max(first, 0), min(max(stop, first + 2), native.size)


def _spread(at: Floats, native: Floats, velocity: Floats, kernel: Floats) -> Floats:
    """Matrix (q, p) that broadens flux on the pixels `native` (p,) as observed `at` (q,)."""
    difference = SPEED_OF_LIGHT * (np.log(at)[:, None] - np.log(native))
    matrix = np.interp(difference.ravel(), velocity, kernel, 0.0, 0.0).reshape(difference.shape)
    matrix *= np.gradient(native)
    total = matrix.sum(axis=1, keepdims=True)
    return (matrix / np.where(total > 0.0, total, 1.0)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Information:
    """Normal equations in n line unknowns and G dense ones.

    Attributes
    ----------
    lines : BlockMatrix
        (n, n), products of the derivatives by lines.
    cross, dense : (n, G), (G, G)
        Products with and among the dense columns.
    rhs_lines, rhs_dense : (n,), (G,)
        Products with the data.
    """

    lines: BlockMatrix
    cross: Floats
    dense: Floats
    rhs_lines: Floats
    rhs_dense: Floats

    def plus(self, other: Information, factor: float = 1.0) -> Information:
        """The sum with a multiple of other information on the same unknowns."""
        return Information(
            self.lines.plus(other.lines, factor),
            self.cross + factor * other.cross,
            self.dense + factor * other.dense,
            self.rhs_lines + factor * other.rhs_lines,
            self.rhs_dense + factor * other.rhs_dense,
        )

    def spread(self, columns: Integers, count: int) -> Information:
        """The information with its dense unknowns at `columns` among `count`."""
        cross, dense = np.zeros((len(self.cross), count)), np.zeros((count, count))
        rhs = np.zeros(count)
        cross[:, columns], dense[np.ix_(columns, columns)] = self.cross, self.dense
        rhs[columns] = self.rhs_dense
        return Information(self.lines, cross, dense, self.rhs_lines, rhs)

    def with_slopes(self, position: float) -> Information:
        """The information with a fourth unknown of each line: a change of ln area times the
        `position` of the star."""
        sizes = [len(block) // 3 for block in self.lines.diagonal]
        columns = [3 * np.repeat(np.arange(n), 4) + np.tile([0, 1, 2, 0], n) for n in sizes]
        factors = [np.tile([1.0, 1.0, 1.0, position], n) for n in sizes]
        starts = self.lines.ends[:-1]
        rows = np.concatenate([a + each for a, each in zip(starts, columns, strict=True)])
        factor = np.concatenate(factors)
        return replace(
            self,
            lines=self.lines.scaled(tuple(columns), tuple(factors)),
            cross=self.cross[rows] * factor[:, None],
            rhs_lines=self.rhs_lines[rows] * factor,
        )

    def ln_evidence(
        self, found: Unknowns, precision: Floats, dense_precision: Floats, mean: Floats
    ) -> float:
        """ln of the marginal likelihood of a prior, but for a constant, at its solution."""
        data = (
            self.rhs_lines @ found.lines + (self.rhs_dense + dense_precision * mean) @ found.dense
        )
        return 0.5 * float(np.log(precision).sum() + data - found.ln_determinant)

    def solved(self, precision: Floats, dense_precision: Floats, mean: Floats) -> Unknowns:
        """The most probable unknowns under a normal prior.

        Parameters
        ----------
        precision : (n,)
            Inverse variances of the line unknowns, whose mean is zero.
        dense_precision, mean : (G,), (G,)
            Inverse variances and means of the dense ones.
        """
        factor = self.lines.with_ridge(precision).factor()
        both = factor.solve(np.column_stack([self.rhs_lines, self.cross]))
        alone, moved = both[:, 0], both[:, 1:]
        dense = self.dense + np.diag(dense_precision) - self.cross.T @ moved
        rhs = self.rhs_dense + dense_precision * mean - self.cross.T @ alone
        size = np.sqrt(np.maximum(np.diag(self.dense) + dense_precision, 1e-300))
        scaled = dense / np.outer(size, size) + 1e-9 * np.eye(len(size))
        inverse = np.linalg.inv(scaled) / np.outer(size, size)
        found = inverse @ rhs
        return Unknowns(alone - moved @ found, found, factor, moved, inverse)


@dataclass(frozen=True, eq=False)
class Unknowns:
    """The most probable `lines` (n,) and `dense` (G,) unknowns.

    `factor` is that of the matrix of the lines, `moved` (n, G) how these follow the dense unknowns,
    and `covariance` (G, G) that of the dense unknowns.
    """

    lines: Floats
    dense: Floats
    factor: BlockFactor
    moved: Floats
    covariance: Floats

    @property
    def ln_determinant(self) -> float:
        """ln of the determinant of the matrix of all unknowns."""
        return self.factor.ln_determinant - float(np.linalg.slogdet(self.covariance)[1])

    def variance(self) -> Floats:
        """Posterior variances (n,) of the line unknowns."""
        of_dense = np.sum((self.moved @ self.covariance) * self.moved, axis=1)
        return self.factor.inverse_diagonal() + of_dense
