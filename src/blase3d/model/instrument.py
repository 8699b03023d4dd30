"""The observed flux: Doppler shift, rotation, macroturbulence, resolution, pixels, dilution.

    labels ─► flux (`evaluate`) ─► motion, rotation, turbulence ─► line spread, pixels ─► dilution

`Broadening` holds all that is said of an observation, and `apply_instrument` applies it. Both the
fits and the line information take it from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ..parameters import FITTED, LIMB_DARKENING
from ..runtime.units import SPEED_OF_LIGHT
from ..spectra.broaden import Pixels, broaden, sample, sample_mean
from .evaluate import ForwardModel, between_pixels, evaluate


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("rv", "vsini", "vmac", "resolution", "limb_darkening", "pixels", "dilution"),
    meta_fields=(),
)
@dataclass(frozen=True)
class Broadening:
    """Effects of rotation and instrument; None omits an effect and its computation.

    Attributes
    ----------
    rv : float
        Radial velocity, km/s.
    vsini, vmac : float or None
        Rotation and radial–tangential macroturbulence, km/s.
    resolution : float, (M,) or None
        λ/Δλ of the instrument, one for all or one for every step in ln λ of the observation.
    limb_darkening : float
        Linear coefficient of the rotation kernel.
    pixels : Pixels or None
        Detector pixels over which the flux is averaged; None: it is given at points.
    dilution : float or None
        Fraction d of light without lines: the flux F becomes (1 − d) F + d.
    """

    rv: ArrayLike = 0.0
    vsini: ArrayLike | None = None
    vmac: ArrayLike | None = None
    resolution: ArrayLike | None = None
    limb_darkening: ArrayLike = LIMB_DARKENING
    pixels: Pixels | None = None
    dilution: ArrayLike | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any], pixels: Pixels | None = None) -> Broadening:
        """The broadening at these values of parameters.

        Parameters
        ----------
        values : dict
            Every parameter of the star by name, labels included. Those that are missing or None
            have no effect. A macroturbulence that depends on the labels belongs here.
        pixels : Pixels, optional
            Of the detector.
        """
        given = {
            name: values[name]
            for name in (*FITTED, "limb_darkening")
            if values.get(name) is not None
        }
        return cls(**given, pixels=pixels)

    @property
    def neutral(self) -> bool:
        """Whether nothing broadens or dilutes the flux. It may still be shifted."""
        return self.only_shifts and self.dilution is None

    @property
    def only_shifts(self) -> bool:
        """Whether the flux is neither broadened nor averaged over pixels."""
        effects = (self.vsini, self.vmac, self.resolution, self.pixels)
        return all(effect is None for effect in effects)


def observe(
    forward: ForwardModel,
    labels: Array,
    pixel: Array,
    broadening: Broadening,
    *,
    whole: Array | None = None,
    residual: bool = True,
) -> Array:
    """Flux (Q,) of a star of these labels as it is observed (`apply_instrument`)."""
    flux = evaluate(forward, labels, residual=residual)
    return apply_instrument(forward, flux, pixel, broadening, whole=whole)


def apply_instrument(
    forward: ForwardModel,
    flux: Array,
    pixel: Array,
    broadening: Broadening,
    *,
    whole: Array | None = None,
) -> Array:
    """Flux (P,) on the model's pixels as it is observed, (Q,).

    It is interpolated once where it is only shifted, otherwise twice: to equal steps in ln λ, on
    which it is broadened, and from these to the observed pixels. The dilution comes last. Before,
    the flux would be the same, but a negative one would leave none in the cores of lines, whose
    opacity is interpolated.

    Parameters
    ----------
    pixel : (Q,)
        Fractional pixels of the steps in ln λ at which the flux is observed.
    whole : (Q,) int32, optional
        Added to `pixel`, where float32 could not hold the sum (`broaden.sample`).
    """
    found = _broadened(forward, flux, pixel, broadening, whole)
    diluted = broadening.dilution
    return found if diluted is None else found + diluted * (1.0 - found)


def _broadened(
    forward: ForwardModel,
    flux: Array,
    pixel: Array,
    broadening: Broadening,
    whole: Array | None,
) -> Array:
    step, resolution, pixels = forward.velocity_step, broadening.resolution, broadening.pixels
    shift = jnp.log1p(jnp.asarray(broadening.rv) / SPEED_OF_LIGHT) * SPEED_OF_LIGHT / step
    if broadening.only_shifts:
        return between_pixels(forward, flux, *forward.native_position(pixel - shift, whole))
    flux = between_pixels(forward, flux, forward.to_log, forward.to_log_whole)
    if resolution is not None and jnp.ndim(resolution):  # emitted at one step, observed at another
        resolution = jnp.interp(
            jnp.arange(flux.size) + shift, jnp.arange(flux.size), jnp.asarray(resolution)
        )
    uniform = None if pixels is None else pixels.uniform
    effects = (broadening.vsini, resolution, broadening.vmac, uniform)
    if not all(effect is None for effect in effects):
        flux = broaden(
            flux,
            step,
            0.0 if broadening.vsini is None else broadening.vsini,
            resolution,
            vmac=broadening.vmac,
            limb_darkening=broadening.limb_darkening,
            pixel=uniform,
        )
    if pixels is None:
        return sample(flux, pixel - shift, whole)
    return sample_mean(flux, pixel - shift, pixels, whole)
