"""A plain fit of interpolated pixels to a star, as a modern full-spectrum fit would do it.

The spectra at the nodes are interpolated pixel by pixel by cubic tensor splines of sqrt(−ln F),
broadened by a Gaussian and shifted; the continuum is a Chebyshev polynomial for each order. Labels,
velocity and width are found by least squares. Pixels that are off by more than five times the
scatter are clipped, and the fit is repeated. Errors are scaled by the root of reduced chi-square.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.polynomial.chebyshev import chebvander
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import least_squares

import blase3d as b3
from blase3d.runtime.units import SPEED_OF_LIGHT

from .library import Emulator, Floats, Library
from .pixels import SQRT_DEPTH, pixels

CLIP, ROUNDS = 5.0, 3
STARTS = 3
"""Values of each label among which the search begins."""
WIDTHS = (0.3, 300.0)
"""Standard deviation of the Gaussian, km/s."""


@dataclass(frozen=True)
class Templates:
    """The flux between the nodes of a library: `flux` maps labels (L,) to flux at equal steps of
    ln wavelength."""

    flux: Callable[[Floats], Floats]
    log_wavelength: Floats
    axes: Mapping[str, Floats]

    def seen(self, theta: Floats, log_wavelength: Floats) -> Floats:
        """The flux at θ (labels, velocity, width) as observed."""
        *labels, velocity, width = theta
        step = (self.log_wavelength[1] - self.log_wavelength[0]) * SPEED_OF_LIGHT
        broad = gaussian_filter1d(self.flux(np.array(labels)), width / step, mode="nearest")
        shifted = log_wavelength - np.log1p(velocity / SPEED_OF_LIGHT)
        return np.interp(shifted, self.log_wavelength, broad)


def node_library(model: b3.Model) -> Library:
    """The spectra of a model at all nodes of its library."""
    labels = np.array(list(product(*model.axes.values())))
    names = model.label_names
    flux = [np.asarray(model.flux(**dict(zip(names, at, strict=True)))) for at in labels]
    return Library(model.wavelength, names, labels, np.stack(flux).astype(np.float32))


def plain_templates(library: Library, emulator: Emulator | None = None) -> Templates:
    """Templates of a library, by an emulator; by default the splines of its pixels."""
    emulator = emulator or pixels(library, Path(), "cubic", SQRT_DEPTH)
    logs = np.log(library.wavelength)
    even = np.arange(logs[0], logs[-1], np.diff(logs).min())
    axes = library.axes
    return Templates(lambda at: np.interp(even, logs, emulator.flux(at)), even, axes)


def plain_fit(
    spectrum: b3.Spectrum, templates: Templates, rv: float, degree: int
) -> dict[str, Any]:
    """Labels of a star, its velocity, and the quality of the fit, from a first velocity, with a
    continuum of a degree."""
    good = np.array(spectrum.good)
    error = np.ones(len(spectrum)) if spectrum.error is None else np.array(spectrum.error)
    data = _Data(
        np.log(spectrum.wavelength), np.array(spectrum.flux), error, _basis(spectrum, degree)
    )
    theta = _start(data, templates, rv, good)
    for _ in range(ROUNDS):
        found = _search(data, templates, theta, good)
        theta, left = found.x, data.residual(templates, found.x, good)
        scatter = 1.4826 * np.median(np.abs(left[good]))
        good = np.array(spectrum.good) & (np.abs(left) < CLIP * scatter)
    chi2 = float(np.sum(left[good] ** 2)) / good.sum()
    scale = chi2 if spectrum.error is None else max(chi2, 1.0)
    sigma = np.sqrt(np.diag(np.linalg.pinv(found.jac.T @ found.jac)) * scale)
    sigma[found.active_mask != 0] = np.nan
    names = (*templates.axes, "rv", "width")
    relative = data.relative(templates, theta, good)
    return {
        "labels": {n: (float(v), float(s)) for n, v, s in zip(names, theta, sigma, strict=True)},
        "chi2_stated": None if spectrum.error is None else chi2,
        "rms": float(np.sqrt(np.mean(relative[good] ** 2))),
        "flags": [f"{n} at a bound" for n, at in zip(names, found.active_mask, strict=True) if at],
    }


@dataclass(frozen=True)
class _Data:
    """A spectrum with the basis (P, K) of its continuum."""

    log_wavelength: Floats
    flux: Floats
    error: Floats
    basis: Floats

    def fitted(self, templates: Templates, theta: Floats, good: NDArray[Any]) -> Floats:
        """The template at θ times its best continuum."""
        design = self.basis * templates.seen(theta, self.log_wavelength)[:, None]
        weighted = design[good] / self.error[good, None]
        normal = weighted.T @ weighted + 1e-9 * np.eye(design.shape[1]) * np.sum(weighted**2)
        return design @ np.linalg.solve(normal, weighted.T @ (self.flux / self.error)[good])

    def residual(self, templates: Templates, theta: Floats, good: NDArray[Any]) -> Floats:
        """Weighted residuals of all pixels."""
        return (self.flux - self.fitted(templates, theta, good)) / self.error

    def relative(self, templates: Templates, theta: Floats, good: NDArray[Any]) -> Floats:
        """Residuals in units of the continuum."""
        fitted = self.fitted(templates, theta, good)
        flux = templates.seen(theta, self.log_wavelength)
        return (self.flux - fitted) * flux / np.where(fitted == 0.0, 1.0, fitted)


def _basis(spectrum: b3.Spectrum, degree: int) -> Floats:
    """Chebyshev polynomials of every order of the spectrum, side by side."""
    order = np.zeros(len(spectrum), int) if spectrum.order is None else spectrum.order
    columns = []
    for one in np.unique(order):
        here = order == one
        x = spectrum.wavelength[here]
        block = np.zeros((len(spectrum), degree + 1))
        block[here] = chebvander(2.0 * (x - x[0]) / (x[-1] - x[0]) - 1.0, degree)
        columns.append(block)
    return np.concatenate(columns, axis=1)


def _start(data: _Data, templates: Templates, rv: float, good: NDArray[Any]) -> Floats:
    """The best of a coarse lattice of labels, at a width of 5 km/s."""
    values = [np.linspace(a[0], a[-1], STARTS + 2)[1:-1] for a in templates.axes.values()]
    lattice = [np.array([*at, rv, 5.0]) for at in product(*values)]
    chi2 = [np.sum(data.residual(templates, theta, good)[good] ** 2) for theta in lattice]
    return lattice[int(np.argmin(chi2))]


def _search(data: _Data, templates: Templates, theta: Floats, good: NDArray[Any]) -> Any:
    """Least squares within the library."""
    ends = [(axis[0], axis[-1]) for axis in templates.axes.values()]
    low, high = zip(*ends, (-1e3, 1e3), WIDTHS, strict=True)
    spans = [axis[-1] - axis[0] for axis in templates.axes.values()]
    return least_squares(
        lambda at: data.residual(templates, at, good)[good],
        np.clip(theta, np.nextafter(low, high), np.nextafter(high, low)),
        bounds=(low, high),
        x_scale=[*spans, 10.0, 10.0],
        diff_step=1e-4,
        xtol=1e-5,
        ftol=1e-7,
    )
