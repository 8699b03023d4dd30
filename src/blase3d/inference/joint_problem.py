"""One star in several windows: which parameters are free, and which of them windows share.

A window is a range of one spectrum that one model covers. Labels are united by name, and are common
to all windows. A parameter of the observation is common to the windows of one spectrum, and either
common to all spectra or apart; the names of parameters apart have the number of the spectrum, from
one: `rv_2`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ..errors import InputError
from ..model.model import Model
from ..parameters import FITTED, parameter
from ..runtime.arrays import Floats, Integers
from ..runtime.units import SPEED_OF_LIGHT
from ..spectra.spectrum import Spectrum, cut
from .prior import Prior, fixed_value, prior_on
from .problem import (
    FEWEST_PIXELS,
    FreeParameters,
    Options,
    Problem,
    check_names,
    make_problem,
    with_assumed,
)

_V = TypeVar("_V")

COMMON = ("vsini", "vmac")
"""Parameters of the observation that belong to the star: common to its spectra."""
_FASTEST = 250.0
"""Radial velocity (km/s) up to which the model covers the ends of a window. Few stars are faster;
for these the last pixel of the model is repeated."""
_MARGIN = 0.05
"""Fraction of the range of a model that is left out at each end for that, at most."""


@dataclass(frozen=True, eq=False)
class StarWindow:
    """One window.

    Attributes
    ----------
    spectrum, model : str
        Names of the spectrum and of the model.
    problem : Problem
        The spectrum in the window, and the model.
    columns : (K',) int
        Index of each free parameter of the window in θ of all.
    """

    spectrum: str
    model: str
    problem: Problem
    columns: Integers


@dataclass(frozen=True, eq=False)
class JointProblem(FreeParameters):
    """The windows of a star, with the free parameters of all.

    Attributes
    ----------
    windows : tuple of StarWindow
        The windows, spectrum after spectrum.
    free : dict of Prior
        Free parameters in the order of θ.
    fixed : dict of float
        Fixed parameters.
    nodes : dict
        Values of each label within the range that all models have.
    """

    windows: tuple[StarWindow, ...]
    free: dict[str, Prior]
    fixed: dict[str, float]
    nodes: dict[str, Floats]

    @property
    def axes(self) -> Mapping[str, Floats]:
        """Values of each label at the nodes, within the range that all models have."""
        return self.nodes

    @property
    def calibrated(self) -> bool:
        """Whether the mismatches of all models with real stars are known."""
        return all(window.problem.calibrated for window in self.windows)

    @property
    def lines_of_stars(self) -> bool:
        """Whether the lines of all models are those that real stars taught."""
        return all(window.problem.lines_of_stars for window in self.windows)

    def name_of(self, window: StarWindow) -> str:
        """The name of a window: of its spectrum, its model, or both, as far as there are others."""
        spectra = {one.spectrum for one in self.windows}
        models = {one.model for one in self.windows}
        words = [window.spectrum] if len(spectra) > 1 else []
        words += [window.model] if len(models) > 1 or not words else []
        return ", ".join(words)


def cut_to_models(
    spectrum: Spectrum, models: Mapping[str, Model], velocity: float
) -> dict[str, Spectrum]:
    """Return the windows of a spectrum: the pixels that each model covers, by the model's name.

    A pixel that several models cover is in the window of the first of these alone. Windows of 20
    or fewer usable pixels are left out.

    Parameters
    ----------
    spectrum : Spectrum
        The spectrum; its windows keep masks and echelle orders.
    models : mapping
        Models by name.
    velocity : float
        Radial velocity (km/s) up to which the models cover the ends of the windows.
    """
    left = np.ones(len(spectrum), bool)
    found = {}
    for name, model in models.items():
        low, high = window_of(model.wavelength[0], model.wavelength[-1], velocity)
        inside = left & (spectrum.wavelength >= low) & (spectrum.wavelength <= high)
        if (inside & spectrum.good).sum() > FEWEST_PIXELS:
            found[name] = cut(spectrum, inside)
            left &= ~inside
    return found


def window_of(first: float, last: float, velocity: float = _FASTEST) -> tuple[float, float]:
    """Return the range (Å) of a window, of a model from `first` to `last`, which covers its ends up
    to a radial velocity (km/s)."""
    most = _MARGIN * (last - first)
    low = first + min(first * velocity / SPEED_OF_LIGHT, most)
    return low, last - min(last * velocity / SPEED_OF_LIGHT, most)


def make_joint_problem(
    spectra: Mapping[str, Spectrum],
    models: Mapping[str, Model],
    priors: Mapping[str, Any] | None = None,
    fixed: Mapping[str, Any] | None = None,
    common: Collection[str] = COMMON,
    options: Options | None = None,
) -> JointProblem:
    """Return the problem of inferring the labels of one star from several spectra and models.

    Parameters are free and fixed as for one spectrum (`make_problem`); those that are common are
    free if they are free for any spectrum. The range of a label is that which all models have.

    Parameters
    ----------
    spectra, models : mapping
        Spectra of one star and models, by name.
    priors, fixed : mapping, optional
        Priors and fixed values, by the names of parameters, also with the number of a spectrum.
    common : collection of str
        Parameters of the observation that are common to all spectra.
    options : Options, optional
        Assumptions about the data.

    Raises
    ------
    InputError
        A spectrum or a model has no window, a label has no range that all models have, or a name or
        a value is impossible.
    """
    names = _Names(tuple(spectra), frozenset(common))
    given = {name: prior_on(name, one) for name, one in (priors or {}).items()}
    known = {name: fixed_value(name, one) for name, one in (fixed or {}).items()}
    cuts = {
        name: cut_to_models(spectrum, models, _fastest(names.joint("rv", name), given, known))
        for name, spectrum in spectra.items()
    }
    _check_windows(cuts, spectra, models)
    nodes = _common_nodes({name: models[name] for one in cuts.values() for name in one})
    ranges = {name: (float(axis[0]), float(axis[-1])) for name, axis in nodes.items()}
    ranges |= {key: parameter(name).range for name in FITTED for key in names.every(name)}
    check_names(given, known, ranges)
    for name, axis in nodes.items():
        if axis.size == 1 and name not in given:
            known.setdefault(name, float(axis[0]))
    if "resolution" in common and not {"resolution"} & {*given, *known}:
        known |= _one_resolution(spectra)
    assumed = {
        (spectrum, model): with_assumed(
            names.of(spectrum, models[model], known),
            window,
            models[model],
            set(names.of(spectrum, models[model], given)),
        )
        for spectrum, windows in cuts.items()
        for model, window in windows.items()
    }
    free = _free(given, ranges, (*nodes, *FITTED), assumed, names)
    uniform = {name: Prior(prior.low, prior.high) for name, prior in free.items()}
    found = []
    for (spectrum, model), values in assumed.items():
        limits = names.of(spectrum, models[model], uniform)
        held = {name: value for name, value in values.items() if name not in limits}
        window = cuts[spectrum][model]
        problem = make_problem(window, models[model], limits, held, options)
        columns = [list(free).index(names.joint(name, spectrum)) for name in problem.names]
        found.append(StarWindow(spectrum, model, problem, np.array(columns, np.int64)))
    return JointProblem(tuple(found), free, _fixed(found, names), nodes)


@dataclass(frozen=True)
class _Names:
    """Names of parameters: those apart have the number of the spectrum."""

    spectra: tuple[str, ...]
    common: frozenset[str]

    def __post_init__(self) -> None:
        for name in self.common:
            if name not in FITTED:
                raise InputError(
                    f"got {name!r} as common to the spectra, expected some of "
                    f"{', '.join(FITTED)}; correct it."
                )

    def joint(self, name: str, spectrum: str) -> str:
        """The name, among those of all windows, of a parameter of a window."""
        apart = name in FITTED and name not in self.common and len(self.spectra) > 1
        return f"{name}_{self.spectra.index(spectrum) + 1}" if apart else name

    def every(self, name: str) -> tuple[str, ...]:
        """All names of a parameter of the observation; without a number, it means all spectra."""
        return (name, *(self.joint(name, spectrum) for spectrum in self.spectra))

    def of(self, spectrum: str, model: Model, values: Mapping[str, _V]) -> dict[str, _V]:
        """The values for one window, by the names there."""
        found = {}
        for name in (*model.label_names, *FITTED):
            for key in (name, self.joint(name, spectrum)):
                if key in values:
                    found[name] = values[key]
        return found


def _fastest(name: str, given: Mapping[str, Prior], known: Mapping[str, float]) -> float:
    """Radial velocity (km/s) up to which the models have to cover the ends of the windows."""
    fixed = known.get(name, known.get("rv"))
    if fixed is not None:
        return abs(fixed)
    prior = given.get(name, given.get("rv", Prior(-_FASTEST, _FASTEST)))
    return min(max(abs(prior.low), abs(prior.high)), _FASTEST)


def _check_windows(
    found: Mapping[str, Mapping[str, Spectrum]],
    spectra: Mapping[str, Spectrum],
    models: Mapping[str, Model],
) -> None:
    for name, windows in found.items():
        if not windows:
            raise InputError(
                f"{name} covers {_span(spectra[name].wavelength)}, of which no model covers more "
                f"than {FEWEST_PIXELS} usable pixels ({_spans(models)}); use models of that range."
            )
    for name, model in models.items():
        if not any(name in windows for windows in found.values()):
            raise InputError(
                f"{name} covers {_span(model.wavelength)}, where at most {FEWEST_PIXELS} usable "
                "pixels remain that no model before it covers; leave it out."
            )


def _span(wavelength: Floats) -> str:
    return f"{wavelength[0]:.0f}–{wavelength[-1]:.0f} Å"


def _spans(models: Mapping[str, Model]) -> str:
    return ", ".join(f"{name} {_span(model.wavelength)}" for name, model in models.items())


def _common_nodes(models: Mapping[str, Model]) -> dict[str, Floats]:
    """Values of each label of any model, within the range of all models that have it."""
    names = dict.fromkeys(name for model in models.values() for name in model.label_names)
    return {label: _overlapping(label, models) for label in names}


def _overlapping(label: str, models: Mapping[str, Model]) -> Floats:
    axes = {name: model.axes[label] for name, model in models.items() if label in model.axes}
    low = max(float(axis[0]) for axis in axes.values())
    high = min(float(axis[-1]) for axis in axes.values())
    if low > high or (low == high and all(axis.size > 1 for axis in axes.values())):
        listed = ", ".join(f"{name} {axis[0]:g} to {axis[-1]:g}" for name, axis in axes.items())
        raise InputError(
            f"the models have no range of {label} in common ({listed}); use models of one kind of "
            "star."
        )
    longest = max(axes.values(), key=len)
    inner = longest[(longest > low) & (longest < high)]
    return np.unique([low, *map(float, inner), high])


def _one_resolution(spectra: Mapping[str, Spectrum]) -> dict[str, float]:
    """The resolution that spectra state, if any does."""
    stated = {s.resolution for s in spectra.values() if s.resolution is not None}
    if len(stated) > 1:
        listed = " and ".join(f"{value:g}" for value in sorted(stated))
        raise InputError(
            f"the spectra state resolutions of {listed}, expected a common one; give it, or "
            "leave resolution apart."
        )
    return {"resolution": stated.pop()} if stated else {}


def _free(
    given: Mapping[str, Prior],
    ranges: Mapping[str, tuple[float, float]],
    order: tuple[str, ...],
    assumed: Mapping[tuple[str, str], Mapping[str, float]],
    names: _Names,
) -> dict[str, Prior]:
    """Priors on the parameters that are free in any window, in the order of θ."""
    free = {}
    for name in order:
        for (spectrum, _), values in assumed.items():
            key = names.joint(name, spectrum)
            if name in ranges and name not in values and key not in free:
                prior = given.get(key, given.get(name, Prior(-np.inf, np.inf)))
                free[key] = prior.within(*ranges[key])
    return free


def _fixed(windows: list[StarWindow], names: _Names) -> dict[str, float]:
    """Fixed parameters of all windows; under one name where all have the same value."""
    found: dict[str, float] = {}
    for name in dict.fromkeys(name for one in windows for name in one.problem.fixed):
        having = [one for one in windows if name in one.problem.fixed]
        values = {names.joint(name, one.spectrum): one.problem.fixed[name] for one in having}
        same = len(having) == len(windows) and len(set(values.values())) == 1
        found |= {name: next(iter(values.values()))} if same else values
    return found
