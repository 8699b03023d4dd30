"""Words of the project's text: a list of those that have a plainer cure (see docs/style.md)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = [*(ROOT / "src").rglob("*.py"), *(ROOT / "examples").glob("*.py")]
PAGES = [
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
    if path.name != "style.md"  # which lists them
]
CURES = {
    r"anew": "again",
    r"firmness": "ridge penalty",
    r"sight": "instrument",
    r"felt": "derivative",
    r"told(?! otherwise)": "reported, stated, known",
    r"lacks": "has no, is missing",
    r"heed(s|ed)?": "use, take into account",
    r"guilty": "name the fault",
    r"dress": "style",
    r"lesser evil": "better of two poor fits",
    r"(is|are|be|was|were) had": "is available, exists",
    r"(to err|errs)": "is wrong, the error is",
    r"suffices?": "is enough",
    r"some of them": "name the thing",
    r"speaks? against": "is a reason against",
    r"own functions?": "data-driven basis functions",
}
"""Patterns of whole words, and what to write instead."""
BANNED = re.compile(rf"\b({'|'.join(CURES)})\b")
FORMER = re.compile(r'"firmness"|["`]errs["`]')
"""A former name of a setting, and a column's name."""
QUESTION = re.compile(r"(What|Who|How|Where|Which)\b")


def banned(text: str) -> list[str]:
    """Each banned word with its line and its cure."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        for match in BANNED.finditer(FORMER.sub("", line)):
            cure = next(c for p, c in CURES.items() if re.fullmatch(p, match[0]))
            found.append(f"line {number}: {match[0]!r}; write: {cure}")
    return found


def docstrings(code: str) -> list[str]:
    """Docstrings of modules, classes, functions and constants."""
    return [
        node.value.value
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]


@pytest.mark.parametrize("path", [*CODE, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_banned_word(path: Path) -> None:
    assert banned(path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_begin_with_what_a_thing_is_or_does(path: Path) -> None:
    questions = [text for text in docstrings(path.read_text("utf-8")) if QUESTION.match(text)]
    assert questions == []


def test_the_list_finds_its_words() -> None:
    assert banned("It is set anew.\nThe sight lacks a name.") == [
        "line 1: 'anew'; write: again",
        "line 2: 'sight'; write: instrument",
        "line 2: 'lacks'; write: has no, is missing",
    ]
    assert banned('err.print(x, "firmness")') == []
    assert banned("It is told.") != banned("unless told otherwise") == []
    assert docstrings('"""A."""\nX = 1\n"""B."""\ndef f():\n    """C."""') == ["A.", "B.", "C."]
