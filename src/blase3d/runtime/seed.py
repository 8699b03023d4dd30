"""Check of the seed of a random generator."""

from __future__ import annotations

from ..errors import InputError


def check_seed(seed: int) -> None:
    """Raise `InputError` unless `seed` lies between 0 and 2**32 - 1."""
    if not 0 <= seed < 2**32:
        raise InputError(f"got seed {seed}, expected 0 to {2**32 - 1}; choose another.")
