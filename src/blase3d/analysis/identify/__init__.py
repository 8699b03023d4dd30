"""Who is that line: the transitions of a list of atomic lines that may make a line of a model.

    list of transitions ─► layer ─► strengths and widths at labels and nodes ─┐
    lines of a model ─► centre, width, opacity, course over the nodes ────────┴► odds

(`transitions`, `layer`, `expected`, `match`). Needs the extra `identify`.
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
from numpy.typing import ArrayLike, NDArray

from ...model.evaluate import line_params
from ...model.model import Model
from ...units import vacuum_to_air
from .expected import Expected, expect
from .match import Observed, Odds, odds_of, unlisted_rate
from .transitions import Atoms, load_atoms

__all__ = ["UNIDENTIFIED", "Candidate", "Identification", "available", "identify"]

UNIDENTIFIED = "unidentified"
_SEEN = 0.002
"""Least depth of lines by which the rate of unlisted ones is told."""
_SOME = 500
_REACH = {"teff": (0.8, 1.25), "logg": (-1.0, 1.0), "feh": (-0.5, 0.5)}
"""Nodes lie within this range about the labels: factors of Teff, differences of the others."""
_STEPS = {"teff": 5, "logg": 3, "feh": 3}
_MARGIN = 40.0
"""Å beyond the lines where transitions may still reach them."""
_WORTH = 0.005
"""Least odds of a candidate that is named."""


@dataclass(frozen=True)
class Candidate:
    """What may make a line.

    Attributes
    ----------
    species : str
        Such as Fe I; two with a plus sign are a blend of both; or `UNIDENTIFIED`.
    wavelength : float or None
        Of the (stronger) transition, Å in vacuum.
    air : float or None
        The same in air.
    lower : float or None
        Energy of its lower level, eV.
    log_gf : float or None
        Of its strength, dex.
    odds : float
        Those of all candidates of a line add up to one.
    """

    species: str
    wavelength: float | None
    air: float | None
    lower: float | None
    log_gf: float | None
    odds: float


@dataclass(frozen=True)
class Identification:
    """What a line may be.

    Attributes
    ----------
    reference : float
        Wavelength that names the line, Å in vacuum.
    candidates : tuple of Candidate
        The likeliest first; what is left of them is at the end of it, as unidentified.
    blend : bool
        Two transitions of like strength within the width of the line are likelier than one.
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
        """The species that is likelier than all others together; else unidentified."""
        name, odds = next(iter(self.species.items()))
        return name if odds > 0.5 else UNIDENTIFIED

    @property
    def summary(self) -> str:
        """The best species, its line in air and its odds, in a few words."""
        best = self.best
        if best == UNIDENTIFIED:
            return best
        air = next(c.air for c in self.candidates if c.species == best)
        blend = ", blend" if self.blend else ""
        return f"{best} {air:.2f} ({self.species[best]:.0%}{blend})"

    def to_dict(self) -> dict[str, Any]:
        """What there is to know, as it goes into JSON."""
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
    """What lines of a model may be.

    Parameters
    ----------
    model : Model
        The library.
    labels : dict of float
        Every label of the model.
    reference : (M,), optional
        Wavelengths that name the lines (`Model.reference`), Å in vacuum; all lines if None.
    atoms : Atoms, optional
        A list of transitions, instead of that of the extra `identify`.

    Returns
    -------
    list of Identification
        In the order of `reference`.

    Raises
    ------
    MissingExtra
        There is no list of transitions.
    InputError
        The model has no label teff.
    LabelError
        Labels are missing, unknown or outside the library.
    """
    atoms = load_atoms() if atoms is None else atoms
    wanted = _places(model, reference)
    nodes = _nodes(model, labels)
    observed = _observed(model, labels, nodes)
    ends = observed.center[[0, -1]] + np.array([-_MARGIN, _MARGIN])
    expected = expect(atoms, labels, nodes, *map(float, ends))
    visible = np.flatnonzero(observed.depth > _SEEN)
    some = visible[:: max(-(-visible.size // _SOME), 1)]
    unlisted = unlisted_rate(observed, expected, some)
    return [
        _named(float(model.reference[i]), odds_of(observed, int(i), expected, unlisted), expected)
        for i in wanted
    ]


def _places(model: Model, reference: ArrayLike | None) -> NDArray[np.int64]:
    """Which lines of a model have these references."""
    if reference is None:
        return np.arange(model.reference.size)
    given = np.atleast_1d(np.asarray(reference, np.float64))
    return np.abs(model.reference - given[:, None]).argmin(axis=1)


def _nodes(model: Model, labels: Mapping[str, float]) -> dict[str, NDArray[np.float64]]:
    """Labels (G,) about the given ones, within the library."""
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


def _observed(
    model: Model, labels: Mapping[str, float], nodes: Mapping[str, NDArray[np.float64]]
) -> Observed:
    lines = model.lines(**labels)
    points = np.stack([nodes[name] for name in model.label_names], axis=1)
    params = np.asarray(_params_at(model, points))
    depth = np.stack(
        [replace(lines, params=one).central_depth(model.recipe.composition) for one in params]
    )
    here = lines.central_depth(model.recipe.composition)
    offset = np.zeros((len(points), 3))
    for column, name in enumerate(("teff", "logg", "feh")):
        if name in nodes:
            values, near = nodes[name], labels[name]
            offset[:, column] = np.log(values / near) if name == "teff" else values - near
    with np.errstate(divide="ignore"):
        opacity = np.log(np.maximum(here, 1e-12) / np.maximum(1.0 - here, 1e-6))
    return Observed(
        lines.center,
        lines.fwhm,
        opacity,
        here,
        (params[:, :, 1] - lines.ln_area).T.astype(np.float64),
        depth.T,
        offset,
    )


def _params_at(model: Model, points: NDArray[np.float64]) -> jax.Array:
    return jax.lax.map(
        lambda vector: line_params(model.emulator, vector), jnp.asarray(points, jnp.float32)
    )


def _named(reference: float, odds: Odds, expected: Expected) -> Identification:
    """Odds as candidates with names; the faint ones go to what is unidentified."""
    found = [_candidate(expected, (c,), rate) for c, rate in odds.alone if rate > _WORTH]
    pairs = [_candidate(expected, (c, d), o) for c, d, o in odds.pairs if o > _WORTH]
    named = sorted([*found, *pairs], key=lambda candidate: -candidate.odds)
    rest = max(1.0 - sum(candidate.odds for candidate in named), 0.0)
    named.append(Candidate(UNIDENTIFIED, None, None, None, None, rest))
    return Identification(reference, tuple(named), sum(pair.odds for pair in pairs) > 0.5)


def _candidate(expected: Expected, which: tuple[int, ...], odds: float) -> Candidate:
    lines = expected.transitions
    ordered = sorted(which, key=lambda c: -expected.ln_peak[c])
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
    )
