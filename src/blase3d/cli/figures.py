"""`blase3d figures`: the figures of a model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ..errors import InputError
from .app import MediumOption, Seed, app, err, out
from .support import ProgressBars


class Ending(StrEnum):
    """Kinds of files."""

    pdf = "pdf"
    png = "png"
    svg = "svg"


@app.command()
def figures(
    path: Annotated[Path, typer.Argument(metavar="MODEL")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder.")],
    clones: Annotated[
        str | None, typer.Option(help="Of the model: nodes are then the library's own spectra.")
    ] = None,
    holdout: Annotated[
        Path | None, typer.Option(metavar="GRID", help="Spectra to infer that are no nodes.")
    ] = None,
    ending: Annotated[Ending, typer.Option("--format", help="Of the files.")] = Ending.pdf,
    over: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Labels of the maps.")
    ] = None,
    line: Annotated[
        float | None, typer.Option(help="Å, vacuum: the line to show. Default: the strongest.")
    ] = None,
    depth: Annotated[float, typer.Option(help="Least depth of lines that are counted.")] = 0.01,
    count: Annotated[int, typer.Option("--nodes", min=1, help="Nodes to infer labels of.")] = 40,
    seed: Annotated[int, Seed] = 0,
    only: Annotated[
        list[str] | None, typer.Option(help="A figure by its name; may be repeated.")
    ] = None,
    medium: MediumOption = None,
) -> None:
    """Figures of a model, with an index of captions and numbers (index.json, index.md).

    Overview of the process, number of lines over the grid, one line over the labels and between
    the nodes, lines beside pixels, time per spectrum, and residuals of inferred labels.

    Example: blase3d figures model.zip -o figures --clones clones.zarr --format png
    """
    from ..fitting.archive import open_archive
    from ..libraries import open_grid
    from ..model.model_file import load_model
    from ..views.figures import Settings, draw_figures

    settings = Settings(_pair(over), line, depth, count, seed)
    with ProgressBars(err) as progress:
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
        what = figure.title if figure.file else figure.caption
        table.add_row(figure.file or figure.name, what, f"{figure.seconds:.1f} s")
    out.print(table, highlight=False)
    out.print(f"Captions and numbers: {output / 'index.md'}", highlight=False)


def _pair(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not all(names):
        raise InputError(f"got --over {text}, expected two labels, e.g. teff,logg; correct it.")
    return names[0], names[1]
