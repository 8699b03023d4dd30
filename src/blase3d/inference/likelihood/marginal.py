"""The linear unknowns of the likelihood: continuum and modes of the emulator's error.

The equations are in `likelihood`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from .data import Data
from .line_errors import without_line_errors


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("columns", "factor", "modes", "shrunk"),
    meta_fields=(),
)
@dataclass(frozen=True)
class Linear:
    """The linear unknowns at some θ: weighted `columns` (O, D, Q) of the continuum with the
    Cholesky `factor` (O, D, D) of their products, and the `modes` (E, O·Q) with that of
    1 + ZᵀZ, `shrunk` (E, E)."""

    columns: Array
    factor: Array
    modes: Array
    shrunk: Array

    def coefficients(self, rows: Array) -> Array:
        """Coefficients (O, D, N) of the continuum that fit rows (N, O·Q) best."""
        orders, _, length = self.columns.shape
        split = rows.reshape(-1, orders, length)
        products = jnp.einsum("odq,noq->odn", self.columns, split, precision="highest")
        return jax.vmap(_solve)(self.factor, products)

    def projected(self, rows: Array) -> Array:
        """P rows (N, O·Q), twice, so that float32 leaves nothing of the continuum."""
        if self.columns.shape[1] == 0:
            return rows
        for _ in range(2):
            fitted = jnp.einsum("odq,odn->noq", self.columns, self.coefficients(rows))
            rows = rows - fitted.reshape(rows.shape)
        return rows

    def whitened(self, rows: Array) -> Array:
        """Rows (N, O·Q) without continuum and modes, lengthened by the amplitudes of these."""
        rows = self.projected(rows)
        if len(self.modes) == 0:
            return rows
        amplitude = _solve(self.shrunk, jnp.matmul(self.modes, rows.T, precision="highest")).T
        rest = rows - self.projected(amplitude @ self.modes)
        return jnp.concatenate([rest, -amplitude], axis=1)


def _solve(factor: Array, values: Array) -> Array:
    return jax.scipy.linalg.cho_solve((factor, True), values)


def linear_at(data: Data, flux: Array) -> tuple[Linear, Array]:
    """The linear unknowns of a predicted flux (O·Q,), and the best continuum (O·Q,)."""
    orders, terms, length = data.basis.shape
    columns = data.basis * (flux * data.weight).reshape(orders, 1, length)
    columns = _by_term(data, columns)
    gram = jnp.einsum("odq,oeq->ode", columns, columns, precision="highest")
    size = jnp.trace(gram, axis1=1, axis2=2)[:, None, None] / max(terms, 1)
    factor = jnp.linalg.cholesky(gram + (1e-7 * size + 1e-30) * jnp.eye(terms))
    known = Linear(columns, factor, data.modes, data.gram)
    continuum = jnp.ones_like(flux)
    if terms:
        best = known.coefficients(whitened_pixels(data, data.flux[None]))
        continuum = jnp.einsum("odq,odn->noq", data.basis, best).ravel()
    return replace(known, shrunk=_shrunk(data, known)), continuum


def whitened_pixels(data: Data, rows: Array) -> Array:
    """Rows (N, O·Q) in units of the errors of the pixels, and of what lines may be wrong by."""
    return without_line_errors(data.cells, rows * data.weight)


def _by_term(data: Data, columns: Array) -> Array:
    """Weighted columns (O, D, Q) without what lines may be wrong by."""
    orders, terms, length = columns.shape
    rows = jnp.moveaxis(columns, 1, 0).reshape(terms, orders * length)
    rows = without_line_errors(data.cells, rows)
    return jnp.moveaxis(rows.reshape(terms, orders, length), 0, 1)


def _shrunk(data: Data, linear: Linear) -> Array:
    """Cholesky factor of 1 + ZᵀZ, (E, E), with Z what P leaves of the modes."""
    orders, _, length = linear.columns.shape
    modes = data.modes.reshape(-1, orders, length)
    products = jnp.einsum("odq,eoq->ode", linear.columns, modes, precision="highest")
    explained = jnp.einsum("ode,odf->ef", products, jax.vmap(_solve)(linear.factor, products))
    # in float32 huge products swallow the unit prior: keep the matrix positive definite
    ridge = 1.0 + 2e-6 * jnp.trace(data.gram)
    return jnp.linalg.cholesky(data.gram - explained + ridge * jnp.eye(len(modes)))
