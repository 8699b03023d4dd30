"""Commands that list, make and check models: models, clone, build, validate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich import box
from rich.table import Table

from ..errors import InputError
from ..runtime.files import require_writable
from . import options
from .choice import chosen_model
from .support import complain, err, executor, out, print_json, progress_bars

if TYPE_CHECKING:
    from ..model.model import Model


def models(as_json: options.Json = False) -> None:
    """List the models that are known by name: those in the package, and your own.

    Example: blase3d models
    """
    from ..model.installed import OF_LIBRARY, installed_models, user_models_folder

    found = installed_models()
    if as_json:
        print_json([model.to_dict() for model in found])
        return
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("name", "library", "range\nÅ, vacuum", "axes", "size\nMB"):
        table.add_column(column, justify="right" if column.startswith("size") else "left")
    table.add_column("error between the nodes\nrms of the flux; of the labels")
    for model in found:
        table.add_row(
            model.name,
            model.library,
            "–".join(f"{end:.0f}" for end in model.wavelength),
            "\n".join(
                f"{name} {min(v):g} to {max(v):g} ({len(v)})" for name, v in model.axes.items()
            ),
            f"{model.size / 1e6:.1f}",
            _accuracy(model.accuracy),
        )
    out.print(table)
    if calibrated := [model.name for model in found if model.calibrated]:
        uncorrected = ", ".join(f"{name}{OF_LIBRARY}" for name in calibrated)
        out.print(f"Calibrated with stars; with the lines of the library alone: {uncorrected}.")
    cited: dict[tuple[str, ...], list[str]] = {}
    for model in found:
        cited.setdefault(model.citation, []).append(model.name)
    for works, names in cited.items():
        if works:
            out.print(f"Cite with {', '.join(names)}: {'; '.join(works)}.", highlight=False)
    out.print(f"Your own models: {user_models_folder()}", highlight=False)


def _accuracy(stated: Mapping[str, Any]) -> str:
    """Median errors at held-out spectra, in words; a dash where a model states none."""
    held = stated.get("holdout") or {}
    if "flux_rms_median" not in held:
        return "—"
    labels = held.get("labels", {})
    errors = (f"{name} {found['median_abs']:.2g}" for name, found in labels.items())
    return "\n".join(filter(None, (f"{held['flux_rms_median']:.1e}", ", ".join(errors))))


def clone(
    path: Annotated[Path, typer.Argument(metavar="GRID", help="Library: file or folder.")],
    output: options.ClonesOutput,
    recipe: Annotated[
        str, typer.Option(help="Recipe: default, single, paper, or a JSON file.")
    ] = "default",
    wave: options.Wave = None,
    workers: options.Workers = 0,
    scheduler: options.Scheduler = None,
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
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Model file.")] = None,
    install: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name under which other commands find the model."),
    ] = None,
    small: Annotated[
        bool,
        typer.Option("--small", help="Write a smaller file, with eight times the error at nodes."),
    ] = False,
    workers: options.Workers = 1,
    scheduler: options.Scheduler = None,
) -> None:
    """Build a model from clones: interpolation, residual and error model in one file.

    Example: blase3d build clones.zarr -o model.zip --install mine
    """
    from ..fitting.archive import open_archive
    from ..fitting.build import build as build_model
    from ..model.installed import install_path

    if output is None and install is None:
        raise typer.BadParameter("give -o FILE, --install NAME, or both.")
    paths = [] if output is None else [output]
    if install is not None:
        paths.append(install_path(install))
    for written in paths:
        require_writable(written)
    with progress_bars() as progress, executor(workers, scheduler) as pool:
        model = build_model(open_archive(path), progress, small=small, executor=pool)
    for written in paths:
        _write_model(model, written)


def _write_model(model: Model, path: Path) -> None:
    from ..model.model_file import save_model

    save_model(model, path)
    size = path.stat().st_size / 1e6
    out.print(f"{path}: {len(model.reference)} lines, {size:.1f} MB.", highlight=False)


def validate(
    path: options.OptionalModel = None,
    holdout: Annotated[
        Path | None, typer.Option(help="Grid of spectra that are not in the library.")
    ] = None,
    snr: Annotated[
        float | None, typer.Option(help="Signal-to-noise ratio. Default: no noise.")
    ] = None,
    method: options.MethodOption = options.Method.gradient,
    seed: options.Seed = 0,
    medium: options.MediumOption = None,
    as_json: options.Json = False,
) -> None:
    """Measure the errors at the nodes and, separately, at held-out spectra.

    Example: blase3d validate model.zip --holdout turbo-cat-offgrid.npz --json
    """
    from ..analysis.validation import validate as check
    from ..libraries import open_grid
    from ..model.model_file import load_model

    if holdout is None and snr is not None:
        complain("--snr has no effect without --holdout, whose spectra get the noise")
    held = None if holdout is None else open_grid(holdout, medium)
    path = chosen_model(path, *(() if held is None else held.wavelength[[0, -1]]))
    model = load_model(path)
    with progress_bars() as progress:
        found = check(
            model,
            held,
            snr=snr,
            method=method.value,
            seed=seed,
            path=path,
            progress=progress,
        )
    if found.n_outside or found.n_at_nodes:
        complain(
            f"left out: {found.n_outside} held-out spectra outside the labels of the model, and "
            f"{found.n_at_nodes} at its nodes"
        )
    if as_json:
        print_json(found.to_dict())
        return
    table = Table(show_header=False)
    for key, value in _flattened(found.to_dict()):
        table.add_row(key, f"{value:.4g}" if isinstance(value, float) else str(value))
    out.print(table)


def _flattened(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Leaves of nested dictionaries, with the keys that lead to each."""
    rows: list[tuple[str, Any]] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        rows += _flattened(value, f"{name} · ") if isinstance(value, dict) else [(name, value)]
    return rows
