"""Identification of the lines of a model with atomic transitions. Needs the extra `identify`.

    list of transitions ─► layer ─► opacities and widths at labels and nodes ─┐
    lines of a model ─► centre, width, opacity, trend over the nodes ─────────┴► odds

(`transitions`, `layer`, `expected`, `match`)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ...lines.lines import Lines
from ...model.evaluate import line_params
from ...model.model import Model
from ...runtime.arrays import Floats, Integers
from ...runtime.units import vacuum_to_air
from .expected import Expected, expect
from .match import ModelLines, Odds, odds_of, unlisted_rate
from .transitions import Atoms, load_atoms

__all__ = ["UNIDENTIFIED", "Candidate", "Identification", "available", "course_of", "identify"]

UNIDENTIFIED = "unidentified"
_LEAST_DEPTH, _SAMPLE = 0.002, 500
"""Least depth, and largest number, of the lines that give the rate of unlisted lines."""
_REACH = {"teff": (0.8, 1.25), "logg": (-1.0, 1.0), "feh": (-0.5, 0.5)}
"""Range of the nodes about the labels: factors for Teff, differences for the others."""
_STEPS = {"teff": 5, "logg": 3, "feh": 3}
"""Nodes along each label."""
_MARGIN = 40.0
"""Distance from the outermost lines up to which transitions are considered, Å: broad wings."""
_LEAST_ODDS = 0.005
"""Least odds of a candidate that is listed."""


@dataclass(frozen=True)
class Candidate:
    """A possible origin of a line.

    Attributes
    ----------
    species : str
        The ion, e.g. Fe I; two with a plus sign for a blend; or `UNIDENTIFIED`.
    wavelength : float or None
        Wavelength of the (stronger) transition, Å in vacuum.
    air : float or None
        Its wavelength in air, Å.
    lower : float or None
        Energy of its lower level, eV.
    log_gf : float or None
        Its log gf, dex.
    odds : float
        Odds; those of all candidates of a line add up to one.
    ln_opacity : float or None
        ln opacity at its centre, relative to the continuum, that is expected with this log gf.
    """

    species: str
    wavelength: float | None
    air: float | None
    lower: float | None
    log_gf: float | None
    odds: float
    ln_opacity: float | None = None


@dataclass(frozen=True)
class Identification:
    """The possible origins of a line.

    Attributes
    ----------
    reference : float
        Wavelength that names the line, Å in vacuum.
    candidates : tuple of Candidate
        The likeliest first; the last one is the remainder, as unidentified.
    blend : bool
        Whether two transitions of similar strength within its width are likelier than one.
    """

    reference: float
    candidates: tuple[Candidate, ...]
    blend: bool

    @property
    def species(self) -> dict[str, float]:
        """Odds of every species, the likeliest first."""
        odds: dict[str, float] = {}
        for candidate in self.candidates:
            odds[candidate.species] = odds.get(candidate.species, 0.0) + candidate.odds
        return dict(sorted(odds.items(), key=lambda item: -item[1]))

    @property
    def best(self) -> str:
        """The species likelier than all others together, or unidentified."""
        name, odds = next(iter(self.species.items()))
        return name if odds > 0.5 else UNIDENTIFIED

    @property
    def summary(self) -> str:
        """The best species, its wavelength in air and its odds, in a few words."""
        best = self.best
        if best == UNIDENTIFIED:
            return best
        air = next(c.air for c in self.candidates if c.species == best)
        blend = ", blend" if self.blend else ""
        return f"{best} {air:.2f} ({self.species[best]:.0%}{blend})"

    def to_dict(self) -> dict[str, Any]:
        """Best species, blend and candidates, for JSON."""
        candidates = [asdict(candidate) for candidate in self.candidates]
        return {"best": self.best, "blend": self.blend, "candidates": candidates}


def available() -> bool:
    """Whether the list of transitions is installed."""
    return find_spec("pyemili") is not None


def identify(
    model: Model,
    labels: Mapping[str, float],
    reference: ArrayLike | None = None,
    *,
    atoms: Atoms | None = None,
) -> list[Identification]:
    """Identify lines of a model with atomic transitions.

    Parameters
    ----------
    model : Model
        The model.
    labels : dict of float
        Every label of the model.
    reference : (M,), optional
        Wavelengths that name the lines (`Model.reference`), Å in vacuum; all lines if None.
    atoms : Atoms, optional
        A list of transitions instead of that of the extra `identify`.

    Returns
    -------
    list of Identification
        In the order of `reference`.

    Raises
    ------
    MissingExtra
        The list of transitions is not installed.
    InputError
        The model has no label teff.
    LabelError
        Labels are missing, unknown or outside the library.
    """
    atoms = load_atoms() if atoms is None else atoms
    wanted = _indices(model, reference)
    at_labels = model.lines(**labels)  # checks the labels
    nodes = _nodes(model, labels)
    lines = _model_lines(model, at_labels, labels, nodes)
    ends = lines.center[[0, -1]] + np.array([-_MARGIN, _MARGIN])
    expected = expect(atoms, labels, nodes, *map(float, ends))
    visible = np.flatnonzero(lines.depth > _LEAST_DEPTH)
    sample = visible[:: max(-(-visible.size // _SAMPLE), 1)]
    unlisted = unlisted_rate(lines, expected, sample)
    return [
        _named(float(model.reference[i]), odds_of(lines, int(i), expected, unlisted), expected)
        for i in wanted
    ]


def course_of(
    line: Identification,
    labels: Mapping[str, float],
    nodes: Mapping[str, Floats],
    *,
    atoms: Atoms | None = None,
) -> Floats | None:
    """Return ln of the opacity of an identified line at nodes of labels (G,), relative to that at
    labels; None for a line that is not identified, or not visible."""
    if line.best == UNIDENTIFIED:
        return None
    atoms = load_atoms() if atoms is None else atoms
    wavelength = next(c.wavelength for c in line.candidates if c.species == line.best)
    known = atoms.transitions
    alone = replace(atoms, transitions=known.take(known.wavelength == wavelength))
    found = expect(alone, labels, nodes, -np.inf, np.inf)
    return found.ln_peaks[:, 0] - found.ln_peak[0] if len(found.transitions) else None


def _indices(model: Model, reference: ArrayLike | None) -> Integers:
    """Indices of the lines of given references; all lines if None."""
    if reference is None:
        return np.arange(model.reference.size)
    given = np.atleast_1d(np.asarray(reference, np.float64))
    return np.abs(model.reference - given[:, None]).argmin(axis=1)


def _nodes(model: Model, labels: Mapping[str, float]) -> dict[str, Floats]:
    """Labels (G,) by name around the given ones, within the library."""
    axes = []
    for name, (low, high) in model.bounds.items():
        near = labels[name]
        if name in _REACH:
            below, above = _REACH[name]
            first, last = near + below, near + above
            if name == "teff":
                first, last = near * below, near * above
            axes.append(np.linspace(max(first, low), min(last, high), _STEPS[name]))
        else:
            axes.append(np.array([near]))
    points = np.array(list(product(*(np.unique(axis) for axis in axes))))
    return dict(zip(model.bounds, points.T, strict=True))


def _model_lines(
    model: Model, lines: Lines, labels: Mapping[str, float], nodes: Mapping[str, Floats]
) -> ModelLines:
    """The lines of a model, those at labels among them, at nodes too."""
    points = np.stack([nodes[name] for name in model.label_names], axis=1)
    params = np.asarray(_params_at(model, points))
    depth = np.stack(
        [replace(lines, params=one).central_depth(model.recipe.composition) for one in params]
    )
    depth_here = lines.central_depth(model.recipe.composition)
    offset = np.zeros((len(points), 3))
    for column, name in enumerate(("teff", "logg", "feh")):
        if name in nodes:
            values, near = nodes[name], labels[name]
            offset[:, column] = np.log(values / near) if name == "teff" else values - near
    opacity = np.log(np.maximum(depth_here, 1e-12) / np.maximum(1.0 - depth_here, 1e-6))
    return ModelLines(
        lines.center,
        lines.fwhm,
        opacity,
        depth_here,
        (params[:, :, 1] - lines.ln_area).T.astype(np.float64),
        depth.T,
        offset,
    )


def _params_at(model: Model, points: Floats) -> jax.Array:
    """Line parameters (G, C, 4) at labels (G, L)."""
    return jax.lax.map(
        lambda vector: line_params(model.forward, vector), jnp.asarray(points, jnp.float32)
    )


def _named(reference: float, odds: Odds, expected: Expected) -> Identification:
    """Odds as candidates; the unlikely ones count as unidentified."""
    found = [_candidate(expected, (c,), rate) for c, rate in odds.alone if rate > _LEAST_ODDS]
    pairs = [_candidate(expected, (c, d), o) for c, d, o in odds.pairs if o > _LEAST_ODDS]
    named = sorted([*found, *pairs], key=lambda candidate: -candidate.odds)
    remainder = max(1.0 - sum(candidate.odds for candidate in named), 0.0)
    named.append(Candidate(UNIDENTIFIED, None, None, None, None, remainder))
    return Identification(reference, tuple(named), sum(pair.odds for pair in pairs) > 0.5)


def _candidate(expected: Expected, transitions: tuple[int, ...], odds: float) -> Candidate:
    """The candidate of one transition, or of two for a blend."""
    lines = expected.transitions
    ordered = sorted(transitions, key=lambda c: -expected.ln_peak[c])
    names = list(dict.fromkeys(lines.species(c) for c in ordered))
    first = ordered[0]
    wavelength = float(lines.wavelength[first])
    return Candidate(
        " + ".join(names),
        wavelength,
        float(vacuum_to_air(wavelength)),
        float(lines.lower[first]),
        float(lines.log_gf[first]),
        float(odds),
        float(expected.ln_peak[first]),
    )
