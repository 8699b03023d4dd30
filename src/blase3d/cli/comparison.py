"""`blase3d infer` with several models: which library fits the star best."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ..errors import Blase3dError, InputError
from .support import complain, out, progress_bars

if TYPE_CHECKING:
    from ..analysis.comparison import Comparison


def compare_models(
    spectra: list[Path],
    model_paths: list[Path],
    reading: dict[str, Any],
    settings: dict[str, Any],
    *,
    output: Path | None,
    report: Path | None,
    quiet: bool,
) -> list[dict[str, Any]]:
    """Compare the models on every spectrum: one row per spectrum, as in the JSON output."""
    from ..analysis.comparison import compare
    from ..model.model_file import load_model
    from ..spectra.formats import read_spectrum
    from ..views.report import write_report

    models = {name: load_model(path) for name, path in model_names(model_paths).items()}
    rows: list[dict[str, Any]] = []
    with progress_bars() as progress:
        for path in spectra:
            try:
                result = compare(read_spectrum(path, **reading), models, **settings)
            except Blase3dError as error:
                rows.append({"spectrum": str(path), "error": str(error)})
                complain(f"{path}: {error}")
                continue
            rows.append({"spectrum": str(path), **result.to_dict()})
            if not quiet:
                _print_comparison(path, result)
            if report is not None:
                best = result.best
                command = shlex.join(sys.argv)
                write_report(report, best.answer, models[best.name], str(path), command)
            progress("compare", len(rows), len(spectra))
    if output is not None:
        _write_odds(rows, output)
    return rows


def model_names(paths: list[Path]) -> dict[str, Path]:
    """Return the paths by file names without their endings, or by whole paths where these
    coincide."""
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    if len(set(names)) < len(names):
        raise InputError(f"got the same model twice ({', '.join(names)}); give each once.")
    return dict(zip(names, paths, strict=True))


def _write_odds(rows: list[dict[str, Any]], output: Path) -> None:
    """Write the table of inferences, one row per spectrum and model, with the odds."""
    from ..inference.results_file import write_results
    from ..inference.table import flat_row

    answers = [
        {**model, "spectrum": f"{row['spectrum']} ({model['model']})"}
        for row in rows
        for model in row.get("models", [])
    ]
    write_results(lambda: map(flat_row, answers), output, {}, ("odds",))


def _print_comparison(path: Path, result: Comparison) -> None:
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
    for flag in (*result.warnings, *result.best.answer.flags):
        out.print(f"flag: {flag}", highlight=False)
