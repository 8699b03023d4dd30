"""Lines that the model gets wrong: where the residual has the shape of a line.

At a line with the profile p_q over its pixels (of unit peak), a residual r_q with errors e_q has
the amplitude and the significance

    A = Σ p r/e² / Σ p²/e²,      z = A √(Σ p²/e²) / s,

with s the scatter of r/e (from its median absolute deviation) where that is above one. All pixels
count, also those that the fit gave less weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...units import FWHM_PER_SIGMA
from .report_data import Floats, View

DEEP = 0.02
"""Lines that absorb less than this at their centres are not judged."""
CERTAIN = 4.0
"""Least significance at which a line counts as wrong."""
_REACH = 1.5
"""Full widths at half maximum to both sides that are looked at."""
_LEAST_PIXELS = 3
_NORMAL = 1.4826
"""Standard deviation over median absolute deviation of the normal distribution."""


@dataclass(frozen=True)
class WrongLine:
    """A line that the model gets wrong.

    Attributes
    ----------
    index : int
        Its place among the lines of the model.
    center, depth : float
        Å in vacuum, emitted; and what it absorbs at its centre if it stands alone.
    off : float
        Spectrum minus model at the line, in units of the continuum: below zero where the spectrum
        is deeper.
    sigmas : float
        The same in standard deviations.
    """

    index: int
    center: float
    depth: float
    off: float
    sigmas: float


def wrong_lines(view: View, count: int = 10) -> list[WrongLine]:
    """The lines with the most significant residuals, one for each place, worst first."""
    wavelength, residual, error = _sorted(view)
    scatter = max(_NORMAL * float(np.median(np.abs(residual / error))), 1.0)
    lines, depth, centers = view.information.lines, view.information.depth, view.seen_centers
    widths = _widths(view)
    found = []
    for i in np.flatnonzero(depth >= DEEP):
        reach = _REACH * widths[i]
        part = slice(*np.searchsorted(wavelength, [centers[i] - reach, centers[i] + reach]))
        x = (wavelength[part] - centers[i]) * (FWHM_PER_SIGMA / widths[i])
        if x.size < _LEAST_PIXELS or np.abs(x).min() > 1.0:
            continue
        profile = np.exp(-0.5 * x**2) / error[part]
        size = float(profile @ profile)
        off = float(profile @ (residual[part] / error[part])) / size
        sigmas = off * np.sqrt(size) / scatter
        if abs(sigmas) >= CERTAIN:
            center = float(lines.center[i])
            found.append(WrongLine(int(i), center, float(depth[i]), off, float(sigmas)))
    return _apart(sorted(found, key=lambda wrong: -abs(wrong.sigmas)), widths, count)


def _sorted(view: View) -> tuple[Floats, Floats, Floats]:
    """Wavelength, residual and error of the pixels that have one, in order of wavelength."""
    order = np.argsort(view.wavelength, kind="stable")
    order = order[view.error[order] > 0]
    return view.wavelength[order], (view.flux - view.model)[order], view.error[order]


def _widths(view: View) -> Floats:
    """Full widths at half maximum of the lines as observed, Å."""
    seen = np.hypot(view.information.lines.fwhm, view.width * view.seen_centers)
    steps = np.diff(np.sort(view.wavelength))
    return np.maximum(seen, 2.0 * float(np.median(steps)) if steps.size else 0.0)


def _apart(found: list[WrongLine], widths: Floats, count: int) -> list[WrongLine]:
    """The first lines that are not within the width of one before them."""
    chosen: list[WrongLine] = []
    for wrong in found:
        if len(chosen) == count:
            break
        if all(
            abs(wrong.center - other.center) > max(widths[wrong.index], widths[other.index])
            for other in chosen
        ):
            chosen.append(wrong)
    return chosen
