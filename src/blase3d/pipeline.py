"""Cloning a whole grid: spectra to lines, in an archive that an interrupted run goes on from.

    each node ─► normalised, and cloned (recipes that clone nodes by themselves)
    each window of wavelength, in rounds ─► lines of all nodes at once (joint recipes)

Items of work are independent of each other and of who does them, so that any number of workers
gives the same result. What a round starts from is what all windows ended with in the round before.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .archive import Archive, create_archive
from .cloning import Clone, check_normalised, clone_spectrum
from .errors import CloneError, InputError
from .farm import run
from .grid import Grid
from .manifold import coordinates, smooth_modes
from .normalise import normalise
from .progress import Progress, silent
from .recipe import Recipe
from .spectrum import Spectrum
from .surface import (
    Surface,
    depth_of,
    detect_surface,
    farthest,
    fit_surface,
    joined,
    with_missing,
)

Item = TypeVar("Item")


def clone(
    grid: Grid,
    path: str | Path,
    recipe: Recipe,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Archive:
    """Clone every node of a grid into the archive at `path`; what is already there is kept.

    A node that cannot be cloned is kept as `archive.failed` and the others go on.

    Raises
    ------
    ArchiveError
        There are clones of another grid or recipe at `path`.
    CloneError
        No node can be cloned, or no line is found.
    """
    archive = create_archive(path, grid, recipe)
    _clone_nodes(grid, archive, executor, progress)
    if len(archive.failed) == len(grid):
        raise CloneError(f"no node can be cloned; the first: {next(iter(archive.failed.values()))}")
    if recipe.catalogue == "joint":
        _fit_windows(archive, executor, progress)
    return archive


@dataclass(frozen=True, eq=False)
class _Node:
    """A node on its way to a worker: its spectrum, or why there is none."""

    index: int
    spectrum: Spectrum | InputError
    teff: float | None


def _clone_nodes(
    grid: Grid, archive: Archive, executor: Executor | None, progress: Progress
) -> None:
    todo = _from_here([i for i in range(len(grid)) if not archive.is_done(i)])
    done = len(grid) - len(todo)
    progress("clone", done, len(grid))
    for item, result in run(
        partial(_clone_node, recipe=archive.recipe), _nodes(grid, archive, todo), executor
    ):
        if isinstance(result, InputError):
            archive.write_failed(item.index, str(result))
        elif not archive.is_done(item.index):  # by another farm, meanwhile
            archive.write(item.index, result)
        done += 1
        progress("clone", done, len(grid))
    progress("clone", len(grid), len(grid))


def _from_here(items: list[Item]) -> list[Item]:
    """The items from another one on in each process, so that two farms on one archive share the
    work instead of doing it twice."""
    start = os.getpid() % max(len(items), 1)
    return items[start:] + items[:start]


def _nodes(grid: Grid, archive: Archive, todo: Iterable[int]) -> Iterator[_Node]:
    """Spectra are read as they are needed, here, so that workers need no access to the grid."""
    for i in todo:
        if archive.is_done(i):
            continue
        spectrum: Spectrum | InputError
        try:
            spectrum = grid[i]
        except InputError as error:
            spectrum = error
        yield _Node(i, spectrum, grid.labels_of(i).get("teff"))


def _clone_node(item: _Node, recipe: Recipe) -> Clone:
    if isinstance(item.spectrum, InputError):
        raise item.spectrum
    spectrum = normalise(item.spectrum, recipe, item.teff)
    if recipe.catalogue == "joint":
        check_normalised(spectrum)
        return Clone(spectrum.flux.astype(np.float32))
    return clone_spectrum(spectrum, recipe)


@dataclass(frozen=True)
class Window:
    """Pixels that are fitted together: its `own`, and `fitted`, which reach beyond them."""

    own: slice
    fitted: slice


def windows(n_pixels: int, recipe: Recipe) -> list[Window]:
    """The windows of a spectrum: of one size, so that one compilation serves them."""
    count = max(round(n_pixels / recipe.window), 1)
    size = -(-n_pixels // count)
    count = -(-n_pixels // size)  # rounding up may have used up the last
    wide = min(size + 2 * recipe.margin, n_pixels)
    found = []
    for k in range(count):
        first = min(max(k * size - recipe.margin, 0), n_pixels - wide)
        own = slice(k * size, min((k + 1) * size, n_pixels))
        found.append(Window(own, slice(first, first + wide)))
    return found


@dataclass(frozen=True, eq=False)
class _WindowTask:
    """One window in one round: its pixels at all nodes, and the lines to start from (None: they
    are to be detected), with those from elsewhere that reach in."""

    number: int
    round_number: int
    wavelength: NDArray[np.float64]
    flux: NDArray[np.float32]
    own: slice
    modes: NDArray[np.float64]
    start: Surface | None
    far: Surface | None


def _fit_windows(archive: Archive, executor: Executor | None, progress: Progress) -> None:
    recipe = archive.recipe
    cuts = windows(archive.wavelength.size, recipe)
    rounds, nodes = recipe.rounds + 1, nodes_of(archive)
    for number in range(rounds):
        stage = f"fit lines, round {number + 1} of {rounds}"
        done = sum(_fitted(archive, k, number, nodes) is not None for k in range(len(cuts)))
        progress(stage, done, len(cuts))
        tasks = _window_tasks(archive, cuts, number)
        for item, result in run(partial(_fit_window, recipe=recipe), tasks, executor):
            if isinstance(result, InputError):
                low, high = item.wavelength[[0, -1]]
                raise CloneError(f"the lines from {low:.0f} to {high:.0f} Å: {result}")
            if _fitted(archive, item.number, number, nodes) is None:
                archive.write_window(item.number, number, *result)
            done += 1
            progress(stage, done, len(cuts))
    if len(surface_of(archive)) == 0:
        raise CloneError(
            f"no line deeper than {recipe.prominence} was found at any node; lower the prominence."
        )


def _window_tasks(archive: Archive, cuts: list[Window], round_number: int) -> Iterator[_WindowTask]:
    nodes = nodes_of(archive)
    modes = node_modes(archive)
    wavelength = archive.wavelength
    whole = surface_of(archive, round_number - 1) if round_number else None
    reaching = None if whole is None else farthest(whole, modes, archive.recipe)
    for number, window in _from_here(list(enumerate(cuts))):
        if _fitted(archive, number, round_number, nodes) is not None:
            continue
        part = wavelength[window.fitted]
        flux = np.stack([archive.flux_part(i, window.fitted) for i in nodes])
        start = far = None
        if whole is not None and reaching is not None:
            near = _within(whole.reference, wavelength, window.fitted)
            start = whole.take(near)
            reaches = (whole.reference + reaching > part[0]) & (
                whole.reference - reaching < part[-1]
            )
            far = whole.take(reaches & ~near)
        first = window.fitted.start
        own = slice(window.own.start - first, window.own.stop - first)
        yield _WindowTask(number, round_number, part, flux, own, modes, start, far)


def _fitted(
    archive: Archive, number: int, round_number: int, nodes: NDArray[np.int64]
) -> tuple[Surface, NDArray[np.float64]] | None:
    """What the archive has of a window after a round, if it was fitted to all of these nodes (one
    that could not be cloned before may have come back)."""
    found = archive.window(number, round_number)
    return found if found is not None and found[1].size == nodes.size else None


def _within(
    reference: NDArray[np.float64], wavelength: NDArray[np.float64], pixels: slice
) -> NDArray[np.bool_]:
    """Which lines belong to these pixels; those beyond the ends of all belong to the last."""
    low = -np.inf if pixels.start == 0 else wavelength[pixels.start]
    high = np.inf if pixels.stop == wavelength.size else wavelength[pixels.stop]
    return (reference >= low) & (reference < high)


def _fit_window(task: _WindowTask, recipe: Recipe) -> tuple[Surface, NDArray[np.float64]]:
    """The lines of a window after a round, those to be added for the next included, and the
    summed squared misfit of each node in its own pixels."""
    wave, flux, modes = task.wavelength, task.flux, task.modes
    start = task.start
    if start is None:
        start = detect_surface(wave, flux, modes, recipe)
    background = None
    if task.far is not None and len(task.far):
        background = depth_of(task.far, wave, modes, recipe)
    fitted, model = fit_surface(
        start, wave, flux, modes, recipe, background, seed=task.round_number
    )
    squares = np.sum((model - flux)[:, task.own].astype(np.float64) ** 2, axis=1)
    if task.round_number < recipe.rounds:
        fitted = with_missing(fitted, wave, flux, model, modes, recipe)
    return fitted, squares


def nodes_of(archive: Archive) -> NDArray[np.int64]:
    """Indices of the nodes that could be cloned."""
    return np.setdiff1d(np.arange(len(archive)), list(archive.failed))


def node_modes(archive: Archive) -> NDArray[np.float64]:
    """The smooth functions that lines follow, at the nodes that could be cloned, (N, K)."""
    shape = tuple(len(axis) for axis in archive.axes.values())
    place = np.ravel_multi_index(tuple(archive.box_index[nodes_of(archive)].T), shape)
    return smooth_modes(coordinates(archive.axes), archive.recipe.modes)[place]


def surface_of(archive: Archive, round_number: int | None = None) -> Surface:
    """The lines of all windows after a round (None: the last).

    Raises
    ------
    CloneError
        A window has not been fitted.
    """
    number = archive.recipe.rounds if round_number is None else round_number
    parts, nodes = [], nodes_of(archive)
    for k, window in enumerate(windows(archive.wavelength.size, archive.recipe)):
        found = _fitted(archive, k, number, nodes)
        if found is None:
            raise CloneError(
                f"window {k} of {archive.path} has not been fitted, or is damaged; run blase3d "
                "clone again to finish."
            )
        surface = found[0]
        parts.append(surface.take(_within(surface.reference, archive.wavelength, window.own)))
    return joined(parts)


def misfits(archive: Archive) -> NDArray[np.float64]:
    """rms misfit of the clone of every node, (N,); NaN of those that failed."""
    found = np.full(len(archive), np.nan)
    nodes = nodes_of(archive)
    if archive.recipe.catalogue != "joint":
        found[nodes] = [archive[int(i)].misfit for i in nodes]
        return found
    cuts = windows(archive.wavelength.size, archive.recipe)
    last = archive.recipe.rounds
    windows_done = [_fitted(archive, k, last, nodes) for k in range(len(cuts))]
    squares = sum(done[1] for done in windows_done if done is not None)
    found[nodes] = np.sqrt(squares / archive.wavelength.size)
    return found
