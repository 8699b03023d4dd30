"""Linear unknowns of the likelihood: the continuum, and the amplitudes of the error modes.

For their equations see `likelihood.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from .data import Data

RIDGE = 1e-7
"""Added to the products of the continuum's columns, relative to their size: float32 rounding."""
MODES_RIDGE = 2e-6
"""The same for the products of the modes: huge ones swallow the unit prior in float32."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("columns", "factor", "modes", "modes_factor"),
    meta_fields=(),
)
@dataclass(frozen=True)
class Linear:
    """The linear unknowns at some θ.

    Attributes
    ----------
    columns : (O, D, Q)
        Whitened columns of the continuum of each order.
    factor : (O, D, D)
        Cholesky factor of their products.
    modes : (E, O·Q)
        Whitened error modes.
    modes_factor : (E, E)
        Cholesky factor of 1 + ZᵀZ.
    """

    columns: Array
    factor: Array
    modes: Array
    modes_factor: Array

    def coefficients(self, rows: Array) -> Array:
        """Coefficients (O, D, N) of the continuum that fit rows (N, O·Q) best."""
        orders, _, length = self.columns.shape
        split = rows.reshape(-1, orders, length)
        products = jnp.einsum("odq,noq->odn", self.columns, split, precision="highest")
        return jax.vmap(_solve)(self.factor, products)

    def projected(self, rows: Array) -> Array:
        """Rows (N, O·Q) without the continuum, P rows."""
        if self.columns.shape[1] == 0:
            return rows
        for _ in range(2):  # twice, to remove what float32 leaves of it
            fitted = jnp.einsum("odq,odn->noq", self.columns, self.coefficients(rows))
            rows = rows - fitted.reshape(rows.shape)
        return rows

    def whitened(self, rows: Array) -> Array:
        """Rows (N, O·Q + E) without continuum and modes, followed by minus the amplitudes of the
        modes."""
        rows = self.projected(rows)
        if len(self.modes) == 0:
            return rows
        products = jnp.matmul(self.modes, rows.T, precision="highest")
        amplitude = _solve(self.modes_factor, products).T
        left = rows - self.projected(amplitude @ self.modes)
        return jnp.concatenate([left, -amplitude], axis=1)


def _solve(factor: Array, values: Array) -> Array:
    return jax.scipy.linalg.cho_solve((factor, True), values)


def linear_at(data: Data, flux: Array) -> tuple[Linear, Array]:
    """Return the linear unknowns at a predicted flux (O·Q,), and the best continuum (O·Q,)."""
    terms = data.basis.shape[1]
    columns = _whitened_columns(data, flux)
    gram = jnp.einsum("odq,oeq->ode", columns, columns, precision="highest")
    size = jnp.trace(gram, axis1=1, axis2=2)[:, None, None] / max(terms, 1)
    factor = jnp.linalg.cholesky(gram + (RIDGE * size + 1e-30) * jnp.eye(terms))
    linear = Linear(columns, factor, data.errors.modes, data.errors.gram)
    continuum = jnp.ones_like(flux)
    if terms:
        best = linear.coefficients(data.errors.whitened(data.flux[None]))
        continuum = jnp.einsum("odq,odn->noq", data.basis, best).ravel()
    return replace(linear, modes_factor=_modes_factor(data, linear)), continuum


def _whitened_columns(data: Data, flux: Array) -> Array:
    """Columns (O, D, Q) of the continuum times a flux (O·Q,), whitened."""
    orders, terms, length = data.basis.shape
    rows = jnp.moveaxis(data.basis, 1, 0).reshape(terms, orders * length)
    rows = data.errors.whitened(rows * flux)
    return jnp.moveaxis(rows.reshape(terms, orders, length), 0, 1)


def _modes_factor(data: Data, linear: Linear) -> Array:
    """Cholesky factor (E, E) of 1 + ZᵀZ, with Z = P modes."""
    orders, _, length = linear.columns.shape
    modes = linear.modes.reshape(-1, orders, length)
    products = jnp.einsum("odq,eoq->ode", linear.columns, modes, precision="highest")
    explained = jnp.einsum("ode,odf->ef", products, jax.vmap(_solve)(linear.factor, products))
    ridge = 1.0 + MODES_RIDGE * jnp.trace(data.errors.gram)
    return jnp.linalg.cholesky(data.errors.gram - explained + ridge * jnp.eye(len(modes)))
