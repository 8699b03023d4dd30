"""The windows of a model: residual, and draws of the error between the nodes.

A window needs the spectra of its own pixels, and the lines that reach them. Windows are independent
of each other, and stay in the archive, so that an interrupted build continues. The error modes
follow from the draws of all windows, since errors are correlated over all wavelengths.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import zarr
from jax import Array
from numpy.typing import NDArray

from ..lines.render import Layout, optical_depth, round_up, transmitted
from ..model.completion import Completion
from ..model.grid_basis import functions_with_residual
from ..model.identity import checksum_of, window_checksum
from ..model.interpolation import box_number, coordinates
from ..model.interpolation_error import (
    error_draws,
    make_error_modes,
    modes_of,
    strongest_modes,
)
from ..model.line_grid import LineGrid, largest_reach, line_grid_layout
from ..model.model import Model
from ..model.model_file import (
    ERROR_STEP,
    from_steps,
    in_steps,
    model_of_windows,
    residual_arrays,
    window_arrays,
    window_index,
)
from ..model.model_windows import cut_pixels, line_bounds
from ..model.residual import Components, make_components
from ..recipe import Composition
from ..runtime.arrays import Floats, Integers
from ..runtime.executor import from_here, run
from ..runtime.progress import Progress, silent
from ..runtime.rows import Rows, empty_rows
from ..runtime.zarr_groups import ColumnBlocks, read_array, write_array
from .archive import Archive, flux_rows

_METHOD = 3
"""Number of the method: windows that were built by another one are built again."""


@dataclass(frozen=True, eq=False)
class BuildNodes:
    """The N nodes that were cloned.

    Attributes
    ----------
    axes : dict
        Values of each label.
    index : (N,)
        In the archive.
    labels : (N, L)
    box_index : (N, L)
        Indices on the axes.
    """

    axes: dict[str, Floats]
    index: Integers
    labels: Floats
    box_index: Integers

    @cached_property
    def place(self) -> Integers:
        """Numbers in the box of all combinations of label values, last label fastest, (N,)."""
        return box_number(self.axes, self.box_index)

    @property
    def complete(self) -> Completion:
        """Takes values at the nodes to values in the whole box."""
        axes = tuple(tuple(axis.tolist()) for axis in coordinates(self.axes))
        index = self.box_index.astype(np.int64)
        return _completion(axes, index.shape, index.tobytes())


@lru_cache(maxsize=1)
def _completion(
    axes: tuple[tuple[float, ...], ...], shape: tuple[int, ...], index: bytes
) -> Completion:
    """The completion, once for all windows of a process."""
    indices = np.frombuffer(index, np.int64).reshape(shape)
    return Completion.of([np.array(axis) for axis in axes], indices)


@dataclass(frozen=True, eq=False)
class _Task:
    """Work of one window, which is `name` in the archive with the spectra of the nodes: the model
    of its pixels and of the lines that reach them, without a residual, and its own lines."""

    name: str
    model: Model
    lines: LineGrid
    nodes: BuildNodes
    archive: Archive
    pixels: slice


@dataclass(frozen=True, eq=False)
class _Built:
    """The residual of a window in the box; the squared misfits of the nodes, summed over its
    pixels, (2, N), with the residual and without; and draws of the error between the nodes,
    (D, P)."""

    residual: Components | None
    squares: Floats
    draws: NDArray[np.floating[Any]]


def _build(model: Model, nodes: BuildNodes, flux: Rows, progress: Progress = silent) -> _Built:
    """Build a window from its lines and the spectra (N, P)."""
    spectra = enumerate(_line_spectra(model, nodes.place, "check", progress))
    squares = np.array([[_square(row - flux[n : n + 1])] * 2 for n, row in spectra]).T
    residual, recipe = None, model.recipe
    if recipe.residual is not None:
        data_count = 0 if model.data_basis is None else model.data_basis.shape[1]
        count = functions_with_residual(model.line_grid, recipe, data_count)
        model = replace(model, line_grid=model.line_grid.smoothed(count))
        lines = empty_rows(*flux.shape)
        for n, row in enumerate(_line_spectra(model, nodes.place, "residual", progress)):
            lines[n : n + 1] = row
        at_nodes, errors = make_components(lines, flux, recipe.residual.tolerance)
        squares[0] = errors**2 * flux.shape[1]
        residual = at_nodes.completed(nodes.complete)
    progress("error model", 0, 1)
    draws = error_draws(model, model.meta["error_shares"], residual)
    progress("error model", 1, 1)
    return _Built(residual, squares, draws)


def _square(difference: NDArray[np.float32]) -> float:
    return float(np.sum(difference.astype(np.float64) ** 2))


def _line_spectra(
    model: Model, place: Integers, stage: str, progress: Progress
) -> Iterator[NDArray[np.float32]]:
    """Yield the flux (P,) of the lines alone at nodes of these numbers in the box, (N,)."""
    lines, basis = model.line_grid, model.basis[place]
    layout = line_grid_layout(model.wavelength, lines, basis, model.recipe)
    for n, node in enumerate(basis):
        params = jnp.asarray(lines.at(node[None])[0])
        yield np.asarray(_render(params, layout, model.recipe.composition))
        progress(stage, n + 1, len(basis))


@partial(jax.jit, static_argnames="composition")
def _render(params: Array, layout: Layout, composition: Composition) -> Array:
    return transmitted(optical_depth(params, layout, composition), composition)


def build_at_once(frame: Model, nodes: BuildNodes, flux: Rows, progress: Progress) -> Model:
    """Return the model of few pixels from its lines and the spectra (N, P)."""
    built = _build(frame, nodes, flux, progress)
    return replace(
        frame,
        meta=_with_errors(frame, built.squares),
        residual=None if built.residual is None else built.residual.in_memory,
        error_modes=make_error_modes(built.draws),
    )


def _with_errors(frame: Model, squares: Floats) -> dict[str, Any]:
    """Return the metadata with the rms errors at the nodes, from squares summed as in `_Built`."""
    rms = np.sqrt(squares / frame.wavelength.size).tolist()
    return {**frame.meta, "node_rms": rms[0], "node_lines_rms": rms[1]}


def build_by_windows(
    archive: Archive,
    frame: Model,
    nodes: BuildNodes,
    bounds: Integers,
    executor: Executor | None,
    progress: Progress,
) -> Model:
    """Return the model of many pixels, which reads its windows from the archive.

    `frame` has its lines, `bounds` (W + 1,) are those of the windows, in pixels.
    """
    name, total = _name(frame, nodes, bounds), bounds.size - 1
    left = [k for k in range(total) if not archive.has_built(f"{name}/{k}")]
    done = total - len(left)
    progress("windows", done, total)
    tasks = _tasks(archive, frame, nodes, bounds, name, from_here(left))
    for task, failure in run(_build_aside, tasks, executor):
        if failure is not None:
            low, high = task.model.wavelength[[0, -1]]
            raise type(failure)(f"the window from {low:.0f} to {high:.0f} Å: {failure}")
        done += 1
        progress("windows", done, total)
    return _assembled(archive, frame, bounds, name)


def _name(frame: Model, nodes: BuildNodes, bounds: Integers) -> str:
    """Return a name for what the windows depend on."""
    data = frame.data_basis
    parts = [
        _METHOD,
        bounds.tolist(),
        nodes.index.tolist(),
        checksum_of(frame, [window_checksum(frame.line_grid, [])]),
        None if data is None else data.tolist(),
        frame.meta["error_shares"],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _tasks(
    archive: Archive,
    frame: Model,
    nodes: BuildNodes,
    bounds: Integers,
    name: str,
    numbers: Sequence[int],
) -> Iterator[_Task]:
    """Yield the windows of these numbers; their lines are as many as those of others, so that
    windows share compiled code."""
    reach = largest_reach(frame.line_grid, frame.basis, frame.recipe)
    bare = replace(frame, meta={"error_shares": frame.meta["error_shares"]})
    lines = line_bounds(frame.reference, frame.wavelength, bounds)
    for k in numbers:
        pixels = slice(*bounds[k : k + 2].tolist())
        model = cut_pixels(bare, pixels, reach)
        padded = model.line_grid.padded(round_up(len(model.line_grid)))
        own = frame.line_grid.take(np.arange(*lines[k : k + 2]))
        yield _Task(f"{name}/{k}", replace(model, line_grid=padded), own, nodes, archive, pixels)


def _build_aside(task: _Task) -> None:
    """Build a window in any process, which writes it to the archive."""
    archive = task.archive
    if archive.has_built(task.name):  # by another command
        return
    flux = flux_rows(archive, task.nodes.index, task.pixels)
    built = _build(task.model, task.nodes, flux)
    if not archive.has_built(task.name):  # nothing that is done is written again
        archive.write_built(task.name, _stored(task, built))


def _stored(task: _Task, built: _Built) -> dict[str, NDArray[Any] | ColumnBlocks]:
    """Return the arrays of a window in the archive: those in a model file, and what remains to be
    put together."""
    residual = [] if built.residual is None else [built.residual]
    checksum = bytes.fromhex(window_checksum(task.lines, residual))
    arrays = window_arrays(replace(task.model, line_grid=task.lines))
    del arrays["error_modes"]  # they follow from all windows
    for components in residual:
        arrays |= residual_arrays(components)
    return {
        **arrays,
        "squares": built.squares,
        "draws": in_steps(built.draws, ERROR_STEP),
        "checksum": np.frombuffer(checksum, np.uint8),
    }


def _assembled(archive: Archive, frame: Model, bounds: Integers, name: str) -> Model:
    """Return the model of windows that are all in the archive."""
    groups = [archive.built(f"{name}/{k}") for k in range(bounds.size - 1)]
    squares = np.sum([read_array(group, "squares") for group in groups], axis=0)
    checksums = [read_array(group, "checksum").tobytes().hex() for group in groups]
    vectors = strongest_modes(reduce(np.add, map(_products, groups)))
    for group in groups:
        modes = modes_of(_draws(group), vectors)
        write_array(group, "error_modes", in_steps(modes, ERROR_STEP))
    shared = ("wavelength", "axes", "recipe", "cross_derivatives", "data_basis")
    fields = {field: getattr(frame, field) for field in shared}
    return model_of_windows(
        {**fields, "meta": _with_errors(frame, squares)},
        frame.reference,
        window_index(frame, bounds, checksums),
        partial(archive.open_built, name),
    )


def _products(group: zarr.Group) -> Floats:
    """Return the products of the draws of a window, (D, D)."""
    draws = _draws(group).astype(np.float64)
    return draws @ draws.T


def _draws(group: zarr.Group) -> NDArray[np.float32]:
    return from_steps(read_array(group, "draws"), ERROR_STEP)
