"""Import of the original's state dictionaries into an archive of clones, without a fit.

    .pt files ─► states ─► flux, as the original renders it ─► archive ─► blase3d build
                      └──► lines with the profile of blase3D ────┘

The residual of the model takes the difference between the two fluxes, so at its nodes the model
has the flux of the original.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import numpy as np
from numpy.typing import NDArray

from ...errors import ArchiveError, GridError, InputError
from ...lines.lines import Lines, padded
from ...lines.render import make_layout, reach, render
from ...recipe import DEFAULT, PAPER
from ...runtime.arrays import Floats
from ...runtime.executor import run
from ...runtime.progress import Progress, silent
from ..archive import Archive, create_archive
from ..single_node import Clone
from .folder import StateFile, choose_pixels, find_states, no_labels, states_grid
from .state_lines import at_shared, shared_lines, to_lines
from .states import State, original_flux, read_state

STATES_RECIPE = PAPER.replace(
    name="states", wing_cut=0, interpolation=DEFAULT.interpolation, residual=DEFAULT.residual
)
"""Recipe of imported clones: composition as in the original, otherwise as `default`. All nodes have
the same lines, matched by name."""
CLUSTER_WIDTH = DEFAULT.joint.cluster_width
"""Largest distance (km/s) of lines that are matched."""


@dataclass(frozen=True)
class ImportReport:
    """The archive, the indices of the nodes imported now, and reasons of failures by file."""

    archive: Archive
    imported: tuple[int, ...]
    failed: dict[str, str]


def import_states(
    folder: str | Path,
    output: str | Path,
    *,
    wave: tuple[float, float] | None = None,
    step: float | None = None,
    feh: float = 0.0,
    as_paper: bool = False,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> ImportReport:
    """Import the state dictionaries in a folder into an archive; nodes already there are kept.

    Parameters
    ----------
    folder
        Has `.pt` files named by their labels, in or below it.
    output
        The archive.
    wave, step
        Range (Å, vacuum) and step (Å) of the pixels. Default: from the first to the last fitted
        line, in integer Å; the pixels of PHOENIX.
    feh
        [Fe/H] of files whose name has none.
    as_paper
        Match only lines with equal detected centres, and use the recipe `paper`. Otherwise match
        lines that are close to each other, with the recipe `STATES_RECIPE`.

    A file that cannot be read is reported by name; the others are imported.

    Raises
    ------
    GridError
        No file can be read.
    InputError
        No line absorbs in the range.
    ArchiveError
        `output` has clones of other states or wavelengths, or of another recipe.
    """
    files, unnamed = find_states(folder, feh)
    survey = _survey(files, progress)
    wavelength = choose_pixels(*(wave or _integers(survey.span)), step)
    _require_lines(survey, wavelength)
    recipe = PAPER if as_paper else STATES_RECIPE
    archive = create_archive(output, states_grid(files, wavelength), recipe)
    plan = _Plan(wavelength, None if as_paper else _shared(survey, wavelength))
    faults = dict(survey.faults)
    items = [_Item(i, file.path) for i, file in enumerate(files) if i not in faults]
    todo = [item for item in items if not _is_done(item, archive, plan)]
    imported: list[int] = []
    progress("import", len(items) - len(todo), len(items))
    for item, result in run(partial(_import_node, plan=plan), todo, executor):
        if isinstance(result, InputError):
            faults[item.index] = result
        else:
            archive.write(item.index, result)
            imported.append(item.index)
        progress("import", len(items) - len(todo) + len(imported), len(items))
    for i, fault in faults.items():
        archive.write_failed(i, str(fault))
    failed = {str(files[i].path): str(fault) for i, fault in sorted(faults.items())}
    failed |= {str(path): no_labels(path) for path in unnamed}
    return ImportReport(archive, tuple(sorted(imported)), failed)


@dataclass(frozen=True, eq=False)
class _Survey:
    """The range (Å) of fitted lines, the lines of each readable file, and faults by index."""

    span: tuple[float, float]
    lines: list[Lines]
    faults: dict[int, InputError]


def _survey(files: Sequence[StateFile], progress: Progress) -> _Survey:
    low, high = np.inf, -np.inf
    lines, faults = [], {}
    for i, file in enumerate(files):
        try:
            state = read_state(file.path)
        except InputError as fault:
            faults[i] = fault
        else:
            fitted = state.center[state.fitted]
            low = min(low, fitted.min(initial=np.inf))
            high = max(high, fitted.max(initial=-np.inf))
            lines.append(to_lines(state))
        progress("read", i + 1, len(files))
    if len(faults) == len(files):
        raise GridError(f"no file can be read; the first: {next(iter(faults.values()))}")
    return _Survey((low, high), lines, faults)


def _integers(span: tuple[float, float]) -> tuple[float, float]:
    low, high = np.ceil(span[0]), np.floor(span[1])
    if not (np.isfinite(low) and low < high):
        raise InputError("no line was ever fitted; give the wavelengths with --wave LO:HI.")
    return float(low), float(high)


def _require_lines(survey: _Survey, wavelength: Floats) -> None:
    """Raise `InputError` if no file has a line at these wavelengths."""
    if not any(len(_within(lines, wavelength)) for lines in survey.lines):
        low, high = survey.span
        raise InputError(
            f"no file has a line within {wavelength[0]:g} to {wavelength[-1]:g} Å, fitted lines "
            f"extend from {low:.0f} to {high:.0f} Å; choose a range inside with --wave."
        )


def _shared(survey: _Survey, wavelength: Floats) -> Lines:
    """The lines that the nodes share; the same for the same files, so they are not stored."""
    within = [_within(lines, wavelength) for lines in survey.lines]
    return shared_lines(within, CLUSTER_WIDTH)


def _within(lines: Lines, wavelength: Floats) -> Lines:
    """The lines that absorb at these wavelengths."""
    far = _reach(lines)
    return lines.take((lines.center + far > wavelength[0]) & (lines.center - far < wavelength[-1]))


@dataclass(frozen=True)
class _Item:
    """A node and its file."""

    index: int
    path: Path


@dataclass(frozen=True, eq=False)
class _Plan:
    """Common to all nodes: pixels (P,), and the shared lines or None."""

    wavelength: Floats
    shared: Lines | None

    def lines_of(self, state: State) -> Lines:
        """Return the lines of a node for the archive."""
        lines = _within(to_lines(state), self.wavelength)
        return lines if self.shared is None else at_shared(lines, self.shared, CLUSTER_WIDTH)


def _is_done(item: _Item, archive: Archive, plan: _Plan) -> bool:
    """Whether the archive has the node, undamaged and with the present lines of the file."""
    try:
        kept = archive.clone(item.index).lines
    except ArchiveError:
        return False
    lines = plan.lines_of(read_state(item.path))
    return np.array_equal(kept.reference, lines.reference) and np.array_equal(
        kept.params, lines.params
    )


def _import_node(item: _Item, plan: _Plan) -> Clone:
    state = read_state(item.path)
    lines = plan.lines_of(state)
    target = original_flux(state.at_rest(), plan.wavelength).astype(np.float32)
    flux = _our_flux(lines, plan.wavelength)
    misfit = float(np.sqrt(np.mean(np.square(flux - target, dtype=np.float64))))
    flags = [] if len(state) else ["no lines"]
    if state.radial_velocity:
        flags.append(f"a radial velocity of {state.radial_velocity:.3f} km/s left out")
    return Clone(lines=lines, flux=flux, target=target, misfit=misfit, flags=tuple(flags))


_render = jax.jit(render, static_argnames="composition")


def _our_flux(lines: Lines, wavelength: Floats) -> NDArray[np.float32]:
    """Flux (P,) of lines with the profile of blase3D."""
    layout = make_layout(wavelength, lines.center, _reach(lines))
    centred = padded(lines.params, layout.room(len(lines)))
    centred[:, 0] = 0.0
    return np.asarray(_render(centred, layout, composition=STATES_RECIPE.composition))


def _reach(lines: Lines) -> Floats:
    """Distances (n,) in Å from the centres of lines within which they absorb."""
    return reach(lines.params, STATES_RECIPE.wing_tolerance)
