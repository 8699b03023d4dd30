"""Corrections of the lines of a model that observed stars taught."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    """

    changes: NDArray[np.float32]
    sigma: NDArray[np.float32]
    stars: NDArray[np.int32]
    mismatch: Mismatch | None = None
    added: NDArray[np.bool_] | None = None

    def take(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> LineCalibration:
        """The lines of these indices (or of this mask), in that order."""
        added = None if self.added is None else self.added[which]
        return LineCalibration(
            self.changes[which], self.sigma[which], self.stars[which], self.mismatch, added
        )

    @property
    def of_library(self) -> NDArray[np.bool_]:
        """(C,) Whether the library has a line."""
        return np.ones(len(self.stars), bool) if self.added is None else ~self.added

    @property
    def base(self) -> NDArray[np.float32]:
        """Changes (C, 4) of the parameters of the lines."""
        strength, shift, width = self.changes.T
        return np.stack([shift, strength, width, width], axis=1)
