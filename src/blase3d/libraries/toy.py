"""A toy universe: a small library with closed formulas, on which tests recover a known truth.

With t = (teff − 5750)/750, g = (logg − 4.5)/0.5, z = feh/0.5 and α = alpha/0.4, line n of `LINES`
(a row of numbers each) has

    ln area  = ln a + T t + Q t² + G g + Z z + A α        (Å)
    sigma    = s √(teff/5750)                             (Å, thermal broadening)
    ln gamma = ln h + 0.35 g − 0.1 t                      (Å, pressure broadening)
    centre   = λ + D (t + g/2)                            (Å, vacuum)

and a star has the flux

    F(λ) = C(λ) T(Σ area V(λ − centre)),   C(λ) = B(λ, teff) (1 + 0.04 x − 0.02 x²),

where V is the pseudo-Voigt of `lines.profiles`, here a plain sum in float64 (an independent
calculation), and T(τ) is exp(−τ) (`sum`) or 1/(1 + τ) (`opacity`), as in `lines.compositions`. B is
the blackbody in units of its maximum, and x runs from −1 to 1 over the pixels. The lines imitate
those of real stars: neutral and ionised metals, a saturated line with broad wings (8498), lines of
hot and of cool stars that fade smoothly by orders of magnitude, close blends, one line that is
strongest inside the grid, and one beyond the last pixel whose wing reaches in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from ..errors import LabelError
from ..lines.lines import Lines
from ..recipe import Composition
from ..runtime.arrays import Floats
from ..runtime.units import FWHM_PER_SIGMA, blackbody
from ..spectra.spectrum import Spectrum
from .grid import Grid, grid_of

LABELS = ("teff", "logg", "feh", "alpha")
"""Labels of the toy universe; `alpha` is optional, zero by default."""
AXES: Mapping[str, Sequence[float]] = {
    "teff": (5000.0, 5500.0, 6000.0, 6500.0),
    "logg": (4.0, 4.5, 5.0),
    "feh": (-0.5, 0.0, 0.5),
}
"""Values of the labels at the nodes of the default grid."""
META = {
    "library": "toy",
    "code": "blase3d.libraries.toy",
    "medium": "vacuum",
    "flux_unit": "arbitrary",
    "citation": "closed formulas of blase3d.libraries.toy",
    "licence": "BSD-3-Clause",
}
WAVELENGTH: Floats = np.round(8480.0 + 0.02 * np.arange(2001), 2)
"""Pixels, Å in vacuum."""
LINES: Floats = np.array(
    [
        # λ        a      s      h      T      Q      G      Z      A      D
        [8481.42, 0.060, 0.075, 0.020, -0.50, 0.00, 0.05, 0.95, 0.00, 0.000],
        [8483.16, 0.018, 0.070, 0.018, -0.70, 0.05, 0.00, 1.10, 0.30, 0.000],
        [8484.90, 0.120, 0.080, 0.030, -0.35, 0.00, 0.08, 0.80, 0.00, 0.004],
        [8486.21, 0.040, 0.090, 0.025, 0.30, -0.05, -0.35, 0.90, 0.00, 0.000],
        [8487.35, 0.070, 0.075, 0.022, -0.60, 0.00, 0.00, 1.00, 0.55, 0.000],
        [8487.67, 0.035, 0.075, 0.022, -0.20, 0.00, -0.20, 0.85, 0.00, 0.000],  # blend
        [8489.06, 0.012, 0.070, 0.020, -2.00, 0.10, 0.15, 1.05, 0.00, 0.000],  # fades when hot
        [8490.60, 0.150, 0.085, 0.035, -0.30, 0.00, 0.10, 0.70, 0.00, 0.000],
        [8492.12, 0.025, 0.075, 0.020, -0.80, 0.00, 0.05, 1.10, 0.70, 0.000],
        [8493.55, 0.080, 0.080, 0.028, -0.45, -0.05, 0.00, 0.90, 0.00, -0.003],
        [8495.02, 0.020, 0.110, 0.040, 1.60, -0.15, -0.10, 0.00, 0.00, 0.000],  # fades when cool
        [8498.02, 4.000, 0.110, 0.140, -0.15, 0.00, 0.10, 0.50, 0.40, 0.000],  # saturated
        [8501.30, 0.030, 0.070, 0.020, -0.65, 0.00, 0.00, 1.05, 0.00, 0.000],
        [8502.84, 0.095, 0.080, 0.026, -0.40, 0.00, 0.05, 0.85, 0.25, 0.000],
        [8504.20, 0.045, 0.085, 0.025, 0.20, -0.20, -0.30, 0.90, 0.00, 0.000],  # peaks inside
        [8505.76, 0.110, 0.080, 0.030, -0.40, 0.00, 0.05, 0.80, 0.00, 0.000],
        [8506.04, 0.060, 0.075, 0.022, -0.75, 0.05, 0.00, 1.00, 0.50, 0.000],  # blend
        [8508.10, 0.015, 0.070, 0.018, -0.90, 0.00, 0.10, 1.15, 0.00, 0.000],
        [8509.48, 0.200, 0.090, 0.045, -0.25, 0.00, 0.12, 0.65, 0.00, 0.000],
        [8511.37, 0.035, 0.075, 0.020, -0.55, 0.00, 0.00, 1.00, 0.00, 0.005],
        [8512.62, 0.010, 0.080, 0.020, -2.40, 0.00, 0.20, 1.10, 0.60, 0.000],  # fades when hot
        [8514.33, 0.130, 0.085, 0.032, -0.35, 0.00, 0.05, 0.75, 0.35, 0.000],
        [8515.11, 0.050, 0.075, 0.022, -0.60, 0.00, 0.00, 0.95, 0.00, 0.000],
        [8517.24, 0.075, 0.080, 0.026, 0.25, -0.10, -0.40, 0.85, 0.00, 0.000],
        [8518.70, 0.055, 0.075, 0.022, -0.50, 0.00, 0.05, 1.00, 0.45, 0.000],
        [8520.40, 0.300, 0.090, 0.050, -0.20, 0.00, 0.10, 0.60, 0.00, 0.000],  # beyond the end
    ]
)
"""λ, a, s, h in Å; T, Q, G, Z, A without unit; D in Å."""
MIDDLE: Mapping[str, tuple[float, float]] = {
    "teff": (5750.0, 750.0),
    "logg": (4.5, 0.5),
    "feh": (0.0, 0.5),
    "alpha": (0.0, 0.4),
}
"""Zero point and unit of each label in the formulas."""
PRESSURE, HEAT = 0.35, -0.1
"""Coefficients of ln gamma in g and t."""


def toy_params(labels: Mapping[str, float] | ArrayLike) -> Floats:
    """Return centre (Å), ln area, ln sigma, ln gamma (ln Å) of every line, (26, 4).

    `labels` are by name or in the order of `LABELS`, of which the last, alpha, is optional.

    Raises
    ------
    LabelError
        A label is missing or unknown.
    """
    values = _by_name(labels)
    t, g, z, alpha = ((values[name] - zero) / unit for name, (zero, unit) in MIDDLE.items())
    wave, area, width, half, T, Q, G, Z, A, D = LINES.T
    columns = [
        wave + D * (t + 0.5 * g),
        np.log(area) + T * t + Q * t**2 + G * g + Z * z + A * alpha,
        np.log(width) + 0.5 * np.log(values["teff"] / MIDDLE["teff"][0]),
        np.log(half) + PRESSURE * g + HEAT * t,
    ]
    return np.stack(columns, axis=1)


def toy_lines(labels: Mapping[str, float] | ArrayLike) -> Lines:
    """Return the lines at given labels (by name, or in the order of `LABELS`)."""
    params = toy_params(labels)
    reference = LINES[:, 0]
    params[:, 0] -= reference
    return Lines(reference, params.astype(np.float32))


def toy_continuum(teff: float, wavelength: ArrayLike = WAVELENGTH) -> Floats:
    """Return the true continuum at `wavelength` (P,), Å."""
    wave = np.asarray(wavelength, dtype=np.float64)
    x = 2.0 * (wave - WAVELENGTH[0]) / np.ptp(WAVELENGTH) - 1.0
    return blackbody(wave, teff) * (1.0 + 0.04 * x - 0.02 * x**2)


def toy_flux(
    labels: Mapping[str, float] | ArrayLike,
    wavelength: ArrayLike,
    composition: Composition = "sum",
) -> Floats:
    """Return the flux in units of the continuum at any `wavelength` (P,), Å in vacuum."""
    return _TRANSMITTED[composition](line_depth(wavelength, toy_params(labels)))


_TRANSMITTED: Mapping[str, Callable[[Floats], Floats]] = {
    "sum": lambda depth: np.exp(-depth),
    "opacity": lambda depth: 1.0 / (1.0 + depth),
}


def toy_spectrum(composition: Composition = "sum", /, **labels: float) -> Spectrum:
    """Return the spectrum at given labels, with its true continuum."""
    values = _by_name(labels)
    continuum = toy_continuum(values["teff"])
    flux = continuum * toy_flux(values, WAVELENGTH, composition)
    return Spectrum(WAVELENGTH, flux, continuum=continuum, meta={**META, "labels": labels})


def toy_grid(
    axes: Mapping[str, Sequence[float]] | None = None,
    missing: Sequence[int] = (),
    composition: Composition = "sum",
) -> Grid:
    """Return a grid of toy spectra over the box of `axes` (`AXES` by default).

    Parameters
    ----------
    missing
        Indices of nodes to leave out, in the full box, last label fastest.
    composition
        How the lines of its stars compose.
    """
    axes = AXES if axes is None else axes
    box = np.array(list(product(*axes.values())), dtype=np.float64)
    labels = np.delete(box, list(missing), axis=0)
    nodes = (dict(zip(axes, node, strict=True)) for node in labels)
    spectra = [toy_spectrum(composition, **node) for node in nodes]
    flux = np.array([spectrum.flux for spectrum in spectra], dtype=np.float32)
    continuum = np.array([spectrum.continuum for spectrum in spectra], dtype=np.float32)
    return grid_of(WAVELENGTH, labels, tuple(axes), flux, continuum, META)


def line_depth(wavelength: ArrayLike, params: ArrayLike) -> Floats:
    """Return the summed depth at `wavelength` (P,) of lines (N, 4), in the form of `toy_params`."""
    return absorbed(wavelength, params).sum(axis=0)


def absorbed(wavelength: ArrayLike, params: ArrayLike) -> Floats:
    """Return area × V of each line at each pixel, (N, P), in float64."""
    center, ln_area, ln_sigma, ln_gamma = np.asarray(params, dtype=np.float64).T[..., None]
    x = np.asarray(wavelength, dtype=np.float64) - center
    g, h = FWHM_PER_SIGMA * np.exp(ln_sigma), 2.0 * np.exp(ln_gamma)
    f = (
        g**5 + 2.69269 * g**4 * h + 2.42843 * g**3 * h**2 + 4.47163 * g**2 * h**3
        + 0.07842 * g * h**4 + h**5
    ) ** 0.2  # fmt: skip
    eta = 1.36603 * (h / f) - 0.47719 * (h / f) ** 2 + 0.11116 * (h / f) ** 3
    lorentz = f / (2.0 * np.pi) / (x**2 + f**2 / 4.0)
    gauss = np.sqrt(4.0 * np.log(2.0) / np.pi) / f * np.exp(-4.0 * np.log(2.0) * (x / f) ** 2)
    return np.exp(ln_area) * (eta * lorentz + (1.0 - eta) * gauss)


def _by_name(labels: Mapping[str, float] | ArrayLike) -> dict[str, float]:
    if not isinstance(labels, Mapping):
        vector = np.asarray(labels, dtype=np.float64)
        labels = dict(zip(LABELS, vector.tolist(), strict=False))
    if set(labels) - set(LABELS) or set(LABELS[:3]) - set(labels):
        raise LabelError(
            f"got the labels {', '.join(labels) or 'none'}, expected {', '.join(LABELS[:3])} and "
            "optionally alpha; give each of these once."
        )
    return {"alpha": 0.0, **labels}
