"""`blase3d demo`: packaged stars with packaged models, or the whole chain on the small library."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import Executor
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ..runtime.files import make_folder
from ..runtime.progress import Progress, silent
from .options import Workers
from .support import err, executor, out, progress_bars

if TYPE_CHECKING:
    from ..inference.result import Inference
    from ..model.installed import InstalledModel


def demo(
    out_dir: Annotated[Path, typer.Option("--out", help="Output folder.")] = Path("blase3d-demo"),
    clone: Annotated[
        bool,
        typer.Option("--clone", help="Run the whole chain: lines, model, star (three minutes)."),
    ] = False,
    workers: Workers = 0,
) -> None:
    """Infer the labels of stars that ship with the package, with the models that ship with it.

    The stars are computed: held-out spectra as HARPS and Gaia would record them, with noise.
    With --clone, fit the packaged library of 45 spectra with lines instead, build its model, and
    infer the labels of a noisy star between its nodes.

    Example: blase3d demo --out demo
    """
    if clone:
        _demo_of_the_chain(out_dir, workers)
    else:
        _demo_of_the_models(out_dir, workers)


def _demo_of_the_models(folder: Path, workers: int) -> None:
    from ..libraries.packaged import STARS
    from ..model.installed import installed_models, packaged_folder

    make_folder(folder)
    models = {m.name: m for m in installed_models() if m.path.parent == packaged_folder()}
    names = [name for name, model in STARS.items() if model in models]
    chosen = [models[STARS[name]] for name in names]
    with executor(min(workers, len(names)) or len(names)) as pool:
        each = map if pool is None else pool.map
        answers = each(infer_packaged, names, chosen, [folder] * len(names))
        for name, (inference, truth, title) in zip(names, answers, strict=True):
            _print_beside_truth(f"{title} ({inference.seconds:.0f} s)", inference, truth)
            out.print(f"Report: {folder / name}.html", highlight=False)
            out.print(f"The same by hand: blase3d infer {folder / name}.npz\n", highlight=False)


def infer_packaged(
    name: str, installed: InstalledModel, folder: Path
) -> tuple[Inference, dict[str, float], str]:
    """Copy a packaged star to `folder`, infer it with a packaged model, and write the report.

    Returns the inference, the true labels and velocities, and the star and the model in words.
    """
    from ..inference import infer
    from ..libraries.packaged import packaged_star
    from ..model.model_file import load_model
    from ..views.report import write_report

    path = folder / f"{name}.npz"
    with as_file(files("blase3d.libraries") / "data" / path.name) as source:
        shutil.copyfile(source, path)
    star = packaged_star(name)
    model = load_model(installed.path)
    inference = infer(star, model)
    known: Any = star.meta
    truth = {**known["labels"], "rv": known["rv"], "vsini": known["vsini"]}
    command = f"blase3d infer {path} --model {installed.name}"
    write_report(path.with_suffix(".html"), inference, model, str(path), command, truth)
    return inference, truth, f"{path}: {star.meta['object']}; model {installed.name}"


def _print_beside_truth(title: str, inference: Inference, truth: Mapping[str, float]) -> None:
    table = Table(title=title, title_justify="left")
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


def _demo_of_the_chain(folder: Path, workers: int) -> None:
    from ..libraries.packaged import SNR

    with progress_bars() as progress, executor(workers) as pool:
        inference, truth = run_demo(folder, pool, progress)
    title = f"a star of S/N {SNR:g} between the nodes of the library"
    _print_beside_truth(title, inference, truth)
    out.print(f"Report: {folder / 'report.html'}\nModel: {folder / 'model.zip'}", highlight=False)


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

    make_folder(folder)
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
