"""The command calibrate: lines of a model corrected by stars of known labels."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ..runtime.files import require_distinct, require_writable
from . import options
from .support import complain, out, print_json, progress_bars, write_table

if TYPE_CHECKING:
    from ..analysis.calibration import Calibrated
    from ..runtime.arrays import Floats


def calibrate(
    stars: Annotated[
        Path,
        typer.Argument(
            metavar="STARS",
            help="Table of stars, ECSV or CSV: file, star, medium, teff, teff_err, ...",
        ),
    ],
    model_path: Annotated[Path, typer.Option("--model", help="Model: file or name.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Calibrated model file.")],
    table: Annotated[
        Path | None, typer.Option(help="Table of the corrections of the lines, in full, ECSV.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Folder of the spectra; that of the table by default.")
    ] = None,
    telluric: options.Telluric = None,
    as_json: options.Json = False,
) -> None:
    """Correct the lines of a model by stars of known labels, as far as it helps stars left out.

    Columns of the table: file, each label with its error (teff, teff_err, ...), and optionally
    star (spectra of one star share it), medium, vsini, vmac, resolution.

    Example: blase3d calibrate stars.ecsv --model model.zip -o calibrated.zip --table lines.ecsv
    """
    from ..analysis.calibration import calibrate as adjust
    from ..analysis.calibration import read_known_stars
    from ..analysis.calibration.corrections import corrections_table
    from ..model.model_file import load_model, save_model

    for path in filter(None, (output, table)):
        require_writable(path)
    require_distinct(stars, output, table)
    model = load_model(model_path)
    known = read_known_stars(stars, model.label_names, folder)
    with progress_bars() as progress:
        found = adjust(
            known,
            model,
            telluric=telluric,
            progress=progress,
            command=shlex.join(["blase3d", *sys.argv[1:]]),
        )
    save_model(found.model, output)
    if table is not None:
        write_table(corrections_table(found.proposed, found.reference_labels), table)
    if as_json:
        print_json(found.to_dict())
    else:
        _print_calibrated(found, output)


def _print_calibrated(found: Calibrated, output: Path) -> None:
    for reason in found.left_aside.values():
        complain(f"left out: {reason}")
    if found.too_deep.size:
        complain(
            f"{found.too_deep.size} features of the model are deeper than in any of the stars, by "
            f"3 % of the continuum or more: vacuum {_first(found.too_deep)} Å; compare the spectra "
            "there, and leave out a star that differs from the others."
        )
    table = Table(title="each star left out of the calibration that it is fitted with")
    names = found.label_names
    for column in ("star", "changes times", *(f"{name} − literature" for name in names), "misfit"):
        table.add_column(column, justify="left" if column == "star" else "right")
    for trial in found.trials:
        mark = ", added lines" * trial.added + " (chosen)" * (trial is found.best)
        for one in trial.spectra:
            cells = [_difference(one.labels, one.literature, name) for name in names]
            table.add_row(one.star, f"{trial.times:g}{mark}", *cells, f"{one.misfit:.3f}")
        table.add_section()
    out.print(table)
    out.print(f"{output}: {_sentence(found)}")


def _first(wavelengths: Floats, most: int = 10) -> str:
    more = ", ..." * (wavelengths.size > most)
    return ", ".join(f"{value:.2f}" for value in wavelengths[:most]) + more


def _sentence(found: Calibrated) -> str:
    """The calibrated model in words."""
    from ..analysis.calibration.trial import WORTHWHILE, gain_of

    missing = int(found.proposal.added.sum())
    without = f"; {missing} lines that stars show are not added" if missing else ""
    if found.best.times or found.best.added:
        added = f"; {missing} lines are added" if found.best.added else without
        constrained = int((found.stars > 0).sum())
        return f"the model, calibrated; stars constrain {constrained} lines{added}."
    why = (
        "no changes lower both the label errors of stars left out and, by a tenth, their residuals"
    )
    if (gain := gain_of(found.trials)) > 0.0:
        why = (
            f"changes lower the label errors of stars left out by {gain:.1%}, "
            f"less than {WORTHWHILE:.0%}"
        )
    return (
        f"the lines are those of the library, since {why}; the model knows its mismatch with "
        f"stars{without}."
    )


def _difference(
    labels: dict[str, float], literature: dict[str, tuple[float, float]], name: str
) -> str:
    if name not in literature or name not in labels:
        return ""
    return f"{labels[name] - literature[name][0]:+.{0 if name == 'teff' else 3}f}"
