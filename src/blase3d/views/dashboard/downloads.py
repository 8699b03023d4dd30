"""Downloads of the page: spectra and lines, as ECSV; the report and the command of a fit."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from astropy import units
from astropy.table import Table

from ...analysis.fisher import LineInformation
from ...inference.result import Inference
from ...model.model import Model
from ...runtime.arrays import Floats
from ...runtime.files import plain
from ...spectra.formats import write_spectrum
from ...spectra.spectrum import Spectrum
from ..report import write_report
from .star import ShownStar
from .state import ViewState
from .visible_lines import LineNames, VisibleLines, species_of


def _meta(model: Model, state: ViewState) -> dict[str, Any]:
    """Labels, observation and library, for the headers of files."""
    library = model.meta.get("library", {})
    return dict(plain({"labels": dict(state.labels), **state.observation, "library": library}))


def model_ecsv(model: Model, state: ViewState) -> str:
    """The model in the window, on the pixels of the model."""
    low, high = state.window
    inside = (model.wavelength >= low) & (model.wavelength <= high)
    wavelength = model.wavelength[inside]
    spectrum = Spectrum(
        wavelength,
        _flux(model, state, wavelength),
        resolution=state.observation["resolution"],
        meta=_meta(model, state),
    )
    with TemporaryDirectory(prefix="blase3d-") as folder:
        path = Path(folder) / "model.ecsv"
        write_spectrum(spectrum, path)
        return path.read_text(encoding="utf-8")


def star_ecsv(model: Model, state: ViewState, star: ShownStar) -> str:
    """The observation in the window in units of its continuum, the model there, and the residual.

    `read_spectrum` reads it.
    """
    low, high = state.window
    inside = (star.wavelength >= low) & (star.wavelength <= high)
    wavelength, flux = star.wavelength[inside], star.flux[inside]
    expected = _flux(model, state, wavelength)
    columns = {
        "wavelength": wavelength * units.AA,
        "flux": flux,
        "model": expected,
        "residual": flux - expected,
    }
    if len(star.orders) > 1:
        columns["order"] = star.order[inside]
    meta = {**_meta(model, state), "medium": "vacuum", "spectrum": star.name}
    table = Table(columns, meta=meta)
    table.sort("wavelength", kind="stable")
    return _text(table)


def lines_ecsv(
    model: Model,
    state: ViewState,
    lines: VisibleLines,
    names: LineNames,
    found: LineInformation | None,
) -> str:
    """The lines in view, by wavelength."""
    sort = np.argsort(lines.observed, kind="stable")
    index, known = lines.index[sort], names.known(state)
    chosen = lines.lines.take(index)
    table = Table(
        {
            "wavelength": chosen.center * units.AA,
            "observed": lines.observed[sort] * units.AA,
            "reference": chosen.reference * units.AA,
            "depth": lines.depth[sort],
            "area": np.exp(chosen.ln_area.astype(np.float64)) * units.AA,
            "sigma": chosen.sigma.astype(np.float64) * units.AA,
            "gamma": chosen.gamma.astype(np.float64) * units.AA,
            "species": [species_of(known.get(int(i))) for i in index],
        },
        meta={**_meta(model, state), "medium": "vacuum"},
    )
    for k, name in enumerate(() if found is None else found.names):
        table[f"share_{name}"] = found.share[index, k]  # type: ignore[union-attr]
    return _text(table)


def report_html(model: Model, found: Inference, name: str, command: str) -> str:
    """The report of a fit, one page of HTML."""
    with TemporaryDirectory(prefix="blase3d-") as folder:
        path = Path(folder) / "report.html"
        write_report(path, found, model, name, command)
        return path.read_text(encoding="utf-8")


def command_of(star: ShownStar, model_name: str, held: Mapping[str, float]) -> str:
    """The command that repeats a fit, with its report."""
    words = ["blase3d", "infer", star.name or "SPECTRUM", "--model", model_name]
    meta = star.spectrum.meta
    if (medium := meta.get("converted_from", meta.get("medium"))) in ("air", "vacuum"):
        words += ["--medium", medium]
    for name, value in held.items():
        words += ["--fix", f"{name}={value:.8g}"]
    return shlex.join([*words, "--report", "star.html"])


def _flux(model: Model, state: ViewState, wavelength: Floats) -> Floats:
    """The model (Q,), exactly at the wavelengths."""
    arguments: dict[str, Any] = {**state.labels, **state.observation}
    return np.asarray(model.flux(**arguments, wavelength=wavelength), np.float64)


def _text(table: Table) -> str:
    stream = StringIO()
    table.write(stream, format="ascii.ecsv")
    return stream.getvalue()
