"""The pictures of the report: the whole spectrum, windows of it, and the corner plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from ...inference.result import Inference
from ...parameters import parameter
from ..formatting import decimals
from .report_data import Stretch, View
from .svg import MARKS, Floats, Frame, picture, thinned, ticks, words

TOP_LINES = 10
"""Lines listed for each label."""
_WIDTH, _HEIGHT = 520.0, 400.0
_COLUMNS = 700
_SHAPES = tuple(MARKS)
_COLOURS = 5
_CELL, _MARGIN = 118.0, 74.0
_SPREAD = 3.5
"""Half of the range of a panel of the corner plot, in standard deviations."""
_BINS = 24
_CIRCLE = np.linspace(0.0, 2.0 * np.pi, 73)


def label_shape(k: int) -> tuple[str, str]:
    """Shape and class of the marks of label number k."""
    return _SHAPES[k % len(_SHAPES)], f"mark m{k % _COLOURS}"


def spectrum_picture(view: View, window: Stretch, alt: str) -> str:
    """Spectrum and model above, their difference below, in a window; marks stand over the lines
    that carry a label."""
    low, high = window
    inside = (view.wavelength >= low) & (view.wavelength <= high)
    values = np.concatenate([view.flux[inside], view.model[inside]])
    bottom, top = np.percentile(values, [0.1, 99.9]) if values.size else (0.0, 1.0)
    span = float(top - bottom) or 1.0
    names = view.information.names
    room = 0.05 + 0.06 * len(names)
    upper = Frame(62, 8, _WIDTH - 84, 240, window, (bottom - 0.06 * span, top + room * span))
    residual = (view.flux - view.model)[inside]
    limit = _limit(residual, view.error[inside])
    lower = Frame(62, 258, _WIDTH - 84, 92, window, (-limit, limit))
    for frame in (upper, lower):
        for stretch in view.unused:
            frame.band(*stretch, "unused")
    lower.level(0.0, "model")
    for part in view.orders:
        _draw_order(upper, lower, view, part, window)
    for k, name in enumerate(names):
        shape, colour = label_shape(k)
        for i in view.information.top(name, 3 * TOP_LINES):
            if low < view.seen_centers[i] < high and view.information.share[i, k] > 0:
                upper.mark(float(view.seen_centers[i]), 9.0 + 14.0 * k, shape, colour)
    upper.outline("", "Flux / continuum")
    lower.outline("Wavelength in vacuum (Å)", "Residual", (5, 3))
    return picture(_WIDTH, _HEIGHT, alt, (upper, lower))


def _limit(residual: Floats, error: Floats) -> float:
    if not residual.size:
        return 1.0
    return float(1.3 * max(np.percentile(np.abs(residual), 99.5), np.median(error))) or 1.0


def _draw_order(upper: Frame, lower: Frame, view: View, part: slice, window: Stretch) -> None:
    """The curves of one order, thinned to what can be seen."""
    wavelength = view.wavelength[part]
    inside = np.flatnonzero((wavelength >= window[0]) & (wavelength <= window[1])) + part.start
    if not inside.size:
        return
    gaps = np.cumsum(view.gap_before)
    residual = view.flux - view.model
    for frame, values, name in (
        (upper, view.flux, "data"),
        (upper, view.model, "model"),
        (lower, residual, "quiet"),
        (lower, view.error, "error"),
        (lower, -view.error, "error"),
    ):
        chosen = inside[thinned(values[inside], _COLUMNS)]
        breaks = np.diff(gaps[chosen], prepend=gaps[chosen[0]]) > 0
        frame.curve(view.wavelength[chosen], values[chosen], name, breaks)
    odd = inside[view.outlier[inside]]
    upper.dots(view.wavelength[odd], view.flux[odd], "odd")
    lower.dots(view.wavelength[odd], residual[odd], "odd")


def key(view: View) -> str:
    """What colours and marks stand for, as HTML."""
    entries = [
        ('<path class="curve data" d="M0 8H26"/>', "spectrum"),
        ('<path class="curve model" d="M0 8H26"/>', "model"),
        ('<path class="curve quiet" d="M0 8H26"/>', "residual"),
        ('<path class="curve error" d="M0 8H26"/>', "one standard deviation of a pixel"),
    ]
    if view.outlier.any():
        entries.append(('<path class="dots odd" d="M13 8h0"/>', "given less weight"))
    if view.unused:
        entries.append(('<rect class="unused" width="26" height="16"/>', "not used, or no pixel"))
    for k, name in enumerate(view.information.names):
        shape, colour = label_shape(k)
        path = f'<path class="{colour}" d="{MARKS[shape]}" transform="translate(13 8)"/>'
        entries.append((path, f"line that carries {parameter(name).title}"))
    items = "".join(
        f'<li><svg viewBox="0 0 26 16" aria-hidden="true">{drawn}</svg>{escape(text)}</li>'
        for drawn, text in entries
    )
    return f'<ul class="key">{items}</ul>'


def corner_picture(inference: Inference, truth: Mapping[str, float]) -> str:
    """The uncertainties and how they go together: posterior draws if there are any, else the
    normal distribution of the curvature. Empty where no parameter has an uncertainty."""
    columns = [
        k
        for k, name in enumerate(inference.names)
        if np.isfinite(_sigma(inference, name)) and _sigma(inference, name) > 0
    ]
    if not columns:
        return ""
    names = [inference.names[k] for k in columns]
    found = {**inference.labels, **inference.nuisance}
    center = np.array([found[name].value for name in names])
    sigma = np.array([found[name].sigma for name in names])
    draws = None
    if inference.draws is not None:
        draws = inference.draws[..., columns].reshape(-1, len(columns))
    covariance = inference.covariance[np.ix_(columns, columns)]
    ranges = [(c - _SPREAD * s, c + _SPREAD * s) for c, s in zip(center, sigma, strict=True)]
    size, frames = len(names), []
    for row in range(size):
        for column in range(row + 1):
            frame = _cell(row, column, ranges)
            if row == column:
                _draw_single(frame, row, center, sigma, draws)
            else:
                _draw_pair(frame, row, column, center, covariance, draws)
                if names[row] in truth:
                    frame.level(truth[names[row]], "truth")
            if names[column] in truth:
                frame.upright(truth[names[column]], "truth")
            frame.outline()
            frames.append(frame)
    texts = "".join(_cell_words(names, ranges, center, sigma))
    kind = "posterior draws" if draws is not None else "normal distribution of the curvature"
    alt = f"Corner plot of {', '.join(parameter(name).title for name in names)}: {kind}"
    side = _MARGIN + size * _CELL + 14.0
    return picture(side, side + 8.0, alt, frames, texts)


def _sigma(inference: Inference, name: str) -> float:
    return {**inference.labels, **inference.nuisance}[name].sigma


def _cell(row: int, column: int, ranges: Sequence[tuple[float, float]]) -> Frame:
    y = (0.0, 1.1) if row == column else ranges[row]
    left, top = _MARGIN + column * _CELL, 24.0 + row * _CELL
    return Frame(left, top, _CELL - 8.0, _CELL - 8.0, ranges[column], y)


def _draw_single(frame: Frame, k: int, center: Floats, sigma: Floats, draws: Floats | None) -> None:
    """The distribution of one parameter, its greatest value scaled to one."""
    if draws is None:
        x = np.linspace(*frame.x, 80)
        frame.curve(x, np.exp(-0.5 * ((x - center[k]) / sigma[k]) ** 2), "data")
        return
    counts, edges = np.histogram(draws[:, k], _BINS, frame.x)
    height = np.repeat(counts / max(counts.max(), 1), 2)
    frame.curve(np.repeat(edges, 2), np.concatenate([[0.0], height, [0.0]]), "data")


def _draw_pair(
    frame: Frame,
    row: int,
    column: int,
    center: Floats,
    covariance: Floats,
    draws: Floats | None,
) -> None:
    """Draws of two parameters; or the ellipses that hold 39 % and 86 %."""
    if draws is not None:
        frame.dots(draws[:, column], draws[:, row], "draw")
        return
    pair = [column, row]
    values, vectors = np.linalg.eigh(covariance[np.ix_(pair, pair)])
    unit_circle = np.stack([np.cos(_CIRCLE), np.sin(_CIRCLE)])
    ellipse = vectors @ (np.sqrt(np.maximum(values, 0.0))[:, None] * unit_circle)
    for size in (1.0, 2.0):
        frame.curve(center[column] + size * ellipse[0], center[row] + size * ellipse[1], "data")


def _short_title(name: str) -> str:
    short = parameter(name).short_unit
    return f"{parameter(name).title} ({short})" if short else parameter(name).title


def _cell_words(
    names: Sequence[str],
    ranges: Sequence[tuple[float, float]],
    center: Floats,
    sigma: Floats,
) -> list[str]:
    """Names and ticks at the left and below, and each value above its panel."""
    size, texts = len(names), []
    bottom = 24.0 + size * _CELL - 8.0
    for k, name in enumerate(names):
        left, top = _MARGIN + k * _CELL, 24.0 + k * _CELL
        middle = left + (_CELL - 8.0) / 2
        digits = decimals(float(sigma[k]), float(center[k]))
        value = f"{center[k]:.{digits}f} ± {sigma[k]:.{digits}f}"
        texts.append(words(value, middle, top - 6, "middle"))
        texts.append(words(_short_title(name), middle, bottom + 42, "middle"))
        across = Frame(left, top, _CELL - 8.0, _CELL - 8.0, ranges[k], ranges[k])
        across.x_ticks(ticks(*ranges[k], 3), bottom)
        if k:
            up = Frame(_MARGIN, top, _CELL - 8.0, _CELL - 8.0, ranges[0], ranges[k])
            up.y_ticks(ticks(*ranges[k], 3))
            texts += up.pieces
        texts += across.pieces
    return texts
