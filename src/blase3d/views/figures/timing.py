"""Time per spectrum, measured when the figure is drawn."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from ...model.evaluate import ForwardModel, evaluate
from ...model.model import Model
from ...runtime.arrays import Floats
from ...runtime.progress import Progress, silent
from .. import style
from ..style import Drawing

COUNTS = (1, 4, 16, 64)
"""Numbers of spectra that are timed together."""
_REPEATS = 5
"""Measurements of each time."""


def speed(
    model: Model,
    *,
    counts: Sequence[int] = COUNTS,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
    progress: Progress = silent,
) -> Drawing:
    """Draw the time per spectrum over the whole range, one by one and in batches, compiled.

    Parameters
    ----------
    model : Model
        The model.
    counts : sequence of int
        Numbers of spectra.
    seed : int
        Random seed of the labels.
    clock : callable
        Returns seconds.
    progress : callable
        Called with the progress.
    """
    rng = np.random.default_rng(seed)
    low, high = np.array(list(model.bounds.values())).T
    serial, batched, compiling = [], [], []
    for done, count in enumerate(counts):
        labels = np.clip(rng.uniform(low, high, (count, low.size)), low, high)
        _one_by_one(model, labels[:1])  # compiled
        serial.append(_times(partial(_one_by_one, model, labels), clock))
        vectors = jnp.asarray(labels, jnp.float32)
        start = clock()
        _together(model.forward, vectors).block_until_ready()
        compiling.append(clock() - start)
        batched.append(_times(partial(_together, model.forward, vectors), clock))
        progress("time", done + 1, len(counts))
    return _drawing(model, np.asarray(counts), np.array(serial), np.array(batched), compiling)


def _one_by_one(model: Model, labels: Floats) -> Array:
    names = model.label_names
    for row in labels:
        flux = model.flux(**dict(zip(names, row.tolist(), strict=True))).block_until_ready()
    return flux


@jax.jit
def _together(emulator: ForwardModel, vectors: Array) -> Array:
    return jax.vmap(partial(evaluate, emulator))(vectors)


def _times(work: Callable[[], Array], clock: Callable[[], float]) -> list[float]:
    """Measure some work several times; seconds, sorted."""
    seconds = []
    for _ in range(_REPEATS):
        start = clock()
        work().block_until_ready()
        seconds.append(clock() - start)
    return sorted(seconds)


def _drawing(
    model: Model,
    counts: Floats,
    serial: Floats,
    batched: Floats,
    compiling: list[float],
) -> Drawing:
    """Make the drawing from seconds (counts, repeats)."""
    each, many = 1e3 * serial / counts[:, None], 1e3 * batched / counts[:, None]
    alone, together = (np.median(values, axis=1) for values in (each, many))
    gain = alone / together
    numbers = {
        "machine": machine_name(),
        "counts": counts.tolist(),
        "serial_ms": alone.tolist(),
        "batched_ms": together.tolist(),
        "speed_up": gain.tolist(),
        "compile_s": compiling,
        "pixels": int(model.wavelength.size),
        "lines": int(model.reference.size),
    }
    figure = _figure(counts, each, many, gain)
    return Drawing("speed", "Time per spectrum", _caption(numbers), figure, numbers)


def _figure(counts: Floats, each: Floats, many: Floats, gain: Floats) -> Figure:
    """Draw milliseconds one by one and in a batch (counts, repeats), and their ratio."""
    with style.settings():
        figure = style.new_figure(style.PAGE, 2.4)
        left, right = figure.subplots(1, 2)
        _points(left, counts, each, color=style.ORANGE, marker="o", label="one by one")
        _points(left, counts, many, color=style.BLUE, marker="s", label="in one batch")
        left.set_ylabel("Time per spectrum (ms)")
        left.set_ylim(0.0, 1.25 * max(each.max(), many.max()))
        left.legend(loc="upper right")
        right.plot(counts, gain, color=style.GREEN, marker="D", markersize=4)
        right.axhline(1.0, color=style.GREY, linewidth=0.6)
        right.set_ylim(0.0, 1.25 * max(1.0, gain.max()))
        right.set_ylabel("Speed-up by the batch")
        for axes in (left, right):
            axes.set_xscale("log")
            axes.set_xticks(counts)
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.minorticks_off()
            axes.set_xlabel("Number of spectra")
    return figure


def _points(axes: Axes, counts: Floats, values: Floats, **look: Any) -> None:
    """Draw medians of sorted values (counts, repeats), with bars over their range."""
    middle = np.median(values, axis=1)
    spread = np.abs(values[:, [0, -1]] - middle[:, None]).T
    axes.errorbar(counts, middle, spread, markersize=4, capsize=2, **look)


def _caption(numbers: dict[str, Any]) -> str:
    best = int(np.argmin(numbers["batched_ms"]))
    small = max(numbers["speed_up"]) < 2
    single = " A single spectrum is one compiled computation already." if small else ""
    return (
        f"Time per spectrum of {numbers['pixels']:,} pixels and {numbers['lines']:,} "
        "lines, one by one and in one batch (points: medians of "
        f"{_REPEATS} runs; bars: their range), and the ratio of both. On {numbers['machine']}. One "
        f"spectrum: {numbers['serial_ms'][0]:.1f} ms; in a batch of {numbers['counts'][best]}: "
        f"{numbers['batched_ms'][best]:.1f} ms each. Compilation, once for each number of spectra, "
        f"takes up to {max(numbers['compile_s']):.1f} s and is not included." + single
    )


def machine_name() -> str:
    """Return processor, cores, system and the device of JAX."""
    device = jax.devices()[0]
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, JAX {jax.__version__} on "
        f"{device.device_kind if device.platform != 'cpu' else 'the CPU'}"
    )


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    if about.exists():
        for line in about.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
