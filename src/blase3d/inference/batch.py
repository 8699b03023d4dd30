"""Many stars: each inferred alike, on any executor; a failure stops no other."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from ..errors import Blase3dError, InputError, MissingExtra, SpectrumError
from ..model.model import Model
from ..runtime.arrays import DEFAULT_FLOATING_POINT
from ..runtime.executor import LocalPool, run
from ..spectra.formats import read_spectrum
from ..spectra.formats.many import NamedFile
from ..spectra.formats.stack import StackRow
from ..spectra.spectrum import Spectrum
from .result import Inference
from .single import infer

_T = TypeVar("_T")
_R = TypeVar("_R")
_MODELS: dict[str, Model] = {}
"""Model that this process was sent, by its token: compiled functions and caches stay with it."""
_CHUNK = 8
"""Spectra in one task of an executor: the model is sent with each task."""


def infer_many(
    spectra: Iterable[Any],
    model: Model,
    *,
    executor: Executor | None = None,
    workers: int | None = None,
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
    workers : int, optional
        Number of processes to start instead. A script that gives it needs
        `if __name__ == "__main__":` around its work, since each process imports the script.
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
    InputError
        One spectrum is given in place of several, or a number of workers that is impossible.
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
    if isinstance(spectra, str | bytes | Path | Spectrum):
        raise InputError(f"got one spectrum, {spectra!r}, expected several; give a list of them.")
    reading: dict[str, Any] = {"medium": medium, "columns": columns, "unit": unit}
    reading |= {"source": source, "wavelengths": wavelengths}
    one = partial(_attempt_with, sent(model), reading, settings)
    with _pool(executor, workers) as pool:
        for (index, _), answer in for_each(one, enumerate(spectra), pool):
            if isinstance(answer, MissingExtra):  # all spectra miss it
                raise answer
            yield index, answer


@contextmanager
def _pool(executor: Executor | None, workers: int | None) -> Iterator[Executor | None]:
    """The executor that was given, or processes that are started here."""
    if workers is None:
        yield executor
        return
    if executor is not None:
        raise InputError(f"got an executor and workers={workers!r}; leave out one of them.")
    pool = LocalPool(workers)
    try:
        _check_start(pool)
        yield pool
    finally:
        pool.stop()


def _check_start(pool: LocalPool) -> None:
    try:
        pool.submit(abs, 0).result()
    except BrokenExecutor:
        raise InputError(
            "the worker processes ended at once: each of them imports the script that starts them; "
            "put its work below if __name__ == '__main__':, and in a file."
        ) from None


def for_each(
    function: Callable[[Any], _R], items: Iterable[_T], executor: Executor | None
) -> Iterator[tuple[_T, _R | Blase3dError]]:
    """Yield items with the results of a function, as they are finished.

    Items are drawn from an iterator as they are needed. Those whose worker dies are tried again,
    first together with those that were sent with them, then alone.
    """
    if executor is None:
        yield from ((item, function(item)) for item in items)
        return
    task, lost = partial(_of_chunk, function), []
    for chunk, found in run(task, _chunks(items), executor):
        if isinstance(found, Blase3dError):
            lost += chunk
        else:
            yield from zip(chunk, found, strict=True)
    for (item,), found in run(task, ([one] for one in lost), executor):
        yield item, found if isinstance(found, Blase3dError) else found[0]


def _chunks(items: Iterable[_T]) -> Iterator[list[_T]]:
    left = iter(items)
    while chunk := list(islice(left, _CHUNK)):
        yield chunk


def _of_chunk(function: Callable[[_T], _R], chunk: list[_T]) -> list[_R]:
    return [function(item) for item in chunk]


@dataclass(frozen=True, eq=False)
class SentModel:
    """A model for other processes, each of which keeps the first that it receives of a token."""

    model: Model
    token: str

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (self.model, self.token)


def sent(model: Model) -> SentModel:
    """Return a model in the form in which it is sent to other processes."""
    return SentModel(model, uuid.uuid4().hex)


def _received(model: Model, token: str) -> SentModel:
    if token not in _MODELS:
        _MODELS.clear()
        _MODELS[token] = model
    return SentModel(_MODELS[token], token)


def _attempt_with(
    model: SentModel,
    reading: Mapping[str, Any],
    settings: Mapping[str, Any],
    numbered: tuple[int, Any],
) -> Inference | Blase3dError:
    return attempt(lambda: infer(observed(numbered[1], reading), model.model, **settings))


@DEFAULT_FLOATING_POINT
def attempt(answer: Callable[[], _T]) -> _T | Blase3dError:
    """Return the answer for a star, or the reason why there is none."""
    try:
        return answer()
    except Blase3dError as error:
        return error
    except Exception as error:  # whatever it is, the other spectra go on
        return SpectrumError(
            f"this spectrum cannot be fitted ({type(error).__name__}: {error}); look at its flux "
            "and errors."
        )


def observed(given: Any, reading: Mapping[str, Any]) -> Spectrum:
    """Read a spectrum. A reader whose package is not installed concerns this file alone."""
    try:
        if isinstance(given, NamedFile | StackRow):
            return given.read(**reading)
        return read_spectrum(given, **reading)
    except MissingExtra as failure:
        raise SpectrumError(str(failure)) from failure
