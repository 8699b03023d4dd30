"""The record `Grid`: a list of labelled spectra on common pixels, read on demand.

A grid need not be a full box; `holes` lists missing nodes. Labels are compared by integer indices
on the axes, never as floating-point numbers, so that 0.4 and 0.4000000000000001 are equal.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import GridError, LabelError
from ..parameters import RESERVED
from ..runtime.arrays import Bools, Floats, Integers
from ..spectra.spectrum import Spectrum, check_increasing, read_only

NodeArrays = tuple[NDArray[Any], NDArray[Any] | None]
"""Flux and, where the library has it, continuum of one node."""

SAME_LABEL = 1e-6
"""Labels closer than this, relative to their scale, are equal. It absorbs rounding in files."""
SHORTEST, LONGEST = 0.1, 1e8
"""Å, from X-rays to radio. Wavelengths outside are in another unit."""
LARGEST_BOX = 1_000_000
"""Most nodes of a full box whose holes are listed."""


@dataclass(frozen=True, eq=False, repr=False)
class Grid:
    """A library of N spectra on P common pixels, with L labels each.

    Examples
    --------
    >>> from blase3d.libraries.toy import toy_grid
    >>> grid = toy_grid({"teff": (5500.0, 6000.0), "logg": (4.5,), "feh": (0.0,)})
    >>> len(grid), grid.describe(0)
    (2, 'teff=5500 logg=4.5 feh=0')
    >>> grid.find(teff=6000, logg=4.5, feh=0)
    1
    """

    wavelength: Floats
    """(P,) Å in vacuum, strictly increasing."""
    labels: Floats
    """(N, L) labels of the nodes."""
    label_names: tuple[str, ...]
    """Lower-case names of the labels: teff, logg, feh, ..."""
    read: Callable[[int], NodeArrays]
    """Read flux and continuum (or None) of a node, unchecked; `grid[i]` checks them."""
    meta: Mapping[str, object] = field(default_factory=dict)
    """library, code, flux_unit, medium (vacuum), citation, licence, ..."""
    flags: Callable[[int], Mapping[str, object]] | None = None
    """Flags of a node, e.g. that convection was switched off; None: there are none."""
    digest: Callable[[int], str] | None = None
    """A cheap digest of a node's content, for `fingerprint`; None: there is none."""

    def __post_init__(self) -> None:
        wavelength = np.asarray(self.wavelength, dtype=np.float64)
        if wavelength.ndim != 1:
            raise GridError(f"the grid's wavelength has shape {wavelength.shape}, expected (P,).")
        check_increasing(wavelength, GridError, "the grid's wavelengths")
        if not SHORTEST <= wavelength[0] < wavelength[-1] <= LONGEST:
            raise GridError(
                f"the grid has {wavelength.size} wavelengths from {wavelength[0]:g} to "
                f"{wavelength[-1]:g}, expected two or more, in Å; correct them or their unit."
            )
        names = tuple(str(name).lower() for name in self.label_names)
        labels = _checked_labels(self.labels, names)
        object.__setattr__(self, "wavelength", read_only(wavelength))
        object.__setattr__(self, "label_names", names)
        object.__setattr__(self, "labels", read_only(labels))
        self._refuse_duplicates()

    def _refuse_duplicates(self) -> None:
        _, first, count = np.unique(self.box_index, axis=0, return_index=True, return_counts=True)
        if (count > 1).any():
            where = int(first[np.argmax(count > 1)])
            raise GridError(
                f"the grid has node {self.describe(where)} more than once; keep one of them."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return (
            f"<Grid of {len(self)} spectra, {self._extent}, {len(self.wavelength)} pixels from "
            f"{self.wavelength[0]:.6g} to {self.wavelength[-1]:.6g} Å>"
        )

    def __getitem__(self, i: int) -> Spectrum:
        """Return the spectrum of node i. `GridError` names a bad node by its labels."""
        i = self._index(i)
        try:
            flux, continuum = self.read(i)
        except GridError as fault:
            raise GridError(f"node {self.describe(i)} cannot be read: {fault}") from fault
        self._check_node(i, flux, continuum)
        meta = {**self.meta, "labels": self.labels_of(i)}
        if self.flags is not None:
            meta["node_flags"] = dict(self.flags(i))
        return Spectrum(self.wavelength, flux, continuum=continuum, meta=meta)

    def __iter__(self) -> Iterator[Spectrum]:
        return (self[i] for i in range(len(self)))

    def _index(self, i: int) -> int:
        if not -len(self) <= i < len(self):
            raise IndexError(f"node {i} of a grid of {len(self)}")
        return int(i) % len(self)

    def _check_node(self, i: int, flux: NDArray[Any], continuum: NDArray[Any] | None) -> None:
        shape = self.wavelength.shape
        fault = None
        if flux.shape != shape or (continuum is not None and continuum.shape != shape):
            fault = f"has arrays of another length than the {shape[0]} wavelengths"
        elif not np.isfinite(flux).all():
            fault = f"has {int((~np.isfinite(flux)).sum())} pixels that are not finite"
        elif not (flux > 0).any():
            fault = "has no positive flux"
        elif continuum is not None and not (np.isfinite(continuum) & (continuum > 0)).all():
            fault = "has a continuum that is not finite and positive"
        if fault is not None:
            raise GridError(
                f"node {self.describe(i)} {fault}; repair it, or leave it out of the grid."
            )

    def labels_of(self, i: int) -> dict[str, float]:
        """Return the labels of node i by name."""
        return dict(zip(self.label_names, map(float, self.labels[i]), strict=True))

    def describe(self, i: int) -> str:
        """Return the labels of node i as text, e.g. teff=5750 logg=4.5 feh=0."""
        return describe_labels(self.labels_of(i))

    @cached_property
    def axes(self) -> dict[str, Floats]:
        """Sorted values of each label."""
        columns = zip(self.label_names, self.labels.T, strict=True)
        return {name: read_only(_distinct(column)) for name, column in columns}

    @cached_property
    def box_index(self) -> Integers:
        """(N, L) index of every node on the axes."""
        columns = zip(self.axes.values(), self.labels.T, strict=True)
        return read_only(np.stack([_nearest(axis, column) for axis, column in columns], axis=1))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values of each label: the shape of the full box."""
        return tuple(len(axis) for axis in self.axes.values())

    @property
    def n_holes(self) -> int:
        """Number of nodes of the full box that are missing."""
        return math.prod(self.shape) - len(self)

    def holes(self) -> list[dict[str, float]]:
        """Return the labels of the nodes of the full box that are missing."""
        if math.prod(self.shape) > LARGEST_BOX:
            raise GridError(
                f"the {len(self)} nodes span a box of {math.prod(self.shape)}: they are not on "
                "common axes, so holes cannot be listed."
            )
        present = set(map(tuple, self.box_index.tolist()))
        missing = (p for p in product(*map(range, self.shape)) if p not in present)
        return [self._at(index) for index in missing]

    def _at(self, index: tuple[int, ...]) -> dict[str, float]:
        axes = self.axes.items()
        return {name: float(axis[k]) for (name, axis), k in zip(axes, index, strict=True)}

    def find(self, **labels: float) -> int | None:
        """Return the index of the node with these labels, all of which are needed, or None."""
        self._require_known(labels)
        if missing := [name for name in self.label_names if name not in labels]:
            raise LabelError(f"got no {', '.join(missing)}; give all of {self._names}.")
        wanted = np.array([labels[name] for name in self.label_names], dtype=np.float64)
        hits = np.flatnonzero(same_labels(self.labels, wanted, np.maximum(1.0, np.abs(wanted))))
        return int(hits[0]) if len(hits) else None

    def select(self, **ranges: tuple[float, float]) -> Grid:
        """Return the nodes whose labels lie within ranges (lo, hi), ends included."""
        self._require_known(ranges)
        keep = np.ones(len(self), dtype=bool)
        for name, (lo, hi) in ranges.items():
            column = self.labels[:, self.label_names.index(name)]
            keep &= (column >= lo - _tolerance(lo)) & (column <= hi + _tolerance(hi))
        if not keep.any():
            asked = " ".join(f"{name}={lo:g}:{hi:g}" for name, (lo, hi) in ranges.items())
            raise GridError(f"no node of the grid lies within {asked}; it has {self._extent}.")
        return self.take(np.flatnonzero(keep))

    def take(self, index: ArrayLike) -> Grid:
        """Return the nodes of these indices, in this order."""
        chosen = np.asarray(index, dtype=np.int64)
        return replace(
            self,
            labels=self.labels[chosen],
            read=_Chosen(self.read, chosen),
            flags=None if self.flags is None else _Chosen(self.flags, chosen),
            digest=None if self.digest is None else _Chosen(self.digest, chosen),
        )

    def cut(self, lo: float, hi: float) -> Grid:
        """Return the same nodes within the wavelengths lo to hi (Å), ends included."""
        start, stop = wavelength_slice(self.wavelength, lo, hi)
        return replace(
            self, wavelength=self.wavelength[start:stop], read=_Cut(self.read, start, stop)
        )

    def fingerprint(self) -> str:
        """Return a SHA-256 digest of labels, pixels and nodes.

        Nodes enter by their `digest`, if they have one: of the values in memory, the sums stored
        in a Zarr group, or name and size of a file. The same spectra in two formats may have
        different fingerprints.
        """
        sha = hashlib.sha256(json.dumps(self.label_names).encode())
        sha.update(np.ascontiguousarray(self.labels, dtype="<f8").tobytes())
        sha.update(np.ascontiguousarray(self.wavelength, dtype="<f8").tobytes())
        if self.digest is not None:
            for i in range(len(self)):
                sha.update(self.digest(i).encode())
        return sha.hexdigest()

    def _require_known(self, names: Mapping[str, object]) -> None:
        if unknown := [name for name in names if name not in self.label_names]:
            raise LabelError(f"got {', '.join(unknown)}; the labels of the grid are {self._names}.")

    @property
    def _names(self) -> str:
        return ", ".join(self.label_names)

    @property
    def _extent(self) -> str:
        return " ".join(f"{name}={axis[0]:g}:{axis[-1]:g}" for name, axis in self.axes.items())


def same_labels(rows: Floats, labels: Floats, scale: Floats) -> Bools:
    """Whether each of `rows` (N, L) has these labels, to `SAME_LABEL` of their `scale` (L,)."""
    return np.asarray((np.abs(rows - labels) <= SAME_LABEL * scale).all(axis=1))


def describe_labels(labels: Mapping[str, float]) -> str:
    """Return labels as text, e.g. teff=5750 logg=4.5 feh=0."""
    return " ".join(f"{name}={_short(value)}" for name, value in labels.items())


def grid_of(
    wavelength: ArrayLike,
    labels: ArrayLike,
    label_names: tuple[str, ...] | list[str],
    flux: NDArray[Any],
    continuum: NDArray[Any] | None = None,
    meta: Mapping[str, object] | None = None,
    flags: Callable[[int], Mapping[str, object]] | None = None,
) -> Grid:
    """Return a grid of spectra in memory: flux (N, P), continuum (N, P) or None; vacuum."""
    for name, values in (("wavelength", wavelength), ("labels", labels)):
        check_kind(name, np.asarray(values).dtype)
    pixels, table = (np.asarray(values, dtype=np.float64) for values in (wavelength, labels))
    read = _InMemory(np.asarray(flux), None if continuum is None else np.asarray(continuum))
    described = {"medium": "vacuum", **(meta or {})}
    grid = Grid(pixels, table, tuple(label_names), read, described, flags, read.digest)
    check_form(grid, "flux", read.flux)
    if read.continuum is not None:
        check_form(grid, "continuum", read.continuum)
    return grid


def check_kind(name: str, dtype: np.dtype[Any]) -> None:
    """Raise `GridError` unless values are real numbers."""
    if dtype.kind not in "iuf":
        raise GridError(f"the grid's {name} has type {dtype}, expected real numbers; convert it.")


def check_form(grid: Grid, name: str, array: Any) -> None:
    """Raise `GridError` unless an array of all nodes has real numbers and shape (N, P)."""
    check_kind(name, array.dtype)
    shape = array.shape
    wanted = (len(grid), len(grid.wavelength))
    if shape != wanted:
        raise GridError(
            f"the grid's {name} has shape {shape}, expected {wanted}: one row per node, "
            "one column per wavelength."
        )


def wavelength_slice(wavelength: Floats, lo: float, hi: float) -> tuple[int, int]:
    """Return first pixel, and one past the last, of the wavelengths lo to hi, ends included."""
    start = int(np.searchsorted(wavelength, lo, side="left"))
    stop = int(np.searchsorted(wavelength, hi, side="right"))
    if not start < stop:
        raise GridError(
            f"no pixel lies within {lo:g} to {hi:g} Å; the spectra extend from "
            f"{wavelength[0]:.6g} to {wavelength[-1]:.6g} Å: choose a range inside."
        )
    return start, stop


# Callables instead of closures, so that a grid can be sent to other processes.


@dataclass(frozen=True, eq=False)
class _InMemory:
    flux: NDArray[Any]
    continuum: NDArray[Any] | None

    def __call__(self, i: int) -> NodeArrays:
        return self.flux[i], None if self.continuum is None else self.continuum[i]

    def digest(self, i: int) -> str:
        return arrays_digest(*self(i))


def arrays_digest(flux: NDArray[Any], continuum: NDArray[Any] | None) -> str:
    """Return the SHA-256 sum of a node's values as in files: float32, little-endian."""
    sha = hashlib.sha256(np.ascontiguousarray(flux, dtype="<f4").tobytes())
    if continuum is not None:
        sha.update(np.ascontiguousarray(continuum, dtype="<f4").tobytes())
    return sha.hexdigest()


@dataclass(frozen=True, eq=False)
class _Chosen:
    source: Callable[[int], Any]
    index: Integers

    def __call__(self, i: int) -> Any:
        return self.source(int(self.index[i]))


@dataclass(frozen=True, eq=False)
class _Cut:
    source: Callable[[int], NodeArrays]
    start: int
    stop: int

    def __call__(self, i: int) -> NodeArrays:
        flux, continuum = self.source(i)
        kept = slice(self.start, self.stop)
        return flux[kept], None if continuum is None else continuum[kept]


def _checked_labels(labels: ArrayLike, names: tuple[str, ...]) -> Floats:
    # Adding 0.0 turns -0.0, which some libraries write, to 0.0.
    table = np.asarray(labels, dtype=np.float64) + 0.0
    if not names or len(set(names)) != len(names):
        raise GridError(f"got label names {names}, expected one or more different names.")
    if strange := [name for name in names if not _is_name(name)]:
        raise GridError(
            f"got label name {strange[0]!r}, expected one that can be printed, has no = and is "
            f"none of {', '.join(sorted(RESERVED))}; choose another."
        )
    if table.ndim != 2 or table.shape[1] != len(names) or not len(table):
        raise GridError(
            f"the grid's labels have shape {table.shape}, expected (N, {len(names)}) for "
            f"{', '.join(names)}, with at least one node."
        )
    wrong = ~np.isfinite(table)
    if wrong.any():
        node, column = np.argwhere(wrong)[0]
        raise GridError(
            f"the grid's node {node} has {names[column]}={table[node, column]}, expected a "
            "finite number; correct the label or remove the node."
        )
    return table


def _is_name(name: str) -> bool:
    plain = bool(name) and name == name.strip() and name.isprintable() and "=" not in name
    return plain and name not in RESERVED


def _tolerance(value: ArrayLike) -> Any:
    return SAME_LABEL * np.maximum(1.0, np.abs(value))


def _distinct(column: Floats) -> Floats:
    """Sorted values; nearly equal ones are merged, and rounding noise is removed."""
    ordered = np.sort(column)
    new = np.diff(ordered, prepend=-np.inf) > _tolerance(ordered)
    return np.round(ordered[new], 10)


def _nearest(axis: Floats, column: Floats) -> Integers:
    right = np.clip(np.searchsorted(axis, column), 1, max(1, len(axis) - 1))
    if len(axis) == 1:
        return np.zeros(len(column), dtype=np.int64)
    left_nearer = column - axis[right - 1] < axis[right] - column
    return (right - left_nearer).astype(np.int64)


def _short(value: float) -> str:
    return f"{round(value, 6) + 0.0:.12g}"
