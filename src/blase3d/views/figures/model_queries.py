"""What figures are drawn of: places in a model, a line of it, and the spectra of its nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ...errors import ArchiveError, InputError, LabelError
from ...fitting.archive import Archive
from ...libraries.grid import same_labels
from ...lines.lines import Lines
from ...model.evaluate import Emulator, emulate, line_params
from ...model.interpolation import make_manifold
from ...model.model import Model, rates_of, surface_of

Floats = NDArray[np.float64]

PRESENT = -100.0
"""ln area below which a line counts as missing, as in the recipe `paper`."""
_AT_ONCE = 32
_NEAR = 0.5
"""Å around a wished wavelength in which the strongest line is meant."""


def varying(model: Model) -> list[str]:
    """Labels with more than one value."""
    return [name for name, axis in model.axes.items() if axis.size > 1]


def pair_of(model: Model, over: tuple[str, str] | None = None) -> tuple[str, str]:
    """The two labels of a map: those given, else Teff and log g, else the first two that vary.

    Raises
    ------
    LabelError
        One is unknown or does not vary, or fewer than two vary.
    """
    free = varying(model)
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
            "choose of these."
        )
    return over


def middle_node(model: Model) -> dict[str, float]:
    """The values of a node in the middle of every label: the lower of two, except that of
    abundances the one nearest to the Sun's."""
    return {
        name: float(axis[np.argmin(np.abs(axis))] if axis[0] <= 0 <= axis[-1] else _middle(axis))
        for name, axis in model.axes.items()
    }


def _middle(axis: Floats) -> float:
    return float(axis[(axis.size - 1) // 2])


def between_nodes(
    model: Model, node: Mapping[str, float], names: tuple[str, ...]
) -> dict[str, float]:
    """A node, moved by half a step along some labels (downwards at their upper end)."""
    moved = dict(node)
    for name in names:
        axis = model.axes[name]
        i = min(int(np.searchsorted(axis, node[name])), axis.size - 2)
        moved[name] = float(axis[i] + axis[i + 1]) / 2
    return moved


def neighbours(model: Model, labels: Mapping[str, float], name: str) -> tuple[float, float]:
    """The values of a label at the nodes below and above."""
    axis = model.axes[name]
    i = int(np.clip(np.searchsorted(axis, labels[name], side="right") - 1, 0, axis.size - 2))
    return float(axis[i]), float(axis[i + 1])


def choose_line(model: Model, labels: Mapping[str, float], near: float | None = None) -> int:
    """Index of a line: the one of the largest area, or the strongest within 0.5 Å of `near`. Where
    lines are missing at some nodes, it is the strongest of those that are there at most.

    Raises
    ------
    InputError
        `near` lies outside the model.
    """
    lines = model.lines(**labels)
    nodes = _nodes_with(model)
    low, high = model.wavelength[[0, -1]]
    inside = (lines.center >= low) & (lines.center <= high)
    if near is None:
        return _strongest(lines, nodes, inside)
    if not low <= near <= high:
        raise InputError(
            f"got a line at {near:g} Å, expected one within the model, {low:.1f} to {high:.1f} Å "
            "in vacuum; choose another."
        )
    distance = np.abs(lines.center - near)
    close = inside & (distance <= _NEAR)
    if not close.any():
        return int(np.argmin(np.where(inside, distance, np.inf)))
    return _strongest(lines, nodes, close)


def _nodes_with(model: Model) -> NDArray[np.int64]:
    """At how many nodes of the box each line is there, (C,)."""
    surface = surface_of(model.reference, model.emulator)
    count = np.zeros(len(surface), np.int64)
    for node in np.asarray(model.emulator.modes):
        count += surface.at(node[None])[0, :, 1] > PRESENT
    return count


def _strongest(lines: Lines, nodes: NDArray[np.int64], allowed: NDArray[np.bool_]) -> int:
    common = allowed & (nodes == nodes[allowed].max())
    return int(np.argmax(np.where(common, lines.ln_area, -np.inf)))


def course(model: Model, line: int, labels: Floats) -> Floats:
    """Parameters (M, 4), in the order of `lines.PARAMETERS`, of one line at labels (M, L); NaN
    where it is missing."""
    emulator = model.emulator
    alone = replace(
        emulator,
        base=emulator.base[line : line + 1],
        area=emulator.area[:, line : line + 1],
        shape=emulator.shape[:, line : line + 1],
    )
    params = np.array(_courses(alone, jnp.asarray(labels, jnp.float32))[:, 0], np.float64)
    params[params[:, 1] < PRESENT] = np.nan
    return params


def plane(
    model: Model, base: Mapping[str, float], first: str, x: Floats, second: str, y: Floats
) -> Floats:
    """Labels (n·m, L) on a plane of two of them, the second fastest."""
    columns = {name: np.full(x.size * y.size, value) for name, value in base.items()}
    columns[first], columns[second] = np.repeat(x, y.size), np.tile(y, x.size)
    return np.stack([columns[name] for name in model.label_names], axis=1)


def quantities(params: Floats) -> dict[str, Floats]:
    """ln a, and σ, γ and µ′ − µ in mÅ, of parameters (..., 4); NaN where the line is missing."""
    missing = np.where(np.isnan(params[..., 1]), np.nan, 0.0)
    return {
        "ln_area": params[..., 1],
        "sigma": 1e3 * np.exp(params[..., 2]) + missing,
        "gamma": 1e3 * np.exp(params[..., 3]) + missing,
        "shift": 1e3 * params[..., 0] + missing,
    }


@jax.jit
def _courses(emulator: Emulator, labels: Array) -> Array:
    return jax.vmap(partial(line_params, emulator))(labels)


def line_width(lines: Lines, i: int) -> float:
    """Full width at half maximum of a line, Å."""
    return float(lines.fwhm[i])


def visible_counts(model: Model, labels: Floats, depth: float) -> NDArray[np.int64]:
    """How many lines absorb at least `depth` of the continuum at their centres, each by itself,
    at labels (M, L), (M,)."""
    low, high = model.wavelength[[0, -1]]
    counts = []
    for start in range(0, len(labels), _AT_ONCE):
        vectors = jnp.asarray(labels[start : start + _AT_ONCE], jnp.float32)
        for params in np.asarray(_courses(model.emulator, vectors)):
            lines = Lines(model.reference, params, model.recipe.profile)
            seen = lines.central_depth(model.recipe.composition) >= depth
            inside = (lines.center >= low) & (lines.center <= high)
            counts.append(int((seen & inside).sum()))
    return np.array(counts)


@dataclass(frozen=True, eq=False)
class Nodes:
    """Spectra of the nodes, in units of the continuum: of the library, from its clones, or else as
    the model gives them back."""

    model: Model
    clones: Archive | None

    @property
    def source(self) -> str:
        """Where the spectra are from, in words."""
        if self.clones is not None:
            return "the library's own spectra"
        worst = self.model.meta.get("node_rms")
        within = f", which are those of the library to {max(worst):.0e} rms" if worst else ""
        return f"the model's spectra at the nodes{within}"

    @property
    def labels(self) -> Floats:
        """Labels (N, L) of the nodes."""
        if self.clones is not None:
            failed = self.clones.failed
            kept = [i for i in range(len(self.clones)) if i not in failed]
            return self._in_order(self.clones, self.model)[kept]
        stated = self.model.meta.get("nodes")
        if stated is not None:
            return np.asarray(stated, np.float64).reshape(-1, len(self.model.axes))
        box = np.meshgrid(*self.model.axes.values(), indexing="ij")
        return np.stack([axis.ravel() for axis in box], axis=1)

    @staticmethod
    def _in_order(clones: Archive, model: Model) -> Floats:
        """Labels of all nodes of the clones, in the order of the model's."""
        return clones.labels[:, [clones.label_names.index(name) for name in model.label_names]]

    def has(self, labels: Mapping[str, float]) -> bool:
        """Whether there is a node at these labels."""
        return bool(self._same(self.labels, labels).any())

    def flux(self, labels: Mapping[str, float]) -> Floats:
        """Flux (P,) of the node at these labels (ArchiveError if the library lacks it)."""
        if not self.has(labels):
            raise ArchiveError(f"the library has no node at {dict(labels)}; choose another.")
        if self.clones is None:
            return flux_at(self.model, labels)
        i = int(np.argmax(self._same(self._in_order(self.clones, self.model), labels)))
        return np.asarray(self.clones[i].flux, np.float64)

    def _same(self, rows: Floats, labels: Mapping[str, float]) -> NDArray[np.bool_]:
        span = np.array([np.ptp(axis) or 1.0 for axis in self.model.axes.values()])
        vector = np.array([labels[name] for name in self.model.label_names])
        return same_labels(rows, vector, span)


def nodes_of(model: Model, clones: Archive | None = None) -> Nodes:
    """The nodes of a model, with the spectra of its library if the clones are given.

    Raises
    ------
    ArchiveError
        The clones are of another library.
    """
    if clones is not None and clones.meta["fingerprint"] != model.meta.get("fingerprint"):
        raise ArchiveError(
            f"{clones.path} holds clones of another library than that of the model; give those "
            "that it was built from."
        )
    return Nodes(model, clones)


def without_node(model: Model, name: str, value: float) -> Emulator:
    """The emulator that interpolates without the nodes at one inner value of a label: what the
    others say is kept as it is, and the label itself borrows nothing."""
    axes = dict(model.axes)
    left = np.flatnonzero(~np.isclose(axes[name], value))
    rates = {
        label: values.take(left, axis=[other for other in axes if other != label].index(name))
        for label, values in rates_of(model).items()
        if label != name
    }
    kept = np.arange(int(np.prod([axis.size for axis in axes.values()])))
    shape = tuple(axis.size for axis in axes.values())
    kept = kept.reshape(shape).take(left, axis=list(axes).index(name)).ravel()
    axes[name] = axes[name][left]
    emulator, rest = model.emulator, model.emulator.residual
    return replace(
        emulator,
        manifold=make_manifold(axes, model.recipe.interpolation, rates),
        modes=emulator.modes[kept],
        residual=None if rest is None else replace(rest, nodes=rest.nodes[kept]),
    )


def flux_at(model: Model, labels: Mapping[str, float], *, residual: bool = True) -> Floats:
    """Flux (P,) of a model at labels, in float64."""
    return flux_of(model, model.emulator, labels, residual=residual)


def flux_of(
    model: Model, emulator: Emulator, labels: Mapping[str, float], *, residual: bool = True
) -> Floats:
    """The same by another emulator of the same labels."""
    flux = _emulate(emulator, model.label_vector(**labels), residual=residual)
    return np.asarray(flux, np.float64)


_emulate = jax.jit(emulate, static_argnames="residual")
