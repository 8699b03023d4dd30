"""Fit lines to one spectrum by gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray
from scipy.signal import find_peaks

from ..errors import CloneError
from ..lines.detect import detect, detect_missing
from ..lines.lines import Lines, padded
from ..lines.profiles import PROFILES
from ..lines.render import ONE_ORDER, Layout, make_layout, reach, render
from ..model.line_grid import wing_limit
from ..recipe import Composition, Recipe
from ..spectra.spectrum import Spectrum

REACH_MARGIN = 1.3
"""Factor by which wings may grow in a fit: the pixels of a line are chosen before it."""
SHIFT_UNIT = 0.15
"""Shift, in units of the first width, that counts like a change of 1 in ln area: one learning rate
then suits all four parameters."""
_CONVERGED = 5e-4
"""A fit has converged if the second half of its steps lowered the rms misfit by less than this, in
units of the continuum."""
_MOST_LINES = 3
"""Most lines, as a multiple of those first detected."""
_FLUX_RANGE = -1.0, 100.0
"""Flux that a spectrum may have, in units of the continuum."""
_UNFITTED, _APART, _MOST_FLAGS = 0.03, 100, 5
"""Least difference (units of the continuum) that is flagged, least distance of two flags (pixels),
and most flags."""


@dataclass(frozen=True, eq=False)
class Clone:
    """Lines fitted to a spectrum.

    Attributes
    ----------
    target : (P,) float32
        The spectrum, in units of the continuum.
    lines : Lines
        The fitted lines.
    flux : (P,) float32
        Flux of the lines, in units of the continuum.
    misfit : float
        rms of `flux` minus `target` over all unmasked pixels.
    flags : tuple of str
        Problems of the fit: `no lines`, `not converged`, `misfit of 0.08 at 8544.4 Å`.
    """

    target: NDArray[np.float32]
    lines: Lines
    flux: NDArray[np.float32]
    misfit: float
    flags: tuple[str, ...] = ()


def clone_spectrum(spectrum: Spectrum, recipe: Recipe) -> Clone:
    """Detect and fit the lines of a normalised spectrum.

    In each of the recipe's rounds, lines are added where the fit absorbs too little, up to three
    times as many as first detected, and all are fitted again.

    Parameters
    ----------
    spectrum : Spectrum
        In units of its continuum (`spectra.continuum.normalise`).
    recipe : Recipe
        Settings of a fit of single nodes.

    Raises
    ------
    CloneError
        The spectrum is not normalised to a positive continuum.
    """
    check_normalised(spectrum)
    first = detect_lines(spectrum, recipe)
    clone = fit_lines(spectrum, first, recipe)
    for _ in range(recipe.single.rounds):
        most = _MOST_LINES * len(first) - len(clone.lines)
        added = _strongest(missing_lines(spectrum, clone, recipe), most)
        if len(added) == 0:
            break
        clone = fit_lines(spectrum, clone.lines.merged(added), recipe)
    return clone


def _strongest(lines: Lines, count: int) -> Lines:
    """Return the `count` lines of largest area, in order of wavelength."""
    return lines.take(np.sort(np.argsort(-lines.ln_area, kind="stable")[: max(count, 0)]))


def detect_lines(spectrum: Spectrum, recipe: Recipe) -> Lines:
    """Return the first lines of a normalised spectrum."""
    flux = _interpolated(spectrum, spectrum.flux)
    return detect(spectrum.wavelength, flux, recipe.detection.prominence, recipe.detection.distance)


def _interpolated(spectrum: Spectrum, values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return values (P,) with masked pixels interpolated linearly."""
    good = spectrum.good
    return np.interp(spectrum.wavelength, spectrum.wavelength[good], values[good])


def missing_lines(spectrum: Spectrum, clone: Clone, recipe: Recipe) -> Lines:
    """Return lines where a clone absorbs too little."""
    return detect_missing(
        spectrum.wavelength,
        _interpolated(spectrum, spectrum.flux),
        _interpolated(spectrum, clone.flux),
        recipe.detection.redetection,
        recipe.detection.distance,
    )


def fit_lines(spectrum: Spectrum, start: Lines, recipe: Recipe) -> Clone:
    """Fit all four parameters of the lines `start` to a normalised spectrum."""
    if len(start) == 0:
        return _clone(start, np.ones(spectrum.flux.size, np.float32), spectrum, ("no lines",))
    layout, settings = _layout(spectrum.wavelength, start, recipe), recipe.single
    params, flux, gained = _descend(
        jnp.asarray(padded(start.params, layout.room(len(start)))),
        layout,
        jnp.asarray(spectrum.flux, jnp.float32),
        jnp.asarray(spectrum.good, jnp.float32),
        recipe.composition,
        _optimiser(settings.optimiser, settings.learning_rate, settings.epochs),
        settings.epochs,
    )
    lines = Lines(start.reference, np.asarray(params)[: len(start)], recipe.profile)
    flags = () if gained < _CONVERGED else ("not converged",)
    return _clone(lines, np.asarray(flux), spectrum, flags)


def _clone(
    lines: Lines, flux: NDArray[np.float32], spectrum: Spectrum, flags: tuple[str, ...]
) -> Clone:
    target = spectrum.flux.astype(np.float32)
    difference = np.where(spectrum.good, flux - target, 0.0).astype(np.float64)
    misfit = float(np.sqrt(np.sum(difference**2) / spectrum.good.sum()))
    flags += misfit_flags(spectrum.wavelength, difference)
    return Clone(target, lines, flux, misfit, flags)


def misfit_flags(
    wavelength: NDArray[np.float64], difference: NDArray[np.floating]
) -> tuple[str, ...]:
    """Return flags for misfits above 0.03 of the continuum, largest first."""
    peaks, found = find_peaks(np.abs(difference), height=_UNFITTED, distance=_APART)
    worst = peaks[np.argsort(-found["peak_heights"])][:_MOST_FLAGS]
    return tuple(f"misfit of {abs(difference[i]):.2g} at {wavelength[i]:.2f} Å" for i in worst)


def _layout(wavelength: NDArray[np.float64], lines: Lines, recipe: Recipe) -> Layout:
    """Return the layout of lines that reach as far as the recipe says."""
    far = REACH_MARGIN * reach(lines.params, recipe.wing_tolerance, recipe.profile)
    half = np.minimum(far, wing_limit(wavelength, lines.reference, recipe.wing_cut))
    return make_layout(wavelength, lines.reference, half, recipe.profile)


@cache
def _optimiser(kind: str, learning_rate: float, epochs: int) -> optax.GradientTransformation:
    """Return the optimiser; equal settings share one object, and so one compilation."""
    if kind == "adam":
        return optax.amsgrad(learning_rate)
    schedule = optax.cosine_decay_schedule(learning_rate, epochs)
    return optax.adam(schedule, b2=0.99)


@partial(
    jax.jit,
    static_argnames=("composition", "optimiser", "epochs"),
    compiler_options=ONE_ORDER,
)
def _descend(
    params: Array,
    layout: Layout,
    target: Array,
    weight: Array,
    composition: Composition,
    optimiser: optax.GradientTransformation,
    epochs: int,
) -> tuple[Array, Array, Array]:
    """Return parameters (N, 4) after `epochs` steps down the mean squared error, their flux (P,),
    and the decrease of the rms misfit in the second half of the steps."""
    width = PROFILES[layout.profile].fwhm(params[:, 2], params[:, 3])
    unit = jnp.ones_like(params).at[:, 0].set(SHIFT_UNIT * width)

    def loss(scaled: Array) -> Array:
        flux = render(scaled * unit, layout, composition)
        return jnp.sum(weight * (flux - target) ** 2) / jnp.sum(weight)

    def step(i: int, carry: tuple[Array, optax.OptState, Array]) -> tuple:
        scaled, state, half = carry
        error, slope = jax.value_and_grad(loss)(scaled)
        change, state = optimiser.update(slope, state)
        half = jnp.where(i == epochs // 2, error, half)
        return optax.apply_updates(scaled, change), state, half

    first = params / unit
    start = first, optimiser.init(first), jnp.float32(0.0)
    last, _, half = jax.lax.fori_loop(0, epochs, step, start)
    gained = jnp.sqrt(half) - jnp.sqrt(loss(last))
    return last * unit, render(last * unit, layout, composition), gained


def check_normalised(spectrum: Spectrum) -> None:
    """Raise CloneError if the flux is not in units of the continuum."""
    good = spectrum.flux[spectrum.good]
    median = float(np.median(good))
    if not 0.05 < median < 5.0:
        raise CloneError(
            f"got a spectrum of median flux {median:.3g}, expected one normalised to its "
            "continuum; normalise it first."
        )
    low, high = _FLUX_RANGE
    wrong = np.flatnonzero(spectrum.good & ~((spectrum.flux > low) & (spectrum.flux < high)))
    if wrong.size:
        raise CloneError(
            f"got a flux of {spectrum.flux[wrong[0]]:.3g} continua at "
            f"{spectrum.wavelength[wrong[0]]:.2f} Å, expected {low:g} to {high:g}; repair the "
            "spectrum, or leave it out."
        )
