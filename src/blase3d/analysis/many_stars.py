"""Labels of one of many stars: by the model that is given, or by those that cover its spectrum."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..errors import Blase3dError, InputError
from ..inference import infer
from ..inference.batch import SentModel, attempt, observed
from ..inference.result import Inference
from ..inference.table import Row, flat_row
from ..model.identity import model_checksum
from ..model.installed import InstalledModel
from ..model.model import Model
from ..runtime.executor import run
from ..runtime.progress import Progress, silent
from ..spectra.formats.stack import Stack
from .selection import infer_by_chosen, loaded_model, select

if TYPE_CHECKING:
    from ..inference.survey.survey import Survey

_LOG = logging.getLogger("blase3d.survey")
_FEWEST = 500
"""Stars of a stack that are fitted together, at least: the table takes as long as some 400 single
fits."""
_ASKED = 5
"""Stars that decide whether a survey has the lines of the library or those of real stars."""


@dataclass(frozen=True, eq=False)
class LabelledStar:
    """A star of many.

    Attributes
    ----------
    name : str
        Name of the spectrum.
    models : tuple of str
        Names of the models.
    answer : Inference or Blase3dError
        Its labels, or the reason why there are none.
    reasons : tuple of str
        Why these models were taken.
    """

    name: str
    models: tuple[str, ...]
    answer: Inference | Blase3dError
    reasons: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return names and numbers, as in the JSON output; or the `error`."""
        row: dict[str, Any] = {"spectrum": self.name}
        if self.models:
            row["model"] = ", ".join(self.models)
        if isinstance(self.answer, Blase3dError):
            return {**row, "error": str(self.answer)}
        return {**row, **self.answer.to_dict()}

    def row(self) -> Row:
        """Return the row of a table."""
        return flat_row(self.to_dict())


@dataclass(frozen=True, eq=False)
class Labeller:
    """Labels stars one by one; it can be sent to other processes.

    Attributes
    ----------
    given : (str, SentModel) or None
        Name of the model, and the model. None: it is chosen by the pixels that it covers.
    installed : sequence of InstalledModel
        Models to choose from.
    reading, settings : dict
        Arguments of `read_spectrum` and of `infer`.
    """

    given: tuple[str, SentModel] | None
    installed: Sequence[InstalledModel]
    reading: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def identity(self) -> dict[str, str]:
        """Checksums of the models by their names."""
        if self.given is not None:
            return {self.given[0]: model_checksum(self.given[1].model)}
        return {one.name: model_checksum(loaded_model(one.path)) for one in self.installed}

    def models(self, star: LabelledStar) -> dict[str, Model]:
        """Return the models of a star by name."""
        if self.given is not None:
            return {self.given[0]: self.given[1].model}
        return {m.name: loaded_model(m.path) for m in self.installed if m.name in star.models}

    def __call__(self, entry: Any) -> LabelledStar:
        """Return the labels of a star."""
        if self.given is None:
            found = attempt(lambda: self._by_coverage(entry))
            return found if isinstance(found, LabelledStar) else LabelledStar(entry.name, (), found)
        name, sent = self.given
        answer = attempt(lambda: infer(observed(entry, self.reading), sent.model, **self.settings))
        return LabelledStar(entry.name, (name,), answer)

    def row(self, entry: Any) -> Row:
        """Return the labels of a star as the row of a table, which is small."""
        return self(entry).row()

    def _by_coverage(self, entry: Any) -> LabelledStar:
        """Label a star by the models that cover its spectrum. Methods but `gradient` take one."""
        star = observed(entry, self.reading)
        found = select(star, self.installed, self.settings)
        taken, reasons = found.models, found.reasons
        if self.settings["method"] != "gradient" and len(taken) > 1:
            unused = ", ".join(one.name for one in taken[1:])
            reasons += (f"{taken[0].name} alone is used, not {unused}",)
            taken = taken[:1]
        models = {one.name: loaded_model(one.path) for one in taken}
        labelled = attempt(lambda: infer_by_chosen({entry.name: star}, models, self.settings))
        if isinstance(labelled, Blase3dError):
            return LabelledStar(entry.name, tuple(models), labelled, reasons)
        by, reasons = tuple(labelled.models), reasons + labelled.reasons
        return LabelledStar(entry.name, by, labelled.answer, reasons)


def fitted_together(
    stack: Stack,
    labeller: Labeller,
    done: Collection[str],
    pool: Executor | None = None,
    progress: Progress = silent,
) -> Iterator[Row] | None:
    """Return the rows of the stars of a stack that are not done, fitted together by `Survey`, in
    the processes of a pool if there is one; None where that is not possible, or not worth its
    preparation."""
    many = len(stack.names) - len(done) >= _FEWEST
    survey = _survey(stack, labeller, progress) if many else None
    if survey is None or labeller.given is None:
        return None
    return _rows(_parts(stack, done, survey.at_once), labeller.given[0], survey, pool)


def _survey(stack: Stack, labeller: Labeller, progress: Progress) -> Survey | None:
    settings = dict(labeller.settings)
    resolution = set() if stack.resolution is None else set(stack.resolution)
    method = settings.pop("method")
    if labeller.given is None or method != "gradient" or len(resolution) != 1:
        return None
    if not stack.has_errors:
        return None
    meta = dict(stack.meta)
    known = {"medium": meta.pop("medium"), "resolution": resolution.pop(), "meta": meta}
    settings = {name: one for name, one in settings.items() if name not in ("seed", "draws")}
    from ..inference.survey.survey import Survey  # loads JAX

    _LOG.info("the flux is tabulated for the instrument, which takes a minute or two")
    try:
        model = _with_better_lines(labeller.given[1].model, stack, labeller)
        return Survey(model, stack.wavelength, progress=progress, **known, **settings)
    except InputError as reason:
        _LOG.info("stars are fitted one by one: %s", reason)
        return None


def _with_better_lines(model: Model, stack: Stack, labeller: Labeller) -> Model:
    """A model with the lines, of its library or of real stars, that most of the first stars
    have."""
    if not model.lines_of_stars:
        return model
    answers = [labeller(row).answer for row in islice(stack.rows(), _ASKED)]
    whose = [one.model_identity["lines"] for one in answers if isinstance(one, Inference)]
    return model.with_library_lines() if 2 * whose.count("library") > len(whose) else model


@dataclass(frozen=True, eq=False)
class _Part:
    """Stars of a stack: their names, and the rows of flux, error and mask by name."""

    names: list[str]
    arrays: dict[str, NDArray[Any]]

    def single(self) -> Iterator[_Part]:
        """Each star as a part of its own."""
        for k, name in enumerate(self.names):
            yield _Part([name], {key: rows[k : k + 1] for key, rows in self.arrays.items()})


def _parts(stack: Stack, done: Collection[str], at_once: int) -> Iterator[_Part]:
    """Yield the stars that are not done, some at once."""
    for span, arrays in stack.blocks():
        names = stack.names[span]
        left = [i for i, name in enumerate(names) if name not in done]
        for start in range(0, len(left), at_once):
            chosen = left[start : start + at_once]
            rows = {name: values[chosen] for name, values in arrays.items()}
            yield _Part([names[i] for i in chosen], rows)


def _rows(
    parts: Iterator[_Part], model: str, survey: Survey, pool: Executor | None
) -> Iterator[Row]:
    """Yield the rows of all stars. One star may kill the worker of its part: the stars of a part
    that is given up are fitted one by one."""
    task = partial(_rows_of, survey, model)
    lost: list[_Part] = []
    for part, found in run(task, parts, pool):
        if isinstance(found, InputError):
            lost += part.single()
        else:
            yield from found
    for part, found in run(task, lost, pool):
        if isinstance(found, InputError):
            yield LabelledStar(part.names[0], (model,), found).row()
        else:
            yield from found


def _rows_of(survey: Survey, model: str, part: _Part) -> list[Row]:
    answers = survey.infer(**part.arrays)
    pairs = zip(part.names, answers, strict=True)
    return [LabelledStar(name, (model,), answer).row() for name, answer in pairs]
