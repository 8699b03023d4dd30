"""Comparison of models: several libraries and one star, on the pixels that all models cover.

The evidence of a model is approximated by the Bayesian information criterion (Schwarz 1978, Annals
of Statistics 6, 461). The noise is estimated from the best model: chi-square is divided by its
reduced chi-square s, where that is above one, and by the number τ of neighbouring pixels over which
its residuals are correlated. Otherwise the misfit that all models of real spectra have in common
would make any choice look certain.

    ln odds = −½ Δχ²/(s τ) − ½ ΔK ln(n/τ)      (K parameters, n pixels)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..inference import Inference, infer
from ..inference.flags import POOR_FIT
from ..model.model import Model
from ..runtime.arrays import DEFAULT_FLOATING_POINT, Floats, Integers
from ..spectra.formats.in_memory import as_spectrum
from ..spectra.spectrum import Spectrum, cut

_DECIDED = 0.99
"""Least odds of the best model for a choice without a warning."""
_NEAR = 2.0
"""Distance from the end of a library within which a label may lie beyond it, in sigma."""
_LONGEST = 500
"""Longest correlation of the residuals that is considered, pixels."""


@dataclass(frozen=True, eq=False)
class RankedModel:
    """One model and its fit of the star.

    Attributes
    ----------
    name : str
        Name of the model.
    answer : Inference
        The labels, inferred from the common pixels.
    chi2, rms : float
        Chi-square of the common pixels, with the same weights for all models; rms residual in the
        unit of the flux.
    odds : float
        From 0 to 1; the odds of all models add up to 1.
    """

    name: str
    answer: Inference
    chi2: float
    rms: float
    odds: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """The models, the best first.

    Attributes
    ----------
    candidates : tuple of RankedModel
        The models by falling odds.
    n_pixels : int
        Number of pixels compared.
    n_correlated : float
        Number of neighbouring pixels over which the residuals of the best model are correlated.
    chi2_red : float
        Reduced chi-square of the best model.
    warnings : tuple of str
        Reasons to distrust the choice.
    """

    candidates: tuple[RankedModel, ...]
    n_pixels: int
    n_correlated: float
    chi2_red: float
    warnings: tuple[str, ...]

    @property
    def best(self) -> RankedModel:
        """The model of the highest odds."""
        return self.candidates[0]

    def to_dict(self) -> dict[str, Any]:
        """The numbers, for JSON."""
        return {
            "best": self.best.name,
            "pixels": self.n_pixels,
            "correlated_pixels": self.n_correlated,
            "chi2_red": self.chi2_red,
            "warnings": list(self.warnings),
            "models": [
                {"model": c.name, "odds": c.odds, "chi2": c.chi2, "rms": c.rms} | c.answer.to_dict()
                for c in self.candidates
            ],
        }


@DEFAULT_FLOATING_POINT
def compare(spectrum: Any, models: Mapping[str, Model], **settings: Any) -> Comparison:
    """Fit several models to one star, and rank them by their odds.

    Parameters
    ----------
    spectrum : Spectrum, specutils.Spectrum or astropy table
        The observed spectrum, which states its medium.
    models : mapping
        Models by name, two or more.
    **settings
        As for `infer`.

    Raises
    ------
    InputError
        Fewer than two models, or no pixel that all of them cover.

    Examples
    --------
    >>> import blase3d as b3
    >>> models = {"one": b3.load_model("model.zip"), "two": b3.load_model("other.zip")}
    >>> comparison = b3.compare(b3.read_spectrum("star.npz"), models, fixed={"vsini": 0.0})
    >>> sorted(candidate.name for candidate in comparison.candidates)
    ['one', 'two']
    """
    if len(models) < 2:
        raise InputError(f"got {len(models)} models to compare, expected two or more.")
    common = _common(as_spectrum(spectrum), models)
    answers = {name: infer(common, model, **settings) for name, model in models.items()}
    chosen = _shared_pixels(answers)
    error = _least_error(answers, chosen)
    misfits = {
        name: (answer.flux - answer.model)[chosen[name]] / error for name, answer in answers.items()
    }
    weight = np.minimum.reduce([_weight(answers[name])[chosen[name]] for name in answers])
    chi2 = {name: float(np.sum(weight * misfit**2)) for name, misfit in misfits.items()}
    best = min(chi2, key=lambda name: chi2[name])
    freedom = max(weight.size - len(answers[best].names), 1)
    reduced = chi2[best] / freedom
    correlated = _correlation_length(np.sqrt(weight) * misfits[best])
    odds = _odds(chi2, answers, max(reduced, 1.0) * correlated, weight.size / correlated)
    candidates = [
        RankedModel(
            name,
            answer,
            chi2[name],
            float(np.sqrt(np.mean((answer.flux - answer.model)[chosen[name]] ** 2))),
            odds[name],
        )
        for name, answer in answers.items()
    ]
    candidates.sort(key=lambda candidate: -candidate.odds)
    return Comparison(
        tuple(candidates),
        weight.size,
        correlated,
        reduced,
        _warnings(candidates, models, reduced),
    )


def _common(spectrum: Spectrum, models: Mapping[str, Model]) -> Spectrum:
    """The spectrum cut to the range that all models cover."""
    spans = {name: (model.wavelength[0], model.wavelength[-1]) for name, model in models.items()}
    low, high = max(low for low, _ in spans.values()), min(high for _, high in spans.values())
    inside = (spectrum.wavelength >= low) & (spectrum.wavelength <= high)
    if not inside.any():
        covered = ", ".join(f"{name} {low:.0f}–{high:.0f} Å" for name, (low, high) in spans.items())
        raise InputError(
            f"no pixel of the spectrum, {spectrum.wavelength[0]:.0f}–{spectrum.wavelength[-1]:.0f} "
            f"Å, lies in the range of all models ({covered}); compare models of its range."
        )
    return cut(spectrum, inside)


def _shared_pixels(answers: Mapping[str, Inference]) -> dict[str, Integers]:
    """Indices, in each answer, of the pixels that all answers used."""
    used = [answer.wavelength for answer in answers.values()]
    shared = used[0]
    for wavelength in used[1:]:
        shared = np.intersect1d(shared, wavelength)
    if shared.size == 0:
        raise InputError(
            "no pixel was used by all models; give a spectrum with fewer masked pixels."
        )
    found = {}
    for name, answer in answers.items():
        order = np.argsort(answer.wavelength, kind="stable")
        found[name] = order[np.searchsorted(answer.wavelength, shared, sorter=order)]
    return found


def _least_error(answers: Mapping[str, Inference], chosen: Mapping[str, Integers]) -> Floats:
    """The errors (n,) for all answers: those of the answer with the least.

    Without stated errors, each answer has the rms of its residuals.
    """
    return min((answers[name].error[index] for name, index in chosen.items()), key=np.median)


def _weight(answer: Inference) -> Floats:
    return np.ones(answer.flux.size) if answer.weight is None else answer.weight


def _correlation_length(misfit: Floats) -> float:
    """Sum of the autocorrelation of (n,) over all lags up to its first zero, in pixels."""
    centred = misfit - misfit.mean()
    power = float(centred @ centred)
    if power == 0.0:
        return 1.0
    total = 1.0
    for lag in range(1, min(_LONGEST, misfit.size)):
        share = float(centred[lag:] @ centred[:-lag]) / power
        if share <= 0.0:
            break
        total += 2.0 * share
    return total


def _odds(
    chi2: Mapping[str, float], answers: Mapping[str, Inference], scale: float, independent: float
) -> dict[str, float]:
    cost = {
        name: value / scale + len(answers[name].names) * np.log(max(independent, 1.0))
        for name, value in chi2.items()
    }
    least = min(cost.values())
    likely = {name: float(np.exp(-0.5 * (value - least))) for name, value in cost.items()}
    total = sum(likely.values())
    return {name: value / total for name, value in likely.items()}


def _warnings(
    candidates: list[RankedModel], models: Mapping[str, Model], reduced: float
) -> tuple[str, ...]:
    found = []
    best = candidates[0]
    if reduced > POOR_FIT:
        found.append(
            f"even the best fits poorly (reduced χ² {reduced:.1f}): the odds rank poor fits only"
        )
    if best.odds < _DECIDED:
        found.append(f"the spectrum does not decide: {best.name} has odds of {best.odds:.2f}")
    for candidate in candidates:
        found += _edges(candidate, models)
    return tuple(found)


def _edges(candidate: RankedModel, models: Mapping[str, Model]) -> list[str]:
    """Warnings of labels at the edge of a library, within the range of another one."""
    found = []
    for label, estimate in candidate.answer.labels.items():
        low, high = models[candidate.name].bounds[label]
        margin = _NEAR * estimate.sigma if np.isfinite(estimate.sigma) else 0.0
        beyond = estimate.value - margin <= low, estimate.value + margin >= high
        if low == high or not any(beyond):
            continue
        where = "on" if estimate.value in (low, high) else f"within {_NEAR:g} sigma of"
        for other, model in models.items():
            if other == candidate.name or label not in model.bounds:
                continue
            wider = model.bounds[label][0] < low, model.bounds[label][1] > high
            if (beyond[0] and wider[0]) or (beyond[1] and wider[1]):
                found.append(
                    f"{label} is {where} the edge of {candidate.name} ({low:g} to {high:g}); "
                    f"{other} continues there ({model.bounds[label][0]:g} to "
                    f"{model.bounds[label][1]:g})"
                )
    return found
