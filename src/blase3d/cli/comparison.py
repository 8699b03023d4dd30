"""`blase3d infer` with several models: which library fits the star best?"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from ..errors import Blase3dError, InputError
from .app import err, out
from .support import ProgressBars, print_json, table_of_inferences

if TYPE_CHECKING:
    from ..analysis.comparison import Comparison


def show_comparisons(
    spectra: list[Path],
    model_paths: list[Path],
    medium: str | None,
    settings: dict[str, Any],
    output: Path | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Compare the models on every spectrum; status 1 where one has failed."""
    from ..analysis.comparison import compare
    from ..model.model_file import load_model
    from ..runtime.files import replacing
    from ..spectra.formats import read_spectrum
    from ..views.report import write_report

    names = _names(model_paths)
    models = {name: load_model(path) for name, path in zip(names, model_paths, strict=True)}
    found: list[dict[str, Any]] = []
    with ProgressBars(err) as progress:
        for path in spectra:
            try:
                result = compare(read_spectrum(path, medium), models, **settings)
            except Blase3dError as error:
                found.append({"spectrum": str(path), "error": str(error)})
                err.print(f"{path}: {error}", style="red")
                continue
            found.append({"spectrum": str(path), **result.to_dict()})
            if not as_json:
                _print(path, result)
            if report is not None:
                best = result.best
                command = shlex.join(sys.argv)
                write_report(report, best.answer, models[best.name], str(path), command)
            progress("compare", len(found), len(spectra))
    if output is not None:
        rows = [
            {**model, "spectrum": f"{row['spectrum']} ({model['model']})"}
            for row in found
            for model in row.get("models", [])
        ]
        labels = tuple(dict.fromkeys(name for m in models.values() for name in m.label_names))
        table = table_of_inferences(rows, labels)
        table["odds"] = [row["odds"] for row in rows]
        with replacing(output) as partial_path:
            table.write(partial_path, format="ascii.ecsv", overwrite=True)
    if as_json:
        print_json(found)
    if any("error" in row for row in found):
        raise typer.Exit(1)


def _names(paths: list[Path]) -> list[str]:
    """Names of the files, or their whole paths where names are equal."""
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    if len(set(names)) < len(names):
        raise InputError(f"got the same model twice ({', '.join(names)}); give each once.")
    return names


def _print(path: Path, result: Comparison) -> None:
    table = Table(title=f"{path}: {result.n_pixels} pixels that all models cover")
    for column in ("model", "odds", "χ²", "rms", "labels"):
        table.add_column(column, justify="left" if column in ("model", "labels") else "right")
    for candidate in result.candidates:
        labels = (
            f"{name} {estimate.value:.5g} ± {estimate.sigma:.2g}"
            for name, estimate in candidate.answer.labels.items()
        )
        table.add_row(
            candidate.name,
            f"{candidate.odds:.3f}",
            f"{candidate.chi2:.5g}",
            f"{candidate.rms:.3g}",
            "\n".join(labels),
        )
    out.print(table)
    for warning in (*result.warnings, *(f"{f}" for f in result.best.answer.flags)):
        out.print(f"flag: {warning}", highlight=False)
