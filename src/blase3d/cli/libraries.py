"""Commands about libraries: fetch, grid, import-states."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.table import Table

from ..errors import InputError
from ..parameters import parameter
from ..runtime.files import printable
from . import options
from .support import complain, err, executor, out, print_json, progress_bars

if TYPE_CHECKING:
    from ..libraries.grid import Grid


class Library(StrEnum):
    """Libraries that can be downloaded."""

    phoenix = "phoenix"


_ALL = "-inf:inf"


def _span_option(name: str, shown: bool | str = True) -> Any:
    """An option for a range of a label."""
    row = parameter(name)
    return typer.Option(
        metavar="LO:HI", help=f"Range of {row.title}, {row.unit}.", show_default=shown
    )


def fetch(
    library: Annotated[Library, typer.Argument(help="Library to download from.")],
    teff: Annotated[str, _span_option("teff", "all")] = _ALL,
    logg: Annotated[str, _span_option("logg", "all")] = _ALL,
    feh: Annotated[str, _span_option("feh", "all")] = _ALL,
    alpha: Annotated[str, _span_option("alpha")] = "0:0",
    wave: options.Wave = None,
    output: options.GridOutput = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and exit.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Download without asking for consent.")
    ] = False,
    root: Annotated[str | None, typer.Option(metavar="URL", help="Address of a mirror.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of the downloads. Default: the platform's cache.")
    ] = None,
    connections: Annotated[int, typer.Option(min=1, max=32, help="Parallel connections.")] = 4,
) -> None:
    """Download part of a library and write it as a grid file.

    The number of files and their size are shown first. Resumes an interrupted download.

    Example: blase3d fetch phoenix --teff 5000:6500 --logg 3.5:5 --feh -0.5:0 --wave 8038:12849
    -o grid.zarr
    """
    from ..libraries import fetch as library_server
    from ..libraries import require_writable_grid

    spans = {"teff": teff, "logg": logg, "feh": feh, "alpha": alpha}
    box = library_server.Box(
        **{name: library_server.parse_span(text, f"--{name}") for name, text in spans.items()}
    )
    cut = None if wave is None else options.parse_range(wave, "--wave")
    if output is not None:
        require_writable_grid(output)
    elif cut is not None:
        complain("--wave has no effect without --output: whole spectra are kept in the cache")
    folder = library_server.cache_folder(cache)
    with progress_bars() as progress:
        plan = library_server.make_plan(
            box, folder, root, connections=connections, progress=progress
        )
    for line in (str(plan), *plan.describe_holes()):
        out.print(line, highlight=False, soft_wrap=True)
    if dry_run:
        return
    if not (yes or plan.nothing_to_fetch):
        if not sys.stdin.isatty():
            raise InputError("there is no terminal to ask for consent; give --yes, or --dry-run.")
        typer.confirm(f"Fetch them into {folder}?", abort=True, err=True)
    try:
        with progress_bars() as progress:
            done = library_server.fetch(plan, cut, connections=connections, progress=progress)
    except KeyboardInterrupt:
        err.print("Stopped; downloads are kept. Run the same command again to resume.")
        raise
    out.print(f"{len(done.good)} spectra are good, all in {folder}.", highlight=False)
    for labels, reason in done.failed.items():
        err.print(f"failed: {labels}: {reason}", highlight=False)
    if output is not None:
        with progress_bars() as progress:
            nodes = library_server.write_box(done, output, cut, progress)
        out.print(f"{output}: {nodes!r}.", highlight=False)
    if done.failed:
        raise InputError(
            f"{len(done.failed)} spectra could not be downloaded (named above), the others "
            "were; run the same command again later."
        )


def grid(
    path: Annotated[Path, typer.Argument(help="Library: file or folder.")],
    medium: options.MediumOption = None,
    source: Annotated[
        str | None, typer.Option(help="Format of the library. Default: recognised from its files.")
    ] = None,
    wave: options.Wave = None,
    output: options.GridOutput = None,
    as_json: options.Json = False,
) -> None:
    """Describe a library (axes, holes, wavelengths), and write it as a grid file.

    Example: blase3d grid models/ --wave 8400:8900 -o library.zarr
    """
    from ..libraries import open_grid, require_writable_grid, write_grid

    if output is not None:
        require_writable_grid(output)
    nodes = open_grid(path, medium, source)
    if wave is not None:
        nodes = nodes.cut(*options.parse_range(wave, "--wave"))
    if output is not None:
        with progress_bars() as progress:
            write_grid(nodes, output, progress)
    _print_grid(nodes, as_json)


def _print_grid(nodes: Grid, as_json: bool) -> None:
    """Print the contents of a grid, as a table or as JSON."""
    wave, steps = nodes.wavelength, np.diff(nodes.wavelength)
    listed = nodes.n_holes < 1000
    facts: dict[str, Any] = {
        "library": printable(nodes.meta.get("library", "not stated")),
        "nodes": len(nodes),
        "axes": {name: axis.tolist() for name, axis in nodes.axes.items()},
        "n_holes": nodes.n_holes,
        "holes": nodes.holes() if listed else None,
        "wavelength": [float(wave[0]), float(wave[-1])],
        "pixels": wave.size,
        "step": [float(steps.min()), float(steps.max())],
        "medium": "vacuum",
        "citation": nodes.meta.get("citation"),
    }
    if as_json:
        print_json(facts)
        return
    table = Table(show_header=False)
    table.add_row("library", str(facts["library"]))
    table.add_row("nodes", str(facts["nodes"]))
    for name, axis in nodes.axes.items():
        shown = (
            " ".join(f"{value:g}" for value in axis)
            if axis.size < 20
            else (f"{axis[0]:g} to {axis[-1]:g}, {axis.size} values")
        )
        table.add_row(name, shown)
    holes = ["; ".join(f"{k}={v:g}" for k, v in hole.items()) for hole in facts["holes"] or []]
    table.add_row("holes", "\n".join([str(facts["n_holes"]), *holes[:20]]))
    table.add_row("wavelength", f"{wave[0]:.2f} to {wave[-1]:.2f} Å, {wave.size} pixels")
    table.add_row("step", f"{steps.min():.4g} to {steps.max():.4g} Å")
    table.add_row("medium", "vacuum")
    out.print(table, highlight=False)


def import_states(
    path: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of .pt files.")],
    output: options.ClonesOutput,
    wave: options.Wave = None,
    step: Annotated[
        float | None, typer.Option(help="Pixel spacing, Å. Default: the pixels of PHOENIX.")
    ] = None,
    feh: Annotated[float, typer.Option(help="[Fe/H] of files whose names state none, dex.")] = 0.0,
    as_paper: Annotated[
        bool, typer.Option("--as-paper", help="Merge lines of equal centres; no residual.")
    ] = False,
    workers: options.Workers = 1,
) -> None:
    """Convert state dictionaries (.pt) of the original blase into clones, without fitting.

    Teff, log g and [Fe/H] are read from the names of the files, such as T5800G4.5Z-0.5.pt.

    Example: blase3d import-states states/ -o clones.zarr --wave 8400:8900
    """
    from ..fitting.original import importer

    span = None if wave is None else options.parse_range(wave, "--wave")
    with progress_bars() as progress, executor(workers) as pool:
        report = importer.import_states(
            path,
            output,
            wave=span,
            step=step,
            feh=feh,
            as_paper=as_paper,
            executor=pool,
            progress=progress,
        )
    out.print(f"{len(report.imported)} nodes imported now, all in {output}.", highlight=False)
    for reason in report.failed.values():
        err.print(f"failed: {reason}", highlight=False)
    if report.failed:
        raise InputError(
            f"{len(report.failed)} files could not be imported (named above); blase3d build treats "
            "them as holes of the grid."
        )
