"""Manifolds: functions of the labels that go through the nodes of a grid, or near them.

Interpolation in a box is linear in the values at the nodes: what differs between kinds is only
the weight that each node has at given labels. So a manifold is its weights, and whatever is known
at the nodes (line parameters, residuals) is interpolated by one product, `weights @ table`.

The weights of a tensor product are products of one-dimensional ones, which are piecewise
polynomials along an axis of n values:

- `linear`: broken lines.
- `cubic`: the not-a-knot cubic spline; the one polynomial through axes of two or three values.
- `spline`: the natural quintic spline, of all functions through the values the one with the least
  ∫ f‴² (Schoenberg 1964); also the limit of a Gaussian process with a Matérn kernel of order 5/2
  whose length is far above the spacing. It was chosen by held-out error and by leaving nodes out
  (`benchmarks/accuracy.py`). Through up to four values goes one polynomial, with a next derivative
  that is borrowed from the other labels (`Borrowed`).
- `ridge`: not through the nodes: the regression on Chebyshev polynomials with a penalty on their
  coefficients from the second order on. For noisy nodes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.polynomial import Chebyshev
from numpy.typing import NDArray
from scipy.interpolate import BSpline, PPoly, make_interp_spline

Kind = Literal["linear", "cubic", "spline", "ridge"]
_DEGREE = {"linear": 1, "cubic": 3, "spline": 5}
_NATURAL = 5
SHORT = 4
"""Through so many values, at the most, goes one polynomial."""
_RIDGE, _RIDGE_DEGREE = 1e-3, 6
"""Penalty of the regression, relative to the squared values, and its degree at the most."""
_LEAST_MODE = 0.02
"""The rougher modes are scaled down to this at the least."""


@partial(jax.tree_util.register_dataclass, data_fields=("knots", "pieces"), meta_fields=())
@dataclass(frozen=True)
class Axis:
    """Weights along one label: `knots` (K + 1,), in units of the span from the first value, and
    `pieces` (degree + 1, K, n), the polynomials of each weight, highest power first."""

    knots: Array
    pieces: Array


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("nodes", "difference", "slopes", "rates"),
    meta_fields=("axis",),
)
@dataclass(frozen=True)
class Borrowed:
    """The n-th derivative along an axis of n values, which these leave open.

    It is put together, at each node of the other axes, from what the values do tell: how the
    derivative below changes along the other labels y,

        ∂ⁿf/∂xⁿ = Σₗ rₗ ∂/∂yₗ ∂ⁿ⁻¹f/∂xⁿ⁻¹,

    and the polynomial through the values gets the term ∂ⁿf/∂xⁿ Π(x − xᵢ)/n!, which is zero at all
    of them. That this holds, with rates r that are the same at all wavelengths, is so because line
    strengths follow few quantities, which all labels change: see `borrowing`.

    Attributes
    ----------
    nodes : (n,)
        The values, from 0 to 1.
    difference : (n,)
        Weights of the values in the derivative of order n − 1.
    slopes : tuple of (m, m)
        Of every other axis, of m values: weights of its values in the derivative at each.
    rates : (..., L − 1)
        At the nodes of the other axes.
    axis : int
        Number of the axis.
    """

    nodes: Array
    difference: Array
    slopes: tuple[Array, ...]
    rates: Array
    axis: int

    def weights(self, parts: Sequence[Array], x: Array) -> Array:
        """What the term adds to the weights of the box at `x` along the axis, where the axes have
        the weights `parts`."""
        place = _product([part for k, part in enumerate(parts) if k != self.axis])
        spread = jnp.zeros_like(place)
        for k, slopes in enumerate(self.slopes):
            change = jnp.tensordot(place * self.rates[..., k], slopes, axes=(k, 0))
            spread += jnp.moveaxis(change, -1, k)
        term = 1.0 / math.factorial(self.nodes.size)
        for node in self.nodes:
            term = term * (x - node)
        box = jnp.multiply.outer(spread, term * self.difference)
        return jnp.moveaxis(box, -1, self.axis).ravel()


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("lower", "span", "axes", "borrowed"),
    meta_fields=("logarithmic",),
)
@dataclass(frozen=True)
class Manifold:
    """Interpolation in a box of labels, some by their logarithm. Coordinates are scaled to run
    from 0 to 1 over the box."""

    lower: Array
    span: Array
    axes: tuple[Axis, ...]
    borrowed: tuple[Borrowed, ...]
    logarithmic: tuple[bool, ...]

    def weights(self, labels: Array) -> Array:
        """Weight of every node of the box at labels (L,), last label fastest, (nodes,)."""
        place = [jnp.log(x) if log else x for x, log in zip(labels, self.logarithmic, strict=True)]
        return self.unit_weights((jnp.stack(place) - self.lower) / self.span)

    def unit_weights(self, unit: Array) -> Array:
        """The same at labels scaled to 0–1."""
        parts = [_axis_weights(axis, x) for axis, x in zip(self.axes, unit, strict=True)]
        weights = _product(parts).ravel()
        for term in self.borrowed:
            weights += term.weights(parts, unit[term.axis])
        return weights


def _product(parts: Sequence[Array]) -> Array:
    """The outer product of weights along axes."""
    box = jnp.ones(())
    for part in parts:
        box = jnp.multiply.outer(box, part)
    return box


LOGARITHMIC = frozenset({"teff"})
"""Labels whose logarithm is the coordinate in which models are smooth."""


def coordinates(axes: Mapping[str, NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """The axes of a grid in the coordinates in which models are smooth."""
    return [np.log(axis) if name in LOGARITHMIC else axis for name, axis in axes.items()]


def box_place(
    axes: Mapping[str, NDArray[np.float64]], index: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Number in the box (N,), last label fastest, of nodes whose place on the axes is `index`
    (N, L)."""
    return np.ravel_multi_index(tuple(index.T), tuple(len(axis) for axis in axes.values()))


def make_manifold(
    axes: Mapping[str, NDArray[np.float64]],
    kind: Kind,
    rates: Mapping[str, NDArray[np.floating]] | None = None,
    lowered: str | None = None,
) -> Manifold:
    """The manifold of the box spanned by `axes`: increasing values of each label.

    A linear one is linear in the labels, the others are functions of their `coordinates`. `rates`
    are those of labels that borrow (`Borrowed`). Along the label `lowered` a spline is the next
    best: nothing is borrowed, or, where nothing was, it has a `lowered_degree`.
    """
    rates = rates or {}
    values = list(axes.values()) if kind == "linear" else coordinates(axes)
    logs = tuple(kind != "linear" and name in LOGARITHMIC for name in axes)
    lower = np.array([axis[0] for axis in values])
    span = np.array([_span(axis) for axis in values])
    units = [_unit(axis) for axis in values]
    parts = [
        _make_axis(unit, kind, name == lowered and name not in rates)
        for name, unit in zip(axes, units, strict=True)
    ]
    terms = [
        _make_borrowed(units, k, rates[name])
        for k, name in enumerate(axes)
        if name in rates and name != lowered
    ]
    return Manifold(jnp.asarray(lower), jnp.asarray(span), tuple(parts), tuple(terms), logs)


def _make_borrowed(
    units: Sequence[NDArray[np.float64]], k: int, rates: NDArray[np.floating]
) -> Borrowed:
    slopes = [jnp.asarray(slopes_between(unit)) for i, unit in enumerate(units) if i != k]
    nodes, difference = jnp.asarray(units[k]), jnp.asarray(highest_difference(units[k]))
    return Borrowed(nodes, difference, tuple(slopes), jnp.asarray(rates), k)


def unit_axes(axes: Mapping[str, NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """The coordinates of the axes scaled to run from 0 to 1."""
    return [_unit(axis) for axis in coordinates(axes)]


def _unit(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    return (axis - axis[0]) / _span(axis)


def _span(axis: NDArray[np.float64]) -> float:
    return float(np.ptp(axis)) or 1.0


def highest_difference(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (n,) of values at x (n,) in the derivative of order n − 1 of the polynomial through
    them."""
    return math.factorial(x.size - 1) * np.linalg.inv(np.vander(x))[0]


def slopes_between(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of values at x (n,) in the derivatives at each of them, (n, n)."""
    if x.size == 1:
        return np.zeros((1, 1))
    return np.asarray(spline_through(x, np.eye(x.size), best_degree(x.size)).derivative()(x))


def _make_axis(unit: NDArray[np.float64], kind: Kind, lowered: bool) -> Axis:
    if unit.size == 1:  # a label that does not vary
        return Axis(jnp.asarray([0.0, 1.0]), jnp.ones((1, 1, 1)))
    if kind == "ridge":
        return _ridge_axis(unit)
    degree = lowered_degree(unit.size) if lowered else best_degree(unit.size, kind)
    pieces = [PPoly.from_spline(spline_through(unit, one, degree)) for one in np.eye(unit.size)]
    x = pieces[0].x  # with the end knots repeated: their intervals are empty
    inner = np.flatnonzero(np.diff(x) > 0)
    polynomials = np.stack([piece.c[:, inner] for piece in pieces], axis=2)
    return Axis(jnp.asarray(np.append(x[inner], x[-1])), jnp.asarray(polynomials))


def _ridge_axis(unit: NDArray[np.float64]) -> Axis:
    """The weights of a ridge regression, expanded about every node, where they are well-behaved
    in float32."""
    degree = min(_RIDGE_DEGREE, unit.size - 1)
    basis = [Chebyshev.basis(k, domain=[0.0, 1.0]) for k in range(degree + 1)]
    design = np.stack([polynomial(unit) for polynomial in basis], axis=1)
    penalty = _RIDGE * unit.size * np.diag(np.arange(degree + 1) > 1)
    solution = np.linalg.solve(design.T @ design + penalty, design.T)
    factorial = np.cumprod([1.0, *range(1, degree + 1)])
    pieces = [
        np.stack([polynomial.deriv(power)(unit[:-1]) for polynomial in basis], axis=1)
        @ solution
        / factorial[power]
        for power in range(degree, -1, -1)
    ]
    return Axis(jnp.asarray(unit), jnp.asarray(np.stack(pieces)))


def best_degree(count: int, kind: Kind = "spline") -> int:
    """Degree of the spline through so many values."""
    if kind == "spline" and count > SHORT:
        return _NATURAL
    return min(_DEGREE[kind], count - 1)


def lowered_degree(count: int) -> int:
    """The next best degree for so many values (`error_model`)."""
    return 3 if count > SHORT else count - 2


def spline_through(x: NDArray[np.float64], values: NDArray[np.float64], degree: int) -> BSpline:
    """The spline through values (n, ...) at x (n,): the natural one of degree 5, not-a-knot ones
    of lower degrees."""
    if degree < _NATURAL:
        return make_interp_spline(x, values, k=degree)
    flat = np.zeros(values.shape[1:])
    ends = [(3, flat), (4, flat)]
    return make_interp_spline(x, values, k=degree, bc_type=(ends, ends))


def _axis_weights(axis: Axis, x: Array) -> Array:
    """Horner's rule on the piece that holds x; beyond the ends the last piece goes on."""
    last = axis.knots.shape[0] - 2
    piece = jnp.clip(jnp.searchsorted(axis.knots, x, side="right") - 1, 0, last)
    distance = x - axis.knots[piece]
    weights = jnp.zeros(axis.pieces.shape[2])
    for coefficients in axis.pieces:
        weights = weights * distance + coefficients[piece]
    return weights


def fill_holes(
    axes: Sequence[NDArray[np.float64]], index: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The matrix (box, nodes) that completes values at N nodes to the whole box.

    A missing node gets what makes the squared second differences along all labels smallest, in
    units of the mean spacing; present ones keep their values exactly.

    Parameters
    ----------
    axes : sequence of arrays
        Values of each label.
    index : (N, L)
        Place of every node on the axes.
    """
    shape = tuple(len(axis) for axis in axes)
    place = np.ravel_multi_index(tuple(index.T), shape)
    box = int(np.prod(shape))
    complete = np.zeros((box, len(place)))
    complete[place, np.arange(len(place))] = 1.0
    missing = np.setdiff1d(np.arange(box), place)
    if missing.size:
        rough = _roughness(axes)
        known = rough[:, place]
        solution, *_ = np.linalg.lstsq(rough[:, missing], -known, rcond=None)
        complete[missing] = solution
    return complete


def smooth_modes(axes: Sequence[NDArray[np.float64]], count: int) -> NDArray[np.float64]:
    """The `count` smoothest functions on the nodes of a box, (box, count), smoothest first.

    They are the products of the eigenvectors, along each axis, of the roughness (squared second
    differences between neighbours, and weakly squared first ones: Demmler & Reinsch 1975), in
    order of the sum of their eigenvalues. The first is constant. Each has unit rms but for a
    factor that falls with its roughness, so that coefficients of one size are a smooth function.
    The last function along an axis of three nodes or more is left out: it alternates from node to
    node, and says nothing of what is between them.
    """
    values, vectors = zip(*(_modes_of_axis(np.asarray(axis)) for axis in axes), strict=True)
    shape = tuple(len(found) for found in values)
    rough = np.add.reduce(np.meshgrid(*values, indexing="ij")).ravel()
    chosen = np.argsort(rough, kind="stable")[:count]
    places = np.unravel_index(chosen, shape)
    modes = np.ones((1, len(chosen)))
    for basis, place in zip(vectors, places, strict=True):
        modes = (modes[:, None, :] * basis[None, :, place]).reshape(-1, len(chosen))
    first = rough[chosen[1]] if len(chosen) > 1 else 1.0
    return modes * np.maximum(1.0 / np.sqrt(1.0 + rough[chosen] / first), _LEAST_MODE)


def _modes_of_axis(axis: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Roughness (m,) of the smoothest functions on n values, and the functions (n, m)."""
    count = axis.size
    rough = _roughness([axis], slope=0.1)
    values, vectors = np.linalg.eigh(rough.T @ rough)
    values, vectors = values[: max(2, count - 1)], vectors[:, : max(2, count - 1)]
    sign = np.where(vectors[-1] < 0.0, -1.0, 1.0)  # the same on every machine
    return np.maximum(values, 0.0), vectors * sign * np.sqrt(count)


def _roughness(axes: Sequence[NDArray[np.float64]], slope: float = 1e-2) -> NDArray[np.float64]:
    """Second differences along every axis, and first ones with weight `slope`, (rows, box).

    The first ones decide, weakly, what second differences leave open.
    """
    eyes = [np.eye(len(axis)) for axis in axes]
    rows = [np.zeros((1, int(np.prod([len(axis) for axis in axes]))))]
    for k, axis in enumerate(axes):
        if len(axis) < 2:
            continue
        unit = (axis - axis[0]) / np.diff(axis).mean()
        slopes = np.diff(eyes[k], axis=0) / np.diff(unit)[:, None]
        for matrix in (np.diff(slopes, axis=0), slope * slopes):
            factors = [*eyes[:k], matrix, *eyes[k + 1 :]]
            rows.append(_kron(factors))
    return np.concatenate(rows)


def _kron(factors: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    product: NDArray[Any] = np.ones((1, 1))
    for factor in factors:
        product = np.kron(product, factor)
    return product
