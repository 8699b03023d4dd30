"""`blase3d demo`: the whole chain on the library that ships with the package."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ..runtime.progress import Progress, silent
from .options import Workers
from .support import err, executor, out, progress_bars

if TYPE_CHECKING:
    from ..inference.result import Inference


def demo(
    out_dir: Annotated[Path, typer.Option("--out", help="Output folder.")] = Path("blase3d-demo"),
    workers: Workers = 0,
) -> None:
    """Run the whole chain on the library that ships with the package.

    Clone the library, build its model, and infer the labels of a noisy star between its nodes.

    Example: blase3d demo --out demo
    """
    from ..libraries.packaged import SNR

    with progress_bars() as progress, executor(workers) as pool:
        inference, truth = run_demo(out_dir, pool, progress)
    table = Table(title=f"a star of S/N {SNR:g} between the nodes of the library")
    for column in ("", "truth", "answer", "error", "in sigmas"):
        table.add_column(column, justify="right" if column else "left")
    for name, true in truth.items():
        found = {**inference.labels, **inference.nuisance}[name]
        digits = 0 if name == "teff" else 3
        off = found.value - true
        table.add_row(
            name,
            f"{true:.{digits}f}",
            f"{found.value:.{digits}f} ± {found.sigma:.{digits + (name == 'teff')}f}",
            f"{off:+.{digits + (name == 'teff')}f}",
            f"{off / found.sigma:+.1f}",
        )
    out.print(table)
    for flag in inference.flags:
        err.print(f"flag: {flag}", highlight=False)
    out.print(f"Report: {out_dir / 'report.html'}\nModel: {out_dir / 'model.zip'}", highlight=False)


def run_demo(
    folder: Path, executor: Executor | None = None, progress: Progress = silent
) -> tuple[Inference, dict[str, float]]:
    """Clone the packaged library, build its model and infer the packaged star, all into `folder`.

    Returns the inference and the true labels and velocities.
    """
    from ..fitting.build import build
    from ..fitting.clone_grid import clone
    from ..inference import infer
    from ..libraries.packaged import LIBRARY, RV, VSINI, noisy_star, packaged_grid
    from ..model.model_file import save_model
    from ..recipe import DEFAULT
    from ..spectra.formats import write_spectrum
    from ..views.report import write_report

    folder.mkdir(parents=True, exist_ok=True)
    clones = clone(packaged_grid(LIBRARY), folder / "clones.zarr", DEFAULT, executor, progress)
    model = build(clones, progress)
    save_model(model, folder / "model.zip")
    star, labels = noisy_star()
    write_spectrum(star, folder / "star.npz")
    progress("infer", 0, 1)
    inference = infer(star, model)
    progress("infer", 1, 1)
    truth = {**labels, "rv": RV, "vsini": VSINI}
    command = f"blase3d infer {folder}/star.npz --model {folder}/model.zip"
    write_report(folder / "report.html", inference, model, str(folder / "star.npz"), command, truth)
    return inference, truth
