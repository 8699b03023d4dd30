"""The queue: which spectra, in which order, who computes which, and what is done.

Every worker takes the first spectrum that is neither done nor claimed. A claim is a lock on a file,
which the system releases when the process ends, in whatever way. Results appear under their name
only when they are complete. Workers can therefore be killed and started again at any time, and
several machines with a common folder can share the work.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .atmospheres import Atmospheres, corners
from .described import Described, HeldOut, Labels
from .packages import PreparationError
from .turbospectrum import Computed, Hole

NODE_SPACING = (250.0, 0.5, 0.5)
"""Spacing of the nodes of the libraries in Teff, log g and [M/H]."""


@dataclass(frozen=True)
class Batch:
    """Spectra that are computed together."""

    name: str
    labels: tuple[Labels, ...]


def plan(library: Described, atmospheres: Atmospheres) -> tuple[Batch, ...]:
    """Return all spectra of a library in the order of computing: held-out points, parts, rest."""
    parts = [(part.name, library.nodes(part)) for part in library.parts]
    batches = [
        ("held-out", held_out(library, atmospheres)),
        *parts,
        ("rest", library.nodes()),
    ]
    return tuple(Batch(name, labels) for name, labels in _without_repetition(batches))


def _without_repetition(
    batches: Sequence[tuple[str, Sequence[Labels]]],
) -> Iterator[tuple[str, tuple[Labels, ...]]]:
    before: set[Labels] = set()
    for name, labels in batches:
        new = tuple(x for x in dict.fromkeys(labels) if x not in before)
        before.update(new)
        yield name, new


def held_out(library: Described, atmospheres: Atmospheres) -> list[Labels]:
    """Return the held-out points; those of the first [alpha/M] come first, and so on."""
    found = [_random_points(sample, atmospheres) for sample in library.held_out]
    ordered: list[Labels] = []
    for i in range(max(len(sample.alphas) or 1 for sample in library.held_out)):
        for sample, points in zip(library.held_out, found, strict=True):
            ordered += [(*point, *sample.alphas[i : i + 1]) for point in points]
    return ordered


def _random_points(sample: HeldOut, atmospheres: Atmospheres) -> list[Labels]:
    """Points whose cell of the library has an atmosphere at each corner.

    Teff is a multiple of 1 K, log g and [M/H] of 0.01.
    """
    rng = np.random.default_rng(sample.seed)
    low, high = np.transpose([sample.ranges[name] for name in ("teff", "logg", "feh")])
    points: list[Labels] = []
    while len(points) < sample.count:
        drawn = rng.uniform(low, high).tolist()
        t, g, z = (round(x, digits) for x, digits in zip(drawn, (0, 2, 2), strict=True))
        cell = corners((t, g, z), NODE_SPACING)
        needed = [*cell, *corners((t, g, z))]
        if len(cell) == 8 and all(atmospheres.has(*node) for node, _ in needed):
            points.append((t, g, z))
    return points


def name_of(labels: Labels) -> str:
    """Return the name of the files of a spectrum."""
    return "_".join(f"{x:g}" for x in labels)


@dataclass(frozen=True)
class Store:
    """Spectra, holes and claims in a folder."""

    folder: Path

    def __post_init__(self) -> None:
        for name in ("spectra", "holes", "claims", "scratch"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def spectrum_path(self, labels: Labels) -> Path:
        return self.folder / "spectra" / f"{name_of(labels)}.npy"

    def hole_path(self, labels: Labels) -> Path:
        return self.folder / "holes" / f"{name_of(labels)}.txt"

    def done(self, labels: Labels) -> bool:
        """Whether there is a spectrum, or a reason why there is none."""
        return self.spectrum_path(labels).exists() or self.hole_path(labels).exists()

    def spectrum(self, labels: Labels) -> Computed | None:
        path = self.spectrum_path(labels)
        return np.load(path, allow_pickle=False) if path.exists() else None

    def hole(self, labels: Labels) -> str | None:
        path = self.hole_path(labels)
        return path.read_text() if path.exists() else None

    def save(self, labels: Labels, spectrum: Computed) -> None:
        path = self.spectrum_path(labels)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.save(file, spectrum)
        partial.rename(path)

    def save_hole(self, labels: Labels, reason: str) -> None:
        path = self.hole_path(labels)
        partial = path.with_suffix(".partial")
        partial.write_text(reason)
        partial.rename(path)

    @contextmanager
    def claim(self, labels: Labels) -> Iterator[bool]:
        """Whether these labels are to be computed here: not done, and claimed by nobody else."""
        path = self.folder / "claims" / name_of(labels)
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            try:
                yield not self.done(labels)
            finally:
                path.unlink(missing_ok=True)


def work(
    labels: Sequence[Labels],
    store: Store,
    compute: Callable[[Labels], Computed],
    deadline: float = np.inf,
    clock: Callable[[], float] = time.time,
    report: Callable[[str], None] = lambda text: None,
) -> int:
    """Compute the spectra that are neither done nor claimed; return how many.

    No spectrum is begun after the deadline (seconds since 1970).
    """
    count = 0
    for each in labels:
        if clock() >= deadline:
            break
        if store.done(each):
            continue
        with store.claim(each) as mine:
            if mine:
                report(f"{name_of(each)} {_one(each, store, compute)}")
                count += 1
    return count


def _one(labels: Labels, store: Store, compute: Callable[[Labels], Computed]) -> str:
    start = time.monotonic()
    try:
        store.save(labels, compute(labels))
    except Hole as hole:
        store.save_hole(labels, str(hole))
        return f"hole: {hole}"
    return f"done in {time.monotonic() - start:.1f} s"


def through(batches: Sequence[Batch], name: str | None) -> tuple[Batch, ...]:
    """Return the batches up to the one of this name, included; all of them for None."""
    names = [batch.name for batch in batches]
    if name is not None and name not in names:
        raise PreparationError(f"got part {name!r}, expected one of {', '.join(names)}.")
    return tuple(batches[: len(names) if name is None else names.index(name) + 1])


def ordered(batches: Sequence[Batch]) -> list[Labels]:
    """Return the labels of all batches, in the order of computing."""
    return [labels for batch in batches for labels in batch.labels]


@dataclass(frozen=True)
class Progress:
    """How many spectra of each batch are done, and how many are holes."""

    batches: tuple[tuple[str, int, int], ...]
    """Name, number done and number of spectra of each batch."""
    holes: int

    @property
    def done(self) -> int:
        return sum(done for _, done, _ in self.batches)

    @property
    def total(self) -> int:
        return sum(total for _, _, total in self.batches)

    def text(self, rate: float) -> str:
        """One line; `rate` is in spectra per second, 0 where it is unknown."""
        each = ", ".join(f"{name} {done}/{total}" for name, done, total in self.batches)
        left = self.total - self.done
        estimate = f"; about {left / rate / 3600:.1f} h left" if left and rate > 0 else ""
        return f"{self.done} of {self.total} ({each}), {self.holes} of them holes{estimate}"


def progress(batches: Sequence[Batch], store: Store) -> Progress:
    """Count the results of each batch."""
    spectra = {path.stem for path in (store.folder / "spectra").glob("*.npy")}
    holes = {path.stem for path in (store.folder / "holes").glob("*.txt")}
    counts = []
    missing = 0
    for batch in batches:
        names = {name_of(labels) for labels in batch.labels}
        missing += len(names & holes)
        counts.append((batch.name, len(names & (spectra | holes)), len(names)))
    return Progress(tuple(counts), missing)
