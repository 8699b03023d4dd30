"""Changes of lines from all observations together, with errors that the ensemble teaches.

The change of line l in a quantity k (ln area, wavelength, ln width) in a star s is

    δ_lk + Σ_m F_lm V_km + Σ_m F_lm(s) V_km(s),      F_lm = 1, depth of the line

δ belongs to the line, V to all lines in all stars, and V(s) to all lines in one star: a
microturbulence or a departure from LTE that differs from the library's. Only δ and V change the
model. Priors are normal; that of δ has the tails of Student's t. Its scale, for classes of lines of
similar depth, maximises the marginal likelihood (empirical Bayes, with the fixed point of MacKay
1992, Neural Computation 4, 415): (sum of δ²) over (number of lines that the data determine).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, reduce

import numpy as np

from ...model.model import Model
from ...runtime.arrays import Bools, Floats, Integers
from ...runtime.progress import Progress, silent
from ..line_table import main_lines
from .cells import REACH, Cells, LineGroups, cells_of, groups_of
from .changes import Scales
from .information import Information, Unknowns, information_of, windows_of
from .observation import Observation, weights_of

_FAINTEST = 0.002
"""Least central depth, in any of the stars, of lines that are changed."""
_BROADEST = 0.005
"""Largest depth of the wings of lines that are changed, where their derivatives end: broader lines
shape the continuum, and determine the gravity."""
_CLASSES = np.array([0.02, 0.05, 0.12, 0.3])
"""Depths between classes of lines."""
_ADDED = np.array([3.0, 1.0, 3.0])
"""Typical errors of added lines, relative to those of the library's."""
_PRIOR_COUNT = 5.0
"""Lines as many as which the typical errors count in the scale of a class."""
_TAILS = 4.0
"""Degrees of freedom of Student's t of the changes of lines."""
_OF_A_STAR = 0.25
"""Typical change that lines of one star have in common, relative to the typical error of a line."""
_ROUNDS, _ITERATIONS = 3, 5
"""Linearisations, and iterations for the scales in each."""
_FEWEST_STARS = 5
"""Stars from which on lines may have slopes over Teff: a strength and a slope are two numbers,
their scatter from star to star needs two more, and one star is left out."""
_NO_SLOPE, _SLOPES = 1e-6, (0.03, 0.06, 0.12, 0.25, 0.5)
"""Typical slopes of ln area that are tried, per 1000 K."""
_CONVINCING = 5.0
"""Gain in the ln of the marginal likelihood from which on lines have slopes: 150 to one."""
_LARGEST = np.array([1.0, 3.0, 0.5])
"""Largest change of a line in one linearisation: ln, km/s, ln."""
_STEPS = {"rv": 1.0, "vsini": 2.0, "vmac": 2.0, "resolution": 5000.0}
"""Typical changes of parameters between linearisations, which keep degenerate ones in place."""
_COMMON = ((0, 0), (0, 1), (1, 1), (2, 0), (2, 1))
"""Common changes: index of the quantity, and 0 for equal changes, 1 for changes with the depth.
Equal shifts of all lines are velocities of the stars."""


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Observations, what is known of their stars, and the lines that may change.

    Attributes
    ----------
    observations : tuple of Observation
        The spectra.
    literature : dict
        Known labels of each star: value and error by name.
    count : int
        Number of lines of the whole model.
    chosen : LineGroups
        The n groups of lines that may change.
    depth : (n,)
        Largest central depth of each in any of the stars.
    cells : Cells
        The groups in cells.
    scales : Scales
        Typical errors of lines, before the ensemble is asked.
    added : (C,)
        Whether a line was added to those of the library.
    """

    observations: tuple[Observation, ...]
    literature: dict[str, dict[str, tuple[float, float]]]
    count: int
    chosen: LineGroups
    depth: Floats
    cells: Cells
    scales: Scales
    added: Bools

    @property
    def stars(self) -> tuple[str, ...]:
        """Names of the stars, each once."""
        return tuple(dict.fromkeys(one.star for one in self.observations))

    def common(self, depth: Floats) -> Floats:
        """Patterns (3 n, M) of the changes that lines of some depth (n,) have in common."""
        patterns = np.zeros((depth.size, 3, len(_COMMON)))
        for m, (quantity, with_depth) in enumerate(_COMMON):
            patterns[:, quantity, m] = depth if with_depth else 1.0
        return patterns.reshape(3 * depth.size, -1)

    def depths(self, observation: Observation) -> Floats:
        """Central depths (n,) of the lines in one star; zero beyond its spectrum."""
        depth = np.zeros(self.count)
        depth[observation.lines] = observation.depths()
        return depth[self.chosen.heads]

    def full(self, lines: Floats) -> Floats:
        """Changes (C, k) of all lines of the model, from (k n,) of the chosen ones."""
        rows = lines.reshape(len(self.chosen), -1)
        changes = np.zeros((self.count, rows.shape[1]))
        changes[self.chosen.members] = rows[self.chosen.number]
        return changes


def ensemble_of(
    observations: tuple[Observation, ...],
    literature: dict[str, dict[str, tuple[float, float]]],
    model: Model,
    scales: Scales,
    added: Bools | None = None,
) -> Ensemble:
    """Return the ensemble of observations, for the whole model, some of whose lines (C,) were
    added to those of its library."""
    count = len(model.reference)
    depth, wing = np.zeros(count), np.zeros(count)
    for one in observations:
        depth[one.lines] = np.maximum(depth[one.lines], one.depths())
        wing[one.lines] = np.maximum(wing[one.lines], one.wings(REACH))
    deepest = max(observations, key=lambda one: float(one.depths().sum()))
    added = np.zeros(count, bool) if added is None else added
    main = main_lines(model, deepest.labels(), added)
    possible = (depth > _FAINTEST) & (wing < _BROADEST)
    heads = np.flatnonzero(possible & (main == np.arange(count)))
    cells = cells_of(model.wavelength, model.reference[heads])
    chosen = groups_of(heads, main)
    return Ensemble(observations, literature, count, chosen, depth[heads], cells, scales, added)


@dataclass(frozen=True, eq=False)
class LinePrior:
    """Scales of the changes of lines.

    Attributes
    ----------
    group : (n,)
        Class of each line.
    typical, scale : (classes, k)
        Scale of Student's t of each class and quantity, before the ensemble is asked and after.
    tail : (n, k)
        Factor of the inverse variance of each line: below one for lines that are wrong by far.
    """

    group: Integers
    typical: Floats
    scale: Floats
    tail: Floats

    @property
    def precision(self) -> Floats:
        """Inverse variances (k n,) of the changes."""
        return (self.tail / self.scale[self.group] ** 2).ravel()

    def learnt(self, lines: Floats, variance: Floats) -> LinePrior:
        """The prior that changes (k n,) with posterior variances (k n,) teach."""
        square, variance = (each.reshape(self.tail.shape) for each in (lines**2, variance))
        precision = self.precision.reshape(self.tail.shape)
        determined = np.clip(1.0 - variance * precision, 0.0, 1.0)
        classes = len(self.scale)
        sums = _by_class(self.group, self.tail * square, classes)
        counts = _by_class(self.group, determined, classes)
        scale = np.sqrt((sums + _PRIOR_COUNT * self.typical**2) / (counts + _PRIOR_COUNT))
        tail = (_TAILS + 1.0) / (_TAILS + (square + variance) / scale[self.group] ** 2)
        return replace(self, scale=scale, tail=tail)

    def with_slopes(self, scale: float) -> LinePrior:
        """The prior with a fourth quantity, slopes over Teff, of a scale for all lines."""
        more = np.full((len(self.scale), 1), scale)
        typical, scales = (np.hstack([each, more]) for each in (self.typical, self.scale))
        tail = np.hstack([self.tail, np.ones((len(self.tail), 1))])
        return LinePrior(self.group, typical, scales, tail)


def _by_class(group: Integers, values: Floats, count: int) -> Floats:
    """Sums (count, k) over classes of values (n, k)."""
    return np.stack([np.bincount(group, column, count) for column in values.T], axis=1)


def first_prior(depth: Floats, scales: Scales, added: Bools) -> LinePrior:
    """Return the prior of lines of some depths (n,) with typical errors; those `added` (n,) are a
    class by themselves, whose strengths and widths are hardly known."""
    group = np.where(added, len(_CLASSES) + 1, np.digitize(depth, _CLASSES))
    typical = np.tile(scales.of(), (len(_CLASSES) + 2, 1))
    typical[-1] *= _ADDED
    return LinePrior(group, typical, typical, np.ones((depth.size, 3)))


@dataclass(frozen=True, eq=False)
class Dense:
    """The unknowns that are not of single lines: common changes, and parameters.

    Attributes
    ----------
    columns : tuple of (g,)
        Indices, among all, of the dense unknowns of each observation.
    precision, mean : (G,)
        Their prior.
    """

    columns: tuple[Integers, ...]
    precision: Floats
    mean: Floats

    @property
    def count(self) -> int:
        """Number of dense unknowns."""
        return self.precision.size


def dense_of(ensemble: Ensemble) -> Dense:
    """Return the dense unknowns of an ensemble at its present parameters."""
    common = np.array([ensemble.scales.of()[k] for k, _ in _COMMON])
    known: dict[tuple[str, object], int] = {}
    precision, mean = list(common**-2.0), [0.0] * len(common)

    def index(key: tuple[str, object], weight: float, at: float = 0.0) -> int:
        if key not in known:
            known[key] = len(precision)
            precision.append(weight)
            mean.append(at)
        return known[key]

    columns = []
    for number, one in enumerate(ensemble.observations):
        here = list(range(len(common)))
        for m, size in enumerate(_OF_A_STAR * common):
            here.append(index((one.star, m), size**-2.0))
        for name, value in zip(one.names, one.theta, strict=True):
            if name in one.model.label_names:
                here.append(index((one.star, name), *_label_prior(ensemble, one, name, value)))
            else:
                here.append(index((one.star, (number, name)), _STEPS.get(name, 1.0) ** -2.0))
        for k in range(one.basis.shape[1]):
            here.append(index((one.star, (number, k)), 1e-12))
        columns.append(np.array(here))
    return Dense(tuple(columns), np.array(precision), np.array(mean))


def _label_prior(
    ensemble: Ensemble, one: Observation, name: str, value: float
) -> tuple[float, float]:
    """Inverse variance and mean of the change of a label."""
    if name in ensemble.literature[one.star]:
        known, error = ensemble.literature[one.star][name]
        return error**-2.0, known - value
    low, high = one.model.bounds[name]
    return (0.25 * (high - low)) ** -2.0, 0.0


def combined(
    parts: tuple[Information, ...],
    dense: Dense,
    keep: Bools | None = None,
    positions: Floats | None = None,
) -> Information:
    """Return the information of all observations, or of those kept, on all unknowns; with slopes
    of the lines, if the positions of the observations along these are given."""
    numbers = range(len(parts)) if keep is None else np.flatnonzero(keep)
    if positions is not None:
        parts = tuple(each.with_slopes(x) for each, x in zip(parts, positions, strict=True))
    spread = [parts[k].spread(dense.columns[k], dense.count) for k in numbers]
    return reduce(Information.plus, spread)


@dataclass(frozen=True, eq=False)
class Teff:
    """Effective temperatures of observations, `value` (K), along which lines have slopes."""

    value: Floats

    def position(self, teff: Floats) -> Floats:
        """Position of temperatures, 0 in the middle of the observations, in 1000 K, and constant
        beyond them."""
        low, high = self.value.min(), self.value.max()
        return (np.clip(teff, low, high) - 0.5 * (low + high)) / 1000.0

    @property
    def positions(self) -> Floats:
        """Positions of the observations."""
        return self.position(self.value)


def at_teff(changes: Floats, position: float) -> Floats:
    """Return changes (C, 3) of lines at a position along their slopes, from (C, 4)."""
    return changes[:, :3] + position * changes[:, 3:] * np.array([1.0, 0.0, 0.0])


@dataclass(frozen=True, eq=False)
class EnsembleFit:
    """The joint solution of an ensemble.

    Attributes
    ----------
    ensemble : Ensemble
        The observations at the parameters of the solution.
    prior : LinePrior
        The prior that was learnt.
    dense : Dense
        The dense unknowns.
    parts : tuple of Information
        Information of each observation, on its dense unknowns.
    estimate : Unknowns
        The solution.
    weights : tuple of (Q,)
        Inverse variances of the pixels of each observation.
    start : (3n,)
        Changes of the chosen lines about which the spectra were linearised.
    teff : Teff or None
        Of the observations, if lines have slopes over it.
    """

    ensemble: Ensemble
    prior: LinePrior
    dense: Dense
    parts: tuple[Information, ...]
    estimate: Unknowns
    weights: tuple[Floats, ...]
    start: Floats
    teff: Teff | None = None

    def changes(self, estimate: Unknowns | None = None) -> Floats:
        """Changes (C, 4) of the lines of the model, of single lines and common to all stars: of
        `QUANTITIES`, and the slope of the first."""
        found = self.estimate if estimate is None else estimate
        patterns = self.ensemble.common(self.ensemble.depth)
        lines = np.zeros((len(self.ensemble.chosen), 4))
        single = found.lines.reshape(len(lines), -1)
        lines[:, 3 : single.shape[1]] = single[:, 3:]
        lines[:, :3] = _nearby(single[:, :3], self.start)
        lines[:, :3] += (patterns @ found.dense[: patterns.shape[1]]).reshape(-1, 3)
        return self.ensemble.full(lines.ravel())

    def changes_in(self, number: int) -> Floats:
        """Changes (C, 3) of the lines in one of the observations."""
        ensemble, terms = self.ensemble, len(_COMMON)
        depths = ensemble.depths(ensemble.observations[number])
        in_star = self.estimate.dense[self.dense.columns[number][terms : 2 * terms]]
        of_star = ensemble.full(ensemble.common(depths) @ in_star)
        return at_teff(self.changes(), self.position(number)) + of_star

    @property
    def slope_scale(self) -> float:
        """Typical slope of ln area over Teff, per 1000 K; zero if lines have none."""
        return 0.0 if self.teff is None else float(self.prior.scale[0, 3])

    def position(self, number: int) -> float:
        """Position of an observation along the slopes of lines."""
        return 0.0 if self.teff is None else float(self.teff.positions[number])

    def without(self, star: str) -> Floats:
        """Changes (C, 4) without the observations of a star."""
        others = np.array([one.star != star for one in self.ensemble.observations])
        positions = None if self.teff is None else self.teff.positions
        information = combined(self.parts, self.dense, others, positions)
        dense = self.dense
        return self.changes(information.solved(self.prior.precision, dense.precision, dense.mean))

    def sigma(self, times: float) -> Floats:
        """Errors (C, 3) of single lines that are left where changes are made `times` a factor;
        those of added lines are made in full.

        Errors that lines have in common are not included: they are those of the labels.
        """
        chosen = self.ensemble.chosen
        made = np.where(self.ensemble.added[chosen.heads], 1.0, times)
        unmade = (1.0 - made)[:, None] * self.changes()[chosen.heads, :3]
        found = np.tile(self.prior.scale[0, :3], (self.ensemble.count, 1))
        found[chosen.members] = np.sqrt(self._variance + unmade**2)[chosen.number]
        return found

    @cached_property
    def _variance(self) -> Floats:
        """Variances (n, 3) of the chosen lines, each by itself."""
        diagonal = self.estimate.factor.inverse_diagonal()
        return diagonal.reshape(len(self.ensemble.chosen), -1)[:, :3]

    def stars_per_line(self) -> Integers:
        """Number (C,) of stars that determine the strength of each line better than the prior."""
        counts = np.zeros(len(self.ensemble.chosen), np.int64)
        for star in self.ensemble.stars:
            known = np.zeros(3 * counts.size)
            for one, part in zip(self.ensemble.observations, self.parts, strict=True):
                if one.star == star:
                    known += np.concatenate([np.diag(block) for block in part.lines.diagonal])
            counts += known[::3] > self.prior.scale[self.prior.group, 0] ** -2.0
        found = np.zeros(self.ensemble.count, np.int64)
        found[self.ensemble.chosen.members] = counts[self.ensemble.chosen.number]
        return found


@dataclass(frozen=True, eq=False)
class _State:
    """Changes of lines and amplitudes of common changes so far."""

    lines: Floats
    shared: Floats
    of_star: dict[str, Floats] = field(default_factory=dict)


def fitted(
    ensemble: Ensemble, widths: tuple[float, ...], progress: Progress = silent
) -> EnsembleFit:
    """Return the joint solution of an ensemble; `widths` (Å) are those of lines in its spectra."""
    added = ensemble.added[ensemble.chosen.heads]
    prior = first_prior(ensemble.depth, ensemble.scales, added)
    terms = len(_COMMON)
    nothing = np.zeros(terms)
    of_star = dict.fromkeys(ensemble.stars, nothing)
    state = _State(np.zeros(3 * len(ensemble.chosen)), nothing, of_star)
    total = _ROUNDS * len(ensemble.observations)
    for number in range(_ROUNDS):
        dense = dense_of(ensemble)
        parts, weights = [], []
        for done, (one, width) in enumerate(zip(ensemble.observations, widths, strict=True)):
            progress("linearise", number * len(ensemble.observations) + done, total)
            part, weight = _linearised(ensemble, one, state, width)
            parts.append(part)
            weights.append(weight)
        information = combined(tuple(parts), dense)
        for _ in range(_ITERATIONS):
            estimate = information.solved(prior.precision, dense.precision, dense.mean)
            prior = prior.learnt(estimate.lines, estimate.variance())
        known = prior, dense, tuple(parts), estimate, tuple(weights), state.lines
        fit = EnsembleFit(ensemble, *known)
        if number + 1 < _ROUNDS:
            ensemble, state = _moved(fit, state)
    progress("linearise", total, total)
    return with_slopes(fit)


def with_slopes(fit: EnsembleFit) -> EnsembleFit:
    """Return the fit with slopes of ln area over Teff, if the stars ask for them."""
    teff = teff_of(fit.ensemble)
    found = None if teff is None else asked_slopes(fit.parts, teff.positions, fit.prior, fit.dense)
    return fit if found is None else replace(fit, prior=found[0], estimate=found[1], teff=teff)


def asked_slopes(
    parts: tuple[Information, ...], positions: Floats, prior: LinePrior, dense: Dense
) -> tuple[LinePrior, Unknowns] | None:
    """Return the prior and the solution with slopes along the positions of the observations, of
    the scale with the largest marginal likelihood; None unless that is larger by far than
    without."""
    information = combined(parts, dense, positions=positions)
    found = []
    for scale in (_NO_SLOPE, *_SLOPES):
        tried = prior.with_slopes(scale)
        known = tried.precision, dense.precision, dense.mean
        estimate = information.solved(*known)
        found.append((information.ln_evidence(estimate, *known), tried, estimate))
    evidence, tried, estimate = max(found, key=lambda one: one[0])
    return (tried, estimate) if evidence > found[0][0] + _CONVINCING else None


def teff_of(ensemble: Ensemble) -> Teff | None:
    """Return the effective temperatures of observations; None of too few stars."""
    labels = [one.labels() for one in ensemble.observations]
    if "teff" not in labels[0] or len(ensemble.stars) < _FEWEST_STARS:
        return None
    return Teff(np.array([each["teff"] for each in labels]))


def _linearised(
    ensemble: Ensemble, one: Observation, state: _State, width: float
) -> tuple[Information, Floats]:
    shared = ensemble.common(ensemble.depth)
    patterns = np.column_stack([shared, ensemble.common(ensemble.depths(one))])
    amplitudes = np.concatenate([state.shared, state.of_star[one.star]])
    prediction = one.predicted(ensemble.full(state.lines + patterns @ amplitudes))
    repeated = sum(other.star == one.star for other in ensemble.observations)
    weight = weights_of(prediction, repeated, width).weight
    windows = windows_of(prediction, ensemble.cells, ensemble.chosen)
    part = information_of(
        prediction, windows, ensemble.cells, weight, patterns, (state.lines, amplitudes)
    )
    return part, weight


def _nearby(lines: Floats, start: Floats) -> Floats:
    """Changes of lines (n, 3), each at most `_LARGEST` from those (3n,) of the linearisation: there
    a line that is to become deeper by far, from almost nothing, has an absurd strength."""
    before = start.reshape(-1, 3)
    return before + np.clip(lines - before, -_LARGEST, _LARGEST)


def _moved(fit: EnsembleFit, state: _State) -> tuple[Ensemble, _State]:
    """The ensemble and the state at a solution."""
    ensemble, terms, dense = fit.ensemble, len(_COMMON), fit.estimate.dense
    lines = _nearby(fit.estimate.lines.reshape(-1, 3), state.lines).ravel()
    of_star, observations = {}, []
    for one, columns in zip(ensemble.observations, fit.dense.columns, strict=True):
        found = dense[columns]
        of_star[one.star] = found[terms : 2 * terms]
        observations.append(one.at(one.theta + found[2 * terms : 2 * terms + len(one.theta)]))
    moved = replace(ensemble, observations=tuple(observations))
    return moved, _State(lines, dense[:terms], of_star)
