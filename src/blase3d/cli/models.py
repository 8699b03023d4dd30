"""Commands that make models, and check them: clone, build, validate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from ..errors import InputError
from ..runtime.files import require_writable
from .app import Json, MediumOption, Method, Seed, Wave, Workers, app, err, out
from .support import ProgressBars, executor, parse_range, print_json


@app.command()
def clone(
    path: Annotated[Path, typer.Argument(metavar="GRID", help="The library.")],
    output: Annotated[str, typer.Option("-o", "--output", help="The archive: folder or address.")],
    recipe: Annotated[
        str, typer.Option(help="default, single, paper, or a JSON file.")
    ] = "default",
    wave: Wave = None,
    workers: Workers = 0,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask cluster, instead of --workers.")
    ] = None,
    medium: MediumOption = None,
) -> None:
    """Spectra to lines. Interrupted, it goes on where it was when it is run again.

    Example: blase3d clone turbo-cat.npz -o clones.zarr --workers 2
    """
    from ..fitting import clone_grid
    from ..libraries import open_grid
    from ..recipe import get_recipe

    settings = get_recipe(recipe)
    nodes = open_grid(path, medium)
    if wave is not None:
        nodes = nodes.cut(*parse_range(wave, "--wave"))
    with ProgressBars(err) as progress, executor(workers, scheduler) as pool:
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
            "blase3d build takes them for holes of the grid."
        )


@app.command()
def build(
    path: Annotated[str, typer.Argument(metavar="CLONES", help="The archive of clones.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The model, one file.")],
    small: Annotated[
        bool, typer.Option("--small", help="A smaller file, of eight times the error at nodes.")
    ] = False,
) -> None:
    """Manifolds, residual and error model: one file from which everything below works.

    Example: blase3d build clones.zarr -o model.zip
    """
    from ..fitting.archive import open_archive
    from ..fitting.build import build as build_model
    from ..model.model_file import save_model

    require_writable(output)
    with ProgressBars(err) as progress:
        model = build_model(open_archive(path), progress, small=small)
    save_model(model, output)
    out.print(f"{output}: {len(model.reference)} lines, {output.stat().st_size / 1e6:.1f} MB.")


@app.command()
def validate(
    path: Annotated[Path, typer.Argument(metavar="MODEL")],
    holdout: Annotated[Path | None, typer.Option(help="A grid of spectra not in it.")] = None,
    snr: Annotated[float | None, typer.Option(help="Noise; without: noise-free.")] = None,
    method: Annotated[Method, typer.Option(help="How labels are found.")] = Method.gradient,
    seed: Annotated[int, Seed] = 0,
    as_json: Json = False,
) -> None:
    """Errors at nodes and at held-out points, never mixed.

    Example: blase3d validate model.zip --holdout turbo-cat-offgrid.npz --json
    """
    from ..analysis.validation import validate as check
    from ..libraries import open_grid
    from ..model.model_file import load_model

    model = load_model(path)
    held = None if holdout is None else open_grid(holdout)
    with ProgressBars(err) as progress:
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
    rows: list[tuple[str, Any]] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        rows += _flattened(value, f"{name} · ") if isinstance(value, dict) else [(name, value)]
    return rows
