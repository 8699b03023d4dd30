"""Cloning: lines are tuned by gradient descent until they render a spectrum."""

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
from ..recipe import Composition, Recipe
from ..spectra.spectrum import Spectrum

REACH_MARGIN = 1.3
"""Windows are laid out before the fit: wings may grow this much in it."""
DRIFT = 0.15
"""A shift of this part of the first width counts like a change of 1 in ln area, so that one
learning rate serves all four parameters."""
_CONVERGED = 5e-4
"""A fit has converged if the second half of its steps lowered the rms misfit by less than this, in
units of the continuum."""
_MOST_LINES = 3
"""Lines in all, as a multiple of those first detected."""
_SENSIBLE = -1.0, 100.0
"""Flux in units of the continuum that a spectrum may have."""
_UNFITTED, _APART, _MOST_FLAGS = 0.03, 100, 5
"""Least difference (units of the continuum) that is flagged, at most one in so many pixels, and
at most so many."""


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
    """Lines that render a normalised spectrum.

    Lines are detected and tuned, and added for `rounds` of the recipe's fit where the clone absorbs
    too little, up to three times as many in all.

    Parameters
    ----------
    spectrum : Spectrum
        Normalised to the continuum (`normalise.normalise`).
    recipe : Recipe
        Settings.

    Raises
    ------
    CloneError
        The spectrum is not normalised to a positive continuum.
    """
    check_normalised(spectrum)
    first = detect_lines(spectrum, recipe)
    clone = fit_lines(spectrum, first, recipe)
    for _ in range(recipe.single.rounds):
        room = _MOST_LINES * len(first) - len(clone.lines)
        more = _strongest(missing_lines(spectrum, clone, recipe), room)
        if len(more) == 0:
            break
        clone = fit_lines(spectrum, clone.lines.merged(more), recipe)
    return clone


def _strongest(lines: Lines, count: int) -> Lines:
    """So many of the lines of the largest areas, in order of wavelength."""
    return lines.take(np.sort(np.argsort(-lines.ln_area, kind="stable")[: max(count, 0)]))


def detect_lines(spectrum: Spectrum, recipe: Recipe) -> Lines:
    """First lines of a normalised spectrum."""
    flux = _bridged(spectrum, spectrum.flux)
    return detect(spectrum.wavelength, flux, recipe.detection.prominence, recipe.detection.distance)


def _bridged(spectrum: Spectrum, values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Values (P,) with masked pixels drawn straight between their neighbours."""
    good = spectrum.good
    return np.interp(spectrum.wavelength, spectrum.wavelength[good], values[good])


def missing_lines(spectrum: Spectrum, clone: Clone, recipe: Recipe) -> Lines:
    """Lines where a clone absorbs too little."""
    return detect_missing(
        spectrum.wavelength,
        _bridged(spectrum, spectrum.flux),
        _bridged(spectrum, clone.flux),
        recipe.detection.redetection,
        recipe.detection.distance,
    )


def fit_lines(spectrum: Spectrum, start: Lines, recipe: Recipe) -> Clone:
    """Tune all four parameters of every line of `start` to a normalised spectrum."""
    if len(start) == 0:
        return _clone(start, np.ones(spectrum.flux.size, np.float32), spectrum, ("no lines",))
    layout, settings = window_layout(spectrum.wavelength, start, recipe), recipe.single
    params, flux, gained = _descend(
        jnp.asarray(padded(start.params, layout.slots.size)),  # so that one number is its shape
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
    """Where a clone differs from its spectrum by more than `_UNFITTED`, worst first, in words."""
    peaks, found = find_peaks(np.abs(difference), height=_UNFITTED, distance=_APART)
    worst = peaks[np.argsort(-found["peak_heights"])][:_MOST_FLAGS]
    return tuple(f"misfit of {abs(difference[i]):.2g} at {wavelength[i]:.2f} Å" for i in worst)


def window_layout(wavelength: NDArray[np.float64], lines: Lines, recipe: Recipe) -> Layout:
    """The layout of lines with the windows that a recipe gives them."""
    half = REACH_MARGIN * reach(lines.params, recipe.wing_tolerance, recipe.profile)
    if recipe.wing_cut:
        place = np.searchsorted(wavelength, lines.reference).clip(0, wavelength.size - 1)
        half = np.minimum(half, 0.5 * recipe.wing_cut * np.gradient(wavelength)[place])
    return make_layout(wavelength, lines.reference, half, recipe.profile)


@cache
def _optimiser(kind: str, learning_rate: float, epochs: int) -> optax.GradientTransformation:
    """The optimiser of a recipe: one object for equal settings, so that one compilation serves."""
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
    """Parameters (N, 4) after `epochs` steps down the mean squared error, their flux (P,), and
    by how much the second half of the steps lowered the rms misfit."""
    width = PROFILES[layout.profile].fwhm(params[:, 2], params[:, 3])
    unit = jnp.ones_like(params).at[:, 0].set(DRIFT * width)

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
    """Raise CloneError unless the flux is that of a normalised spectrum."""
    good = spectrum.flux[spectrum.good]
    median = float(np.median(good))
    if not 0.05 < median < 5.0:
        raise CloneError(
            f"got a spectrum of median flux {median:.3g}, expected one normalised to its "
            "continuum; normalise it first."
        )
    low, high = _SENSIBLE
    absurd = np.flatnonzero(spectrum.good & ~((spectrum.flux > low) & (spectrum.flux < high)))
    if absurd.size:
        raise CloneError(
            f"got a flux of {spectrum.flux[absurd[0]]:.3g} continua at "
            f"{spectrum.wavelength[absurd[0]]:.2f} Å, expected {low:g} to {high:g}; repair the "
            "spectrum, or leave it out."
        )
