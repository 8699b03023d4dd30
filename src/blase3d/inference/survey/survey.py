"""`Survey`: labels of many stars that one instrument observed on the same pixels."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import Blase3dError, InputError, SpectrumError
from ...model.model import Model
from ...runtime.arrays import DEFAULT_FLOATING_POINT, Bools, Floats
from ...runtime.files import settle_medium, to_vacuum
from ...runtime.precision import in_float32
from ...runtime.progress import Progress, silent
from ...runtime.threads import one_blas_thread
from ...runtime.with_units import in_unit
from ...spectra.spectrum import Spectrum
from ..batch import attempt
from ..methods.method import Outcome
from ..prior import Prior
from ..problem import Problem
from ..result import Inference
from ..single import answer_of, check_settings, infer, problem_of
from ..solution import Solution
from .searches import ManyLikelihoods, Searches
from .starts import StartTemplates, many_starts, start_templates
from .tabulate import tabulate
from .tabulated import Tabulated

_NAME = Path("the survey")
"""Name in messages."""
_PIXELS = 800_000
"""Pixels of the stars of one batch: two hundred MB of arrays."""
_SURVEYS: dict[str, Survey] = {}
"""Survey that this process was sent, by its token."""
_COVERED = 0.8
"""Fraction of the range of wavelengths that unmasked pixels must span: a star with less is inferred
by itself, since the polynomials of the continuum are those of the whole range."""


class Survey:
    """Inference of stars on the same pixels, with the same line spread.

    The answers are those of `infer`, many times faster: the flux of the model is tabulated once for
    the instrument, and many stars are fitted at once, on the device that JAX uses.

    A survey that is sent to another process is made there once, with the table that is kept in the
    cache folder.

    Parameters
    ----------
    model : Model
        Model of a library. All stars have its lines: for spectra that the library of a calibrated
        model computed, give `model.uncalibrated()`.
    wavelength : (P,)
        Å, increasing; or an astropy Quantity.
    resolution : float
        λ/Δλ of the instrument.
    medium : str
        `air` or `vacuum`.
    priors, fixed : dict, optional
        As for `infer`; the resolution cannot be free.
    meta : dict, optional
        `Spectrum.meta` of every star, such as the telescope, which decides on telluric bands.
    progress : callable, optional
        Called with `table`, the number of spectra of the table that are computed, and their total.
    **options
        Fields of `Options`, as for `infer`.

    Attributes
    ----------
    error : float
        Largest rms error of the tabulated flux, in units of the continuum, in a test with stars
        between the points of the table.

    Raises
    ------
    InputError
        The resolution is free, a setting is unknown or impossible, or the flux of the model cannot
        be tabulated to 2e-4.

    Examples
    --------
    >>> import blase3d as b3
    >>> model, star = b3.load_model("model.zip"), b3.read_spectrum("star.npz")
    >>> survey = b3.Survey(model, star.wavelength, resolution=50_000, medium="vacuum")
    >>> answers = survey.infer([star.flux, 2.0 * star.flux], [star.error, 2.0 * star.error])
    >>> [type(answer).__name__ for answer in answers]
    ['Inference', 'Inference']
    """

    error: float

    @in_float32
    @one_blas_thread()
    @DEFAULT_FLOATING_POINT
    def __init__(
        self,
        model: Model,
        wavelength: ArrayLike,
        *,
        resolution: float,
        medium: str,
        priors: Mapping[str, Prior | tuple[Any, Any]] | None = None,
        fixed: Mapping[str, Any] | None = None,
        meta: Mapping[str, object] | None = None,
        progress: Progress = silent,
        **options: Any,
    ):
        found = settle_medium(None, medium, _NAME, InputError)
        plain = np.asarray(in_unit(wavelength, "Angstrom", "wavelengths"), np.float64)
        self._model, self._wavelength = model, to_vacuum(plain, found)
        self._resolution, self._meta = float(resolution), dict(meta or {})
        self._token = uuid.uuid4().hex
        self._priors, self._fixed, self._options = priors, fixed, options
        check_settings("gradient", options)
        example = self._problem(_any_flux(plain.size), np.ones(plain.size), None)
        _check(example)
        self._table: Tabulated
        self._table, self.error = tabulate(
            example.model,
            example.spectrum.wavelength,
            example.fixed["resolution"],
            example.options.limb_darkening,
            progress,
        )
        self._templates: StartTemplates = start_templates(self._table, example)

    @property
    def at_once(self) -> int:
        """Number of stars that are fitted at once."""
        return max(_PIXELS // self._wavelength.size, 1)

    def __reduce__(self) -> tuple[Any, ...]:
        made_of: dict[str, Any] = {"resolution": self._resolution, "meta": self._meta}
        made_of |= {"priors": self._priors, "fixed": self._fixed, **self._options}
        return _received, (self._token, self._model, self._wavelength, made_of)

    @in_float32
    @one_blas_thread()
    @DEFAULT_FLOATING_POINT
    def infer(
        self, flux: ArrayLike, error: ArrayLike, mask: ArrayLike | None = None
    ) -> list[Inference | Blase3dError]:
        """Infer the labels of N stars.

        Parameters
        ----------
        flux, error : (N, P)
            Fluxes and standard deviations, in any unit.
        mask : (N, P) bool, optional
            True: ignore this pixel.

        Returns
        -------
        list of N
            For each star, its answer or the reason why there is none.
        """
        given = self._checked(flux, error, mask)
        answers: list[Inference | Blase3dError] = []
        for start in range(0, len(given[0]), self.at_once):
            chosen = slice(start, start + self.at_once)
            batch = [None if rows is None else rows[chosen] for rows in given]
            answers += self._batch(*batch)  # type: ignore[arg-type]
        return answers

    def _checked(
        self, flux: ArrayLike, error: ArrayLike, mask: ArrayLike | None
    ) -> tuple[Floats, Floats, Bools | None]:
        size = self._wavelength.size
        arrays = [np.asarray(flux, np.float64), np.asarray(error, np.float64)]
        arrays += [] if mask is None else [np.asarray(mask, bool)]
        shapes = [array.shape for array in arrays]
        if len(set(shapes)) > 1 or len(shapes[0]) != 2 or shapes[0][1] != size:
            raise InputError(
                f"got fluxes, errors and masks of shape {', '.join(map(str, shapes))}, expected "
                f"(stars, {size}) for each; give one row for each star."
            )
        return arrays[0], arrays[1], None if mask is None else arrays[2]  # type: ignore[return-value]

    def _spectrum(self, flux: Floats, error: Floats, mask: Bools | None) -> Spectrum:
        known: dict[str, Any] = {"resolution": self._resolution, "meta": self._meta}
        return Spectrum(self._wavelength, flux, error, mask, **known)  # type: ignore[arg-type]

    def _problem(self, *rows: Any) -> Problem:
        settings = self._priors, self._fixed, self._options
        return problem_of(self._spectrum(*rows), self._model, *settings)

    def _batch(
        self, flux: Floats, error: Floats, mask: Bools | None
    ) -> list[Inference | Blase3dError]:
        begin = time.perf_counter()
        masks = [None] * len(flux) if mask is None else mask
        rows = list(zip(flux, error, masks, strict=True))
        found: list[Any] = [attempt(partial(self._problem, *one)) for one in rows]
        ready = [k for k, one in enumerate(found) if isinstance(one, Problem)]
        together = [k for k in ready if _is_whole(found[k])]
        for k in sorted(set(ready) - set(together)):
            found[k] = attempt(partial(self._alone, *rows[k]))
        answers = attempt(lambda: list(self._answers([found[k] for k in together])))
        if isinstance(answers, Blase3dError):  # of any star
            answers = [attempt(partial(self._alone, *rows[k])) for k in together]
        for k, answer in zip(together, answers, strict=True):
            found[k] = answer
        seconds = (time.perf_counter() - begin) / len(flux)
        return [
            replace(one, seconds=seconds) if isinstance(one, Inference) else one for one in found
        ]

    def _alone(self, *rows: Any) -> Inference:
        fixed = dict(self._fixed or {})
        if "dilution" not in (self._priors or {}):
            fixed.setdefault("dilution", 0.0)  # as of the stars that are fitted together
        settings: dict[str, Any] = {"priors": self._priors, "fixed": fixed, **self._options}
        return infer(self._spectrum(*rows), self._model, **settings)

    def _answers(self, problems: list[Problem]) -> Iterator[Inference | Blase3dError]:
        if not problems:
            return
        many = ManyLikelihoods(self._table, problems)
        found = many.minima(*many_starts(self._templates, problems))
        order = np.lexsort((many.total_chi2(found), found.star))
        first = np.searchsorted(found.star[order], np.arange(len(problems)))
        best = many.settled(found.take(order[first]))
        ends = [*first[1:], len(order)]
        for solution, start, end in zip(many.solutions(best), first, ends, strict=True):
            others = found.take(order[start + 1 : end])
            yield attempt(partial(_answer, self._model, many, solution, others))


def _answer(model: Model, many: ManyLikelihoods, solution: Solution, others: Searches) -> Inference:
    if not np.isfinite(solution.chi2):
        raise SpectrumError(
            "chi-square of this spectrum is not finite, expected a number; look at its flux and "
            "errors."
        )
    minima = [many.solution(others, number) for number in range(len(others))]
    return answer_of(Outcome([solution, *minima], solution.converged), model, "gradient", 0.0)


def _received(token: str, model: Model, wavelength: Floats, made_of: dict[str, Any]) -> Survey:
    """The survey of a token, which is made of these arguments at first."""
    if token not in _SURVEYS:
        _SURVEYS.clear()
        _SURVEYS[token] = Survey(model, wavelength, medium="vacuum", **made_of)
    return _SURVEYS[token]


def _any_flux(count: int) -> NDArray[np.float64]:
    """A flux (P,) that no check of data refuses."""
    return np.asarray(1.0 + 0.1 * np.sin(np.arange(count)))


def _check(example: Problem) -> None:
    """Raise InputError for settings that need another flux for every star."""
    if "resolution" in example.free:
        raise InputError(
            "got a free resolution, expected one for all stars; use infer_many to fit it."
        )
    if example.options.integrate:
        raise InputError(
            "got integrate=True, expected a resolution that includes the pixels; use infer_many."
        )


def _is_whole(problem: Problem) -> bool:
    """Whether the unmasked pixels span most of the range of wavelengths."""
    wavelength = problem.spectrum.wavelength
    used = wavelength[problem.spectrum.good]
    return bool(used[-1] - used[0] > _COVERED * (wavelength[-1] - wavelength[0]))
