"""Choice of installed models for a spectrum: by coverage, by evidence where they overlap, and by
their labels where a star lies beyond those of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Blase3dError, InputError
from ..inference import infer, infer_joint
from ..inference.joint_problem import window_of
from ..inference.problem import FEWEST_PIXELS
from ..inference.result import Inference
from ..model.installed import InstalledModel, no_model
from ..model.model import Model
from ..model.model_file import load_model
from ..runtime.arrays import Bools
from ..spectra.spectrum import Spectrum
from .comparison import compare


@lru_cache(maxsize=8)
def loaded_model(path: Path) -> Model:
    """Return the model in a file. A few are kept, with their compiled code."""
    return load_model(path)


@dataclass(frozen=True)
class Selection:
    """Models for one spectrum.

    Attributes
    ----------
    models : tuple of InstalledModel
        Models whose ranges do not overlap, the one with the most usable pixels first.
    reasons : tuple of str
        Why each of them was taken, and why others were not.
    """

    models: tuple[InstalledModel, ...]
    reasons: tuple[str, ...]


def select(
    spectrum: Spectrum, installed: Sequence[InstalledModel], settings: Mapping[str, Any]
) -> Selection:
    """Return the models that cover a spectrum; of two that overlap, the one with higher odds.

    Parameters
    ----------
    spectrum : Spectrum
        The observed spectrum.
    installed : sequence of InstalledModel
        Models to choose from.
    settings : mapping
        Arguments of `infer`, with which models that overlap are compared.

    Raises
    ------
    InputError
        No model covers more than 20 usable pixels.
    """
    covered = {model.name: _covered(spectrum, model) for model in installed}
    left = [model for model in installed if _has_window(spectrum, model)]
    left.sort(key=lambda model: -int(covered[model.name].sum()))
    if not left:
        low, high = spectrum.wavelength[[0, -1]]
        raise no_model(f"the spectrum, {low:.0f}–{high:.0f} Å", installed)
    dropped = []
    while pair := _first_overlap(left, covered):
        loser, reason = _worse(spectrum, pair, settings)
        left.remove(loser)
        dropped.append(reason)
    usable = int(spectrum.good.sum())
    taken = [
        f"{model.coverage}: {covered[model.name].sum()} of {usable} usable pixels" for model in left
    ]
    return Selection(tuple(left), (*taken, *dropped))


@dataclass(frozen=True, eq=False)
class Labelled:
    """The answer for one star, by models that were chosen.

    Attributes
    ----------
    answer : Inference
        The answer.
    models : dict of Model
        Models that it is by, of those that were chosen.
    reasons : tuple of str
        Why it is not by others of them.
    """

    answer: Inference
    models: Mapping[str, Model]
    reasons: tuple[str, ...] = ()


def infer_by_chosen(
    stars: Mapping[str, Spectrum],
    models: Mapping[str, Model],
    settings: Mapping[str, Any],
    common: Sequence[str] | None = None,
) -> Labelled:
    """Infer one star by all models that were chosen for it, or by those whose labels reach it.

    All models together have the labels that each of them has. A star that ends on a bound which
    not all of them have is inferred once more, by those that reach further. If they find it beyond
    that bound, theirs is the answer.

    Parameters
    ----------
    stars : mapping
        Spectra of the star by name.
    models : mapping
        Models by name, each of which covers some range of some spectrum.
    settings : mapping
        Arguments of `infer`.
    common : sequence of str, optional
        As for `infer_joint`. None: `infer` is enough for one spectrum and one model.

    Raises
    ------
    InputError
        As for `infer` and `infer_joint`.
    """
    found = Labelled(_by_all(stars, models, settings, common), models)
    beyond = _beyond(found)
    wider = {name: model for name, model in models.items() if name not in beyond}
    if not beyond or not wider:
        return found
    try:
        again = _by_all(stars, wider, settings, common)
    except Blase3dError as error:  # such as of a spectrum that none of them covers
        kept = f"{', '.join(beyond)} taken, on whose bound the star is: without, {error}"
        return replace(found, reasons=(kept,))
    reasons = []
    for name, labels in beyond.items():
        outside = [label for label in labels if _is_outside(again, label, models[name])]
        if not outside:
            return found
        value, (low, high) = again.labels[outside[0]].value, models[name].bounds[outside[0]]
        words = f"{outside[0]} {value:.4g} is beyond its {low:.4g} to {high:.4g}"
        reasons.append(f"{name} not taken: {words}")
    return Labelled(again, wider, tuple(reasons))


def _by_all(
    stars: Mapping[str, Spectrum],
    models: Mapping[str, Model],
    settings: Mapping[str, Any],
    common: Sequence[str] | None,
) -> Inference:
    if common is None and len(stars) == len(models) == 1:
        (star,), (model,) = stars.values(), models.values()
        return infer(star, model, **settings)
    return infer_joint(stars, models, common=common or (), **settings)


def _beyond(found: Labelled) -> dict[str, list[str]]:
    """Models on whose bounds a star ended where others reach further, and these labels."""
    beyond: dict[str, list[str]] = {}
    for label, one in found.answer.labels.items():
        having = {n: m.bounds[label] for n, m in found.models.items() if label in m.bounds}
        if np.isfinite(one.sigma) or len(having) < 2:
            continue
        lowest = min(low for low, _ in having.values())
        highest = max(high for _, high in having.values())
        rounding = 1e-6 * (highest - lowest)
        for name, (low, high) in having.items():
            below = lowest < low and one.value <= low + rounding
            if below or (highest > high and one.value >= high - rounding):
                beyond.setdefault(name, []).append(label)
    return beyond


def _is_outside(answer: Inference, label: str, model: Model) -> bool:
    """Whether an answer has a label that a model does not reach."""
    low, high = model.bounds[label]
    return label in answer.labels and not low <= answer.labels[label].value <= high


def _has_window(spectrum: Spectrum, model: InstalledModel) -> bool:
    """Whether a model covers enough pixels at any likely velocity, as a joint fit requires."""
    return bool(_between(spectrum, *window_of(*model.wavelength)).sum() > FEWEST_PIXELS)


def _covered(spectrum: Spectrum, model: InstalledModel) -> Bools:
    """Whether pixels (P,) are usable and in the range of a model."""
    return _between(spectrum, *model.wavelength)


def _between(spectrum: Spectrum, low: float, high: float) -> Bools:
    return spectrum.good & (spectrum.wavelength >= low) & (spectrum.wavelength <= high)


def _first_overlap(
    models: Sequence[InstalledModel], covered: Mapping[str, Bools]
) -> tuple[InstalledModel, InstalledModel] | None:
    for i, one in enumerate(models):
        for other in models[i + 1 :]:
            if np.sum(covered[one.name] & covered[other.name]) > FEWEST_PIXELS:
                return one, other
    return None


def _worse(
    spectrum: Spectrum,
    pair: tuple[InstalledModel, InstalledModel],
    settings: Mapping[str, Any],
) -> tuple[InstalledModel, str]:
    """The model of a pair with lower odds, and the reason; without a comparison, the second."""
    models = {model.name: loaded_model(model.path) for model in pair}
    try:
        found = compare(spectrum, models, **{**settings, "method": "gradient"})
    except InputError as error:
        return pair[1], f"{pair[1].name} not taken: {pair[0].name} covers more ({error})"
    best, worst = found.best, found.candidates[-1]
    reason = (
        f"{worst.name} not taken: odds of {worst.odds:.2g} to {best.odds:.2g} against {best.name} "
        f"on the {found.n_pixels} pixels that both cover"
    )
    return pair[1] if pair[0].name == best.name else pair[0], reason
