"""Plain pictures as SVG: a frame with ticks, curves, bands, marks and words.

Colours are classes of the page's style sheet, so that pictures follow its light and dark dress.
Words are escaped here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MARKS = {
    "down": "M-5-4H5L0 5Z",
    "square": "M-4-4H4V4H-4Z",
    "up": "M-5 4H5L0-5Z",
    "diamond": "M0-6L5 0L0 6L-5 0Z",
    "cross": "M-5-1.5H-1.5V-5H1.5V-1.5H5V1.5H1.5V5H-1.5V1.5H-5Z",
}
"""Shapes of marks around their place."""
_TICK = 5


def ticks(low: float, high: float, most: int = 5) -> Floats:
    """Round values within a range, at most so many (and one if there is no room)."""
    if not high > low:
        return np.array([low])
    rough = (high - low) / max(most, 1)
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * f for f in (1.0, 2.0, 2.5, 5.0, 10.0) if power * f >= rough * 0.999)
    first = np.ceil(low / step - 1e-9) * step
    return first + step * np.arange(int(np.floor((high - first) / step + 1e-9)) + 1)


def tick_text(values: Floats) -> list[str]:
    """Ticks as words: as many decimals as their step needs."""
    step = float(values[1] - values[0]) if values.size > 1 else abs(float(values[0])) or 1.0
    digits = next(
        (d for d in range(7) if abs(round(step * 10**d) - step * 10**d) < 1e-6 * 10**d * step), 6
    )
    return [f"{value:.{digits}f}".replace("-", "−") for value in values]


@dataclass(frozen=True)
class Frame:
    """A rectangle (px: left, top, width, height) over ranges of x and y. Pieces of SVG gather in
    `pieces`; nothing of what is drawn reaches out of the rectangle."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    pieces: list[str] = field(default_factory=list)

    def at_x(self, values: Floats | float) -> Floats:
        """Places in px of values of x."""
        span = (self.x[1] - self.x[0]) or 1.0
        return self.left + self.width * (np.asarray(values, np.float64) - self.x[0]) / span

    def at_y(self, values: Floats | float) -> Floats:
        """Places in px of values of y, held near the rectangle."""
        span = (self.y[1] - self.y[0]) or 1.0
        part = np.clip((np.asarray(values, np.float64) - self.y[0]) / span, -0.02, 1.02)
        return self.top + self.height * (1.0 - part)

    def curve(
        self, x: Floats, y: Floats, name: str, breaks: NDArray[np.bool_] | None = None
    ) -> None:
        """A curve of a class, interrupted before pixels where `breaks`."""
        if not x.size:
            return
        moves = np.zeros(x.size, bool) if breaks is None else breaks.copy()
        moves[0] = True
        places = zip(self.at_x(x), self.at_y(y), moves, strict=True)
        path = "".join(f"{'M' if move else 'L'}{a:.1f} {b:.1f}" for a, b, move in places)
        self.pieces.append(f'<path class="curve {name}" d="{path}"/>')

    def dots(self, x: Floats, y: Floats, name: str) -> None:
        """Dots of a class."""
        inside = (x >= self.x[0]) & (x <= self.x[1]) & (y >= self.y[0]) & (y <= self.y[1])
        places = zip(self.at_x(x[inside]), self.at_y(y[inside]), strict=True)
        path = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in places)
        if path:
            self.pieces.append(f'<path class="dots {name}" d="{path}"/>')

    def band(self, low: float, high: float, name: str) -> None:
        """An upright band of a class, between two values of x."""
        a, b = np.clip(self.at_x(np.array([low, high])), self.left, self.left + self.width)
        if b > a:
            self.pieces.append(
                f'<rect class="{name}" x="{a:.1f}" y="{self.top:.1f}" '
                f'width="{max(b - a, 0.8):.1f}" height="{self.height:.1f}"/>'
            )

    def level(self, value: float, name: str) -> None:
        """A level line of a class."""
        self.curve(np.array(self.x), np.full(2, value), name)

    def upright(self, value: float, name: str) -> None:
        """An upright line of a class, if it is within the range."""
        if self.x[0] <= value <= self.x[1]:
            self.curve(np.full(2, value), np.array(self.y), name)

    def mark(self, x: float, down: float, shape: str, name: str) -> None:
        """A mark at x, so many px below the upper edge."""
        place = f"translate({float(self.at_x(x)):.1f} {self.top + down:.1f})"
        self.pieces.append(f'<path class="{name}" d="{MARKS[shape]}" transform="{place}"/>')

    def outline(self, x_title: str = "", y_title: str = "", most: tuple[int, int] = (5, 4)) -> None:
        """The frame, with ticks on the sides that have a title."""
        right, bottom = self.left + self.width, self.top + self.height
        self.pieces.append(
            f'<rect class="frame" x="{self.left:.1f}" y="{self.top:.1f}" '
            f'width="{self.width:.1f}" height="{self.height:.1f}"/>'
        )
        if x_title:
            self.x_ticks(ticks(*self.x, most[0]), bottom)
            middle = (self.left + right) / 2
            self.pieces.append(words(x_title, middle, bottom + 38, "middle"))
        if y_title:
            self.y_ticks(ticks(*self.y, most[1]))
            x, y = self.left - 50, (self.top + bottom) / 2
            self.pieces.append(words(y_title, x, y, "middle", turned=True))

    def x_ticks(self, values: Floats, bottom: float) -> None:
        for value, text in zip(values, tick_text(values), strict=True):
            x = float(self.at_x(value))
            self.pieces.append(f'<path class="tick" d="M{x:.1f} {bottom:.1f}v-{_TICK}"/>')
            self.pieces.append(words(text, x, bottom + 17, "middle"))

    def y_ticks(self, values: Floats) -> None:
        for value, text in zip(values, tick_text(values), strict=True):
            y = float(self.at_y(value))
            self.pieces.append(f'<path class="tick" d="M{self.left:.1f} {y:.1f}h{_TICK}"/>')
            self.pieces.append(words(text, self.left - 5, y + 4.5, "end"))


def words(text: str, x: float, y: float, anchor: str, *, turned: bool = False) -> str:
    """A word at a place, perhaps turned by a quarter."""
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turn}>{escape(text)}</text>'


def picture(width: float, height: float, alt: str, frames: Iterable[Frame], more: str = "") -> str:
    """An svg element that holds frames, each cut at its edges, told to readers who cannot see it
    by `alt`."""
    parts = []
    for frame in frames:
        parts += frame.pieces
    body = "".join(parts)
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(alt)}">'
        f"<title>{escape(alt)}</title>{more}{body}</svg>"
    )


def thinned(values: Floats, count: int) -> NDArray[np.int64]:
    """Places (at most about 2 count) of the least and the greatest value in each of `count` parts
    of a curve, in order: what is seen of it on so many columns."""
    if values.size <= 2 * count:
        return np.arange(values.size)
    edges = np.linspace(0, values.size, count + 1).astype(int)
    size = int(np.diff(edges).max())
    places = np.minimum(edges[:-1, None] + np.arange(size), edges[1:, None] - 1)
    rows, found = np.arange(count), values[places]
    chosen = [places[rows, found.argmin(axis=1)], places[rows, found.argmax(axis=1)]]
    return np.unique(np.concatenate([*chosen, [0, values.size - 1]]))
