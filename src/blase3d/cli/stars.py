"""Commands about a star: synth, infer, tune."""

from __future__ import annotations

from concurrent.futures import Executor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.table import Table
from rich.text import Text

from ..errors import Blase3dError, InputError, MissingExtra
from ..parameters import parameter
from ..runtime.files import require_distinct, require_writable
from ..runtime.progress import silent
from ..runtime.units import SPEED_OF_LIGHT
from . import options
from .choice import chosen_model, model_of_spectrum
from .comparison import compare_models
from .config import Config
from .joint import infer_one_star, print_windows, write_reports
from .support import complain, err, executor, out, print_json, progress_bars
from .survey import run_survey

if TYPE_CHECKING:
    from ..analysis.many_stars import LabelledStar, Labeller
    from ..analysis.tuning import Tuned
    from ..spectra.formats.many import ManySpectra

_TEFF_GUESS = 500.0
"""Half-width of the prior on Teff around --teff-guess, K."""


def synth(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Spectrum file: .npz, .ecsv, .csv or .fits.")
    ],
    path: options.OptionalModel = None,
    teff: options.Teff = None,
    logg: options.Logg = None,
    feh: options.Feh = None,
    label: options.Label = None,
    rv: options.Rv = None,
    vsini: options.Vsini = None,
    vmac: options.Vmac = None,
    resolution: options.Resolution = None,
    wave: options.Wave = None,
) -> None:
    """Compute a spectrum from labels, in units of the continuum.

    Example: blase3d synth model.zip --teff 5772 --logg 4.44 --feh 0 --resolution 50000 -o sun.ecsv
    """
    from ..libraries.grid import wavelength_slice
    from ..model.model_file import load_model
    from ..spectra.formats import require_writable_spectrum, write_spectrum
    from ..spectra.spectrum import Spectrum

    require_writable_spectrum(output)
    ends = None if wave is None else options.parse_range(wave, "--wave")
    model = load_model(chosen_model(path, *(ends or ())))
    labels = options.parse_labels(model.label_names, label, teff=teff, logg=logg, feh=feh)
    wavelength = model.wavelength
    if ends is not None:
        start, stop = wavelength_slice(wavelength, *ends)
        wavelength = wavelength[start:stop]
    velocities = {"rv": rv, "vsini": vsini, "vmac": vmac}
    _check_observation({**velocities, "resolution": resolution})
    arguments: dict[str, Any] = {**labels, **velocities, "resolution": resolution}
    flux = model.flux(**arguments, wavelength=wavelength)
    meta = {"labels": labels, **velocities, "library": model.meta["library"]}
    spectrum = Spectrum(wavelength, np.asarray(flux), resolution=resolution, meta=meta)
    write_spectrum(spectrum, output)
    out.print(f"{output}: {wavelength.size} pixels, vacuum Å, units of the continuum.")
    if model.near_hole(**labels):
        err.print(
            "warning: these labels are beside a hole of the library; the model is extrapolated "
            "from other nodes.",
            highlight=False,
        )


def _check_observation(values: dict[str, float | None]) -> None:
    rv = values["rv"]
    if rv is not None and not abs(rv) < SPEED_OF_LIGHT:
        raise InputError(f"got rv {rv:g}, expected km/s below the speed of light; correct it.")
    for name in ("vsini", "vmac", "resolution"):
        value = values[name]
        most = np.inf if name == "resolution" else parameter(name).high
        if value is not None and not (0 < value <= most and np.isfinite(value)):
            raise InputError(
                f"got {name} {value:g}, expected a positive number up to {most:g}; correct it."
            )


_Spectra = Annotated[
    list[Path],
    typer.Argument(
        metavar="SPECTRUM...",
        help="Observed spectra: files and folders; or one list, table or stack of spectra.",
    ),
]
_ModelPaths = Annotated[
    list[Path] | None,
    typer.Option(
        "--model",
        help="Model: a name (blase3d models), or a file; repeat it to compare several models. "
        "Default: the installed models that cover the spectrum.",
    ),
]
_TeffGuess = Annotated[
    float | None, typer.Option(help=f"Guess of Teff, K; sought within {_TEFF_GUESS:g} K of it.")
]
_Draws = Annotated[int, typer.Option(help="Draws of each of the four chains (posterior).")]
_Robust = Annotated[bool, typer.Option(help="Give outliers less weight.")]
_Jitter = Annotated[
    bool, typer.Option(help="Fit an additional (jitter) error instead of rescaling the errors.")
]
_Integrate = Annotated[bool, typer.Option(help="Average the model flux over each pixel.")]
_Report = Annotated[
    Path | None, typer.Option(help="HTML report, of one spectrum; one for each of its windows.")
]
_Joint = Annotated[
    bool, typer.Option("--joint", help="Infer one star from all spectra and models together.")
]
_Common = Annotated[
    str,
    typer.Option(
        metavar="NAME,...", help="Parameters of the observation common to the spectra of --joint."
    ),
]
_TableOutput = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Table of the results: .ecsv, .fits or .parquet."),
]
_Scheduler = Annotated[
    str | None, typer.Option(help="Address of a Dask scheduler, whose workers are used.")
]


def infer(
    spectra: _Spectra,
    model_paths: _ModelPaths = None,
    method: options.MethodOption = options.Method.gradient,
    fix: options.Fix = None,
    prior: options.PriorOption = None,
    teff_guess: _TeffGuess = None,
    medium: options.MediumOption = None,
    columns: options.Columns = None,
    unit: options.Unit = None,
    source: options.Source = None,
    wavelengths: options.Wavelengths = None,
    resolution: options.SpectrumResolution = None,
    continuum: options.Continuum = None,
    seed: options.Seed = 0,
    draws: _Draws = 200,
    robust: _Robust = True,
    jitter: _Jitter = False,
    integrate: _Integrate = False,
    telluric: options.Telluric = None,
    workers: options.Workers = 1,
    scheduler: _Scheduler = None,
    joint: _Joint = False,
    common: _Common = "vsini,vmac",
    as_json: options.Json = False,
    report: _Report = None,
    output: _TableOutput = None,
    config: Config = None,
) -> None:
    """Infer labels and their uncertainties from one or many spectra.

    Several models are each fitted to the pixels that all of them cover, and ranked by their odds.
    With --joint, all spectra are of one star, and each model is compared with the range it covers.
    With --output, results of many spectra are stored as they come, and the same command continues a
    run that was ended. Its exit status is 3 if some stars failed.

    Example: blase3d infer star.fits --medium air --report star.html

    Example: blase3d infer spectra/ --model vis --workers 8 -o results.parquet
    """
    from ..inference.results_file import require_table_ending
    from ..model.installed import model_path
    from ..spectra.formats.many import find_spectra

    for path in filter(None, (report, output)):
        require_writable(path)
    if output is not None:
        require_table_ending(output)
    settings = {
        "method": method.value,
        **_constraints(fix, prior, resolution, teff_guess),
        "continuum_degree": continuum,
        "seed": seed,
        "draws": draws,
        "robust": robust,
        "jitter": jitter,
        "integrate": integrate,
        "telluric": telluric,
    }
    reading = options.parse_reading(medium, columns, unit, source, wavelengths)
    paths = [model_path(given) for given in model_paths or ()]
    if workers > 1 and (joint or len(paths) > 1):
        complain("--workers has no effect with --joint or several models, fitted one after another")
    if joint:
        rows = infer_one_star(spectra, paths, reading, settings, common, report)
        _show(rows, output, as_json)
        return
    found = find_spectra(spectra, reading, [] if output is None else [output])
    if report is not None and len(found.names) > 1:
        raise InputError(f"got {len(found.names)} spectra and one --report; give one spectrum.")
    if len(paths) > 1:
        rows = compare_models(
            list(found.paths), paths, reading, settings, output=output, report=report, quiet=as_json
        )
        _finish(rows, as_json)
        return
    labeller = _labeller(paths, reading, settings)
    many = found.collected or len(found.names) > 1
    if output is not None and many and not as_json and report is None:
        run_survey(found, labeller, output, workers, scheduler)
        return
    with executor(workers if many else 1, scheduler) as pool:
        rows = _infer_spectra(found, labeller, pool, report)
    _show(rows, output, as_json)


def _show(rows: list[dict[str, Any]], output: Path | None, as_json: bool) -> None:
    """Write and print rows."""
    if output is not None:
        _write_rows(rows, output)
    if not as_json:
        _print_inferences(rows)
    _finish(rows, as_json)


def _finish(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(rows)
    if any("error" in row for row in rows):
        raise typer.Exit(1)


def _constraints(
    fix: list[str] | None,
    prior: list[str] | None,
    resolution: float | None,
    teff_guess: float | None,
) -> dict[str, Any]:
    """The arguments `priors` and `fixed` of `infer`."""
    from ..inference.prior import Prior

    found = options.fit_constraints(fix, prior, resolution)
    if teff_guess is not None:
        options.refuse_both(
            "--teff-guess", "teff", {"--fix": found["fixed"], "--prior": found["priors"]}
        )
        found["priors"]["teff"] = Prior(teff_guess - _TEFF_GUESS, teff_guess + _TEFF_GUESS)
    return found


def _labeller(paths: list[Path], reading: dict[str, Any], settings: dict[str, Any]) -> Labeller:
    """The model given, if any, or those that are installed."""
    from ..analysis.many_stars import Labeller
    from ..inference.batch import sent
    from ..model.installed import installed_models
    from ..model.model_file import load_model

    if not paths:
        return Labeller(None, installed_models(), reading, settings)
    return Labeller((paths[0].stem, sent(load_model(paths[0]))), (), reading, settings)


def _infer_spectra(
    found: ManySpectra, labeller: Labeller, pool: Executor | None, report: Path | None
) -> list[dict[str, Any]]:
    """Infer every spectrum: one row each, in their order, as in the JSON output."""
    from ..analysis.many_stars import LabelledStar
    from ..inference.batch import for_each
    from ..inference.result import Inference

    rows: dict[int, dict[str, Any]] = {}
    total = len(found.names)
    label = partial(_label_numbered, labeller)
    with progress_bars() if total > 1 else nullcontext(silent) as progress:
        for (index, entry), star in for_each(label, enumerate(found.each()), pool):
            if isinstance(star, Blase3dError):  # its worker died
                star = LabelledStar(entry.name, (), star)
            rows[index] = star.to_dict()
            for reason in star.reasons:
                err.print(f"{star.name}: {reason}", highlight=False)
            if isinstance(star.answer, MissingExtra):  # all spectra miss it
                raise star.answer
            if report is not None and isinstance(star.answer, Inference):
                write_reports(star.answer, labeller.models(star), star.name, report)
            progress("infer", len(rows), total)
    return [rows[index] for index in sorted(rows)]


def _label_numbered(labeller: Labeller, numbered: tuple[int, Any]) -> LabelledStar:
    return labeller(numbered[1])


def _write_rows(rows: list[dict[str, Any]], output: Path) -> None:
    from ..inference.results_file import write_results
    from ..inference.table import flat_row

    write_results(lambda: map(flat_row, rows), output, {})


def _print_inferences(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if "error" in row:
            complain(f"{row['spectrum']}: {row['error']}")
            continue
        how = f"model {row['model']}, {row['method']}, {row['seconds']:.1f} s"
        table = Table()
        for column in ("", "value", "sigma"):
            table.add_column(column, justify="right" if column else "left")
        for name, found in {**row["labels"], **row["nuisance"]}.items():
            sigma = "at a bound" if found["sigma"] is None else f"{found['sigma']:.4g}"
            table.add_row(name, f"{found['value']:.6g}", sigma)
        reduced = "no errors stated" if row["chi2_red"] is None else f"{row['chi2_red']:.3g}"
        table.add_row("reduced χ²", reduced, "")
        for name, title in (("chi2_stated", "by stated errors alone"), ("rms", "rms residual")):
            if row.get(name) is not None:
                table.add_row(title, f"{row[name]:.3g}", "")
        table.add_row("pixels used, masked", str(row["pixels"]), str(row["masked"]))
        # As a title of the table it would be broken at its width.
        out.print(Text(f"{row['spectrum']} ({how})", style="table.title"), soft_wrap=True)
        out.print(table)
        if "windows" in row:
            print_windows(row["windows"])
        for flag in row["flags"]:
            out.print(f"flag: {flag}", highlight=False)


def tune(
    path: Annotated[Path, typer.Argument(metavar="SPECTRUM", help="Observed spectrum.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Tuned model file.")],
    model_path: Annotated[
        Path | None,
        typer.Option(
            "--model",
            help="Model: a name (blase3d models), or a file. Default: the installed model that "
            "covers the spectrum.",
        ),
    ] = None,
    template: Annotated[
        Path | None,
        typer.Option(help="Noise-free spectrum of the star: .npz, .ecsv, .csv or .fits."),
    ] = None,
    fix: options.Fix = None,
    prior: options.PriorOption = None,
    medium: options.MediumOption = None,
    columns: options.Columns = None,
    unit: options.Unit = None,
    source: options.Source = None,
    wavelengths: options.Wavelengths = None,
    resolution: options.SpectrumResolution = None,
    continuum: options.Continuum = None,
    telluric: options.Telluric = None,
    as_json: options.Json = False,
) -> None:
    """Adjust the lines of a model to one star: a corrected model, and a noise-free template.

    The allowed change of the lines is chosen by cross-validation on masked pixels.

    Example: blase3d tune sun.ecsv --model model.zip -o sun.zip --template template.ecsv
    """
    from ..analysis.tuning import tune as adjust
    from ..model.model_file import load_model, save_model
    from ..spectra.formats import read_spectrum, require_writable_spectrum, write_spectrum

    require_writable(output)
    require_distinct(path, output, template)
    if template is not None:
        require_writable_spectrum(template)
    constraints = options.fit_constraints(fix, prior, resolution)
    reading = options.parse_reading(medium, columns, unit, source, wavelengths)
    star = read_spectrum(path, **reading)
    model = load_model(model_of_spectrum(model_path, str(path), star, constraints))
    with progress_bars() as progress:
        found = adjust(
            star,
            model,
            **constraints,
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
        out.print("No change of lines holds on masked-out pixels: the model is unchanged.")
    out.print(f"{output}: the model{'' if found.best is None else ', tuned'}.", highlight=False)
