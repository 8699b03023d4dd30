"""Draw the picture of the README from the results of `blase3d demo --clone`.

blase3d demo --clone --out blase3d-demo && python tools/make_picture.py blase3d-demo
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import blase3d as b3
from blase3d.inference.plots import draw_section, set_limits
from blase3d.views.report.report_data import ReportData, make_report_data

CENTER = 8664.52
"""Å, vacuum: a line of the Ca II triplet, in the middle of the picture."""
WIDTH = 60.0
"""Å"""
_DISTANCE, _MOST = 2.2, 14
"""Least distance (Å) of lines that are marked, and their largest number."""
_OFFSET = 0.35
"""Distance (Å) from its centre at which a line is compared with its surroundings."""


def overview_figure(inference: b3.Inference, model: b3.Model) -> Figure:
    """Draw spectrum, model and residual in 60 Å around Ca II 8664.

    The lines that stand out most are marked with their wavelengths (Å, vacuum). For a spectrum
    without that range, the window is around its deepest line.
    """
    data = make_report_data(inference, model)
    low, high = data.range
    centers = data.observed_centers
    inside = (centers >= low) & (centers <= high)
    middle = CENTER * data.doppler
    if not low + WIDTH / 4 <= middle <= high - WIDTH / 4:
        middle = float(centers[np.argmax(np.where(inside, data.information.depth, 0.0))])
    window = (middle - WIDTH / 2, middle + WIDTH / 2)
    with matplotlib.rc_context({"font.size": 10.0, "axes.linewidth": 0.8}):
        figure = Figure(figsize=(9.0, 4.6), layout="constrained", facecolor="white")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1.0))
        section = data.pixels.within(window)
        draw_section(top, bottom, section)
        set_limits(top, bottom, [section], room=0.38)
        top.set_xlim(*window)
        near = inside & (np.abs(centers - middle) < 0.49 * WIDTH)
        _mark(top, data, np.flatnonzero(near))
        top.set_ylabel("Flux / continuum")
        bottom.set_ylabel("Residual")
        bottom.set_xlabel("Wavelength in vacuum (Å)")
        for axes in (top, bottom):
            axes.spines[["top", "right"]].set_visible(False)
        for line, label in zip(top.lines, ("spectrum", "model"), strict=False):
            line.set_label(label)
        top.legend(loc="lower left", frameon=False, ncols=2)
    return figure


def _mark(axes: Axes, data: ReportData, lines: np.ndarray) -> None:
    """Mark the lines of highest contrast with their wavelengths, above the spectrum."""
    low, high = axes.get_ylim()
    foot = high - 0.22 * (high - low)
    centers = data.observed_centers
    chosen: list[int] = []
    for i in lines[np.argsort(-_contrast(data)[lines], kind="stable")]:
        if len(chosen) < _MOST and all(abs(centers[i] - centers[j]) >= _DISTANCE for j in chosen):
            chosen.append(int(i))
            axes.vlines(centers[i], foot, foot + 0.04 * (high - low), color="#6E6E6E", lw=0.9)
            text = f"{data.information.lines.center[i]:.2f}"
            top = foot + 0.06 * (high - low)
            axes.text(centers[i], top, text, rotation=90, ha="center", fontsize="x-small")


def _contrast(data: ReportData) -> np.ndarray:
    """Depth of the model at each line below its surroundings."""
    order = np.argsort(data.pixels.wavelength, kind="stable")
    wavelength, model = data.pixels.wavelength[order], data.pixels.model[order]
    middle, left, right = (
        np.interp(data.observed_centers + offset, wavelength, model)
        for offset in (0.0, -_OFFSET, _OFFSET)
    )
    return np.minimum(left, right) - middle


def main(folder: Path) -> None:
    """Infer the star of the demonstration and draw it into docs/images/star.png."""
    model = b3.load_model(folder / "model.zip")
    star = b3.read_spectrum(folder / "star.npz")
    answer = b3.infer(star, model, fixed={"resolution": np.inf, "vsini": 0.0})
    path = Path(__file__).parents[1] / "docs" / "images" / "star.png"
    overview_figure(answer, model).savefig(path, dpi=110)
    print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
