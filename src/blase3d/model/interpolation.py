"""Interpolation in the box of labels that the nodes of a grid span.

Interpolation is linear in the values at the nodes: the kinds differ only in the weight that each
node has at given labels. Whatever is known at the nodes (line parameters, residuals) is
interpolated by one product, `weights @ table`.

The weights of a tensor product are products of one-dimensional ones, which are piecewise
polynomials along an axis of n values:

- `linear`: broken lines.
- `cubic`: the not-a-knot cubic spline; the one polynomial through axes of two or three values.
- `spline`: the natural quintic spline, of all functions through the values the one with the least
  ∫ f‴² (Schoenberg 1964); also the limit of a Gaussian process with a Matérn kernel of order 5/2
  whose length is far above the spacing. It was chosen by held-out error and by leaving nodes out
  (`benchmarks/accuracy.py`). Through up to four values goes one polynomial, with a next derivative
  that is estimated from the other labels (`CrossDerivative`). Where the library passes from one
  relation to another, this change is separated from the spline (`_axis_with_transition`).
- `ridge`: not through the nodes: the regression on Chebyshev polynomials with a penalty on their
  coefficients from the second order on. For noisy nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.polynomial import Chebyshev
from numpy.typing import NDArray
from scipy.interpolate import BSpline, PPoly, make_interp_spline

Kind = Literal["linear", "cubic", "spline", "ridge"]
Transition = tuple[float, float]
"""Values of a label between which a library passes from one relation to another, along 3x² − 2x³:
in a library with microturbulence of dwarfs above log g 3.5 and of giants below 2.5, (2.5, 3.5)."""
_DEGREE = {"linear": 1, "cubic": 3, "spline": 5}
_NATURAL = 5
SHORT = 4
"""Largest number of values through which goes one polynomial."""
_RIDGE, _RIDGE_DEGREE = 1e-3, 6
"""Penalty of the regression, relative to the squared values, and its highest degree."""


@partial(jax.tree_util.register_dataclass, data_fields=("knots", "pieces"), meta_fields=())
@dataclass(frozen=True)
class Axis:
    """Weights along one label: `knots` (K + 1,), in units of the span from the first value, and
    `pieces` (degree + 1, K, n), the polynomials of each weight, highest power first."""

    knots: Array
    pieces: Array

    def weights(self, x: Array) -> Array:
        """Weights (n,) at x, by Horner's rule; beyond the ends, those of the outer polynomial."""
        last = self.knots.shape[0] - 2
        piece = jnp.clip(jnp.sum(x >= self.knots) - 1, 0, last)
        distance = x - self.knots[piece]
        weights = jnp.zeros(self.pieces.shape[2])
        for coefficients in self.pieces[:, piece]:
            weights = weights * distance + coefficients
        return weights


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("nodes", "difference", "slopes", "coefficients"),
    meta_fields=("axis",),
)
@dataclass(frozen=True)
class CrossDerivative:
    """The n-th derivative along an axis of n values, which these leave open.

    At each node of the other axes it is estimated from how the derivative below changes along the
    other labels y,

        ∂ⁿf/∂xⁿ = Σₗ cₗ ∂/∂yₗ ∂ⁿ⁻¹f/∂xⁿ⁻¹,

    and the polynomial through the values gets the term ∂ⁿf/∂xⁿ Π(x − xᵢ)/n!, which is zero at all
    of them. Why this holds, with the same c at all wavelengths: see `short_axes`.

    Attributes
    ----------
    nodes : (n,)
        The values, from 0 to 1.
    difference : (n,)
        Weights of the values in the derivative of order n − 1.
    slopes : tuple of (m, m)
        For every other axis, of m values: weights of its values in the derivative at each.
    coefficients : (..., L − 1)
        c at the nodes of the other axes.
    axis : int
        Number of the axis.
    """

    nodes: Array
    difference: Array
    slopes: tuple[Array, ...]
    coefficients: Array
    axis: int

    def weights(self, axis_weights: Sequence[Array], x: Array) -> Array:
        """Weights of the box, (nodes,), that the term adds at `x` along its axis.

        `axis_weights` are those of each axis.
        """
        others = _product([one for k, one in enumerate(axis_weights) if k != self.axis])
        spread = jnp.zeros_like(others)
        for k, slopes in enumerate(self.slopes):
            change = jnp.tensordot(others * self.coefficients[..., k], slopes, axes=(k, 0))
            spread += jnp.moveaxis(change, -1, k)
        term = 1.0 / math.factorial(self.nodes.size)
        for node in self.nodes:
            term = term * (x - node)
        box = jnp.multiply.outer(spread, term * self.difference)
        return jnp.moveaxis(box, -1, self.axis).ravel()


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("lower", "span", "axes", "cross_derivatives"),
    meta_fields=("logarithmic",),
)
@dataclass(frozen=True)
class Interpolation:
    """Interpolation in a box of labels, some by their logarithm. Coordinates are scaled to run
    from 0 to 1 over the box."""

    lower: Array
    span: Array
    axes: tuple[Axis, ...]
    cross_derivatives: tuple[CrossDerivative, ...]
    logarithmic: tuple[bool, ...]

    def weights(self, labels: Array) -> Array:
        """Weight of every node of the box at labels (L,), last label fastest, (nodes,)."""
        point = [jnp.log(x) if log else x for x, log in zip(labels, self.logarithmic, strict=True)]
        return self.unit_weights((jnp.stack(point) - self.lower) / self.span)

    def unit_weights(self, unit: Array) -> Array:
        """Weight of every node at labels scaled to 0–1."""
        along = [axis.weights(x) for axis, x in zip(self.axes, unit, strict=True)]
        weights = _product(along).ravel()
        for term in self.cross_derivatives:
            weights += term.weights(along, unit[term.axis])
        return weights


def _product(axis_weights: Sequence[Array]) -> Array:
    """Outer product of weights along axes."""
    box = jnp.ones(())
    for weights in axis_weights:
        box = jnp.multiply.outer(box, weights)
    return box


LOGARITHMIC = frozenset({"teff"})
"""Labels whose logarithm is the coordinate in which models are smooth."""


def coordinates(axes: Mapping[str, NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Return the axes of a grid in the coordinates in which models are smooth."""
    return [np.log(axis) if name in LOGARITHMIC else axis for name, axis in axes.items()]


def box_number(
    axes: Mapping[str, NDArray[np.float64]], index: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the numbers in the box (N,), last label fastest, of nodes of these indices on the
    axes, (N, L)."""
    return np.ravel_multi_index(tuple(index.T), tuple(len(axis) for axis in axes.values()))


def make_interpolation(
    axes: Mapping[str, NDArray[np.float64]],
    kind: Kind,
    cross_derivatives: Mapping[str, NDArray[np.floating]] | None = None,
    lowered: str | None = None,
    transitions: Mapping[str, Transition] | None = None,
) -> Interpolation:
    """Return the interpolation in a box.

    Parameters
    ----------
    axes : dict
        Increasing values of each label.
    kind : str
        A linear one is linear in the labels, the others in their `coordinates`.
    cross_derivatives : dict, optional
        Coefficients of `CrossDerivative`, for labels of few values.
    lowered : str, optional
        A label along which a spline is the next best: without its cross derivatives, or, where it
        has none, of the `lowered_degree`.
    transitions : dict, optional
        Of some labels, where splines go through more than four values.
    """
    known = cross_derivatives or {}
    values = list(axes.values()) if kind == "linear" else coordinates(axes)
    logs = tuple(kind != "linear" and name in LOGARITHMIC for name in axes)
    lower = np.array([axis[0] for axis in values])
    span = np.array([_span(axis) for axis in values])
    units = [_unit(axis) for axis in values]
    pieces = [
        _make_axis(unit, kind, name == lowered and name not in known, between)
        for name, unit, between in zip(
            axes, units, _unit_transitions(axes, transitions or {}), strict=True
        )
    ]
    terms = [
        _cross_derivative(units, k, known[name])
        for k, name in enumerate(axes)
        if name in known and name != lowered
    ]
    return Interpolation(
        jax.device_put(lower), jax.device_put(span), tuple(pieces), tuple(terms), logs
    )


def _cross_derivative(
    units: Sequence[NDArray[np.float64]], k: int, coefficients: NDArray[np.floating]
) -> CrossDerivative:
    slopes = [jax.device_put(slopes_between(unit)) for i, unit in enumerate(units) if i != k]
    nodes, difference = jax.device_put(units[k]), jax.device_put(highest_difference(units[k]))
    return CrossDerivative(nodes, difference, tuple(slopes), jax.device_put(coefficients), k)


def unit_axes(axes: Mapping[str, NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Return the coordinates of the axes, scaled to run from 0 to 1."""
    return [_unit(axis) for axis in coordinates(axes)]


def _unit(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    return (axis - axis[0]) / _span(axis)


def _span(axis: NDArray[np.float64]) -> float:
    return float(np.ptp(axis)) or 1.0


def highest_difference(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights (n,) of values at x (n,) in the derivative of order n − 1 of their
    polynomial."""
    return math.factorial(x.size - 1) * np.linalg.inv(np.vander(x))[0]


def slopes_between(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights (n, n) of values at x (n,) in the derivatives at each of them."""
    if x.size == 1:
        return np.zeros((1, 1))
    return np.asarray(spline_through(x, np.eye(x.size), best_degree(x.size)).derivative()(x))


def _unit_transitions(
    axes: Mapping[str, NDArray[np.float64]], transitions: Mapping[str, Transition]
) -> list[Transition | None]:
    """The transition of each label, in the coordinate that runs from 0 to 1."""
    found: list[Transition | None] = []
    for (name, axis), values in zip(axes.items(), coordinates(axes), strict=True):
        ends = np.array(transitions.get(name, (np.nan, np.nan)))
        ends = np.log(ends) if name in LOGARITHMIC else ends
        low, high = (ends - values[0]) / _span(values)
        inside = axis.size > SHORT and high > 0.0 and low < 1.0
        found.append((float(low), float(high)) if inside else None)
    return found


def _make_axis(
    unit: NDArray[np.float64], kind: Kind, lowered: bool, transition: Transition | None
) -> Axis:
    if unit.size == 1:  # a label that does not vary
        return Axis(jnp.asarray([0.0, 1.0]), jnp.ones((1, 1, 1)))
    if kind == "ridge":
        return _ridge_axis(unit)
    degree = lowered_degree(unit.size) if lowered else best_degree(unit.size, kind)
    if transition and kind == "spline":
        return _axis_with_transition(unit, degree, transition)
    pieces = [PPoly.from_spline(spline_through(unit, one, degree)) for one in np.eye(unit.size)]
    x = pieces[0].x  # with the end knots repeated: their intervals are empty
    inner = np.flatnonzero(np.diff(x) > 0)
    polynomials = np.stack([piece.c[:, inner] for piece in pieces], axis=2)
    return Axis(jax.device_put(np.append(x[inner], x[-1])), jax.device_put(polynomials))


def _axis_with_transition(unit: NDArray[np.float64], degree: int, transition: Transition) -> Axis:
    """The weights of a spline and a multiple of the transition, which together go through the
    values.

    The multiple is the one that leaves the least ∫ f‴² to the spline. A spline alone overshoots
    beside the transition: with log g 3 to 5 and a transition from 2.5 to 3.5, by 4e-4 of the
    flux of hot stars at log g 3.75.
    """
    ends = [x for x in transition if 0.0 < x < 1.0]
    knots = np.unique(np.concatenate([unit, ends]))
    weights = spline_through(unit, np.eye(unit.size), degree)
    at_nodes = _transition_at(unit, transition)
    bent = _bending(unit) @ at_nodes
    multiple = bent / (at_nodes @ bent)

    def values(x: NDArray[np.float64]) -> NDArray[np.float64]:
        beyond_spline = _transition_at(x, transition) - weights(x) @ at_nodes
        return np.asarray(weights(x) + np.outer(beyond_spline, multiple))

    return Axis(jax.device_put(knots), jax.device_put(_polynomials(values, knots, max(degree, 3))))


def _transition_at(x: NDArray[np.float64], transition: Transition) -> NDArray[np.float64]:
    low, high = transition
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return np.asarray(t**2 * (3.0 - 2.0 * t))


def _bending(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix (n, n) of ∫ f‴² of the natural quintic spline through values at x (n,)."""
    third = spline_through(x, np.eye(x.size), _NATURAL).derivative(3)
    points, shares = np.polynomial.legendre.leggauss(3)  # exact for the square of a parabola
    half = np.diff(x) / 2.0
    at = (x[:-1] + half)[:, None] + half[:, None] * points
    values = third(at.ravel()) * np.sqrt(np.outer(half, shares).ravel())[:, None]
    return np.asarray(values.T @ values)


def _polynomials(
    values: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    knots: NDArray[np.float64],
    degree: int,
) -> NDArray[np.float64]:
    """Return the polynomials (degree + 1, K, n), highest power first, that functions are between
    knots."""
    inside = np.linspace(0.0, 1.0, degree + 1)
    pieces = []
    for low, high in pairwise(knots):
        found = np.linalg.solve(np.vander(inside), values(low + (high - low) * inside))
        pieces.append(found / (high - low) ** np.arange(degree, -1, -1)[:, None])
    return np.stack(pieces, axis=1)


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
    return Axis(jax.device_put(unit), jax.device_put(np.stack(pieces)))


def best_degree(count: int, kind: Kind = "spline") -> int:
    """Return the degree of the spline through this number of values."""
    if kind == "spline" and count > SHORT:
        return _NATURAL
    return min(_DEGREE[kind], count - 1)


def lowered_degree(count: int) -> int:
    """Return the next lower degree for this number of values (`interpolation_error`)."""
    return 3 if count > SHORT else count - 2


def spline_through(x: NDArray[np.float64], values: NDArray[np.float64], degree: int) -> BSpline:
    """Return the spline through values (n, ...) at x (n,): natural for degree 5, not-a-knot for
    lower ones."""
    if degree < _NATURAL:
        return make_interp_spline(x, values, k=degree)
    flat = np.zeros(values.shape[1:])
    ends = [(3, flat), (4, flat)]
    return make_interp_spline(x, values, k=degree, bc_type=(ends, ends))
