"""Flags as bits of an integer, so that tables can be filtered by them.

A number keeps its meaning in all later versions; new flags get new bits. Bits 0 to 15 (`SEVERE`)
mean that the labels may be wrong, the others are notes. `docs/survey.md` has the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..parameters import FITTED

SEVERE = 0xFFFF
"""Bits of the flags that call the labels into question."""
_UNKNOWN = 15
"""Bit of a flag that is not in the table."""
FLAG_BITS = (
    (17, "errors of other labels widened", "errors of other labels widened"),
    (0, "star beyond the library", "beyond the library"),
    (16, "rv, vsini, vmac, resolution or dilution at a bound", rf"({'|'.join(FITTED)})\S* at a b"),
    (1, "label at a bound", "at a bound"),
    (2, "not converged", "not converged"),
    (3, "poor fit", "poor fit"),
    (4, "no lines found", "no lines found"),
    (5, "lines of a second star", "second star"),
    (6, "lines shallower or deeper than any labels allow", "any labels allow|a fitted dil"),
    (7, "lines narrower or wider than the resolution", "than a resolution of"),
    (8, "core of a strong line filled in", "filled in"),
    (9, "emission over the continuum", "emission over the continuum"),
    (10, "telluric lines that are not masked", "telluric lines"),
    (11, "another solution is nearly as good", "another solution"),
    (12, "label not constrained", "not constrained"),
    (13, "beside a hole of the library", "beside a hole"),
    (14, "windows disagree", "windows disagree"),
    (_UNKNOWN, "any other flag", r"$."),
    (18, "stated errors too large", "times too large"),
    (19, "stated errors too small", "times too small"),
    (20, "velocity as of wavelengths in air or vacuum", "velocity as of wavelengths"),
    (21, "velocity not corrected to the barycentre", "not corrected to the barycentre"),
    (22, "outlying pixels given less weight", "given less weight"),
    (23, "pixels without data masked", "without data masked"),
    (24, "pixels in telluric bands masked", "telluric"),
    (25, "spectrum cut to the range of the model", "cut to the range"),
    (26, "continuum of higher degree for the blaze", "includes the blaze"),
    (27, "wavelengths corrected to the barycentre", "barycentre"),
    (28, "wavelengths shifted to rest in the file", "shifted to rest"),
    (29, "light without lines fitted", "light without lines"),
)
"""Bit, title and pattern of each flag; the first pattern that is found in a flag counts."""


def flag_bits(flags: Iterable[str]) -> int:
    """Return the bits of the flags of an answer.

    Examples
    --------
    >>> flag_bits(["poor fit", "teff at a bound"])
    10
    """
    found = 0
    for flag in flags:
        found |= 1 << next((bit for bit, _, text in FLAG_BITS if re.search(text, flag)), _UNKNOWN)
    return found
