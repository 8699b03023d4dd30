"""The observation as arrays for compiled functions: grouped by order, in few distinct shapes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ...lines.render import round_up
from ...parameters import FITTED, parameter
from ...runtime.arrays import Floats, Integers, median
from ...spectra.broaden import Pixels, pixel_widths, pixels_of
from ...spectra.continuum import chebyshev_basis
from ...spectra.spectrum import Spectrum
from ..problem import Problem
from .error_budget import ErrorArrays

_HUGE = 1e6
"""Flux, in units of the median, at which it is clipped: float32 must hold its square."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=(
        "first",
        "whole",
        "fraction",
        "flux",
        "basis",
        "errors",
        "relative_resolution",
        "pixels",
        "limb_darkening",
    ),
    meta_fields=(),
)
@dataclass(frozen=True)
class Data:
    """The observation, order after order, padded with pixels of zero weight.

    Attributes
    ----------
    first : int
        First of the model's pixels, if the data are on these (`ForwardForm.native`).
    whole, fraction : (O·Q,)
        Position of each pixel on the model's steps in ln λ, as a sum.
    flux : (O·Q,)
        Flux in the unit of the computation (`unit_of_flux`).
    basis : (O, D, Q)
        Chebyshev polynomials of the continuum.
    errors : ErrorArrays
        Errors of pixels and model.
    relative_resolution : (M,) or None
        Resolution over its median, on the model's steps, where it varies.
    pixels : Pixels or None
        Widths of the pixels, where the flux is averaged over them.
    limb_darkening : float
        Coefficient of the rotation kernel.
    """

    first: Array
    whole: Array
    fraction: Array
    flux: Array
    basis: Array
    errors: ErrorArrays
    relative_resolution: Array | None
    pixels: Pixels | None
    limb_darkening: Array

    @property
    def size(self) -> int:
        """Number of padded pixels, O·Q."""
        return self.flux.size


@dataclass(frozen=True)
class ForwardForm:
    """Static part of the forward model; another form is compiled again.

    Attributes
    ----------
    names : tuple of str
        The parameters in θ.
    labels : tuple of str
        The labels of the model.
    neutral : tuple of str
        Parameters of the observation that are fixed at values without effect.
    native : bool
        The data are on the model's pixels, neither shifted nor broadened: nothing is resampled.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    neutral: tuple[str, ...]
    native: bool


@dataclass(frozen=True, eq=False)
class PaddedLayout:
    """The pixels (P,) of a spectrum in arrays of orders, `shape` (O, Q), flattened: pixel i is at
    `index[i]`. Q is rounded up, so that similar spectra share one compilation."""

    index: Integers
    shape: tuple[int, int]

    @property
    def size(self) -> int:
        """Number of padded pixels, O·Q."""
        return self.shape[0] * self.shape[1]

    @property
    def order(self) -> Integers:
        """Index of the order of each pixel (P,)."""
        return self.index // self.shape[1]

    def pad(self, values: NDArray[Any], dtype: type[np.number] = np.float32) -> Array:
        """Values (P,) at their places among zeros, (O·Q,)."""
        padded = np.zeros(self.size, dtype)
        padded[self.index] = values
        return jax.device_put(padded)


def layout_of(spectrum: Spectrum) -> PaddedLayout:
    """Return the arrangement of the pixels by order."""
    if spectrum.order is None:
        return PaddedLayout(np.arange(len(spectrum)), (1, round_up(len(spectrum))))
    names, order = np.unique(spectrum.order, return_inverse=True)
    count = np.bincount(order)
    length = round_up(int(count.max()))
    rank = np.empty(len(spectrum), np.int64)
    rank[np.argsort(order, kind="stable")] = np.concatenate([np.arange(n) for n in count])
    return PaddedLayout(order * length + rank, (names.size, length))


def unit_of_flux(problem: Problem) -> float:
    """Return the unit of flux of the computation, in the unit of the data: the median flux, or one
    for a spectrum that is taken as normalised."""
    spectrum = problem.spectrum
    level = median(np.abs(spectrum.flux[spectrum.good]))
    return level if problem.options.degree >= 0 and level > 0.0 else 1.0


def scaled_flux(spectrum: Spectrum, unit: float) -> Floats:
    """Return the flux (P,) in units of `unit`, zero at masked pixels."""
    return np.where(spectrum.good, np.clip(spectrum.flux / unit, -_HUGE, _HUGE), 0.0)


def make_data(problem: Problem, layout: PaddedLayout, unit: float, errors: ErrorArrays) -> Data:
    """Return the data of a problem, with fluxes in units of `unit`."""
    spectrum, options = problem.spectrum, problem.options
    whole, fraction = problem.model.split_log_pixels(spectrum.wavelength)
    return Data(
        jax.device_put(np.int32(_first_native_pixel(problem) or 0)),
        layout.pad(np.asarray(whole), np.int32),
        layout.pad(np.asarray(fraction)),
        layout.pad(scaled_flux(spectrum, unit)),
        continuum_basis(spectrum, options.degree, layout),
        errors,
        _relative_resolution(problem),
        _pixels(problem, layout),
        jax.device_put(np.float32(options.limb_darkening)),
    )


def continuum_basis(spectrum: Spectrum, degree: int, layout: PaddedLayout) -> Array:
    """Return Chebyshev polynomials (O, D, Q), each order's on the range of its used pixels.

    On a wider range they are nearly parallel where few pixels are used. Outside it they are
    constant.
    """
    basis = np.zeros((layout.size, degree + 1), np.float32)
    if degree >= 0:
        order = layout.order
        for number in range(layout.shape[0]):
            pixels = order == number
            wavelength, good = spectrum.wavelength[pixels], spectrum.good[pixels]
            used = wavelength[good] if good.sum() > 1 else wavelength
            ends = float(used.min()), float(used.max())
            clipped = np.clip(wavelength, *ends)
            basis[layout.index[pixels]] = chebyshev_basis(clipped, degree, ends)
    return jax.device_put(np.moveaxis(basis.reshape(*layout.shape, degree + 1), 1, 2))


def _relative_resolution(problem: Problem) -> Array | None:
    """Resolution over its median, (M,) on the model's steps, where it varies."""
    varying = problem.spectrum.pixel_resolution
    if varying is None or problem.spectrum.resolution is None:
        return None
    relative = varying / problem.spectrum.resolution
    found = problem.model.log_resolution(relative, problem.spectrum.wavelength)
    return jnp.asarray(found, jnp.float32)


def _pixels(problem: Problem, layout: PaddedLayout) -> Pixels | None:
    if not problem.options.integrate:
        return None
    spectrum = problem.spectrum
    widths = np.empty(len(spectrum))
    for number in range(layout.shape[0]):
        pixels = layout.order == number
        widths[pixels] = pixel_widths(spectrum.wavelength[pixels])
    # a pixel beside a gap is not wide
    widths = np.minimum(widths, 2.0 * np.median(widths))
    found = pixels_of(widths, problem.model.forward.velocity_step)
    if found.points == 0:
        return found
    return replace(found, width=layout.pad(np.asarray(found.width)))


def form_of(problem: Problem) -> ForwardForm:
    """Return the static part of the forward model of a problem."""
    native = _first_native_pixel(problem) is not None
    return ForwardForm(problem.names, problem.model.label_names, _neutral(problem), native)


def _neutral(problem: Problem) -> tuple[str, ...]:
    """Parameters of the observation that are fixed at values without effect."""
    fixed = problem.fixed
    return tuple(name for name in FITTED if fixed.get(name) == parameter(name).neutral)


def _first_native_pixel(problem: Problem) -> int | None:
    """First of the model's pixels, if the data are on these, neither shifted nor broadened."""
    broadened = _neutral(problem) != FITTED or problem.options.integrate
    if broadened or problem.spectrum.order is not None:
        return None
    native = problem.model.native_pixels(problem.spectrum.wavelength)
    return None if native is None else native.start
