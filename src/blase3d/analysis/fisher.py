"""Which lines carry which label: the information in a spectrum, divided among its lines.

A label k that is sought together with the other free labels shows in a spectrum by what it does
to the flux and the others do not. With J (Q, K) the derivatives of the flux at the pixels q of the
observation by the free labels, each row divided by the error of its pixel, the covariance of the
labels is C = (JᵀJ)⁻¹ at best. Along the direction v_k = C_·k / C_kk label k grows by one and the
others go along so that they undo of it what they can; J v_k is the part of ∂F/∂k that is left, and

    I_k = |J v_k|² = 1 / C_kk

the information about k. A pixel q contributes (J v_k)_q² to it, and that is divided among what
changes the flux there, in proportion to how much each changes it:

    share_lk = (1 / I_k) Σ_q (J v_k)_q²  (B |D_lk|)_q / (B Σ_m |D_mk|)_q

with D_lk (P,) the change of the flux at the model's own pixels that line l makes along v_k, from
the slopes of its four parameters and the closed form of its profile, and B the way from there to
the pixels of the observation (Doppler shift, rotation, instrument, sampling). The sum over m runs
over all lines and the model's residual, which counts as one contributor. Shares are not negative
and add up to one: two blended lines that change by opposite amounts share the little that is seen
of it, instead of being given large shares of opposite sign.

Velocity, rotation, resolution and continuum are taken as known.
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
from ..lines.lines import PARAMETERS, Lines
from ..model.evaluate import Emulator, emulate, smooth_params
from ..model.instrument import Broadening, apply_instrument
from ..model.line_derivatives import against, changes_along
from ..model.model import Model
from ..parameters import FITTED, LIMB_DARKENING, parameter
from ..runtime.arrays import Floats
from ..spectra.broaden import pixel_widths, pixels_of

_FAINT = 1e-9
"""A pixel where all changes together are below this part of the largest counts as unchanged."""


@dataclass(frozen=True, eq=False)
class LineInformation:
    """What the lines of a model are at given labels, and which label each of them carries.

    Attributes
    ----------
    lines : Lines
        The C lines at these labels.
    depth : (C,)
        What each absorbs at its centre if it stands alone, in units of the continuum.
    label_names : tuple of str
        The L labels of the model, in the order of `slopes`.
    slopes : (C, 4, L)
        Derivatives of `lines.params` by the labels: Å or ln Å per unit of the label.
    names : tuple of str
        The K free labels, in the order of what follows.
    share : (C, K)
        Part of the information about each free label that is in each line.
    residual_share : (K,)
        Part that is in the model's residual: `share` and it add up to one. Both are zero for a
        label that changes nothing.
    sigma : (K,)
        Standard deviation of each free label that the whole information amounts to.
    """

    lines: Lines
    depth: NDArray[np.float64]
    label_names: tuple[str, ...]
    slopes: NDArray[np.float64]
    names: tuple[str, ...]
    share: NDArray[np.float64]
    residual_share: NDArray[np.float64]
    sigma: NDArray[np.float64]

    def top(self, name: str, count: int = 10) -> NDArray[np.int64]:
        """The lines with the largest shares of a free label, largest first."""
        column = self.share[:, self.names.index(name)]
        return np.argsort(-column, kind="stable")[:count]


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
    """The lines at given labels, and how the information about the labels is divided among them.

    Parameters
    ----------
    model : Model
        The library.
    labels : dict of float
        Every label of the model.
    free : sequence of str, optional
        Labels that are sought together; all that vary in the model if None. With one name, the
        others are taken as known.
    rv, vsini, resolution, vmac, limb_darkening, integrate
        As of `Model.flux`.
    wavelength : (Q,), optional
        Pixels of the observation, Å in vacuum; the model's own if None.
    error : float or (Q,)
        Standard deviation of the flux in units of the continuum; infinite for pixels to ignore.

    Returns
    -------
    LineInformation

    Raises
    ------
    LabelError
        Labels are missing, unknown or outside the library, or none of them is free.
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
    params, slopes, change = _slopes(model.emulator, vector, jnp.asarray(span, jnp.float32))
    seen = np.asarray(_look(model.emulator, observation, change), np.float64)
    directions, variance = _directions(seen[columns] * weight)
    along = np.zeros((span.size, span.size))  # all labels, so that shapes do not depend on `free`
    along[np.ix_(columns, columns)] = directions
    parts = _parts(model.emulator, vector, along, slopes, change, weight, observation)
    of_lines, of_residual = (part[columns] for part in parts)
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


@dataclass(frozen=True)
class LineRow:
    """One line at given labels, for tables.

    Attributes
    ----------
    center, reference : float
        Centre, and the wavelength that names the line, Å in vacuum.
    depth : float
        What it absorbs at its centre if it stands alone, in units of the continuum.
    area, sigma, gamma : float
        Area, Gaussian standard deviation and Lorentzian half width, Å.
    slopes : dict of dict of float
        For each label, how the parameters of the line (`lines.PARAMETERS`) change by it.
    share : dict of float
        Part of the information about each label that is in this line.
    constrains : str
        The label of the largest share; empty if there is none.
    """

    center: float
    reference: float
    depth: float
    area: float
    sigma: float
    gamma: float
    slopes: dict[str, dict[str, float]]
    share: dict[str, float]
    constrains: str

    @property
    def d_ln_area(self) -> dict[str, float]:
        """How ln area changes by each label, in units of the label."""
        return {name: slopes["ln_area"] for name, slopes in self.slopes.items()}


def line_table(
    model: Model, labels: Mapping[str, float], *, near: float | None = None, count: int = 15
) -> list[LineRow]:
    """The `count` deepest lines at given labels, or those nearest to `near` (Å, vacuum), in order
    of wavelength.

    Raises
    ------
    InputError
        `count` or `near` is not positive.
    LabelError
        Labels are missing, unknown or outside the library.
    """
    if count < 1:
        raise InputError(f"got a count of {count} lines, expected one or more; correct it.")
    if near is not None and not 0.0 < near < np.inf:
        raise InputError(f"got lines near {near:g} Å, expected a positive wavelength; correct it.")
    found = line_information(model, labels)
    order = -found.depth if near is None else np.abs(found.lines.center - near)
    return [_row(found, int(i)) for i in sorted(np.argsort(order, kind="stable")[:count])]


def _row(found: LineInformation, i: int) -> LineRow:
    lines = found.lines
    slopes = {
        name: dict(zip(PARAMETERS, map(float, column), strict=True))
        for name, column in zip(found.label_names, found.slopes[i].T, strict=True)
    }
    share = dict(zip(found.names, map(float, found.share[i]), strict=True))
    most = max(share, key=lambda name: share[name])
    return LineRow(
        center=float(lines.center[i]),
        reference=float(lines.reference[i]),
        depth=float(found.depth[i]),
        area=float(np.exp(lines.ln_area[i])),
        sigma=float(lines.sigma[i]),
        gamma=float(lines.gamma[i]),
        slopes=slopes,
        share=share,
        constrains=most if share[most] > 0 else "",
    )


def _free_labels(model: Model, free: Sequence[str] | None) -> tuple[str, ...]:
    varying = [name for name, axis in model.axes.items() if len(axis) > 1]
    names = tuple(varying if free is None else free)
    if unknown := [name for name in names if name not in model.axes]:
        raise LabelError(
            f"got {', '.join(unknown)}, expected labels among {', '.join(model.axes)}; "
            "correct the names."
        )
    if not names:
        raise LabelError("no label is free, so there is nothing to be informed of; free one.")
    return names


def _weights(error: ArrayLike, count: int) -> NDArray[np.float64]:
    """Inverse errors (Q,)."""
    given = np.broadcast_to(np.asarray(error, np.float64), (count,))
    if not (given > 0).all():
        raise InputError("the errors have values that are not positive; mask them as infinite.")
    return 1.0 / given


def _directions(
    seen: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The directions v_k as rows (K, K) and the variances C_kk (K,), from Jᵀ (K, Q).

    A label that changes nothing has an infinite variance and the direction of itself.
    """
    size = np.linalg.norm(seen, axis=1)
    works = size > 0
    directions, variance = np.eye(len(seen)), np.full(len(seen), np.inf)
    unit = seen[works] / size[works, None]
    scale = np.outer(1.0 / size[works], 1.0 / size[works])
    covariance = np.linalg.pinv(unit @ unit.T, hermitian=True) * scale
    variance[works] = np.diag(covariance)
    directions[np.ix_(works, works)] = covariance / np.diag(covariance)[:, None]
    return directions, variance


@partial(
    jax.tree_util.register_dataclass, data_fields=("pixel", "broadening"), meta_fields=("native",)
)
@dataclass(frozen=True)
class _Observation:
    """Pixels and broadening; `native`: the model's own pixels, neither shifted nor broadened."""

    pixel: Array
    broadening: Broadening
    native: bool

    def __call__(self, emulator: Emulator, absorbed: Array) -> Array:
        """A change `absorbed` (P,) of the flux as it is observed, (Q,): B."""
        if self.native:
            return absorbed
        return 1.0 - apply_instrument(emulator, 1.0 - absorbed, self.pixel, self.broadening)


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
        pixels = pixels_of(widths, model.emulator.velocity_step)
    broadening = model.broadening(given, at, pixels)
    native = wavelength is None and broadening.neutral and "rv" not in given
    return _Observation(model.places(at), jax.tree.map(jnp.float32, broadening), native)


def _does_nothing(name: str, value: Any) -> bool:
    if value is None or np.ndim(value):
        return value is None
    return name in FITTED and value == parameter(name).neutral


@jax.jit
def _look(emulator: Emulator, observation: _Observation, changes: Array) -> Array:
    """What the observation shows of changes (K, P) of the flux, (K, Q)."""
    return jax.vmap(partial(observation, emulator))(changes)


@jax.jit
def _look_back(emulator: Emulator, observation: _Observation, values: Array) -> Array:
    """The transpose of `_look`: from values (K, Q) at pixels of the observation to (K, P)."""
    blank = jnp.zeros((len(values), emulator.layout.n_pixels))
    _, back = jax.vjp(jax.vmap(partial(observation, emulator)), blank)
    return back(values)[0]


@jax.jit
def _slopes(emulator: Emulator, labels: Array, span: Array) -> tuple[Array, Array, Array]:
    """Lines (C, 4), their slopes (L, C, 4) and those of the flux (L, P), by labels in units of
    `span`."""

    def at(labels: Array) -> tuple[Array, Array]:
        return smooth_params(emulator, labels), emulate(emulator, labels)

    (params, _), push = jax.linearize(at, labels)
    slopes, change = jax.vmap(push)(jnp.diag(span))
    return params, slopes, change


def _parts(
    emulator: Emulator,
    labels: Array,
    along: NDArray[np.float64],
    slopes: Array,
    change: Array,
    weight: NDArray[np.float64],
    observation: _Observation,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Information of the lines (L, C) and of the residual (L,) along directions (L, L), from the
    slopes of lines (L, C, 4) and flux (L, P)."""
    matrix = jnp.asarray(along, jnp.float32)
    lines, everything, of_residual, gain = changes_along(emulator, labels, matrix, slopes, change)
    seen = np.asarray(_look(emulator, observation, everything), np.float64)
    shown = np.asarray(_look(emulator, observation, matrix @ change), np.float64)
    works = seen > _FAINT * seen.max(axis=1, keepdims=True)
    relative = (shown * weight / weight.max()) ** 2 / np.where(works, seen, 1.0)
    quotient = jnp.asarray(np.where(works, relative, 0.0), jnp.float32)
    density = jnp.maximum(_look_back(emulator, observation, quotient), 0.0)
    of_lines = against(lines, density * jnp.abs(gain))
    rest = np.sum(np.asarray(of_residual * density, np.float64), axis=1)
    return np.asarray(of_lines, np.float64), rest
