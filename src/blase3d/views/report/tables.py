"""Tables and flags of the report, as HTML. All text is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

from ...analysis.fisher import LineInformation
from ...inference.result import Estimate, Inference
from ...model.line_calibration import LineCalibration
from ...parameters import parameter
from ..flag_advice import Advice, advice
from ..formatting import decimals
from .limits import calibrated_cell
from .misfit import SIGNIFICANT, WrongLine
from .plots import TOP_LINES
from .report_data import ReportData


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """Return a table; the first cell of a row is its heading.

    A `WavelengthCell` becomes a button that shows its wavelength in the viewer.
    """
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = [
        f'<tr><th scope="row">{_cell(row[0])}</th>'
        + "".join(f"<td>{_cell(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    ]
    return (
        f'<div class="wide"><table>{above}<thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


class WavelengthCell(str):
    """A text that stands for an observed wavelength (Å)."""

    wavelength: float

    def __new__(cls, text: str, wavelength: float) -> WavelengthCell:
        """Make the text, with its wavelength."""
        made = super().__new__(cls, text)
        made.wavelength = wavelength
        return made


def _cell(text: str) -> str:
    if isinstance(text, WavelengthCell):
        return (
            f'<button type="button" class="show" data-show="{text.wavelength:.3f}" '
            f'title="Show it in the spectrum">{escape(text)}</button>'
        )
    return _TOGETHER.sub("\N{NO-BREAK SPACE}", escape(text))


_TOGETHER = re.compile(r"(?<=[±+−-]) (?=\d)| (?=[%σ])")
"""Spaces of a cell at which no line ends, on narrow screens."""


def label_table(inference: Inference, truth: Mapping[str, float]) -> str:
    """Return labels and other free parameters, with uncertainties and any true values."""
    head = ["", "value", "1 σ", "68 % interval"]
    if truth:
        head += ["truth", "off by"]
    rows = [
        _estimate_row(name, estimate, truth)
        for name, estimate in {**inference.labels, **inference.nuisance}.items()
    ]
    return table(head, rows)


def _estimate_row(name: str, estimate: Estimate, truth: Mapping[str, float]) -> list[str]:
    digits = decimals(estimate.sigma, estimate.value)
    row = [parameter(name).heading, f"{estimate.value:.{digits}f}"]
    if estimate.sigma == 0:
        row += ["fixed", "–"]
    elif not np.isfinite(estimate.sigma):
        row += ["none", "–"]
    else:
        interval = f"{estimate.q16:.{digits}f} to {estimate.q84:.{digits}f}"
        row += [f"± {estimate.sigma:.{digits}f}", interval]
    if truth:
        row += _truth_cells(estimate, truth.get(name), digits)
    return row


def _truth_cells(estimate: Estimate, true: float | None, digits: int) -> list[str]:
    if true is None:
        return ["–", "–"]
    off = estimate.value - true
    in_sigma = f" ({off / estimate.sigma:+.1f} σ)" if estimate.sigma > 0 else ""
    return [f"{true:.{digits}f}", f"{off:+.{digits}f}{in_sigma}"]


def quality(data: ReportData) -> str:
    """Return the quality of the fit in a sentence."""
    inference, pixels = data.inference, data.pixels
    reduced = (
        f"Reduced χ² {inference.chi2_red:.3g}"
        if np.isfinite(inference.chi2_red)
        else "The spectrum states no errors; they are taken from the residuals"
    )
    if np.isfinite(inference.chi2_stated):
        reduced += f", {inference.chi2_stated:.3g} by the stated errors alone"
    masked = f", {inference.n_masked:,} masked" if inference.n_masked else ""
    outliers = int(pixels.outlier.sum())
    less = f", {outliers:,} of them given less weight" if outliers else ""
    rms = float(np.sqrt(np.mean(pixels.residual[~pixels.outlier] ** 2)))
    return (
        f'<p class="note">{escape(reduced)}; rms residual {rms:.2g} of the continuum. '
        f"{inference.n_pixels:,} pixels used{less}{masked}. Method: {escape(inference.method)}, "
        f"{inference.seconds:.1f} s. Uncertainties are one standard deviation; velocities are "
        "positive when receding.</p>"
    )


def flag_list(flags: Sequence[str]) -> str:
    """Return the flags with explanations, the severe ones first."""
    severe = [flag for flag in flags if (found := advice(flag)) is None or found.severe]
    notes = [flag for flag in flags if flag not in severe]
    blocks = ['<p class="fine">No check found a fault in this fit.</p>']
    if severe:
        listed = _explained(severe)
        blocks = [f'<div class="flags"><strong>To keep in mind</strong><ul>{listed}</ul></div>']
    if notes:
        blocks.append(f'<div class="note">Good to know:<ul>{_explained(notes)}</ul></div>')
    return "\n".join(blocks)


def _explained(flags: Sequence[str]) -> str:
    """Return the items of a list; flags with the same explanation share one."""
    together: dict[Advice | str, list[str]] = {}
    for flag in flags:
        together.setdefault(advice(flag) or flag, []).append(flag)
    items = []
    for found, alike in together.items():
        text = ", ".join(f"<strong>{escape(flag)}</strong>" for flag in alike)
        if isinstance(found, Advice):
            text += f": {escape(found.meaning)} <em>What to do:</em> {escape(found.action)}"
        items.append(f"<li>{text}</li>")
    return "".join(items)


def line_tables(data: ReportData, species: Mapping[int, str]) -> str:
    """Return a table for each free label, with the lines of largest shares."""
    about = (
        "The share of a line is its fraction of the information about a label, with the other "
        "labels unknown as well: each pixel counts by the square of the change of flux over its "
        "error, divided among the lines in proportion to their changes at the pixel. “Alone” is "
        "the uncertainty of the label from this fraction of the information only, with the errors "
        "of pixels as independent. The uncertainties above also include that all pixels of a line "
        "may be wrong together, so they can be larger. Depth is the central depth of the line "
        "alone; the last column is the change of the line's area for the given step of the label."
    )
    if species:
        about += " Species are the likeliest by wavelength, strength and dependence on the labels."
    tables = [_table_of(data.information, data, name, species) for name in data.information.names]
    return "\n".join([f'<p class="note">{escape(about)}</p>', *tables])


def _table_of(
    found: LineInformation, data: ReportData, name: str, species: Mapping[int, str]
) -> str:
    k, column = found.names.index(name), found.label_names.index(name)
    unit = parameter(name).short_unit
    step = 100.0 if name == "teff" else 0.1
    chosen = [int(i) for i in found.top(name, TOP_LINES) if found.share[i, k] > 0]
    alone = f"Alone ({unit})" if unit else "Alone"
    head = ["Wavelength (Å, vacuum)", "Species", "Depth", "Share", alone]
    rows = [
        [
            WavelengthCell(f"{found.lines.center[i]:.3f}", float(data.observed_centers[i])),
            species.get(i, "–"),
            f"{found.depth[i]:.3f}",
            f"{100 * found.share[i, k]:.1f} %",
            _plus_minus(float(found.sigma[k] / np.sqrt(found.share[i, k]))),
            f"{100 * np.expm1(step * found.slopes[i, 1, column]):+.1f} %",
        ]
        for i in chosen
    ]
    head.append(f"Strength per {step:g} {unit}".rstrip())
    top = sum(found.share[i, k] for i in chosen)
    sums = (
        f"These lines together: {100 * top:.0f} %. All {len(found.lines):,} lines: "
        f"{100 * found.share[:, k].sum():.0f} %; the remainder is in the residual of the model."
    )
    return (
        table(*_without_species(head, rows, species), parameter(name).title)
        + f'<p class="note">{escape(sums)}</p>'
    )


def _without_species(
    head: list[str], rows: list[list[str]], species: Mapping[int, str]
) -> tuple[list[str], list[list[str]]]:
    """Drop the second column, of the species, where none is known."""
    if species:
        return head, rows
    return [*head[:1], *head[2:]], [[*row[:1], *row[2:]] for row in rows]


def _plus_minus(sigma: float) -> str:
    return f"± {sigma:.2g}" if sigma < 1e4 else f"± {sigma:.0f}"


def wrong_table(
    data: ReportData,
    wrong: Sequence[WrongLine],
    species: Mapping[int, str],
    calibration: LineCalibration | None = None,
) -> str:
    """Return the lines of significant residuals, and whether the calibration knows them."""
    about = (
        "The residual at every line of a central depth of 2 % or more, averaged with the shape of "
        f"the observed line. Lines beyond {SIGNIFICANT:g} standard deviations are listed, worst "
        "first."
    )
    if not wrong:
        return f'<p class="note">{about}</p><p class="fine">There is none.</p>'
    head = ["Wavelength (Å, vacuum)", "Species", "Depth", "Spectrum − model", "σ", "The model is"]
    rows = [
        [
            WavelengthCell(f"{line.center:.3f}", float(data.observed_centers[line.index])),
            species.get(line.index, "–"),
            f"{line.depth:.3f}",
            f"{100 * line.off:+.2f} %",
            f"{line.sigmas:+.1f}",
            "too deep" if line.off > 0 else "too shallow",
        ]
        for line in wrong
    ]
    head, rows = _without_species(head, rows, species)
    if calibration is not None:
        about += (
            " The last column has the number of stars of the calibration that constrain the "
            "strength of the line, and the error that remains."
        )
        head.append("Calibrated")
        rows = [
            [*row, calibrated_cell(calibration, line.index)]
            for row, line in zip(rows, wrong, strict=True)
        ]
    return f'<p class="note">{about}</p>' + table(head, rows, "Worst lines")
