"""Commands from labels to a spectrum and back: synth, infer."""

from __future__ import annotations

import shlex
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.table import Table

from ..errors import Blase3dError, InputError
from ..runtime.files import require_writable
from ..units import SPEED_OF_LIGHT
from .app import Json, MediumOption, Method, Seed, Wave, app, err, out
from .comparison import show_comparisons
from .support import (
    LabelOptions,
    ProgressBars,
    executor,
    labels_from,
    parse_range,
    print_json,
    table_of_inferences,
)

if TYPE_CHECKING:
    from ..model.model import Model


@app.command()
def synth(
    path: Annotated[Path, typer.Argument(metavar="MODEL")],
    output: Annotated[Path, typer.Option("-o", "--output", help=".npz, .ecsv, .csv or .fits")],
    teff: LabelOptions.teff = None,
    logg: LabelOptions.logg = None,
    feh: LabelOptions.feh = None,
    label: LabelOptions.label = None,
    rv: Annotated[float | None, typer.Option(help="km/s, positive when receding.")] = None,
    vsini: Annotated[float | None, typer.Option(help="km/s")] = None,
    vmac: Annotated[float | None, typer.Option(help="Macroturbulence, km/s.")] = None,
    resolution: Annotated[float | None, typer.Option(help="λ/Δλ")] = None,
    wave: Wave = None,
) -> None:
    """A spectrum from labels, in units of the continuum.

    Example: blase3d synth model.zip --teff 5772 --logg 4.44 --feh 0 --resolution 50000 -o sun.ecsv
    """
    from ..inference.problem import RANGES
    from ..libraries.grid import wavelength_slice
    from ..model.model_file import load_model
    from ..spectra.formats import require_writable_spectrum, write_spectrum
    from ..spectra.spectrum import Spectrum

    require_writable_spectrum(output)
    model = load_model(path)
    labels = labels_from(model.label_names, label, teff=teff, logg=logg, feh=feh)
    wavelength = model.wavelength
    if wave is not None:
        start, stop = wavelength_slice(wavelength, *parse_range(wave, "--wave"))
        wavelength = wavelength[start:stop]
    if rv is not None and not abs(rv) < SPEED_OF_LIGHT:
        raise InputError(f"got rv {rv:g}, expected km/s below the speed of light; correct it.")
    for name, value in (("vsini", vsini), ("vmac", vmac), ("resolution", resolution)):
        most = np.inf if name == "resolution" else RANGES[name][1]
        if value is not None and not (0 < value <= most and np.isfinite(value)):
            raise InputError(
                f"got {name} {value:g}, expected a positive number up to {most:g}; correct it."
            )
    flux = model.flux(
        rv=rv,
        vsini=vsini,
        vmac=vmac,
        resolution=resolution,
        wavelength=wavelength,
        residual=True,
        integrate=False,
        **labels,
    )
    sight = {"rv": rv, "vsini": vsini, "vmac": vmac}
    meta = {"labels": labels, **sight, "library": model.meta["library"]}
    spectrum = Spectrum(wavelength, np.asarray(flux), resolution=resolution, meta=meta)
    write_spectrum(spectrum, output)
    out.print(f"{output}: {wavelength.size} pixels, vacuum Å, units of the continuum.")


@app.command()
def infer(
    spectra: Annotated[list[Path], typer.Argument(metavar="SPECTRUM...")],
    model_paths: Annotated[
        list[Path], typer.Option("--model", help="Made by blase3d build; several are compared.")
    ],
    method: Annotated[Method, typer.Option(help="How.")] = Method.gradient,
    fix: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, e.g. logg=4.4")] = None,
    prior: Annotated[list[str] | None, typer.Option(help="NAME=LO:HI or NAME=MEAN+-SIGMA")] = None,
    teff_guess: Annotated[
        float | None, typer.Option(help="K; Teff is then sought within 500 K of it.")
    ] = None,
    medium: MediumOption = None,
    resolution: Annotated[
        float | None, typer.Option(help="λ/Δλ; inf: none. Default: the file's, else fitted.")
    ] = None,
    continuum: Annotated[
        int, typer.Option(help="Degree of the continuum; -1: it is normalised.")
    ] = 3,
    seed: Annotated[int, Seed] = 0,
    draws: Annotated[int, typer.Option(help="Of each of four chains, for posterior.")] = 200,
    robust: Annotated[bool, typer.Option(help="Give outliers less weight.")] = True,
    jitter: Annotated[
        bool, typer.Option(help="Find an error beside the stated ones, instead of scaling these.")
    ] = False,
    integrate: Annotated[bool, typer.Option(help="Average the flux over the pixels.")] = False,
    telluric: Annotated[
        bool | None,
        typer.Option(
            "--telluric/--no-telluric",
            help="Mask bands of the Earth's atmosphere. Default: if the file names a telescope.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; 0: one for every core.")] = 1,
    as_json: Json = False,
    report: Annotated[Path | None, typer.Option(help="HTML page (of one spectrum).")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="ECSV table.")] = None,
) -> None:
    """Labels with uncertainties from one or many spectra.

    With several models, each is fitted to what all of them cover, and the likeliest is named.

    Example: blase3d infer star.fits --model model.zip --medium air --report star.html
    """
    from ..inference.prior import Prior, parse_assignments, parse_number, parse_prior
    from ..model.model_file import load_model

    if report is not None and len(spectra) > 1:
        raise InputError(f"got {len(spectra)} spectra and one --report; give one spectrum.")
    for path in filter(None, (report, output)):
        require_writable(path)
    priors = {name: parse_prior(text) for name, text in parse_assignments(prior or []).items()}
    fixed = {name: parse_number(text) for name, text in parse_assignments(fix or []).items()}
    if teff_guess is not None:
        priors["teff"] = Prior(teff_guess - 500.0, teff_guess + 500.0)
    if resolution is not None:
        fixed["resolution"] = resolution
    settings = {
        "method": method.value,
        "priors": priors,
        "fixed": fixed,
        "continuum_degree": continuum,
        "seed": seed,
        "draws": draws,
        "robust": robust,
        "jitter": jitter,
        "integrate": integrate,
        "telluric": telluric,
    }
    if len(model_paths) > 1:
        show_comparisons(spectra, model_paths, medium, settings, output, report, as_json)
        return
    model = load_model(model_paths[0])
    rows = _inferred(spectra, model, workers, report, {"medium": medium, **settings})
    _show_inferences(rows, model.label_names, output, as_json)


def _inferred(
    spectra: list[Path], model: Model, workers: int, report: Path | None, settings: dict[str, Any]
) -> list[dict[str, Any]]:
    """Answers, or why there is none, in the order of the spectra."""
    from ..inference import infer_many
    from ..views.report import write_report

    rows: dict[int, dict[str, Any]] = {}
    many = len(spectra) > 1
    with (
        ProgressBars(err) if many else nullcontext() as progress,
        executor(workers if many else 1) as pool,
    ):
        for place, answer in infer_many(spectra, model, executor=pool, **settings):
            name = str(spectra[place])
            if isinstance(answer, Blase3dError):
                rows[place] = {"spectrum": name, "error": str(answer)}
            else:
                rows[place] = {"spectrum": name, **answer.to_dict()}
                if report is not None:
                    write_report(report, answer, model, name, shlex.join(sys.argv))
            if progress is not None:
                progress("infer", len(rows), len(spectra))
    return [rows[place] for place in sorted(rows)]


def _show_inferences(
    rows: list[dict[str, Any]], labels: tuple[str, ...], output: Path | None, as_json: bool
) -> None:
    """Table, JSON or text of inferences; status 1 where one has failed."""
    from ..runtime.files import replacing

    if output is not None:
        table = table_of_inferences(rows, labels)
        with replacing(output) as partial_path:
            table.write(partial_path, format="ascii.ecsv", overwrite=True)
    if as_json:
        print_json(rows)
    else:
        _print_inferences(rows)
    if any("error" in row for row in rows):
        raise typer.Exit(1)


def _print_inferences(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if "error" in row:
            err.print(f"{row['spectrum']}: {row['error']}", style="red")
            continue
        table = Table(title=f"{row['spectrum']} ({row['method']}, {row['seconds']:.1f} s)")
        for column in ("", "value", "sigma"):
            table.add_column(column, justify="right" if column else "left")
        for name, found in {**row["labels"], **row["nuisance"]}.items():
            sigma = "at a bound" if found["sigma"] is None else f"{found['sigma']:.4g}"
            table.add_row(name, f"{found['value']:.6g}", sigma)
        reduced = "no errors stated" if row["chi2_red"] is None else f"{row['chi2_red']:.3g}"
        table.add_row("reduced χ²", reduced, "")
        table.add_row("pixels used, masked", str(row["pixels"]), str(row["masked"]))
        out.print(table)
        for flag in row["flags"]:
            out.print(f"flag: {flag}", highlight=False)
