"""Tables and flags of the report, as HTML. Every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

from ...analysis.fisher import LineInformation
from ...inference.result import Estimate, Inference
from ...parameters import parameter
from ..flag_advice import Advice, advice
from ..formatting import decimals
from .misfit import CERTAIN, WrongLine
from .report_data import View
from .svg_plots import TOP_LINES


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table of texts; the first cell of a row is its heading. A cell may be `Seen`, a button
    that shows its place in the viewer."""
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


class Seen(str):
    """A text, and the wavelength (Å, observed) that it stands for."""

    at: float

    def __new__(cls, text: str, at: float) -> Seen:
        """The text, with its place."""
        made = super().__new__(cls, text)
        made.at = at
        return made


def _cell(text: str) -> str:
    if isinstance(text, Seen):
        return (
            f'<button type="button" class="seen" data-seen="{text.at:.3f}" '
            f'title="Show it in the spectrum">{escape(text)}</button>'
        )
    return escape(text)


def label_table(inference: Inference, truth: Mapping[str, float]) -> str:
    """Labels and nuisances with their uncertainties, beside the truth where it is known."""
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


def quality(view: View) -> str:
    """How good the fit is, in a sentence."""
    inference = view.inference
    reduced = (
        f"Reduced χ² {inference.chi2_red:.3g}"
        if np.isfinite(inference.chi2_red)
        else "The spectrum states no errors; they are taken from the residuals"
    )
    masked = f", {inference.n_masked:,} masked" if inference.n_masked else ""
    outliers = int(view.outlier.sum())
    odd = f", {outliers:,} of them given less weight" if outliers else ""
    rms = float(np.sqrt(np.mean((view.flux - view.model)[~view.outlier] ** 2)))
    return (
        f'<p class="note">{escape(reduced)}; rms residual {rms:.2g} of the continuum. '
        f"{inference.n_pixels:,} pixels used{odd}{masked}. Method: {escape(inference.method)}, "
        f"{inference.seconds:.1f} s. Uncertainties are one standard deviation; velocities are "
        "positive when receding.</p>"
    )


def flag_list(flags: Sequence[str]) -> str:
    """What speaks against the answer, what it means and what to do; then what was done."""
    grave = [flag for flag in flags if (said := advice(flag)) is None or said.severe]
    notes = [flag for flag in flags if flag not in grave]
    parts = ['<p class="fine">Nothing that was checked speaks against this fit.</p>']
    if grave:
        listed = _explained(grave)
        parts = [f'<div class="flags"><strong>To keep in mind</strong><ul>{listed}</ul></div>']
    if notes:
        parts.append(f'<div class="note">Good to know:<ul>{_explained(notes)}</ul></div>')
    return "\n".join(parts)


def _explained(flags: Sequence[str]) -> str:
    """Items of a list; flags of one advice together."""
    together: dict[Advice | str, list[str]] = {}
    for flag in flags:
        together.setdefault(advice(flag) or flag, []).append(flag)
    items = []
    for said, alike in together.items():
        names = ", ".join(_plain(flag) for flag in alike)
        if isinstance(said, Advice):
            names += f": {escape(said.meaning)} <em>What to do:</em> {escape(said.action)}"
        items.append(f"<li>{names}</li>")
    return "".join(items)


def _plain(flag: str) -> str:
    return f"<strong>{escape(flag)}</strong>"


def line_tables(view: View, species: Mapping[int, str]) -> str:
    """For every free label the lines that carry most of the information about it."""
    about = (
        "The share of a line is its part of the information about a label that is left when the "
        "other labels are unknown as well: each pixel counts by the square of the change of flux "
        "over its error, and is divided among the lines in proportion to how much each changes "
        "there. “Alone” is the uncertainty that this part of the information by itself amounts "
        "to. Depth is what the line absorbs at its centre if it stands alone; the last column is "
        "the change of its strength (its area) for the step of the label that is named."
    )
    named = (
        " Species are the likeliest by wavelength, strength and course over the labels."
        if species
        else ""
    )
    found = view.information
    tables = [_lines_of(view, name, species) for name in found.names]
    return "\n".join([f'<p class="note">{escape(about + named)}</p>', *tables])


def _lines_of(view: View, name: str, species: Mapping[int, str]) -> str:
    found = view.information
    k, column = found.names.index(name), found.label_names.index(name)
    step, short = (100.0, "K") if name == "teff" else (0.1, parameter(name).short_unit)
    chosen = [int(i) for i in found.top(name, TOP_LINES) if found.share[i, k] > 0]
    head = ["Wavelength (Å, vacuum)", "Species", "Depth", "Share", "Alone", ""]
    head[-1] = f"Strength per {step:g} {short}".rstrip()
    rows = [
        [
            Seen(f"{found.lines.center[i]:.3f}", float(view.seen_centers[i])),
            species.get(i, "–"),
            f"{found.depth[i]:.3f}",
            f"{100 * found.share[i, k]:.1f} %",
            _alone(found, i, k),
            f"{100 * np.expm1(step * found.slopes[i, 1, column]):+.1f} %",
        ]
        for i in chosen
    ]
    head, rows = _named(head, rows, species)
    top = sum(found.share[i, k] for i in chosen)
    rest = (
        f"These lines together: {100 * top:.0f} %. All {len(found.lines):,} lines: "
        f"{100 * found.share[:, k].sum():.0f} %; the rest is in what lines do not express."
    )
    return table(head, rows, parameter(name).title) + f'<p class="note">{escape(rest)}</p>'


def _named(
    head: list[str], rows: list[list[str]], species: Mapping[int, str]
) -> tuple[list[str], list[list[str]]]:
    """A table without its second column, of the species, where none is known."""
    if species:
        return head, rows
    return [*head[:1], *head[2:]], [[*row[:1], *row[2:]] for row in rows]


def _alone(found: LineInformation, i: int, k: int) -> str:
    sigma = float(found.sigma[k] / np.sqrt(found.share[i, k]))
    short = parameter(found.names[k]).short_unit
    return f"± {sigma:.2g} {short}".rstrip() if sigma < 1e4 else f"± {sigma:.0f} {short}".rstrip()


def wrong_table(view: View, wrong: Sequence[WrongLine], species: Mapping[int, str]) -> str:
    """Lines whose residual is not noise."""
    about = (
        "The residual at every line that absorbs 2 % or more, averaged with the shape of the line "
        f"as observed; lines beyond {CERTAIN:g} standard deviations are listed, worst first."
    )
    if not wrong:
        return f'<p class="note">{about}</p><p class="fine">There is none.</p>'
    head = ["Wavelength (Å, vacuum)", "Species", "Depth", "Spectrum − model", "σ", "The model is"]
    rows = [
        [
            Seen(f"{line.center:.3f}", float(view.seen_centers[line.index])),
            species.get(line.index, "–"),
            f"{line.depth:.3f}",
            f"{100 * line.off:+.2f} %",
            f"{line.sigmas:+.1f}",
            "too deep" if line.off > 0 else "too shallow",
        ]
        for line in wrong
    ]
    head, rows = _named(head, rows, species)
    return f'<p class="note">{about}</p>' + table(head, rows, "Worst lines")
