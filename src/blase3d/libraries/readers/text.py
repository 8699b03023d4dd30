"""Columns of numbers in text files, with the peculiarities of Fortran, compressed or not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import GridError
from ...runtime.arrays import Floats
from ...runtime.files import LARGEST_SPECTRUM, check_size, first_line

_OPEN: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError)
_GLUED = re.compile(r"(?<=[\d.])-(?=\d)")
_BARE_EXPONENT = re.compile(r"(?<=\d)([+-]\d{3})(?![\d.])")
"""Fortran omits the letter before an exponent of three digits: 1.5-100."""


def read_text(path: Path) -> str:
    """Return the text of a file, uncompressed if its name ends in .gz, .bz2 or .xz."""
    try:
        with _OPEN.get(path.suffix.lower(), open)(path, "rb") as stream:
            content = stream.read(LARGEST_SPECTRUM + 1)
    except FileNotFoundError as failure:
        raise GridError(f"there is no file {path}; put it back.") from failure
    except _DAMAGE as failure:
        raise GridError(
            f"{path} cannot be read ({first_line(failure)}): it is damaged or cut short; make or "
            "copy it again."
        ) from failure
    check_size(len(content), str(path), GridError, LARGEST_SPECTRUM)
    return str(content.decode("latin-1"))


def numbers(path: Path, columns: tuple[int, ...], header: int = 0) -> Floats:
    """Return columns (k, n) of a file, by their indices from 0.

    `header` lines are skipped, then all lines up to the first that begins with a number.
    """
    return parse(read_text(path), path, columns, header)


def parse(text: str, path: Path, columns: tuple[int, ...], header: int = 0) -> Floats:
    """Like `numbers`, for a text; `path` is for the error."""
    body = _body(text, header)
    try:
        try:
            return _columns(body, columns)
        except ValueError:
            return _columns(_repaired(body), columns)
    except (ValueError, IndexError) as failure:
        raise GridError(
            f"{path} is no table of numbers ({first_line(failure)}): it is damaged, cut short or "
            "of another kind; make or copy it again."
        ) from failure


def width(text: str) -> int:
    """Return the number of columns of the first line of numbers; 0 if there is none."""
    first = _body(text, 0).partition("\n")[0].partition("#")[0]
    return len(_repaired(first).split())


def _columns(body: str, columns: tuple[int, ...]) -> Floats:
    found = np.loadtxt(io.StringIO(body), usecols=columns, ndmin=2).T if body else np.empty((0, 0))
    if found.shape[-1] < 2:
        raise ValueError("it has fewer than two lines of numbers")
    return np.asarray(found, dtype=np.float64)


def _body(text: str, header: int) -> str:
    """The text from its first line of numbers on."""
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        if header <= 0 and _is_number(text[start:end]):
            return text[start:]
        header -= 1
        start = end + 1
    return ""


def _is_number(line: str) -> bool:
    words = _repaired(line).split(maxsplit=1)
    try:
        float(words[0])
    except (IndexError, ValueError):
        return False
    return True


def _repaired(body: str) -> str:
    """E for Fortran's D, blanks for commas, omitted E added, and adjacent columns separated."""
    body = body.translate({ord("D"): "E", ord("d"): "E", ord(","): " "})
    return _GLUED.sub(" -", _BARE_EXPONENT.sub(r"E\1", body))
