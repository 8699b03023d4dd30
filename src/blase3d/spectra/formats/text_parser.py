"""Tables in plain text: the numbers, the names of the columns and the header, by their form.

Lines may be separated by commas, semicolons, tabs, bars or blanks; numbers may have decimal commas
or exponents of Fortran (1.0D+00). Comments begin with `#`, `%`, `;`, `!`, `*`, `\\` or `//`. The
names of the columns are in the last lines above the numbers, or in lines such as `# 1 flux [Jy]`.

`astropy.io.ascii` guesses formats by reading the whole text in one after the other, and refuses
headers of more than one line.
"""

from __future__ import annotations

import csv
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import ascii
from numpy.typing import NDArray

from .quantities import WAVELENGTH_NAMES, length_unit, split_name

_COMMENTS = ("#", "%", ";", "!", "*", "\\", "//")
_SIGNS = "#%;!*\\/ \t"
"""Characters that begin a comment, and blanks after them."""
_MARKUP = ("{", "[", "<")
"""First characters of JSON and XML, whose lines are no rows."""
_A_COMMENT = re.compile(r"\n[ \t]*(?:[#%;!*\\]|//)")
_FORTRAN = re.compile(r"(?<=[\d.])[dD](?=[-+\d])")
"""The exponent's letter in numbers of double precision."""
_SAMPLE = 20
"""Rows that decide on the separator."""
_NAME_LINES = 10
"""Lines above the numbers that may name the columns."""
_MISSING = ("", "nan", "--", "-", "null", "none", "n/a", "indef", "masked", "...")
"""Cells without a value, in lower case."""
_WORD = re.compile(r"(?:[^\s\[(]|\s{0,2}[\[(][^\])]{0,80}[\])])+")
"""A word of a header, together with the unit in brackets that follows it."""
_NUMBERED = re.compile(r"^(?:col(?:umn)?s?\.?\s*)?#?(\d+)\s*(?:[:=.)-]\s*|\s+)([^\W\d].*)$", re.I)
"""A line that describes one column: `1 WAVELENGTH [nm]`, `Column 2: flux`."""
_ENTRY = re.compile(r"^([^\W\d][\w .-]{0,40}?)\s*[:=]\s*(\S.*)$")
"""An entry of a header: `key: value` or `key = value`."""


@dataclass(frozen=True, eq=False)
class TextTable:
    """A table in plain text.

    Attributes
    ----------
    columns
        (P,) each, by name: numbers, NaN where a cell is empty, or words. Without names they are
        `column 1`, `column 2`, ...
    named
        Whether the text names the columns.
    units
        Units by column, where a line below the names states them.
    header
        Lines above the numbers without comment signs.
    entries
        Values by key of the header's lines `key: value` and `key = value`.
    """

    columns: dict[str, NDArray[Any]]
    named: bool
    units: dict[str, str]
    header: tuple[str, ...]
    entries: dict[str, str]


def has_numbers(text: str) -> bool:
    """Return whether a text has two rows or more of two numbers or more; cheap."""
    lines = text[:100_000].split("\n")
    first = _first_row(lines)
    return first is not None and any(map(_size_of_row, lines[first + 1 :]))


def parse_table(text: str) -> TextTable:
    """Return the table in a text. Raise ValueError if there is none, or if its rows differ."""
    lines = [_without_remark(line) for line in text.split("\n")]
    first = _first_row(lines)
    if first is None:
        raise ValueError("it has no lines of numbers")
    body = lines[first:]
    if _A_COMMENT.search(text):
        body = ["" if _is_comment(line) else line for line in body]
    delimiter = _delimiter([line for line in body[:_SAMPLE] if line.strip()])
    values = [_values(column) for column in _read(body, delimiter, first)]
    if len(values[0]) > 3 and values[0][0] == len(values[0]) - 1:  # the number of rows
        values = [column[1:] for column in values]
    header = [line for line in lines[:first] if line.strip()]
    names, units = _names(header, delimiter, len(values))
    found = _distinct(names or [""] * len(values))
    plain = tuple(line.strip().strip(_SIGNS).strip() for line in header)
    return TextTable(
        dict(zip(found, values, strict=True)),
        names is not None,
        {name: unit for name, unit in zip(found, units, strict=False) if unit},
        tuple(line for line in plain if line),
        {match[1].strip(): match[2].strip() for line in plain if (match := _ENTRY.match(line))},
    )


def _without_remark(line: str) -> str:
    """A line without the comment after its cells."""
    return line if "#" not in line or _is_comment(line) else line.partition("#")[0]


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith(_COMMENTS)


def _number(cell: str) -> float:
    """The number in a cell; NaN if it is empty. Raise ValueError if it is a word."""
    word = cell.strip().lower()
    if word in _MISSING:
        return np.nan
    return float(_FORTRAN.sub("e", word.replace(",", ".", 1)))


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return bool(cell.strip())


def _first_row(lines: list[str]) -> int | None:
    """Number of the first line of the table: below the names, or the first of two that have as
    many cells, mostly numbers; None if there is none."""
    earliest: dict[int, int] = {}
    size, named = 0, 0
    for number, line in enumerate(lines):
        if not line.strip() or _is_comment(line):
            continue
        cells = _cells(line, _delimiter_of(line))
        if len(cells) == named and any(map(_is_number, cells)):
            return number
        if any(split_name(cell)[0] in WAVELENGTH_NAMES for cell in cells):
            named = len(cells)
        found = _size_of_row(line)
        earliest.setdefault(found, number)
        if found and found == size:
            return earliest[found]
        size = found
    return min((number for found, number in earliest.items() if found), default=None)


def _size_of_row(line: str) -> int:
    """Number of cells of a line if two or more, and half of them, are numbers; else 0."""
    if line.lstrip().startswith(_MARKUP):
        return 0
    cells = _cells(line, _delimiter_of(line))
    count = sum(map(_is_number, cells))
    return len(cells) if count >= 2 and 2 * count >= len(cells) else 0


def _delimiter_of(line: str) -> str | None:
    """The separator of the cells of a row; None: blanks."""
    for sign in ";\t|":
        if sign in line.strip():
            return sign
    words = line.split()
    decimal_commas = len(words) > 1 and all(map(_is_number, words))
    return None if decimal_commas or "," not in line else ","


def _delimiter(rows: list[str]) -> str | None:
    return Counter(map(_delimiter_of, rows)).most_common(1)[0][0]


def _cells(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return [cell.strip("\"'") for cell in line.split()]
    words = line.strip(" \r|" if delimiter == "|" else " \r")
    return next(csv.reader([words], delimiter=delimiter), [])


def _read(body: list[str], delimiter: str | None, before: int) -> list[Any]:
    """Columns of the rows. Raise ValueError if a row has fewer cells, or more.

    `before` is the number of lines above them.
    """
    sample = "\n".join(body[:_SAMPLE]).lower()
    content = "\n".join(line.strip("| ") for line in body) if delimiter == "|" else "\n".join(body)
    content += "\n"  # without a line feed it would be the name of a file
    if delimiter != "," and "," in sample:
        content = content.replace(",", ".")
    if _FORTRAN.search(sample):
        content = _FORTRAN.sub("e", content)
    try:
        with warnings.catch_warnings():
            # raised for numbers close to zero, which are read correctly
            warnings.filterwarnings("ignore", message="OverflowError converting")
            table = ascii.read(
                content, format="fast_no_header", guess=False, delimiter=delimiter or " "
            )
    except Exception as failure:  # the parser raises many kinds
        raise ValueError(_fault(body, delimiter, before) or str(failure)) from failure
    return [table[name] for name in table.colnames]


def _fault(body: list[str], delimiter: str | None, before: int) -> str | None:
    """The first row whose number of cells is not that of most others, in words."""
    sizes = {
        number: len(_cells(line, delimiter)) for number, line in enumerate(body) if line.strip()
    }
    count = Counter(sizes.values()).most_common(1)[0][0]
    for number, size in sizes.items():
        if size != count:
            last = ", the last one" if number == max(sizes) else ""
            return f"line {before + number + 1}{last} has {size} cells, the others {count}"
    return None


def _values(column: Any) -> NDArray[Any]:
    """A column as numbers, or as words if one of its cells is a word."""
    if column.dtype.kind in "if":
        floats = column.astype(np.float64)
        return np.asarray(floats.filled(np.nan) if hasattr(floats, "filled") else floats)
    words = column.filled("") if hasattr(column, "filled") else column
    cells = [str(cell).strip() for cell in words]
    try:
        return np.array(list(map(_number, cells)))
    except ValueError:
        return np.array(cells)


def _names(
    header: list[str], delimiter: str | None, count: int
) -> tuple[list[str] | None, list[str]]:
    """The names of the columns, or None, and their units, where a line below states them."""
    if described := _described(header, count):
        return described, []
    last = header[-_NAME_LINES:]
    found = [_header_cells(line, delimiter, count) for line in last]
    for number, cells in enumerate(found):
        if cells and any(split_name(cell)[0] in WAVELENGTH_NAMES for cell in cells):
            below = next(filter(None, found[number + 1 :]), None)
            has_units = below is not None and any(map(_is_length, below))
            return cells, [cell.strip("[]()") for cell in below or ()] if has_units else []
    if last and found[-1] and not _is_comment(last[-1]):
        return found[-1], []
    return None, []


def _header_cells(line: str, delimiter: str | None, count: int) -> list[str] | None:
    """A line of the header as `count` cells, none a number; None if it has others."""
    words = line.strip().strip(_SIGNS)
    ways = [
        *(_cells(words, sign) for sign in (delimiter, "\t", ",", ";", "|") if sign),
        re.split(r"\s{2,}", words),
        [word.strip() for word in _WORD.findall(words)],
    ]
    for cells in ways:
        end = len(cells)
        while end > count and not cells[end - 1].strip():
            end -= 1
        cells = cells[:end]
        if len(cells) == count and not any(map(_is_number, cells)):
            return [cell.strip(" \t\"'") for cell in cells]
    return None


def _described(header: list[str], count: int) -> list[str] | None:
    """The names of columns that are described one a line, with their numbers."""
    matches = (_NUMBERED.match(line.strip().strip(_SIGNS)) for line in header)
    names = {int(match[1]): match[2].strip() for match in matches if match}
    if not set(range(1, count + 1)) <= set(names):
        return None
    return [_short_name(names[number]) for number in range(1, count + 1)]


def _short_name(description: str) -> str:
    """The first word of a description, with its unit in brackets."""
    word = description.split()[0].rstrip(",:;")
    unit = re.search(r"[\[(]([^\])]+)[\])]", description)
    return word if unit is None or unit[0] in word else f"{word} {unit[0]}"


def _is_length(cell: str) -> bool:
    try:
        length_unit(cell)
    except ValueError:
        return False
    return True


def _distinct(names: list[str]) -> list[str]:
    """Names without gaps and repetitions."""
    found: list[str] = []
    for number, name in enumerate(names, 1):
        word = name or f"column {number}"
        found.append(word if word not in found else f"{word} ({number})")
    return found
