"""The star's motion and the instrument: Doppler shift, rotation, macroturbulence, line spread,
pixels.

All of them are convolutions in velocity, so they act on pixels of equal steps in ln λ. A kernel is
multiplied in as its Fourier transform, in closed form, so that it is exact for widths below a
pixel, conserves equivalent width and is differentiable in its width.

A line spread that varies along the spectrum is no single convolution. Light of wavelength λ₀ is
spread with the width σ(λ₀) that belongs to it, which conserves equivalent width whatever σ does.
The Gaussian's transform is interpolated in ln σ between a few widths (`_WIDTHS` Chebyshev points
from the smallest to the largest), so that the whole is a sum of that many convolutions, each of
the spectrum times a weight. Where the largest width is twice the smallest the flux is right to
1e-6, at five times to 1e-4, at ten times to 1e-3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from scipy.special import j1

from ..parameters import LIMB_DARKENING as LIMB_DARKENING
from ..runtime.arrays import Floats
from ..units import FWHM_PER_SIGMA, SPEED_OF_LIGHT

_STEP = 0.02
_LARGEST = 4000.0
"""The rotation kernel's transform is tabulated up to this argument, where it is below 1e-5."""
_WIDTHS = 8
"""Widths between which a varying line spread is interpolated."""
_UNIFORM = 2e-3
"""Pixel widths (km/s) that differ by less than this part count as equal."""
_POINTS = 2
"""Points a step in ln λ, beside one more, at which the flux of a pixel is averaged."""


def log_grid(wavelength: Floats) -> Floats:
    """ln λ in equal steps over the range of `wavelength` (Å), no coarser than its finest step."""
    ln = np.log(wavelength)
    count = next_fast_len(int(np.ceil((ln[-1] - ln[0]) / np.diff(ln).min())) + 1, real=True)
    return np.linspace(ln[0], ln[-1], count)


def broaden(
    flux: Array,
    velocity_step: float,
    vsini: ArrayLike,
    resolution: ArrayLike | None,
    *,
    vmac: ArrayLike | None = None,
    limb_darkening: ArrayLike = LIMB_DARKENING,
    pixel: ArrayLike | None = None,
) -> Array:
    """Flux (M,) on equal steps in ln λ, of a rotating and turbulent star seen by an instrument.

    Parameters
    ----------
    flux : (M,)
        Units of the continuum.
    velocity_step : float
        Step of the pixels, km/s.
    vsini : float
        Projected rotational velocity, km/s; zero leaves the flux as it is.
    resolution : float, (M,) or None
        λ/Δλ with Δλ the full width at half maximum of a Gaussian, one for all or one for each
        pixel; None for no instrument.
    vmac : float, optional
        Radial–tangential macroturbulence ζ, km/s (`macroturbulence`).
    limb_darkening : float
        Linear coefficient of the rotation kernel, 0 to 1.
    pixel : float, optional
        Width of the detector's pixels, km/s, over which the flux is averaged.

    Notes
    -----
    Beyond its ends the spectrum is taken as continuum.
    """
    count = flux.shape[0]
    padded = next_fast_len(count + count // 8 + 64, real=True)
    frequency = jnp.asarray(np.fft.rfftfreq(padded, velocity_step), jnp.float32)
    transfer = _rotation(2.0 * jnp.pi * frequency * jnp.asarray(vsini), limb_darkening)
    if vmac is not None:
        transfer = transfer * macroturbulence(frequency, vmac)
    if pixel is not None:
        transfer = transfer * jnp.sinc(frequency * jnp.asarray(pixel))
    spread = _line_spread(1.0 - flux, frequency, resolution, padded)
    return 1.0 - jnp.fft.irfft(spread * transfer, padded)[:count]


def macroturbulence(frequency: Array, vmac: ArrayLike) -> Array:
    """Fourier transform, at `frequency` (F,) in s/km, of the radial–tangential kernel.

    Half of the surface moves radially, half tangentially, both with Gaussian velocities of
    dispersion ζ/√2 (Gray 2005, eq. 17.6; no limb darkening). The kernel is the mean over the disc,
    2μ dμ, of Gaussians exp(−v²/ζ²μ²) and exp(−v²/ζ²(1−μ²)), whose transforms are exp(−aμ²) and
    exp(−a(1−μ²)) with a = (πζ × frequency)²; both have the mean (1 − exp(−a))/a.
    """
    a = (jnp.pi * frequency * jnp.asarray(vmac)) ** 2
    small = a < 1e-3
    safe = jnp.where(small, 1.0, a)
    return jnp.where(small, 1.0 - a / 2.0 + a**2 / 6.0, -jnp.expm1(-safe) / safe)


def _line_spread(
    depth: Array, frequency: Array, resolution: ArrayLike | None, padded: int
) -> Array:
    """Fourier transform (F,) of a depth (M,) spread by the instrument."""
    if resolution is None:
        return jnp.fft.rfft(depth, padded)
    sigma = SPEED_OF_LIGHT / FWHM_PER_SIGMA / jnp.asarray(resolution)
    if sigma.ndim == 0:
        return jnp.fft.rfft(depth, padded) * _gauss(frequency, sigma)
    ln = jnp.log(sigma)
    low, high = jnp.min(ln) - 1e-3, jnp.max(ln) + 1e-3
    nodes = np.cos(np.pi * (np.arange(_WIDTHS) + 0.5) / _WIDTHS)
    weights = _lagrange(nodes, (2.0 * ln - low - high) / (high - low))
    widths = jnp.exp(0.5 * (low + high) + 0.5 * (high - low) * jnp.asarray(nodes))
    parts = jnp.fft.rfft(weights * depth, padded)
    return jnp.sum(parts * jax.vmap(partial(_gauss, frequency))(widths), axis=0)


def _gauss(frequency: Array, sigma: Array) -> Array:
    return jnp.exp(-0.5 * (2.0 * jnp.pi * frequency * sigma) ** 2)


def _lagrange(nodes: Floats, x: Array) -> Array:
    """Lagrange's polynomials of `nodes` (K,) at x (M,), (K, M); they add up to one."""
    rows = []
    for k, node in enumerate(nodes):
        others = np.delete(nodes, k)
        factors = (x - jnp.asarray(others)[:, None]) / jnp.asarray(node - others)[:, None]
        rows.append(jnp.prod(factors, axis=0))
    return jnp.stack(rows)


def _rotation(argument: Array, limb_darkening: ArrayLike) -> Array:
    """Fourier transform of the rotation kernel at u = 2π v sin i × frequency.

    Gray (2005, eq. 18.14) with x = Δv / v sin i: 2(1−ε)√(1−x²) + πε(1−x²)/2, over π(1−ε/3).
    √(1−x²) transforms to π J₁(u)/u and 1−x² to 4(sin u − u cos u)/u³.
    """
    eps = jnp.asarray(limb_darkening)
    disc, darkening = _table_lookup(jnp.asarray(_rotation_table()), argument)
    return ((1.0 - eps) * disc + eps * (2.0 / 3.0) * darkening) / (1.0 - eps / 3.0)


@cache
def _rotation_table() -> NDArray[np.float32]:
    """2 J₁(u)/u and 3 (sin u − u cos u)/u³, both one at u = 0, (2, U)."""
    u = np.arange(1, int(_LARGEST / _STEP) + 3) * _STEP
    both = [2.0 * j1(u) / u, 3.0 * (np.sin(u) - u * np.cos(u)) / u**3]
    return np.pad(np.array(both), ((0, 0), (1, 0)), constant_values=1.0).astype(np.float32)


def _table_lookup(table: Array, argument: Array) -> Array:
    place = jnp.clip(argument / _STEP, 0.0, table.shape[1] - 2.0)
    left = jnp.floor(jax.lax.stop_gradient(place)).astype(jnp.int32)
    part = place - left
    ends = table[:, jnp.add.outer(jnp.arange(2), left)]  # one gather, as in `sample`
    return ends[:, 0] * (1.0 - part) + ends[:, 1] * part


@partial(jax.jit, inline=True)
def sample(flux: Array, place: Array, whole: Array | None = None) -> Array:
    """Flux (M,) at fractional pixels `place` (P,), by cubic convolution (Keys 1981).

    `whole` (P,), int32, is added to `place` where float32 could not hold the sum to a thousandth
    of a pixel. Beyond the ends the last value goes on.
    """
    left = jnp.floor(jax.lax.stop_gradient(place)).astype(jnp.int32)
    t = place - left
    left = left if whole is None else left + whole
    weights = (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    last = flux.shape[0] - 1
    # one gather: stacked gathers come out wrong under vmap on large arrays (XLA on CPU, JAX 0.10)
    neighbours = jnp.clip(jnp.add.outer(jnp.arange(-1, 3), left), 0, last)
    return jnp.sum(jnp.stack(weights) * flux[neighbours], axis=0)


@partial(jax.tree_util.register_dataclass, data_fields=("width",), meta_fields=("points",))
@dataclass(frozen=True, eq=False)
class Pixels:
    """Pixels that average the flux: all of one `width` (), km/s, where `points` is 0; else each
    of its own `width` (Q,), in steps in ln λ, averaged over so many points."""

    width: Array
    points: int

    @property
    def uniform(self) -> Array | None:
        """The one width, km/s, that goes into `broaden`, if there is one."""
        return self.width if self.points == 0 else None


def pixels_of(width: Floats, velocity_step: float) -> Pixels:
    """Pixels of widths (Q,), km/s, on steps of `velocity_step` (km/s)."""
    if np.ptp(width) <= _UNIFORM * width.max():
        return Pixels(jnp.asarray(width.mean(), jnp.float32), 0)
    steps = width / velocity_step
    points = 1 + int(np.ceil(_POINTS * steps.max()))
    return Pixels(jnp.asarray(steps, jnp.float32), points)


def pixel_widths(wavelength: Floats) -> Floats:
    """Widths (Q,), km/s, of pixels that touch midway between their wavelengths (Q,), increasing."""
    ln = np.log(wavelength)
    edges = np.concatenate([[1.5 * ln[0] - 0.5 * ln[1]], 0.5 * (ln[1:] + ln[:-1])])
    edges = np.append(edges, 1.5 * ln[-1] - 0.5 * ln[-2])
    return SPEED_OF_LIGHT * np.diff(edges)


def sample_mean(flux: Array, place: Array, pixels: Pixels, whole: Array | None = None) -> Array:
    """Flux (M,) averaged over pixels around `place` (P,), as in `sample`.

    Gauss–Legendre quadrature over each pixel of the interpolated flux; uniform pixels are averaged
    in `broaden` already, and only sampled here.
    """
    if pixels.points == 0:
        return sample(flux, place, whole)
    x, w = np.polynomial.legendre.leggauss(pixels.points)
    places = place + 0.5 * jnp.asarray(x, place.dtype)[:, None] * pixels.width
    base = None if whole is None else jnp.broadcast_to(whole, places.shape).ravel()
    values = sample(flux, places.ravel(), base).reshape(places.shape)
    return jnp.asarray(0.5 * w, values.dtype) @ values
