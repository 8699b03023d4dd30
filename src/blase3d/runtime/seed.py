"""Check of the seed of a random generator."""

from __future__ import annotations

import numpy as np

from ..errors import InputError


def check_seed(seed: int) -> None:
    """Raise `InputError` unless `seed` is a whole number between 0 and 2**32 - 1."""
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise InputError(
            f"got seed {seed!r}, expected a whole number from 0 to {2**32 - 1}; choose another."
        )
