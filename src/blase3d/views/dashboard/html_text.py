"""Texts and tables of the page as HTML. All text from files is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import numpy as np

from ...analysis.fisher import LineInformation
from ...analysis.identify import UNIDENTIFIED, Identification
from ...inference.result import Estimate, Inference
from ...lines.lines import Lines
from ...model.model import Model
from ...parameters import parameter
from ...recipe import Composition
from ...runtime.units import vacuum_to_air
from ..flag_advice import advice
from ..formatting import decimals

_CANDIDATES = 3
"""Candidates of a line that are shown."""


def message(text: str, kind: str = "quiet") -> str:
    """A sentence, empty for none; `kind` is quiet, busy or error."""
    return f'<div class="message {kind}" role="status">{escape(text)}</div>' if text else ""


def model_summary(model: Model) -> str:
    """Library, range and size of a model, in one line."""
    library = model.meta.get("library") or {}
    named = str(library.get("library", "") if hasattr(library, "get") else library)
    low, high = model.wavelength[[0, -1]]
    facts = [
        named,
        f"{low:,.0f}–{high:,.0f} Å",
        f"{model.wavelength.size:,} pixels",
        f"{model.reference.size:,} lines",
    ]
    return " · ".join(escape(fact) for fact in facts if fact)


def command_html(command: str) -> str:
    """The command that repeats a fit, to be copied."""
    return f'<div class="message">To repeat this fit: <code>{escape(command)}</code></div>'


def fit_html(found: Inference) -> str:
    """Labels with uncertainties, and quality flags."""
    rows = [
        _estimate_row(name, estimate)
        for name, estimate in {**found.labels, **found.nuisance}.items()
    ]
    quality = "" if not np.isfinite(found.chi2_red) else f"reduced χ² {found.chi2_red:.3g} · "
    rms = float(np.sqrt(np.mean(((found.flux - found.model) / np.median(found.flux)) ** 2)))
    foot = f"{quality}rms {100 * rms:.2g} % · {found.n_pixels:,} pixels · {found.seconds:.1f} s"
    if found.model_identity.get("lines") == "library":
        foot += " · lines of the library, which fit better"
    flags = "".join(_flag(flag) for flag in found.flags)
    return f'<table class="fit">{"".join(rows)}</table><p class="foot">{foot}</p>{flags}'


def _estimate_row(name: str, found: Estimate) -> str:
    digits = decimals(found.sigma, found.value)
    sigma = f"± {found.sigma:,.{digits}f}" if np.isfinite(found.sigma) else "at a bound"
    value = f"{found.value:,.{digits}f}".replace("-", "−")
    row = parameter(name)
    head = f"{escape(row.title)} <small>{escape(row.short_unit)}</small>"
    return f"<tr><th>{head}</th><td>{value}</td><td>{sigma}</td></tr>"


def _flag(flag: str) -> str:
    known = advice(flag)
    kind = "error" if known is not None and known.severe else "quiet"
    more = "" if known is None else f' title="{escape(known.meaning)} {escape(known.action)}"'
    return f'<p class="message {kind}"{more}>{escape(flag)}</p>'


def line_html(
    lines: Lines,
    line: int,
    composition: Composition,
    name: Identification | None,
    found: LineInformation | None,
    identifiable: bool,
) -> str:
    """One line: its identification, its parameters, and its share of the information."""
    center = float(lines.center[line])
    depth = float(lines.take(np.array([line])).central_depth(composition)[0])
    head = name.best if name is not None and name.best != UNIDENTIFIED else "Line"
    facts = (
        f"{float(vacuum_to_air(center)):.3f} Å in air · depth {depth:.3f}, alone",
        f"area {1e3 * np.exp(lines.ln_area[line]):.1f} mÅ · "
        f"σ {1e3 * lines.sigma[line]:.1f} mÅ · γ {1e3 * lines.gamma[line]:.1f} mÅ",
    )
    return (
        f'<h3>{escape(head)} <span class="at">{center:.3f} Å in vacuum</span></h3>'
        f'<p class="facts">{"<br>".join(facts)}</p>{_candidates(name, identifiable)}'
        f"{_shares(line, found)}"
    )


def _candidates(name: Identification | None, identifiable: bool) -> str:
    if name is None:
        text = "Identifying the line…" if identifiable else ""
        return f'<p class="foot">{text}</p>' if text else ""
    rows = [
        f"<tr><th>{escape(one.species)}</th><td>{'' if one.air is None else f'{one.air:.2f}'}</td>"
        f"<td>{_number(one.lower, 2)}</td><td>{_number(one.log_gf, 2)}</td>"
        f"<td>{one.odds:.0%}</td></tr>"
        for one in name.candidates[:_CANDIDATES]
    ]
    head = "<tr><th></th><td>air Å</td><td>E<sub>low</sub> eV</td><td>log gf</td><td>odds</td></tr>"
    return f'<table class="who">{head}{"".join(rows)}</table>'


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}".replace("-", "−")


def _shares(line: int, found: LineInformation | None) -> str:
    if found is None:
        return '<p class="foot">Computing its share of the information…</p>'
    rows = "".join(_share_rows(line, found))
    return f'<h4>Share of the information on each label</h4><table class="shares">{rows}</table>'


def _share_rows(line: int, found: LineInformation) -> Iterable[str]:
    for k, name in enumerate(found.names):
        column = found.share[:, k]
        rank, most = 1 + int((column > column[line]).sum()), float(column.max()) or 1.0
        width = 100.0 * column[line] / most
        yield (
            f"<tr><th>{escape(parameter(name).title)}</th>"
            f'<td class="bar"><span style="width:{width:.1f}%"></span></td>'
            f"<td>{100 * column[line]:.2g} %</td><td>no. {rank:,}</td></tr>"
        )
