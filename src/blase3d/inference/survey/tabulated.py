"""The flux of a model as one instrument observes it, tabulated over the labels.

A survey observes all stars on the same pixels with the same line spread. The flux that reaches it
is then smooth over velocity and over the labels, and is tabulated once:

    labels ─► amplitudes of R components ─► transform of the line depth ─► pixels

The model is evaluated on a lattice of labels, 1.5 times as dense as its nodes, convolved with an
instrument that is slightly sharper than the real one, and kept as its Fourier transform over ln λ
up to the frequency beyond which that instrument passes nothing. R principal components of these
spectra describe all of them. Their amplitudes are interpolated by cubic B-splines in the
`coordinates` of the labels. Rotation, velocity and the rest of the line spread are products with
the transform, so they are as exact as in `spectra/broaden.py`. From the transform to the pixels, it
is interpolated with a Kaiser–Bessel window on twice the steps (Fessler & Sutton 2003, IEEE Trans.
Signal Process. 51, 560). `tabulate` measures the error of the flux at labels between those of the
lattice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from scipy.special import i0

from ...errors import InputError
from ...lines.render import round_up
from ...model.evaluate import ForwardModel, between_pixels, evaluate
from ...model.interpolation import coordinates
from ...model.model import Model
from ...parameters import FITTED
from ...runtime.arrays import Bools, Floats, Singles
from ...runtime.units import FWHM_PER_SIGMA, SPEED_OF_LIGHT
from ...spectra.broaden import gaussian, transfer_of
from ..likelihood.data import ForwardForm
from ..likelihood.forward import parameters_at

TOLERANCE = 1e-4
"""Rms error of the flux of any spectrum, in units of the continuum, above which a denser lattice is
computed."""
_DENSITY = 1.5
"""Points of the lattice per node, at first ..."""
_DENSER = 1.4
"""... and the factor of the next attempt."""
_ATTEMPTS = 3
"""Lattices that are tried."""
_FEWEST = 4
"""Points along a label at first, at least: cubic splines have four."""
_SHARPER = 1.15
"""Resolution that is tabulated over that of the instrument; more than the ratio of the test for
another resolution (`omitted.py`)."""
_STEP = 0.6
"""Step in ln λ over the standard deviation of the tabulated line spread: its transform is 1e-6 at
the highest frequency."""
_TAPS = 8
"""Steps from which a pixel is interpolated."""
_UNEXPLAINED = 0.3
"""Rms error of the components over `TOLERANCE`."""
_SAMPLE = 1000
"""Spectra of which the components are made, at most."""
_CHUNK = 64
"""Spectra that are computed at once."""
_TESTS = 64
"""Spectra by which the error is measured, ..."""
_FASTEST, _BROADEST = 50.0, 30.0
"""... and their largest velocities and rotations, km/s."""


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


def flux_with_slopes(
    table: Tabulated, theta: Array, fixed: dict[str, Array], form: ForwardForm
) -> tuple[Array, Array]:
    """Return the normalised flux (Q,) at θ (K,), and its derivatives (K, Q)."""
    value = parameters_at(theta, fixed, form)
    labels = jnp.stack([value[name] for name in form.labels])
    depth = _transforms(table, labels)
    effects = [name for name in FITTED if name in form.names]
    free = jnp.asarray([k for k, name in enumerate(form.labels) if name in form.names], jnp.int32)

    def transfer(observed: Array) -> Array:
        return _transfer(table, {**value, **dict(zip(effects, observed, strict=True))}, form)

    at = jnp.stack([value[name] for name in effects]) if effects else jnp.zeros(0)
    passed = transfer(at)
    slopes = jax.vmap(lambda direction: jax.jvp(transfer, (at,), (direction,))[1])(
        jnp.eye(len(effects))
    )
    rows = jnp.concatenate(
        [depth[:1] * passed, depth[1:][free] * passed, depth[:1] * slopes], axis=0
    )
    pixels = _on_pixels(table, rows)
    return 1.0 - pixels[0], -pixels[1:]


def modes_at(table: Tabulated, theta: Array, fixed: dict[str, Array], form: ForwardForm) -> Array:
    """Return the error modes of the model as observed at θ (K,), (E, Q)."""
    value = parameters_at(theta, fixed, form)
    return _on_pixels(table, _complex(table.modes) * _transfer(table, value, form))


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
    total = jnp.zeros((rows.shape[0], table.left.size))
    for k, weight in enumerate(table.taps):
        total += weight * steps[:, (table.left + k) % table.length]  # a ring
    return total


# --- table -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Steps:
    """Steps in ln λ and their transform.

    Attributes
    ----------
    fine : int
        Steps of the model, padded.
    coarse : int
        Steps of the table over the same range.
    velocity_step : float
        Of the model, km/s.
    sigma : float
        Standard deviation of the tabulated line spread, km/s.
    """

    fine: int
    coarse: int
    velocity_step: float
    sigma: float

    @property
    def frequency(self) -> Floats:
        """Frequencies (F,) of the table, s/km."""
        count = self.coarse // 2 + 1
        return np.asarray(np.fft.rfftfreq(self.fine, self.velocity_step)[:count], np.float64)


def tabulate(
    model: Model, wavelength: Floats, resolution: float, limb_darkening: float, seed: int = 0
) -> tuple[Tabulated, float]:
    """Return the table of a model for an instrument, and its largest rms error of the flux.

    Parameters
    ----------
    model : Model
        The model, cut to the wavelengths with a margin for velocities.
    wavelength : (P,)
        Å, in vacuum.
    resolution : float
        λ/Δλ.
    limb_darkening : float
        Coefficient of the rotation kernel.

    Raises
    ------
    InputError
        The error remains above `TOLERANCE`.
    """
    density = _DENSITY
    for _ in range(_ATTEMPTS):
        table = _table(model, wavelength, resolution, limb_darkening, density, seed)
        error = table_error(table, model, wavelength, resolution, seed)
        if error <= TOLERANCE:
            return table, error
        density *= _DENSER
    raise InputError(
        f"the flux of this model can be tabulated with an rms error of {error:.1g} of the "
        f"continuum, expected {TOLERANCE:g}; use infer_many."
    )


def _table(
    model: Model,
    wavelength: Floats,
    resolution: float,
    limb_darkening: float,
    density: float,
    seed: int,
) -> Tabulated:
    steps = _steps_of(model, resolution)
    axes = _lattice(model, density)
    points = _points(model, axes)
    count = _coefficient_counts(axes)
    basis = _components(model, steps, points, seed)
    amplitudes = np.concatenate([rows @ basis.T for rows in _spectra(model, steps, points)])
    box = amplitudes.reshape(*(axis.size for axis in axes), -1)
    for k, axis in enumerate(axes):
        box = np.moveaxis(np.tensordot(_coefficients(axis.size), box, axes=(1, k)), 0, k)
    length = _fast_length(2 * steps.coarse)
    left, taps = taps_at(
        _velocities(model, wavelength), steps.fine * steps.velocity_step / length, length
    )
    window = _window_transform(np.arange(steps.coarse // 2 + 1) / length)

    def transform(rows: Floats | Singles) -> Array:
        found = np.fft.rfft(rows, axis=1) * (length / steps.coarse) / window
        return jnp.asarray(np.concatenate([found.real, found.imag], axis=1), jnp.float32)

    return Tabulated(
        jnp.asarray([axis[0] for axis in axes], jnp.float32),
        jnp.asarray([_step(axis) for axis in axes], jnp.float32),
        jnp.asarray(box.reshape(-1, len(basis)), jnp.float32),
        transform(basis),
        transform(_mode_spectra(model, steps)),
        jnp.asarray(steps.frequency, jnp.float32),
        left,
        taps,
        jnp.float32(steps.sigma),
        jnp.float32(limb_darkening),
        count,
        _logarithmic(model),
        length,
    )


def _steps_of(model: Model, resolution: float) -> _Steps:
    forward = model.forward
    step, count = forward.velocity_step, forward.to_log.size
    sigma = SPEED_OF_LIGHT / FWHM_PER_SIGMA / (resolution * _SHARPER)
    fine = int(next_fast_len(count + count // 8 + 64, real=True))
    return _Steps(fine, min(_fast_length(int(fine * step / (_STEP * sigma))), fine), step, sigma)


def _fast_length(least: int) -> int:
    """An even length of a fast Fourier transform."""
    return 2 * int(next_fast_len(-(-least // 2), real=True))


def _logarithmic(model: Model) -> tuple[bool, ...]:
    scaled = coordinates(model.axes)
    return tuple(not np.array_equal(a, b) for a, b in zip(scaled, model.axes.values(), strict=True))


def _lattice(model: Model, density: float) -> list[Floats]:
    """Points along each label, equally spaced in the coordinates of the model."""
    fewest = math.ceil(_FEWEST * density / _DENSITY)
    return [
        np.linspace(axis[0], axis[-1], max(math.ceil(density * (axis.size - 1)) + 1, fewest))
        if axis.size > 1
        else axis
        for axis in coordinates(model.axes)
    ]


def _step(axis: Floats) -> float:
    return float(axis[1] - axis[0]) if axis.size > 1 else 1.0


def _points(model: Model, axes: list[Floats]) -> Singles:
    """Labels (G, L) of the lattice."""
    columns = np.stack([column.ravel() for column in np.meshgrid(*axes, indexing="ij")], axis=1)
    for k, log in enumerate(_logarithmic(model)):
        columns[:, k] = np.exp(columns[:, k]) if log else columns[:, k]
    low, high = np.array(list(model.bounds.values())).T
    return np.clip(columns, low, high).astype(np.float32)


def _coefficient_counts(axes: list[Floats]) -> tuple[int, ...]:
    return tuple(axis.size + 2 if axis.size > 1 else 1 for axis in axes)


def _coefficients(count: int) -> Floats:
    """Matrix (n + 2, n) from values at n points to coefficients of the cubic B-spline through them
    whose third derivative is continuous at the second point from either end."""
    if count == 1:
        return np.ones((1, 1))
    rows = np.zeros((count + 2, count + 2))
    for k in range(count):
        rows[k, k : k + 3] = 1.0 / 6.0, 4.0 / 6.0, 1.0 / 6.0
    third = 1.0, -4.0, 6.0, -4.0, 1.0
    rows[-2, :5], rows[-1, -5:] = third, third
    return np.asarray(np.linalg.inv(rows)[:, :count])


def _components(model: Model, steps: _Steps, points: Singles, seed: int) -> Singles:
    """Principal components (R, M) of line depths on the coarse steps."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(points))[:_SAMPLE]
    sample = np.concatenate(list(_spectra(model, steps, points[chosen])))
    sizes, vectors = np.linalg.eigh(sample.astype(np.float64) @ sample.T)
    order = np.argsort(sizes)[::-1]
    sizes, vectors = np.maximum(sizes[order], 0.0), vectors[:, order]
    left = vectors**2 * sizes  # the share of each component in each spectrum
    error = np.sqrt(np.maximum(left.sum(axis=1)[:, None] - np.cumsum(left, axis=1), 0.0))
    worst = error.max(axis=0) / np.sqrt(sample.shape[1])
    count = int(np.argmax(worst <= _UNEXPLAINED * TOLERANCE)) + 1
    found = vectors[:, :count].T @ sample
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def _spectra(model: Model, steps: _Steps, points: Singles) -> Iterator[Singles]:
    """Line depths (N, M) on the coarse steps, a chunk of points at a time."""
    passed = jnp.asarray(gaussian(jnp.asarray(steps.frequency), steps.sigma), jnp.float32)
    for start in range(0, len(points), _CHUNK):
        chunk = points[start : start + _CHUNK]
        padded = np.concatenate([chunk, np.repeat(chunk[-1:], _CHUNK - len(chunk), axis=0)])
        found = _coarse_depths(model.forward, padded, passed, steps.fine, steps.coarse)
        yield np.asarray(found)[: len(chunk)]


@partial(jax.jit, static_argnames=("fine", "coarse"))
def _coarse_depths(
    forward: ForwardModel, points: Array, passed: Array, fine: int, coarse: int
) -> Array:
    def depth(labels: Array) -> Array:
        return _coarse(forward, evaluate(forward, labels), passed, fine, coarse)

    return jax.lax.map(depth, points)


def _coarse(forward: ForwardModel, flux: Array, passed: Array, fine: int, coarse: int) -> Array:
    """Line depth of a flux (P,) on the model's pixels, on the coarse steps."""
    flux = between_pixels(forward, flux, forward.to_log, forward.to_log_whole)
    transform = jnp.fft.rfft(1.0 - flux, fine)[: passed.size] * passed
    return jnp.fft.irfft(transform, coarse) * (coarse / fine)


def _mode_spectra(model: Model, steps: _Steps) -> Singles:
    """Error modes (E, M) on the coarse steps."""
    passed = jnp.asarray(gaussian(jnp.asarray(steps.frequency), steps.sigma), jnp.float32)
    found = [
        _coarse(model.forward, 1.0 - jnp.asarray(mode), passed, steps.fine, steps.coarse)
        for mode in model.error_modes
    ]
    return np.asarray(found, np.float32).reshape(len(found), steps.coarse)


def _velocities(model: Model, wavelength: Floats) -> Floats:
    """Distances (P,) of wavelengths from the first pixel of the model, km/s."""
    return np.asarray(np.log(wavelength / model.wavelength[0]) * SPEED_OF_LIGHT)


def taps_at(velocity: Floats, step: float, length: int) -> tuple[Array, Array]:
    """Return the first step (Q,) and the weights (T, Q) from which pixels at velocities (P,) are
    interpolated; zero for padding."""
    position = velocity / step
    left = np.floor(position).astype(np.int64) - _TAPS // 2 + 1
    distance = position - left - np.arange(_TAPS)[:, None]
    padding = (0, round_up(velocity.size) - velocity.size)
    taps = np.pad(_window(distance), ((0, 0), padding))
    return jnp.asarray(np.pad(left, padding), jnp.int32), jnp.asarray(taps, jnp.float32)


_BETA = 2.3 * _TAPS
"""Shape of the Kaiser–Bessel window."""


def _window(distance: Floats) -> Floats:
    """Kaiser–Bessel window at a distance in steps."""
    inside = np.maximum(1.0 - (2.0 * distance / _TAPS) ** 2, 0.0)
    return np.where(np.abs(distance) < _TAPS / 2, i0(_BETA * np.sqrt(inside)), 0.0)


def _window_transform(frequency: NDArray[np.floating]) -> Floats:
    """Its Fourier transform at frequencies (F,) in cycles a step."""
    root = np.sqrt(_BETA**2 - (np.pi * _TAPS * frequency) ** 2)
    return np.asarray(_TAPS * np.sinh(root) / root)


# --- error -------------------------------------------------------------------------------------


def table_error(
    table: Tabulated, model: Model, wavelength: Floats, resolution: float, seed: int = 0
) -> float:
    """Return the largest rms error of the flux of `_TESTS` stars of random labels, velocities and
    rotations, on the pixels that the model covers at these."""
    rng = np.random.default_rng(seed + 1)
    low, high = np.array(list(model.bounds.values())).T
    form = ForwardForm(("rv", "vsini", *model.label_names), model.label_names, (), False)
    fixed = {"resolution": jnp.float32(resolution)}
    inside = _covered(model, wavelength, float(table.sigma))
    worst = 0.0
    for _ in range(_TESTS):
        rv, vsini = rng.uniform(-_FASTEST, _FASTEST), rng.uniform(0.1, _BROADEST)
        labels = low + (high - low) * rng.random(low.size)
        theta = jnp.asarray([rv, vsini, *labels], jnp.float32)
        found = np.asarray(_flux(table, theta, fixed, form))[: wavelength.size]
        expected = model.flux(
            **dict(zip(model.label_names, labels, strict=True)),
            rv=rv,
            vsini=vsini,
            resolution=resolution,
            wavelength=wavelength,
            limb_darkening=float(table.limb_darkening),
        )
        difference = (found - np.asarray(expected))[inside]
        worst = max(worst, float(np.sqrt(np.mean(difference**2))))
    return worst


def _covered(model: Model, wavelength: Floats, sigma: float) -> Bools:
    """Pixels (P,) that no light from beyond the ends of the model reaches in the test; all, if the
    model is too short for any."""
    reach = _FASTEST + _BROADEST + 5.0 * sigma
    velocity = _velocities(model, wavelength)
    end = float(_velocities(model, model.wavelength[-1:])[0])
    inside = (velocity > reach) & (velocity < end - reach)
    return inside if inside.any() else np.ones_like(inside)


@partial(jax.jit, static_argnames="form")
def _flux(table: Tabulated, theta: Array, fixed: dict[str, Array], form: ForwardForm) -> Array:
    return flux_with_slopes(table, theta, fixed, form)[0]
