"""Lines of state dictionaries with blase3D's profile, and the lines that the nodes share.

The profiles of the original and of blase3D differ in shape. `to_lines` gives each line the area and
widths of the closest profile, in the mean square over wavelength. Each state dictionary has
different lines; `shared_lines` matches those of different nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import jax.numpy as jnp
import numpy as np
from scipy.special import erfcx

from ...lines.catalogue import cluster
from ...lines.lines import Lines
from ...lines.profiles import pseudo_voigt
from ...runtime.arrays import Floats, Integers
from ...runtime.units import FWHM_PER_SIGMA, SPEED_OF_LIGHT
from .states import State

_PIXEL = 0.01
"""Å: the pixels of PHOENIX, and the precision of detected centres."""
_FAINTER = float(np.log(4.0))
"""A line that is missing at a node gets a quarter of its smallest area: ln of 4."""
_MATCH = 2.0
"""Distance, in tolerances, within which a line is matched to one of the catalogue."""
_PUREST = 4.0
"""Largest absolute ln γ − ln σ. Beyond it, a profile equals a Gaussian or a Lorentzian, and the
parameters would jump from node to node."""


def to_lines(state: State) -> Lines:
    """Return the lines of a state dictionary in the parameters of blase3D's profile.

    Centres are kept. The name of a line is the wavelength at which it was detected, to 0.01 Å;
    equal names are moved to the next free ones.
    """
    mixture = state.ln_gamma - state.ln_sigma
    table = _closest_profiles()
    area, sigma, gamma = (np.interp(mixture, table[0], column) for column in table[1:])
    order = np.argsort(state.detected, kind="stable")
    reference = _distinct_names(state.detected[order])
    columns = [
        state.center[order] - reference,
        (state.ln_area + area)[order],
        (state.ln_sigma + sigma)[order],
        (state.ln_sigma + gamma)[order],
    ]
    return Lines(reference, np.stack(columns, axis=1).astype(np.float32))


def _distinct_names(detected: Floats) -> Floats:
    """Sorted wavelengths (n,) to the hundredth of an Å, each larger than the one before."""
    index = np.arange(detected.size)
    pixel = np.round(detected / _PIXEL).astype(np.int64)
    return np.asarray((np.maximum.accumulate(pixel - index) + index) * _PIXEL)


@cache
def _closest_profiles() -> Floats:
    """Table (4, n) of blase3D's profile closest to the original's, by ln γ − ln σ of the original.

    Rows: ln γ − ln σ; ln of the area ratio; ln of sigma, and of gamma, over the original's sigma.
    The closest profile has the smallest integral of the squared difference. For a given width f,
    the problem is linear in the areas p, q of the Lorentzian and Gaussian, with known integrals:

        ∫ L(a) L(b) = 1/π(a + b),   ∫ G(s) G(t) = 1/sqrt(2π(s² + t²)),
        ∫ L(a) G(s) = erfcx(a/s√2)/s√(2π)    (Voigt's function at zero).

    The width f is found on a grid, refined by the parabola through the best three points.
    """
    mixture = np.linspace(-12.0, 12.0, 1201)
    gamma = np.exp(mixture)
    width_there, eta = _width_and_mixing(mixture)
    trial = np.linspace(np.log(0.2), np.log(1.2), 400)
    gain = np.stack([_areas(width_there * np.exp(x), gamma, eta)[2] for x in trial])
    best = np.clip(gain.argmax(axis=0), 1, trial.size - 2)
    low, mid, high = (np.take_along_axis(gain, best[None] + k, 0)[0] for k in (-1, 0, 1))
    shift = np.clip(0.5 * (low - high) / np.minimum(low - 2.0 * mid + high, -1e-30), -1.0, 1.0)
    width = width_there * np.exp(trial[best] + shift * (trial[1] - trial[0]))
    lorentz, gauss, _ = _areas(width, gamma, eta)
    ratio = np.interp(lorentz / (lorentz + gauss), eta, mixture)  # ln of gamma over sigma
    ratio = np.clip(ratio, -_PUREST, _PUREST)
    sigma = np.log(width / _width_and_mixing(ratio)[0])
    return np.stack([mixture, np.log(lorentz + gauss), sigma, sigma + ratio])


def _width_and_mixing(ln_gamma: Floats) -> tuple[Floats, Floats]:
    """f and η of blase3D's profile for sigma 1."""
    width, mixing = pseudo_voigt.shape(jnp.zeros(ln_gamma.size), jnp.asarray(ln_gamma))
    return np.asarray(width, np.float64), np.asarray(mixing, np.float64)


def _areas(width: Floats, gamma: Floats, eta: Floats) -> tuple[Floats, Floats, Floats]:
    """Best areas of Lorentzian and Gaussian of a common width for a profile of sigma 1, and the
    decrease of the integral of the squared difference."""
    a, s = width / 2.0, width / FWHM_PER_SIGMA
    to_lorentz = eta / (np.pi * (a + gamma)) + (1.0 - eta) * _overlap(a, np.ones_like(s))
    to_gauss = eta * _overlap(gamma, s) + (1.0 - eta) / np.sqrt(2.0 * np.pi * (s**2 + 1.0))
    ll, lg, gg = 1.0 / (2.0 * np.pi * a), _overlap(a, s), 1.0 / (2.0 * np.sqrt(np.pi) * s)
    determinant = ll * gg - lg**2
    p = (gg * to_lorentz - lg * to_gauss) / determinant
    q = (ll * to_gauss - lg * to_lorentz) / determinant
    p, q = (  # where one would be negative, only the other
        np.where(q < 0.0, to_lorentz / ll, np.maximum(p, 0.0)),
        np.where(p < 0.0, to_gauss / gg, np.maximum(q, 0.0)),
    )
    return p, q, p * to_lorentz + q * to_gauss


def _overlap(half_width: Floats, sigma: Floats) -> Floats:
    """∫ L G of a Lorentzian and a Gaussian with the same centre."""
    scaled = half_width / (sigma * np.sqrt(2.0))
    return np.asarray(erfcx(scaled) / (sigma * np.sqrt(2.0 * np.pi)))


# --- lines of all nodes ------------------------------------------------------------------------


def shared_lines(detections: Sequence[Lines], tolerance: float) -> Lines:
    """Return the lines that nodes share, with the parameters for nodes where they are missing.

    These are the reference wavelength, the mean widths of the other nodes, and a quarter of the
    smallest area. `detections` has one entry per node; lines match within `tolerance` (km/s,
    `catalogue.cluster`).
    """
    catalogue = cluster(detections, tolerance)
    total = np.zeros((len(catalogue), 3))  # of ln sigma, ln gamma, and number
    least = np.full(len(catalogue), np.inf)
    for lines in detections:
        which, index = match(lines, catalogue, tolerance)
        params = lines.params[which].astype(np.float64)
        np.add.at(total, index, np.column_stack([params[:, 2:], np.ones(index.size)]))
        np.minimum.at(least, index, params[:, 1])
    present = total[:, 2] > 0
    widths = total[present, :2] / total[present, 2:]
    columns = [np.zeros(len(widths)), least[present] - _FAINTER, *widths.T]
    return Lines(catalogue.reference[present], np.stack(columns, axis=1).astype(np.float32))


def match(lines: Lines, shared: Lines, tolerance: float) -> tuple[Integers, Integers]:
    """Return the indices of lines that match shared ones, the strongest for each, and of these."""
    if not len(lines) or not len(shared):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    middle = 0.5 * (shared.reference[1:] + shared.reference[:-1])
    index = np.searchsorted(middle, lines.reference)
    distance = np.abs(lines.reference - shared.reference[index]) / lines.reference
    near = np.flatnonzero(distance * SPEED_OF_LIGHT <= _MATCH * tolerance)
    strongest = near[np.argsort(-lines.ln_area[near], kind="stable")]
    _, first = np.unique(index[strongest], return_index=True)
    which = strongest[first]
    return which, index[which]


def at_shared(lines: Lines, shared: Lines, tolerance: float) -> Lines:
    """Return the lines of a node under the names of shared ones, faint where they are missing."""
    which, index = match(lines, shared, tolerance)
    params = shared.params.copy()
    params[index] = lines.params[which]
    params[index, 0] = lines.center[which] - shared.reference[index]
    return Lines(shared.reference, params)
