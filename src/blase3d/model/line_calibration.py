"""Corrections of the lines of a model that observed stars taught."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..lines.lines import NO_AREA
from .line_grid import LineGrid
from .mismatch import Mismatch


@dataclass(frozen=True, eq=False)
class LineCalibration:
    """Changes of C lines that observed stars taught. The lines of the model include them.

    Attributes
    ----------
    changes : (C, 3) float32
        Changes of ln area, wavelength (Å) and ln width, equal at all labels.
    sigma : (C, 3) float32
        Standard deviations that remain, of each line by itself: errors that all lines have in
        common are those of the labels. Of lines that no star constrains they are the typical
        errors that the ensemble taught.
    stars : (C,) int32
        Number of stars that constrain the strength of each line.
    mismatch : Mismatch or None
        Differences that remain, over wavelength.
    added : (C,) bool or None
        Whether the library does not have a line; None if it has all.
    area : (K, C) float32 or None
        Changes of the coefficients of ln area: slopes over the labels. None for none.
    left_off : bool
        Whether there were changes, which were left off.
    """

    changes: NDArray[np.float32]
    sigma: NDArray[np.float32]
    stars: NDArray[np.int32]
    mismatch: Mismatch | None = None
    added: NDArray[np.bool_] | None = None
    area: NDArray[np.float32] | None = None
    left_off: bool = False

    def take(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> LineCalibration:
        """The lines of these indices (or of this mask), in that order."""
        added = None if self.added is None else self.added[which]
        area = None if self.area is None else self.area[:, which]
        changes, sigma, stars = self.changes[which], self.sigma[which], self.stars[which]
        return replace(self, changes=changes, sigma=sigma, stars=stars, added=added, area=area)

    @property
    def of_library(self) -> NDArray[np.bool_]:
        """(C,) Whether the library has a line."""
        return np.ones(len(self.stars), bool) if self.added is None else ~self.added

    @property
    def changes_lines(self) -> bool:
        """Whether lines were changed or added."""
        return bool(self.changes.any()) or self.added is not None or self.area is not None

    def applied(self, lines: LineGrid, times: float = 1.0) -> LineGrid:
        """The lines with these changes, or without them (`times` −1)."""
        area = lines.area if self.area is None else lines.area + np.float32(times) * self.area
        return replace(lines, base=lines.base + np.float32(times) * self.base, area=area)

    def removed(self, lines: LineGrid) -> LineGrid:
        """The lines of the library, in the arrangement of all: added ones absorb nothing."""
        found = self.applied(lines, -1.0)
        base = found.base.copy()
        base[~self.of_library, 1] = NO_AREA
        return replace(found, base=base)

    @property
    def unchanged(self) -> LineCalibration:
        """The same for lines of the library: without changes, with the mismatch."""
        nothing = np.zeros_like(self.changes)
        return replace(self, changes=nothing, added=None, area=None, left_off=self.changes_lines)

    @property
    def base(self) -> NDArray[np.float32]:
        """Changes (C, 4) of the parameters of the lines."""
        strength, shift, width = self.changes.T
        return np.stack([shift, strength, width, width], axis=1)
