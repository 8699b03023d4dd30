"""Choice of installed models for a spectrum: by coverage, and by evidence where they overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..inference.joint_problem import window_of
from ..inference.problem import FEWEST_PIXELS
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
