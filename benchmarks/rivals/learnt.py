"""Emulators in the form of Starfish and of The Payne, trained on the nodes of a library.

They have the form of these codes and are written from the papers; neither code is used.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .library import Emulator, Floats, Library, NotAvailable

VARIANCE = 0.9999
"""Fraction of the variance that the principal components hold, and the most components."""
MOST = 50
HIDDEN = 300
"""Neurons of both layers, as in the public code of The Payne."""
STEPS, BATCH, RATE, LEAK = 2500, 128, 2e-3, 0.01


def gaussian_processes(library: Library, work: Path) -> Emulator:
    """Principal components of the flux, with a Gaussian process for each amplitude (Czekala et al.
    2015, ApJ 812, 128).

    Kernels are squared exponentials with a length for each label, by maximum likelihood.
    """
    try:
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
    except ImportError:
        raise NotAvailable("pip install scikit-learn") from None
    scaled = _scaler(library)
    nodes = scaled(library.labels)
    mean, scale = library.flux.mean(axis=0), library.flux.std(axis=0) + 1e-6
    u, s, vt = np.linalg.svd((library.flux - mean) / scale, full_matrices=False)
    count = min(MOST, 1 + int(np.searchsorted(np.cumsum(s**2) / np.sum(s**2), VARIANCE)))
    amplitudes = u[:, :count] * np.sqrt(len(nodes))  # of unit variance
    components = (vt[:count].T * s[:count] / np.sqrt(len(nodes)) * scale[:, None]).T
    start = ConstantKernel(1.0, (1e-3, 1e4)) * RBF(np.ones(nodes.shape[1]), (0.05, 50.0))
    start += WhiteKernel(1e-5, (1e-9, 1e-1))
    lengths, weights = [], []
    for column in amplitudes.T:
        found = GaussianProcessRegressor(start, random_state=0).fit(nodes, column)
        lengths.append(found.kernel_.k1.k2.length_scale)
        weights.append(found.kernel_.k1.k1.constant_value * found.alpha_)
    length, weight = np.array(lengths), np.array(weights)

    def flux(labels: Floats) -> Floats:
        off = (nodes - scaled(labels)) / length[:, None, :]
        at = np.sum(weight * np.exp(-0.5 * np.sum(off**2, axis=-1)), axis=1)
        return mean + at @ components

    return Emulator(flux, 4 * (components.size + mean.size + weight.size + length.size))


def payne(library: Library, work: Path) -> Emulator:
    """A network of two hidden layers from the labels to all pixels (Ting et al. 2019, ApJ 879, 69),
    trained with the mean absolute error."""
    scaled = _scaler(library)
    nodes, flux = jnp.asarray(scaled(library.labels), jnp.float32), jnp.asarray(library.flux)
    sizes = (nodes.shape[1], HIDDEN, HIDDEN, flux.shape[1])
    keys = jax.random.split(jax.random.key(0), len(sizes))
    layers: Any = [
        {"w": jax.random.normal(key, (n, m)) * np.sqrt(2.0 / n), "b": jnp.zeros(m)}
        for key, n, m in zip(keys, sizes[:-1], sizes[1:], strict=False)
    ]
    layers[-1]["b"] = flux.mean(axis=0)
    layers[-1]["w"] *= 0.01
    optimiser = optax.adam(optax.cosine_decay_schedule(RATE, STEPS))

    def loss(layers: Any, chosen: Any) -> Any:
        return jnp.mean(jnp.abs(_network(layers, nodes[chosen]) - flux[chosen]))

    @jax.jit
    def step(layers: Any, state: Any, key: Any) -> Any:
        chosen = jax.random.choice(key, len(nodes), (min(BATCH, len(nodes)),), replace=False)
        change, state = optimiser.update(jax.grad(loss)(layers, chosen), state)
        return optax.apply_updates(layers, change), state

    state = optimiser.init(layers)
    for key in jax.random.split(keys[-1], STEPS):
        layers, state = step(layers, state, key)
    size = sum(values.nbytes for values in jax.tree.leaves(layers))
    trained = jax.jit(partial(_network, layers))
    return Emulator(lambda at: np.asarray(trained(scaled(at).astype(np.float32))), size)


def _network(layers: Any, x: Any) -> Any:
    for layer in layers[:-1]:
        x = x @ layer["w"] + layer["b"]
        x = jnp.where(x > 0, x, LEAK * x)
    return x @ layers[-1]["w"] + layers[-1]["b"]


def _scaler(library: Library) -> Any:
    """A function that scales labels to −1 to 1."""
    low, high = library.labels.min(axis=0), library.labels.max(axis=0)
    return lambda labels: 2.0 * (np.asarray(labels, np.float64) - low) / (high - low) - 1.0
