"""`blase3d infer --joint`: one star from several spectra and models."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ..errors import Blase3dError, InputError
from .comparison import model_names
from .support import err, out

if TYPE_CHECKING:
    from ..inference.result import Inference
    from ..model.model import Model
    from ..spectra.spectrum import Spectrum


def infer_one_star(
    spectra: list[Path],
    model_paths: list[Path],
    reading: dict[str, Any],
    settings: dict[str, Any],
    common: str,
    report: Path | None,
) -> list[dict[str, Any]]:
    """Infer one star from all spectra and models: one row, as in the JSON output.

    Without models, the installed ones that cover the spectra are taken, as for one spectrum. A
    report is written for each window: `star-1.html` and so on for `star.html`.
    """
    from ..analysis.selection import infer_by_chosen
    from ..inference import infer_joint
    from ..model.model_file import load_model
    from ..spectra.formats import read_spectrum

    if len(set(spectra)) < len(spectra):
        raise InputError("got a spectrum twice with --joint; give each once.")
    name = ", ".join(map(str, spectra))
    try:
        stars = {str(path): read_spectrum(path, **reading) for path in spectra}
        paths = model_names(model_paths or _covering(stars, settings))
        models = {name: load_model(path) for name, path in paths.items()}
        shared = tuple(name.strip() for name in common.split(",") if name.strip())
        if model_paths:
            answer = infer_joint(stars, models, common=shared, **settings)
        else:
            found = infer_by_chosen(stars, models, settings, shared)
            answer, models = found.answer, dict(found.models)
            for reason in found.reasons:
                err.print(f"{name}: {reason}", highlight=False)
    except Blase3dError as error:
        return [{"spectrum": name, "error": str(error)}]
    if report is not None:
        write_reports(answer, models, name, report)
    return [{"spectrum": name, "model": ", ".join(models), **answer.to_dict()}]


def _covering(stars: dict[str, Spectrum], settings: dict[str, Any]) -> list[Path]:
    """Files of the installed models that cover the spectra."""
    from ..analysis.selection import select
    from ..model.installed import installed_models

    installed = installed_models()
    found = [select(star, installed, settings).models for star in stars.values()]
    return list(dict.fromkeys(model.path for models in found for model in models))


def write_reports(answer: Inference, models: dict[str, Model], name: str, report: Path) -> None:
    """Write the report of a star, or one of each of its windows, and name the files of these on
    stderr.

    Labels are those of all windows, and so are the flags.
    """
    from ..views.report import write_report  # loads Matplotlib

    command = shlex.join(sys.argv)
    if not answer.windows:
        (model,) = models.values()
        write_report(report, answer, model, name, command)
    for number, window in enumerate(answer.windows, 1):
        path = report.with_stem(f"{report.stem}-{number}")
        title = f"{window.spectrum} ({window.model})"
        fit = replace(window.fit, flags=answer.flags, seconds=answer.seconds)
        write_report(path, fit, models[window.model], title, command)
        err.print(f"report of {title}: {path}", highlight=False)


def print_windows(windows: list[dict[str, Any]]) -> None:
    """Print the windows of one row."""
    table = Table(title="windows")
    for column in ("spectrum", "model", "range (Å)", "pixels", "reduced χ²", "rms"):
        table.add_column(column, justify="left" if column in ("spectrum", "model") else "right")
    for one in windows:
        low, high = one["wavelength"]
        chi2 = "" if one["chi2_red"] is None else f"{one['chi2_red']:.3g}"
        span, rms = f"{low:.1f}–{high:.1f}", f"{one['rms']:.3g}"
        table.add_row(one["spectrum"], one["model"], span, str(one["pixels"]), chi2, rms)
    out.print(table)
