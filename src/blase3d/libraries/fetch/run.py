"""The download of a plan, and the cut of its spectra into a grid file."""

from __future__ import annotations

import logging
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
from .partial_files import Version, remember, require_space, sole_use, unchanged, version_of
from .plan import Plan, is_of_root
from .threads import CONNECTIONS, in_threads
from .verify import check_spectrum, read_wavelengths

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetched:
    """Result of a download."""

    plan: Plan
    good: tuple[Remote, ...]
    """Spectra that are in the folder now, complete and good."""
    failed: Mapping[str, str]
    """Reasons of the failures, by the labels of the spectrum."""


def fetch(
    plan: Plan,
    wave: tuple[float, float] | None = None,
    web: Web | None = None,
    connections: int = CONNECTIONS,
    progress: Progress = silent,
) -> Fetched:
    """Download what a plan misses into its folder and check every file; a bad one stops no other.

    `wave` (Å) is compared with the wavelengths of the library before spectra are downloaded.

    Raises
    ------
    GridError
        The wavelength file cannot be fetched, or has no wavelengths in `wave`.
    InputError
        The disk has too little room, or another fetch is running.
    """
    web = web or Web()
    require_space(plan.folder, plan.size or 0)
    with sole_use(plan.folder):
        count = len(_wavelengths(plan, wave, web))
        download = partial(_download, plan=plan, count=count, web=web)
        good, failed = list(plan.held), {}
        with closing(in_threads(download, plan.missing, connections)) as results:
            progress("spectra fetched", 0, len(plan.missing))
            for done, (remote, fault) in enumerate(results, 1):
                if fault is None:
                    good.append(remote)
                else:
                    failed[plan.box.describe(remote.labels)] = str(fault)
                progress("spectra fetched", done, len(plan.missing))
    return Fetched(plan, tuple(sorted(good, key=lambda remote: remote.path)), failed)


def _wavelengths(plan: Plan, wave: tuple[float, float] | None, web: Web) -> Floats:
    """The wavelengths of the library (Å), downloaded if missing."""
    if plan.wave_size != 0:
        _provide(plan, WAVE_FILE, plan.wave_size, read_wavelengths, web, NEVER)
    wavelength = read_wavelengths(plan.folder / WAVE_FILE)
    if wave is not None:
        wavelength_slice(wavelength, *wave)
    return wavelength


def _download(remote: Remote, stop: threading.Event, *, plan: Plan, count: int, web: Web) -> None:
    check = partial(check_spectrum, labels=remote.labels, count=count)
    _provide(plan, remote.path, remote.size, check, web, stop)


def _provide(
    plan: Plan, path: str, size: int | None, check: Check, web: Web, stop: threading.Event
) -> None:
    """Keep a good file at `path`, or download it.

    A file without a record is kept if its content is good. One with a record must be unchanged, and
    of this library.
    """
    target, url = plan.folder / path, plan.root + path
    if target.is_file():
        known = version_of(target)
        if known is None and _is_good(target, check, size):
            remember(target, Version(url, target.stat().st_size))
            return
        if known is not None and is_of_root(target, plan.root) and unchanged(target):
            remember(target, known)
            return
        target.unlink()
    _LOG.info("downloading %s", url)
    web.fetch(url, target, check, size, stop)


def _is_good(target: Path, check: Check, size: int | None) -> bool:
    if size is not None and target.stat().st_size != size:
        return False
    try:
        check(target)
    except InputError:
        return False
    return True


def write_box(
    done: Fetched,
    output: Path,
    wave: tuple[float, float] | None = None,
    progress: Progress = silent,
) -> Grid:
    """Write the fetched spectra, cut to `wave` (Å), to the grid file `output`; return the grid."""
    if not done.good:
        raise GridError(f"there is no good spectrum to write to {output}; fetch again.")
    grid = open_phoenix(done.plan.folder, wave)
    chosen = {remote.path for remote in done.good}
    fixed = grid.meta.get("fixed_labels")
    others = fixed if isinstance(fixed, Mapping) else {}
    paths = [phoenix_path(**grid.labels_of(i), **others) for i in range(len(grid))]
    grid = grid.take([i for i, path in enumerate(paths) if path in chosen])
    if "alpha" in grid.label_names and len(grid.axes["alpha"]) == 1:
        # The folder may have spectra of other alpha, which would make it a label.
        meta = {**grid.meta, "fixed_labels": {"alpha": float(grid.axes["alpha"][0])}}
        labels, names = grid.labels[:, :3], grid.label_names[:3]
        grid = replace(grid, labels=labels, label_names=names, meta=meta)
    write_grid(grid, output, progress)
    return grid
