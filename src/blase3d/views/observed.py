"""A figure of observed spectra as they were read: flux, errors and masked pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import InputError
from ..runtime.files import replacing
from ..spectra.spectrum import Spectrum
from . import style

PICTURES = ("png", "svg", "pdf")
"""Endings of pictures."""
_HEIGHT = 2.2
"""Height of one spectrum, inches."""
_DPI = 200
_EXTREMES = (0.5, 99.5)
"""Percentiles of the flux between which the axis is drawn, widened by a fifth."""


def observed_figure(spectra: Sequence[tuple[str, Spectrum]]) -> Figure:
    """Draw spectra, with their titles, below each other.

    Echelle orders alternate in colour; the band is one standard deviation; masked pixels are grey.
    """
    with style.settings():
        figure = style.new_figure(style.PAGE, _HEIGHT * len(spectra))
        panels = figure.subplots(len(spectra), 1, squeeze=False)[:, 0]
        for axes, (title, spectrum) in zip(panels, spectra, strict=True):
            _draw(axes, spectrum)
            axes.set_title(title, loc="left")
        panels[-1].set_xlabel("wavelength (Å, vacuum)")
    return figure


def write_observed(spectra: Sequence[tuple[str, Spectrum]], path: Path) -> None:
    """Write the figure of spectra to a .png, .svg or .pdf file."""
    require_picture(path)
    with style.settings(), replacing(path) as partial:
        figure = observed_figure(spectra)
        figure.savefig(partial, format=path.suffix[1:].lower(), dpi=_DPI)


def require_picture(path: Path) -> None:
    """Raise `InputError` unless the ending of a path is that of a picture."""
    if path.suffix[1:].lower() not in PICTURES:
        known = ", ".join(f".{name}" for name in PICTURES)
        raise InputError(f"{path} has no ending of a picture; expected one of {known}.")


def _draw(axes: Axes, spectrum: Spectrum) -> None:
    order = np.zeros(len(spectrum), int) if spectrum.order is None else spectrum.order
    flux = np.where(spectrum.good, spectrum.flux, np.nan)
    for number, one in enumerate(np.unique(order)):
        here = order == one
        wavelength, color = spectrum.wavelength[here], (style.BLUE, style.ORANGE)[number % 2]
        axes.plot(wavelength, flux[here], color=color, linewidth=0.6, rasterized=True)
        if spectrum.error is not None:
            low, high = (flux[here] + sign * spectrum.error[here] for sign in (-1.0, 1.0))
            axes.fill_between(
                wavelength, low, high, color=color, alpha=0.25, linewidth=0, rasterized=True
            )
    masked = spectrum.mask
    at_top = np.ones(int(masked.sum()))
    axes.plot(
        spectrum.wavelength[masked],
        at_top,
        "|",
        color=style.GREY,
        transform=axes.get_xaxis_transform(),
        label="masked",
    )
    low, high = np.nanpercentile(flux, _EXTREMES)
    margin = 0.2 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlim(spectrum.wavelength[0], spectrum.wavelength[-1])
    axes.set_ylabel("flux")
