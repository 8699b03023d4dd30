"""Limits of the library of a model, and the stars that its lines were calibrated on.

Both are in `meta` of the model: `limits`, a text (there or in `library`), and `calibration` with
`stars`, each with `labels`: value and error by name. Without them, nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from ...model.line_calibration import LineCalibration
from ...model.model import Model
from ...parameters import parameter
from .report_data import Range

_MARGIN = 0.1
"""Fraction of the range of a label by which a star may lie beyond it: labels have errors."""

_OF_LIBRARY = (
    "This model was calibrated, but the lines of its library fit this star better: it was fitted "
    "with these. A spectrum that the library computed is fitted so."
)


def limit_notes(model: Model, labels: Mapping[str, float], lines: str | None = None) -> str:
    """Return sentences on the library and the calibration of a model, for a star with `labels`, as
    HTML; empty where nothing is known.

    `lines` is `library` if the star was fitted with the lines of the library.
    """
    blocks = [f'<p class="note">{escape(text)}</p>' for text in _library(model)]
    if lines == "library":
        blocks.append(f'<p class="note">{escape(_OF_LIBRARY)}</p>')
    elif ranges := calibrated_ranges(model):
        outside = [name for name, ends in ranges.items() if _is_outside(labels[name], *ends)]
        kind = "flags" if outside else "note"
        blocks.append(f'<div class="{kind}">{escape(_calibration(model, ranges, outside))}</div>')
    return "\n".join(blocks)


def calibrated_ranges(model: Model) -> dict[str, Range]:
    """Return the range of each label among the stars that a model was calibrated on; empty for a
    model that was not."""
    columns = {
        name: [float(labels[name][0]) for labels in _stars(model) if name in labels]
        for name in model.label_names
    }
    return {name: (min(values), max(values)) for name, values in columns.items() if values}


def _is_outside(value: float, low: float, high: float) -> bool:
    margin = _MARGIN * (high - low)
    return not low - margin <= value <= high + margin


def _library(model: Model) -> Iterator[str]:
    library = model.meta.get("library")
    inner = library.get("limits") if isinstance(library, Mapping) else None
    if text := model.meta.get("limits") or inner:
        yield f"Limits of the library: {text}."


def _stars(model: Model) -> list[Mapping[str, Any]]:
    """Labels of the stars of the calibration: value and error by name."""
    calibration = model.meta.get("calibration")
    return [star["labels"] for star in calibration["stars"]] if calibration else []


def calibrated_cell(calibration: LineCalibration, line: int) -> str:
    """Return by how many stars a line was calibrated, and the error of its strength."""
    stars = int(calibration.stars[line])
    return f"{stars}, ± {100 * calibration.sigma[line, 0]:.0f} %" if stars else "no"


def _calibration(model: Model, ranges: Mapping[str, Range], outside: list[str]) -> str:
    """The stars of the calibration in a sentence, and a second one for a star unlike them."""
    count = len(_stars(model))
    spans = ", ".join(_span(name, *ends) for name, ends in ranges.items())
    text = f"This model was calibrated on {count} spectra of stars with {spans}"
    if model.calibration is not None and model.calibration.changes.any():
        text += ", by which its lines were changed."
    else:
        text += ": pixels where the library differs from these count less."
    if not outside:
        return f"{text} This star lies within these ranges."
    names = ", ".join(parameter(name).title for name in outside)
    return (
        f"{text} This star lies outside in {names}: nothing shows that this holds there. "
        "Compare with the model before calibration."
    )


def _span(name: str, low: float, high: float) -> str:
    found = parameter(name)
    digits = 0 if name == "teff" else 2
    ends = f"{low:.{digits}f} to {high:.{digits}f}" if low < high else f"{low:.{digits}f}"
    return f"{found.title} {ends} {found.short_unit}".rstrip()
