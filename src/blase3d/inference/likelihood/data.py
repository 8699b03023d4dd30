"""The observation as the compiled functions take it: arrays of stable shapes, in order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ...lines.render import round_up
from ...parameters import FITTED, parameter
from ...spectra.broaden import Pixels, pixel_widths, pixels_of
from ...spectra.continuum import chebyshev_basis
from ...spectra.spectrum import Spectrum
from ..problem import Problem
from .line_errors import Cells, no_cells

Floats = NDArray[np.float64]

_HUGE = 1e6
"""Flux, in units of its median, beyond which one outlier is as good as another."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=(
        "first",
        "whole",
        "place",
        "flux",
        "weight",
        "basis",
        "modes",
        "gram",
        "cells",
        "sharpness",
        "pixels",
        "dark",
    ),
    meta_fields=(),
)
@dataclass(frozen=True)
class Data:
    """The observation in its final form, padded with pixels of no weight to stable shapes.

    `first` of the model's own pixels that the data stand on, if they do (`Form.native`); `whole` +
    `place` (O·Q,) pixels on the model's steps in ln λ, order after order; `flux` in
    units of its median; `weight`, inverse errors; `basis` (O, D, Q) of the continuum; `modes`
    (E, O·Q) of the emulator's error, whitened, and their products `gram` (E, E); `cells`, what
    single lines may be wrong by; `sharpness` (M,) how the resolution varies on the model's steps,
    or None; `pixels` to average over, or None; `dark` limb darkening.
    """

    first: Array
    whole: Array
    place: Array
    flux: Array
    weight: Array
    basis: Array
    modes: Array
    gram: Array
    cells: Cells
    sharpness: Array | None
    pixels: Pixels | None
    dark: Array


@dataclass(frozen=True)
class Form:
    """What decides the shape of the computation: names, and which effects take part.

    `native`: the data stand on the model's own pixels, and nothing moves or broadens them; then no
    resampling takes place.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    instrument: bool
    rotation: bool
    turbulence: bool
    native: bool


def unit_of_flux(problem: Problem) -> float:
    """The unit of flux in the computation, in that of the data."""
    spectrum = problem.spectrum
    median = float(np.median(np.abs(spectrum.flux[spectrum.good])))
    # a spectrum taken as normalised is not to be scaled
    return median if problem.options.continuum_degree >= 0 and median > 0.0 else 1.0


def observe(problem: Problem, weight: Floats, scale: float) -> tuple[NDArray[np.int64], Data]:
    """Where the pixels (P,) stand in the padded arrays, and these, with flux in units of `scale`,
    inverse errors `weight` (P,) in that unit, and no modes of the emulator's error."""
    spectrum, options = problem.spectrum, problem.options
    index, shape = _arrangement(spectrum)
    modes = len(problem.model.error_modes)
    whole, place = problem.model.split_places(spectrum.wavelength)
    return index, Data(
        jnp.int32(_own_place(problem) or 0),
        _padded(np.asarray(whole), index, shape).astype(jnp.int32),
        _padded(np.asarray(place), index, shape),
        _padded(_tamed(spectrum, scale), index, shape),
        _padded(np.where(spectrum.good, weight, 0.0), index, shape),
        _continuum_basis(spectrum, options.continuum_degree, index, shape),
        jnp.zeros((modes, shape[0] * shape[1]), jnp.float32),
        jnp.zeros((modes, modes), jnp.float32),
        no_cells(shape[0] * shape[1]),
        _sharpness(problem),
        _pixels(problem, index, shape),
        jnp.float32(options.limb_darkening),
    )


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
    """Chebyshev polynomials of each order on the range of its used pixels, (O, D, Q): on a wider
    one they are nearly parallel where few pixels are left. Beyond it they stay as they are."""
    basis = np.zeros((shape[0] * shape[1], degree + 1), np.float32)
    if degree >= 0:
        order = index // shape[1]
        for number in range(shape[0]):
            pixels = order == number
            wavelength, good = spectrum.wavelength[pixels], spectrum.good[pixels]
            used = wavelength[good] if good.sum() > 1 else wavelength
            ends = float(used.min()), float(used.max())
            basis[index[pixels]] = chebyshev_basis(np.clip(wavelength, *ends), degree, ends)
    return jnp.asarray(np.moveaxis(basis.reshape(*shape, degree + 1), 1, 2))


def _sharpness(problem: Problem) -> Array | None:
    """Resolution over its usual value, (M,) on the model's steps."""
    varying = problem.spectrum.pixel_resolution
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
    found = pixels_of(widths, problem.model.forward.velocity_step)
    if found.points == 0:
        return found
    return replace(found, width=_padded(np.asarray(found.width), index, shape))


def form_of(problem: Problem) -> Form:
    """Which effects take part in a problem."""

    def works(name: str) -> bool:
        return name in problem.free or problem.fixed[name] != parameter(name).neutral

    return Form(
        problem.names,
        problem.model.label_names,
        works("resolution"),
        works("vsini"),
        works("vmac"),
        _own_place(problem) is not None,
    )


def _own_place(problem: Problem) -> int | None:
    """The first of the model's own pixels that the data stand on; None if they do not, or not
    always."""
    plain = all(problem.fixed.get(name) == parameter(name).neutral for name in FITTED)
    if not plain or problem.options.integrate or problem.spectrum.order is not None:
        return None
    own = problem.model.own_pixels(problem.spectrum.wavelength)
    return None if own is None else own.start
