"""Lines and pixels in cells of wavelength.

Lines are grouped by cells of equal width w. A window of pixels from the middle of one cell to the
middle of the next has derivatives by the lines of both: all lines within w/2, and none beyond 3w/2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...runtime.arrays import Floats, Integers

_WIDTH = 5.0
"""Width of a cell, Å: lines change the flux within 2.5 Å at least. Farther wings are left out of
the derivatives, not of the flux."""


REACH = 0.5 * _WIDTH
"""Distance (Å) from a line up to which its derivatives are complete."""


@dataclass(frozen=True, eq=False)
class LineGroups:
    """Groups of lines that change together: the components of one transition.

    Attributes
    ----------
    members : (m,)
        Indices of the lines, group after group.
    first : (n + 1,)
        Index, in `members`, of the first line of every group, and m.
    """

    members: Integers
    first: Integers

    def __len__(self) -> int:
        return self.first.size - 1

    @property
    def number(self) -> Integers:
        """Group (m,) of every member."""
        return np.repeat(np.arange(len(self)), np.diff(self.first))

    @property
    def heads(self) -> Integers:
        """First line (n,) of every group."""
        return self.members[self.first[:-1]]

    def of(self, groups: slice) -> slice:
        """The members of a range of groups."""
        return slice(int(self.first[groups.start]), int(self.first[groups.stop]))

    def starts(self, groups: slice) -> Integers:
        """Index of the first line of every group of a range, among the members of that range."""
        return self.first[groups] - self.first[groups.start]


def groups_of(heads: Integers, main: Integers) -> LineGroups:
    """Return the groups of lines whose `main` (C,) line is among `heads` (n,), in their order."""
    position = np.full(main.size, -1)
    position[heads] = np.arange(heads.size)
    group = position[main]
    lines = np.flatnonzero(group >= 0)
    not_head = main[lines] != lines
    members = lines[np.lexsort((lines, not_head, group[lines]))]
    first = np.searchsorted(group[members], np.arange(heads.size + 1))
    return LineGroups(members, first)


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of wavelength with the groups of lines in them.

    Attributes
    ----------
    start : float
        Beginning of the first cell, Å in vacuum.
    first : (cells + 1,)
        Index of the first group of every cell, and the number of groups.
    """

    start: float
    first: Integers

    @property
    def windows(self) -> int:
        """Number of windows of pixels."""
        return len(self.first) - 2

    @property
    def sizes(self) -> Integers:
        """Number of groups of every cell."""
        return np.diff(self.first)

    def lines(self, window: int) -> slice:
        """Groups that change the flux in a window."""
        return slice(int(self.first[window]), int(self.first[window + 2]))

    def middle(self, window: int) -> float:
        """Middle of a window, Å."""
        return self.start + (window + 1.0) * _WIDTH

    def window_of(self, wavelength: Floats) -> Integers:
        """Window (Q,) of pixels at wavelengths (Q,) in the frame of the star, Å."""
        found = np.floor((wavelength - self.start) / _WIDTH - 0.5)
        return found.astype(np.int64).clip(0, self.windows - 1)


def cells_of(wavelength: Floats, reference: Floats) -> Cells:
    """Return the cells of lines at increasing `reference` (n,), for pixels at `wavelength` (P,)."""
    low, high = float(wavelength[0]), float(wavelength[-1])
    windows = max(int(np.ceil((high - low) / _WIDTH)), 1)
    start = low - 0.5 * _WIDTH
    inner = start + _WIDTH * np.arange(1, windows + 1)
    first = np.searchsorted(reference, inner)
    return Cells(start, np.concatenate([[0], first, [reference.size]]))
