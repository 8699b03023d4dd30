"""The star's motion and the instrument: Doppler shift, rotation, line-spread function.

All of them are convolutions in velocity, so they act on pixels of equal steps in ln λ. A kernel is
multiplied in as its Fourier transform, in closed form, so that it is exact for widths below a
pixel, conserves equivalent width and is differentiable in its width.
"""

from __future__ import annotations

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from scipy.special import j1

from .units import FWHM_PER_SIGMA, SPEED_OF_LIGHT

LIMB_DARKENING = 0.6
"""Linear limb darkening of the rotation kernel, the customary value (Gray 2005, ch. 18)."""
_STEP = 0.02
_LARGEST = 4000.0
"""The rotation kernel's transform is tabulated up to this argument, where it is below 1e-5."""


def log_grid(wavelength: NDArray[np.float64]) -> NDArray[np.float64]:
    """ln λ in equal steps over the range of `wavelength` (Å), no coarser than its finest step."""
    ln = np.log(wavelength)
    count = next_fast_len(int(np.ceil((ln[-1] - ln[0]) / np.diff(ln).min())) + 1, real=True)
    return np.linspace(ln[0], ln[-1], count)


def broaden(
    flux: Array, velocity_step: float, vsini: ArrayLike, resolution: ArrayLike | None
) -> Array:
    """Flux (M,) on equal steps in ln λ, rotated and seen at a resolution.

    Parameters
    ----------
    flux : (M,)
        Units of the continuum.
    velocity_step : float
        Step of the pixels, km/s.
    vsini : float
        Projected rotational velocity, km/s; zero leaves the flux as it is.
    resolution : float or None
        λ/Δλ with Δλ the full width at half maximum of a Gaussian; None for no instrument.

    Notes
    -----
    Beyond its ends the spectrum is taken as continuum.
    """
    count = flux.shape[0]
    padded = next_fast_len(count + count // 8 + 64, real=True)
    frequency = jnp.asarray(np.fft.rfftfreq(padded, velocity_step), jnp.float32)
    transfer = _rotation(2.0 * jnp.pi * frequency * jnp.asarray(vsini))
    if resolution is not None:
        sigma = SPEED_OF_LIGHT / FWHM_PER_SIGMA / jnp.asarray(resolution)
        transfer = transfer * jnp.exp(-0.5 * (2.0 * jnp.pi * frequency * sigma) ** 2)
    spectrum = jnp.fft.rfft(1.0 - flux, padded)
    return 1.0 - jnp.fft.irfft(spectrum * transfer, padded)[:count]


def _rotation(argument: Array) -> Array:
    """Fourier transform of the rotation kernel at u = 2π v sin i × frequency.

    Gray (2005, eq. 18.14) with x = Δv / v sin i: 2(1−ε)√(1−x²) + πε(1−x²)/2, over π(1−ε/3).
    √(1−x²) transforms to π J₁(u)/u and 1−x² to 4(sin u − u cos u)/u³.
    """
    return _table_lookup(jnp.asarray(_rotation_table()), argument)


@cache
def _rotation_table() -> NDArray[np.float32]:
    u = np.arange(1, int(_LARGEST / _STEP) + 3) * _STEP
    eps = LIMB_DARKENING
    disc = 2.0 * (1.0 - eps) * np.pi * j1(u) / u
    darkening = 0.5 * np.pi * eps * 4.0 * (np.sin(u) - u * np.cos(u)) / u**3
    table = (disc + darkening) / (np.pi * (1.0 - eps / 3.0))
    return np.append(1.0, table).astype(np.float32)


def _table_lookup(table: Array, argument: Array) -> Array:
    place = jnp.clip(argument / _STEP, 0.0, table.shape[0] - 2.0)
    left = jnp.floor(jax.lax.stop_gradient(place)).astype(jnp.int32)
    part = place - left
    return table[left] * (1.0 - part) + table[left + 1] * part


@partial(jax.jit, inline=True)
def sample(flux: Array, place: Array) -> Array:
    """Flux (M,) at fractional pixels `place` (P,), by cubic convolution (Keys 1981).

    Beyond the ends the last value goes on.
    """
    left = jnp.floor(jax.lax.stop_gradient(place)).astype(jnp.int32)
    t = place - left
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
