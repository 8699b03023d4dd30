"""Questions to a model: its nodes, and its lines over the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..errors import InputError
from ..lines.lines import Lines
from ..runtime.arrays import Bools, Floats, Integers
from ..runtime.precision import in_float32
from .evaluate import ForwardModel, line_params
from .interpolation import make_interpolation
from .model import Model

PRESENT = -100.0
"""ln area below which a line is missing, as at some nodes of models of the recipe `paper`."""
_BATCH = 32
"""Spectra whose lines are evaluated together."""
_NEAR = 0.5
"""Half width (Å) of the range around a wavelength in which the strongest line is chosen."""


def varying_labels(model: Model) -> list[str]:
    """Return the labels of more than one value."""
    return [name for name, axis in model.axes.items() if axis.size > 1]


def middle_node(model: Model) -> dict[str, float]:
    """Return the labels of a node in the middle of the grid.

    Of an even number of values, it is the lower of the two in the middle; of an axis that includes
    zero, as those of abundances, the value nearest to zero.
    """

    def middle(axis: Floats) -> float:
        zero = axis[0] <= 0 <= axis[-1]
        return float(axis[np.argmin(np.abs(axis)) if zero else (axis.size - 1) // 2])

    return {name: middle(axis) for name, axis in model.axes.items()}


def between_nodes(
    model: Model, node: Mapping[str, float], names: tuple[str, ...]
) -> dict[str, float]:
    """Return a node, shifted by half a step along some labels (downwards at the upper end)."""
    return {**node, **{name: sum(neighbours(model, node, name)) / 2 for name in names}}


def neighbours(model: Model, labels: Mapping[str, float], name: str) -> tuple[float, float]:
    """Return the values of a label at the nodes below and above."""
    axis = model.axes[name]
    i = int(np.clip(np.searchsorted(axis, labels[name], side="right") - 1, 0, axis.size - 2))
    return float(axis[i]), float(axis[i + 1])


def choose_line(model: Model, labels: Mapping[str, float], near: float | None = None) -> int:
    """Return the index of the line of largest area, or of the strongest within 0.5 Å of `near`.

    If lines are missing at some nodes, only the lines present at most nodes are considered.

    Raises
    ------
    InputError
        `near` lies outside the model.
    """
    lines = model.lines(**labels)
    nodes = _count_nodes(model)
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


def _count_nodes(model: Model) -> Integers:
    """Count the nodes of the box at which each line is present, (C,)."""
    count = np.zeros(len(model.reference), np.int64)
    for node in model.basis:
        count += model.line_grid.at(node[None])[0, :, 1] > PRESENT
    return count


def _strongest(lines: Lines, nodes: Integers, allowed: Bools) -> int:
    common = allowed & (nodes == nodes[allowed].max())
    return int(np.argmax(np.where(common, lines.ln_area, -np.inf)))


def line_over_labels(model: Model, line: int, labels: Floats) -> Floats:
    """Return the parameters (M, 4) of one line at labels (M, L), NaN where it is missing.

    They are in the order of `lines.PARAMETERS`.
    """
    forward = model.forward
    alone = replace(
        forward,
        base=forward.base[line : line + 1],
        area=forward.area[:, line : line + 1],
        shape=forward.shape[:, line : line + 1],
    )
    params = np.array(_line_params(alone, jnp.asarray(labels, jnp.float32))[:, 0], np.float64)
    params[params[:, 1] < PRESENT] = np.nan
    return params


@jax.jit
def _line_params(forward: ForwardModel, labels: Array) -> Array:
    return jax.vmap(partial(line_params, forward))(labels)


def label_mesh(model: Model, base: Mapping[str, float], values: Mapping[str, Floats]) -> Floats:
    """Return labels (N, L) at all combinations of the given values.

    The label given last varies fastest; the others have their values in `base`.
    """
    mesh = np.meshgrid(*values.values(), indexing="ij")
    columns = {name: np.full(mesh[0].size, value) for name, value in base.items()}
    columns |= {name: grid.ravel() for name, grid in zip(values, mesh, strict=True)}
    return np.stack([columns[name] for name in model.label_names], axis=1)


def line_quantities(params: Floats) -> dict[str, Floats]:
    """Convert parameters (..., 4) to ln area (Å), and σ, γ and shift in mÅ.

    All are NaN where the line is missing.
    """
    missing = np.where(np.isnan(params[..., 1]), np.nan, 0.0)
    return {
        "ln_area": params[..., 1],
        "sigma": 1e3 * np.exp(params[..., 2]) + missing,
        "gamma": 1e3 * np.exp(params[..., 3]) + missing,
        "shift": 1e3 * params[..., 0] + missing,
    }


def count_lines(model: Model, labels: Floats, depth: float) -> Integers:
    """Count the lines of at least a central depth (of each line alone) at labels (M, L), (M,)."""
    low, high = model.wavelength[[0, -1]]
    counts = []
    for start in range(0, len(labels), _BATCH):
        vectors = jnp.asarray(labels[start : start + _BATCH], jnp.float32)
        for params in np.asarray(_line_params(model.forward, vectors)):
            lines = Lines(model.reference, params, model.recipe.profile)
            deep = lines.central_depth(model.recipe.composition) >= depth
            inside = (lines.center >= low) & (lines.center <= high)
            counts.append(int((deep & inside).sum()))
    return np.array(counts)


@in_float32
def without_node(model: Model, name: str, value: float) -> Model:
    """Return the model as it interpolates without the nodes at one inner value of a label.

    Cross derivatives of the other labels are kept; those of the label itself are dropped.
    """
    axes = dict(model.axes)
    left = np.flatnonzero(~np.isclose(axes[name], value))
    cross = {
        label: values.take(left, axis=[other for other in axes if other != label].index(name))
        for label, values in model.cross_derivatives.items()
        if label != name
    }
    shape = tuple(axis.size for axis in axes.values())
    kept = np.arange(int(np.prod(shape))).reshape(shape)
    kept = kept.take(left, axis=list(axes).index(name)).ravel()
    axes[name] = axes[name][left]
    forward, residual = model.forward, model.forward.residual
    return model.with_forward(
        replace(
            forward,
            interpolation=make_interpolation(
                axes, model.recipe.interpolation, cross, transitions=model.transitions
            ),
            basis=forward.basis[kept],
            residual=None if residual is None else residual.of_nodes(kept),
        )
    )
