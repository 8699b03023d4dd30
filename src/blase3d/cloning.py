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

from .detect import detect, detect_missing
from .errors import CloneError
from .lines import Lines
from .profile import width_and_mixing
from .recipe import Recipe
from .render import Composition, Layout, make_layout, reach, render, round_up
from .spectrum import Spectrum

_REACH_MARGIN = 1.3
"""Windows are laid out before the fit: wings may grow this much in it."""
_NO_AREA = -200.0
"""ln area of which float32 makes nothing."""
_DRIFT = 0.15
"""A shift of this part of the first width counts like a change of 1 in ln area, so that one
learning rate serves all four parameters."""


@dataclass(frozen=True, eq=False)
class Clone:
    """A spectrum as lines.

    Attributes
    ----------
    lines : Lines
        The tuned lines.
    flux : (P,) float32
        What the lines render, in continuum units.
    target : (P,) float32
        The spectrum, in continuum units.
    misfit : float
        rms of `flux` minus `target` over all unmasked pixels.
    flags : tuple of str
        What could not be done well: `no lines`.
    """

    lines: Lines
    flux: NDArray[np.float32]
    target: NDArray[np.float32]
    misfit: float
    flags: tuple[str, ...] = ()


def clone_spectrum(
    spectrum: Spectrum, recipe: Recipe, start: Lines | None = None, stiffness: float = 0.0
) -> Clone:
    """Lines that render a normalised spectrum.

    Parameters
    ----------
    spectrum : Spectrum
        Normalised to the continuum (`continuum.normalise`).
    recipe : Recipe
        Settings.
    start : Lines, optional
        First values of the lines, all of which are kept (a *forced* fit). Without them lines are
        detected, and added for `recipe.rounds` rounds where the clone absorbs too little.
    stiffness : float
        How firmly the lines of `start` are held to it: what a change of one in a parameter costs,
        in summed squared flux.

    Raises
    ------
    CloneError
        The spectrum is not normalised to a positive continuum.
    """
    _check(spectrum)
    if start is not None:
        return fit_lines(spectrum, start, recipe, stiffness)
    clone = fit_lines(spectrum, detect_lines(spectrum, recipe), recipe)
    for _ in range(recipe.rounds):
        more = missing_lines(spectrum, clone, recipe)
        if len(more) == 0:
            break
        clone = fit_lines(spectrum, clone.lines.merged(more), recipe)
    return clone


def detect_lines(spectrum: Spectrum, recipe: Recipe) -> Lines:
    """First lines of a normalised spectrum."""
    flux = _bridged(spectrum, spectrum.flux)
    return detect(spectrum.wavelength, flux, recipe.prominence, recipe.distance)


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
        recipe.redetection,
        recipe.distance,
    )


def fit_lines(spectrum: Spectrum, start: Lines, recipe: Recipe, stiffness: float = 0.0) -> Clone:
    """Tune all four parameters of every line of `start` to a normalised spectrum."""
    if len(start) == 0:
        flat = np.ones(spectrum.flux.size, np.float32)
        return _clone(start, flat, spectrum, ("no lines",))
    layout = window_layout(spectrum.wavelength, start, recipe)
    params, flux = _descend(
        jnp.asarray(_padded(start.params)),
        jnp.float32(stiffness),
        layout,
        jnp.asarray(spectrum.flux, jnp.float32),
        jnp.asarray(spectrum.good, jnp.float32),
        recipe.composition,
        _optimiser(recipe.optimiser, recipe.learning_rate, recipe.epochs),
        recipe.epochs,
    )
    flux = np.asarray(flux)
    lines = Lines(start.reference, np.asarray(params)[: len(start)])
    return _clone(lines, flux, spectrum)


def _clone(
    lines: Lines, flux: NDArray[np.float32], spectrum: Spectrum, flags: tuple[str, ...] = ()
) -> Clone:
    target = spectrum.flux.astype(np.float32)
    difference = (flux - target)[spectrum.good]
    misfit = float(np.sqrt(np.mean(difference.astype(np.float64) ** 2)))
    return Clone(lines, flux, target, misfit, flags)


def _padded(params: NDArray[np.float32]) -> NDArray[np.float32]:
    """More rows, of lines without area, so that similar fits share one compilation."""
    more = round_up(len(params)) - len(params)
    return np.concatenate(
        [params, np.tile(np.array([0.0, _NO_AREA, 0.0, 0.0], np.float32), (more, 1))]
    )


def window_layout(wavelength: NDArray[np.float64], lines: Lines, recipe: Recipe) -> Layout:
    """The layout of lines with the windows that a recipe gives them."""
    half = _REACH_MARGIN * reach(lines.params, recipe.wing_tolerance)
    if recipe.wing_cut:
        place = np.searchsorted(wavelength, lines.reference).clip(0, wavelength.size - 1)
        half = np.minimum(half, 0.5 * recipe.wing_cut * np.gradient(wavelength)[place])
    return make_layout(wavelength, lines.reference, half)


@cache
def _optimiser(kind: str, learning_rate: float, epochs: int) -> optax.GradientTransformation:
    """The optimiser of a recipe: one object for equal settings, so that one compilation serves."""
    if kind == "adam":
        return optax.amsgrad(learning_rate)
    schedule = optax.cosine_decay_schedule(learning_rate, epochs)
    return optax.adam(schedule, b2=0.99)


@partial(jax.jit, static_argnames=("composition", "optimiser", "epochs"))
def _descend(
    params: Array,
    stiffness: Array,
    layout: Layout,
    target: Array,
    weight: Array,
    composition: Composition,
    optimiser: optax.GradientTransformation,
    epochs: int,
) -> tuple[Array, Array]:
    """Parameters (N, 4) after `epochs` steps down the mean squared error, and their flux (P,).

    The distance from the first parameters counts with `stiffness`, in the unit in which a change
    of one is large.
    """
    width, _ = width_and_mixing(params[:, 2], params[:, 3])
    unit = jnp.ones_like(params).at[:, 0].set(_DRIFT * width)
    first = params / unit

    def loss(scaled: Array) -> Array:
        flux = render(scaled * unit, layout, composition)
        misfit = jnp.sum(weight * (flux - target) ** 2)
        bend = jnp.sum((scaled - first) ** 2)
        return (misfit + stiffness * bend) / jnp.sum(weight)

    def step(_: int, carry: tuple[Array, optax.OptState]) -> tuple[Array, optax.OptState]:
        scaled, state = carry
        change, state = optimiser.update(jax.grad(loss)(scaled), state)
        return optax.apply_updates(scaled, change), state

    last, _ = jax.lax.fori_loop(0, epochs, step, (first, optimiser.init(first)))
    return last * unit, render(last * unit, layout, composition)


def _check(spectrum: Spectrum) -> None:
    median = float(np.median(spectrum.flux[spectrum.good]))
    if not 0.05 < median < 5.0:
        raise CloneError(
            f"got a spectrum of median flux {median:.3g}, expected one normalised to its "
            "continuum; normalise it first."
        )
