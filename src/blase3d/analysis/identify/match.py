"""The odds of what makes a line of a model: Bayes' theorem over the listed transitions.

A line l of a model at λ, with the opacity e^q at its centre, the width w and the course y over the
nodes is compared with every transition c near it. Each is expected to make lines at the rate

    r_lc = N(λ − λ_c) N(q − q_c) N(w | w_c) N(y | y_c)

for every Å, unit of q and unit of ln w: one line that stands where, and is as strong and as wide as
the transition, and if that is saturated, others that render its flat core or its wings and lie
within its width. What is in no list comes at the rate ν(q), which is learnt from the lines of the
model that nothing explains (`unlisted_rate`). Odds are the rates over their sum.

Two transitions closer than a line is wide are one line. With ρ = ln p_c/p_d, as uncertain as the
strengths are, c alone makes it where ρ > ln 3, d where ρ < −ln 3, else it is a blend of both.

The course y of ln a over the nodes is compared with that of ln p of the layer: it may go along by a
factor of 0.9 ± 0.3 and differ by what the layer has wrong, linear in ln Teff, log g and [Fe/H].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from .expected import Expected

Floats = NDArray[np.float64]

_PLACE = 0.012
"""Å at 8500 Å: how well the place of a line is known, apart from its width."""
_PLACE_IN_WIDTH, _BROAD = 0.08, 0.5
"""The same in full widths, and the width (Å) beyond which this does not grow."""
_STRENGTH = 0.5
"""Of ln p: what the layer has wrong."""
_WIDTH = 0.35
"""Of ln w."""
_TAIL, _TAIL_SCALE = 0.1, 3.0
"""Part of the errors of place, strength and width that are so many times larger."""
_TOLD = 0.5
"""dex: strengths known less well than this are of no known probability."""
_PARTS, _PARTS_REACH, _PARTS_WITHIN = 2.0, 1.5, 0.5
"""Lines that a saturated transition takes beside its main one, and how far from it, in half
widths; a broad one takes as many every so many Å."""
_DARKER, _DEPTH_OF_PARTS, _PART_WIDTHS = 1.0, 4.0, 2.0
"""Of these: how far q may be above that of the transition, and the ranges of q and of ln w."""
_ALIKE, _LIKENESS = np.log(3.0), 0.35
"""Ratio of strengths from which one is the line, and what the layer has wrong of ratios."""
_CLOSE = 0.5
"""Distance, in full widths, at which two transitions are half one line."""
_FOLLOW = 0.9, 0.3
_WRONG = np.array([2.5, 0.45, 0.45, 6.0, 1.0])
"""Errors of the course of a transition, as `_bends` has them."""
_FREE = np.array([10.0, 1.0, 0.8, 30.0, 3.0])
_FREE_METALS = 1.6
"""Course of what is no atom: the same, and the mean slope by [Fe/H]."""
_NOISE, _FAINT = 0.2, 0.01
"""Of y, and the depth at which it is as large as y for lines that a model hardly shows."""
_TOLD_APART = 6.0
"""Nodes whose errors are independent, at the most: what the layer has wrong goes on from node to
node, and the density of the course is taken to the power that makes it that of so many."""
_UNLISTED = 0.02
"""First rate of lines that no list holds, for every Å and unit of q."""
_ROUNDS = 4
_WIDTH_UNLISTED = 0.8
_MOST, _PAIRS = 40, 12
"""Transitions that are looked at for one line, and pairs of them."""


@dataclass(frozen=True, eq=False)
class Observed:
    """C lines of a model: centre and full width (Å), ln opacity and depth at the centre, and over
    G nodes `course` of ln a, relative to the labels, `shown` depths, and `offset` (G, 3) in
    ln Teff, log g and [Fe/H]."""

    center: Floats
    width: Floats
    ln_peak: Floats
    depth: Floats
    course: Floats
    shown: Floats
    offset: Floats


@dataclass(frozen=True)
class Odds:
    """What makes one line: indices of transitions, alone or in pairs, with their odds; the rest of
    the sum of one is what no list holds."""

    alone: tuple[tuple[int, float], ...]
    pairs: tuple[tuple[int, int, float], ...]
    unlisted: float


def odds_of(observed: Observed, i: int, expected: Expected, unlisted: Floats) -> Odds:
    """The odds of line `i`, with the rate ν (C,) of lines of no known origin."""
    near = _near(observed, i, expected)
    alone, pairs = _divided(observed, i, expected, near)
    nothing = unlisted[i] * _unlisted_shape(observed, i, expected)
    total = sum(rate for _, rate in alone) + sum(rate for *_, rate in pairs) + nothing
    if not total > 0.0:
        return Odds((), (), 1.0)
    return Odds(
        tuple((c, rate / total) for c, rate in alone),
        tuple((c, d, rate / total) for c, d, rate in pairs),
        nothing / total,
    )


def _place_error(observed: Observed, i: int) -> float:
    """Å by which the place of a line may differ from that of its transition."""
    in_width = _PLACE_IN_WIDTH * min(observed.width[i], _BROAD)
    return float(np.hypot(_PLACE * observed.center[i] / 8500.0, in_width))


def _near(observed: Observed, i: int, expected: Expected) -> NDArray[np.int64]:
    """Transitions that may make a line, or that it may be part of."""
    away = np.abs(expected.transitions.wavelength - observed.center[i])
    place = _place_error(observed, i)
    return np.flatnonzero(
        (away < 8.0 * place) | (away < _PARTS_REACH * expected.half + 3.0 * place)
    )


def _rates(
    observed: Observed, i: int, expected: Expected, near: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Rates (n,) of lines like it that each of n transitions makes, by place, strength and width,
    and ln of the density of its course."""
    away = np.abs(expected.transitions.wavelength[near] - observed.center[i])
    doubt = expected.transitions.uncertainty[near]
    place, width = _place_error(observed, i), observed.width[i]
    excess = observed.ln_peak[i] - expected.ln_peak[near]
    spread = np.hypot(_STRENGTH, np.log(10.0) * doubt)
    strength = np.where(doubt < _TOLD, _broad_tailed(excess, spread), _normal(excess, spread))
    ratio = np.log(width / (2.0 * expected.half[near]))
    main = _broad_tailed(away, place) * strength * _broad_tailed(ratio, _WIDTH)
    # a flat core, or the profile of hydrogen, is made up of lines that lie anywhere within it
    fits = (excess < _DARKER) & (excess > _DARKER - _DEPTH_OF_PARTS)
    fits &= width < 2.0 * expected.wing[near]
    reach = _PARTS_REACH * expected.half[near]
    inside = ndtr((away + reach) / place) - ndtr((away - reach) / place)
    inside = inside / np.minimum(2.0 * reach, _PARTS_WITHIN)
    saturated = expected.saturation[near] / (1.0 + expected.saturation[near])
    part = _PARTS * saturated**2 * inside * fits / (_DEPTH_OF_PARTS * _PART_WIDTHS)
    course = _course(observed, i, expected.ln_peaks[:, near] - expected.ln_peak[near])
    return main + part, course


def _normal(x: Floats, sigma: Floats | float) -> Floats:
    return np.exp(-0.5 * (x / sigma) ** 2) / (np.sqrt(2.0 * np.pi) * sigma)


def _broad_tailed(x: Floats, sigma: Floats | float) -> Floats:
    return (1.0 - _TAIL) * _normal(x, sigma) + _TAIL * _normal(x, _TAIL_SCALE * sigma)


def _divided(
    observed: Observed, i: int, expected: Expected, near: NDArray[np.int64]
) -> tuple[list[tuple[int, float]], list[tuple[int, int, float]]]:
    """Rates of transitions alone and of pairs of them."""
    rates, course = _rates(observed, i, expected, near)
    best = np.argsort(-rates * np.exp(course), kind="stable")[:_MOST]
    near, rates, course = near[best], rates[best], course[best]
    place, peak = expected.transitions.wavelength[near], expected.ln_peak[near]
    doubt = np.hypot(_LIKENESS, np.log(10.0) * expected.transitions.uncertainty[near])
    apart = np.subtract.outer(place, place) / (_CLOSE * observed.width[i])
    overlap = np.exp(-np.log(2.0) * apart**2) * (1.0 - np.eye(len(near)))
    spread = np.hypot.outer(doubt, doubt)
    above = ndtr((np.subtract.outer(peak, peak) - _ALIKE) / spread)
    alone = rates * np.exp(course) * np.prod(1.0 - overlap * (1.0 - above), axis=1)
    both = np.triu(overlap * (1.0 - above - above.T) * np.sqrt(np.outer(rates, rates)))
    a, b = np.unravel_index(np.argsort(-both, axis=None, kind="stable")[:_PAIRS], both.shape)
    together = np.logaddexp(expected.ln_peaks[:, near[a]], expected.ln_peaks[:, near[b]])
    here = np.logaddexp(peak[a], peak[b])
    pairs = both[a, b] * np.exp(_course(observed, i, together - here))
    return (
        [(int(c), float(rate)) for c, rate in zip(near, alone, strict=True)],
        [(int(near[k]), int(near[m]), float(rate)) for k, m, rate in zip(a, b, pairs, strict=True)],
    )


def _course(observed: Observed, i: int, course: Floats) -> Floats:
    """ln density (n,) of how a line goes over the nodes, given that of n transitions (G, n)."""
    factor, spread = _FOLLOW
    rest = observed.course[i][:, None] - factor * course
    wrong = np.broadcast_to(_bends(observed.offset) * _WRONG, (len(rest.T), len(rest), _WRONG.size))
    columns = np.concatenate([wrong, spread * course.T[:, :, None]], axis=2)
    return _ln_normal(rest.T, columns, _noise(observed.shown[i]))


def _bends(offset: Floats) -> Floats:
    """What errors of a course are made of, (G, 5): slopes by ln Teff, log g and [Fe/H], and bends
    with ln Teff and of ln Teff with log g."""
    warmer = offset[:, :1]
    return np.concatenate([offset, warmer**2, warmer * offset[:, 1:2]], axis=1)


def _noise(depth: Floats) -> Floats:
    return np.hypot(_NOISE, _FAINT / np.maximum(depth, 1e-5))


def _ln_normal(rest: Floats, columns: Floats, noise: Floats) -> Floats:
    """ln of normal densities (n,) of `rest` (n, G), of mean zero and covariance columns columnsᵀ +
    diag(noise²) with columns (n, G, K), without the constant: by Woodbury's identity."""
    scaled, rest = columns / noise[:, None], rest / noise
    inner = np.eye(columns.shape[2]) + np.einsum("ngk,ngl->nkl", scaled, scaled)
    inside = np.einsum("ngk,ng->nk", scaled, rest)
    explained = np.linalg.solve(inner, inside[..., None])[..., 0]
    chi2 = np.sum(rest**2, axis=1) - np.sum(inside * explained, axis=1)
    whole = -0.5 * chi2 - 0.5 * np.linalg.slogdet(inner)[1] - np.log(noise).sum()
    return whole * min(_TOLD_APART / rest.shape[1], 1.0)


def _unlisted_shape(observed: Observed, i: int, expected: Expected) -> float:
    """Density of width and course of a line of no known origin: it goes like any atom, or like
    what is no atom."""
    metals = _FREE_METALS * observed.offset[:, 2]
    free = (_bends(observed.offset) * _FREE)[None]
    other = _ln_normal((observed.course[i] - metals)[None], free, _noise(observed.shown[i]))
    course = 0.5 * np.exp(other[0])
    if some := expected.examples.size:
        listed = expected.ln_peaks[:, expected.examples] - expected.ln_peak[expected.examples]
        course += 0.5 * np.exp(_course(observed, i, listed)).sum() / some
    usual = np.log(observed.width[i] / 0.1)
    return float(course * _normal(usual, _WIDTH_UNLISTED))


def unlisted_rate(observed: Observed, expected: Expected, some: NDArray[np.int64]) -> Floats:
    """The rate ν (C,) of lines of no known origin, for every Å and unit of ln opacity.

    In each of a few ranges of strength, the lines of a model that the list does not explain,
    counted over `some` of its lines with the odds that they themselves follow from.
    """
    edges = np.array([-np.inf, -4.0, -3.0, -2.0, -1.0, np.inf])
    group = np.searchsorted(edges, observed.ln_peak, side="right") - 1
    length = float(np.ptp(observed.center)) + 1.0
    rate = np.full(len(edges) - 1, _UNLISTED)
    shares = list(_listed_rates(observed, expected, some))
    count = np.bincount(group, minlength=rate.size)
    looked = np.bincount(group[some], minlength=rate.size)
    for _ in range(_ROUNDS):
        left = np.zeros(rate.size)
        for i, listed, shape in shares:
            nothing = rate[group[i]] * shape
            left[group[i]] += nothing / (nothing + listed) if nothing + listed > 0.0 else 1.0
        # one line more than were found, spread evenly, so that a rate is never nothing
        found = (left + 0.5) * count / np.maximum(looked, 1)
        rate = np.maximum(found / length, 1e-4)
    return rate[group]


def _listed_rates(
    observed: Observed, expected: Expected, some: NDArray[np.int64]
) -> Iterator[tuple[int, float, float]]:
    for i in some:
        rates, course = _rates(observed, int(i), expected, _near(observed, int(i), expected))
        listed = float(np.sum(rates * np.exp(course)))
        yield int(i), listed, _unlisted_shape(observed, int(i), expected)
