"""Joint fits: the lines of all nodes at once, window by window of wavelength, in rounds.

What a round starts from is what all windows ended with in the round before: their own lines, those
of the margins, and those from farther away whose wings reach in. Windows are independent of each
other and of who fits them.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from ..errors import CloneError, InputError
from ..model.grid_basis import box_functions, own_functions
from ..model.interpolation import box_place
from ..model.line_grid import Surface, farthest, joined
from ..model.residual import some_pixels, strengths_of
from ..recipe import Recipe
from ..runtime.executor import from_here, run
from ..runtime.progress import Progress
from .archive import Archive
from .joint_fit import depth_of, detect_surface, fit_surface, with_missing


@dataclass(frozen=True)
class Window:
    """Pixels that are fitted together: its `own`, and `fitted`, which reach beyond them."""

    own: slice
    fitted: slice


def windows(n_pixels: int, recipe: Recipe) -> list[Window]:
    """The windows of a spectrum: of one size, so that one compilation serves them."""
    count = max(round(n_pixels / recipe.joint.window), 1)
    size = -(-n_pixels // count)
    count = -(-n_pixels // size)  # rounding up may have used up the last
    wide = min(size + 2 * recipe.joint.margin, n_pixels)
    found = []
    for k in range(count):
        first = min(max(k * size - recipe.joint.margin, 0), n_pixels - wide)
        own = slice(k * size, min((k + 1) * size, n_pixels))
        found.append(Window(own, slice(first, first + wide)))
    return found


def fit_windows(archive: Archive, executor: Executor | None, progress: Progress) -> None:
    """Fit what has not been fitted of an archive whose nodes are there.

    Raises
    ------
    CloneError
        A window cannot be fitted, or no line is found in any.
    """
    joint = WindowFits(archive)
    _find_own_functions(joint, progress)
    recipe = joint.recipe
    rounds = recipe.joint.rounds
    for number in range(rounds + 1):
        stage = f"fit lines, round {number + 1} of {rounds + 1}"
        done = sum(joint.found(k, number) is not None for k in range(len(joint.windows)))
        progress(stage, done, len(joint.windows))
        tasks = joint.tasks(number)
        for item, result in run(partial(_fit_window, recipe=recipe), tasks, executor):
            if isinstance(result, InputError):
                low, high = item.wavelength[[0, -1]]
                raise CloneError(f"the lines from {low:.0f} to {high:.0f} Å: {result}")
            if joint.found(item.number, number) is None:
                archive.write_window(item.number, number, *result)
            done += 1
            progress(stage, done, len(joint.windows))
    if len(joint.surface(rounds)) == 0:
        raise CloneError(
            f"no line deeper than {recipe.detection.prominence} was found at any node; "
            "lower the prominence."
        )


def _find_own_functions(joint: WindowFits, progress: Progress) -> None:
    """Find the library's own functions, unless the archive has those of its nodes."""
    archive, count = joint.archive, joint.archive.recipe.joint.data_functions
    if count == 0 or joint.found_own() is not None:
        return
    some, strengths = some_pixels(archive.wavelength.size), []
    for i in joint.nodes:
        strengths.append(strengths_of(archive.flux_part(i, some)))
        progress("functions of the library", len(strengths), joint.nodes.size)
    archive.write_own_functions(own_functions(joint.smooth, np.stack(strengths), count))


@dataclass(frozen=True, eq=False)
class _Task:
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


@dataclass(frozen=True, eq=False)
class WindowFits:
    """What an archive has of its joint fit, and what is to be done."""

    archive: Archive

    @cached_property
    def nodes(self) -> NDArray[np.int64]:
        """Indices of the nodes that could be cloned, (N,)."""
        return self.archive.nodes

    @cached_property
    def recipe(self) -> Recipe:
        """That of the archive; widths follow no more functions than there are smooth ones."""
        recipe = self.archive.recipe
        count = min(recipe.joint.shape_functions, self.smooth.shape[1])
        return recipe.replace(shape_functions=count)

    @cached_property
    def modes(self) -> NDArray[np.float64]:
        """The functions that lines follow, at those nodes, (N, K)."""
        return np.concatenate([self.smooth, self.own], axis=1)

    @cached_property
    def smooth(self) -> NDArray[np.float64]:
        """Those that are smooth, the first ones."""
        axes = self.archive.axes
        place = box_place(axes, self.archive.box_index[self.nodes])
        return box_functions(axes, self.archive.recipe)[place]

    @cached_property
    def own(self) -> NDArray[np.float64]:
        """Those that are the library's own, the last ones, (N, K').

        Raises
        ------
        CloneError
            They have not been found.
        """
        if not self.archive.recipe.joint.data_functions:
            return np.empty((self.nodes.size, 0))
        kept = self.found_own()
        if kept is None:
            raise CloneError(
                f"the functions of {self.archive.path} have not been found, or are damaged; run "
                "blase3d clone again to finish."
            )
        return kept

    def found_own(self) -> NDArray[np.float64] | None:
        """The library's own functions, if they were found of all of these nodes."""
        kept = self.archive.own_functions()
        return kept if kept is not None and len(kept) == self.nodes.size else None

    @cached_property
    def windows(self) -> list[Window]:
        """The windows of the archive."""
        return windows(self.archive.wavelength.size, self.archive.recipe)

    def found(self, number: int, round_number: int) -> tuple[Surface, NDArray[np.float64]] | None:
        """The lines of a window after a round and the summed squared misfits of the nodes (N,),
        if it was fitted to all of these nodes (one that could not be cloned may have come back)."""
        kept = self.archive.window(number, round_number)
        return kept if kept is not None and kept[1].size == self.nodes.size else None

    def surface(self, round_number: int) -> Surface:
        """The lines of all windows after a round.

        Raises
        ------
        CloneError
            A window has not been fitted.
        """
        return joined([self._own(k, round_number) for k in range(len(self.windows))])

    def _own(self, number: int, round_number: int) -> Surface:
        kept = self.found(number, round_number)
        if kept is None:
            raise CloneError(
                f"window {number} of {self.archive.path} has not been fitted, or is damaged; run "
                "blase3d clone again to finish."
            )
        surface, _ = kept
        own = self.windows[number].own
        return surface.take(_within(surface.reference, self.archive.wavelength, own))

    def tasks(self, round_number: int) -> Iterator[_Task]:
        """What is to be done in a round, of which the one before is complete."""
        archive, wavelength = self.archive, self.archive.wavelength
        whole = self.surface(round_number - 1) if round_number else None
        reaching = None if whole is None else farthest(whole, self.modes, archive.recipe)
        for number, window in from_here(list(enumerate(self.windows))):
            if self.found(number, round_number) is not None:
                continue
            part = wavelength[window.fitted]
            start = far = None
            if whole is not None and reaching is not None:
                near = _within(whole.reference, wavelength, window.fitted)
                start = whole.take(near)
                low, high = whole.reference - reaching, whole.reference + reaching
                far = whole.take((high > part[0]) & (low < part[-1]) & ~near)
            flux = np.stack([archive.flux_part(i, window.fitted) for i in self.nodes])
            first = window.fitted.start
            own = slice(window.own.start - first, window.own.stop - first)
            yield _Task(number, round_number, part, flux, own, self.modes, start, far)


def _within(
    reference: NDArray[np.float64], wavelength: NDArray[np.float64], pixels: slice
) -> NDArray[np.bool_]:
    """Which lines belong to these pixels; those beyond the ends of all belong to the last."""
    low = -np.inf if pixels.start == 0 else wavelength[pixels.start]
    high = np.inf if pixels.stop == wavelength.size else wavelength[pixels.stop]
    return (reference >= low) & (reference < high)


def _fit_window(task: _Task, recipe: Recipe) -> tuple[Surface, NDArray[np.float64]]:
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
    if task.round_number < recipe.joint.rounds:
        fitted = with_missing(fitted, wave, flux, model, modes, recipe)
    return fitted, squares


def joint_misfits(archive: Archive) -> NDArray[np.float64]:
    """rms misfit of the lines of every node, (N,); NaN of those that failed or are not fitted."""
    joint = WindowFits(archive)
    rms = np.full(len(archive), np.nan)
    kept = [joint.found(k, archive.recipe.joint.rounds) for k in range(len(joint.windows))]
    squares = sum(done[1] for done in kept if done is not None)
    rms[joint.nodes] = np.sqrt(squares / archive.wavelength.size)
    return rms
