"""The nodes of a model and their spectra, for figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ArchiveError, LabelError
from ...fitting.archive import Archive
from ...libraries.grid import same_labels
from ...model.model import Model
from ...model.queries import varying_labels
from ...runtime.arrays import Bools, Floats


@dataclass(frozen=True, eq=False)
class Nodes:
    """Spectra of the nodes in units of the continuum.

    They are the library's own, from its clones, or else those that the model returns at the nodes.
    """

    model: Model
    clones: Archive | None

    @property
    def source(self) -> str:
        """The source of the spectra, for captions."""
        if self.clones is not None:
            return "the library's own spectra"
        worst = self.model.meta.get("node_rms")
        within = f", which match the library to {max(worst):.0e} rms" if worst else ""
        return f"the model's spectra at the nodes{within}"

    @property
    def labels(self) -> Floats:
        """Labels (N, L) of the nodes."""
        if self.clones is not None:
            failed = self.clones.failed
            kept = [i for i in range(len(self.clones)) if i not in failed]
            return self._clone_labels(self.clones)[kept]
        stated = self.model.meta.get("nodes")
        if stated is not None:
            return np.asarray(stated, np.float64).reshape(-1, len(self.model.axes))
        box = np.meshgrid(*self.model.axes.values(), indexing="ij")
        return np.stack([axis.ravel() for axis in box], axis=1)

    def _clone_labels(self, clones: Archive) -> Floats:
        """Labels of all nodes of the clones, in the order of the model's."""
        return clones.labels[:, [clones.label_names.index(name) for name in self.model.label_names]]

    def has(self, labels: Mapping[str, float]) -> bool:
        """Whether there is a node at these labels."""
        return bool(self._same(self.labels, labels).any())

    def nearest(self, labels: Mapping[str, float]) -> dict[str, float]:
        """Labels of the node nearest to these, in units of the range of each label."""
        rows, names = self.labels, self.model.label_names
        distance = np.abs((rows - [labels[name] for name in names]) / self._span).sum(axis=1)
        return dict(zip(names, map(float, rows[np.argmin(distance)]), strict=True))

    def flux(self, labels: Mapping[str, float]) -> Floats:
        """Flux (P,) of the node at these labels (ArchiveError if the library has no such node)."""
        if not self.has(labels):
            raise ArchiveError(f"the library has no node at {dict(labels)}; choose another.")
        if self.clones is None:
            return flux_at(self.model, labels)
        i = int(np.argmax(self._same(self._clone_labels(self.clones), labels)))
        return np.asarray(self.clones[i].flux, np.float64)

    @property
    def _span(self) -> Floats:
        return np.array([np.ptp(axis) or 1.0 for axis in self.model.axes.values()])

    def _same(self, rows: Floats, labels: Mapping[str, float]) -> Bools:
        vector = np.array([labels[name] for name in self.model.label_names])
        return same_labels(rows, vector, self._span)


def nodes_of(model: Model, clones: Archive | None = None) -> Nodes:
    """Return the nodes of a model, with the spectra of its library if the clones are given.

    Raises
    ------
    ArchiveError
        The clones are of another library.
    """
    if clones is not None and clones.meta["fingerprint"] != model.meta.get("fingerprint"):
        raise ArchiveError(
            f"{clones.path} has clones of another library than the model's; give the clones that "
            "the model was built from."
        )
    return Nodes(model, clones)


def flux_at(model: Model, labels: Mapping[str, float], *, residual: bool = True) -> Floats:
    """Flux (P,) of a model at labels, in float64."""
    given: dict[str, Any] = dict(labels)
    return np.asarray(model.flux(residual=residual, **given), np.float64)


def label_of(names: Sequence[str], wanted: str | None, kind: str) -> str:
    """Return the wanted label, or if None, Teff or the first of `names`.

    Raises
    ------
    LabelError
        The wanted label is not in `names`, or `names` is empty.
    """
    if wanted is None and names:
        return "teff" if "teff" in names else names[0]
    if wanted is None or wanted not in names:
        raise LabelError(
            f"got {wanted or 'no label'}, expected {kind} ({', '.join(names) or 'there is none'}); "
            "choose another."
        )
    return wanted


def pair_of(model: Model, over: tuple[str, str] | None = None) -> tuple[str, str]:
    """Return the labels of a map: those given, else Teff and log g, else the first two that vary.

    Raises
    ------
    LabelError
        One is unknown or does not vary, or fewer than two vary.
    """
    free = varying_labels(model)
    if over is None:
        if len(free) < 2:
            raise LabelError(
                f"the model has {len(free)} labels that vary, expected two for a map; "
                "leave this figure out."
            )
        both = {"teff", "logg"} <= set(free)
        return ("teff", "logg") if both else (free[0], free[1])
    if wrong := [name for name in over if name not in free] or (over[0] == over[1] and [over[1]]):
        raise LabelError(
            f"got {', '.join(wrong)}, expected two labels that vary: {', '.join(free)}; "
            "choose two of them."
        )
    return over
