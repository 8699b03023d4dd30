"""Checks of the arguments of `Model.flux`. Traced values pass: their numbers are unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ..errors import InputError, LabelError
from ..parameters import parameter
from ..runtime.units import SPEED_OF_LIGHT

_ALLOWED = {
    "rv": (-SPEED_OF_LIGHT, SPEED_OF_LIGHT, "km/s below the speed of light"),
    "vsini": (0.0, SPEED_OF_LIGHT, "km/s from zero"),
    "vmac": (0.0, SPEED_OF_LIGHT, "km/s from zero"),
    "resolution": (np.finfo(float).tiny, np.inf, "a positive λ/Δλ, or inf"),
    "limb_darkening": (*parameter("limb_darkening").range, "zero to one"),
    "dilution": (-np.finfo(float).max, 1.0, "a fraction up to one"),
}
"""Least and largest value of a parameter of the observation, and both in words."""


def check_label(name: str, value: Any) -> None:
    """Raise LabelError unless a label is one real number, which may be traced."""
    traced = isinstance(value, jax.core.Tracer)
    if np.ndim(value) == 0 and (traced or np.asarray(value).dtype.kind in "biuf"):
        return
    got = f"of shape {np.shape(value)}" if np.ndim(value) else repr(value)
    raise LabelError(
        f"got {name} {got}, expected one number; evaluate many stars with jax.vmap or a loop."
    )


def check_observation(values: Mapping[str, Any], wavelength: Any) -> None:
    """Raise InputError for a parameter of the observation that no star or instrument has, and for
    a resolution that is not one for all wavelengths (Q,) or one for each."""
    for name, (low, high, words) in _ALLOWED.items():
        value = values[name]
        if value is None or callable(value) or isinstance(value, jax.core.Tracer):
            continue
        try:
            numbers = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            numbers = np.array(np.nan)
        if not ((numbers >= low) & (numbers <= high)).all():
            raise InputError(f"got {name}={value!r}, expected {words}; correct it.")
        if name == "resolution" and numbers.ndim and numbers.shape != np.shape(wavelength):
            raise InputError(
                f"got resolutions of shape {numbers.shape}, expected {np.shape(wavelength)} as the "
                "wavelengths; give one for each, or one for all."
            )


def check_wavelengths(wavelength: Any, integrate: bool) -> None:
    """Raise InputError unless wavelengths are numbers, and increasing where pixels are averaged."""
    if isinstance(wavelength, jax.core.Tracer):
        return
    try:
        numbers = np.asarray(wavelength, np.float64)
    except (TypeError, ValueError):
        numbers = np.array(np.nan)
    if not (np.isfinite(numbers) & (numbers > 0.0)).all():
        raise InputError(
            "got wavelengths that are no finite positive numbers, expected Å; correct them."
        )
    if integrate and not (numbers.ndim == 1 and numbers.size > 1 and (np.diff(numbers) > 0).all()):
        raise InputError(
            "got integrate=True and wavelengths that do not increase, expected those of two or "
            "more pixels; sort them."
        )
