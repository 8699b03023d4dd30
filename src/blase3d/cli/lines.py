"""Commands on the lines of a model: lines, explore."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ..errors import InputError
from .app import Json, app, out
from .support import LabelOptions, labels_from, print_json

if TYPE_CHECKING:
    from ..identify import Identification


@app.command()
def lines(
    path: Annotated[Path, typer.Argument(metavar="MODEL")],
    near: Annotated[float | None, typer.Option(help="Å, vacuum: lines around it.")] = None,
    count: Annotated[int, typer.Option(help="How many: nearest, or else strongest.")] = 15,
    identified: Annotated[
        bool | None,
        typer.Option(
            "--identify/--no-identify",
            help="Say what atoms make them. Default: if the extra identify is installed.",
        ),
    ] = None,
    teff: LabelOptions.teff = None,
    logg: LabelOptions.logg = None,
    feh: LabelOptions.feh = None,
    label: LabelOptions.label = None,
    as_json: Json = False,
) -> None:
    """The lines: parameters, how they move with the labels, which label each constrains.

    Labels that are not given are those of the middle of the library.

    Example: blase3d lines model.zip --near 8664.5 --teff 5772
    """
    from ..identify import available, identify
    from ..information import line_table
    from ..model_file import load_model

    model = load_model(path)
    middle = {name: (low + high) / 2 for name, (low, high) in model.bounds.items()}
    labels = middle | labels_from(
        model.label_names, label, partial=True, teff=teff, logg=logg, feh=feh
    )
    rows = line_table(model, labels, near=near, count=count)
    wanted = available() and "teff" in labels if identified is None else identified
    names: list[Identification | None] = [None] * len(rows)
    if wanted:
        names = [*identify(model, labels, [row.reference for row in rows])]
    if as_json:
        found = [
            {**asdict(row), "identification": None if name is None else name.to_dict()}
            for row, name in zip(rows, names, strict=True)
        ]
        print_json({"labels": labels, "lines": found})
        return
    table = Table(title=", ".join(f"{name}={value:g}" for name, value in labels.items()))
    for column in ("centre Å", "depth", "area mÅ", "sigma Å", "gamma Å"):
        table.add_column(column, justify="right")
    for name in model.label_names:
        table.add_column(f"∂ln a/∂{name}", justify="right")
    table.add_column("constrains")
    if wanted:
        table.add_column("what (air Å)", no_wrap=True)
    for row, what in zip(rows, names, strict=True):
        table.add_row(
            f"{row.center:.3f}",
            f"{row.depth:.3f}",
            f"{1e3 * row.area:.1f}",
            f"{row.sigma:.3f}",
            f"{row.gamma:.3f}",
            *(f"{slope:+.2e}" for slope in row.d_ln_area.values()),
            f"{row.constrains} ({row.share[row.constrains]:.1%})" if row.constrains else "",
            *(() if what is None else (what.summary,)),
        )
    out.print(table)


@app.command()
def explore(
    path: Annotated[Path, typer.Argument(metavar="MODEL")],
    spectrum: Annotated[Path | None, typer.Argument()] = None,
) -> None:
    """The dashboard in the browser. [dim](not in this version)[/]

    Example: blase3d explore model.zip star.fits
    """
    raise InputError("the dashboard is not in this version yet; use blase3d infer --report.")
