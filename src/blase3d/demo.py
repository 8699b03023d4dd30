"""The demonstration: the whole chain on the library that ships with the package."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from . import pipeline
from .building import build
from .grid import Grid
from .inference import infer
from .inference.result import Inference
from .model_file import save_model
from .progress import Progress, silent
from .recipe import DEFAULT
from .report import write_report
from .sources import open_grid
from .spectrum import Spectrum
from .spectrum_io import write_spectrum
from .units import SPEED_OF_LIGHT

LIBRARY = "turbo-cat-45.npz"
STAR = "turbo-cat-offgrid-1.npz"
SNR = 100.0
RV = 23.4
"""km/s"""
_SEED = 20261123


@dataclass(frozen=True, eq=False)
class Demo:
    """What the demonstration found, and the truth."""

    truth: dict[str, float]
    inference: Inference
    snr: float
    model_path: Path
    report: Path


def packaged_grid(name: str) -> Grid:
    """One of the grids that ship with the package: `LIBRARY` or `STAR`."""
    with as_file(files("blase3d") / "data" / name) as path:
        return open_grid(path)


def noisy_star(
    snr: float = SNR, rv: float = RV, seed: int = _SEED
) -> tuple[Spectrum, dict[str, float]]:
    """The packaged star, which is not a node: receding, with noise; and its labels."""
    grid = packaged_grid(STAR)
    exact = grid[0]
    error = exact.flux / snr
    flux = exact.flux + error * np.random.default_rng(seed).normal(size=len(exact))
    wavelength = exact.wavelength * (1.0 + rv / SPEED_OF_LIGHT)
    star = Spectrum(wavelength, flux, error, meta={"flux_unit": grid.meta.get("flux_unit")})
    return star, grid.labels_of(0)


def run_demo(out: Path, executor: Executor | None = None, progress: Progress = silent) -> Demo:
    """Clone the packaged library, build its model, and infer the packaged star, into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    clones = pipeline.clone(
        packaged_grid(LIBRARY), out / "clones.zarr", DEFAULT, executor, progress
    )
    model = build(clones, progress)
    save_model(model, out / "model.zip")
    star, truth = noisy_star()
    write_spectrum(star, out / "star.npz")
    progress("infer", 0, 1)
    # the spectrum is as computed: no instrument, no rotation
    fixed = {"resolution": np.inf, "vsini": 0.0}
    inference = infer(star, model, fixed=fixed)
    progress("infer", 1, 1)
    truth = {**truth, "rv": RV}
    command = f"blase3d infer {out}/star.npz --model {out}/model.zip --resolution inf --fix vsini=0"
    report = out / "report.html"
    write_report(report, inference, model, str(out / "star.npz"), command, truth)
    return Demo(truth, inference, SNR, out / "model.zip", report)
