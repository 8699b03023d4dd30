"""Commands on the lines of a model: lines, tune, explore."""

from __future__ import annotations

import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ..runtime.files import require_writable
from .app import Json, MediumOption, app, err, out
from .support import LabelOptions, ProgressBars, labels_from, print_json

if TYPE_CHECKING:
    from ..analysis.identify import Identification
    from ..analysis.tuning import Tuned


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
    from ..analysis.fisher import line_table
    from ..analysis.identify import available, identify
    from ..model.model_file import load_model

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
def tune(
    path: Annotated[Path, typer.Argument(metavar="SPECTRUM")],
    model_path: Annotated[Path, typer.Option("--model", help="Made by blase3d build.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The tuned model, one file.")],
    template: Annotated[
        Path | None, typer.Option(help="Its spectrum of the star: .npz, .ecsv, .csv or .fits")
    ] = None,
    fix: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, e.g. logg=4.4")] = None,
    prior: Annotated[list[str] | None, typer.Option(help="NAME=LO:HI or NAME=MEAN+-SIGMA")] = None,
    medium: MediumOption = None,
    resolution: Annotated[
        float | None, typer.Option(help="λ/Δλ; inf: none. Default: the file's, else fitted.")
    ] = None,
    continuum: Annotated[
        int, typer.Option(help="Degree of the continuum; -1: it is normalised.")
    ] = 3,
    telluric: Annotated[
        bool | None,
        typer.Option(
            "--telluric/--no-telluric",
            help="Mask bands of the Earth's atmosphere. Default: if the file names a telescope.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Adjust the lines of a model to one star: a corrected model, and a template without noise.

    How far lines may change is chosen by pixels that are masked out.

    Example: blase3d tune sun.ecsv --model model.zip -o sun.zip --template template.ecsv
    """
    from ..analysis.tuning import tune as adjust
    from ..inference.prior import parse_assignments, parse_number, parse_prior
    from ..model.model_file import load_model, save_model
    from ..spectra.formats import read_spectrum, require_writable_spectrum, write_spectrum

    require_writable(output)
    if template is not None:
        require_writable_spectrum(template)
    fixed = {name: parse_number(text) for name, text in parse_assignments(fix or []).items()}
    if resolution is not None:
        fixed["resolution"] = resolution
    with ProgressBars(err) as progress:
        found = adjust(
            read_spectrum(path, medium=medium),
            load_model(model_path),
            priors={n: parse_prior(text) for n, text in parse_assignments(prior or []).items()},
            fixed=fixed,
            continuum_degree=continuum,
            telluric=telluric,
            progress=progress,
        )
    save_model(found.model, output)
    if template is not None:
        write_spectrum(found.template, template)
    if as_json:
        print_json(found.to_dict())
    else:
        _print_tuned(found, output)


def _print_tuned(found: Tuned, output: Path) -> None:
    labels = ", ".join(f"{name}={e.value:.6g}" for name, e in found.inference.labels.items())
    table = Table(title=f"rms over masked-out pixels; {labels}")
    for column in ("errors of lines times", "within lines", "whole lines"):
        table.add_column(column, justify="right")
    if found.trials:
        first = found.trials[0]
        table.add_row("untuned", f"{first.runs.untuned:.4f}", f"{first.blocks.untuned:.4f}")
    for trial in found.trials:
        mark = " (chosen)" if trial is found.best else ""
        table.add_row(
            f"{trial.times:g}{mark}", f"{trial.runs.tuned:.4f}", f"{trial.blocks.tuned:.4f}"
        )
    out.print(table)
    if found.best is None:
        out.print("No change of lines holds on masked-out pixels: the model is as it was.")
    out.print(f"{output}: the model{'' if found.best is None else ', tuned'}.", highlight=False)


@app.command()
def explore(
    path: Annotated[Path, typer.Argument(metavar="MODEL", help="Made by blase3d build.")],
    spectrum: Annotated[
        Path | None, typer.Argument(metavar="[SPECTRUM]", help="An observed star.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Default: 5006, or any that is free."),
    ] = None,
    address: Annotated[
        str, typer.Option(help="To listen on; others than this let other machines in.")
    ] = "localhost",
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="Of further pages, as through a tunnel."),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    medium: MediumOption = None,
) -> None:
    """The dashboard: sliders for every label, lines with names, fits. Ctrl-C ends it.

    Example: blase3d explore model.zip star.fits
    """
    from ..model.model_file import load_model
    from ..spectra.formats import read_spectrum
    from ..views.dashboard import explore as serve

    def ready(url: str) -> None:
        err.print(f"The dashboard is at {url} (Ctrl-C ends it).", highlight=False)
        if browser:
            webbrowser.open(url)

    star = None if spectrum is None else read_spectrum(spectrum, medium=medium)
    serve(
        load_model(path),
        star,
        name="" if spectrum is None else spectrum.name,
        port=port,
        address=address,
        origins=origin or (),
        ready=ready,
    )
