"""Priors on labels and parameters of the observation, and how they are written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..runtime.with_units import has_unit, in_difference_unit, in_parameter_unit

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_UNIFORM = re.compile(rf"({_NUMBER}):({_NUMBER})")
_NORMAL = re.compile(rf"({_NUMBER})(?:\+-|±)({_NUMBER})")
"""LO:HI, and MEAN+-SIGMA."""


@dataclass(frozen=True)
class Prior:
    """A prior: uniform between `low` and `high`; within them normal if `sigma` is finite.

    The values may be astropy Quantities. They are converted for the parameter that the prior is
    on.

    Examples
    --------
    >>> Prior(5000.0, 6000.0).within(5500.0, 7000.0)
    Prior(low=5500.0, high=6000.0, mean=0.0, sigma=inf)
    """

    low: float
    high: float
    mean: float = 0.0
    sigma: float = np.inf

    def __post_init__(self) -> None:
        if any(map(has_unit, vars(self).values())):
            return
        if not (self.low < self.high and self.sigma > 0):
            raise InputError(
                f"got a prior from {self.low:g} to {self.high:g} with sigma {self.sigma:g}, "
                "expected low < high and a positive sigma; correct it."
            )

    def within(self, low: float, high: float) -> Prior:
        """Return the prior cut to a range (InputError if nothing is left)."""
        cut = max(self.low, low), min(self.high, high)
        if not cut[0] < cut[1]:
            raise InputError(
                f"got a prior from {self.low:g} to {self.high:g}, which leaves nothing of the "
                f"possible range {low:g} to {high:g}; widen it."
            )
        return Prior(*cut, self.mean, self.sigma)


def prior_on(name: str, given: Any) -> Prior:
    """Return a prior on a parameter as plain numbers in its unit.

    `given` is a `Prior`, or (low, high) for a uniform one, with units or without. Raise InputError
    for anything else.
    """
    if isinstance(given, Prior):
        return Prior(
            in_parameter_unit(name, given.low),
            in_parameter_unit(name, given.high),
            in_parameter_unit(name, given.mean),
            in_difference_unit(name, given.sigma),
        )
    if isinstance(given, str):
        raise _no_prior(name, given)
    try:
        low, high = (float(in_parameter_unit(name, end)) for end in given)
    except (TypeError, ValueError):
        raise _no_prior(name, given) from None
    return Prior(low, high)


def _no_prior(name: str, given: Any) -> InputError:
    return InputError(
        f"got the prior {given!r} on {name}, expected Prior(...) or (low, high); correct it."
    )


def fixed_value(name: str, given: Any) -> float:
    """Return a fixed value of a parameter as a plain number in its unit."""
    try:
        return float(in_parameter_unit(name, given))
    except (TypeError, ValueError):
        raise InputError(f"got {name}={given!r}, expected a number; correct it.") from None


def parse_prior(text: str) -> Prior:
    """Read a prior: LO:HI (uniform) or MEAN+-SIGMA (normal).

    Raises
    ------
    InputError
        The text is neither.

    Examples
    --------
    >>> parse_prior("4.4+-0.1")
    Prior(low=-inf, high=inf, mean=4.4, sigma=0.1)
    """
    if match := _UNIFORM.fullmatch(text.strip()):
        return Prior(float(match[1]), float(match[2]))
    if match := _NORMAL.fullmatch(text.strip()):
        return Prior(-np.inf, np.inf, float(match[1]), float(match[2]))
    raise InputError(
        f"got the prior {text!r}, expected LO:HI or MEAN+-SIGMA, e.g. 5000:6000 or 4.4+-0.1."
    )


def parse_assignments(items: list[str]) -> Mapping[str, str]:
    """Return NAME=VALUE strings as a mapping.

    Raises
    ------
    InputError
        An item has no equals sign, or a name occurs twice.
    """
    pairs = [item.partition("=") for item in items]
    names = [name.strip() for name, _, _ in pairs]
    if not all(separator for _, separator, _ in pairs) or len(set(names)) < len(names):
        raise InputError(f"got {', '.join(items)}, expected NAME=VALUE, each name once.")
    return {name: value for name, (_, _, value) in zip(names, pairs, strict=True)}


def parse_number(text: str) -> float:
    """Return the number in a text, inf included (InputError if there is none)."""
    try:
        return float(text)
    except ValueError:
        raise InputError(f"got {text!r}, expected a number; correct it.") from None
