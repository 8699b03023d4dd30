"""Reports of the progress of long work."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], object]
"""Called with the name of a stage, the number of items done, and their total."""


def silent(stage: str, done: int, total: int) -> None:
    """Report nothing."""
