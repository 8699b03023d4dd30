"""How long do a spectrum of many lines and its gradient take?

    python benchmarks/kernel.py --lines 10000 --pixels 300000

Lines of random strength and width are spread over the paper's range; the table has milliseconds
(median of several calls, after compilation) for wings kept to 1e-4 and to 1e-5 of the continuum.
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

from blase3d.lines.render import core, make_layout, reach, render

CALLS = 9


def main() -> None:
    """Print the table; with --json write the numbers too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--pixels", type=int, default=300_000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    wavelength = np.linspace(8038.0, 12849.0, args.pixels)
    center, params = random_lines(args.lines, wavelength[0], wavelength[-1])
    rows = [measure(wavelength, center, params, tolerance) for tolerance in (1e-4, 1e-5)]
    print(f"{args.lines} lines, {args.pixels} pixels\ntolerance  flux ms  gradient ms")
    for row in rows:
        print(f"{row['tolerance']:9.0e} {row['flux_ms']:8.1f} {row['gradient_ms']:12.1f}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


def random_lines(count: int, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Centres (N,) in order and parameters (N, 4): depths from 0.2 % to 20 %, thermal widths."""
    rng = np.random.default_rng(0)
    ln_area = np.log(0.042 * 10 ** rng.uniform(-2.3, -0.2, count))
    ln_sigma = np.log(rng.uniform(0.05, 0.12, count))
    ln_gamma = np.log(rng.uniform(0.01, 0.05, count))
    params = np.stack([np.zeros(count), ln_area, ln_sigma, ln_gamma], axis=1)
    return np.sort(rng.uniform(low, high, count)), params.astype(np.float32)


def measure(
    wavelength: np.ndarray, center: np.ndarray, params: np.ndarray, tolerance: float
) -> dict[str, float]:
    """Milliseconds of the flux and of the gradient of a mean squared error."""
    far, near = reach(params, tolerance), core(params, tolerance)
    layout = make_layout(wavelength, center, far, core=near)
    target = jnp.full(wavelength.size, 0.9)

    def loss(params: jax.Array, layout: Any) -> jax.Array:
        return jnp.mean((render(params, layout) - target) ** 2)

    given = jnp.asarray(params)
    return {
        "tolerance": tolerance,
        "flux_ms": milliseconds(jax.jit(render), given, layout),
        "gradient_ms": milliseconds(jax.jit(jax.grad(loss)), given, layout),
    }


def milliseconds(function: Callable[..., Any], *args: Any) -> float:
    """Median wall time of a call, after one that compiles."""
    jax.block_until_ready(function(*args))
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


if __name__ == "__main__":
    main()
