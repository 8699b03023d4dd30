"""Many spectra: the same question for each, on any executor, none stopping the others."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import Blase3dError, MissingExtra, SpectrumError
from ..model.model import Model
from ..runtime.executor import run
from ..spectra.formats import read_spectrum
from ..spectra.spectrum import Spectrum
from .result import Inference

_MODELS: dict[str, Model] = {}
"""Models that this process was sent, so that what is compiled and cached for one is used again."""
_CHUNK = 8
"""Spectra that are sent to an executor together: the model goes with each such chunk."""


def infer_many(
    spectra: Iterable[Spectrum | str | Path],
    model: Model,
    *,
    executor: Executor | None = None,
    medium: str | None = None,
    **settings: Any,
) -> Iterator[tuple[int, Inference | Blase3dError]]:
    """Labels of many stars.

    Parameters
    ----------
    spectra : iterable of Spectrum or paths
        Files are read where they are fitted.
    model : Model
        The library.
    executor : Executor, optional
        Any of `concurrent.futures`, or a Dask client's; without one everything runs here.
    medium : str, optional
        `air` or `vacuum`, for files that do not say.
    **settings
        As for `infer`.

    Yields
    ------
    (int, Inference or Blase3dError)
        The place of the spectrum in the input, and its answer, or why it has none; in the order in
        which they are finished.

    Raises
    ------
    MissingExtra
        The method needs a package that is not installed.
    """
    one = partial(_attempt, medium=medium, settings=settings)
    if executor is None:
        for place, spectrum in enumerate(spectra):
            yield place, _raised(one(model, spectrum))
        return
    task = partial(_chunk, _Sent(model, uuid.uuid4().hex), one)
    for _, answers in run(task, _chunks(spectra), executor):
        if isinstance(answers, Blase3dError):
            raise answers
        for place, answer in answers:
            yield place, _raised(answer)


def _raised(answer: Inference | Blase3dError) -> Inference | Blase3dError:
    if isinstance(answer, MissingExtra):  # the same for all of them
        raise answer
    return answer


def _chunks(
    spectra: Iterable[Spectrum | str | Path],
) -> Iterator[list[tuple[int, Spectrum | str | Path]]]:
    chunk: list[tuple[int, Spectrum | str | Path]] = []
    for item in enumerate(spectra):
        chunk.append(item)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


@dataclass(frozen=True, eq=False)
class _Sent:
    """A model on its way to other processes, which keep the first of each token."""

    model: Model
    token: str

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (self.model, self.token)


def _received(model: Model, token: str) -> _Sent:
    if token not in _MODELS:
        _MODELS.clear()
        _MODELS[token] = model
    return _Sent(_MODELS[token], token)


def _chunk(
    sent: _Sent, one: Any, chunk: list[tuple[int, Any]]
) -> list[tuple[int, Inference | Blase3dError]]:
    return [(place, one(sent.model, spectrum)) for place, spectrum in chunk]


def _attempt(
    model: Model,
    spectrum: Spectrum | str | Path,
    medium: str | None,
    settings: dict[str, Any],
) -> Inference | Blase3dError:
    from . import infer

    try:
        if not isinstance(spectrum, Spectrum):
            spectrum = read_spectrum(spectrum, medium)
        return infer(spectrum, model, **settings)
    except Blase3dError as error:
        return error
    except Exception as error:  # whatever it is, the other spectra go on
        return SpectrumError(
            f"this spectrum cannot be fitted ({type(error).__name__}: {error}); look at its flux "
            "and errors."
        )
