"""Many stars: each inferred alike, on any executor; a failure stops no other."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import Blase3dError, MissingExtra, SpectrumError
from ..model.model import Model
from ..runtime.arrays import DEFAULT_FLOATING_POINT
from ..runtime.executor import run
from ..spectra.formats import read_spectrum
from ..spectra.spectrum import Spectrum
from .result import Inference
from .single import infer

_MODELS: dict[str, Model] = {}
"""Model that this process was sent, by its token: compiled functions and caches stay with it."""
_CHUNK = 8
"""Spectra in one task of an executor: the model is sent with each task."""


def infer_many(
    spectra: Iterable[Any],
    model: Model,
    *,
    executor: Executor | None = None,
    medium: str | None = None,
    columns: Mapping[str, str] | None = None,
    unit: str | None = None,
    source: str | None = None,
    wavelengths: str | Path | None = None,
    **settings: Any,
) -> Iterator[tuple[int, Inference | Blase3dError]]:
    """Infer the labels of many stars.

    Parameters
    ----------
    spectra : iterable of Spectrum, paths, specutils.Spectrum or astropy tables
        Observations. Files are read by the process that infers them.
    model : Model
        Model of a library.
    executor : Executor, optional
        An executor of `concurrent.futures`, or of a Dask client; None: this process. Processes
        must be spawned, not forked.
    medium : str, optional
        `air` or `vacuum`, for observations that do not state it.
    columns, unit, source, wavelengths : optional
        Arguments of `read_spectrum`, for files that do not state them.
    **settings
        Arguments of `infer`.

    Yields
    ------
    (int, Inference or Blase3dError)
        Index of the spectrum in the input, and its answer or the reason why there is none; as they
        are finished.

    Raises
    ------
    MissingExtra
        The method needs a package that is not installed.

    Examples
    --------
    >>> import blase3d as b3
    >>> model = b3.load_model("model.zip")
    >>> stars = ["star.npz", "absent.npz"]
    >>> for i, answer in b3.infer_many(stars, model, fixed={"vsini": 0.0}):
    ...     print(stars[i], type(answer).__name__)
    star.npz Inference
    absent.npz SpectrumError
    """
    reading: dict[str, Any] = {"medium": medium, "columns": columns, "unit": unit}
    reading |= {"source": source, "wavelengths": wavelengths}
    one = partial(_attempt, reading=reading, settings=settings)
    if executor is None:
        for index, spectrum in enumerate(spectra):
            yield index, _raised(one(model, spectrum))
        return
    task = partial(_infer_chunk, _SentModel(model, uuid.uuid4().hex), one)
    for _, answers in run(task, _chunks(spectra), executor):
        if isinstance(answers, Blase3dError):
            raise answers
        for index, answer in answers:
            yield index, _raised(answer)


def _chunks(spectra: Iterable[Any]) -> Iterator[list[tuple[int, Any]]]:
    numbered = enumerate(spectra)
    while chunk := list(islice(numbered, _CHUNK)):
        yield chunk


def _raised(answer: Inference | Blase3dError) -> Inference | Blase3dError:
    """The answer; a missing package is raised, since all spectra miss it."""
    if isinstance(answer, MissingExtra):
        raise answer
    return answer


@dataclass(frozen=True, eq=False)
class _SentModel:
    """A model for other processes, each of which keeps the first that it receives of a token."""

    model: Model
    token: str

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (self.model, self.token)


def _received(model: Model, token: str) -> _SentModel:
    if token not in _MODELS:
        _MODELS.clear()
        _MODELS[token] = model
    return _SentModel(_MODELS[token], token)


def _infer_chunk(
    sent: _SentModel, one: Any, chunk: list[tuple[int, Any]]
) -> list[tuple[int, Inference | Blase3dError]]:
    return [(index, one(sent.model, spectrum)) for index, spectrum in chunk]


@DEFAULT_FLOATING_POINT
def _attempt(
    model: Model,
    spectrum: Any,
    reading: dict[str, Any],
    settings: dict[str, Any],
) -> Inference | Blase3dError:
    try:
        return infer(_read(spectrum, reading), model, **settings)
    except Blase3dError as error:
        return error
    except Exception as error:  # whatever it is, the other spectra go on
        return SpectrumError(
            f"this spectrum cannot be fitted ({type(error).__name__}: {error}); look at its flux "
            "and errors."
        )


def _read(given: Any, reading: dict[str, Any]) -> Spectrum:
    """Read a spectrum. A reader whose package is not installed concerns this file alone."""
    try:
        return read_spectrum(given, **reading)
    except MissingExtra as failure:
        raise SpectrumError(str(failure)) from failure
