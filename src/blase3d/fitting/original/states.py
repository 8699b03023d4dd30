"""State dictionaries of the original code: the lines of a spectrum, and the flux they render.

A state dictionary of blase (Gully-Santiago & Morley 2022) has, for n lines, the centre μ
(`lam_centers`, Å in vacuum), ln of the area a (`amplitudes`, ln Å), of the Gaussian standard
deviation σ (`sigma_widths`) and of the Lorentzian half width γ (`gamma_widths`); newer files have
the detected centres (`pre_line_centers`). The original renders them as

    flux = Π_j (1 − clip(a_j V_j, 0, 1 − 1e-9)),     V = η L(λ − μ; γ) + (1 − η) G(λ − μ; σ)

with L and G of unit area and of different widths, and η the polynomial of Thompson, Cox & Hastings
(1987) in 2γ/f. Unlike `lines.profile`, in which L and G have a common width f, this is not a close
approximation to a Voigt profile.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import GridError
from ...runtime.arrays import Bools, Floats, Integers
from ...runtime.units import SPEED_OF_LIGHT
from .torch_zip import read_tensors

FILE_NAMES = "T5800G4.5Z-0.5.pt or emulator_T5800g4p5z-0p5.pt (Teff, log g and, if not 0, [Fe/H])"
"""Names of files from which labels can be read."""
ORIGINAL_FWHM = 2.3548
"""Rounded as in the original."""
DEEPEST = 1.0 - 1e-9
"""Largest absorption of a line at a pixel."""
UNFITTED = float(np.log(1.52 / 1.28))
"""ln γ − ln σ of a line that was not fitted: the original's first guess."""
_WIDTH = (1.0, 2.69269, 2.42843, 4.47163, 0.07842, 1.0)
_MIXING = (1.36603, -0.47719, 0.11116)
_KEYS = ("lam_centers", "amplitudes", "sigma_widths", "gamma_widths")
_LIMITS = {
    "lam_centers": (1.0, 1e7),
    "pre_line_centers": (1.0, 1e7),
    "amplitudes": (-2000.0, 12.0),
    "sigma_widths": (-20.0, 8.0),
    "gamma_widths": (-20.0, 8.0),
}
"""Ranges of the parameters of a line: Å, ln Å."""
MOST_LINES = 200_000
"""Six times the largest number in a published file."""

_NUMBER = r"[+-]?\d+(?:[.p]\d+)?"
_SIGNED = rf"m?{_NUMBER}"
_LABELS = re.compile(
    rf"(?:.*[_-])?T(?P<teff>\d{{3,5}})_?G(?P<logg>{_NUMBER})(?:_?Z(?P<feh>{_SIGNED}))?(?:_.*)?\.pt",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class State:
    """The lines (n,) of a spectrum in the original's parameters.

    Attributes
    ----------
    center, detected : (n,) float64
        μ, and the detected centre (Å, vacuum), which is μ for older files.
    ln_area, ln_sigma, ln_gamma : (n,) float64
        ln of a, σ, γ (ln Å).
    radial_velocity : float
        km/s, by which the original shifts all centres for the flux.
    """

    center: Floats
    ln_area: Floats
    ln_sigma: Floats
    ln_gamma: Floats
    detected: Floats
    radial_velocity: float = 0.0

    def __len__(self) -> int:
        return self.center.size

    def at_rest(self) -> State:
        """Return the lines without the velocity, as in a library."""
        return replace(self, radial_velocity=0.0)

    @property
    def fitted(self) -> Bools:
        """Whether lines (n,) differ from the original's first guess."""
        return np.abs(self.ln_gamma - self.ln_sigma - UNFITTED) > 1e-6

    @property
    def mixing(self) -> Floats:
        """Mixing parameter η, (n,)."""
        lorentz, gauss = (
            2.0 * np.exp(self.ln_gamma),
            ORIGINAL_FWHM * np.exp(self.ln_sigma),
        )
        fifth = sum(c * gauss ** (5 - k) * lorentz**k for k, c in enumerate(_WIDTH))
        ratio = lorentz / fifth**0.2
        return np.asarray(sum(c * ratio ** (k + 1) for k, c in enumerate(_MIXING)))


def read_state(path: str | Path) -> State:
    """Read the state dictionary in a `.pt` file; nothing in the file is executed.

    Raises
    ------
    GridError
        The file is of another kind or damaged, or has impossible values.
    """
    path = Path(path)
    tensors = read_tensors(path)
    if missing := [key for key in _KEYS if key not in tensors]:
        raise GridError(
            f"{path} has no {' and no '.join(missing)}, expected a state dictionary of blase with "
            f"{', '.join(_KEYS)}."
        )
    keys = [*_KEYS, "pre_line_centers" if "pre_line_centers" in tensors else "lam_centers"]
    for key in keys:
        _check_column(key, tensors[key], tensors["lam_centers"].shape, path)
    velocity = float(np.sum(tensors.get("radial_velocity", 0.0)))
    if not abs(velocity) < 0.01 * SPEED_OF_LIGHT:
        raise GridError(f"{path} has a radial velocity of {velocity:g} km/s, expected about 0.")
    center, area, sigma, gamma, detected = (tensors[key].astype(np.float64) for key in keys)
    return State(center, area, sigma, gamma, detected, velocity)


def _check_column(key: str, values: NDArray[Any], shape: tuple[int, ...], path: Path) -> None:
    if values.shape != shape or len(shape) != 1 or values.size > MOST_LINES:
        raise GridError(
            f"{path} has {key} of shape {values.shape}, expected one number for each of at most "
            f"{MOST_LINES} lines (lam_centers has {shape}); copy it again."
        )
    low, high = _LIMITS[key]
    wrong = ~((values >= low) & (values <= high))
    if wrong.any():
        raise GridError(
            f"{path} has {key}[{wrong.argmax()}] = {values[wrong.argmax()]:.4g}, "
            f"expected {low:g} to {high:g}; copy it again."
        )


def labels_of_state(name: str) -> dict[str, float]:
    """Return teff, logg and, if present, feh in the name of a file; empty if it has no labels.

    Published: T5800G4.5Z-0.5.pt. Older: emulator_T4700g4p5_prom0p01_HPF.pt, with p for the point.
    """
    found = _LABELS.fullmatch(name)
    if found is None:
        return {}
    texts = {key: text.lower() for key, text in found.groupdict().items() if text is not None}
    # adding 0.0 turns -0.0 to 0.0
    return {k: float(text.replace("p", ".").replace("m", "-")) + 0.0 for k, text in texts.items()}


# --- the original's flux -----------------------------------------------------------------------
#
# The sum of −ln(1 − aV) is over all lines at every pixel, without windows. On an interval far from
# a line, its contribution is smooth, and known to 1e-9 from 16 Chebyshev nodes; these are
# interpolated to the nodes of the two halves of the interval. So intervals are halved recursively:
# lines that are now far are summed at the nodes, near ones are passed on, and at the pixels of the
# smallest intervals they are summed directly. The cost grows with pixels plus lines, not with their
# product.

_NODES = 16
_LEAF = 128
"""Pixels of the smallest intervals."""
_T = np.cos(np.pi * (np.arange(_NODES) + 0.5) / _NODES)


def _interpolation(x: Floats) -> Floats:
    """Matrix (len(x), nodes) that interpolates from the Chebyshev nodes of [−1, 1] to x."""
    order = np.arange(_NODES)
    at_nodes = np.cos(order[:, None] * np.arccos(_T))
    weight = np.where(order == 0, 1.0, 2.0) / _NODES
    return np.asarray(
        np.cos(np.arccos(np.clip(x, -1, 1))[:, None] * order) @ (weight[:, None] * at_nodes)
    )


_HALVES = (_interpolation((_T - 1.0) / 2.0), _interpolation((_T + 1.0) / 2.0))


@dataclass(frozen=True, eq=False)
class _Rendered:
    """Lines with linear parameters. Beyond `near` (Å) from its centre, a line is Lorentzian."""

    center: Floats
    area: Floats
    sigma: Floats
    gamma: Floats
    eta: Floats
    near: Floats

    def take(self, which: Bools | Integers) -> _Rendered:
        return _Rendered(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    def depth(self, x: Floats) -> Floats:
        """−Σ ln(1 − aV) at x (m,)."""
        d2 = (x[:, None] - self.center) ** 2
        lorentz = (self.area * self.eta * self.gamma / np.pi) / (self.gamma**2 + d2)
        scale = self.area * (1.0 - self.eta) / (self.sigma * np.sqrt(2.0 * np.pi))
        gauss = scale * np.exp(-0.5 * d2 / self.sigma**2)
        return np.asarray(-np.log1p(-np.clip(lorentz + gauss, 0.0, DEEPEST)).sum(axis=1))

    def wings(self, x: Floats) -> Floats:
        """The same for distant lines, which are Lorentzian."""
        d2 = (x[:, None] - self.center) ** 2
        lorentz = (self.area * self.eta * self.gamma / np.pi) / (self.gamma**2 + d2)
        return np.asarray(-np.log1p(-lorentz).sum(axis=1))


def original_flux(state: State, wavelength: ArrayLike) -> Floats:
    """Return the normalised flux (P,) of a state dictionary, as the original renders it.

    Parameters
    ----------
    state : State
        Its lines; a radial velocity shifts them.
    wavelength : (P,)
        Å in vacuum, increasing. No line is truncated. (The original truncates all at a number of
        pixels that its files do not have.)
    """
    wave = np.asarray(wavelength, dtype=np.float64)
    depth = np.empty_like(wave)
    _sum_up(_prepare(state), wave, depth, (wave[0], wave[-1]), np.zeros(_NODES))
    return np.exp(-depth)


def _prepare(state: State) -> _Rendered:
    """Linear parameters. Beyond 2 sqrt(aγ) aL is below 0.08, beyond 9σ aG below 1e-17 a/σ."""
    center = state.center * (1.0 + state.radial_velocity / SPEED_OF_LIGHT)
    area, sigma, gamma = (np.exp(v) for v in (state.ln_area, state.ln_sigma, state.ln_gamma))
    near = np.maximum(2.0 * np.sqrt(area * gamma), 9.0 * sigma)
    order = np.argsort(center, kind="stable")
    return _Rendered(center, area, sigma, gamma, state.mixing, near).take(order)


def _sum_up(
    lines: _Rendered,
    wave: Floats,
    depth: Floats,
    span: tuple[float, float],
    at_nodes: Floats,
) -> None:
    """Fill in the depth (p,) at the pixels `wave` (p,) of an interval.

    It is that of far lines, known at the nodes of the interval, plus that of `lines`.
    """
    if not wave.size:
        return
    middle, half = 0.5 * (span[0] + span[1]), 0.5 * (span[1] - span[0])
    far = np.abs(lines.center - middle) > half + np.maximum(2.0 * half, lines.near)
    at_nodes = at_nodes + lines.take(far).wings(middle + half * _T)
    lines = lines.take(~far)
    if wave.size <= _LEAF or half == 0.0:
        x = (wave - middle) / half if half else wave * 0.0
        depth[:] = _interpolation(x) @ at_nodes + lines.depth(wave)
        return
    cut = int(np.searchsorted(wave, middle))
    _sum_up(lines, wave[:cut], depth[:cut], (span[0], middle), _HALVES[0] @ at_nodes)
    _sum_up(lines, wave[cut:], depth[cut:], (middle, span[1]), _HALVES[1] @ at_nodes)
