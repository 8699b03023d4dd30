"""Joint fit of a whole archive, window by window of wavelength, in rounds.

A round starts from the lines of all windows after the round before: those of the window and its
margins, and those farther away whose wings reach in. The windows of a round are independent, so
that the result does not depend on which process fits which.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from ..errors import CloneError, InputError
from ..model.grid_basis import data_basis, grid_basis
from ..model.interpolation import box_number
from ..model.line_grid import LineGrid, joined, largest_reach
from ..model.residual import opacity_roots, pixel_sample
from ..recipe import JointFit, Recipe
from ..runtime.arrays import Bools, Floats, Integers
from ..runtime.executor import from_here, run
from ..runtime.progress import Progress
from ..runtime.rows import Rows, read_blocks
from .archive import Archive, flux_rows
from .joint_fit import (
    add_missing_lines,
    detect_line_grid,
    early_round,
    fit_line_grid,
    total_depth,
)

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitWindow:
    """Pixels that are fitted together: `core`, and `fitted`, with the margins on either side."""

    core: slice
    fitted: slice

    @property
    def core_of_fitted(self) -> slice:
        """The core in the fitted pixels."""
        first = self.fitted.start
        return slice(self.core.start - first, self.core.stop - first)


def fit_windows(archive: Archive, executor: Executor | None, progress: Progress) -> None:
    """Fit the lines of an archive that has all its nodes; what is done is not done again.

    Raises
    ------
    CloneError
        A window cannot be fitted, or no line is found in any.
    """
    fits = WindowFits(archive)
    _find_data_basis(fits, progress)
    for number in range(fits.settings.rounds + 1):
        _fit_round(fits, number, executor, progress)
    if len(fits.lines(fits.settings.rounds)) == 0:
        raise CloneError(
            f"no line deeper than {archive.recipe.detection.prominence} was found at any node; "
            "lower the prominence."
        )


def _find_data_basis(fits: WindowFits, progress: Progress) -> None:
    """Find the data-driven basis functions, unless the archive has those of its nodes."""
    archive, count = fits.archive, fits.settings.data_functions
    if count == 0 or fits.stored_data_basis() is not None:
        return
    pixels = pixel_sample(archive.wavelength.size, fits.nodes.size)
    flux = flux_rows(archive, fits.nodes, pixels, progress)
    roots = np.concatenate([opacity_roots(some) for some in read_blocks(flux)])
    archive.write_data_basis(data_basis(fits.smooth_basis, roots, count))


def _fit_round(
    fits: WindowFits, number: int, executor: Executor | None, progress: Progress
) -> None:
    """Fit the windows that have not been fitted in this round."""
    stage = f"fit lines, round {number + 1} of {fits.settings.rounds + 1}"
    total = len(fits.windows)
    done = sum(fits.window(k, number) is not None for k in range(total))
    _LOG.info("%s: %d of %d windows are done", stage, done, total)
    progress(stage, done, total)
    fit = partial(_fit_window, recipe=fits.recipe)
    for task, result in run(fit, fits.tasks(number), executor):
        if isinstance(result, InputError):
            low, high = fits.archive.wavelength[task.window.fitted][[0, -1]]
            raise type(result)(f"the lines from {low:.0f} to {high:.0f} Å: {result}")
        if fits.window(task.number, number) is None:
            fits.archive.write_window(task.number, number, *result)
        done += 1
        progress(stage, done, total)


@dataclass(frozen=True, eq=False)
class _Task:
    """The fit of one window in one round, to N nodes of an archive.

    `basis` is (N, K). `start`: lines to start from (None: detect them). `far`: lines from elsewhere
    that reach in.
    """

    number: int
    round_number: int
    archive: Archive
    nodes: Integers
    window: FitWindow
    basis: Floats
    start: LineGrid | None
    far: LineGrid | None


def _fit_window(task: _Task, recipe: Recipe) -> tuple[LineGrid, Floats]:
    """Return the lines after a round, with those added for the next, and the summed squared misfit
    of each node (N,) in the core of the window."""
    window, basis = task.window, task.basis
    wave = task.archive.wavelength[window.fitted]
    flux = flux_rows(task.archive, task.nodes, window.fitted)
    start = task.start
    if start is None:
        start = detect_line_grid(wave, flux, basis, recipe)
    background = None
    if task.far is not None and len(task.far):
        background = total_depth(task.far, wave, basis, recipe)
    last = task.round_number == recipe.joint.rounds
    lines, model = fit_line_grid(
        start,
        wave,
        flux,
        basis,
        recipe if last else early_round(recipe),
        background,
        seed=task.round_number,
    )
    squares = _squares(flux, model, window.core_of_fitted)
    if not last:
        lines = add_missing_lines(lines, wave, flux, model, basis, recipe)
    return lines, squares


def _squares(flux: Rows, model: Rows, pixels: slice) -> Floats:
    """Return the squared misfits of each node (N,), summed over some pixels."""
    blocks = zip(read_blocks(flux), read_blocks(model), strict=True)
    misfits = ((ours - theirs)[:, pixels].astype(np.float64) for theirs, ours in blocks)
    return np.concatenate([np.sum(misfit**2, axis=1) for misfit in misfits])


@dataclass(frozen=True, eq=False)
class WindowFits:
    """The joint fit of an archive: its basis functions, and its windows in every round."""

    archive: Archive

    @cached_property
    def nodes(self) -> Integers:
        """Indices of the nodes that could be cloned, (N,)."""
        return self.archive.nodes

    @cached_property
    def settings(self) -> JointFit:
        """Settings of the fit."""
        return self.archive.recipe.joint

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe, with no more functions for shapes than there are smooth ones."""
        count = min(self.settings.shape_functions, self.smooth_basis.shape[1])
        return self.archive.recipe.replace(shape_functions=count)

    @cached_property
    def basis(self) -> Floats:
        """The basis functions at the nodes, smooth ones first, (N, K)."""
        return np.concatenate([self.smooth_basis, self.data_basis], axis=1)

    @cached_property
    def smooth_basis(self) -> Floats:
        """The smooth ones, (N, K − K')."""
        axes = self.archive.axes
        place = box_number(axes, self.archive.box_index[self.nodes])
        return grid_basis(axes, self.archive.recipe)[place]

    @cached_property
    def data_basis(self) -> Floats:
        """The data-driven ones, (N, K').

        Raises
        ------
        CloneError
            They have not been found.
        """
        if not self.settings.data_functions:
            return np.empty((self.nodes.size, 0))
        stored = self.stored_data_basis()
        if stored is None:
            raise CloneError(
                f"the functions of {self.archive.path} have not been found, or are damaged; run "
                "blase3d clone again to finish."
            )
        return stored

    def stored_data_basis(self) -> Floats | None:
        """The data-driven functions in the archive, if they were found from these nodes."""
        stored = self.archive.data_basis()
        return stored if stored is not None and len(stored) == self.nodes.size else None

    @cached_property
    def windows(self) -> list[FitWindow]:
        """All windows, in order of wavelength."""
        return windows(self.archive.wavelength.size, self.settings)

    def window(self, number: int, round_number: int) -> tuple[LineGrid, Floats] | None:
        """The lines of a window after a round, and the summed squared misfits of the nodes (N,).

        None if it was not fitted to all of these nodes: one that failed may have come back.
        """
        stored = self.archive.window(number, round_number)
        return stored if stored is not None and stored[1].size == self.nodes.size else None

    def lines(self, round_number: int) -> LineGrid:
        """The lines of all windows after a round.

        Raises
        ------
        CloneError
            A window has not been fitted.
        """
        return joined([self._core_lines(k, round_number) for k in range(len(self.windows))])

    def _core_lines(self, number: int, round_number: int) -> LineGrid:
        stored = self.window(number, round_number)
        if stored is None:
            raise CloneError(
                f"window {number} of {self.archive.path} has not been fitted, or is damaged; run "
                "blase3d clone again to finish."
            )
        lines, _ = stored
        return lines.take(
            _within(lines.reference, self.archive.wavelength, self.windows[number].core)
        )

    def tasks(self, round_number: int) -> Iterator[_Task]:
        """The fits that remain in a round, when the round before is complete."""
        wavelength = self.archive.wavelength
        lines = self.lines(round_number - 1) if round_number else None
        reach = None if lines is None else largest_reach(lines, self.basis, self.archive.recipe)
        for number, window in from_here(list(enumerate(self.windows))):
            if self.window(number, round_number) is not None:
                continue
            wave = wavelength[window.fitted]
            start = far = None
            if lines is not None and reach is not None:
                near = _within(lines.reference, wavelength, window.fitted)
                start = lines.take(near)
                low, high = lines.reference - reach, lines.reference + reach
                far = lines.take((high > wave[0]) & (low < wave[-1]) & ~near)
            yield _Task(
                number, round_number, self.archive, self.nodes, window, self.basis, start, far
            )


def windows(n_pixels: int, settings: JointFit) -> list[FitWindow]:
    """Return the windows of a spectrum, all of one size so that they share one compilation."""
    count = max(round(n_pixels / settings.window), 1)
    size = -(-n_pixels // count)
    count = -(-n_pixels // size)  # rounding up may have used up the last
    wide = min(size + 2 * settings.margin, n_pixels)
    found = []
    for k in range(count):
        first = min(max(k * size - settings.margin, 0), n_pixels - wide)
        core = slice(k * size, min((k + 1) * size, n_pixels))
        found.append(FitWindow(core, slice(first, first + wide)))
    return found


def _within(reference: Floats, wavelength: Floats, pixels: slice) -> Bools:
    """Mask the lines of these pixels; those beyond either end of the spectrum count to its end."""
    low = -np.inf if pixels.start == 0 else wavelength[pixels.start]
    high = np.inf if pixels.stop == wavelength.size else wavelength[pixels.stop]
    return (reference >= low) & (reference < high)


def joint_misfits(archive: Archive) -> Floats:
    """Return the rms misfit of the lines at every node, (N,); NaN where there is no fit, or not of
    all windows."""
    fits = WindowFits(archive)
    rms = np.full(len(archive), np.nan)
    stored = (fits.window(k, fits.settings.rounds) for k in range(len(fits.windows)))
    squares = [window[1] for window in stored if window is not None]
    if len(squares) == len(fits.windows):
        rms[fits.nodes] = np.sqrt(np.sum(squares, axis=0) / archive.wavelength.size)
    return rms
