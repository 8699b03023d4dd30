"""Block-tridiagonal symmetric matrices: lines interact only with their neighbours.

Unknowns are in groups, and those of a group interact with those of the next one at most. The
Cholesky factor has the same form, and so has what is needed of the inverse (Takahashi et al. 1973):
both take a time that is linear in the number of groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...runtime.arrays import Floats, Integers


@dataclass(frozen=True, eq=False)
class BlockMatrix:
    """A block-tridiagonal symmetric matrix (n, n).

    Attributes
    ----------
    diagonal : tuple of (n_j, n_j)
        Blocks on the diagonal.
    upper : tuple of (n_j, n_{j+1})
        Blocks to their right.
    """

    diagonal: tuple[Floats, ...]
    upper: tuple[Floats, ...]

    @classmethod
    def zeros(cls, sizes: Integers) -> BlockMatrix:
        """The matrix of zeros with groups of these sizes."""
        pairs = pairwise(sizes)
        return cls(
            tuple(np.zeros((n, n)) for n in sizes), tuple(np.zeros((n, m)) for n, m in pairs)
        )

    @property
    def ends(self) -> Integers:
        """First index of every group, and n."""
        return np.cumsum([0, *(len(block) for block in self.diagonal)])

    def plus(self, other: BlockMatrix, factor: float) -> BlockMatrix:
        """The matrix plus a multiple of another."""
        pairs = [
            zip(self.diagonal, other.diagonal, strict=True),
            zip(self.upper, other.upper, strict=True),
        ]
        return BlockMatrix(*(tuple(a + factor * b for a, b in pair) for pair in pairs))

    def scaled(self, columns: tuple[Integers, ...], factors: tuple[Floats, ...]) -> BlockMatrix:
        """The matrix of some rows and columns of each group, times factors of each."""
        chosen = list(zip(columns, factors, strict=True))
        diagonal = tuple(
            block[np.ix_(c, c)] * np.outer(f, f)
            for block, (c, f) in zip(self.diagonal, chosen, strict=True)
        )
        upper = tuple(
            block[np.ix_(c, d)] * np.outer(f, g)
            for block, ((c, f), (d, g)) in zip(self.upper, pairwise(chosen), strict=True)
        )
        return BlockMatrix(diagonal, upper)

    def with_ridge(self, ridge: Floats) -> BlockMatrix:
        """The matrix with `ridge` (n,) added to its diagonal."""
        parts = self.split(ridge)
        diagonal = zip(self.diagonal, parts, strict=True)
        return BlockMatrix(tuple(block + np.diag(part) for block, part in diagonal), self.upper)

    def split(self, rows: Floats) -> list[Floats]:
        """Rows (n, ...) of each group."""
        return np.split(rows, self.ends[1:-1])

    def factor(self) -> BlockFactor:
        """The Cholesky factor of a positive definite matrix."""
        inverses, couplings = [], []
        previous: Floats | None = None
        for j, block in enumerate(self.diagonal):
            left = block if previous is None else block - previous.T @ previous
            inverse = np.linalg.inv(np.linalg.cholesky(left))
            inverses.append(inverse)
            if j < len(self.upper):
                previous = inverse @ self.upper[j]
                couplings.append(previous)
        return BlockFactor(self.ends, tuple(inverses), tuple(couplings))


@dataclass(frozen=True, eq=False)
class BlockFactor:
    """Cholesky factor of a block-tridiagonal matrix.

    `inverses` has the inverses of the lower triangles on the diagonal, `couplings` the blocks of
    the factor's transpose to the right of them, and `ends` the first index of every group.
    """

    ends: Integers
    inverses: tuple[Floats, ...]
    couplings: tuple[Floats, ...]

    def solve(self, rows: Floats) -> Floats:
        """Inverse of the matrix times rows (n, ...)."""
        parts = np.split(rows, self.ends[1:-1])
        for j, inverse in enumerate(self.inverses):
            before = self.couplings[j - 1].T @ parts[j - 1] if j else 0.0
            parts[j] = inverse @ (parts[j] - before)
        for j in range(len(parts) - 1, -1, -1):
            after = self.couplings[j] @ parts[j + 1] if j + 1 < len(parts) else 0.0
            parts[j] = self.inverses[j].T @ (parts[j] - after)
        return np.concatenate(parts)

    def inverse_diagonal(self) -> Floats:
        """Diagonal (n,) of the inverse of the matrix."""
        found: list[Floats] = []
        known: Floats | None = None
        for j in range(len(self.inverses) - 1, -1, -1):
            inverse = self.inverses[j]
            block = inverse.T @ inverse
            if known is not None:
                moved = inverse.T @ self.couplings[j]
                block = block + moved @ known @ moved.T
            known = block
            found.append(np.diag(block))
        return np.concatenate(found[::-1])

    @property
    def ln_determinant(self) -> float:
        """ln of the determinant of the matrix."""
        return float(-2.0 * sum(np.log(np.diag(one)).sum() for one in self.inverses))
