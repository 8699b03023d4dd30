"""The likelihood: chi-square of a problem at θ, with everything linear solved for.

Data d with errors e are compared with m(θ) C + Σ a_k M_k: the model flux at labels, velocity,
rotation and resolution θ times a smooth continuum C = T c (Chebyshev polynomials, of their own in
every order), and what the emulator may be wrong by. The model states the covariance of its own
error as Σ M_k M_kᵀ over a dozen modes; seen through the instrument and times the continuum, they
are added to the errors of the pixels, N = diag(e²) + Σ M_k M_kᵀ. By Woodbury's identity,

    rᵀ N⁻¹ r = min over a of |(r − Σ a_k M_k)/e|² + |a|²,

so each mode is one more linear unknown with a normal prior of unit width. For given θ the best c
and a are linear least squares; they are solved each time, not fitted away beforehand, and their
uncertainty is in that of θ (variable projection: Golub & Pereyra 1973, in Kaufman's 1975
approximation of the derivative). With Q the orthonormal columns of the weighted continuum,
P = 1 − QQᵀ, Z = P M/e and J = P ∂r/∂θ,

    a = (1 + ZᵀZ)⁻¹ Zᵀ P r/e,      residual = [P r/e − Z a; −a],

and the same for the columns of J in place of r. Chi-square and its curvature are the plain sums
of squares of these longer vectors. The modes, the weights of outliers and the scale of the errors
are held while θ is sought, and set anew at what was found (`Likelihood.refined`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ..broaden import Pixels, pixel_widths, pixels_of
from ..continuum import chebyshev_basis
from ..model import Emulator, emulate, see
from ..render import round_up
from ..spectrum import Spectrum
from .noise import Noise, first_noise, noise_of
from .problem import Problem

Floats = NDArray[np.float64]

_PART = 256
"""Pixels whose products are summed in float32, at the most."""
_HUGE = 1e6
"""Flux, in units of its median, beyond which one outlier is as good as another."""


@dataclass(frozen=True, eq=False)
class Fit:
    """Chi-square at θ, and with r the residual and J its derivative by θ, both whitened and with
    what is linear taken out: `normal` JᵀJ (K, K), `gradient` Jᵀr (K,), and the parts of this that
    come from stretches of the spectrum, `scores` (parts, K)."""

    chi2: float
    normal: Floats
    gradient: Floats
    scores: Floats


@dataclass(frozen=True, eq=False)
class Picture:
    """What is predicted for the pixels of the spectrum (Q,): `flux` m C, and its `continuum` C, in
    the unit of the data."""

    flux: Floats
    continuum: Floats


@partial(
    jax.tree_util.register_dataclass,
    data_fields=(
        "whole",
        "place",
        "flux",
        "weight",
        "basis",
        "modes",
        "gram",
        "sharpness",
        "pixels",
        "dark",
    ),
    meta_fields=(),
)
@dataclass(frozen=True)
class Data:
    """The observation in its final form, padded with pixels of no weight to stable shapes.

    `whole` + `place` (O·Q,) pixels on the model's steps in ln λ, order after order; `flux` in
    units of its median; `weight`, inverse errors; `basis` (O, D, Q) of the continuum; `modes`
    (E, O·Q) of the emulator's error, weighted, and their products `gram` (E, E); `sharpness` (M,)
    how the resolution varies on the model's steps, or None; `pixels` to average over, or None;
    `dark` limb darkening.
    """

    whole: Array
    place: Array
    flux: Array
    weight: Array
    basis: Array
    modes: Array
    gram: Array
    sharpness: Array | None
    pixels: Pixels | None
    dark: Array


@dataclass(frozen=True)
class Form:
    """What decides the shape of the computation: names, and which effects take part.

    `native`: the first of the model's own pixels that the data stand on, and how many they are,
    if nothing moves or broadens them; then no resampling takes place.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    instrument: bool
    rotation: bool
    turbulence: bool
    native: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class Likelihood:
    """A problem ready to be evaluated at θ. `made` by `make_likelihood`.

    Attributes
    ----------
    problem : Problem
        The problem.
    scale : float
        Unit of the flux in the computation, in that of the data.
    index : (Q,)
        Where the pixels of the spectrum stand in the padded arrays.
    noise : Noise
        Errors, weights and what was found about them, on the pixels of the spectrum.
    data, form, fixed
        What goes into the compiled functions.
    """

    problem: Problem
    scale: float
    index: NDArray[np.int64]
    noise: Noise
    data: Data
    form: Form
    fixed: dict[str, Array]

    def __call__(self, theta: Floats) -> Fit:
        """Chi-square at θ (K,) and its first two derivatives."""
        parts = np.asarray(_products(*self.arguments(theta), self.form), np.float64)
        products = parts.sum(axis=0)
        return Fit(float(products[0, 0]), products[1:, 1:], products[1:, 0], parts[:, 1:, 0])

    def picture(self, theta: Floats) -> Picture:
        """Flux and continuum at θ (K,)."""
        flux, continuum = _picture(*self.arguments(theta), self.form)
        both = (np.asarray(values, np.float64)[self.index] for values in (flux, continuum))
        return Picture(*(values * self.scale for values in both))

    def chi2(self, theta: Floats) -> float:
        """Chi-square at θ alone."""
        return float(_chi2(*self.arguments(theta), self.form))

    def arguments(self, theta: Floats) -> tuple[Emulator, Data, Array, dict[str, Array]]:
        """What the compiled functions take."""
        at = np.maximum(theta, self.problem.least)
        emulator = self.problem.model.emulator
        return emulator, self.data, jnp.asarray(at, jnp.float32), self.fixed

    @property
    def flat_chi2(self) -> float:
        """Chi-square of a spectrum without lines."""
        return float(_flat_chi2(self.data))

    @property
    def n_used(self) -> int:
        """Pixels that count."""
        return int(self.problem.spectrum.good.sum())

    def freedom(self) -> int:
        """Pixels less free parameters."""
        terms = len(self.problem.free) + self.problem.continuum_terms
        return max(self.n_used - terms, 1)

    def refined(self, theta: Floats, *, outliers_only: bool = False) -> Likelihood:
        """The same with weights, scale of the errors and modes as they are at θ."""
        fit = self.picture(theta)
        noise = noise_of(self.problem, self.noise, fit.flux, fit.continuum)
        if outliers_only:
            noise = replace(self.noise, robust=noise.robust)
        data = replace(self.data, weight=self._padded(noise.weight(fit.continuum) * self.scale))
        modes = self.problem.model.error_modes
        if len(modes) and not outliers_only:
            seen = _see_modes(jnp.asarray(modes), *self.arguments(theta), self.form)
            factor = self._padded(fit.continuum / self.scale) * data.weight
            found = seen * factor
            data = replace(data, modes=found, gram=_gram(found))
        return replace(self, noise=noise, data=data)

    def _padded(self, values: Floats) -> Array:
        padded = np.zeros(self.data.place.size, np.float32)
        padded[self.index] = np.where(self.problem.spectrum.good, values, 0.0)
        return jnp.asarray(padded)


def make_likelihood(problem: Problem) -> Likelihood:
    """The likelihood of a problem before anything is known of θ: no modes, all weights equal."""
    spectrum, options = problem.spectrum, problem.options
    median = float(np.median(np.abs(spectrum.flux[spectrum.good])))
    # a spectrum taken as normalised is not to be scaled
    scale = median if options.continuum_degree >= 0 and median > 0.0 else 1.0
    index, shape = _arrangement(spectrum)
    noise, modes = first_noise(problem, scale), len(problem.model.error_modes)
    whole, place = problem.model.split_places(spectrum.wavelength)
    data = Data(
        _padded(np.asarray(whole), index, shape).astype(jnp.int32),
        _padded(np.asarray(place), index, shape),
        _padded(_tamed(spectrum, scale), index, shape),
        _padded(np.where(spectrum.good, noise.first_weight * scale, 0.0), index, shape),
        _continuum_basis(spectrum, options.continuum_degree, index, shape),
        jnp.zeros((modes, shape[0] * shape[1]), jnp.float32),
        jnp.zeros((modes, modes), jnp.float32),
        _sharpness(problem),
        _pixels(problem, index, shape),
        jnp.float32(options.limb_darkening),
    )
    fixed = {name: jnp.float32(value) for name, value in problem.fixed.items()}
    return Likelihood(problem, scale, index, noise, data, _form(problem), fixed)


def _arrangement(spectrum: Spectrum) -> tuple[NDArray[np.int64], tuple[int, int]]:
    """Where the pixels (P,) stand in an array of orders, and its shape (O, Q).

    Q is rounded up so that similar spectra share one compilation.
    """
    if spectrum.order is None:
        return np.arange(len(spectrum)), (1, round_up(len(spectrum)))
    names, place = np.unique(spectrum.order, return_inverse=True)
    count = np.bincount(place)
    length = round_up(int(count.max()))
    rank = np.empty(len(spectrum), np.int64)
    rank[np.argsort(place, kind="stable")] = np.concatenate([np.arange(n) for n in count])
    return place * length + rank, (names.size, length)


def _tamed(spectrum: Spectrum, scale: float) -> Floats:
    """Flux (P,) in units of `scale`, without what float32 cannot hold."""
    return np.where(spectrum.good, np.clip(spectrum.flux / scale, -_HUGE, _HUGE), 0.0)


def _padded(values: Floats, index: NDArray[np.int64], shape: tuple[int, int]) -> Array:
    padded = np.zeros(shape[0] * shape[1], np.float32)
    padded[index] = values
    return jnp.asarray(padded)


def _continuum_basis(
    spectrum: Spectrum, degree: int, index: NDArray[np.int64], shape: tuple[int, int]
) -> Array:
    """Chebyshev polynomials of each order on its own range, (O, D, Q)."""
    basis = np.zeros((shape[0] * shape[1], degree + 1), np.float32)
    if degree >= 0:
        order = index // shape[1]
        for number in range(shape[0]):
            pixels = order == number
            basis[index[pixels]] = chebyshev_basis(spectrum.wavelength[pixels], degree)
    return jnp.asarray(np.moveaxis(basis.reshape(*shape, degree + 1), 1, 2))


def _sharpness(problem: Problem) -> Array | None:
    """Resolution over its usual value, (M,) on the model's steps."""
    varying = problem.spectrum.resolving
    if varying is None or problem.spectrum.resolution is None:
        return None
    relative = varying / problem.spectrum.resolution
    found = problem.model.line_spread(relative, problem.spectrum.wavelength)
    return jnp.asarray(found, jnp.float32)


def _pixels(problem: Problem, index: NDArray[np.int64], shape: tuple[int, int]) -> Pixels | None:
    if not problem.options.integrate:
        return None
    spectrum = problem.spectrum
    widths = np.empty(len(spectrum))
    for number in range(shape[0]):
        pixels = index // shape[1] == number
        widths[pixels] = pixel_widths(spectrum.wavelength[pixels])
    # a gap is no wide pixel
    widths = np.minimum(widths, 2.0 * np.median(widths))
    found = pixels_of(widths, problem.model.emulator.velocity_step)
    if found.points == 0:
        return found
    return replace(found, width=_padded(np.asarray(found.width), index, shape))


def _form(problem: Problem) -> Form:
    def works(name: str, nothing: float) -> bool:
        return name in problem.free or problem.fixed[name] != nothing

    return Form(
        problem.names,
        problem.model.label_names,
        works("resolution", np.inf),
        works("vsini", 0.0),
        works("vmac", 0.0),
        _native(problem),
    )


def _native(problem: Problem) -> tuple[int, int] | None:
    still = all(problem.fixed.get(name) == 0.0 for name in ("rv", "vsini", "vmac"))
    sharp = problem.fixed.get("resolution") == np.inf
    if not (still and sharp) or problem.options.integrate or problem.spectrum.order is not None:
        return None
    own = problem.model.own_pixels(problem.spectrum.wavelength)
    return None if own is None else (own.start, len(problem.spectrum))


# --- compiled ----------------------------------------------------------------------------------


def _values(theta: Array, fixed: dict[str, Array], form: Form) -> dict[str, Array]:
    return {**fixed, **dict(zip(form.names, theta, strict=True))}


def _see(emulator: Emulator, flux: Array, data: Data, value: dict[str, Array], form: Form) -> Array:
    """Flux of the model's own pixels as the data show it."""
    if form.native is not None:
        first, count = form.native
        return jnp.pad(flux[first : first + count], (0, data.place.size - count))
    resolution = value["resolution"] if form.instrument else None
    if resolution is not None and data.sharpness is not None:
        resolution = resolution * data.sharpness
    return see(
        emulator,
        flux,
        data.place,
        value["rv"],
        value["vsini"] if form.rotation else None,
        resolution,
        vmac=value["vmac"] if form.turbulence else None,
        limb_darkening=data.dark,
        pixels=data.pixels,
        whole=data.whole,
    )


def predict(
    emulator: Emulator, data: Data, theta: Array, fixed: dict[str, Array], form: Form
) -> Array:
    """Normalised flux at θ on the padded pixels of the data."""
    value = _values(theta, fixed, form)
    labels = jnp.stack([value[name] for name in form.labels])
    return _see(emulator, emulate(emulator, labels), data, value, form)


def _predict_with_slopes(
    emulator: Emulator, data: Data, theta: Array, fixed: dict[str, Array], form: Form
) -> tuple[Array, Array]:
    """The same (Q,), and its derivatives by θ (K, Q).

    Only labels change the star's own flux, so only they are followed through the lines.
    """
    value = _values(theta, fixed, form)
    labels = jnp.stack([value[name] for name in form.labels])
    moved = [form.labels.index(name) for name in form.names if name in form.labels]
    star, push = jax.linearize(partial(emulate, emulator), labels)
    directions = np.eye(len(form.labels), dtype=np.float32)[moved]
    slopes = jax.vmap(push)(jnp.asarray(directions)) if moved else jnp.zeros((0, star.size))

    def seen(star: Array, theta: Array) -> Array:
        return _see(emulator, star, data, _values(theta, fixed, form), form)

    flux, push_on = jax.linearize(seen, star, theta)
    every = jnp.zeros((len(form.names), star.size))
    rows = [form.names.index(form.labels[k]) for k in moved]
    every = every.at[jnp.asarray(rows, jnp.int32)].set(slopes) if moved else every
    return flux, jax.vmap(push_on)(every, jnp.eye(len(form.names)))


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("columns", "factor", "modes", "shrunk"),
    meta_fields=(),
)
@dataclass(frozen=True)
class _Linear:
    """The linear unknowns at some θ: weighted `columns` (O, D, Q) of the continuum with the
    Cholesky `factor` (O, D, D) of their products, and the `modes` (E, O·Q) with that of
    1 + ZᵀZ, `shrunk` (E, E)."""

    columns: Array
    factor: Array
    modes: Array
    shrunk: Array

    def coefficients(self, rows: Array) -> Array:
        """Coefficients (O, D, N) of the continuum that fit rows (N, O·Q) best."""
        orders, _, length = self.columns.shape
        split = rows.reshape(-1, orders, length)
        products = jnp.einsum("odq,noq->odn", self.columns, split, precision="highest")
        return jax.vmap(_solve)(self.factor, products)

    def projected(self, rows: Array) -> Array:
        """P rows (N, O·Q), twice, so that float32 leaves nothing of the continuum."""
        if self.columns.shape[1] == 0:
            return rows
        for _ in range(2):
            fitted = jnp.einsum("odq,odn->noq", self.columns, self.coefficients(rows))
            rows = rows - fitted.reshape(rows.shape)
        return rows

    def whitened(self, rows: Array) -> Array:
        """Rows (N, O·Q) without continuum and modes, lengthened by the amplitudes of these."""
        rows = self.projected(rows)
        if len(self.modes) == 0:
            return rows
        amplitude = _solve(self.shrunk, jnp.matmul(self.modes, rows.T, precision="highest")).T
        rest = rows - self.projected(amplitude @ self.modes)
        return jnp.concatenate([rest, -amplitude], axis=1)


def _solve(factor: Array, values: Array) -> Array:
    return jax.scipy.linalg.cho_solve((factor, True), values)


def _linear(data: Data, flux: Array) -> tuple[_Linear, Array]:
    """The linear unknowns of a predicted flux (O·Q,), and the best continuum (O·Q,)."""
    orders, terms, length = data.basis.shape
    columns = data.basis * (flux * data.weight).reshape(orders, 1, length)
    gram = jnp.einsum("odq,oeq->ode", columns, columns, precision="highest")
    size = jnp.trace(gram, axis1=1, axis2=2)[:, None, None] / max(terms, 1)
    factor = jnp.linalg.cholesky(gram + (1e-7 * size + 1e-30) * jnp.eye(terms))
    known = _Linear(columns, factor, data.modes, data.gram)
    continuum = jnp.ones_like(flux)
    if terms:
        best = known.coefficients((data.flux * data.weight)[None])
        continuum = jnp.einsum("odq,odn->noq", data.basis, best).ravel()
    return replace(known, shrunk=_shrunk(data, known)), continuum


def _shrunk(data: Data, linear: _Linear) -> Array:
    """Cholesky factor of 1 + ZᵀZ, (E, E), with Z what P leaves of the modes."""
    orders, _, length = linear.columns.shape
    modes = data.modes.reshape(-1, orders, length)
    products = jnp.einsum("odq,eoq->ode", linear.columns, modes, precision="highest")
    explained = jnp.einsum("ode,odf->ef", products, jax.vmap(_solve)(linear.factor, products))
    # in float32 huge products swallow the unit prior: keep the matrix positive definite
    ridge = 1.0 + 2e-6 * jnp.trace(data.gram)
    return jnp.linalg.cholesky(data.gram - explained + ridge * jnp.eye(len(modes)))


@partial(jax.jit, static_argnames="form")
def _products(
    emulator: Emulator, data: Data, theta: Array, fixed: dict[str, Array], form: Form
) -> Array:
    """Products (parts, 1 + K, 1 + K) of residual and Jacobian with each other, in parts to be
    summed in float64."""
    flux, slopes = _predict_with_slopes(emulator, data, theta, fixed, form)
    linear, continuum = _linear(data, flux)
    residual = (data.flux - flux * continuum) * data.weight
    jacobian = -slopes * (continuum * data.weight)
    rows = linear.whitened(jnp.concatenate([residual[None], jacobian]))
    rows = jnp.pad(rows, ((0, 0), (0, -rows.shape[1] % _PART)))
    parts = rows.reshape(len(rows), -1, _PART)
    return jnp.einsum("ipn,jpn->pij", parts, parts, precision="highest")


@partial(jax.jit, static_argnames="form")
def _picture(
    emulator: Emulator, data: Data, theta: Array, fixed: dict[str, Array], form: Form
) -> tuple[Array, Array]:
    flux = predict(emulator, data, theta, fixed, form)
    _, continuum = _linear(data, flux)
    return flux * continuum, continuum


def whitened_residual(
    emulator: Emulator, data: Data, theta: Array, fixed: dict[str, Array], form: Form
) -> Array:
    """The residual (R,) alone, differentiable: its sum of squares is chi-square."""
    flux = predict(emulator, data, theta, fixed, form)
    linear, continuum = _linear(data, flux)
    return linear.whitened(((data.flux - flux * continuum) * data.weight)[None])[0]


@partial(jax.jit, static_argnames="form")
def _chi2(
    emulator: Emulator, data: Data, theta: Array, fixed: dict[str, Array], form: Form
) -> Array:
    return jnp.sum(whitened_residual(emulator, data, theta, fixed, form) ** 2)


@jax.jit
def _flat_chi2(data: Data) -> Array:
    flux = jnp.ones_like(data.flux)
    linear, continuum = _linear(data, flux)
    return jnp.sum(linear.whitened(((data.flux - continuum) * data.weight)[None]) ** 2)


@jax.jit
def _gram(modes: Array) -> Array:
    return jnp.matmul(modes, modes.T, precision="highest")


@partial(jax.jit, static_argnames="form")
def _see_modes(
    modes: Array,
    emulator: Emulator,
    data: Data,
    theta: Array,
    fixed: dict[str, Array],
    form: Form,
) -> Array:
    """Modes (E, P) of the emulator's error as the data show them, (E, O·Q)."""
    value = _values(theta, fixed, form)
    return jax.vmap(lambda mode: 1.0 - _see(emulator, 1.0 - mode, data, value, form))(modes)
