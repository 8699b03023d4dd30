"""The residual: what lines do not express of the nodes, in as few numbers as an error allows.

In the space of `emulator.strength`, weighted by what the flux feels at each pixel, the spectra of
the nodes less their lines are a matrix (nodes, pixels). Its strongest modes are kept, with both
factors in whole numbers of a step. Coarse steps of many modes cost less than fine steps of few.
Nodes are weighted so that all of them err alike: no node is then better than it need be, and the
worst is as good as was asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from .evaluate import Residual, flux_of_strength, slope_of_flux, strength

DARKEST = 1e-4
"""Least flux of a node, so that its opacity is finite."""
_SOME = 4000
"""Pixels, at the most, that tell how spectra change between the nodes."""
_SHARE = 0.3
"""Of the allowed variance, what goes to the modes that are left out; the rest goes to rounding."""
_NODE_STEP = 0.5
"""Rounding of the nodes, relative to that of the pixels, in what it does to the flux."""
_SCALE_STEP = 0.05
"""Of the ln of the scale of the pixels."""
_FLATTEST = 1e-3
"""Least weight of a pixel, relative to the largest."""
_BALANCING, _TRIALS = 3, 12
"""Times that nodes are weighted anew at the least, and that a residual is tried at the most."""
_TIGHT = 0.95
"""The worst node errs by this part, at the least, of what is allowed."""
_PACE = 0.7
"""Power of a node's error, relative to that of the others, by which its weight grows."""
_AT_ONCE = 32
"""Nodes whose flux is checked at once."""


def make_residual(
    lines: NDArray[np.float32],
    flux: NDArray[np.float32],
    complete: NDArray[np.float64],
    allowed: float,
) -> Residual:
    """What lines do not express, so that no node errs by more than allowed.

    Parameters
    ----------
    lines, flux : (N, P)
        What the lines render at the nodes, and the spectra, in units of the continuum.
    complete : (box, N)
        From values at the nodes to values in the whole box (`manifold.fill_holes`).
    allowed : float
        rms error of the flux at the worst node, in units of the continuum.
    """
    rest = _rest(lines, flux)
    weight, goal = np.ones(len(flux)), allowed
    found: list[tuple[float, Residual]] = []
    for _ in range(_TRIALS):
        residual = _coded_modes(rest, weight, goal)
        errors = np.maximum(_errors(lines, flux, residual), 1e-9)
        worst = float(errors.max())
        found.append((worst, residual))
        if len(found) > _BALANCING and _TIGHT * allowed <= worst <= allowed:
            break
        weight *= (errors / np.exp(np.mean(np.log(errors)))) ** _PACE
        goal *= np.clip(0.5 * (1.0 + _TIGHT) * allowed / worst, 0.5, 1.5)
    good = [residual for worst, residual in found if worst <= allowed]
    best = good[-1] if good else min(found, key=lambda trial: trial[0])[1]
    in_box = _whole_steps(complete @ np.asarray(best.nodes), node_steps(np.asarray(best.pixels)))
    return Residual(jnp.asarray(in_box), best.pixels, best.scale)


def node_steps(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Steps (R,) in which the nodes of modes are whole numbers, from `pixels` (R, P): the
    stronger a mode, the finer."""
    return _NODE_STEP / np.maximum(np.sqrt(np.mean(pixels.astype(np.float64) ** 2, axis=1)), 1.0)


def strengths_of(flux: NDArray[np.float32]) -> NDArray[np.float64]:
    """`emulator.strength` of spectra of a library, down to the darkest that is told apart."""
    return np.asarray(strength(jnp.maximum(jnp.asarray(flux), DARKEST)), np.float64)


def some_pixels(count: int) -> slice:
    """Pixels, of so many, that tell how spectra change between the nodes."""
    return slice(None, None, -(-count // _SOME))


def scale_number(scale: NDArray[np.floating]) -> NDArray[np.int64]:
    """The number (P,) of the nearest of the scales that the pixels may have."""
    return np.round(np.log(scale.astype(np.float64)) / _SCALE_STEP).astype(np.int64)


def scale_of(number: NDArray[np.int64]) -> NDArray[np.float32]:
    """The scale (P,) of a number."""
    return np.exp(number * _SCALE_STEP).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Rest:
    """What lines lack: `values` (N, P) in strength times `felt` (P,), how much the flux changes
    with its strength, rms over the nodes; and `square` (N, N), the products of its rows."""

    values: NDArray[np.float32]
    felt: NDArray[np.float32]
    square: NDArray[np.float64]


def _rest(lines: NDArray[np.float32], flux: NDArray[np.float32]) -> _Rest:
    values = np.empty_like(flux)
    felt = np.zeros(flux.shape[1])
    for node, (wanted, rendered) in enumerate(zip(flux, lines, strict=True)):
        difference, slope = _lacking(jnp.asarray(wanted), jnp.asarray(rendered))
        values[node] = difference
        felt += np.asarray(slope, np.float64) ** 2 / len(flux)
    felt = np.sqrt(felt)
    felt = np.maximum(felt, _FLATTEST * felt.max()).astype(np.float32)
    values *= felt
    return _Rest(values, felt, (values @ values.T).astype(np.float64))


@jax.jit
def _lacking(wanted: Array, rendered: Array) -> tuple[Array, Array]:
    """What `rendered` lacks of a flux in strength, and the slope of the flux over strength."""
    value = strength(jnp.maximum(wanted, DARKEST))
    return value - strength(rendered), slope_of_flux(value)


def _coded_modes(rest: _Rest, weight: NDArray[np.float64], goal: float) -> Residual:
    """The modes that leave about the error `goal` at nodes of weight 1, rounded: eigenvectors of
    the small square matrix."""
    n_nodes, n_pixels = rest.values.shape
    eigenvalues, vectors = np.linalg.eigh(rest.square * np.outer(weight, weight))
    eigenvalues, vectors = np.maximum(eigenvalues[::-1], 0.0), vectors[:, ::-1]
    power = eigenvalues * vectors**2 / n_pixels  # (N, modes)
    left = power.sum(axis=1, keepdims=True) - np.cumsum(power, axis=1)
    enough = np.append(power.sum(axis=1).max(), left.max(axis=0)) <= _SHARE * goal**2
    count = int(np.argmax(enough)) if enough.any() else n_nodes
    vectors = vectors[:, :count]
    pixels = (vectors * weight[:, None]).T.astype(np.float32) @ rest.values / np.sqrt(n_nodes)
    variance = (1.0 - _SHARE) * goal**2 / (1.0 + _NODE_STEP**2)
    scale = scale_of(scale_number(np.sqrt(12.0 * variance / max(count, 1)) / rest.felt))
    whole = np.round(pixels / (scale * rest.felt))
    nodes = vectors * np.sqrt(n_nodes) / weight[:, None]
    return Residual(
        jnp.asarray(_whole_steps(nodes, node_steps(whole))), jnp.asarray(whole), jnp.asarray(scale)
    )


def _whole_steps(nodes: NDArray[np.floating], steps: NDArray[np.float64]) -> NDArray[np.float32]:
    return (np.round(nodes / steps) * steps).astype(np.float32)


def _errors(
    lines: NDArray[np.float32], flux: NDArray[np.float32], residual: Residual
) -> NDArray[np.float64]:
    """rms error of lines and residual at every node, (N,)."""
    errors = np.empty(len(flux))
    for first in range(0, len(flux), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        change = (residual.nodes[part] @ residual.pixels) * residual.scale
        model = flux_of_strength(strength(jnp.asarray(lines[part])) + change)
        errors[part] = np.sqrt(np.mean((np.asarray(model) - flux[part]) ** 2, axis=1))
    return errors
