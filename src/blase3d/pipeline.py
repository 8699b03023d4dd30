"""The chain over a whole grid: `clone` turns it into an archive of lines, `build` into a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import numpy as np
from numpy.typing import NDArray

from .archive import Archive, create_archive, software_versions
from .catalogue import cluster, equal_lines
from .clone import Clone, clone_spectrum, missing_lines
from .detect import detect
from .errors import CloneError, InputError
from .farm import run
from .grid import Grid, grid_of
from .lines import Lines
from .manifold import fill_holes
from .model import Model, make_model, model_layout, strength
from .normalise import normalise
from .recipe import Recipe
from .render import optical_depth
from .spectrum import Spectrum

_DARKEST = 1e-4
"""Least flux of a node, so that its optical depth is finite."""

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, how many items of it are done, and how many there are."""


def silent(stage: str, done: int, total: int) -> None:
    """The progress that says nothing."""


@dataclass(frozen=True)
class CloneReport:
    """The archive, the indices cloned now, and what failed: labels and reason of each node."""

    archive: Archive
    cloned: tuple[int, ...]
    failed: dict[str, str]


def clone(
    grid: Grid,
    path: str | Path,
    recipe: Recipe,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> CloneReport:
    """Clone every node of a grid into the archive at `path`; nodes already there are kept.

    A node that cannot be cloned is reported and the others go on.

    Raises
    ------
    ArchiveError
        There are clones of another grid or recipe at `path`.
    CloneError
        No node can be cloned.
    """
    archive = create_archive(path, grid, recipe)
    open_nodes = [i for i in range(len(grid)) if not archive.is_done(i)]
    failed: dict[str, str] = {}
    catalogue = None
    if recipe.catalogue == "tolerant" and open_nodes:
        catalogue = archive.catalogue()
        if catalogue is None:
            catalogue = make_catalogue(grid, recipe, executor, progress)
            archive.write_catalogue(catalogue)
    task = partial(_clone_node, recipe=recipe, start=catalogue)
    cloned = []
    before = len(grid) - len(open_nodes)
    progress("clone", before, len(grid))
    for item, result in run(task, _items(grid, open_nodes, recipe), executor):
        if isinstance(result, InputError):
            failed[grid.describe(item.index)] = str(result)
        else:
            archive.write(item.index, result)
            cloned.append(item.index)
        progress("clone", before + len(cloned) + len(failed), len(grid))
    archive.write_failed({i: failed[d] for i in open_nodes if (d := grid.describe(i)) in failed})
    if len(failed) == len(grid):
        raise CloneError(
            f"none of the {len(grid)} nodes can be cloned; the first: {next(iter(failed.values()))}"
        )
    return CloneReport(archive, tuple(cloned), failed)


@dataclass(frozen=True, eq=False)
class _Item:
    """A node on its way to a worker: its normalised spectrum, or why there is none."""

    index: int
    spectrum: Spectrum | InputError


def _items(grid: Grid, nodes: Iterable[int], recipe: Recipe) -> Iterator[_Item]:
    """Spectra are read as they are needed, here, so that workers need no access to the grid."""
    for i in nodes:
        try:
            yield _Item(i, normalise(grid[i], recipe, grid.labels_of(i).get("teff")))
        except InputError as error:
            yield _Item(i, error)


def _clone_node(item: _Item, recipe: Recipe, start: Lines | None) -> Clone:
    if isinstance(item.spectrum, InputError):
        raise item.spectrum
    return clone_spectrum(item.spectrum, recipe, start)


def make_catalogue(
    grid: Grid, recipe: Recipe, executor: Executor | None = None, progress: Progress = silent
) -> Lines:
    """The lines of a whole grid: detections of all nodes clustered, then added where needed.

    In each of `recipe.rounds` rounds the catalogue is fitted at the *scouts*, nodes spread
    evenly over the box, and lines are added where their clones absorb too little.

    Raises
    ------
    CloneError
        Nothing is detected at any node.
    """
    found = []
    for item in _items(grid, range(len(grid)), recipe):
        if isinstance(item.spectrum, Spectrum):
            found.append(_detect(item.spectrum, recipe))
        progress("detect", item.index + 1, len(grid))
    catalogue = cluster(found, recipe.tolerance)
    if len(catalogue) == 0:
        raise CloneError(
            f"no line deeper than {recipe.prominence} was found at any node; lower the prominence."
        )
    scouts = spread(grid.box_index, recipe.scouts)
    for k in range(recipe.rounds):
        task = partial(_missing, recipe=recipe, start=catalogue)
        more = []
        for n, (_, result) in enumerate(run(task, _items(grid, scouts, recipe), executor)):
            if isinstance(result, Lines):
                more.append(result)
            progress(f"catalogue, round {k + 1}", n + 1, len(scouts))
        added = cluster(more, recipe.tolerance, catalogue)
        if len(added) == 0:
            break
        catalogue = catalogue.merged(added)
    return catalogue


def _detect(spectrum: Spectrum, recipe: Recipe) -> Lines:
    return detect(spectrum.wavelength, spectrum.flux, recipe.prominence, recipe.distance)


def _missing(item: _Item, recipe: Recipe, start: Lines) -> Lines:
    clone = _clone_node(item, recipe, start)
    assert isinstance(item.spectrum, Spectrum)
    return missing_lines(item.spectrum, clone, recipe)


def spread(box_index: NDArray[np.int64], count: int) -> list[int]:
    """Indices of `count` nodes, each as far as can be from those before it in the box."""
    place = box_index / np.maximum(box_index.max(axis=0), 1)
    chosen = [0]
    distance = np.linalg.norm(place - place[0], axis=1)
    while len(chosen) < min(count, len(place)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(place - place[chosen[-1]], axis=1))
    return chosen


def build(archive: Archive, progress: Progress = silent) -> Model:
    """The model of a finished archive: manifolds of the lines, and the residual.

    Raises
    ------
    ArchiveError
        The archive lacks nodes, or is damaged.
    """
    recipe = archive.recipe
    wanted = [i for i in range(len(archive)) if i not in archive.failed]
    nodes = []
    for i in wanted:
        nodes.append(archive[i])
        progress("read", len(nodes), len(wanted))
    flux = np.stack([node.flux for node in nodes])
    grid = grid_of(archive.wavelength, archive.labels[wanted], archive.label_names, flux)
    complete = fill_holes(list(grid.axes.values()), grid.box_index)
    reference, tables = _line_tables([node.lines for node in nodes], recipe)
    lines = _in_box(complete, tables)
    residual = None
    if recipe.residual:
        rest = _residuals(archive.wavelength, reference, tables, lines, flux, recipe, progress)
        residual = _in_box(complete, rest)
    meta = {
        "library": archive.meta["library"],
        "fingerprint": archive.meta["fingerprint"],
        "versions": {"clone": archive.meta["versions"], "build": software_versions()},
        "nodes": grid.labels.tolist(),
        "misfit": [node.misfit for node in nodes],
    }
    return make_model(archive.wavelength, grid.axes, reference, lines, residual, recipe, meta)


def _in_box(complete: NDArray[np.float64], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values at the nodes (N, ...) completed to the whole box (box, ...)."""
    return np.tensordot(complete.astype(np.float32), values, axes=1)


def _line_tables(
    lines: list[Lines], recipe: Recipe
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """References (C,) of the lines that nodes share, and their parameters (N, C, 4).

    Without a catalogue a node may lack a line: its ln area is then `recipe.missing`, and its
    other parameters are the means over the nodes that have it. (The original fills all four.)
    """
    if recipe.catalogue == "tolerant":
        return lines[0].reference, np.stack([node.params for node in lines])
    reference, places = equal_lines(lines)
    tables = np.full((len(lines), reference.size, 4), np.nan, np.float32)
    for table, node, place in zip(tables, lines, places, strict=True):
        table[place] = node.params
    mean = np.nanmean(tables, axis=0)
    mean[:, 1] = recipe.missing
    return reference, np.where(np.isnan(tables), mean, tables)


def _residuals(
    wavelength: NDArray[np.float64],
    reference: NDArray[np.float64],
    tables: NDArray[np.float32],
    lines: NDArray[np.float32],
    flux: NDArray[np.float32],
    recipe: Recipe,
    progress: Progress,
) -> NDArray[np.float32]:
    """What the lines do not express at each node, in the space of `strength`, (N, P)."""
    layout = model_layout(wavelength, reference, lines, recipe)
    depth_of_lines = jax.jit(partial(optical_depth, composition=recipe.composition))
    rest = np.empty_like(flux)
    for i, (params, observed) in enumerate(zip(tables, flux, strict=True)):
        depth = -np.log(np.maximum(observed, _DARKEST))
        rest[i] = strength(depth) - strength(depth_of_lines(params, layout))
        progress("residual", i + 1, len(flux))
    return rest
