"""`blase3d infer --output` of many stars: results are stored as they come, and a run continues."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import typer

from ..errors import Blase3dError, InputError
from ..runtime.files import plain
from ..runtime.progress import Progress
from .support import err, executor, out, progress_bars

if TYPE_CHECKING:
    from ..analysis.many_stars import Labeller
    from ..inference.results_file import SurveyResults
    from ..inference.table import Row
    from ..spectra.formats.many import ManySpectra

SOME_FAILED = 3
"""Exit status when some stars have no labels, and others have."""
_LOG = logging.getLogger("blase3d.survey")


def run_survey(
    spectra: ManySpectra, labeller: Labeller, output: Path, workers: int, scheduler: str | None
) -> None:
    """Label the stars that have no labels yet, and write the table.

    The table is also written when the run is ended by Ctrl-C or SIGTERM.
    """
    from ..inference.results_file import SurveyResults

    results = SurveyResults(output, _run_of(labeller))
    with _log_file(output):
        done = _done(results, spectra)
        results.begin(done)
        try:
            with executor(workers, scheduler) as pool:
                _label(spectra, done, labeller, pool, results)
        except (KeyboardInterrupt, SystemExit) as end:
            err.print(f"stopped; the same command continues from {results.path}")
            results.finish(complete=False)
            raise SystemExit(getattr(end, "code", 128 + signal.SIGINT)) from None
        results.finish(complete=True)
        _conclude(results.counts, output)


def _run_of(labeller: Labeller) -> dict[str, Any]:
    """Version, models and settings, as they are stored with the results."""
    options = {**labeller.settings, **labeller.reading}
    options["priors"] = {name: _text_of(one) for name, one in options["priors"].items()}
    options["fixed"] = {name: f"{value:.12g}" for name, value in options["fixed"].items()}
    found = {"version": version("blase3d"), "models": labeller.identity, "options": options}
    return dict(plain(found))


def _text_of(prior: Any) -> str:
    return ", ".join(f"{name} {value:.12g}" for name, value in vars(prior).items())


def _done(results: SurveyResults, spectra: ManySpectra) -> set[str]:
    """Names of stars with labels from an earlier run, of spectra that have not changed since."""
    done = results.done()
    if changed := done & spectra.changed_since(results.since):
        err.print(f"{len(changed)} of the spectra have changed since, and are done again")
    if kept := len(done - changed):
        err.print(f"{kept} stars are in {results.output.name} already", highlight=False)
    return done - changed


def _label(
    spectra: ManySpectra,
    done: set[str],
    labeller: Labeller,
    pool: Executor | None,
    results: SurveyResults,
) -> None:
    total = sum(name not in done for name in spectra.names)
    with progress_bars() as progress:
        for count, row in enumerate(_rows(spectra, done, labeller, pool, progress), 1):
            results.add(row)
            _LOG.info("%s: %s", row["spectrum"], _summary(row))
            progress("infer", count, total)


def _rows(
    spectra: ManySpectra,
    done: set[str],
    labeller: Labeller,
    pool: Executor | None,
    progress: Progress,
) -> Iterator[Row]:
    """Rows of the stars that are left; those of a large stack are fitted together."""
    from ..analysis.many_stars import fitted_together
    from ..inference.batch import for_each

    if spectra.stack is not None:
        together = fitted_together(spectra.stack, labeller, done, pool, progress)
        if together is not None:
            yield from together
            return
    left = (one for one in spectra.each() if one.name not in done)
    for one, found in for_each(labeller.row, left, pool):
        if isinstance(found, Blase3dError):  # its worker died
            found = {"spectrum": one.name, "error": str(found)}
        yield found


def _summary(row: Mapping[str, Any]) -> str:
    """A row in words, for the log."""
    if "error" in row:
        return str(row["error"])
    names = [name.removesuffix("_sigma") for name in row if name.endswith("_sigma")]
    labels = ", ".join(f"{name} {row[name]:.6g}" for name in names if row[name] is not None)
    return f"{labels} ({row['model']}){'; ' if row['flags'] else ''}{row['flags']}"


def _conclude(counts: Mapping[str, int], output: Path) -> None:
    stars, failed = counts["stars"], counts["failed"]
    out.print(f"{output}: {stars} stars, {failed} failed", highlight=False)
    if failed:
        err.print(f"reasons are in the column error and in {output.name}.log", highlight=False)
        raise typer.Exit(SOME_FAILED if failed < stars else 1)


@contextmanager
def _log_file(output: Path) -> Iterator[None]:
    """Log each star to a file beside the table, which also keeps a second command from it."""
    with open(f"{output}.log", "a", encoding="utf-8") as stream:
        _lock(stream, output)
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        _LOG.addHandler(handler)
        _LOG.setLevel(logging.INFO)
        _LOG.info("blase3d %s: %s", version("blase3d"), shlex.join(sys.argv))
        try:
            yield
        finally:
            _LOG.removeHandler(handler)


def _lock(stream: IO[str], output: Path) -> None:
    """Refuse to work on the results of a command that is running. Windows has no such locks."""
    with suppress(ImportError):
        import fcntl

        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"another command is writing {output}; wait for its end, or give another --output."
            ) from None
