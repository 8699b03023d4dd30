"""The Lines record: absorption lines as arrays, one entry a line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ArchiveError
from ..units import FWHM_PER_SIGMA

PARAMETERS = ("shift", "ln_area", "ln_sigma", "ln_gamma")
"""Order of the columns wherever the parameters of lines stand in one array."""


NO_AREA = -200.0
"""ln area of which float32 makes nothing."""


@dataclass(frozen=True, eq=False)
class Lines:
    """N pseudo-Voigt lines.

    Attributes
    ----------
    reference : (N,) float64
        Wavelength that names the line: where it was detected, or its place in the catalogue
        (Å, vacuum). Kept apart from `shift` so that float32 suffices for the shift.
    params : (N, 4) float32
        Columns of `PARAMETERS`: shift of the centre from `reference` (Å), ln of the area (ln Å),
        ln of the Gaussian standard deviation and of the Lorentzian half width (ln Å).

    Raises
    ------
    ArchiveError
        The arrays do not fit together.
    """

    reference: NDArray[np.float64]
    params: NDArray[np.float32]

    def __post_init__(self) -> None:
        reference = np.asarray(self.reference, dtype=np.float64)
        params = np.asarray(self.params, dtype=np.float32)
        if reference.ndim != 1 or params.shape != (reference.size, len(PARAMETERS)):
            raise ArchiveError(
                f"lines need (N,) references and (N, 4) parameters, got {reference.shape} and "
                f"{params.shape}; the record they come from is damaged."
            )
        object.__setattr__(self, "reference", reference)
        object.__setattr__(self, "params", params)

    def __len__(self) -> int:
        return self.reference.size

    @property
    def center(self) -> NDArray[np.float64]:
        """Tuned centres (Å, vacuum), (N,)."""
        return self.reference + self.params[:, 0]

    @property
    def ln_area(self) -> NDArray[np.float32]:
        """ln of the area, ln Å, (N,)."""
        return self.params[:, 1]

    @property
    def sigma(self) -> NDArray[np.float32]:
        """Gaussian standard deviations, Å, (N,)."""
        return np.exp(self.params[:, 2])

    @property
    def gamma(self) -> NDArray[np.float32]:
        """Lorentzian half widths at half maximum, Å, (N,)."""
        return np.exp(self.params[:, 3])

    def take(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> Lines:
        """The lines of these indices (or of this mask), in that order."""
        return Lines(self.reference[which], self.params[which])

    def merged(self, other: Lines) -> Lines:
        """Both sets of lines, in order of reference."""
        reference = np.concatenate([self.reference, other.reference])
        order = np.argsort(reference, kind="stable")
        return Lines(reference[order], np.concatenate([self.params, other.params])[order])


def first_guess(reference: ArrayLike, depth: ArrayLike, fwhm: ArrayLike) -> Lines:
    """Lines of given centre (Å), central depth (0–1) and full width at half depth (Å).

    Both widths share the FWHM as a Voigt of equal parts does; the area is that of a Gaussian of
    this FWHM and central optical depth −ln(1 − depth).
    """
    fwhm = np.asarray(fwhm, dtype=np.float64)
    depth = np.clip(np.asarray(depth, dtype=np.float64), 1e-6, 0.98)
    area = -np.log1p(-depth) * fwhm * np.sqrt(np.pi / np.log(2.0)) / 2.0
    sigma, gamma = 0.7 * fwhm / FWHM_PER_SIGMA, 0.25 * fwhm
    columns = [np.zeros_like(fwhm), np.log(area), np.log(sigma), np.log(gamma)]
    return Lines(np.asarray(reference, dtype=np.float64), np.stack(columns, axis=1))


def padded(params: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Parameters (at least `count`, 4): lines without area follow, so that like numbers of lines
    share one compilation."""
    more = max(count - len(params), 0)
    blank = np.zeros((more, len(PARAMETERS)), np.float32)
    blank[:, 1] = NO_AREA
    return np.concatenate([params, blank])
