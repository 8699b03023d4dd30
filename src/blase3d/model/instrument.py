"""What is seen of a star: the emulator's flux in motion, rotating, through an instrument.

labels ─► flux (`emulator`) ─► star: motion, rotation, turbulence ─► instrument: resolution, pixels
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ..spectra.broaden import LIMB_DARKENING, Pixels, broaden, sample, sample_mean
from ..units import SPEED_OF_LIGHT
from .evaluate import Emulator, emulate


def observe(
    emulator: Emulator,
    labels: Array,
    place: Array,
    rv: ArrayLike = 0.0,
    vsini: ArrayLike | None = None,
    resolution: ArrayLike | None = None,
    *,
    residual: bool = True,
    **sight: Any,
) -> Array:
    """Flux (Q,) of a moving, rotating star seen by an instrument, at `place` (Q,): fractional
    pixels of the steps in ln λ. Velocities in km/s; None leaves rotation or instrument out.
    `sight`: the rest of what `see` takes."""
    flux = emulate(emulator, labels, residual=residual)
    return see(emulator, flux, place, rv, vsini, resolution, **sight)


def see(
    emulator: Emulator,
    flux: Array,
    place: Array,
    rv: ArrayLike = 0.0,
    vsini: ArrayLike | None = None,
    resolution: ArrayLike | None = None,
    *,
    vmac: ArrayLike | None = None,
    limb_darkening: ArrayLike = LIMB_DARKENING,
    pixels: Pixels | None = None,
    whole: Array | None = None,
) -> Array:
    """Flux (P,) of the model's own pixels as `observe` shows it, (Q,).

    `resolution` is one number, or one for every step in ln λ of the observation, (M,); `vmac` is
    macroturbulence (km/s); `pixels` average the flux over themselves; `whole` (Q,) is added to
    `place` (see `sample`).
    """
    flux = sample(flux, emulator.to_log)
    step = emulator.velocity_step
    shift = jnp.log1p(jnp.asarray(rv) / SPEED_OF_LIGHT) * SPEED_OF_LIGHT / step
    if resolution is not None and jnp.ndim(resolution):  # emitted at one step, seen at another
        resolution = jnp.interp(
            jnp.arange(flux.size) + shift, jnp.arange(flux.size), jnp.asarray(resolution)
        )
    uniform = None if pixels is None else pixels.uniform
    if not all(effect is None for effect in (vsini, resolution, vmac, uniform)):
        flux = broaden(
            flux,
            step,
            0.0 if vsini is None else vsini,
            resolution,
            vmac=vmac,
            limb_darkening=limb_darkening,
            pixel=uniform,
        )
    if pixels is None:
        return sample(flux, place - shift, whole)
    return sample_mean(flux, place - shift, pixels, whole)
