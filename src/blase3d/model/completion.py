"""Completion of values at the nodes of a library to the full box of its label values.

The values at missing nodes minimise the squared second differences along all labels. Their normal
matrix is a sum of one matrix for each label, A = Σₖ I ⊗ Aₖ ⊗ I. Of few missing nodes it is
factored. Factors of many, over four labels, take more than linear time and memory: there the
equations are solved by conjugate gradients, preconditioned by the sum of the inverses of A within
boxes of missing nodes (the additive Schwarz method; Toselli & Widlund 2005, Domain Decomposition
Methods, chapter 2). Within a box A is such a sum too, so that its inverse follows from the
eigenvectors along each label (Lynch, Rice & Thomas 1964, Numerische Mathematik 6, 185). The boxes
are the largest that fit, and overlap, so that the number of steps does not grow with theirs.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial, reduce
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from ..runtime.arrays import Bools, Floats, Integers, Singles, Values

_LOG = logging.getLogger(__name__)
_FACTORED = 10_000
"""Largest number of missing nodes whose equations are factored."""
_SMALL = 64
"""Largest number of nodes of a box whose inverse is stored."""
_AT_ONCE = 1 << 21
"""Largest number of values in the box that are completed at once."""
_RESIDUE, _SINGLE, _STEPS = 1e-10, 1e-7, 1000
"""Relative residue of the equations at which gradients end, that for values in single precision,
and the largest number of gradients."""
_POSITIVE_DEFINITE: Mapping[str, Any] = {
    "permc_spec": "MMD_AT_PLUS_A",
    "diag_pivot_thresh": 0.0,
    "options": {"SymmetricMode": True},
}
"""Options of SuperLU for such a matrix. Pivots off the diagonal would spoil the order."""
Solve = Callable[[Floats, float], Floats]
_Box = tuple[tuple[int, int], ...]
"""First index, and the one after the last, along every axis."""


@dataclass(frozen=True, eq=False)
class Completion:
    """Completes values at N nodes to the full box: `completion @ values`, (N, ...) to (box, ...).

    The values at missing nodes minimise the squared second differences along all labels, in units
    of the mean spacing. Those at the N nodes stay as they are. Time and memory follow the number of
    nodes. Values in single precision are completed with a relative residue of 1e-7.

    Attributes
    ----------
    present : (N,)
        Numbers of the nodes in the box.
    missing : (box − N,)
        Numbers of the others.
    known : (box − N, N)
        Sparse: minus the right side of the normal equations, from values at the nodes.
    solve : callable
        Solves them, for (box − N, M), to a relative residue.
    """

    present: Integers
    missing: Integers
    known: sparse.csr_array
    solve: Solve

    @classmethod
    def of(cls, axes: Sequence[Floats], index: Integers) -> Completion:
        """Return the completion of nodes with these indices on the axes, (N, L)."""
        shape = tuple(len(axis) for axis in axes)
        present = np.ravel_multi_index(tuple(index.T), shape)
        missing = np.setdiff1d(np.arange(math.prod(shape)), present)
        rough = roughness(axes).tocsc()
        holes = rough[:, missing]
        known = (holes.T @ rough[:, present]).tocsr()
        return cls(present, missing, known, _solver(axes, missing, holes.T @ holes))

    @property
    def shape(self) -> tuple[int, int]:
        """Nodes of the box, and N."""
        return self.present.size + self.missing.size, self.present.size

    def __matmul__(self, values: Values) -> Values:
        flat = values.reshape(len(values), -1)
        single = values.dtype == np.float32
        box = np.empty((self.shape[0], flat.shape[1]), np.float32 if single else np.float64)
        box[self.present] = flat
        step = columns_at_once(len(box))
        for first in range(0, flat.shape[1], step):
            some = slice(first, first + step)
            wanted = -(self.known @ flat[:, some].astype(np.float64))
            box[self.missing, some] = self.solve(wanted, _SINGLE if single else _RESIDUE)
        return box.reshape(len(box), *values.shape[1:])


def columns_at_once(box: int) -> int:
    """Return the number of columns of values in a box of this size that are completed at once."""
    return max(_AT_ONCE // max(box, 1), 1)


def fill_holes(axes: Sequence[Floats], index: Integers) -> Floats:
    """Return the matrix (box, N) of `Completion`, for few nodes."""
    return Completion.of(axes, index) @ np.eye(len(index))


def roughness(axes: Sequence[Floats], slope: float = 1e-2) -> sparse.csr_array:
    """Return the second differences along every axis, and first ones with weight `slope`, which
    settle what second ones leave open, (rows, box)."""
    eyes = [sparse.eye_array(len(axis)) for axis in axes]
    box = math.prod(len(axis) for axis in axes)
    rows = [sparse.csr_array((1, box))]
    for k, axis in enumerate(axes):
        if len(axis) < 2:
            continue
        unit = (axis - axis[0]) / np.diff(axis).mean()
        slopes = np.diff(np.eye(len(axis)), axis=0) / np.diff(unit)[:, None]
        for matrix in (np.diff(slopes, axis=0), slope * slopes):
            factors = [*eyes[:k], sparse.csr_array(matrix), *eyes[k + 1 :]]
            rows.append(reduce(partial(sparse.kron, format="csr"), factors))
    return sparse.vstack(rows, format="csr")


def _solver(axes: Sequence[Floats], missing: Integers, normal: sparse.csc_array) -> Solve:
    """Return the solver of the normal equations at missing nodes, whose numbers are given."""
    if not missing.size:
        return lambda wanted, _: wanted
    if missing.size <= _FACTORED:
        factors = splu(normal.tocsc(), **_POSITIVE_DEFINITE)
        return lambda wanted, _: factors.solve(wanted)
    normal = normal.tocsr()
    return partial(_descend, normal, _inverse_within_boxes(axes, missing, normal))


def _descend(
    normal: sparse.csr_array,
    precondition: Callable[[Floats], Floats],
    wanted: Floats,
    residue: float,
) -> Floats:
    """Solve `normal` @ x = `wanted` (missing, M) by preconditioned conjugate gradients."""
    tiny = np.finfo(float).tiny
    found, rest = np.zeros_like(wanted), wanted.copy()
    enough = residue**2 * _products(wanted, wanted)
    direction, last = np.zeros_like(wanted), np.ones(wanted.shape[1])
    for _ in range(_STEPS):
        solved = _products(rest, rest) <= enough
        if solved.all():
            break
        rest[:, solved] = 0.0  # else squares of what is left of them would underflow
        gradient = precondition(rest)
        size = _products(rest, gradient)
        direction = gradient + size / np.maximum(last, tiny) * direction
        change = normal @ direction
        step = size / np.maximum(_products(direction, change), tiny)
        found += step * direction
        rest -= step * change
        last = size
    else:
        left = np.sqrt(np.max(_products(rest, rest) / np.maximum(_products(wanted, wanted), tiny)))
        _LOG.warning("missing nodes are completed with a relative residue of %.1e", left)
    return found


def _products(one: Floats, other: Floats) -> Floats:
    """Return the scalar products of columns, (M,)."""
    return np.einsum("nm,nm->m", one, other)


def _inverse_within_boxes(
    axes: Sequence[Floats], missing: Integers, normal: sparse.csr_array
) -> Callable[[Floats], Floats]:
    """Return the sum of the inverses of the normal matrix within boxes of missing nodes.

    Within large ones it is in single precision: steps change with it, but not the solution. Within
    the others, which are many, it is stored.
    """
    shape = tuple(len(axis) for axis in axes)
    place = np.full(math.prod(shape), -1)
    place[missing] = np.arange(missing.size)
    place = place.reshape(shape)
    squares = [(rough.T @ rough).toarray() for rough in (roughness([axis]) for axis in axes)]

    @cache
    def along(k: int, first: int, stop: int) -> tuple[Floats, Singles]:
        values, vectors = np.linalg.eigh(squares[k][first:stop, first:stop])
        return values, vectors.astype(np.float32)

    large, small = [], []
    for box in _boxes(place >= 0):
        inside = tuple(slice(*ends) for ends in box)
        if place[inside].size <= _SMALL:
            small.append(place[inside].ravel())
            continue
        values, vectors = zip(*(along(k, *ends) for k, ends in enumerate(box)), strict=True)
        inverses = 1.0 / reduce(np.add.outer, values)[..., None]
        large.append((inside, inverses.astype(np.float32), vectors))
    within_small = _inverse_of_blocks(normal, small)

    def inverse(wanted: Floats) -> Floats:
        here, found = (np.zeros((place.size, wanted.shape[1]), np.float32) for _ in range(2))
        size = np.maximum(np.sqrt(_products(wanted, wanted)), np.finfo(float).tiny)
        here[missing] = wanted / size
        boxed, sums = (values.reshape(*shape, -1) for values in (here, found))
        for inside, inverses, vectors in large:
            projected = _along_axes([v.T for v in vectors], boxed[inside]) * inverses
            sums[inside] += _along_axes(vectors, projected)
        return found[missing].astype(np.float64) * size + within_small @ wanted

    return inverse


def _inverse_of_blocks(normal: sparse.csr_array, blocks: Sequence[Integers]) -> sparse.csr_array:
    """Return the sum of the inverses of a matrix within blocks of few rows and columns."""
    if not blocks:
        return sparse.csr_array(normal.shape)
    inverses = [np.linalg.inv(normal[np.ix_(rows, rows)].toarray()) for rows in blocks]
    chosen = sparse.eye_array(normal.shape[0], format="csr")[np.concatenate(blocks)]
    return sparse.csr_array(chosen.T @ sparse.block_diag(inverses) @ chosen)


def _along_axes(matrices: Sequence[Singles], values: Singles) -> Singles:
    """Return values (..., M) multiplied by a matrix along every axis but the last."""
    shape = values.shape
    for k, matrix in enumerate(matrices):
        values = matrix @ values.reshape(math.prod(shape[:k]), shape[k], -1)
    return values.reshape(shape)


def _boxes(holes: Bools) -> set[_Box]:
    """Return boxes of holes that cover all of them, and overlap.

    A hole in no box yet is extended along one axis after the other, as far as there are only holes;
    once with each axis as the first.
    """
    left, found = holes.copy(), set()
    for hole in zip(*np.nonzero(holes), strict=True):
        if left[hole]:
            for box in _boxes_around(holes, hole):
                left[tuple(slice(*ends) for ends in box)] = False
                found.add(box)
    return found


def _boxes_around(holes: Bools, hole: tuple[int, ...]) -> Iterator[_Box]:
    for first in range(holes.ndim):
        box = [(int(i), int(i) + 1) for i in hole]
        for k in np.roll(range(holes.ndim), -first):
            others = tuple(slice(*(ends if i != k else (None,))) for i, ends in enumerate(box))
            clear = holes[others].all(axis=tuple(i for i in range(holes.ndim) if i != k))
            (edges,) = np.nonzero(~clear)
            at = np.searchsorted(edges, hole[k])
            ends = np.concatenate([[-1], edges, [clear.size]])
            box[k] = int(ends[at]) + 1, int(ends[at + 1])
        yield tuple(box)
