"""The problem that every method solves: data, model, free parameters, and their fit.

Data d with errors e are compared with m(θ) C: the model flux at labels, velocity, rotation and
resolution θ, times a smooth continuum C = T c (Chebyshev polynomials). For given θ the best c is
linear least squares; it is solved each time, not fitted away beforehand, and its uncertainty is in
that of θ (variable projection: Golub & Pereyra 1973, in Kaufman's 1975 approximation).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ..continuum import chebyshev_basis
from ..errors import InputError, SpectrumError
from ..model import Emulator, Model, check_overlap, emulate, see
from ..spectrum import Spectrum, cut
from .prior import Prior

NUISANCE = ("rv", "vsini", "resolution")
RANGES = {"rv": (-1000.0, 1000.0), "vsini": (0.0, 300.0), "resolution": (500.0, 1e6)}
"""Widest ranges of the nuisance parameters: km/s, km/s, λ/Δλ."""
_LEAST_PIXELS = 20


@dataclass(frozen=True, eq=False)
class Problem:
    """One spectrum and one model.

    Attributes
    ----------
    model : Model
        The model.
    spectrum : Spectrum
        The observation, cut to the model.
    free : dict of Prior
        Free parameters in the order of θ.
    fixed : dict of float
        The others.
    continuum_degree : int
        Degree of the continuum; −1 for none (the spectrum is then taken as normalised).
    notices : tuple of str
        What was done to the spectrum.
    """

    model: Model
    spectrum: Spectrum
    free: dict[str, Prior]
    fixed: dict[str, float]
    continuum_degree: int
    notices: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the free parameters."""
        return tuple(self.free)

    @property
    def lower(self) -> NDArray[np.float64]:
        """Lower bounds of θ."""
        return np.array([prior.low for prior in self.free.values()])

    @property
    def upper(self) -> NDArray[np.float64]:
        """Upper bounds of θ."""
        return np.array([prior.high for prior in self.free.values()])

    def parameters(self, theta: NDArray[np.float64]) -> dict[str, float]:
        """All parameters by name at θ (K,)."""
        return {**self.fixed, **dict(zip(self.names, map(float, theta), strict=True))}


def make_problem(
    spectrum: Spectrum,
    model: Model,
    priors: Mapping[str, Prior] | None = None,
    fixed: Mapping[str, float] | None = None,
    continuum_degree: int = 3,
) -> Problem:
    """The problem of finding the labels of `spectrum` with `model`.

    Velocity and rotation are free unless fixed. The resolution is the spectrum's own; a spectrum
    that states none has it fitted, with the rotation then taken as zero unless a prior frees it.

    Raises
    ------
    InputError
        No overlap, an unknown name, or a value outside what is possible.
    """
    priors, fixed = dict(priors or {}), dict(fixed or {})
    ranges = {**model.bounds, **RANGES}
    for name in (*priors, *fixed):
        if name not in ranges:
            raise InputError(
                f"got the parameter {name}, expected one of {', '.join(ranges)}; correct the name."
            )
    for name, value in fixed.items():
        low, high = ranges[name]
        if not (low <= value <= high or (name == "resolution" and value == np.inf)):
            raise InputError(
                f"got {name}={value:g}, expected {low:g} to {high:g}; choose a value inside."
            )
    if spectrum.resolution is not None and "resolution" not in (*priors, *fixed):
        fixed["resolution"] = float(spectrum.resolution)
    if "resolution" not in fixed and not {"vsini"} & {*priors, *fixed}:
        fixed["vsini"] = 0.0
    free = {
        name: priors.get(name, Prior(-np.inf, np.inf)).within(*bounds)
        for name, bounds in ranges.items()
        if name not in fixed
    }
    part, notices = _overlap(spectrum, model)
    return Problem(model, part, free, fixed, continuum_degree, notices)


def _overlap(spectrum: Spectrum, model: Model) -> tuple[Spectrum, tuple[str, ...]]:
    inside = check_overlap(model, spectrum.wavelength)
    if not (inside & spectrum.good).sum() > _LEAST_PIXELS:
        raise SpectrumError(
            f"only {(inside & spectrum.good).sum()} usable pixels lie within the model, expected "
            f"more than {_LEAST_PIXELS}; use a longer spectrum or another model."
        )
    if inside.all():
        return spectrum, ()
    low, high = spectrum.wavelength[inside][[0, -1]]
    notice = f"cut to the range of the model, {low:.1f}–{high:.1f} Å"
    return cut(spectrum, inside), (notice,)


@dataclass(frozen=True, eq=False)
class Fit:
    """The best continuum at θ: `residual` (Q,) (d − m C)/e, `jacobian` (Q, K) its derivative by θ
    with the continuum's part projected out, `flux` (Q,) m C, `continuum` (Q,) C in units of the
    median flux. Masked pixels have residual 0."""

    residual: NDArray[np.float64]
    jacobian: NDArray[np.float64]
    flux: NDArray[np.float64]
    continuum: NDArray[np.float64]

    @property
    def chi2(self) -> float:
        """Sum of the squared residuals."""
        return float(self.residual @ self.residual)


class Evaluator:
    """Evaluates a problem at θ; the data are put into their final form once."""

    def __init__(self, problem: Problem):
        spectrum = problem.spectrum
        self.problem = problem
        median = float(np.median(np.abs(spectrum.flux[spectrum.good])))
        # a spectrum taken as normalised is not to be scaled
        self.scale = median if problem.continuum_degree >= 0 and median > 0.0 else 1.0
        self.error = (
            np.full(len(spectrum), self.scale) if spectrum.error is None else spectrum.error
        )
        self._data = _Data(
            problem.model.places(spectrum.wavelength),
            jnp.asarray(spectrum.flux / self.scale, jnp.float32),
            jnp.asarray(np.where(spectrum.good, self.scale / self.error, 0.0), jnp.float32),
            jnp.asarray(_continuum_basis(problem), jnp.float32),
        )
        self._fixed = {name: jnp.float32(value) for name, value in problem.fixed.items()}
        self._form = _Form(
            problem.names, problem.model.label_names, _has_instrument(problem), _native(problem)
        )

    def __call__(self, theta: NDArray[np.float64]) -> Fit:
        """Residual, Jacobian and flux at θ (K,)."""
        emulator = self.problem.model.emulator
        residual, jacobian, flux, continuum = _fit(
            emulator, self._data, jnp.asarray(theta, jnp.float32), self._fixed, self._form
        )
        return Fit(
            np.asarray(residual, np.float64),
            np.asarray(jacobian, np.float64),
            np.asarray(flux, np.float64) * self.scale,
            np.asarray(continuum, np.float64),
        )

    def chi2(self, theta: NDArray[np.float64]) -> float:
        """Chi-square at θ alone, cheaper than a fit."""
        emulator = self.problem.model.emulator
        at = jnp.asarray(theta, jnp.float32)
        return float(_chi2(emulator, self._data, at, self._fixed, self._form))

    def emulator_covariance(
        self, theta: NDArray[np.float64], fit: Fit, covariance: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """What the emulator's expected error adds to a covariance (K, K) of θ.

        An error e of the flux moves θ by (JᵀJ)⁻¹Jᵀe, and the model states the covariance of e as
        the sum over its error modes.
        """
        model = self.problem.model
        if len(model.error_modes) == 0:
            return np.zeros_like(covariance)
        modes = _see_modes(
            model.emulator,
            jnp.asarray(model.error_modes),
            self._data,
            jnp.asarray(theta, jnp.float32),
            self._fixed,
            self._form,
        )
        errors = np.asarray(modes, np.float64) * fit.continuum * np.asarray(self._data.weight)
        push = covariance @ (fit.jacobian.T @ errors.T)
        return push @ push.T


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("place", "flux", "weight", "basis"),
    meta_fields=(),
)
@dataclass(frozen=True)
class _Data:
    """Pixels on the model's steps in ln λ, flux in units of its median, inverse errors (zero
    where masked) and the basis of the continuum (Q, D)."""

    place: Array
    flux: Array
    weight: Array
    basis: Array


@dataclass(frozen=True)
class _Form:
    """What decides the shape of the computation: names, and which effects take part.

    `native` is the first of the model's own pixels that the data stand on, if they do and
    nothing moves or broadens them; then no resampling takes place.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    instrument: bool
    native: int | None


def _continuum_basis(problem: Problem) -> NDArray[np.float64]:
    wavelength = problem.spectrum.wavelength
    if problem.continuum_degree < 0:
        return np.empty((wavelength.size, 0))
    return chebyshev_basis(wavelength, problem.continuum_degree)


def _has_instrument(problem: Problem) -> bool:
    return "resolution" in problem.free or bool(np.isfinite(problem.fixed["resolution"]))


def _native(problem: Problem) -> int | None:
    still = all(problem.fixed.get(name) == 0.0 for name in ("rv", "vsini"))
    if not still or _has_instrument(problem):
        return None
    own = problem.model.own_pixels(problem.spectrum.wavelength)
    return None if own is None else own.start


def _predict(
    emulator: Emulator, data: _Data, theta: Array, fixed: dict[str, Array], form: _Form
) -> Array:
    """Normalised flux at θ on the pixels of the data."""
    value = {**fixed, **dict(zip(form.names, theta, strict=True))}
    labels = jnp.stack([value[name] for name in form.labels])
    return _see(emulator, emulate(emulator, labels), data, value, form)


def _see(
    emulator: Emulator, flux: Array, data: _Data, value: dict[str, Array], form: _Form
) -> Array:
    """Flux of the model's own pixels as the data show it."""
    if form.native is not None:
        return flux[form.native : form.native + data.flux.size]
    resolution = value["resolution"] if form.instrument else None
    vsini = value["vsini"] if "vsini" in form.names or form.instrument else None
    return see(emulator, flux, data.place, value["rv"], vsini, resolution)


@partial(jax.jit, static_argnames="form")
def _see_modes(
    emulator: Emulator,
    modes: Array,
    data: _Data,
    theta: Array,
    fixed: dict[str, Array],
    form: _Form,
) -> Array:
    """Modes (K, P) of the emulator's error as the data show them, (K, Q)."""
    value = {**fixed, **dict(zip(form.names, theta, strict=True))}
    return jax.vmap(lambda mode: 1.0 - _see(emulator, 1.0 - mode, data, value, form))(modes)


def _continuum(data: _Data, flux: Array) -> tuple[Array, Array]:
    """Orthonormal columns of the weighted continuum (Q, D), and the best continuum (Q,)."""
    if data.basis.shape[1] == 0:
        return jnp.zeros((flux.size, 0)), jnp.ones_like(flux)
    columns = data.basis * (flux * data.weight)[:, None]
    q, r = jnp.linalg.qr(columns)
    coefficients = jax.scipy.linalg.solve_triangular(r, q.T @ (data.flux * data.weight))
    return q, data.basis @ coefficients


@partial(jax.jit, static_argnames="form")
def _fit(
    emulator: Emulator, data: _Data, theta: Array, fixed: dict[str, Array], form: _Form
) -> tuple[Array, Array, Array, Array]:
    def predict(theta: Array) -> Array:
        return _predict(emulator, data, theta, fixed, form)

    flux, push = jax.linearize(predict, theta)
    slopes = jax.vmap(push)(jnp.eye(theta.size)).T
    columns, continuum = _continuum(data, flux)
    residual = (data.flux - flux * continuum) * data.weight
    jacobian = -slopes * (continuum * data.weight)[:, None]
    jacobian = jacobian - columns @ (columns.T @ jacobian)
    return residual, jacobian, flux * continuum, continuum


@partial(jax.jit, static_argnames="form")
def _chi2(
    emulator: Emulator, data: _Data, theta: Array, fixed: dict[str, Array], form: _Form
) -> Array:
    flux = _predict(emulator, data, theta, fixed, form)
    _, continuum = _continuum(data, flux)
    return jnp.sum(((data.flux - flux * continuum) * data.weight) ** 2)
