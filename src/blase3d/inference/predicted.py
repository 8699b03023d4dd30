"""What a model predicts for the pixels of an observation, and its derivatives."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..model import Emulator, emulate, see
from .observed import Data, Form


def values_of(theta: Array, fixed: dict[str, Array], form: Form) -> dict[str, Array]:
    """Every parameter by its name, of those at θ (K,) and the fixed ones."""
    return {**fixed, **dict(zip(form.names, theta, strict=True))}


def seen_by(
    emulator: Emulator, flux: Array, data: Data, value: dict[str, Array], form: Form
) -> Array:
    """Flux of the model's own pixels as the data show it."""
    if form.native:
        size = data.place.size
        return jax.lax.dynamic_slice(jnp.pad(flux, (0, size)), (data.first,), (size,))
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
    value = values_of(theta, fixed, form)
    labels = jnp.stack([value[name] for name in form.labels])
    return seen_by(emulator, emulate(emulator, labels), data, value, form)


def predict_with_slopes(
    emulator: Emulator, data: Data, theta: Array, fixed: dict[str, Array], form: Form
) -> tuple[Array, Array]:
    """The same (Q,), and its derivatives by θ (K, Q).

    Only labels change the star's own flux, so only they are followed through the lines.
    """
    value = values_of(theta, fixed, form)
    labels = jnp.stack([value[name] for name in form.labels])
    moved = [form.labels.index(name) for name in form.names if name in form.labels]
    star, push = jax.linearize(partial(emulate, emulator), labels)
    directions = np.eye(len(form.labels), dtype=np.float32)[moved]
    slopes = jax.vmap(push)(jnp.asarray(directions)) if moved else jnp.zeros((0, star.size))

    def seen(star: Array, theta: Array) -> Array:
        return seen_by(emulator, star, data, values_of(theta, fixed, form), form)

    flux, push_on = jax.linearize(seen, star, theta)
    every = jnp.zeros((len(form.names), star.size))
    rows = [form.names.index(form.labels[k]) for k in moved]
    every = every.at[jnp.asarray(rows, jnp.int32)].set(slopes) if moved else every
    return flux, jax.vmap(push_on)(every, jnp.eye(len(form.names)))
