"""What long work says of how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], object]
"""Called with the name of a stage, how many items of it are done, and how many there are."""


def silent(stage: str, done: int, total: int) -> None:
    """The progress that says nothing."""
