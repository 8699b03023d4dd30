"""The lines of state dictionaries in our form, and the lines that the nodes of a grid share.

The original's profile and ours are of different shapes: `to_lines` gives each line the area and
the widths with which ours comes closest, in the mean square over wavelength. Each state dictionary
has lines of its own; `shared_lines` says which of different nodes are one.
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
from ...units import FWHM_PER_SIGMA, SPEED_OF_LIGHT
from .states import State

_PIXEL = 0.01
"""Å: the pixels of PHOENIX, to which detected centres are known."""
_FAINTER = float(np.log(4.0))
"""A line that a node lacks has a quarter of the least area that it has anywhere."""
_MATCH = 2.0
"""Lines this many tolerances from a line of the catalogue are that line."""
_PUREST = 4.0
"""Largest size of ln γ − ln σ of a line of ours: beyond it is as good as a Gaussian, or a
Lorentzian, and would only make the parameters jump from node to node."""


def to_lines(state: State) -> Lines:
    """The lines of a state dictionary in the parameters of our profile.

    Centres are kept. A line is named by where it was detected, to 0.01 Å; names that coincide are
    moved to the next free ones, so that none is lost.
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
    place = np.arange(detected.size)
    pixel = np.round(detected / _PIXEL).astype(np.int64)
    return np.asarray((np.maximum.accumulate(pixel - place) + place) * _PIXEL)


@cache
def _closest_profiles() -> Floats:
    """Where our profile is closest to the original's, by ln γ − ln σ of the original, (4, n).

    Rows: ln γ − ln σ; ln of our area over the original's; ln of our sigma, and of our gamma, over
    the original's sigma. Closest is the least integral of the squared difference. For a common
    width f it is a linear problem in the areas p, q of our two parts, whose integrals are known:

        ∫ L(a) L(b) = 1/π(a + b),   ∫ G(s) G(t) = 1/sqrt(2π(s² + t²)),
        ∫ L(a) G(s) = erfcx(a/s√2)/s√(2π)    (Voigt's function at zero).

    So f alone is sought: on a grid, then by the parabola through the best three.
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
    ratio = np.interp(lorentz / (lorentz + gauss), eta, mixture)  # of our gamma to our sigma
    ratio = np.clip(ratio, -_PUREST, _PUREST)
    sigma = np.log(width / _width_and_mixing(ratio)[0])
    return np.stack([mixture, np.log(lorentz + gauss), sigma, sigma + ratio])


def _width_and_mixing(ln_gamma: Floats) -> tuple[Floats, Floats]:
    """f and η of our profile for sigma 1."""
    width, mixing = pseudo_voigt.shape(jnp.zeros(ln_gamma.size), jnp.asarray(ln_gamma))
    return np.asarray(width, np.float64), np.asarray(mixing, np.float64)


def _areas(width: Floats, gamma: Floats, eta: Floats) -> tuple[Floats, Floats, Floats]:
    """Areas of the Lorentzian and Gaussian of common width that fit a profile of sigma 1 best,
    and by how much they lower the integral of the squared difference."""
    a, s = width / 2.0, width / FWHM_PER_SIGMA
    to_lorentz = eta / (np.pi * (a + gamma)) + (1.0 - eta) * _overlap(a, np.ones_like(s))
    to_gauss = eta * _overlap(gamma, s) + (1.0 - eta) / np.sqrt(2.0 * np.pi * (s**2 + 1.0))
    ll, lg, gg = 1.0 / (2.0 * np.pi * a), _overlap(a, s), 1.0 / (2.0 * np.sqrt(np.pi) * s)
    determinant = ll * gg - lg**2
    p = (gg * to_lorentz - lg * to_gauss) / determinant
    q = (ll * to_gauss - lg * to_lorentz) / determinant
    p, q = (  # where one would be negative, the other alone
        np.where(q < 0.0, to_lorentz / ll, np.maximum(p, 0.0)),
        np.where(p < 0.0, to_gauss / gg, np.maximum(q, 0.0)),
    )
    return p, q, p * to_lorentz + q * to_gauss


def _overlap(half_width: Floats, sigma: Floats) -> Floats:
    """∫ L G of a Lorentzian and a Gaussian of one centre."""
    scaled = half_width / (sigma * np.sqrt(2.0))
    return np.asarray(erfcx(scaled) / (sigma * np.sqrt(2.0 * np.pi)))


# --- lines of all nodes ------------------------------------------------------------------------


def shared_lines(detections: Sequence[Lines], tolerance: float) -> Lines:
    """The lines that nodes share, each as it is put where a node lacks it: with the mean widths of
    the nodes that have it, at its reference, and a quarter of the least area.

    Lines (of one entry a node) are one within a `tolerance` (km/s, `catalogue.cluster`).
    """
    catalogue = cluster(detections, tolerance)
    total = np.zeros((len(catalogue), 3))  # of ln sigma, ln gamma, and how many
    least = np.full(len(catalogue), np.inf)
    for lines in detections:
        which, place = match(lines, catalogue, tolerance)
        params = lines.params[which].astype(np.float64)
        np.add.at(total, place, np.column_stack([params[:, 2:], np.ones(place.size)]))
        np.minimum.at(least, place, params[:, 1])
    present = total[:, 2] > 0
    widths = total[present, :2] / total[present, 2:]
    columns = [np.zeros(len(widths)), least[present] - _FAINTER, *widths.T]
    return Lines(catalogue.reference[present], np.stack(columns, axis=1).astype(np.float32))


def match(lines: Lines, shared: Lines, tolerance: float) -> tuple[Integers, Integers]:
    """Which lines are among shared ones, and where: of several at one place the strongest."""
    if not len(lines) or not len(shared):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    middle = 0.5 * (shared.reference[1:] + shared.reference[:-1])
    place = np.searchsorted(middle, lines.reference)
    distance = np.abs(lines.reference - shared.reference[place]) / lines.reference
    near = np.flatnonzero(distance * SPEED_OF_LIGHT <= _MATCH * tolerance)
    strongest = near[np.argsort(-lines.ln_area[near], kind="stable")]
    _, first = np.unique(place[strongest], return_index=True)
    which = strongest[first]
    return which, place[which]


def at_shared(lines: Lines, shared: Lines, tolerance: float) -> Lines:
    """The lines of a node under the names of shared ones, faint where it has none."""
    which, place = match(lines, shared, tolerance)
    params = shared.params.copy()
    params[place] = lines.params[which]
    params[place, 0] = lines.center[which] - shared.reference[place]
    return Lines(shared.reference, params)
