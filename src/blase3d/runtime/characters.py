"""Characters that terminals and FITS files may not have, and their replacements."""

from __future__ import annotations

PLAIN = {
    "Å": "A",
    "χ": "chi",
    "λ": "lambda",
    "Δ": "d",
    "∂": "d",
    "σ": "sigma",
    "α": "alpha",
    "γ": "gamma",
    "µ": "u",
    "μ": "u",
    "²": "2",
    "₂": "2",
    "±": "+-",
    "×": "x",
    "−": "-",
    "–": "-",
    "→": "->",
    "≤": "<=",
    "≥": ">=",
    "…": "...",
    "“": '"',
    "”": '"',
    "’": "'",
    "°": "deg",
    "•": "*",
}
"""Replacements of characters that an encoding may not have."""


def ascii_of(text: str) -> str:
    """Return a text in ASCII.

    Examples
    --------
    >>> ascii_of("6500 Å − 1")
    '6500 A - 1'
    """
    return "".join(c if c.isascii() else PLAIN.get(c, "?") for c in text)
