"""Clone a grid: fit lines to all its spectra, in an archive from which an interrupted run resumes.

    each node ─► normalised, and fitted (recipes with a single fit)
    each window of wavelength, in rounds ─► lines of all nodes at once (recipes with a joint fit)

Nodes, and the windows of a round, are independent of each other, so that any number of workers
gives the same result.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import CloneError, InputError
from ..libraries.grid import Grid
from ..recipe import JointFit, Recipe
from ..runtime.arrays import DEFAULT_FLOATING_POINT
from ..runtime.executor import from_here, run
from ..runtime.precision import in_float32
from ..runtime.progress import Progress, silent
from ..spectra.continuum import normalise
from ..spectra.spectrum import Spectrum
from .archive import Archive, create_archive
from .single_node import Clone, check_normalised, clone_spectrum
from .windows import fit_windows, joint_misfits

_LOG = logging.getLogger(__name__)


@in_float32
@DEFAULT_FLOATING_POINT
def clone(
    grid: Grid,
    path: str | Path,
    recipe: Recipe,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Archive:
    """Fit lines to a grid, in an archive; what is done in it is not done again.

    Parameters
    ----------
    grid : Grid
        The library.
    path : str or Path
        The archive: a folder, or an address in the form of fsspec.
    recipe : Recipe
        Settings.
    executor : Executor, optional
        Does the work; by default this process.
    progress : callable
        Called with the stage, the steps done and the steps in all.

    Returns
    -------
    Archive
        Nodes that cannot be cloned are in its `failed`.

    Raises
    ------
    ArchiveError
        There are clones of another grid or recipe at `path`.
    CloneError
        No node can be cloned, or no line is found.

    Examples
    --------
    >>> import blase3d as b3
    >>> grid = b3.open_grid("library.npz").cut(8495, 8501)
    >>> clones = b3.clone(grid, "clones.zarr", b3.get_recipe("default", rounds=0, epochs=5))
    >>> len(clones), clones.failed
    (12, {})
    >>> len(b3.open_archive("clones.zarr"))
    12
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
    """Work of one node: its spectrum, or the reason why there is none."""

    index: int
    spectrum: Spectrum | InputError
    teff: float | None


def _clone_nodes(
    grid: Grid, archive: Archive, executor: Executor | None, progress: Progress
) -> None:
    """Normalise, and fit if the recipe has a single fit, the nodes that are not done."""
    todo = from_here([i for i in range(len(grid)) if not archive.is_done(i)])
    done = len(grid) - len(todo)
    _LOG.info("%s: %d of %d nodes are done", archive.path, done, len(grid))
    progress("clone", done, len(grid))
    for item, result in run(
        partial(_clone_node, recipe=archive.recipe), _nodes(grid, archive, todo), executor
    ):
        if isinstance(result, InputError):
            _LOG.warning("node %d cannot be cloned: %s", item.index, result)
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
    """Read spectra as they are needed, in this process: workers need no access to the grid."""
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
    """Return the clone of a node, or its normalised flux (P,) for a joint fit."""
    if isinstance(item.spectrum, InputError):
        raise item.spectrum
    spectrum = normalise(item.spectrum, recipe, item.teff)
    if isinstance(recipe.fit, JointFit):
        check_normalised(spectrum)
        return spectrum.flux.astype(np.float32)
    return clone_spectrum(spectrum, recipe)


def misfits(archive: Archive) -> NDArray[np.float64]:
    """Return the rms misfit of the lines at every node, (N,); NaN where a node failed."""
    if isinstance(archive.recipe.fit, JointFit):
        return joint_misfits(archive)
    found = np.full(len(archive), np.nan)
    for i in archive.nodes:
        found[i] = archive.clone(int(i)).misfit
    return found
