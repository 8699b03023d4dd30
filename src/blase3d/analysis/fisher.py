"""Fisher information about the labels in a spectrum, and its division among the lines.

Let J (Q, K) be the derivatives of the observed flux with respect to the free labels, each row
divided by the error of its pixel. The covariance of the labels is at best C = (JᵀJ)⁻¹. Along the
direction v_k = C_·k / C_kk label k grows by one, and the other free labels adjust to compensate;
J v_k is the effect of label k that they cannot compensate, and

    I_k = |J v_k|² = 1 / C_kk

is the information about k. The contribution (J v_k)_q² of pixel q is divided among the lines in
proportion to how much each changes the flux there:

    share_lk = (1 / I_k) Σ_q (J v_k)_q²  (B |D_lk|)_q / (B Σ_m |D_mk|)_q

Here D_lk (P,) is the change of the flux at the model's pixels by line l along v_k, from the slopes
of its four parameters and the closed form of its profile, and B is the observation: Doppler shift,
broadening, sampling. The sum over m runs over all lines and the residual of the model, which counts
as one contributor. Shares are not negative and add up to one. Two blended lines whose changes
nearly cancel therefore share the small net effect, instead of having large shares of opposite sign.

Velocities, resolution and continuum are taken as known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from ..errors import InputError, LabelError
from ..lines.lines import Lines
from ..model.evaluate import ForwardModel, evaluate, smooth_line_params
from ..model.instrument import Broadening, apply_instrument
from ..model.line_derivatives import derivatives_along, project
from ..model.model import Model
from ..parameters import FITTED, LIMB_DARKENING, parameter
from ..runtime.arrays import DEFAULT_FLOATING_POINT, Floats
from ..runtime.precision import in_float32
from ..spectra.broaden import pixel_widths, pixels_of

_FAINT = 1e-9
"""Relative change of the flux below which a pixel counts as unchanged."""


@dataclass(frozen=True, eq=False)
class LineInformation:
    """The lines of a model at given labels, and their shares of the information about the labels.

    Attributes
    ----------
    lines : Lines
        The C lines at these labels.
    depth : (C,)
        Depth of each line alone at its centre, in units of the continuum.
    label_names : tuple of str
        The L labels of the model, in the order of `slopes`.
    slopes : (C, 4, L)
        Derivatives of `lines.params` by the labels: Å or ln Å per unit of the label.
    names : tuple of str
        The K free labels, in the order of the following arrays.
    share : (C, K)
        Share of each line in the information about each free label.
    residual_share : (K,)
        Share of the residual of the model. With `share` it adds up to one; for a label without
        effect both are zero.
    sigma : (K,)
        Standard deviation of each free label: the inverse root of the information.
    """

    lines: Lines
    depth: Floats
    label_names: tuple[str, ...]
    slopes: Floats
    names: tuple[str, ...]
    share: Floats
    residual_share: Floats
    sigma: Floats

    def top(self, name: str, count: int = 10) -> NDArray[np.int64]:
        """Indices of the lines with the largest shares in a free label, largest first."""
        column = self.share[:, self.names.index(name)]
        return np.argsort(-column, kind="stable")[:count]


@in_float32
@DEFAULT_FLOATING_POINT
def line_information(
    model: Model,
    labels: Mapping[str, float],
    *,
    free: Sequence[str] | None = None,
    rv: float = 0.0,
    vsini: float | None = None,
    resolution: ArrayLike | Callable[[Floats], ArrayLike] | None = None,
    wavelength: ArrayLike | None = None,
    error: ArrayLike = 0.01,
    vmac: float | None = None,
    limb_darkening: float = LIMB_DARKENING,
    integrate: bool = False,
) -> LineInformation:
    """Divide the information about the labels among the lines.

    Parameters
    ----------
    model : Model
        The model.
    labels : dict of float
        Every label of the model.
    free : sequence of str, optional
        Labels that are fitted together; all that vary in the model if None (all, if none does). The
        others are taken as known.
    rv, vsini, resolution, vmac, limb_darkening, integrate
        As for `Model.flux`.
    wavelength : (Q,), optional
        Observed pixels, Å in vacuum; the pixels of the model if None.
    error : float or (Q,)
        Standard deviation of the flux in units of the continuum; infinite for masked pixels.

    Returns
    -------
    LineInformation

    Raises
    ------
    LabelError
        Labels are missing, unknown or outside the library, or none of them is free.
    InputError
        Errors are not positive, or all are infinite.
    """
    vector = model.label_vector(**labels)
    names = _free_labels(model, free)
    columns = [model.label_names.index(name) for name in names]
    values = {
        **labels,
        "rv": rv,
        "vsini": vsini,
        "vmac": vmac,
        "resolution": resolution,
        "limb_darkening": limb_darkening,
    }
    observation = _observation(model, wavelength, values, integrate)
    weight = _weights(error, observation.pixel.size)
    span = np.array([np.ptp(axis) or 1.0 for axis in model.axes.values()])
    params, slopes, change = _slopes(model.forward, vector, jnp.asarray(span, jnp.float32))
    observed = np.asarray(_observed(model.forward, observation, change), np.float64)
    directions, variance = _directions(observed[columns] * weight)
    along = np.zeros((span.size, span.size))  # all labels: shapes do not depend on `free`
    along[np.ix_(columns, columns)] = directions
    information = _divided(model.forward, vector, along, slopes, change, weight, observation)
    of_lines, of_residual = (one[columns] for one in information)
    total = of_lines.sum(axis=1) + of_residual
    known = np.isfinite(variance) & (total > 0)
    scale = np.where(known, 1.0 / np.where(known, total, 1.0), 0.0)
    lines = Lines(model.reference, np.asarray(params), model.recipe.profile)
    return LineInformation(
        lines=lines,
        depth=lines.central_depth(model.recipe.composition),
        label_names=model.label_names,
        slopes=np.moveaxis(np.asarray(slopes, np.float64), 0, -1) / span,
        names=names,
        share=(of_lines * scale[:, None]).T,
        residual_share=of_residual * scale,
        sigma=np.sqrt(variance) * span[columns],
    )


def _free_labels(model: Model, free: Sequence[str] | None) -> tuple[str, ...]:
    varying = [name for name, axis in model.axes.items() if len(axis) > 1] or [*model.axes]
    names = tuple(varying if free is None else free)
    if unknown := [name for name in names if name not in model.axes]:
        raise LabelError(
            f"got {', '.join(unknown)}, expected labels among {', '.join(model.axes)}; "
            "correct the names."
        )
    if not names:
        raise LabelError("no label is free, expected one or more; free at least one.")
    return names


def _weights(error: ArrayLike, count: int) -> Floats:
    """Inverse errors (Q,)."""
    given = np.broadcast_to(np.asarray(error, np.float64), (count,))
    if not (given > 0).all():
        raise InputError(
            "got errors that are not positive, expected positive ones; mask pixels by an "
            "infinite error."
        )
    if not np.isfinite(given).any():
        raise InputError("every pixel has an infinite error, expected a finite one; give it.")
    return 1.0 / given


def _directions(jacobian: Floats) -> tuple[Floats, Floats]:
    """The directions v_k as rows (K, K) and the variances C_kk (K,), from Jᵀ (K, Q).

    A label without effect has an infinite variance, and the direction of the label itself.
    """
    size = np.linalg.norm(jacobian, axis=1)
    count, effective = len(size), size > 0
    directions, variance = np.eye(count), np.full(count, np.inf)
    unit = jacobian[effective] / size[effective, None]
    scale = np.outer(1.0 / size[effective], 1.0 / size[effective])
    covariance = np.linalg.pinv(unit @ unit.T, hermitian=True) * scale
    variance[effective] = np.diag(covariance)
    directions[np.ix_(effective, effective)] = covariance / np.diag(covariance)[:, None]
    return directions, variance


@partial(
    jax.tree_util.register_dataclass, data_fields=("pixel", "broadening"), meta_fields=("native",)
)
@dataclass(frozen=True)
class _Observation:
    """Pixels and broadening; `native`: the pixels of the model, neither shifted nor broadened."""

    pixel: Array
    broadening: Broadening
    native: bool

    def __call__(self, forward: ForwardModel, absorbed: Array) -> Array:
        """A change `absorbed` (P,) of the flux as it is observed, (Q,): B."""
        if self.native:
            return absorbed
        return 1.0 - apply_instrument(forward, 1.0 - absorbed, self.pixel, self.broadening)


def _observation(
    model: Model, wavelength: ArrayLike | None, values: Mapping[str, Any], integrate: bool
) -> _Observation:
    """The observation, without the effects that do nothing."""
    at = model.wavelength if wavelength is None else wavelength
    given = {name: value for name, value in values.items() if not _does_nothing(name, value)}
    pixels = None
    if integrate:
        widths = pixel_widths(np.asarray(at, np.float64))
        widths = np.clip(widths, 0.0, 2.0 * np.median(widths))  # at gaps, and where orders overlap
        pixels = pixels_of(widths, model.forward.velocity_step)
    broadening = model.broadening(given, at, pixels)
    native = wavelength is None and broadening.neutral and "rv" not in given
    return _Observation(model.log_pixels(at), jax.tree.map(jnp.float32, broadening), native)


def _does_nothing(name: str, value: Any) -> bool:
    """Whether a parameter of the observation has no effect at this value."""
    if value is None or np.ndim(value):
        return value is None
    return name in FITTED and value == parameter(name).neutral


@jax.jit
def _observed(forward: ForwardModel, observation: _Observation, changes: Array) -> Array:
    """Changes (K, P) of the flux as they are observed, (K, Q)."""
    return jax.vmap(partial(observation, forward))(changes)


@jax.jit
def _observed_transpose(forward: ForwardModel, observation: _Observation, values: Array) -> Array:
    """The transpose of `_observed`: from (K, Q) at observed pixels to (K, P)."""
    blank = jnp.zeros((len(values), forward.layout.n_pixels))
    _, back = jax.vjp(jax.vmap(partial(observation, forward)), blank)
    return back(values)[0]


@jax.jit
def _slopes(forward: ForwardModel, labels: Array, span: Array) -> tuple[Array, Array, Array]:
    """Lines (C, 4), and the slopes of lines (L, C, 4) and flux (L, P), per `span` of each label."""

    def at(labels: Array) -> tuple[Array, Array]:
        return smooth_line_params(forward, labels), evaluate(forward, labels)

    (params, _), push = jax.linearize(at, labels)
    slopes, change = jax.vmap(push)(jnp.diag(span))
    return params, slopes, change


def _divided(
    forward: ForwardModel,
    labels: Array,
    along: Floats,
    slopes: Array,
    change: Array,
    weight: Floats,
    observation: _Observation,
) -> tuple[Floats, Floats]:
    """Information of the lines (L, C) and of the residual (L,) along directions (L, L).

    `slopes` (L, C, 4) are those of the lines, and `change` (L, P) those of the flux.
    """
    matrix = jnp.asarray(along, jnp.float32)
    lines, everything, of_residual, gain = derivatives_along(
        forward, labels, matrix, slopes, change
    )
    total = np.asarray(_observed(forward, observation, everything), np.float64)
    net = np.asarray(_observed(forward, observation, matrix @ change), np.float64)
    changes = total > _FAINT * total.max(axis=1, keepdims=True)
    relative = (net * weight / weight.max()) ** 2 / np.where(changes, total, 1.0)
    quotient = jnp.asarray(np.where(changes, relative, 0.0), jnp.float32)
    density = jnp.maximum(_observed_transpose(forward, observation, quotient), 0.0)
    of_lines = project(lines, density * jnp.abs(gain))
    residual = np.sum(np.asarray(of_residual * density, np.float64), axis=1)
    return np.asarray(of_lines, np.float64), residual
