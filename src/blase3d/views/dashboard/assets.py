"""Texts that the page is made of, which stand beside this file."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "static"


@cache
def text_of(name: str) -> str:
    """The text of one of them."""
    return (_FOLDER / name).read_text(encoding="utf-8")
