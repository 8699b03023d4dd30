"""The forward model: parameters to flux on the pixels of the data, and its derivatives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from ...model.evaluate import ForwardModel, evaluate
from ...model.instrument import Broadening, apply_instrument
from ...runtime.traces import traced_once
from .data import Data, ForwardForm


def parameters_at(theta: Array, fixed: dict[str, Array], form: ForwardForm) -> dict[str, Array]:
    """Return every parameter by name, from θ (K,) and the fixed ones."""
    return {**fixed, **dict(zip(form.names, theta, strict=True))}


def observed_flux(
    forward: ForwardModel, flux: Array, data: Data, value: dict[str, Array], form: ForwardForm
) -> Array:
    """Return the flux (P,) of the model's pixels as observed, on the padded pixels (O·Q,)."""
    if form.native:
        padded = jnp.pad(flux, (0, data.size))
        return jax.lax.dynamic_slice(padded, (data.first,), (data.size,))
    effects = {name: x for name, x in value.items() if name not in form.neutral}
    if "resolution" in effects and data.relative_resolution is not None:
        effects["resolution"] = effects["resolution"] * data.relative_resolution
    effects["limb_darkening"] = data.limb_darkening
    broadening = Broadening.of(effects, data.pixels)
    return apply_instrument(forward, flux, data.fraction, broadening, whole=data.whole)


def predict(
    forward: ForwardModel, data: Data, theta: Array, fixed: dict[str, Array], form: ForwardForm
) -> Array:
    """Return the normalised flux at θ on the padded pixels (O·Q,)."""
    value = parameters_at(theta, fixed, form)
    labels = jnp.stack([value[name] for name in form.labels])
    return observed_flux(forward, evaluate(forward, labels), data, value, form)


def predict_with_slopes(
    forward: ForwardModel, data: Data, theta: Array, fixed: dict[str, Array], form: ForwardForm
) -> tuple[Array, Array]:
    """Return the normalised flux (O·Q,) and its derivatives by θ (K, O·Q).

    Only labels change the flux that the star emits, so only they are propagated through the lines.
    """
    # compiled one by one: compiled together they take a fifth longer
    star, slopes = _star_with_slopes(forward, theta, fixed, form)
    return _observed_with_slopes(forward, data, star, slopes, theta, fixed, form)


@traced_once(static="form")
def _star_with_slopes(
    forward: ForwardModel, theta: Array, fixed: dict[str, Array], form: ForwardForm
) -> tuple[Array, Array]:
    """Flux on the model's pixels (P,), and its derivatives by θ (K, P)."""
    value = parameters_at(theta, fixed, form)
    labels = jnp.stack([value[name] for name in form.labels])
    rows = [k for k, name in enumerate(form.names) if name in form.labels]
    if not rows:
        star = evaluate(forward, labels)
        return star, jnp.zeros((len(form.names), star.size))
    free = [form.labels.index(form.names[k]) for k in rows]
    directions = jnp.eye(len(form.labels))[jnp.asarray(free)]
    star, of_labels = _pushed(partial(evaluate, forward), (labels,), (directions,))
    slopes = jnp.zeros((len(form.names), star.size))
    return star, slopes.at[jnp.asarray(rows)].set(of_labels)


@traced_once(static="form")
def _observed_with_slopes(
    forward: ForwardModel,
    data: Data,
    star: Array,
    slopes: Array,
    theta: Array,
    fixed: dict[str, Array],
    form: ForwardForm,
) -> tuple[Array, Array]:
    def observed(star: Array, theta: Array) -> Array:
        return observed_flux(forward, star, data, parameters_at(theta, fixed, form), form)

    return _pushed(observed, (star, theta), (slopes, jnp.eye(len(form.names))))


def _pushed(
    function: Callable[..., Array], at: tuple[Array, ...], directions: tuple[Array, ...]
) -> tuple[Array, Array]:
    """Value of a function, and its derivatives along rows of directions."""

    def along(*direction: Array) -> tuple[Array, Array]:
        return jax.jvp(function, at, direction)

    return jax.vmap(along, out_axes=(None, 0))(*directions)
