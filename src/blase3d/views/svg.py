"""Matplotlib figures as SVG elements of an HTML page, in the colours of its theme."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from io import StringIO
from typing import Any

import matplotlib
from matplotlib.figure import Figure

RC: dict[Any, Any] = {"svg.fonttype": "none", "text.parse_math": False, "font.size": 10.0}
"""Settings for text that the browser sets in its own font."""
_NUMBER = re.compile(r"-?\d+\.\d+")
_GEOMETRY = re.compile(r' (d|x|y|width|height|transform)="([^"]*)"')
_STYLE = re.compile(r'style="([^"]*)"')


def svg_element(figure: Figure, description: str, variables: Mapping[str, str]) -> str:
    """Return a figure as an `svg` element.

    Parameters
    ----------
    figure : Figure
        Made with the settings `RC`.
    description : str
        Text for readers who cannot see the figure.
    variables : dict of str
        The CSS variable of each colour (#rrggbb); text takes the colour of the style sheet.
    """
    buffer = StringIO()
    # identifiers are hashes with this salt, and must differ between the elements of a page
    with matplotlib.rc_context({**RC, "svg.hashsalt": description}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    written = buffer.getvalue()
    body = written[written.index('<g id="figure_1">') : written.rindex("</svg>")]
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r' transform="rotate\(-0 [^"]*"', "", body)
    body = re.sub(r"\s*\n\s*", " ", body).replace("> <", "><")
    body = _GEOMETRY.sub(lambda found: f' {found[1]}="{_NUMBER.sub(_rounded, found[2])}"', body)
    body = _STYLE.sub(lambda found: f'style="{_themed(found[1], variables)}"', body)
    width, height = 72.0 * figure.get_size_inches()
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(description)}">'
        f"<title>{escape(description)}</title>{body}</svg>"
    )


def _rounded(number: re.Match[str]) -> str:
    """To a tenth of a point, the width of a pixel on a fine screen."""
    return f"{float(number[0]):.1f}".removesuffix(".0")


def _themed(style: str, variables: Mapping[str, str]) -> str:
    style = re.sub(r"font-family: [^;]*;? ?", "", style)
    for colour, variable in variables.items():
        style = style.replace(colour.lower(), f"var({variable})")
    return style
