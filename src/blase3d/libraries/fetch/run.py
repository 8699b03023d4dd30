"""Carrying out a plan: fetch what lacks, and cut the wanted wavelengths into a grid file."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ...errors import GridError, InputError
from ...runtime.arrays import Floats
from ...runtime.progress import Progress, silent
from ..grid import Grid, wavelength_slice
from ..grid_file import write_grid
from ..readers.phoenix import WAVE_FILE, open_phoenix, phoenix_path
from .download import NEVER, Check, Web
from .listing import Remote
from .partial_files import Source, origin, remember, require_space, sole_use, unchanged
from .plan import Plan, is_of_root
from .threads import CONNECTIONS, in_threads
from .verify import check_spectrum, read_wavelengths


@dataclass(frozen=True)
class Fetched:
    """What has become of a plan."""

    plan: Plan
    good: tuple[Remote, ...]
    """Spectra that are in the folder now, whole and good."""
    failed: Mapping[str, str]
    """Labels in words of those that could not be had, and why."""


def fetch(
    plan: Plan,
    wave: tuple[float, float] | None = None,
    web: Web | None = None,
    connections: int = CONNECTIONS,
    progress: Progress = silent,
) -> Fetched:
    """Bring what a plan lacks into its folder, each file checked; the bad ones stop no other.

    `wave` (Å) is only compared with the wavelengths of the library, before the spectra are fetched.

    Raises
    ------
    GridError
        The wavelength file cannot be had, or does not reach into `wave`.
    InputError
        The disk has no room, or another fetch is at work.
    """
    web = web or Web()
    require_space(plan.folder, plan.size or 0)
    with sole_use(plan.folder):
        count = len(_wavelengths(plan, wave, web))
        bring = partial(_bring, plan=plan, count=count, web=web)
        good, failed = list(plan.held), {}
        with closing(in_threads(bring, plan.missing, connections)) as results:
            progress("spectra fetched", 0, len(plan.missing))
            for done, (remote, fault) in enumerate(results, 1):
                if fault is None:
                    good.append(remote)
                else:
                    failed[plan.box.describe(remote.labels)] = str(fault)
                progress("spectra fetched", done, len(plan.missing))
    return Fetched(plan, tuple(sorted(good, key=lambda remote: remote.path)), failed)


def _wavelengths(plan: Plan, wave: tuple[float, float] | None, web: Web) -> Floats:
    """The wavelengths of the library (Å), fetched if need be."""
    target = plan.folder / WAVE_FILE
    if plan.wave_size != 0:
        _settle(plan, WAVE_FILE, plan.wave_size, read_wavelengths, web, NEVER)
    wavelength = read_wavelengths(target)
    if wave is not None:
        wavelength_slice(wavelength, *wave)
    return wavelength


def _bring(remote: Remote, stop: threading.Event, *, plan: Plan, count: int, web: Web) -> None:
    check = partial(check_spectrum, labels=remote.labels, count=count)
    _settle(plan, remote.path, remote.size, check, web, stop)


def _settle(
    plan: Plan, path: str, size: int | None, check: Check, web: Web, stop: threading.Event
) -> None:
    """Have a good file at `path`: the one that is there if it is good, else a new one.

    A file that somebody put there is as good as one that was fetched, if its content is. One of
    which is known what it was has to be that still, and to come from this library.
    """
    target, url = plan.folder / path, plan.root + path
    if target.is_file():
        known = origin(target)
        if known is None and _is_good(target, check, size):
            remember(target, Source(url, target.stat().st_size))
            return
        if known is not None and is_of_root(target, plan.root) and unchanged(target):
            remember(target, known)
            return
        target.unlink()
    web.fetch(url, target, check, size, stop)


def _is_good(target: Path, check: Check, size: int | None) -> bool:
    if size is not None and target.stat().st_size != size:
        return False
    try:
        check(target)
    except InputError:
        return False
    return True


# --- the cut -----------------------------------------------------------------------------------


def write_box(done: Fetched, output: Path, wave: tuple[float, float] | None = None) -> Grid:
    """Write the fetched spectra, cut to `wave` (Å), as the grid file `output`; the grid."""
    if not done.good:
        raise GridError(f"There is no good spectrum to write to {output}: fetch again.")
    whole = open_phoenix(done.plan.folder, wave)
    chosen = {remote.path for remote in done.good}
    fixed = whole.meta.get("fixed_labels", {})
    nodes = [{**whole.labels_of(i), **_mapping(fixed)} for i in range(len(whole))]
    grid = whole.take([i for i, node in enumerate(nodes) if phoenix_path(**node) in chosen])
    grid = _without_one_alpha(grid)
    write_grid(grid, output)
    return grid


def _mapping(value: object) -> dict[str, float]:
    return dict(value) if isinstance(value, Mapping) else {}


def _without_one_alpha(grid: Grid) -> Grid:
    """The folder may hold spectra of other alpha: it is no label of a box that has but one."""
    if "alpha" not in grid.label_names or len(grid.axes["alpha"]) > 1:
        return grid
    meta = {**grid.meta, "fixed_labels": {"alpha": float(grid.axes["alpha"][0])}}
    return replace(grid, labels=grid.labels[:, :3], label_names=grid.label_names[:3], meta=meta)
