"""Static files of the page: HTML, CSS, JavaScript and the Bokeh theme."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "static"


@cache
def text_of(name: str) -> str:
    """The text of a static file."""
    return (_FOLDER / name).read_text(encoding="utf-8")
