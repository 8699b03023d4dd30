"""Commands that show the lines of a model: lines, explore."""

from __future__ import annotations

import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from . import options
from .choice import chosen_model
from .support import err, out, print_json

if TYPE_CHECKING:
    from ..analysis.identify import Identification
    from ..analysis.line_table import LineRow


def lines(
    path: options.OptionalModel = None,
    near: Annotated[
        float | None, typer.Option(help="Show the lines nearest to this wavelength, Å in vacuum.")
    ] = None,
    count: Annotated[
        int, typer.Option(help="Number of lines: the nearest, or by default the strongest.")
    ] = 15,
    identified: Annotated[
        bool | None,
        typer.Option(
            "--identify/--no-identify",
            help="Name the atoms. Default: if the extra identify is installed.",
        ),
    ] = None,
    teff: options.Teff = None,
    logg: options.Logg = None,
    feh: options.Feh = None,
    label: options.Label = None,
    as_json: options.Json = False,
) -> None:
    """List lines: parameters, dependence on the labels, the label that each constrains.

    Components that correct the core of a stronger line are counted with it. Labels that are not
    given are at the middle of the library.

    Example: blase3d lines model.zip --near 8664.5 --teff 5772
    """
    from ..analysis.identify import available, identify
    from ..analysis.line_table import line_table
    from ..model.model_file import load_model

    model = load_model(chosen_model(path, *(() if near is None else (near, near))))
    middle = {name: (low + high) / 2 for name, (low, high) in model.bounds.items()}
    given = {"teff": teff, "logg": logg, "feh": feh}
    labels = middle | options.parse_labels(model.label_names, label, partial=True, **given)
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
    else:
        out.print(_table_of_lines(labels, model.label_names, rows, names if wanted else None))


def _table_of_lines(
    labels: dict[str, float],
    label_names: tuple[str, ...],
    rows: list[LineRow],
    names: list[Identification | None] | None,
) -> Table:
    """Lines as a table of the terminal, with their atoms if `names` is given."""
    title = ", ".join(f"{name}={value:g}" for name, value in labels.items())
    table = Table(title=title, box=box.SIMPLE_HEAD)
    numbers = ["centre\nÅ", "\ndepth", "area\nmÅ", "sigma\nÅ", "gamma\nÅ"]
    slopes = [f"∂ln a/\n∂{name}" for name in label_names]
    for column in (*numbers, *slopes, "com-\nponents"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("\nconstrains")
    if names is not None:
        table.add_column("identification\n(air Å)")
    for row, identification in zip(rows, names or [None] * len(rows), strict=True):
        table.add_row(
            f"{row.center:.3f}",
            f"{row.depth:.3f}",
            f"{1e3 * row.area:.1f}",
            f"{row.sigma:.3f}",
            f"{row.gamma:.3f}",
            *(f"{slope:+.2e}" for slope in row.d_ln_area.values()),
            str(row.components),
            f"{row.constrains} ({row.share[row.constrains]:.1%})" if row.constrains else "",
            *(() if identification is None else (identification.summary,)),
        )
    return table


def explore(
    path: options.OptionalModel = None,
    spectrum: Annotated[
        Path | None, typer.Argument(metavar="[SPECTRUM]", help="Observed spectrum.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port. Default: 5006, or any free one."),
    ] = None,
    address: Annotated[
        str,
        typer.Option(help="Bind address; any but localhost lets other machines open the page."),
    ] = "localhost",
    origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT", help="Further allowed origin, e.g. of a tunnel; repeatable."
        ),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    medium: options.MediumOption = None,
    columns: options.Columns = None,
    unit: options.Unit = None,
    source: options.Source = None,
    wavelengths: options.Wavelengths = None,
) -> None:
    """Open the dashboard: sliders for the labels, lines with names, fits. Ctrl-C ends it.

    A spectrum alone is shown with the installed model that covers it.

    Example: blase3d explore model.zip star.fits
    """
    from ..model.installed import is_model
    from ..model.model_file import load_model
    from ..spectra.formats import read_spectrum
    from ..views.dashboard import explore as serve

    def ready(url: str) -> None:
        err.print(f"The dashboard is at {url} (Ctrl-C ends it).", highlight=False)
        if browser:
            webbrowser.open(url)

    reading = options.parse_reading(medium, columns, unit, source, wavelengths)
    if path is not None and spectrum is None and not is_model(path):
        path, spectrum = None, path
    star = None if spectrum is None else read_spectrum(spectrum, **reading)
    covered = () if star is None else star.wavelength[[0, -1]]
    chosen = chosen_model(path, *covered)
    err.print("The dashboard is being prepared.", highlight=False)
    serve(
        load_model(chosen),
        star,
        model_name=str(path or chosen),
        name="" if spectrum is None else spectrum.name,
        port=port,
        address=address,
        origins=origin or (),
        ready=ready,
    )
