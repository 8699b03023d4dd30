"""How exact and how fast is the interpolation between the pixels of a model?

    python benchmarks/sampling.py --model model.zip --grid ../shared/data/turbo-cat.npz

`broaden.sample` (quintic Hermite, derivatives by windowed sinc) is compared with Keys' cubic
convolution, the former kernel, in one run. Errors of flux, in units of the continuum:

- *own pixels*: the model shifted by a velocity, at its own pixels shifted alike, against its flux;
- *lines*: Gaussian lines of a standard deviation in pixels, against the truth;
- *every other pixel* of a node of the library, against the pixels between them. These are twice as
  far apart as those of the library, so the errors are upper limits.

Times are medians of interleaved calls: of the kernel, with its derivatives along seven directions,
and of the whole of `Model.flux` with a velocity alone and with broadening, where "former" resamples
twice with Keys' kernel.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import blase3d as b3
from blase3d.model.evaluate import (
    ForwardModel,
    evaluate,
    flux_of_opacity_root,
    opacity_root,
)
from blase3d.model.instrument import Broadening, apply_instrument
from blase3d.model.queries import middle_node
from blase3d.runtime.units import SPEED_OF_LIGHT
from blase3d.spectra.broaden import broaden, sample

CALLS, DIRECTIONS = 21, 7
VELOCITIES = (0.4, 23.4, -310.0)
WIDTHS = (1.0, 1.7, 2.5, 4.0)
RESOLUTION, VSINI = 20_000.0, 5.0


def main() -> None:
    """Print both tables; with --json write the numbers too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--grid", type=Path, help="library, for every other pixel")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    model = b3.load_model(args.model)
    errors = own_pixels(model) | gaussians()
    if args.grid is not None:
        errors |= every_other_pixel(b3.open_grid(args.grid))
    times = timings(model)
    print(f"{'error of flux':32} {'former rms':>10} {'max':>8} {'now rms':>10} {'max':>8}")
    for name, row in errors.items():
        print(f"{name:32}" + "".join(f"{number:10.1e}" for pair in row.values() for number in pair))
    print(f"\n{'milliseconds':32} {'former':>8} {'now':>8} {'ratio':>8}")
    for name, (former, now) in times.items():
        print(f"{name:32} {former:8.2f} {now:8.2f} {now / former:8.2f}")
    if args.json:
        args.json.write_text(json.dumps({"errors": errors, "milliseconds": times}, indent=1))


@jax.jit
def keys(flux: Array, index: Array, whole: Array | None = None) -> Array:
    """Cubic convolution (Keys 1981)."""
    left = jnp.floor(jax.lax.stop_gradient(index)).astype(jnp.int32)
    t = index - left
    left = left if whole is None else left + whole
    weights = (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    near = jnp.clip(jnp.add.outer(jnp.arange(-1, 3), left), 0, flux.shape[0] - 1)
    return jnp.sum(jnp.stack(weights) * flux[near], axis=0)


@jax.jit
def former(
    forward: ForwardModel, labels: Array, fraction: Array, whole: Array, broadening: Broadening
) -> Array:
    """Observed flux (Q,), resampled twice with `keys`."""
    flux = keys(evaluate(forward, labels), forward.to_log, forward.to_log_whole)
    step = forward.velocity_step
    shift = jnp.log1p(jnp.asarray(broadening.rv) / SPEED_OF_LIGHT) * SPEED_OF_LIGHT / step
    if not broadening.only_shifts:
        assert broadening.vsini is not None
        flux = broaden(flux, step, broadening.vsini, broadening.resolution)
    return keys(flux, fraction - shift, whole)


@jax.jit
def present(
    forward: ForwardModel, labels: Array, fraction: Array, whole: Array, broadening: Broadening
) -> Array:
    """Observed flux (Q,) as the model computes it."""
    return apply_instrument(forward, evaluate(forward, labels), fraction, broadening, whole=whole)


def observation(model: b3.Model, wavelength: np.ndarray, rv: float, **effects: float) -> Any:
    """Arguments of `former` and `present` for a star in the middle of the library."""
    whole, fraction = model.split_log_pixels(wavelength)
    labels = model.label_vector(**between(model))
    return model.forward, labels, fraction, whole, Broadening(rv=jnp.float32(rv), **effects)


def between(model: b3.Model) -> dict[str, float]:
    """Labels between the nodes, near the middle of the library."""
    middle = middle_node(model)
    return {
        name: float(np.clip(value + 0.13 * np.ptp(model.axes[name]), *model.bounds[name]))
        for name, value in middle.items()
    }


def own_pixels(model: b3.Model) -> dict[str, dict[str, list[float]]]:
    """Errors where a star only moves."""
    truth = np.asarray(model.flux(**between(model)))
    rows = {}
    for rv in VELOCITIES:
        at = observation(model, model.wavelength * (1.0 + rv / SPEED_OF_LIGHT), rv)
        found = {"former": former(*at), "now": present(*at)}
        rows[f"own pixels, {rv:g} km/s"] = differences(found, truth)
    return rows


def gaussians() -> dict[str, dict[str, list[float]]]:
    """Errors on Gaussian lines."""
    rng = np.random.default_rng(0)
    centers = 40.0 * np.arange(1, 50) + rng.uniform(size=49)
    index = np.sort(rng.uniform(50.0, 1950.0, 4000)).astype(np.float32)
    rows = {}
    for sigma in WIDTHS:
        flux, truth = (
            1.0 - 0.7 * np.exp(-0.5 * ((at[:, None] - centers) / sigma) ** 2).sum(axis=1)
            for at in (np.arange(2000.0), index.astype(float))
        )
        given = jnp.asarray(flux, jnp.float32), jnp.asarray(index)
        found = {"former": keys(*given), "now": sample(*given)}
        rows[f"lines, sigma {sigma:g} pixels"] = differences(found, truth)
    return rows


def every_other_pixel(grid: b3.Grid) -> dict[str, dict[str, list[float]]]:
    """Errors of a node of the library, in flux and in `opacity_root`."""
    node = grid[len(grid) // 2]
    level = node.flux.max() if node.continuum is None else node.continuum
    flux = jnp.asarray(node.flux / level, jnp.float32)
    even, odd = flux[:-2:2], np.asarray(flux[1:-1:2])
    index = jnp.arange(odd.size) + 0.5
    root = flux_of_opacity_root(sample(opacity_root(even), index))
    inner = slice(20, -20)
    rows = {}
    for name, values in (("flux", sample(even, index)), ("opacity root", root)):
        found = {"former": keys(even, index)[inner], "now": values[inner]}
        rows[f"every other pixel, {name}"] = differences(found, odd[inner])
    return rows


def differences(found: dict[str, Array], truth: np.ndarray) -> dict[str, list[float]]:
    """Root mean square and largest error of each."""
    errors = {name: np.asarray(values, float) - truth for name, values in found.items()}
    return {
        name: [float(np.sqrt(np.mean(error**2))), float(np.abs(error).max())]
        for name, error in errors.items()
    }


def timings(model: b3.Model) -> dict[str, list[float]]:
    """Milliseconds, former and now."""
    rng = np.random.default_rng(0)
    size = model.wavelength.size
    flux = jnp.asarray(rng.uniform(0.5, 1.0, size), jnp.float32)
    index = jnp.asarray(np.sort(rng.uniform(0, size - 1, size)), jnp.float32)
    rows = jnp.asarray(rng.normal(size=(DIRECTIONS, size)), jnp.float32)

    def pushed(kernel: Callable[..., Array]) -> Callable[..., Array]:
        def along(flux: Array, index: Array, row: Array) -> Array:
            return jax.jvp(lambda values: kernel(values, index), (flux,), (row,))[1]

        return jax.jit(jax.vmap(along, in_axes=(None, None, 0)))

    shifted = observation(model, model.wavelength, 23.4)
    broad = observation(
        model,
        model.wavelength,
        23.4,
        vsini=jnp.float32(VSINI),
        resolution=jnp.float32(RESOLUTION),
    )
    return {
        "kernel": medians(keys, sample, flux, index),
        f"kernel, {DIRECTIONS} derivatives": medians(
            pushed(keys), pushed(sample), flux, index, rows
        ),
        "flux, velocity alone": medians(former, present, *shifted),
        "flux, broadened": medians(former, present, *broad),
    }


def medians(first: Callable[..., Any], second: Callable[..., Any], *args: Any) -> list[float]:
    """Median wall times (ms) of two functions, called in turns after they are compiled."""
    times: list[list[float]] = [[], []]
    for call in range(CALLS + 1):
        for k, function in enumerate((first, second)):
            start = time.perf_counter()
            jax.block_until_ready(function(*args))
            if call:
                times[k].append(1e3 * (time.perf_counter() - start))
    return [float(np.median(row)) for row in times]


if __name__ == "__main__":
    main()
