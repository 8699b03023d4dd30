"""Compute a library of spectra from public packages, and write it as a grid file.

    python tools/compute_library.py rvs --cache ~/synthesis -o rvs.npz

Fetches and builds Turbospectrum, converts line lists, computes the spectra on all processors and
packs them. All of it is kept in the cache, so that the command can be stopped at any time and goes
on when it is given again; `-o` writes what is done. See docs/compute-library.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from synthesis import packages
from synthesis.atmospheres import load_atmospheres
from synthesis.described import LIBRARIES, Described
from synthesis.jobs import Batch, Store, ordered, plan, progress, through, work
from synthesis.linelists import write_lists
from synthesis.pack import pack
from synthesis.packages import PreparationError
from synthesis.take import parse_ranges, take
from synthesis.turbospectrum import TIMEOUT, Synthesiser

REPORT_EVERY = 60.0
"""Seconds between two lines of progress."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    library = LIBRARIES[options.library]
    try:
        synthesiser = prepare(library, options.cache, options.apt)
        store = Store(synthesiser.scratch.parent)
        if options.take:
            count = take(options.take, library, store, synthesiser, parse_ranges(options.only))
            _stamp(f"{count} spectra taken from {options.take}")
        batches = plan(library, synthesiser.atmospheres)
        wanted = through(batches, options.through)
    except PreparationError as error:
        sys.exit(str(error))
    if not options.pack_only:
        compute(wanted, store, synthesiser, options.workers, deadline(options.until))
    print(progress(wanted, store).text(0.0))
    if options.output:
        print(pack(library, wanted, store, synthesiser.atmospheres, options.output))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("library", choices=sorted(LIBRARIES))
    parser.add_argument("--cache", type=Path, required=True, help="folder for all that is kept")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--until", help="begin no spectrum after this time of day (HH:MM)")
    parser.add_argument("--through", metavar="PART", help="end after this part of the library")
    parser.add_argument("--apt", action="store_true", help="install a missing compiler with apt")
    parser.add_argument("--take", type=Path, help="grid file with spectra of the same settings")
    parser.add_argument("--only", nargs="*", default=[], help="NAME=LO:HI of nodes to take")
    parser.add_argument("--pack-only", action="store_true", help="compute nothing")
    parser.add_argument("-o", "--output", type=Path, help="grid file (.npz) to write at the end")
    return parser.parse_args(arguments)


def prepare(library: Described, cache: Path, apt: bool) -> Synthesiser:
    """Fetch, build and convert what is not in the cache yet."""
    cache = cache.resolve()
    packages.fetch(cache / "downloads")
    packages.unpack(cache / "downloads", cache / "sources")
    code = cache / "sources" / "turbospectrum"
    programs = packages.build(code, cache / "build", apt)
    folder = cache / f"{library.name}-{library.fingerprint}"
    folder.mkdir(exist_ok=True)
    _remove_abandoned(folder / "scratch")
    (folder / "settings.json").write_text(json.dumps(library.settings, indent=1))
    return Synthesiser(
        library,
        load_atmospheres(cache / "sources" / "roland", cache / "atmospheres.npz"),
        programs,
        code / "python" / "turbospectrum" / "data",
        write_lists(library, cache / "sources", folder / "lines"),
        folder / "scratch",
    )


def _remove_abandoned(scratch: Path) -> None:
    """Delete the working folders of spectra whose computation was killed."""
    for folder in scratch.glob("spectrum-*"):
        if time.time() - folder.stat().st_mtime > 2 * TIMEOUT:
            shutil.rmtree(folder, ignore_errors=True)


def compute(
    batches: Sequence[Batch],
    store: Store,
    synthesiser: Synthesiser,
    workers: int,
    deadline: float,
) -> None:
    """Run the workers, print progress until they end, and end them when this process ends."""
    target = partial(work, ordered(batches), store, synthesiser, deadline, report=_stamp)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=target, daemon=True) for _ in range(workers)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for process in processes:
        process.start()
    start, first = time.monotonic(), progress(batches, store).done
    while any(process.is_alive() for process in processes):
        now = progress(batches, store)
        _stamp(now.text((now.done - first) / max(time.monotonic() - start, 1.0)))
        _wait(processes)
    if failed := [process.exitcode for process in processes if process.exitcode]:
        sys.exit(f"{len(failed)} of {workers} workers failed; see above, and run again.")


def _wait(processes: Sequence[multiprocessing.process.BaseProcess]) -> None:
    until = time.monotonic() + REPORT_EVERY
    for process in processes:
        process.join(max(until - time.monotonic(), 0.0))


def _stamp(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def deadline(clock: str | None, now: datetime | None = None) -> float:
    """Return the next time (seconds since 1970) at which a local clock shows HH:MM."""
    if clock is None:
        return float("inf")
    now = now or datetime.now()
    hour, minute = map(int, clock.split(":"))
    then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (then if then > now else then + timedelta(days=1)).timestamp()


if __name__ == "__main__":
    main()
