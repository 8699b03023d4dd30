"""Cloning a whole grid: spectra to lines, in an archive that an interrupted run goes on from.

    each node ─► normalised, and cloned (recipes that clone nodes by themselves)
    each window of wavelength, in rounds ─► lines of all nodes at once (joint recipes)

Items of work are independent of each other and of who does them, so that any number of workers
gives the same result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import CloneError, InputError
from ..libraries.grid import Grid
from ..recipe import JointFit, Recipe
from ..runtime.executor import from_here, run
from ..runtime.progress import Progress, silent
from ..spectra.continuum import normalise
from ..spectra.spectrum import Spectrum
from .archive import Archive, create_archive
from .single_node import Clone, check_normalised, clone_spectrum
from .windows import fit_windows, joint_misfits

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
    failed = archive.failed
    if len(failed) == len(grid):
        raise CloneError(f"no node can be cloned; the first: {next(iter(failed.values()))}")
    if isinstance(recipe.fit, JointFit):
        fit_windows(archive, executor, progress)
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
    todo = from_here([i for i in range(len(grid)) if not archive.is_done(i)])
    done = len(grid) - len(todo)
    progress("clone", done, len(grid))
    for item, result in run(
        partial(_clone_node, recipe=archive.recipe), _nodes(grid, archive, todo), executor
    ):
        if isinstance(result, InputError):
            archive.write_failed(item.index, str(result))
        elif archive.is_done(item.index):  # by another process, meanwhile
            pass
        elif isinstance(result, Clone):
            archive.write(item.index, result)
        else:
            archive.write_spectrum(item.index, result)
        done += 1
        progress("clone", done, len(grid))
    progress("clone", len(grid), len(grid))


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


def _clone_node(item: _Node, recipe: Recipe) -> Clone | NDArray[np.float32]:
    if isinstance(item.spectrum, InputError):
        raise item.spectrum
    spectrum = normalise(item.spectrum, recipe, item.teff)
    if isinstance(recipe.fit, JointFit):
        check_normalised(spectrum)
        return spectrum.flux.astype(np.float32)
    return clone_spectrum(spectrum, recipe)


def misfits(archive: Archive) -> NDArray[np.float64]:
    """rms misfit of the clone of every node, (N,); NaN of those that failed."""
    if isinstance(archive.recipe.fit, JointFit):
        return joint_misfits(archive)
    found = np.full(len(archive), np.nan)
    for i in archive.nodes:
        found[i] = archive.clone(int(i)).misfit
    return found
