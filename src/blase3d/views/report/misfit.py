"""Lines that the model does not fit: residuals with the shape of a line.

At a line with the profile p_q over its pixels (of unit peak), a residual r_q with errors e_q has
the amplitude and significance

    A = Σ p r/e² / Σ p²/e²,      z = A √(Σ p²/e²) / s,

with s the scatter of r/e (from its median absolute deviation), or one if that is larger. All
pixels count, including those of reduced weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...runtime.units import FWHM_PER_SIGMA, SIGMA_PER_MAD
from .report_data import Floats, ReportData

SIGNIFICANT = 4.0
"""Significance (standard deviations) from which a line is listed."""
_DEPTH = 0.02
"""Central depth of the faintest lines that are tested."""
_REACH = 1.5
"""Half width of the fitted range, in full widths at half maximum of the line."""
_MIN_PIXELS = 3


@dataclass(frozen=True)
class WrongLine:
    """The residual of a line.

    Attributes
    ----------
    index : int
        Index among the lines of the model.
    center, depth : float
        Wavelength at rest (Å in vacuum), and central depth of the line alone.
    off : float
        Spectrum minus model at the line, in units of the continuum; negative where the spectrum
        is deeper.
    sigmas : float
        `off` in standard deviations.
    """

    index: int
    center: float
    depth: float
    off: float
    sigmas: float


def wrong_lines(data: ReportData, count: int = 10) -> list[WrongLine]:
    """Return the lines of the most significant residuals, worst first.

    Of lines within a width of each other, only the worst is kept.
    """
    wrong = [line for line in line_residuals(data) if abs(line.sigmas) >= SIGNIFICANT]
    return _apart(sorted(wrong, key=lambda line: -abs(line.sigmas)), _widths(data), count)


def line_residuals(data: ReportData) -> list[WrongLine]:
    """Return the residuals of all lines of a central depth of 2 % or more."""
    wavelength, residual, error = _sorted_pixels(data)
    scatter = max(SIGMA_PER_MAD * float(np.median(np.abs(residual / error))), 1.0)
    found = data.information
    centers, widths = data.observed_centers, _widths(data)
    lines = []
    for i in np.flatnonzero(found.depth >= _DEPTH):
        reach = _REACH * widths[i]
        near = slice(*np.searchsorted(wavelength, [centers[i] - reach, centers[i] + reach]))
        x = (wavelength[near] - centers[i]) * (FWHM_PER_SIGMA / widths[i])
        if x.size < _MIN_PIXELS or np.abs(x).min() > 1.0:
            continue
        profile = np.exp(-0.5 * x**2) / error[near]
        size = float(profile @ profile)
        off = float(profile @ (residual[near] / error[near])) / size
        sigmas = off * np.sqrt(size) / scatter
        center, depth = float(found.lines.center[i]), float(found.depth[i])
        lines.append(WrongLine(int(i), center, depth, off, float(sigmas)))
    return lines


def _sorted_pixels(data: ReportData) -> tuple[Floats, Floats, Floats]:
    """Return wavelength, residual and error of the pixels with an error, by wavelength."""
    pixels = data.pixels
    order = np.argsort(pixels.wavelength, kind="stable")
    order = order[pixels.error[order] > 0]
    return pixels.wavelength[order], pixels.residual[order], pixels.error[order]


def _widths(data: ReportData) -> Floats:
    """Full widths at half maximum of the observed lines, Å; at least two pixels."""
    observed = np.hypot(data.information.lines.fwhm, data.width * data.observed_centers)
    steps = np.diff(np.sort(data.pixels.wavelength))
    return np.maximum(observed, 2.0 * float(np.median(steps)) if steps.size else 0.0)


def _apart(found: list[WrongLine], widths: Floats, count: int) -> list[WrongLine]:
    """Return the first lines that are not within the width of an earlier one."""
    chosen: list[WrongLine] = []
    for line in found:
        if len(chosen) == count:
            break
        if all(
            abs(line.center - other.center) > max(widths[line.index], widths[other.index])
            for other in chosen
        ):
            chosen.append(line)
    return chosen
