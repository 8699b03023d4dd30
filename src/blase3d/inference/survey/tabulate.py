"""Make the table of a model for one instrument.

The model is evaluated at its nodes, and along labels of few nodes at some points more. The spectra
are convolved with an instrument that is slightly sharper than the real one, on steps in ln λ that
this passes. Between the nodes they are interpolated in `opacity_root`, with the weights by which
the model interpolates. Their principal components, and the amplitudes of these on a lattice denser
than the nodes, are the table. `table_error` measures the error of the flux at labels between
those.
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
from scipy.fft import next_fast_len

from ...errors import InputError
from ...lines.render import optical_depth, transmitted
from ...model.evaluate import (
    ForwardModel,
    add_residual,
    between_pixels,
    flux_of_opacity_root,
    opacity_root,
    smooth_line_params,
)
from ...model.interpolation import SHORT, Axis, best_degree, coordinates, spline_through
from ...model.model import Model
from ...runtime.arrays import Bools, Floats, Singles
from ...runtime.kept import kept_arrays
from ...runtime.progress import Progress, silent
from ...runtime.units import FWHM_PER_SIGMA, SPEED_OF_LIGHT
from ...spectra.broaden import gaussian
from ..likelihood.data import ForwardForm
from .tabulated import OVERSAMPLING, Tabulated, tabulated_flux, taps_at, window_transform

TOLERANCE = 2e-4
"""Rms error of the flux of any spectrum, in units of the continuum, above which a larger table is
tried. That of models at their nodes is larger."""
_ATTEMPTS = ((1, 2), (1, 3), (2, 3))
"""Points per node at which the model is evaluated, and points of the lattice: those that are tried,
the smallest table first."""
_FEWEST = 5
"""Points of the lattice along a label, at least."""
_SHARPER = 1.15
"""Resolution that is tabulated over that of the instrument; more than the ratio of the test for
another resolution (`omitted.py`)."""
_STEP = 0.9
"""Step in ln λ over the standard deviation of the tabulated line spread. At the highest frequency
its transform is 2e-3, and that of the instrument 3e-4."""
_COARSEST = 1.0
"""Step (km/s) of the pixels on which the model is evaluated, at most, and ..."""
_PER_SIGMA = 0.3
"""... that over the standard deviation of the line spread. The widths of lines of stars are larger,
so that no aliases reach the frequencies that the instrument passes."""
_UNEXPLAINED = 1e-5
"""Rms error of the components."""
_SAMPLE = 1000
"""Spectra of which the components are made, at most."""
_FAINT = 1e-3
"""Least flux of which the opacity is taken."""
_AT_ONCE = 32
"""Spectra, and ..."""
_STEPS_AT_ONCE = 64
"""... steps in ln λ of all spectra of the lattice, that are computed at once."""
_TESTS = 64
"""Spectra by which the error is measured, ..."""
_FASTEST, _BROADEST = 50.0, 30.0
"""... and their largest velocities and rotations, km/s."""


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

    @property
    def passed(self) -> Array:
        """Transform (F,) of the line spread."""
        return jnp.asarray(gaussian(jnp.asarray(self.frequency), self.sigma), jnp.float32)


def tabulate(
    model: Model,
    wavelength: Floats,
    resolution: float,
    limb_darkening: float,
    progress: Progress = silent,
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
    progress : callable
        Called with the stage, the number of spectra done, and their total.

    Raises
    ------
    InputError
        The error remains above `TOLERANCE`.
    """
    for density in _ATTEMPTS:
        table = _table(model, wavelength, resolution, limb_darkening, density, progress)
        error = table_error(table, model, wavelength, resolution)
        if error <= TOLERANCE:
            return table, error
    raise InputError(
        f"the flux of this model can be tabulated with an rms error of {error:.1g} of the "
        f"continuum, expected {TOLERANCE:g}; use infer_many."
    )


def _table(
    model: Model,
    wavelength: Floats,
    resolution: float,
    limb_darkening: float,
    density: tuple[int, int],
    progress: Progress,
) -> Tabulated:
    thin = _thinned(model, resolution)
    steps = _steps_of(thin, resolution)
    sampled = [_sampled(axis, density[0]) for axis in coordinates(model.axes)]
    lattice = [_lattice(axis, density[1]) for axis in coordinates(model.axes)]
    inputs = [*jax.tree.leaves(thin.forward), thin.error_modes, *sampled, *lattice]
    basis, box, modes = kept_arrays(
        "tables",
        [*map(np.asarray, inputs), np.array(resolution)],
        lambda: _tabulated_spectra(thin, steps, sampled, lattice, progress),
    )
    length = _fast_length(int(OVERSAMPLING * steps.coarse))
    left, taps = taps_at(
        _velocities(model, wavelength), steps.fine * steps.velocity_step / length, length
    )
    window = window_transform(np.arange(steps.coarse // 2 + 1) / length)

    def transform(rows: Floats | Singles) -> Array:
        found = np.fft.rfft(rows, axis=1) * (length / steps.coarse) / window
        return jnp.asarray(np.concatenate([found.real, found.imag], axis=1), jnp.float32)

    return Tabulated(
        jnp.asarray([axis[0] for axis in lattice], jnp.float32),
        jnp.asarray([_step(axis) for axis in lattice], jnp.float32),
        jnp.asarray(box, jnp.float32),
        transform(basis),
        transform(modes),
        jnp.asarray(steps.frequency, jnp.float32),
        left,
        taps,
        jnp.float32(steps.sigma),
        jnp.float32(limb_darkening),
        tuple(axis.size + 2 if axis.size > 1 else 1 for axis in lattice),
        _logarithmic(model),
        length,
    )


def _tabulated_spectra(
    model: Model, steps: _Steps, sampled: list[Floats], lattice: list[Floats], progress: Progress
) -> tuple[Singles, Singles, Singles]:
    """Principal components (R, M) of the spectra on the coarse steps, their amplitudes (box, R) on
    the lattice, and the error modes (E, M)."""
    spectra = np.empty((math.prod(axis.size for axis in sampled), steps.coarse), np.float32)
    for done, rows in _spectra(model, steps, _points(model, sampled)):
        spectra[done - len(rows) : done] = rows
        progress("table", done, len(spectra))
    basis = principal_components(spectra, _UNEXPLAINED)
    to_lattice = [
        _to_lattice(*axes)
        for axes in zip(sampled, lattice, model.forward.interpolation.axes, strict=True)
    ]
    return basis, _amplitudes(spectra, to_lattice, basis), _mode_spectra(model, steps)


def _thinned(model: Model, resolution: float) -> Model:
    """The model on every n-th pixel, with the largest step that is fine enough."""
    coarsest = min(_COARSEST, _PER_SIGMA * _sigma(resolution))
    every = slice(None, None, max(int(coarsest / model.forward.velocity_step), 1))
    if every.step == 1:
        return model
    residual = None if model.residual is None else model.residual.take(every)
    modes = model.error_modes[:, every]
    return replace(model, wavelength=model.wavelength[every], residual=residual, error_modes=modes)


def _sigma(resolution: float) -> float:
    """Standard deviation of the tabulated line spread, km/s."""
    return SPEED_OF_LIGHT / FWHM_PER_SIGMA / (resolution * _SHARPER)


def _steps_of(model: Model, resolution: float) -> _Steps:
    forward, sigma = model.forward, _sigma(resolution)
    step, count = forward.velocity_step, forward.to_log.size
    fine = int(next_fast_len(count + count // 8 + 64, real=True))
    return _Steps(fine, min(_fast_length(int(fine * step / (_STEP * sigma))), fine), step, sigma)


def _fast_length(least: int) -> int:
    """An even length of a fast Fourier transform."""
    return 2 * int(next_fast_len(-(-least // 2), real=True))


# --- labels ------------------------------------------------------------------------------------


def _logarithmic(model: Model) -> tuple[bool, ...]:
    scaled = coordinates(model.axes)
    return tuple(not np.array_equal(a, b) for a, b in zip(scaled, model.axes.values(), strict=True))


def _sampled(axis: Floats, finer: int) -> Floats:
    """Coordinates at which the model is evaluated: the nodes, with points between them if `finer`
    exceeds one; along short axes, whose polynomials have one degree more than their nodes tell,
    at least one point more."""
    if axis.size == 1:
        return axis
    if axis.size <= SHORT:
        return np.linspace(axis[0], axis[-1], axis.size + 2 * finer - 1)
    count = finer * (axis.size - 1) + 1
    return np.asarray(np.interp(np.arange(count) / finer, np.arange(axis.size), axis))


def _lattice(axis: Floats, density: int) -> Floats:
    """Points of the table along a label, equally spaced, so many per node."""
    if axis.size == 1:
        return axis
    return np.linspace(axis[0], axis[-1], max(density * (axis.size - 1) + 1, _FEWEST))


def _step(axis: Floats) -> float:
    return float(axis[1] - axis[0]) if axis.size > 1 else 1.0


def _to_lattice(sampled: Floats, lattice: Floats, axis: Axis) -> Floats:
    """Matrix (m, n) from values at n sampled coordinates to values at the m of the lattice: the
    weights of the model's axis, if these are its nodes."""
    if sampled.size == 1:
        return np.ones((1, 1))
    if sampled.size == axis.pieces.shape[2]:
        unit = (lattice - sampled[0]) / np.ptp(sampled)
        return np.asarray(jax.vmap(axis.weights)(jnp.asarray(unit, jnp.float32)), np.float64)
    degree = min(best_degree(sampled.size), sampled.size - 1)
    return np.asarray(spline_through(sampled, np.eye(sampled.size), degree)(lattice))


def _points(model: Model, axes: list[Floats]) -> Singles:
    """Labels (G, L) at all combinations of coordinates, last label fastest."""
    columns = np.stack([column.ravel() for column in np.meshgrid(*axes, indexing="ij")], axis=1)
    for k, log in enumerate(_logarithmic(model)):
        columns[:, k] = np.exp(columns[:, k]) if log else columns[:, k]
    low, high = np.array(list(model.bounds.values())).T
    return np.clip(columns, low, high).astype(np.float32)


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


# --- spectra -----------------------------------------------------------------------------------


def _spectra(model: Model, steps: _Steps, points: Singles) -> Iterator[tuple[int, Singles]]:
    """Line depths (N, M) on the coarse steps, a chunk of points at a time, with the number of
    points done."""
    for start in range(0, len(points), _AT_ONCE):
        chunk = points[start : start + _AT_ONCE]
        padded = np.concatenate([chunk, np.repeat(chunk[-1:], _AT_ONCE - len(chunk), axis=0)])
        found = _depths(model.forward, padded, steps.passed, steps.fine, steps.coarse)
        yield start + len(chunk), np.asarray(found)[: len(chunk)]


@partial(jax.jit, static_argnames=("fine", "coarse"))
def _depths(forward: ForwardModel, points: Array, passed: Array, fine: int, coarse: int) -> Array:
    """Line depths (N, M); the residuals of all points are one product of matrices."""

    def lines(labels: Array) -> Array:
        depth = optical_depth(
            smooth_line_params(forward, labels), forward.layout, forward.composition
        )
        return transmitted(depth, forward.composition)

    weights = jax.vmap(forward.interpolation.weights)(points)
    flux = add_residual(forward, jax.lax.map(lines, points), weights)
    return jax.vmap(lambda one: _coarse(forward, one, passed, fine, coarse))(flux)


def _coarse(forward: ForwardModel, flux: Array, passed: Array, fine: int, coarse: int) -> Array:
    """Line depth of a flux (P,) on the model's pixels, on the coarse steps."""
    flux = between_pixels(forward, flux, forward.to_log, forward.to_log_whole)
    transform = jnp.fft.rfft(1.0 - flux, fine)[: passed.size] * passed
    return jnp.fft.irfft(transform, coarse) * (coarse / fine)


def _mode_spectra(model: Model, steps: _Steps) -> Singles:
    """Error modes (E, M) on the coarse steps."""
    found = [
        _coarse(model.forward, 1.0 - jnp.asarray(mode), steps.passed, steps.fine, steps.coarse)
        for mode in model.error_modes
    ]
    return np.asarray(found, np.float32).reshape(len(found), steps.coarse)


def principal_components(spectra: Singles, unexplained: float) -> Singles:
    """Return principal components (R, M) of line depths (N, M), with an rms error of `unexplained`
    for the worst."""
    chosen = np.random.default_rng(0).permutation(len(spectra))[:_SAMPLE]
    sample = spectra[chosen]
    sizes, vectors = np.linalg.eigh(sample.astype(np.float64) @ sample.T)
    sizes, vectors = np.maximum(sizes[::-1], 0.0), vectors[:, ::-1]
    power = vectors**2 * sizes  # of each component in each spectrum
    left = np.maximum(power.sum(axis=1)[:, None] - np.cumsum(power, axis=1), 0.0)
    worst = np.sqrt(left.max(axis=0) / sample.shape[1])
    count = int(np.argmax(worst <= unexplained)) + 1
    found = vectors[:, :count].T @ sample
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def _amplitudes(spectra: Singles, to_lattice: list[Floats], basis: Singles) -> Singles:
    """Coefficients (box, R) of the splines through the amplitudes on the lattice, from line depths
    (N, M) at the sampled points."""
    shape = tuple(matrix.shape[1] for matrix in to_lattice)
    total: Singles = np.zeros((1, len(basis)), np.float32)
    for start in range(0, spectra.shape[1], _STEPS_AT_ONCE):
        chosen = slice(start, start + _STEPS_AT_ONCE)
        root = np.asarray(opacity_root(np.maximum(1.0 - spectra[:, chosen], _FAINT)))
        box = _along_axes(to_lattice, root.reshape(*shape, -1))
        depth = 1.0 - np.asarray(flux_of_opacity_root(box))
        total = total + (depth.reshape(-1, depth.shape[-1]) @ basis[:, chosen].T).astype(np.float32)
    sizes = [len(matrix) for matrix in to_lattice]
    splines = [_coefficients(size) for size in sizes]
    return _along_axes(splines, total.reshape(*sizes, -1)).reshape(-1, len(basis))


def _along_axes(matrices: list[Floats], box: Singles) -> Singles:
    """A box (n, ..., R) with a matrix (m, n) applied along each axis but the last."""
    for k, matrix in enumerate(matrices):
        found: Singles = np.tensordot(matrix.astype(np.float32), box, axes=(1, k))
        box = np.moveaxis(found, 0, k)
    return box


def _velocities(model: Model, wavelength: Floats) -> Floats:
    """Distances (P,) of wavelengths from the first pixel of the model, km/s."""
    return np.asarray(np.log(wavelength / model.wavelength[0]) * SPEED_OF_LIGHT)


# --- error -------------------------------------------------------------------------------------


def table_error(table: Tabulated, model: Model, wavelength: Floats, resolution: float) -> float:
    """Return the largest rms error of the flux of `_TESTS` stars of random labels, velocities and
    rotations, on the pixels that the model covers at these."""
    rng = np.random.default_rng(1)
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
    return tabulated_flux(table, theta, fixed, form)
