"""How long do a spectrum at any labels and its gradient take?

    python benchmarks/generator.py --model turbo.zip turbo-wide.zip --json generator.json

Milliseconds after compilation, the fastest and the median of several calls, each at labels drawn at
random between the nodes: the whole model; 500 Å of it; a batch of spectra, per spectrum; the
gradient of a mean squared error by the labels (reverse mode), and its ratio to the value of the
same function. The paper's generator takes 15,000 ms over 8038–12849 Å, 1,000 ms in batches.
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

import blase3d as b3

SPAN = 500.0
"""Å of the part."""


def main() -> None:
    """Print the table; with --json write the numbers too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, nargs="+", required=True, help="by blase3d build")
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    rows = []
    for path in args.model:
        model = b3.load_model(path)
        middle = 0.5 * (model.wavelength[0] + model.wavelength[-1])
        part = model.part(middle - 0.5 * SPAN, middle + 0.5 * SPAN)
        chosen = (part,) if part is model else (model, part)
        rows += [measure(one, path.name, args.calls, args.batch, rng) for one in chosen]
    print("model                  pixels  lines   ms (median)  batch ms  value ms  grad ms  ratio")
    for row in rows:
        print(
            f"{row['model']:20} {row['pixels']:8} {row['lines']:6}  {row['flux_ms']:5.2f} "
            f"({row['flux_median_ms']:5.2f})  {row['batch_ms']:8.2f}  {row['value_ms']:8.2f}"
            f"  {row['gradient_ms']:7.2f}  {row['ratio']:5.2f}"
        )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


def measure(
    model: b3.Model, name: str, calls: int, batch: int, rng: np.random.Generator
) -> dict[str, Any]:
    """A row of the table."""
    names = model.label_names

    def flux(labels: jax.Array) -> jax.Array:
        return model.flux(**dict(zip(names, labels, strict=True)))

    low, high = np.array(list(model.bounds.values())).T
    points = jnp.asarray(rng.uniform(low, high, (max(calls, batch), len(names))), jnp.float32)
    target = flux(points[0])

    def misfit(labels: jax.Array) -> jax.Array:
        return jnp.mean((flux(labels) - target) ** 2)

    one = timed(jax.jit(flux), points[:calls])
    many = timed(jax.jit(lambda rows: jax.lax.map(flux, rows)), [points[:batch]] * 5)
    value = timed(jax.jit(misfit), points[:calls])
    gradient = timed(jax.jit(jax.value_and_grad(misfit)), points[:calls])
    return {
        "model": name,
        "pixels": int(model.wavelength.size),
        "lines": len(model.lines(**dict(zip(names, 0.5 * (low + high), strict=True))).center),
        "flux_ms": one.min(),
        "flux_median_ms": float(np.median(one)),
        "batch_ms": many.min() / batch,
        "value_ms": value.min(),
        "gradient_ms": gradient.min(),
        "ratio": float(gradient.min() / value.min()),
    }


def timed(work: Callable[[jax.Array], Any], inputs: Any) -> np.ndarray:
    """Milliseconds of each call, the first (which compiles) left out."""
    jax.block_until_ready(work(inputs[0]))
    found = []
    for item in inputs:
        start = time.perf_counter()
        jax.block_until_ready(work(item))
        found.append(1e3 * (time.perf_counter() - start))
    return np.array(found)


if __name__ == "__main__":
    main()
