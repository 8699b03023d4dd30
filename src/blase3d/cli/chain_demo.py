"""The demonstration: the whole chain on the library that ships with the package."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..fitting import clone_grid
from ..fitting.build import build
from ..inference import infer
from ..inference.result import Inference
from ..libraries.packaged import LIBRARY, RV, SNR, noisy_star, packaged_grid
from ..model.model_file import save_model
from ..recipe import DEFAULT
from ..runtime.progress import Progress, silent
from ..spectra.formats import write_spectrum
from ..views.report import write_report


@dataclass(frozen=True, eq=False)
class Demo:
    """What the demonstration found, and the truth."""

    truth: dict[str, float]
    inference: Inference
    snr: float
    model_path: Path
    report: Path


def run_demo(out: Path, executor: Executor | None = None, progress: Progress = silent) -> Demo:
    """Clone the packaged library, build its model, and infer the packaged star, into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    clones = clone_grid.clone(
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
