"""Figures and the one-page report of an inference: pictures and words, no new numbers.

The page is one HTML file without anything outside it. Colours are those of Okabe & Ito (2008),
which colour-blind readers can tell apart; nothing rests on colour alone.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from numpy.typing import NDArray

from .archive import software_versions
from .continuum import chebyshev_basis
from .files import replacing
from .inference.result import Estimate, Inference
from .information import LineInformation, line_information
from .model import Model, observe
from .units import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OVERVIEW = 8664.52
"""Å, vacuum: the middle of the overview, a line of the Ca II triplet ..."""
OVERVIEW_WIDTH = 60.0
"""... and its width."""
TOP_LINES = 10
"""Lines listed for each label."""
ZOOMS = 4
"""Windows shown from near."""
_ZOOM_PART = 700.0
"""A window is this fraction of its wavelength wide, about 12 Å at 8500 Å."""
_BESIDE = 0.35
"""Å from its centre at which a line is compared with its surroundings."""
_SMOOTH = 8
"""Degree of the continuum by which a fit is divided for the figures."""
_GAP = 3.0
"""Steps in wavelength longer than so many usual ones are gaps, which curves do not bridge."""

_DATA, _MODEL, _ERROR, _QUIET = "#000000", "#D55E00", "#0072B2", "#6E6E6E"
_LABEL_COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_LABEL_MARKS = ("v", "s", "o", "D", "^")

_TITLES = {
    "teff": ("Teff", "K"),
    "logg": ("log g", "dex of cm/s²"),
    "feh": ("[Fe/H]", "dex"),
    "alpha": ("[α/Fe]", "dex"),
    "rv": ("Radial velocity", "km/s, positive when receding"),
    "vsini": ("v sin i", "km/s"),
    "vmac": ("Macroturbulence", "km/s"),
    "resolution": ("Resolution λ/Δλ", ""),
}
_EXPLANATIONS = (
    (
        "at a bound",
        "the best value lies on the edge of what the library or the prior allows: the star may "
        "lie beyond it, and the value has no uncertainty.",
    ),
    ("not converged", "the search ended before it found a best fit; do not rely on the values."),
    (
        "poor fit",
        "the model differs from the spectrum by more than the errors allow; look at the "
        "residuals before you use the values.",
    ),
    (
        "another solution",
        "quite different labels fit almost as well; a prior on one label would decide.",
    ),
    (
        "not constrained",
        "the spectrum says little about this label: its uncertainty is nearly that of the prior.",
    ),
    (
        "no lines",
        "the spectrum shows none of the lines of the library: noise, emission, or no star of this "
        "kind; do not believe the values.",
    ),
    (
        "given less weight",
        "pixels that no model comes near (cosmic rays, lines of the sky, lines that the library "
        "lacks) pull less than the others.",
    ),
    ("telluric", "where the Earth's atmosphere absorbs, the spectrum was not used."),
    ("barycentre", "velocities are with respect to the barycentre of the Solar System."),
    ("cut to the range", "the rest of the spectrum lies outside the model and was not used."),
)


def write_report(
    path: str | Path,
    inference: Inference,
    model: Model,
    spectrum_name: str,
    command: str | None = None,
    truth: Mapping[str, float] | None = None,
) -> None:
    """Write the report of an inference as one self-contained HTML page.

    Parameters
    ----------
    path : path
        The file to write.
    inference : Inference
        What was found.
    model : Model
        The model it was found with.
    spectrum_name : str
        How to call the spectrum.
    command : str, optional
        The command that repeats the inference.
    truth : dict of float, optional
        True values, where they are known, to print beside the answer.
    """
    view = _make_view(inference, model)
    page = _page(view, model, spectrum_name, command, truth or {})
    with replacing(Path(path)) as partial_path:
        partial_path.write_text(page, encoding="utf-8")


def overview_figure(inference: Inference, model: Model) -> Figure:
    """Spectrum, model and residual in 60 Å around Ca II 8664.

    The lines that stand out most are marked with their wavelengths (Å, vacuum). Of a spectrum
    without that range, the window is around its deepest line.
    """
    view = _make_view(inference, model)
    centers = view.seen_centers
    half = OVERVIEW_WIDTH / 2
    inside = (centers >= view.wavelength[0]) & (centers <= view.wavelength[-1])
    middle = OVERVIEW * view.stretch
    if not view.wavelength[0] + half / 2 <= middle <= view.wavelength[-1] - half / 2:
        middle = float(centers[np.argmax(np.where(inside, view.information.depth, 0.0))])
    window = (middle - half, middle + half)
    near = inside & (np.abs(centers - middle) < half * 0.98)
    order = np.argsort(-np.where(near, view.contrast, -1.0), kind="stable")
    figure, top, bottom = _two_panels((9.0, 4.6), 10.0)
    _draw_fit(top, view, window, linewidth=1.1)
    _draw_residual(bottom, view, window)
    _mark_strongest(top, view, _apart(order[: near.sum()], centers, 2.2, 14))
    top.legend(loc="lower left", frameon=False, ncols=2)
    return figure


# What is shown, computed once.


@dataclass(frozen=True, eq=False)
class _View:
    """An inference in units of the continuum: wavelength, flux, model, error (Q,), its lines,
    and `stretch`, observed over emitted wavelength."""

    inference: Inference
    wavelength: NDArray[np.float64]
    flux: NDArray[np.float64]
    model: NDArray[np.float64]
    error: NDArray[np.float64]
    information: LineInformation
    stretch: float

    @property
    def seen_centers(self) -> NDArray[np.float64]:
        """Where the lines stand in the observation, Å."""
        return self.information.lines.center * self.stretch

    @property
    def contrast(self) -> NDArray[np.float64]:
        """How far the model at each line is below what it is a little to both sides of it."""
        centers = self.seen_centers
        middle, left, right = (
            np.interp(centers + offset, self.wavelength, self.model)
            for offset in (0.0, -_BESIDE, _BESIDE)
        )
        return np.minimum(left, right) - middle

    @property
    def windows(self) -> list[tuple[float, float]]:
        """The windows that hold most of the information: the best of each label, then others."""
        centers, share = self.seen_centers, self.information.share
        inside = (centers >= self.wavelength[0]) & (centers <= self.wavelength[-1])
        wanted = [*share.T, *[share.sum(axis=1)] * ZOOMS]
        chosen: list[tuple[float, float]] = []
        for column in wanted:
            if len(chosen) == ZOOMS:
                break
            free = inside & ~_within(centers, chosen)
            if free.any():
                chosen.append(_best_window(centers[free], column[free]))
        return sorted(chosen)


def _make_view(inference: Inference, model: Model) -> _View:
    found = {name: estimate.value for name, estimate in inference.nuisance.items()}
    sight = {**inference.fixed, **found}
    labels = {
        name: float(np.clip(inference.labels[name].value, *bounds))
        for name, bounds in model.bounds.items()
    }
    rv, vsini = sight.get("rv", 0.0), sight.get("vsini")
    resolution = _finite(sight.get("resolution"))
    vector, places = model.label_vector(**labels), model.places(inference.wavelength)
    vmac = sight.get("vmac") or None
    plain = jax.jit(observe)(model.emulator, vector, places, rv, vsini, resolution, vmac=vmac)
    continuum = _continuum(inference, np.asarray(plain, np.float64))
    error = inference.error / continuum
    information = line_information(
        model,
        labels,
        free=[name for name in model.label_names if name in inference.names] or None,
        rv=rv,
        vsini=vsini,
        resolution=resolution,
        wavelength=inference.wavelength,
        error=np.where(error > 0, error, np.inf),
    )
    return _View(
        inference,
        inference.wavelength,
        inference.flux / continuum,
        inference.model / continuum,
        error,
        information,
        1.0 + rv / SPEED_OF_LIGHT,
    )


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else value


def _continuum(inference: Inference, plain: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smooth C in units of the observation with which plain C is closest to the fit, (Q,)."""
    if inference.wavelength.size <= _SMOOTH:
        return np.full_like(plain, np.median(inference.model))
    basis = chebyshev_basis(inference.wavelength, _SMOOTH)
    best, *_ = np.linalg.lstsq(basis * plain[:, None], inference.model, rcond=None)
    continuum = basis @ best
    usual = float(np.median(np.abs(continuum))) or 1.0
    return np.where(continuum > 0.01 * usual, continuum, usual)


def _within(values: NDArray[np.float64], windows: list[tuple[float, float]]) -> NDArray[np.bool_]:
    """Which values are inside a window, or so near that a window around them would overlap."""
    near = np.zeros(values.shape, bool)
    for low, high in windows:
        margin = (high - low) / 2
        near |= (values > low - margin) & (values < high + margin)
    return near


def _best_window(centers: NDArray[np.float64], worth: NDArray[np.float64]) -> tuple[float, float]:
    """The window around one of the lines within which the lines are worth most together."""
    order = np.argsort(centers)
    ordered, total = centers[order], np.append(0.0, np.cumsum(worth[order]))
    half = ordered / _ZOOM_PART / 2
    first = np.searchsorted(ordered, ordered - half)
    stop = np.searchsorted(ordered, ordered + half, side="right")
    best = int(np.argmax(total[stop] - total[first]))
    return float(ordered[best] - half[best]), float(ordered[best] + half[best])


def _apart(
    order: NDArray[np.int64], centers: NDArray[np.float64], distance: float, count: int
) -> list[int]:
    """The first lines of an order that stand `distance` (Å) from each other."""
    chosen: list[int] = []
    for i in order:
        if len(chosen) == count:
            break
        if all(abs(centers[i] - centers[j]) >= distance for j in chosen):
            chosen.append(int(i))
    return chosen


# Figures.


def _two_panels(size: tuple[float, float], font: float) -> tuple[Figure, Axes, Axes]:
    """Flux above, residual below, on one axis of wavelength."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.size": font, "axes.linewidth": 0.8}):
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1.0))
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    top.set_ylabel("Flux / continuum")
    bottom.set_ylabel("Residual")
    bottom.set_xlabel("Wavelength in vacuum (Å)")
    return figure, top, bottom


def _part(view: _View, window: tuple[float, float]) -> slice:
    first, stop = np.searchsorted(view.wavelength, window)
    return slice(int(first), int(stop))


def _with_gaps(
    wavelength: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both with a NaN put into every gap."""
    steps = np.diff(wavelength)
    if steps.size == 0:
        return wavelength, values
    gaps = np.flatnonzero(steps > _GAP * np.median(steps)) + 1
    return np.insert(wavelength, gaps, np.nan), np.insert(values, gaps, np.nan)


def _draw_fit(axes: Axes, view: _View, window: tuple[float, float], linewidth: float) -> None:
    part = _part(view, window)
    wavelength = view.wavelength[part]
    axes.plot(
        *_with_gaps(wavelength, view.flux[part]),
        color=_DATA,
        linewidth=0.7 * linewidth,
        label="spectrum",
    )
    axes.plot(
        *_with_gaps(wavelength, view.model[part]),
        color=_MODEL,
        linewidth=linewidth,
        alpha=0.9,
        label="model",
    )
    axes.set_xlim(*window)
    values = np.concatenate([view.flux[part], view.model[part]])
    if values.size:
        low, high = np.percentile(values, [0.1, 99.9])
        axes.set_ylim(low - 0.06 * (high - low), high + 0.22 * (high - low))


def _draw_residual(axes: Axes, view: _View, window: tuple[float, float]) -> None:
    part = _part(view, window)
    wavelength, residual = view.wavelength[part], view.flux[part] - view.model[part]
    axes.plot(*_with_gaps(wavelength, residual), color=_QUIET, linewidth=0.6)
    for sign in (-1.0, 1.0):
        error = sign * view.error[part]
        axes.plot(*_with_gaps(wavelength, error), color=_ERROR, linewidth=1.0, linestyle="dashed")
    axes.axhline(0.0, color=_MODEL, linewidth=1.0)
    if residual.size:
        limit = 1.3 * max(np.percentile(np.abs(residual), 99.9), np.median(view.error[part]))
        axes.set_ylim(-limit, limit)


def _mark_strongest(axes: Axes, view: _View, lines: Sequence[int]) -> None:
    """A tick with its wavelength above each line."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.16 * (high - low))
    foot = high - 0.12 * (high - low)
    for i in lines:
        center = float(view.seen_centers[i])
        axes.plot([center, center], [foot, foot + 0.05 * (high - low)], color=_QUIET, linewidth=0.9)
        axes.text(
            center,
            foot + 0.07 * (high - low),
            f"{view.information.lines.center[i]:.2f}",
            rotation=90,
            ha="center",
            va="bottom",
            fontsize="x-small",
            color="#333333",
        )


def _whole_figure(view: _View) -> Figure:
    window = (float(view.wavelength[0]), float(view.wavelength[-1]))
    figure, top, bottom = _two_panels((6.4, 4.4), 12.0)
    _draw_fit(top, view, window, linewidth=0.7)
    _draw_residual(bottom, view, window)
    for low, high in view.windows:
        for axes in (top, bottom):
            axes.axvspan(low, high, color="#56B4E9", alpha=0.22, linewidth=0)
    top.legend(loc="upper center", frameon=False, ncols=2, borderaxespad=0.0)
    return figure


def _zoom_figure(view: _View, window: tuple[float, float]) -> Figure:
    figure, top, bottom = _two_panels((6.4, 4.0), 12.0)
    _draw_fit(top, view, window, linewidth=1.4)
    _draw_residual(bottom, view, window)
    low, high = top.get_ylim()
    names = view.information.names
    for k, name in enumerate(names):
        level = high - (0.035 + 0.06 * k) * (high - low)
        chosen = [
            i
            for i in view.information.top(name, 3 * TOP_LINES)
            if window[0] < view.seen_centers[i] < window[1] and view.information.share[i, k] > 0
        ]
        top.plot(
            view.seen_centers[chosen],
            np.full(len(chosen), level),
            _LABEL_MARKS[k % len(_LABEL_MARKS)],
            color=_LABEL_COLOURS[k % len(_LABEL_COLOURS)],
            markersize=6,
            linestyle="none",
            label=f"carries {_title(name)}",
        )
    top.set_ylim(low, high + 0.02 * (high - low))
    figure.legend(*_handles(top), loc="outside upper center", ncols=3, frameon=False, fontsize=10)
    return figure


def _handles(axes: Axes) -> tuple[list[Any], list[str]]:
    handles, labels = axes.get_legend_handles_labels()
    return handles, labels


def _png(figure: Figure, alt: str) -> str:
    """An img element that holds the figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


# The page.

_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 46rem; padding: 1rem; background: #fff; color: #1a1a1a;
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
h3 { font-size: 1rem; margin-bottom: .3rem; }
img { display: block; width: 100%; height: auto; margin: .5rem 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
.note { color: #555; font-size: .9rem; }
.flags { border-left: .3rem solid #D55E00; background: #fdf3ec; padding: .6rem 1rem; }
.fine { border-left: .3rem solid #009E73; background: #eef8f4; padding: .6rem 1rem; }
pre { background: #f5f5f5; padding: .7rem; overflow-x: auto; font-size: .85rem; }
dt { font-weight: 600; } dd { margin: 0 0 .5rem; }
"""


def _page(
    view: _View,
    model: Model,
    spectrum_name: str,
    command: str | None,
    truth: Mapping[str, float],
) -> str:
    title = f"Labels of {spectrum_name}"
    body = [
        f"<h1>{escape(title)}</h1>",
        _label_table(view.inference, truth),
        _quality(view.inference),
        _flags(view.inference.flags),
        "<h2>Spectrum and model</h2>",
        _figures(view),
        "<h2>Which lines carry each label</h2>",
        _line_tables(view),
        "<h2>To repeat it</h2>",
        _provenance(model, command),
    ]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            "</head>",
            "<body>",
            *body,
            "</body>",
            "</html>",
            "",
        ]
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table of texts, escaped; the first cell of a row is its heading."""
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = [
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    ]
    return (
        f'<div class="wide"><table>{title}<thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _label_table(inference: Inference, truth: Mapping[str, float]) -> str:
    head = ["", "value", "1 σ", "68 % interval"]
    if truth:
        head += ["truth", "off by"]
    rows = [
        _estimate_row(name, estimate, truth)
        for name, estimate in {**inference.labels, **inference.nuisance}.items()
    ]
    return _table(head, rows)


def _estimate_row(name: str, estimate: Estimate, truth: Mapping[str, float]) -> list[str]:
    digits = _decimals(estimate.sigma, estimate.value)
    unit = _TITLES.get(name, ("", ""))[1]
    row = [f"{_title(name)} ({unit})" if unit else _title(name), f"{estimate.value:.{digits}f}"]
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


def _decimals(sigma: float, value: float) -> int:
    """Decimals that show two digits of the uncertainty, or else five of the value."""
    if np.isfinite(sigma) and sigma > 0:
        return int(np.clip(1 - np.floor(np.log10(sigma)), 0, 6))
    size = abs(value)
    return int(np.clip(4 - np.floor(np.log10(size)), 0, 4)) if size > 0 else 2


def _title(name: str) -> str:
    return _TITLES.get(name, (name, ""))[0]


def _quality(inference: Inference) -> str:
    stated = np.isfinite(inference.chi2_red)
    reduced = (
        f"Reduced χ² {inference.chi2_red:.3g}"
        if stated
        else "The spectrum states no errors; they are taken from the residuals"
    )
    masked = f", {inference.n_masked:,} masked" if inference.n_masked else ""
    return (
        f'<p class="note">{escape(reduced)}. {inference.n_pixels:,} pixels used{masked}. Method: '
        f"{escape(inference.method)}, {inference.seconds:.1f} s. Uncertainties are one standard "
        "deviation.</p>"
    )


def _flags(flags: Sequence[str]) -> str:
    if not flags:
        return '<p class="fine">Nothing that was checked speaks against this fit.</p>'
    items = "".join(f"<li>{_explained(flag)}</li>" for flag in flags)
    return f'<div class="flags"><strong>To keep in mind</strong><ul>{items}</ul></div>'


def _explained(flag: str) -> str:
    words = next((text for key, text in _EXPLANATIONS if key in flag), "")
    return f"<strong>{escape(flag)}</strong>" + (f": {escape(words)}" if words else "")


def _figures(view: _View) -> str:
    low, high = view.wavelength[[0, -1]]
    whole = _png(
        _whole_figure(view), f"Spectrum, model and residual from {low:.0f} to {high:.0f} Å"
    )
    near = [
        _png(_zoom_figure(view, window), f"The same from {window[0]:.0f} to {window[1]:.0f} Å")
        for window in view.windows
    ]
    about = (
        "Black: the spectrum divided by the fitted continuum. Orange: the model. Below: spectrum "
        "minus model; between the dashed lines is one standard deviation of a pixel. Bands of "
        "light blue are the windows that hold most information on the labels, shown larger here; "
        "marks stand over the lines that carry a label."
    )
    return "\n".join([whole, f'<p class="note">{about}</p>', *near])


def _line_tables(view: _View) -> str:
    found = view.information
    about = (
        "The share of a line is its part of the information about a label that is left when the "
        "other labels are unknown as well: each pixel counts by the square of the change of flux "
        "over its error, and is divided among the lines in proportion to how much each changes "
        "there. Depth is what the line absorbs at its centre if it stands alone; the trend is the "
        "change of its strength (ln of its area) for the step of the label that is named."
    )
    return "\n".join(
        [f'<p class="note">{about}</p>', *(_lines_of(found, name) for name in found.names)]
    )


def _lines_of(found: LineInformation, name: str) -> str:
    k, column = found.names.index(name), found.label_names.index(name)
    step = 100.0 if name == "teff" else 0.1
    unit = "K" if name == "teff" else "dex"
    rows = [
        [
            f"{found.lines.center[i]:.3f}",
            f"{found.depth[i]:.3f}",
            f"{100 * found.share[i, k]:.1f} %",
            f"{100 * np.expm1(step * found.slopes[i, 1, column]):+.1f} %",
        ]
        for i in found.top(name, TOP_LINES)
        if found.share[i, k] > 0
    ]
    head = ["Wavelength (Å, vacuum)", "Depth", "Share", f"Strength per {step:g} {unit}"]
    top = sum(found.share[i, k] for i in found.top(name, TOP_LINES))
    rest = (
        f"These lines together: {100 * top:.0f} %. All {len(found.lines):,} lines: "
        f"{100 * found.share[:, k].sum():.0f} %; the rest is in what lines do not express."
    )
    return _table(head, rows, _title(name)) + f'<p class="note">{escape(rest)}</p>'


def _provenance(model: Model, command: str | None) -> str:
    library = dict(model.meta.get("library", {}))
    citation = library.pop("citation", None)
    cited = [citation] if isinstance(citation, str) else list(citation or [])
    axes = {name: [float(v) for v in axis] for name, axis in model.axes.items()}
    entries = [
        ("Command", _pre(command) if command else ""),
        ("Library", escape(str(library.pop("library", "not named")))),
        ("To cite", "".join(f"<div>{escape(str(work))}</div>" for work in cited)),
        ("About the library", _pre(_json(library)) if library else ""),
        (
            "Values of the labels in it",
            _pre("\n".join(f"{n}: {_list(v)}" for n, v in axes.items())),
        ),
        ("Mark of the library's content", _code(model.meta.get("fingerprint"))),
        ("Recipe", _pre(_json(json.loads(model.recipe.to_json())))),
        ("Versions now", escape(_versions(software_versions()))),
        ("Versions that made the model", _made(model.meta.get("versions", {}))),
    ]
    items = "\n".join(f"<dt>{title}</dt><dd>{text}</dd>" for title, text in entries if text)
    return f"<dl>\n{items}\n</dl>"


def _made(versions: Mapping[str, Any]) -> str:
    return "".join(
        f"<div>{escape(stage)}: {escape(_versions(used))}</div>" for stage, used in versions.items()
    )


def _versions(versions: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str)


def _pre(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


def _code(text: Any) -> str:
    return f"<code>{escape(str(text))}</code>" if text else ""
