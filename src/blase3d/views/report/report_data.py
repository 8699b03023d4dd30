"""The content of a report: an answer in units of the continuum, and the lines of its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...analysis.fisher import LineInformation, line_information
from ...inference.plots import Floats, Section, gaps, positive_continuum, sections, typical_steps
from ...inference.problem import Options
from ...inference.result import Inference
from ...model.model import Model
from ...runtime.units import SPEED_OF_LIGHT

Range = tuple[float, float]

WINDOWS = 4
"""Windows that are plotted."""
_WINDOW_FRACTION = 1.0 / 700.0
"""Width of a window in units of its wavelength, about 12 Å at 8500 Å."""


@dataclass(frozen=True, eq=False)
class ReportData:
    """The content of a report.

    Attributes
    ----------
    inference : Inference
        The answer.
    sections : tuple of Section
        Its pixels in units of the continuum, one section for each echelle order.
    information : LineInformation
        The lines of the model at the answer, and the information of each about the labels.
    labels : dict of float
        The labels of the answer.
    doppler : float
        Observed over emitted wavelength.
    width : float
        Broadening by the star's motions and the instrument: full width at half maximum in units
        of the wavelength.
    """

    inference: Inference
    sections: tuple[Section, ...]
    information: LineInformation
    labels: dict[str, float]
    doppler: float
    width: float

    @cached_property
    def pixels(self) -> Section:
        """All sections as one; curves are interrupted between orders."""
        joined = self.sections
        return Section(
            None,
            np.concatenate([one.wavelength for one in joined]),
            np.concatenate([one.flux for one in joined]),
            np.concatenate([one.model for one in joined]),
            np.concatenate([one.error for one in joined]),
            np.concatenate([one.outlier for one in joined]),
            np.concatenate([np.append(True, one.gap_before[1:]) for one in joined]),
        )

    @property
    def orders(self) -> list[slice]:
        """The position of each order in `pixels`."""
        ends = np.cumsum([one.wavelength.size for one in self.sections]).tolist()
        return [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]

    @property
    def range(self) -> Range:
        """Shortest and longest wavelength, Å."""
        wavelength = self.pixels.wavelength
        return float(wavelength.min()), float(wavelength.max())

    @cached_property
    def unused(self) -> list[Range]:
        """Ranges (Å) without a used pixel, from half a step behind one pixel to half a step before
        the next."""
        wavelength = np.sort(self.pixels.wavelength)
        half = typical_steps(wavelength) / 2
        return [
            (float(wavelength[i] + half[i]), float(wavelength[i + 1] - half[i]))
            for i in np.flatnonzero(gaps(wavelength))
        ]

    @property
    def observed_centers(self) -> Floats:
        """Centres of the lines in the observation, Å."""
        return self.information.lines.center * self.doppler

    @cached_property
    def windows(self) -> list[Range]:
        """The windows of most information: the best for each label, then the best for all."""
        centers, share = self.observed_centers, self.information.share
        low, high = self.range
        inside = (centers >= low) & (centers <= high)
        chosen: list[Range] = []
        for column in [*share.T, *[share.sum(axis=1)] * WINDOWS]:
            free = inside & ~_overlapping(centers, chosen)
            if len(chosen) < WINDOWS and free.any():
                chosen.append(_best_window(centers[free], column[free]))
        return sorted(chosen)


def make_report_data(inference: Inference, model: Model) -> ReportData:
    """Collect the content of a report from an answer and its model."""
    labels, values = found_values(inference, model)
    options = inference.options or Options()
    rv = values.get("rv", 0.0)
    wavelength, error = _all_pixels(inference)
    resolution = _resolution(inference, values, wavelength)
    information = line_information(
        model,
        labels,
        free=[name for name in model.label_names if name in inference.names] or None,
        rv=rv,
        vsini=values.get("vsini"),
        vmac=values.get("vmac"),
        resolution=resolution,
        limb_darkening=options.limb_darkening,
        integrate=options.integrate,
        wavelength=wavelength,
        error=error,
    )
    motion = np.hypot(values.get("vsini") or 0.0, values.get("vmac") or 0.0) / SPEED_OF_LIGHT
    return ReportData(
        inference,
        tuple(sections(inference)),
        information,
        labels,
        1.0 + rv / SPEED_OF_LIGHT,
        float(np.hypot(motion, 1.0 / np.median(resolution))),
    )


def found_values(inference: Inference, model: Model) -> tuple[dict[str, float], dict[str, float]]:
    """Return the labels of an answer, within the library, and the parameters of the observation."""
    labels = {
        name: float(np.clip(inference.labels[name].value, *bounds))
        for name, bounds in model.bounds.items()
    }
    return labels, {**inference.fixed, **{name: e.value for name, e in inference.nuisance.items()}}


def _all_pixels(inference: Inference) -> tuple[Floats, Floats]:
    """Return wavelength and error, in units of the continuum, of used and masked pixels.

    Masked pixels, which have infinite errors, are between the others: widths of pixels are taken
    from the distances of their neighbours.
    """
    error = inference.error / positive_continuum(inference)
    wavelength = np.append(inference.wavelength, inference.masked)
    order = np.argsort(wavelength, kind="stable")
    error = np.where(error > 0, error, np.inf)
    return wavelength[order], np.append(error, np.full(inference.masked.size, np.inf))[order]


def _resolution(
    inference: Inference, values: Mapping[str, float], wavelength: Floats
) -> float | Floats:
    """Return the resolution of the instrument, one for each wavelength (Q,) if it varies."""
    if inference.pixel_resolution is None:
        return values.get("resolution", np.inf)
    return np.interp(wavelength, inference.wavelength, inference.pixel_resolution)


def _overlapping(centers: Floats, windows: list[Range]) -> NDArray[np.bool_]:
    """Lines around which a window would overlap one of the windows."""
    near = np.zeros(centers.shape, bool)
    for low, high in windows:
        margin = (high - low) / 2
        near |= (centers > low - margin) & (centers < high + margin)
    return near


def _best_window(centers: Floats, share: Floats) -> Range:
    """The window around one of the lines with the largest sum of shares."""
    order = np.argsort(centers)
    ordered, total = centers[order], np.append(0.0, np.cumsum(share[order]))
    half = ordered * _WINDOW_FRACTION / 2
    first = np.searchsorted(ordered, ordered - half)
    stop = np.searchsorted(ordered, ordered + half, side="right")
    best = int(np.argmax(total[stop] - total[first]))
    return float(ordered[best] - half[best]), float(ordered[best] + half[best])
