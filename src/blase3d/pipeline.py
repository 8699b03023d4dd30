"""The chain over a whole grid: `clone` turns it into an archive of lines, `build` into a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
from numpy.typing import NDArray

from .archive import Archive, create_archive, software_versions
from .catalogue import cluster, equal_lines
from .cloning import Clone, clone_spectrum, detect_lines, missing_lines
from .errors import CloneError, InputError
from .farm import run
from .grid import Grid, grid_of
from .lines import Lines
from .manifold import fill_holes, smoothing
from .model import Model, emulator_error, make_model, model_layout, strength
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
    """The archive, the indices cloned now, and why others could not be."""

    archive: Archive
    cloned: tuple[int, ...]
    failed: dict[int, str]


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
    cloned: set[int] = set()
    failed: dict[int, str] = {}
    begun = archive.surface()
    for sweep in range(begun[1] if begun is not None else 1, _sweeps(recipe) + 1):
        todo = [i for i in range(len(grid)) if i not in failed and not archive.is_done(i, sweep)]
        if not todo:
            continue
        start = _start_of_sweep(grid, archive, sweep, executor, progress)
        items = _items(grid, todo, recipe, start)
        task = partial(_clone_node, recipe=recipe, stiffness=_stiffness(recipe, sweep))
        done = len(grid) - len(todo)
        stage = f"clone, sweep {sweep} of {_sweeps(recipe)}" if start is not None else "clone"
        progress(stage, done, len(grid))
        for item, result in run(task, items, executor):
            if isinstance(result, InputError):
                failed[item.index] = str(result)
            else:
                archive.write(item.index, result, sweep)
                cloned.add(item.index)
            done += 1
            progress(stage, done, len(grid))
        if len(failed) == len(grid):
            raise CloneError(f"no node can be cloned; the first: {next(iter(failed.values()))}")
    still = {i: reason for i, reason in archive.failed.items() if i not in cloned}
    archive.write_failed({**still, **failed})
    return CloneReport(archive, tuple(sorted(cloned)), failed)


def _sweeps(recipe: Recipe) -> int:
    return recipe.sweeps if recipe.catalogue == "tolerant" else 1


def _stiffness(recipe: Recipe, sweep: int) -> float:
    """Ten times less in each sweep before the last: first the lines find their places."""
    return recipe.stiffness * 10.0 ** (sweep - recipe.sweeps)


def _start_of_sweep(
    grid: Grid, archive: Archive, sweep: int, executor: Executor | None, progress: Progress
) -> _Surface | None:
    """Line parameters at every node that a sweep starts from; None where nodes stand alone.

    They are kept in the archive, so that a sweep that was interrupted goes on as it began.
    """
    recipe = archive.recipe
    if recipe.catalogue != "tolerant":
        return None
    catalogue = archive.catalogue()
    if catalogue is None:
        catalogue = make_catalogue(grid, recipe, executor, progress)
        archive.write_catalogue(catalogue)
    kept = archive.surface()
    if kept is not None and kept[1] == sweep:
        return _Surface(catalogue.reference, kept[0])
    if sweep == 1:
        params = _first_surface(grid, catalogue, recipe)
    else:
        before = [archive.finished(i, sweep - 1) for i in range(len(grid))]
        present = np.array([lines is not None for lines in before])
        values = np.stack([lines.params for lines in before if lines is not None])
        matrix = smoothing(list(grid.axes.values()), grid.box_index, present, recipe.smoothing)
        params = np.tensordot(matrix, values, axes=1).astype(np.float32)
    archive.write_surface(params, sweep)
    return _Surface(catalogue.reference, params)


@dataclass(frozen=True, eq=False)
class _Surface:
    """Lines of a catalogue at every node: `reference` (C,), `params` (N, C, 4)."""

    reference: NDArray[np.float64]
    params: NDArray[np.float32]

    def __getitem__(self, i: int) -> Lines:
        return Lines(self.reference, self.params[i])


def _first_surface(grid: Grid, catalogue: Lines, recipe: Recipe) -> NDArray[np.float32]:
    """The catalogue's lines at every node, their areas in proportion to what is absorbed there.

    A catalogue line has the parameters of its strongest detection, so the areas are scaled by
    the optical depth at its centre relative to that of the node that absorbs most.
    """
    depth = np.full((len(grid), len(catalogue)), np.nan)
    for item in _items(grid, range(len(grid)), recipe):
        if isinstance(item.spectrum, Spectrum):
            flux = np.interp(catalogue.reference, grid.wavelength, item.spectrum.flux)
            depth[item.index] = -np.log(np.clip(flux, 1e-2, 1.0 - 1e-4))
    ratio = np.clip(depth / np.nanmax(depth, axis=0), 1e-3, 1.0)
    params = np.tile(catalogue.params, (len(grid), 1, 1))
    params[:, :, 1] += np.log(np.where(np.isnan(ratio), 1.0, ratio))
    return params


@dataclass(frozen=True, eq=False)
class _Item:
    """A node on its way to a worker: its normalised spectrum, or why there is none, and the
    lines it starts from (None: they are to be detected)."""

    index: int
    spectrum: Spectrum | InputError
    start: Lines | None


def _items(
    grid: Grid, nodes: Iterable[int], recipe: Recipe, start: _Surface | None = None
) -> Iterator[_Item]:
    """Spectra are read as they are needed, here, so that workers need no access to the grid."""
    for i in nodes:
        spectrum: Spectrum | InputError
        try:
            spectrum = normalise(grid[i], recipe, grid.labels_of(i).get("teff"))
        except InputError as error:
            spectrum = error
        yield _Item(i, spectrum, None if start is None else start[i])


def _clone_node(item: _Item, recipe: Recipe, stiffness: float) -> Clone:
    if isinstance(item.spectrum, InputError):
        raise item.spectrum
    return clone_spectrum(item.spectrum, recipe, item.start, stiffness)


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
    found, faults = [], []
    for item in _items(grid, range(len(grid)), recipe):
        if isinstance(item.spectrum, Spectrum):
            found.append(detect_lines(item.spectrum, recipe))
        else:
            faults.append(item.spectrum)
        progress("detect", item.index + 1, len(grid))
    if not found:
        raise CloneError(f"no node can be cloned; the first: {faults[0]}")
    catalogue = cluster(found, recipe.tolerance)
    if len(catalogue) == 0:
        raise CloneError(
            f"no line deeper than {recipe.prominence} was found at any node; lower the prominence."
        )
    scouts = spread(grid.box_index, recipe.scouts)
    for k in range(recipe.rounds):
        surface = _Surface(catalogue.reference, _first_surface(grid, catalogue, recipe))
        items = _items(grid, scouts, recipe, surface)
        more = []
        for n, (_, result) in enumerate(run(partial(_missing, recipe=recipe), items, executor)):
            if isinstance(result, Lines):
                more.append(result)
            progress(f"catalogue, round {k + 1}", n + 1, len(scouts))
        added = cluster(more, recipe.tolerance, catalogue)
        if len(added) == 0:
            break
        catalogue = catalogue.merged(added)
    return catalogue


def _missing(item: _Item, recipe: Recipe) -> Lines:
    clone = _clone_node(item, recipe, _stiffness(recipe, 1))
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
    }
    model = make_model(archive.wavelength, grid.axes, reference, lines, residual, recipe, meta)
    meta["node_rms"] = _node_errors(model, grid, flux, residual=True)
    meta["node_lines_rms"] = _node_errors(model, grid, flux, residual=False)
    return replace(model, error_modes=emulator_error(model))


def _node_errors(
    model: Model, grid: Grid, flux: NDArray[np.float32], *, residual: bool
) -> list[float]:
    """rms over the pixels of model minus library, at every node."""
    errors = []
    for i, truth in enumerate(flux):
        difference = np.asarray(model.flux(**grid.labels_of(i), residual=residual)) - truth
        errors.append(float(np.sqrt(np.mean(difference.astype(np.float64) ** 2))))
    return errors


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
