"""The command line: parse, call, print.

Results go to stdout, progress and messages to stderr. Exit status: 0 done, 1 the input is at
fault (one sentence on stderr), 2 wrong usage.
"""

from __future__ import annotations

import shlex
import sys
from contextlib import nullcontext
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from .cli_support import (
    LabelOptions,
    ProgressBars,
    executor,
    keep_compilations,
    labels_from,
    parse_range,
    print_json,
    table_of_inferences,
)
from .errors import Blase3dError, InputError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Stellar spectra as lines that follow the labels: clone a library, infer a star.",
)
out = Console(width=None if sys.stdout.isatty() else 120)  # piped, tables need room
err = Console(stderr=True, soft_wrap=True)  # a sentence is one line


class Method(StrEnum):
    """How labels are found."""

    gradient = "gradient"
    gp = "gp"
    posterior = "posterior"


class Library(StrEnum):
    """What can be fetched."""

    phoenix = "phoenix"


class Medium(StrEnum):
    """What wavelengths are measured in."""

    air = "air"
    vacuum = "vacuum"


ALL = "-inf:inf"
Wave = Annotated[str | None, typer.Option("--wave", metavar="LO:HI", help="Å, vacuum.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")]
Workers = Annotated[int, typer.Option(help="Processes; 0: one for every core.")]
MediumOption = Annotated[
    Medium | None, typer.Option(help="Of the wavelengths, where the file does not say.")
]


def main() -> None:
    """Run the command line; errors of blase3D and of the disk become one sentence."""
    keep_compilations()
    try:
        app()
    except Blase3dError as error:
        err.print(f"blase3d: {error}", style="red", markup=False, highlight=False)
        sys.exit(1)
    except OSError as error:
        err.print(f"blase3d: {error}; check the path and the disk.", style="red", markup=False)
        sys.exit(1)


@app.command()
def demo(
    out_dir: Annotated[Path, typer.Option("--out", help="Where results go.")] = Path(
        "blase3d-demo"
    ),
    workers: Workers = 0,
) -> None:
    """The whole chain on the library that ships with the package.

    Clones it, builds the model, infers a noisy star of known labels that is not a node.

    Example: blase3d demo --out demo
    """
    from .demo import run_demo

    with ProgressBars(err) as progress, executor(workers) as pool:
        result = run_demo(out_dir, pool, progress)
    table = Table(title=f"a star of S/N {result.snr:g} between the nodes of the library")
    for column in ("", "truth", "answer", "error", "in sigmas"):
        table.add_column(column, justify="right" if column else "left")
    for name, truth in result.truth.items():
        found = {**result.inference.labels, **result.inference.nuisance}[name]
        digits = 0 if name == "teff" else 3
        off = found.value - truth
        table.add_row(
            name,
            f"{truth:.{digits}f}",
            f"{found.value:.{digits}f} ± {found.sigma:.{digits + (name == 'teff')}f}",
            f"{off:+.{digits + (name == 'teff')}f}",
            f"{off / found.sigma:+.1f}",
        )
    out.print(table)
    for flag in result.inference.flags:
        err.print(f"flag: {flag}", highlight=False)
    out.print(f"Report: {result.report}\nModel: {result.model_path}", highlight=False)


@app.command()
def fetch(
    library: Annotated[Library, typer.Argument(help="Which library.")],
    teff: Annotated[str, typer.Option(metavar="LO:HI", help="K.", show_default="all")] = ALL,
    logg: Annotated[str, typer.Option(metavar="LO:HI", help="dex.", show_default="all")] = ALL,
    feh: Annotated[str, typer.Option(metavar="LO:HI", help="dex.", show_default="all")] = ALL,
    alpha: Annotated[str, typer.Option(metavar="LO:HI", help="dex.")] = "0:0",
    wave: Wave = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Cut to --wave: .npz or .zarr.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    root: Annotated[str | None, typer.Option(metavar="URL", help="A mirror's address.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Default: the platform's.")] = None,
    connections: Annotated[int, typer.Option(min=1, max=32, help="At a time.")] = 4,
) -> None:
    """Download part of a library, and cut it into a grid file.

    Says first how much it is. Interrupted, it goes on where it was when it is run again.

    Example: blase3d fetch phoenix --teff 5000:6500 --logg 3.5:5 --feh -0.5:0 --wave 8038:12849
    -o grid.zarr
    """
    from .sources import fetch as library_server

    spans = {"teff": teff, "logg": logg, "feh": feh, "alpha": alpha}
    box = library_server.Box(
        **{name: library_server.parse_span(text, f"--{name}") for name, text in spans.items()}
    )
    cut = None if wave is None else parse_range(wave, "--wave")
    if output is not None:
        library_server.require_writable(output)
    folder = library_server.cache_folder(cache)
    with ProgressBars(err) as progress:
        plan = library_server.make_plan(
            box, folder, root, connections=connections, progress=progress
        )
    for line in (str(plan), *plan.describe_holes()):
        out.print(line, highlight=False, markup=False, soft_wrap=True)
    if dry_run:
        return
    if not (yes or plan.nothing_to_fetch):
        if not sys.stdin.isatty():
            raise InputError("there is no terminal to ask for consent; give --yes, or --dry-run.")
        typer.confirm(f"Fetch them into {folder}?", abort=True, err=True)
    try:
        with ProgressBars(err) as progress:
            done = library_server.fetch(plan, cut, connections=connections, progress=progress)
    except KeyboardInterrupt:
        err.print("Stopped; what has come is kept, and the same command goes on from there.")
        raise
    out.print(f"{len(done.good)} spectra are good, all in {folder}.", highlight=False)
    for labels, reason in done.failed.items():
        err.print(f"failed: {labels}: {reason}", highlight=False, markup=False)
    if output is not None:
        nodes = library_server.write_box(done, output, cut)
        out.print(f"{output}: {nodes!r}.", highlight=False, markup=False)
    if done.failed:
        raise InputError(
            f"{len(done.failed)} spectra could not be had (named above), the others are there; "
            "run the same again later."
        )


@app.command()
def grid(
    path: Annotated[Path, typer.Argument(help="npz, Zarr group or PHOENIX folder.")],
    medium: MediumOption = None,
    as_json: Json = False,
) -> None:
    """What is in a grid: library, axes, holes, range, sampling, medium.

    Example: blase3d grid turbo-cat.npz
    """
    from .sources import open_grid

    nodes = open_grid(path, medium)
    wave, steps = nodes.wavelength, np.diff(nodes.wavelength)
    listed = nodes.n_holes < 1000
    facts: dict[str, Any] = {
        "library": nodes.meta.get("library", "not stated"),
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


@app.command()
def clone(
    path: Annotated[Path, typer.Argument(metavar="GRID", help="The library.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The archive of clones.")],
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
    from . import pipeline
    from .recipe import get_recipe
    from .sources import open_grid

    settings = get_recipe(recipe)
    nodes = open_grid(path, medium)
    if wave is not None:
        nodes = nodes.cut(*parse_range(wave, "--wave"))
    with ProgressBars(err) as progress, executor(workers, scheduler) as pool:
        archive = pipeline.clone(nodes, output, settings, pool, progress)
    rms = pipeline.misfits(archive)
    failed = archive.failed
    out.print(
        f"{len(nodes) - len(failed)} of {len(nodes)} nodes are cloned, all in {output}; rms misfit "
        f"of the lines: median {np.nanmedian(rms):.2g}, worst {np.nanmax(rms):.2g}.",
        highlight=False,
    )
    for i, reason in failed.items():
        err.print(f"failed: {nodes.describe(i)}: {reason}", highlight=False, markup=False)
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
    from . import building
    from .archive import open_archive
    from .model_file import save_model

    with ProgressBars(err) as progress:
        model = building.build(open_archive(path), progress, small=small)
    save_model(model, output)
    out.print(f"{output}: {len(model.reference)} lines, {output.stat().st_size / 1e6:.1f} MB.")


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
    from .grid import wavelength_slice
    from .model_file import load_model
    from .spectrum import Spectrum
    from .spectrum_io import write_spectrum

    model = load_model(path)
    labels = labels_from(model.label_names, label, teff=teff, logg=logg, feh=feh)
    wavelength = model.wavelength
    if wave is not None:
        start, stop = wavelength_slice(wavelength, *parse_range(wave, "--wave"))
        wavelength = wavelength[start:stop]
    for name, value in (("vsini", vsini), ("vmac", vmac), ("resolution", resolution)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"got {name} {value:g}, expected a positive number; correct it.")
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
    model_path: Annotated[Path, typer.Option("--model", help="Made by blase3d build.")],
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
    seed: Annotated[int, typer.Option(help="For gp and posterior.")] = 0,
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

    Example: blase3d infer star.fits --model model.zip --medium air --report star.html
    """
    from .inference import infer_many
    from .inference.prior import Prior, parse_assignments, parse_number, parse_prior
    from .model_file import load_model
    from .report import write_report

    if report is not None and len(spectra) > 1:
        raise InputError(f"got {len(spectra)} spectra and one --report; give one spectrum.")
    priors = {name: parse_prior(text) for name, text in parse_assignments(prior or []).items()}
    fixed = {name: parse_number(text) for name, text in parse_assignments(fix or []).items()}
    if teff_guess is not None:
        priors["teff"] = Prior(teff_guess - 500.0, teff_guess + 500.0)
    if resolution is not None:
        fixed["resolution"] = resolution
    model = load_model(model_path)
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
    rows: dict[int, dict[str, Any]] = {}
    many = len(spectra) > 1
    with (
        ProgressBars(err) if many else nullcontext() as progress,
        executor(workers if many else 1) as pool,
    ):
        answers = infer_many(spectra, model, executor=pool, medium=medium, **settings)
        for place, answer in answers:
            path = str(spectra[place])
            if isinstance(answer, Blase3dError):
                rows[place] = {"spectrum": path, "error": str(answer)}
            else:
                rows[place] = {"spectrum": path, **answer.to_dict()}
                if report is not None:
                    write_report(report, answer, model, path, shlex.join(sys.argv))
            if progress is not None:
                progress("infer", len(rows), len(spectra))
    _show_inferences([rows[place] for place in sorted(rows)], model.label_names, output, as_json)


def _show_inferences(
    rows: list[dict[str, Any]], labels: tuple[str, ...], output: Path | None, as_json: bool
) -> None:
    """Table, JSON or text of inferences; status 1 where one has failed."""
    from .files import replacing

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
            err.print(f"{row['spectrum']}: {row['error']}", style="red", markup=False)
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


@app.command()
def validate(
    path: Annotated[Path, typer.Argument(metavar="MODEL")],
    holdout: Annotated[Path | None, typer.Option(help="A grid of spectra not in it.")] = None,
    snr: Annotated[float | None, typer.Option(help="Noise; without: noise-free.")] = None,
    method: Annotated[Method, typer.Option(help="How labels are found.")] = Method.gradient,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    as_json: Json = False,
) -> None:
    """Errors at nodes and at held-out points, never mixed.

    Example: blase3d validate model.zip --holdout turbo-cat-offgrid.npz --json
    """
    from .model_file import load_model
    from .sources import open_grid
    from .validate import validate as check

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


@app.command()
def lines(
    path: Annotated[Path, typer.Argument(metavar="MODEL")],
    near: Annotated[float | None, typer.Option(help="Å, vacuum: lines around it.")] = None,
    count: Annotated[int, typer.Option(help="How many: nearest, or else strongest.")] = 15,
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
    from .information import line_table
    from .model_file import load_model

    model = load_model(path)
    middle = {name: (low + high) / 2 for name, (low, high) in model.bounds.items()}
    labels = middle | labels_from(
        model.label_names, label, partial=True, teff=teff, logg=logg, feh=feh
    )
    rows = line_table(model, labels, near=near, count=count)
    if as_json:
        print_json({"labels": labels, "lines": [asdict(row) for row in rows]})
        return
    table = Table(title=", ".join(f"{name}={value:g}" for name, value in labels.items()))
    for column in ("centre Å", "depth", "area mÅ", "sigma Å", "gamma Å"):
        table.add_column(column, justify="right")
    for name in model.label_names:
        table.add_column(f"∂ln a/∂{name}", justify="right")
    table.add_column("constrains")
    for row in rows:
        table.add_row(
            f"{row.center:.3f}",
            f"{row.depth:.3f}",
            f"{1e3 * row.area:.1f}",
            f"{row.sigma:.3f}",
            f"{row.gamma:.3f}",
            *(f"{slope:+.2e}" for slope in row.d_ln_area.values()),
            f"{row.constrains} ({row.share[row.constrains]:.1%})" if row.constrains else "",
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


@app.command("import-states")
def import_states(
    path: Annotated[Path, typer.Argument(metavar="DIR", help="Holds .pt files.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The archive of clones.")],
    wave: Wave = None,
    step: Annotated[
        float | None, typer.Option(help="Å between pixels; default: those of PHOENIX.")
    ] = None,
    feh: Annotated[float, typer.Option(help="[Fe/H] of files whose name says none.")] = 0.0,
    as_paper: Annotated[
        bool, typer.Option("--as-paper", help="Lines of equal centres are one; no residual.")
    ] = False,
    workers: Workers = 1,
) -> None:
    """State dictionaries of the original (.pt) to clones, for blase3d build; nothing is fitted.

    Teff, log g and [Fe/H] are read from the names of the files, such as T5800G4.5Z-0.5.pt.

    Example: blase3d import-states states/ -o clones.zarr --wave 8400:8900
    """
    from . import states_import

    span = None if wave is None else parse_range(wave, "--wave")
    with ProgressBars(err) as progress, executor(workers) as pool:
        report = states_import.import_states(
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
        err.print(f"failed: {reason}", highlight=False, markup=False)
    if report.failed:
        raise InputError(
            f"{len(report.failed)} files could not be imported (named above); blase3d build takes "
            "them for holes of the grid."
        )


if __name__ == "__main__":
    main()
