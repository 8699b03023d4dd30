"""Inference methods: the protocol, and the record that they return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field
from typing import Any, ClassVar, Protocol

from numpy.typing import NDArray

from ...runtime.arrays import Floats
from ..likelihood.likelihood import Likelihood
from ..solution import Solution


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of a method.

    Attributes
    ----------
    solutions : sequence of Solution
        The best first, with its errors estimated there; then other minima, if the method has any.
    converged : bool
        Whether the result can be relied on.
    draws : (chains, draws, K) or None
        Draws of θ from the posterior, if the method makes any; otherwise, intervals are those of
        the curvature of chi-square at the best solution.
    diagnostics : dict
        Diagnostics of the draws, as JSON holds them.
    draw_stats : dict
        Statistics of each draw (chains, draws), by ArviZ's names.
    """

    solutions: Sequence[Solution]
    converged: bool
    draws: Floats | None = None
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    draw_stats: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def best(self) -> Solution:
        """The best solution."""
        return self.solutions[0]


class InferenceMethod(Protocol):
    """An inference method: a frozen dataclass whose fields are its options.

    An option that cannot be used, or a package that is not installed, is reported when the record
    is made, before any work.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def solve(self, likelihood: Likelihood, seed: int) -> Outcome:
        """Find θ. The same seed gives the same result."""
        ...
