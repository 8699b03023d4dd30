"""`blase3d figures`: the figures of a model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ..errors import InputError
from . import options
from .support import out, progress_bars


class Ending(StrEnum):
    """File formats."""

    pdf = "pdf"
    png = "png"
    svg = "svg"


def figures(
    path: options.ModelArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="Output folder.")],
    clones: Annotated[
        str | None,
        typer.Option(help="Clones of the model, whose spectra are then shown at the nodes."),
    ] = None,
    holdout: Annotated[
        Path | None,
        typer.Option(metavar="GRID", help="Spectra between the nodes, to infer the labels of."),
    ] = None,
    ending: Annotated[Ending, typer.Option("--format", help="File format.")] = Ending.pdf,
    over: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Two labels, the axes of the maps.")
    ] = None,
    line: Annotated[
        float | None,
        typer.Option(help="Wavelength of the line to show, Å in vacuum. Default: the strongest."),
    ] = None,
    depth: Annotated[float, typer.Option(help="Least depth of the lines that count.")] = 0.01,
    count: Annotated[
        int, typer.Option("--nodes", min=1, help="Number of nodes to infer the labels of.")
    ] = 40,
    seed: options.Seed = 0,
    only: Annotated[
        list[str] | None, typer.Option(help="Name of a figure to draw; repeatable.")
    ] = None,
    medium: options.MediumOption = None,
) -> None:
    """Draw the figures of a model, with an index of captions and numbers (index.json, index.md).

    Overview of the method, number of lines over the grid, one line over the labels and between
    the nodes, lines and pixels compared, time per spectrum, and residuals of inferred labels.

    Example: blase3d figures model.zip -o figures --clones clones.zarr --format png
    """
    from ..fitting.archive import open_archive
    from ..libraries import open_grid
    from ..model.model_file import load_model
    from ..views.figures import Settings, draw_figures

    settings = Settings(_pair(over), line, depth, count, seed)
    with progress_bars() as progress:
        written = draw_figures(
            load_model(path),
            output,
            settings,
            only=only or (),
            ending=ending.value,
            clones=None if clones is None else open_archive(clones),
            holdout=None if holdout is None else open_grid(holdout, medium),
            progress=progress,
        )
    table = Table(show_header=False, box=None)
    for figure in written:
        text = figure.title if figure.file else figure.caption
        table.add_row(figure.file or figure.name, text, f"{figure.seconds:.1f} s")
    out.print(table, highlight=False)
    out.print(f"Captions and numbers: {output / 'index.md'}", highlight=False)


def _pair(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not all(names):
        raise InputError(f"got --over {text}, expected two labels, e.g. teff,logg; correct it.")
    return names[0], names[1]
