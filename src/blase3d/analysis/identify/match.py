"""Odds of the transitions that may make a line of a model, by Bayes' theorem.

A line l of a model at λ, with the opacity e^q at its centre, the width w and the trend y of ln a
over the nodes is compared with every transition c near it. Each is expected to make such lines at
the rate

    r_lc = N(λ − λ_c) N(q − q_c) N(w | w_c) N(y | y_c)

per Å, unit of q and unit of ln w: one line with the wavelength, opacity and width of the
transition, and, if that is saturated, further lines within its width, which render its flat core or
its wings. Lines that are in no list come at the rate ν(q), which is estimated from the lines of the
model that no transition explains (`unlisted_rate`). Odds are the rates divided by their sum.

Two transitions closer than the width of a line make one line. With ρ = ln p_c/p_d, as uncertain as
the strengths, c alone makes it where ρ > ln 3, d where ρ < −ln 3, and otherwise both: a blend.

The trend y of ln a over the nodes is compared with that of ln p in the layer: it may be steeper or
flatter, by a factor of 0.9 ± 0.3, and differ by the errors of the layer, which are linear in ln
Teff, log g and [Fe/H], with two quadratic terms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from ...runtime.arrays import Floats, Integers
from .expected import Expected


@dataclass(frozen=True)
class _Settings:
    """Errors of the comparison, as standard deviations, and its limits.

    `benchmarks/identify.py` measures how many lines are identified with them, and how many of those
    by chance.

    Attributes
    ----------
    wavelength, wavelength_in_width, broad : float
        Error of a line's wavelength: Å at 8500 Å, plus a fraction of its full width, which counts
        up to `broad` (Å).
    strength : float
        Error of ln p in the layer.
    width, unlisted_width : float
        Error of ln w of a transition, and scatter of ln w of unlisted lines.
    tail, tail_scale : float
        Fraction of the errors of wavelength, strength and width that are larger, by this factor.
    known_strength : float
        Uncertainty of log gf (dex) from which on a strength is not tabulated: no tails then.
    further, further_reach, further_within : float
        Lines that a saturated transition makes in addition to its main line, how far from it they
        lie (half widths), and the length (Å) that holds as many of a broad transition.
    further_above, further_range, further_widths : float
        How far their q may exceed that of the transition, and their ranges of q and of ln w.
    alike, alike_error : float
        ln ratio of strengths from which on the stronger alone is the line, and its error.
    close : float
        Distance in full widths at which two transitions overlap by half.
    slope, slope_error : float
        Factor between the trends of ln a and of ln p, and its error.
    trend : tuple of float
        Errors of the trend of a transition, in the terms of `_trend_terms`.
    unlisted_trend, unlisted_metals : tuple of float, float
        Scatter of the trends of unlisted lines in the same terms, and their mean slope with [Fe/H].
    noise, faint : float
        Error of y, and the depth at which it has doubled since a model hardly shows the line.
    independent_nodes : float
        Largest number of nodes with independent errors. The errors of the layer are correlated
        from node to node; the density of the trend is taken to the power that accounts for it.
    unlisted : float
        First estimate of the rate of unlisted lines, per Å and unit of q.
    iterations : int
        Iterations of that estimate.
    transitions, pairs : int
        Most transitions, and pairs of them, that are considered for one line.
    """

    wavelength: float = 0.012
    wavelength_in_width: float = 0.08
    broad: float = 0.5
    strength: float = 0.5
    width: float = 0.35
    unlisted_width: float = 0.8
    tail: float = 0.1
    tail_scale: float = 3.0
    known_strength: float = 0.5
    further: float = 2.0
    further_reach: float = 1.5
    further_within: float = 0.5
    further_above: float = 1.0
    further_range: float = 4.0
    further_widths: float = 2.0
    alike: float = float(np.log(3.0))
    alike_error: float = 0.35
    close: float = 0.5
    slope: float = 0.9
    slope_error: float = 0.3
    trend: tuple[float, ...] = (2.5, 0.45, 0.45, 6.0, 1.0)
    unlisted_trend: tuple[float, ...] = (10.0, 1.0, 0.8, 30.0, 3.0)
    unlisted_metals: float = 1.6
    noise: float = 0.2
    faint: float = 0.01
    independent_nodes: float = 6.0
    unlisted: float = 0.02
    iterations: int = 4
    transitions: int = 40
    pairs: int = 12


_SET = _Settings()
_STRENGTH_EDGES = np.array([-np.inf, -4.0, -3.0, -2.0, -1.0, np.inf])
"""Ranges of q for each of which there is one rate of unlisted lines."""
_LEAST_RATE = 1e-4
"""Least rate of unlisted lines, per Å and unit of q."""


@dataclass(frozen=True, eq=False)
class ModelLines:
    """C lines of a model, at its labels and at G nodes.

    Attributes
    ----------
    center, width : (C,)
        Centre and full width at half maximum, Å.
    ln_peak, depth : (C,)
        ln opacity, and depth, at the centre.
    trend : (C, G)
        ln area at the nodes minus that at the labels.
    node_depth : (C, G)
        Depth at the nodes.
    offset : (G, 3)
        Nodes minus labels in ln Teff, log g and [Fe/H].
    """

    center: Floats
    width: Floats
    ln_peak: Floats
    depth: Floats
    trend: Floats
    node_depth: Floats
    offset: Floats


@dataclass(frozen=True)
class Odds:
    """Odds of the origin of one line.

    `alone` and `pairs` have indices of transitions with their odds; `unlisted` is the remainder.
    """

    alone: tuple[tuple[int, float], ...]
    pairs: tuple[tuple[int, int, float], ...]
    unlisted: float


def odds_of(lines: ModelLines, i: int, expected: Expected, unlisted: Floats) -> Odds:
    """The odds of line `i`, given the rate ν (C,) of unlisted lines."""
    near = _near(lines, i, expected)
    alone, pairs = _alone_and_paired(lines, i, expected, near)
    nothing = unlisted[i] * _unlisted_density(lines, i, expected)
    total = sum(rate for _, rate in alone) + sum(rate for *_, rate in pairs) + nothing
    if not total > 0.0:
        return Odds((), (), 1.0)
    return Odds(
        tuple((c, rate / total) for c, rate in alone),
        tuple((c, d, rate / total) for c, d, rate in pairs),
        nothing / total,
    )


def _wavelength_error(lines: ModelLines, i: int) -> float:
    """Error of the wavelength of a line, Å."""
    in_width = _SET.wavelength_in_width * min(lines.width[i], _SET.broad)
    return float(np.hypot(_SET.wavelength * lines.center[i] / 8500.0, in_width))


def _near(lines: ModelLines, i: int, expected: Expected) -> Integers:
    """Transitions that may make a line, as their main line or a further one."""
    distance = np.abs(expected.transitions.wavelength - lines.center[i])
    error = _wavelength_error(lines, i)
    reach = _SET.further_reach * expected.half + 3.0 * error
    return np.flatnonzero((distance < 8.0 * error) | (distance < reach))


def _rates(lines: ModelLines, i: int, expected: Expected, near: Integers) -> tuple[Floats, Floats]:
    """Rates (n,) of such lines by n transitions, without the trend, and ln density of the trend."""
    distance = np.abs(expected.transitions.wavelength[near] - lines.center[i])
    uncertainty = expected.transitions.uncertainty[near]
    error, width = _wavelength_error(lines, i), lines.width[i]
    excess = lines.ln_peak[i] - expected.ln_peak[near]
    spread = np.hypot(_SET.strength, np.log(10.0) * uncertainty)
    strength = np.where(
        uncertainty < _SET.known_strength, _broad_tailed(excess, spread), _normal(excess, spread)
    )
    ratio = np.log(width / (2.0 * expected.half[near]))
    main = _broad_tailed(distance, error) * strength * _broad_tailed(ratio, _SET.width)
    # A flat core, or a line of hydrogen, is rendered by several lines anywhere within its width.
    allowed = (excess < _SET.further_above) & (excess > _SET.further_above - _SET.further_range)
    allowed &= width < 2.0 * expected.wing[near]
    reach = _SET.further_reach * expected.half[near]
    inside = ndtr((distance + reach) / error) - ndtr((distance - reach) / error)
    inside = inside / np.minimum(2.0 * reach, _SET.further_within)
    saturated = expected.saturation[near] / (1.0 + expected.saturation[near])
    density = inside / (_SET.further_range * _SET.further_widths)
    further = _SET.further * saturated**2 * density * allowed
    trend = _ln_trend_density(lines, i, expected.ln_peaks[:, near] - expected.ln_peak[near])
    return main + further, trend


def _normal(x: Floats, sigma: Floats | float) -> Floats:
    return np.exp(-0.5 * (x / sigma) ** 2) / (np.sqrt(2.0 * np.pi) * sigma)


def _broad_tailed(x: Floats, sigma: Floats | float) -> Floats:
    tail = _SET.tail * _normal(x, _SET.tail_scale * sigma)
    return (1.0 - _SET.tail) * _normal(x, sigma) + tail


def _alone_and_paired(
    lines: ModelLines, i: int, expected: Expected, near: Integers
) -> tuple[list[tuple[int, float]], list[tuple[int, int, float]]]:
    """Rates of transitions alone and of pairs of them."""
    rates, trend = _rates(lines, i, expected, near)
    best = np.argsort(-rates * np.exp(trend), kind="stable")[: _SET.transitions]
    near, rates, trend = near[best], rates[best], trend[best]
    wavelength, peak = expected.transitions.wavelength[near], expected.ln_peak[near]
    error = np.hypot(_SET.alike_error, np.log(10.0) * expected.transitions.uncertainty[near])
    distance = np.subtract.outer(wavelength, wavelength) / (_SET.close * lines.width[i])
    overlap = np.exp(-np.log(2.0) * distance**2) * (1.0 - np.eye(len(near)))
    spread = np.hypot.outer(error, error)
    stronger = ndtr((np.subtract.outer(peak, peak) - _SET.alike) / spread)
    alone = rates * np.exp(trend) * np.prod(1.0 - overlap * (1.0 - stronger), axis=1)
    both = np.triu(overlap * (1.0 - stronger - stronger.T) * np.sqrt(np.outer(rates, rates)))
    order = np.argsort(-both, axis=None, kind="stable")[: _SET.pairs]
    a, b = np.unravel_index(order, both.shape)
    at_nodes = np.logaddexp(expected.ln_peaks[:, near[a]], expected.ln_peaks[:, near[b]])
    at_labels = np.logaddexp(peak[a], peak[b])
    pairs = both[a, b] * np.exp(_ln_trend_density(lines, i, at_nodes - at_labels))
    return (
        [(int(c), float(rate)) for c, rate in zip(near, alone, strict=True)],
        [(int(near[k]), int(near[m]), float(rate)) for k, m, rate in zip(a, b, pairs, strict=True)],
    )


def _ln_trend_density(lines: ModelLines, i: int, expected: Floats) -> Floats:
    """ln density (n,) of the trend of a line, given those expected of n transitions (G, n)."""
    difference = (lines.trend[i][:, None] - _SET.slope * expected).T
    terms = _trend_terms(lines.offset) * np.array(_SET.trend)
    errors = np.broadcast_to(terms, (len(difference), *terms.shape))
    columns = np.concatenate([errors, _SET.slope_error * expected.T[:, :, None]], axis=2)
    return _ln_normal(difference, columns, _trend_noise(lines.node_depth[i]))


def _trend_terms(offset: Floats) -> Floats:
    """Terms (G, 5) of the errors of a trend.

    They are ln Teff, log g, [Fe/H], the square of ln Teff, and ln Teff times log g.
    """
    warmer = offset[:, :1]
    return np.concatenate([offset, warmer**2, warmer * offset[:, 1:2]], axis=1)


def _trend_noise(depth: Floats) -> Floats:
    return np.hypot(_SET.noise, _SET.faint / np.maximum(depth, 1e-5))


def _ln_normal(values: Floats, columns: Floats, noise: Floats) -> Floats:
    """ln normal densities (n,) of `values` (n, G), up to a constant.

    The mean is zero and the covariance is columns columnsᵀ + diag(noise²), with columns (n, G, K);
    it is inverted by Woodbury's identity.
    """
    scaled, values = columns / noise[:, None], values / noise
    inner = np.eye(columns.shape[2]) + np.einsum("ngk,ngl->nkl", scaled, scaled)
    inside = np.einsum("ngk,ng->nk", scaled, values)
    explained = np.linalg.solve(inner, inside[..., None])[..., 0]
    chi2 = np.sum(values**2, axis=1) - np.sum(inside * explained, axis=1)
    density = -0.5 * chi2 - 0.5 * np.linalg.slogdet(inner)[1] - np.log(noise).sum()
    return density * min(_SET.independent_nodes / values.shape[1], 1.0)


def _unlisted_density(lines: ModelLines, i: int, expected: Expected) -> float:
    """Density of width and trend of an unlisted line: half are like any atom, half are not."""
    metals = _SET.unlisted_metals * lines.offset[:, 2]
    terms = (_trend_terms(lines.offset) * np.array(_SET.unlisted_trend))[None]
    noise = _trend_noise(lines.node_depth[i])
    density = 0.5 * np.exp(_ln_normal((lines.trend[i] - metals)[None], terms, noise)[0])
    if count := expected.examples.size:
        listed = expected.ln_peaks[:, expected.examples] - expected.ln_peak[expected.examples]
        density += 0.5 * np.exp(_ln_trend_density(lines, i, listed)).sum() / count
    ln_width = np.log(lines.width[i] / 0.1)
    return float(density * _normal(ln_width, _SET.unlisted_width))


def unlisted_rate(lines: ModelLines, expected: Expected, sample: Integers) -> Floats:
    """The rate ν (C,) of unlisted lines, per Å and unit of ln opacity.

    For each of a few ranges of strength, the lines that the list does not explain are counted in a
    sample of the lines, with the odds that follow from the rate itself, iteratively.
    """
    group = np.searchsorted(_STRENGTH_EDGES, lines.ln_peak, side="right") - 1
    length = float(np.ptp(lines.center)) + 1.0
    rate = np.full(len(_STRENGTH_EDGES) - 1, _SET.unlisted)
    densities = list(_listed_and_unlisted(lines, expected, sample))
    count = np.bincount(group, minlength=rate.size)
    sampled = np.bincount(group[sample], minlength=rate.size)
    for _ in range(_SET.iterations):
        unexplained = np.zeros(rate.size)
        for i, listed, density in densities:
            nothing = rate[group[i]] * density
            unexplained[group[i]] += nothing / (nothing + listed) if nothing + listed > 0.0 else 1.0
        # Half a line more than was found, so that no rate is zero.
        found = (unexplained + 0.5) * count / np.maximum(sampled, 1)
        rate = np.maximum(found / length, _LEAST_RATE)
    return rate[group]


def _listed_and_unlisted(
    lines: ModelLines, expected: Expected, sample: Integers
) -> Iterator[tuple[int, float, float]]:
    """Each sampled line, the rate of such lines by the list, and the density of unlisted ones."""
    for i in map(int, sample):
        rates, trend = _rates(lines, i, expected, _near(lines, i, expected))
        listed = float(np.sum(rates * np.exp(trend)))
        yield i, listed, _unlisted_density(lines, i, expected)
