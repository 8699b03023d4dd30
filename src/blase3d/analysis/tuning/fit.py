"""The most probable changes of single lines, given an observed spectrum and a prior.

Line l of a model is changed by

    (δ ln a, δ shift, δ ln width)_l = s_l ∘ (t u_l + F_l V),      u, V ~ N(0, 1)

with s the typical errors of a line (`Scales`), t a factor, and F_l = (1, d_l) with d_l the depth of
the line. V is common to all lines, e.g. a different microturbulence: it is determined by many lines
and also holds for masked ones. The most probable u and V minimise

    |r(u, V)|² + |u|² + |V|²

with r the residual in units of its error, after solving for the continuum (`inference.likelihood`),
by a few Gauss–Newton steps. Each is solved by conjugate gradients on products of the Jacobian and
its transpose with vectors; the Jacobian is never formed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.sparse.linalg import cg

from ...errors import InputError
from ...inference.likelihood.data import Data, ForwardForm
from ...inference.likelihood.likelihood import Likelihood, whitened_residual
from ...model.evaluate import ForwardModel
from ...model.model import Model
from ...runtime.arrays import Floats
from ...runtime.units import SPEED_OF_LIGHT

QUANTITIES = ("strength", "shift", "width")
"""Quantities of a line that can change: ln area, wavelength (Å), and both ln widths equally."""
_STEPS, _MORE = 3, 2
"""Gauss–Newton steps from no change, and from changes close to the solution."""
_PRODUCTS, _TOLERANCE = 40, 1e-3
"""Most iterations of the conjugate gradients, and the relative residual at which they end."""


@dataclass(frozen=True)
class Scales:
    """Typical errors of the lines of a library, as standard deviations.

    Attributes
    ----------
    strength : float
        Error of ln a: oscillator strengths are often wrong by 0.1 to 0.2 dex.
    shift : float
        Error of the wavelength, km/s: laboratory wavelengths and convection.
    width : float
        Error of ln width: damping and turbulence.
    """

    strength: float = 0.4
    shift: float = 0.3
    width: float = 0.1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0.0 <= value < np.inf:
                raise InputError(
                    f"got {value:g} for the typical error of {name}, expected zero or more; "
                    "correct it."
                )


@partial(jax.tree_util.register_dataclass, data_fields=("scale", "common"), meta_fields=())
@dataclass(frozen=True)
class AllowedChanges:
    """The allowed changes of lines.

    `scale` (C, 3) has s of each line, in ln a, Å and ln width, and `common` (C, 2) has F.
    """

    scale: Array
    common: Array

    def changes(self, unknown: tuple[Array, Array], times: Array) -> Array:
        """Changes (C, 3) for unknowns u (C, 3) and V (2, 3)."""
        single, shared = unknown
        return self.scale * (times * single + self.common @ shared)


def check_quantities(names: tuple[str, ...]) -> None:
    """Raise InputError unless all names are among `QUANTITIES`."""
    if unknown := set(names) - set(QUANTITIES):
        raise InputError(
            f"got {', '.join(sorted(unknown))} to adjust, expected some of "
            f"{', '.join(QUANTITIES)}; correct the names."
        )


def allowed_changes(
    model: Model, labels: dict[str, float], scales: Scales, adjust: tuple[str, ...]
) -> AllowedChanges:
    """The allowed changes of the lines of a model at labels."""
    lines = model.lines(**labels)
    depth = lines.central_depth(model.recipe.composition)
    size = np.array([getattr(scales, name) if name in adjust else 0.0 for name in QUANTITIES])
    per_line = np.tile(size, (len(lines), 1))
    per_line[:, 1] *= lines.reference / SPEED_OF_LIGHT
    common = np.stack([np.ones_like(depth), depth], axis=1)
    return AllowedChanges(jnp.asarray(per_line, jnp.float32), jnp.asarray(common, jnp.float32))


def with_changes(model: Model, changes: Floats) -> Model:
    """The model with its lines changed by (C, 3), equally at all labels."""
    lines = model.line_grid
    base = lines.base + np.asarray(_base_change(jnp.asarray(changes, jnp.float32)))
    return model.with_lines(replace(lines, base=base))


def _base_change(changes: Array) -> Array:
    """Changes (C, 4) of the parameters of lines, from those of `QUANTITIES`, (C, 3)."""
    strength, shift, width = changes.T
    return jnp.stack([shift, strength, width, width], axis=1)


def _changed(forward: ForwardModel, changes: Array) -> ForwardModel:
    return replace(forward, base=forward.base + _base_change(changes))


@dataclass(frozen=True, eq=False)
class FittedChanges:
    """The most probable `changes` (C, 3), and the unknowns u (C, 3) and V (2, 3) behind them."""

    changes: Floats
    unknown: tuple[Array, Array]


def most_probable(
    likelihood: Likelihood,
    theta: Floats,
    allowed: AllowedChanges,
    times: float,
    start: FittedChanges | None = None,
) -> FittedChanges:
    """Fit the changes of lines at θ (K,), with the weights of the likelihood.

    The fit starts from no change, or from an earlier solution.
    """
    nothing = jnp.zeros_like(allowed.scale), jnp.zeros((allowed.common.shape[1], 3))
    forward, data, at, fixed = likelihood.arguments(theta)
    unknown = _descend(
        forward,
        data,
        at,
        fixed,
        allowed,
        jnp.float32(times),
        nothing if start is None else start.unknown,
        _STEPS if start is None else _MORE,
        likelihood.form,
    )
    changes = allowed.changes(unknown, jnp.float32(times))
    return FittedChanges(np.asarray(changes, np.float64), unknown)


@partial(jax.jit, static_argnames="form")
def _descend(
    forward: ForwardModel,
    data: Data,
    theta: Array,
    fixed: dict[str, Array],
    allowed: AllowedChanges,
    times: Array,
    start: tuple[Array, Array],
    steps: int,
    form: ForwardForm,
) -> tuple[Array, Array]:
    """The unknowns after a number of Gauss–Newton steps."""
    Unknown = tuple[Array, Array]

    def residual(unknown: Unknown) -> Array:
        lines = _changed(forward, allowed.changes(unknown, times))
        return whitened_residual(lines, data, theta, fixed, form)

    def cost(unknown: Unknown) -> Array:
        return jnp.sum(residual(unknown) ** 2) + sum(jnp.sum(one**2) for one in unknown)

    def step(_: Array, unknown: Unknown) -> Unknown:
        value, push = jax.linearize(residual, unknown)
        pull = jax.linear_transpose(push, unknown)

        def normal(direction: Unknown) -> Unknown:
            (curved,) = pull(push(direction))
            return jax.tree.map(jnp.add, curved, direction)

        (slope,) = pull(value)
        descent = jax.tree.map(lambda g, u: -(g + u), slope, unknown)
        change, _ = cg(normal, descent, tol=_TOLERANCE, maxiter=_PRODUCTS)
        # A full step, or a shorter one if that lowers the cost more.
        lengths = jnp.array([1.0, 0.5, 0.25, 0.0])
        costs = jax.lax.map(lambda length: cost(_moved(unknown, change, length)), lengths)
        return _moved(unknown, change, lengths[jnp.argmin(costs)])

    return jax.lax.fori_loop(0, steps, step, start)


def _moved(start: tuple[Array, Array], change: tuple[Array, Array], length: Array) -> Any:
    return jax.tree.map(lambda u, c: u + length * c, start, change)
