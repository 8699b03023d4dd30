"""All figures of a model, in a folder with an index of captions and numbers."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...fitting.archive import Archive, software_versions
from ...libraries.grid import Grid
from ...model.model import Model
from ...runtime.arrays import DEFAULT_FLOATING_POINT
from ...runtime.files import make_folder, replacing
from ...runtime.progress import Progress, silent
from ...runtime.seed import check_seed
from ..style import Drawing, settings
from .between_nodes import line_or_pixel, reconstruction
from .label_errors import COUNT, label_residuals
from .maps import DEPTH, line_counts, line_maps
from .nodes import nodes_of, pair_of
from .overview import process
from .timing import speed

FORMATS = ("pdf", "png", "svg")
_DPI = 300
_NO_DATE: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
    "svg": {"Date": None},
}
"""Metadata left out of files, so that equal figures are equal files."""


@dataclass(frozen=True)
class Settings:
    """Settings of the figures of a model.

    Attributes
    ----------
    over : pair of str or None
        The labels of maps; Teff and log g, or the first two that vary, if None.
    line : float or None
        Å, vacuum: the line to draw; the strongest if None.
    depth : float
        Central depth of the faintest lines that are counted.
    count : int
        Number of nodes whose labels are inferred.
    seed : int
        Random seed.
    """

    over: tuple[str, str] | None = None
    line: float | None = None
    depth: float = DEPTH
    count: int = COUNT
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        line = 1.0 if self.line is None else self.line
        if not (0.0 < self.depth < 1.0 and 0.0 < line < float("inf") and self.count > 0):
            raise InputError(
                f"got a depth of {self.depth:g}, {self.count} nodes and the line {self.line}, "
                "expected a depth from 0 to 1, and the others positive; correct them."
            )


@dataclass(frozen=True)
class Written:
    """A figure in a folder; one that was left out has no file, and the reason as its caption."""

    name: str
    title: str
    caption: str
    numbers: dict[str, Any]
    file: str | None
    seconds: float


def figures_of(
    model: Model,
    settings: Settings | None = None,
    *,
    clones: Archive | None = None,
    holdout: Grid | None = None,
    progress: Progress = silent,
) -> dict[str, Callable[[], Drawing]]:
    """Return the functions that draw the figures, by name.

    Parameters
    ----------
    model : Model
        The model.
    settings : Settings, optional
        Settings of the figures.
    clones : Archive, optional
        The clones that the model was built from: nodes then have the library's own spectra.
    holdout : Grid, optional
        Spectra that were not used for the model.
    progress : callable
        Called with the progress.

    Raises
    ------
    LabelError
        The labels of the maps are unknown or do not vary.
    ArchiveError
        The clones are of another library.
    """
    chosen = settings or Settings()
    nodes = nodes_of(model, clones)
    line = chosen.line
    over = None if chosen.over is None else pair_of(model, chosen.over)
    return {
        "process": lambda: process(model, line=line, nodes=nodes),
        "line-counts": lambda: line_counts(model, over=over, depth=chosen.depth),
        "line-maps": lambda: line_maps(model, over=over, line=line),
        "reconstruction": lambda: reconstruction(model, line=line, nodes=nodes),
        "line-or-pixel": lambda: line_or_pixel(model, line=line, nodes=nodes),
        "speed": lambda: speed(model, seed=chosen.seed, progress=progress),
        "label-residuals": lambda: label_residuals(
            model,
            count=chosen.count,
            seed=chosen.seed,
            nodes=nodes,
            holdout=holdout,
            progress=progress,
        ),
    }


@DEFAULT_FLOATING_POINT
def draw_figures(
    model: Model,
    folder: str | Path,
    settings: Settings | None = None,
    *,
    only: Sequence[str] = (),
    ending: str = "pdf",
    clones: Archive | None = None,
    holdout: Grid | None = None,
    progress: Progress = silent,
) -> list[Written]:
    """Draw the figures of a model into a folder, with captions and numbers in an index.

    The index is written as `index.json` and `index.md`. A figure for which the model has too few
    labels is left out, with the reason in the index. Parameters are as for `figures_of`; `only`
    names some figures, and `ending` is one of `FORMATS`.

    Raises
    ------
    InputError
        An unknown figure or format.
    ArchiveError
        The clones are of another library.
    """
    model = model.uncalibrated()  # figures compare it with its library
    makers = figures_of(model, settings, clones=clones, holdout=holdout, progress=progress)
    _check(only, tuple(makers), "figure")
    _check([ending], FORMATS, "format")
    left_out = _too_few_labels(model)
    folder = Path(folder)
    make_folder(folder)
    chosen = [name for name in makers if not only or name in only]
    written = []
    for done, name in enumerate(chosen):
        progress("figures", done, len(chosen))
        if name in left_out:
            written.append(Written(name, name, f"Left out: {left_out[name]}.", {}, None, 0.0))
            continue
        written.append(_write(makers[name], folder, ending))
    progress("figures", len(chosen), len(chosen))
    _write_index(folder, model, written)
    return written


def _check(given: Sequence[str], known: Sequence[str], kind: str) -> None:
    if wrong := [name for name in given if name not in known]:
        raise InputError(f"got the {kind} {wrong[0]}, expected one of {', '.join(known)}.")


def _too_few_labels(model: Model) -> dict[str, str]:
    """Return the figures that a model has too few labels for, with the reason."""
    varied = [axis.size for axis in model.axes.values() if axis.size > 1]
    left_out: dict[str, str] = {}
    if not varied:
        every = ("process", "reconstruction", "label-residuals")
        left_out |= dict.fromkeys(every, "no label of the model varies")
    if len(varied) < 2:
        maps = ("line-counts", "line-maps")
        left_out |= dict.fromkeys(maps, "the model has no two labels that vary")
    if max(varied, default=0) < 3:
        left_out["line-or-pixel"] = "no label of the model has three values"
    return left_out


def _write(make: Callable[[], Drawing], folder: Path, ending: str) -> Written:
    start = time.perf_counter()
    drawing = make()
    path = folder / f"{drawing.name}.{ending}"
    with settings(), replacing(path) as partial_path, _quiet_fonts():
        drawing.figure.savefig(partial_path, format=ending, dpi=_DPI, metadata=_NO_DATE[ending])
    return Written(
        drawing.name,
        drawing.title,
        drawing.caption,
        dict(drawing.numbers),
        path.name,
        time.perf_counter() - start,
    )


@contextmanager
def _quiet_fonts() -> Iterator[None]:
    """Silence fontTools, which warns of the dates of Matplotlib's own fonts."""
    fonts = logging.getLogger("fontTools")
    level = fonts.level
    fonts.setLevel(logging.ERROR)
    try:
        yield
    finally:
        fonts.setLevel(level)


def _write_index(folder: Path, model: Model, written: Sequence[Written]) -> None:
    document = {
        "library": model.meta.get("library", {}),
        "fingerprint": model.meta.get("fingerprint"),
        "recipe": model.recipe.name,
        "versions": software_versions(),
        "figures": [
            {
                "name": figure.name,
                "file": figure.file,
                "title": figure.title,
                "caption": figure.caption,
                "numbers": figure.numbers,
                "seconds": round(figure.seconds, 1),
            }
            for figure in written
        ],
    }
    with replacing(folder / "index.json") as partial_path:
        partial_path.write_text(json.dumps(document, indent=1, ensure_ascii=False), "utf-8")
    with replacing(folder / "index.md") as partial_path:
        partial_path.write_text(_markdown(document), "utf-8")


def _markdown(document: dict[str, Any]) -> str:
    library = document["library"]
    name = library.get("library", "") if isinstance(library, dict) else library
    parts = [f"# Figures of a model of {name or 'a library'}, recipe {document['recipe']}"]
    for figure in document["figures"]:
        parts.append(f"## {figure['title']}")
        if figure["file"] and not figure["file"].endswith("pdf"):
            parts.append(f"![{figure['title']}]({figure['file']})")
        elif figure["file"]:
            parts.append(f"[{figure['file']}]({figure['file']})")
        parts.append(figure["caption"])
    return "\n\n".join(parts) + "\n"
