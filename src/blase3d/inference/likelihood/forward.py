"""What a model predicts for the pixels of an observation, and its derivatives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from ...model.evaluate import ForwardModel, evaluate
from ...model.instrument import Broadening, apply_instrument
from .data import Data, Form


def values_of(theta: Array, fixed: dict[str, Array], form: Form) -> dict[str, Array]:
    """Every parameter by its name, of those at θ (K,) and the fixed ones."""
    return {**fixed, **dict(zip(form.names, theta, strict=True))}


def seen_by(
    emulator: ForwardModel, flux: Array, data: Data, value: dict[str, Array], form: Form
) -> Array:
    """Flux of the model's own pixels as the data show it."""
    if form.native:
        size = data.place.size
        return jax.lax.dynamic_slice(jnp.pad(flux, (0, size)), (data.first,), (size,))
    effects = {"resolution": form.instrument, "vsini": form.rotation, "vmac": form.turbulence}
    value = {name: x for name, x in value.items() if effects.get(name, True)}
    if form.instrument and data.sharpness is not None:
        value["resolution"] = value["resolution"] * data.sharpness
    broadening = Broadening.of({**value, "limb_darkening": data.dark}, data.pixels)
    return apply_instrument(emulator, flux, data.place, broadening, whole=data.whole)


def predict(
    emulator: ForwardModel, data: Data, theta: Array, fixed: dict[str, Array], form: Form
) -> Array:
    """Normalised flux at θ on the padded pixels of the data."""
    value = values_of(theta, fixed, form)
    labels = jnp.stack([value[name] for name in form.labels])
    return seen_by(emulator, evaluate(emulator, labels), data, value, form)


def predict_with_slopes(
    emulator: ForwardModel, data: Data, theta: Array, fixed: dict[str, Array], form: Form
) -> tuple[Array, Array]:
    """The same (O·Q,), and its derivatives by θ (K, O·Q).

    Only labels change the star's own flux, so only they are followed through the lines.
    """
    star, slopes = _star_with_slopes(emulator, theta, fixed, form)
    return _seen_with_slopes(emulator, data, star, slopes, theta, fixed, form)


# compiled one by one: together they take a fifth longer


@partial(jax.jit, static_argnames="form")
def _star_with_slopes(
    emulator: ForwardModel, theta: Array, fixed: dict[str, Array], form: Form
) -> tuple[Array, Array]:
    """The star's own flux (P,), and its derivatives by θ (K, P)."""
    value = values_of(theta, fixed, form)
    labels = jnp.stack([value[name] for name in form.labels])
    rows = [k for k, name in enumerate(form.names) if name in form.labels]
    if not rows:
        star = evaluate(emulator, labels)
        return star, jnp.zeros((len(form.names), star.size))
    moved = [form.labels.index(form.names[k]) for k in rows]
    directions = jnp.eye(len(form.labels))[jnp.asarray(moved)]
    star, slopes = _pushed(partial(evaluate, emulator), (labels,), (directions,))
    every = jnp.zeros((len(form.names), star.size))
    return star, every.at[jnp.asarray(rows)].set(slopes)


@partial(jax.jit, static_argnames="form")
def _seen_with_slopes(
    emulator: ForwardModel,
    data: Data,
    star: Array,
    slopes: Array,
    theta: Array,
    fixed: dict[str, Array],
    form: Form,
) -> tuple[Array, Array]:
    def seen(star: Array, theta: Array) -> Array:
        return seen_by(emulator, star, data, values_of(theta, fixed, form), form)

    return _pushed(seen, (star, theta), (slopes, jnp.eye(len(form.names))))


def _pushed(
    function: Callable[..., Array], at: tuple[Array, ...], directions: tuple[Array, ...]
) -> tuple[Array, Array]:
    """A function's value, and its derivatives along rows of directions."""

    def along(*direction: Array) -> tuple[Array, Array]:
        return jax.jvp(function, at, direction)

    return jax.vmap(along, out_axes=(None, 0))(*directions)
