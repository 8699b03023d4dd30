"""The flux of a model as one instrument observes it, tabulated over the labels.

A survey observes all stars on the same pixels with the same line spread. The flux that reaches it
is then smooth over velocity and over the labels, and is tabulated once:

    labels ─► amplitudes of R components ─► transform of the line depth ─► pixels

The model is convolved with an instrument that is slightly sharper than the real one, and kept as
its Fourier transform over ln λ up to the frequency beyond which that instrument passes nothing
(`tabulate.py`). R principal components of these spectra describe all of them. Their amplitudes are
interpolated by cubic B-splines in the `coordinates` of the labels. Rotation, velocity and the rest
of the line spread are products with the transform, so they are as exact as in
`spectra/broaden.py`. From the transform to the pixels, it is interpolated with a Kaiser–Bessel
window on a quarter more steps (Fessler & Sutton 2003, IEEE Trans. Signal Process. 51, 560).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.special import i0

from ...lines.render import round_up
from ...parameters import FITTED
from ...runtime.arrays import Floats
from ...runtime.units import FWHM_PER_SIGMA, SPEED_OF_LIGHT
from ...spectra.broaden import gaussian, transfer_of
from ..likelihood.data import ForwardForm
from ..likelihood.forward import parameters_at

_TAPS = 8
"""Steps from which a pixel is interpolated."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=(
        "lower",
        "step",
        "amplitudes",
        "components",
        "modes",
        "frequency",
        "left",
        "taps",
        "sigma",
        "limb_darkening",
    ),
    meta_fields=("counts", "logarithmic", "length"),
)
@dataclass(frozen=True)
class Tabulated:
    """Flux of a model on the Q pixels of an instrument, padded.

    Attributes
    ----------
    lower, step : (L,)
        First point and step of the lattice, in `coordinates` of the labels.
    amplitudes : (box, R)
        Coefficients of B-splines, two more than points along each label that varies.
    components : (R, 2 F)
        Transforms of line depths, real parts and then imaginary parts.
    modes : (E, 2 F)
        Transforms of the error modes of the model.
    frequency : (F,)
        s/km.
    left : (Q,) int32
        First step from which each pixel is interpolated ...
    taps : (T, Q)
        ... and the weights of this and the following ones.
    sigma : float
        Standard deviation of the tabulated line spread, km/s.
    limb_darkening : float
        Coefficient of the rotation kernel.
    counts : tuple of int
        Coefficients along each label.
    logarithmic : tuple of bool
        Labels whose logarithm is the coordinate.
    length : int
        Steps in ln λ from which pixels are interpolated.
    """

    lower: Array
    step: Array
    amplitudes: Array
    components: Array
    modes: Array
    frequency: Array
    left: Array
    taps: Array
    sigma: Array
    limb_darkening: Array
    counts: tuple[int, ...]
    logarithmic: tuple[bool, ...]
    length: int

    @property
    def velocity_step(self) -> float:
        """Step in ln λ from which pixels are interpolated, km/s."""
        return 1.0 / (float(self.frequency[1]) * self.length)

    def at(self, velocity: Floats) -> Tabulated:
        """The table on pixels at other distances (P,) from the first pixel of the model, km/s."""
        left, taps = taps_at(velocity, self.velocity_step, self.length)
        return replace(self, left=left, taps=taps)


# --- evaluation --------------------------------------------------------------------------------


_compiled = partial(jax.jit, static_argnames="form")


def fluxes_with_slopes(
    table: Tabulated, theta: Array, fixed: dict[str, Array], form: ForwardForm
) -> tuple[Array, Array]:
    """Return the normalised fluxes (N, Q) at θ (N, K), and their derivatives (N, K, Q)."""
    # three programs: in one, XLA computes the factors again for each row
    depth = _many_transforms(table, theta, fixed, form)
    return _observed(table, depth, *_many_transfers(table, theta, fixed, form), form)


def tabulated_flux(
    table: Tabulated, theta: Array, fixed: dict[str, Array], form: ForwardForm
) -> Array:
    """Return the normalised flux (Q,) at θ (K,)."""
    value = parameters_at(theta, fixed, form)
    depth = _transforms(table, _labels(value, form))[:1] * _transfer(table, value, form)
    return 1.0 - _on_pixels(table, depth)[0]


@_compiled
def modes_at(table: Tabulated, theta: Array, fixed: dict[str, Array], form: ForwardForm) -> Array:
    """Return the error modes of the model as observed at θ (N, K), (N, E, Q)."""
    passed, _ = _many_transfers(table, theta, fixed, form)
    return jax.lax.map(lambda one: _on_pixels(table, _complex(table.modes) * one), passed)


@_compiled
def _many_transforms(
    table: Tabulated, theta: Array, fixed: dict[str, Array], form: ForwardForm
) -> Array:
    """Transforms of line depths at θ (N, K), and their derivatives by labels, (N, 1 + L, F)."""

    def one(theta: Array) -> Array:
        return _transforms(table, _labels(parameters_at(theta, fixed, form), form))

    return jax.vmap(one)(theta)


@_compiled
def _many_transfers(
    table: Tabulated, theta: Array, fixed: dict[str, Array], form: ForwardForm
) -> tuple[Array, Array]:
    """Factors (N, F) of the transforms at θ (N, K) by all that is observed, and their derivatives
    (N, B, F) by what of it is free."""

    def one(theta: Array) -> tuple[Array, Array]:
        value = parameters_at(theta, fixed, form)
        passed = _transfer(table, value, form)
        slopes = [_slope(table, value, name, form) for name in _effects(form)]
        return passed, jnp.stack(slopes) if slopes else passed[None][:0]

    return jax.vmap(one)(theta)


@_compiled
def _observed(
    table: Tabulated, depth: Array, passed: Array, slopes: Array, form: ForwardForm
) -> tuple[Array, Array]:
    """Fluxes (N, Q) and their derivatives (N, K, Q), from transforms and factors."""
    free = jnp.asarray([k for k, name in enumerate(form.labels) if name in form.names], jnp.int32)
    through = passed[:, None]
    parts = depth[:, :1] * through, depth[:, 1:][:, free] * through, depth[:, :1] * slopes
    rows = jnp.concatenate(parts, axis=1)
    pixels = jax.vmap(partial(_on_pixels, table))(rows)
    return 1.0 - pixels[:, 0], -pixels[:, 1:]


def _labels(value: dict[str, Array], form: ForwardForm) -> Array:
    return jnp.stack([value[name] for name in form.labels])


def _effects(form: ForwardForm) -> list[str]:
    """Free parameters of the observation."""
    return [name for name in FITTED if name in form.names]


def _slope(table: Tabulated, value: dict[str, Array], name: str, form: ForwardForm) -> Array:
    """Derivative (F,) of `_transfer` by one parameter."""

    def transfer(x: Array) -> Array:
        return _transfer(table, {**value, name: x}, form)

    return jax.jvp(transfer, (value[name],), (jnp.ones(()),))[1]


def _transfer(table: Tabulated, value: dict[str, Array], form: ForwardForm) -> Array:
    """Factor (F,) of the transform of the line depth by all that is observed."""
    effects = {name: x for name, x in value.items() if name not in form.neutral}
    sigma = SPEED_OF_LIGHT / FWHM_PER_SIGMA / value["resolution"]
    rest = jnp.sqrt(jnp.maximum(sigma**2 - table.sigma**2, 0.0))
    found = gaussian(table.frequency, rest) * transfer_of(
        table.frequency,
        effects.get("vsini", jnp.zeros(())),
        effects.get("vmac"),
        table.limb_darkening,
    )
    if "dilution" in effects:
        found = found * (1.0 - effects["dilution"])
    shift = jnp.log1p(value["rv"] / SPEED_OF_LIGHT) * SPEED_OF_LIGHT
    phase = 2.0 * jnp.pi * table.frequency * shift
    return jax.lax.complex(found * jnp.cos(phase), -found * jnp.sin(phase))


def _transforms(table: Tabulated, labels: Array) -> Array:
    """Transform of the line depth at labels (L,), and its derivatives by them, (1 + L, F)."""
    rows, weights = [], []
    for k, (count, log) in enumerate(zip(table.counts, table.logarithmic, strict=True)):
        x = jnp.log(labels[k]) if log else labels[k]
        slope = 1.0 / labels[k] if log else jnp.ones(())
        position = (x - table.lower[k]) / table.step[k]
        first, value, change = _cubic(position, count)
        rows.append(first + jnp.arange(value.size))
        weights.append((value, change * slope / table.step[k]))
    index = jnp.zeros((), jnp.int32)
    for along, count in zip(rows, table.counts, strict=True):
        index = jnp.add.outer(index * count, along)
    products = []
    for changed in range(-1, len(weights)):
        one = jnp.ones(())
        for k, pair in enumerate(weights):
            one = jnp.multiply.outer(one, pair[int(k == changed)])
        products.append(one.ravel())
    amplitudes = jnp.stack(products) @ table.amplitudes[index.ravel()]
    return _complex(amplitudes @ table.components)


def _cubic(position: Array, count: int) -> tuple[Array, Array, Array]:
    """First coefficient of a cubic B-spline at a position in steps, the weights of the four from
    there on, and their derivatives."""
    if count == 1:  # a label that does not vary
        return jnp.zeros((), jnp.int32), jnp.ones(1), jnp.zeros(1)
    first = jnp.clip(jnp.floor(position), 0.0, count - 4.0)
    t = position - first
    s = 1.0 - t
    value = [s**3, 3.0 * t**3 - 6.0 * t**2 + 4.0, 3.0 * s**3 - 6.0 * s**2 + 4.0, t**3]
    slope = [-(s**2), 3.0 * t**2 - 4.0 * t, 4.0 * s - 3.0 * s**2, t**2]
    return first.astype(jnp.int32), jnp.stack(value) / 6.0, jnp.stack(slope) / 2.0


def _complex(rows: Array) -> Array:
    real, imaginary = jnp.split(rows, 2, axis=-1)
    return jax.lax.complex(real, imaginary)


def _on_pixels(table: Tabulated, rows: Array) -> Array:
    """Values (N, Q) of the pixels from transforms (N, F)."""
    steps = jnp.fft.irfft(rows, table.length)
    ring = jnp.concatenate([steps, steps[:, :_TAPS]], axis=1)

    def add(total: Array, tap: tuple[Array, Array]) -> tuple[Array, None]:
        shift, weight = tap
        return total + weight * ring[:, table.left % table.length + shift], None

    # a loop, which XLA does not copy into each use of the result
    empty = jnp.zeros((rows.shape[0], table.left.size))
    return jax.lax.scan(add, empty, (jnp.arange(_TAPS), table.taps))[0]


# --- pixels ---


def taps_at(velocity: Floats, step: float, length: int) -> tuple[Array, Array]:
    """Return the first step (Q,) and the weights (T, Q) from which pixels at velocities (P,) are
    interpolated; zero for padding."""
    position = velocity / step
    left = np.floor(position).astype(np.int64) - _TAPS // 2 + 1
    distance = position - left - np.arange(_TAPS)[:, None]
    padding = (0, round_up(velocity.size) - velocity.size)
    taps = np.pad(_window(distance), ((0, 0), padding))
    return jnp.asarray(np.pad(left, padding), jnp.int32), jnp.asarray(taps, jnp.float32)


OVERSAMPLING = 1.25
"""Steps from which pixels are interpolated over those that the highest frequency needs. Its
transform is so small that errors are those of float32, as with twice the steps."""
_BETA = math.pi * math.sqrt((_TAPS * (1.0 - 0.5 / OVERSAMPLING)) ** 2 - 0.8)
"""Shape of the Kaiser–Bessel window (Beatty et al. 2005, IEEE Trans. Med. Imaging 24, 799)."""


def _window(distance: Floats) -> Floats:
    """Kaiser–Bessel window at a distance in steps."""
    inside = np.maximum(1.0 - (2.0 * distance / _TAPS) ** 2, 0.0)
    return np.where(np.abs(distance) < _TAPS / 2, i0(_BETA * np.sqrt(inside)), 0.0)


def window_transform(frequency: NDArray[np.floating]) -> Floats:
    """Return the Fourier transform of the window at frequencies (F,) in cycles a step."""
    root = np.sqrt(_BETA**2 - (np.pi * _TAPS * frequency) ** 2)
    return np.asarray(_TAPS * np.sinh(root) / root)
