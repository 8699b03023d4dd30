"""Commands that make and check a model: clone, build, validate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from ..errors import InputError
from ..runtime.files import require_writable
from . import options
from .support import err, executor, out, print_json, progress_bars


def clone(
    path: Annotated[Path, typer.Argument(metavar="GRID", help="Library: file or folder.")],
    output: options.ClonesOutput,
    recipe: Annotated[
        str, typer.Option(help="Recipe: default, single, paper, or a JSON file.")
    ] = "default",
    wave: options.Wave = None,
    workers: options.Workers = 0,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler, instead of --workers.")
    ] = None,
    medium: options.MediumOption = None,
) -> None:
    """Fit the spectra of a library with lines. Resumes an interrupted run.

    Example: blase3d clone turbo-cat.npz -o clones.zarr --workers 2
    """
    from ..fitting import clone_grid
    from ..libraries import open_grid
    from ..recipe import get_recipe

    settings = get_recipe(recipe)
    nodes = open_grid(path, medium)
    if wave is not None:
        nodes = nodes.cut(*options.parse_range(wave, "--wave"))
    with progress_bars() as progress, executor(workers, scheduler) as pool:
        archive = clone_grid.clone(nodes, output, settings, pool, progress)
    rms = clone_grid.misfits(archive)
    failed = archive.failed
    out.print(
        f"{len(nodes) - len(failed)} of {len(nodes)} nodes are cloned, all in {output}; rms misfit "
        f"of the lines: median {np.nanmedian(rms):.2g}, worst {np.nanmax(rms):.2g}.",
        highlight=False,
    )
    for i, reason in failed.items():
        err.print(f"failed: {nodes.describe(i)}: {reason}", highlight=False)
    if failed:
        raise InputError(
            f"{len(failed)} of {len(nodes)} nodes could not be cloned (named above); "
            "blase3d build treats them as holes of the grid."
        )


def build(
    path: Annotated[
        str, typer.Argument(metavar="CLONES", help="Archive of clones, from blase3d clone.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Model file.")],
    small: Annotated[
        bool,
        typer.Option("--small", help="Write a smaller file, with eight times the error at nodes."),
    ] = False,
) -> None:
    """Build a model from clones: interpolation, residual and error model in one file.

    Example: blase3d build clones.zarr -o model.zip
    """
    from ..fitting.archive import open_archive
    from ..fitting.build import build as build_model
    from ..model.model_file import save_model

    require_writable(output)
    with progress_bars() as progress:
        model = build_model(open_archive(path), progress, small=small)
    save_model(model, output)
    out.print(f"{output}: {len(model.reference)} lines, {output.stat().st_size / 1e6:.1f} MB.")


def validate(
    path: options.ModelArgument,
    holdout: Annotated[
        Path | None, typer.Option(help="Grid of spectra that are not in the library.")
    ] = None,
    snr: Annotated[
        float | None, typer.Option(help="Signal-to-noise ratio. Default: no noise.")
    ] = None,
    method: options.MethodOption = options.Method.gradient,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Measure the errors at the nodes and, separately, at held-out spectra.

    Example: blase3d validate model.zip --holdout turbo-cat-offgrid.npz --json
    """
    from ..analysis.validation import validate as check
    from ..libraries import open_grid
    from ..model.model_file import load_model

    model = load_model(path)
    held = None if holdout is None else open_grid(holdout)
    with progress_bars() as progress:
        result = check(
            model,
            held,
            snr=snr,
            method=method.value,
            seed=seed,
            path=path,
            progress=progress,
        ).to_dict()
    if as_json:
        print_json(result)
        return
    table = Table(show_header=False)
    for key, value in _flattened(result):
        table.add_row(key, f"{value:.4g}" if isinstance(value, float) else str(value))
    out.print(table)


def _flattened(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Leaves of nested dictionaries, with the keys that lead to each."""
    rows: list[tuple[str, Any]] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        rows += _flattened(value, f"{name} · ") if isinstance(value, dict) else [(name, value)]
    return rows
