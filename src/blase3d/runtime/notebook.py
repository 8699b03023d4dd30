"""HTML of records, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape


def html_table(title: str, rows: Mapping[str, str]) -> str:
    """Return a table of names and values under a title."""
    return html_columns(title, (), rows.items())


def html_columns(
    title: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    notes: Iterable[str] = (),
) -> str:
    """Return a table with heads under a title, with a list of notes below it."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    lines = [
        "<tr>"
        + "".join(f'<td style="text-align:left">{escape(text)}</td>' for text in row)
        + "</tr>"
        for row in rows
    ]
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    top = f"<thead><tr>{head}</tr></thead>" if head else ""
    table = f"<table>{top}<tbody>{''.join(lines)}</tbody></table>"
    return f"<div><b>{escape(title)}</b>{table}{f'<ul>{listed}</ul>' if listed else ''}</div>"
