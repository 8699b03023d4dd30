"""Short methods: interpolated pixels, principal components, polynomials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from blase3d.model.evaluate import flux_of_opacity_root, opacity_root
from blase3d.model.interpolation import Interpolation, make_interpolation
from blase3d.model.short_axes import fit_cross_derivatives

from .library import DARKEST, Emulator, Floats, Library


@dataclass(frozen=True)
class Space:
    """A function of the flux in which a method interpolates, and its inverse."""

    forward: Callable[[Floats], Floats]
    inverse: Callable[[Floats], Floats]


FLUX = Space(lambda f: f, lambda f: f)
SQRT_DEPTH = Space(
    lambda f: np.sqrt(np.maximum(-np.log(np.maximum(f, DARKEST)), 0.0)), lambda v: np.exp(-(v**2))
)
STRENGTH = Space(
    lambda f: np.asarray(opacity_root(jnp.maximum(f, DARKEST))),
    lambda v: np.asarray(flux_of_opacity_root(v)),
)
"""The space of our residual."""


def pixels(library: Library, work: Path, kind: str, space: Space) -> Emulator:
    """Every pixel interpolated: in the labels (`linear`), or in ln Teff and the other labels by a
    manifold of ours: tensor splines, `cubic` where the axis has enough nodes, or natural quintic
    ones (`spline`); or a ridge regression."""
    table = library.box(space.forward(library.flux)).astype(np.float32)
    return _interpolated(make_interpolation(library.axes, kind), table, space)


def borrowed(library: Library, work: Path) -> Emulator:
    """Every pixel interpolated as the lines and the residual of our models are."""
    table = library.box(STRENGTH.forward(library.flux)).astype(np.float32)
    box = table.reshape(*(axis.size for axis in library.axes.values()), -1)
    manifold = make_interpolation(library.axes, "spline", fit_cross_derivatives(library.axes, box))
    return _interpolated(manifold, table, STRENGTH)


def _interpolated(manifold: Interpolation, table: Floats, space: Space) -> Emulator:
    weights = jax.jit(manifold.weights)
    return Emulator(
        lambda labels: space.inverse(np.asarray(weights(jnp.asarray(labels, jnp.float32))) @ table),
        table.nbytes,
    )


def principal(library: Library, work: Path, count: int = 60) -> Emulator:
    """Principal components of the flux, their amplitudes by the cubic tensor spline."""
    weights = jax.jit(make_interpolation(library.axes, "cubic").weights)
    mean = library.flux.mean(axis=0)
    u, s, vt = np.linalg.svd(library.flux - mean, full_matrices=False)
    count = min(count, s.size)
    amplitudes = library.box(u[:, :count] * s[:count]).astype(np.float32)
    components = vt[:count].astype(np.float32)

    def flux(labels: Floats) -> Floats:
        at = np.asarray(weights(jnp.asarray(labels, jnp.float32))) @ amplitudes
        return mean + at @ components

    return Emulator(flux, amplitudes.nbytes + components.nbytes + mean.nbytes)


def quadratic(library: Library, work: Path) -> Emulator:
    """A quadratic polynomial of the labels for every pixel (the form of The Cannon)."""
    low, high = library.labels.min(axis=0), library.labels.max(axis=0)
    upper = np.triu_indices(len(low) + 1)

    def terms(labels: Floats) -> Floats:
        scaled = np.concatenate([[1.0], 2.0 * (labels - low) / (high - low) - 1.0])
        return np.outer(scaled, scaled)[upper]

    design = np.stack([terms(labels) for labels in library.labels])
    coefficients = np.linalg.lstsq(design, library.flux, rcond=None)[0].astype(np.float32)
    return Emulator(lambda labels: terms(labels) @ coefficients, coefficients.nbytes)
