"""Building: the archive of a cloned grid becomes a model.

The lines are those of the archive, the residual what they do not express of its nodes, and the
error model what leaving nodes out tells of the error between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ..errors import ArchiveError
from ..lines.catalogue import equal_lines
from ..lines.lines import Lines
from ..lines.render import optical_depth, transmitted
from ..model.grid_basis import box_functions, functions_with_residual, rounded
from ..model.interpolation import box_place, coordinates, fill_holes
from ..model.interpolation_error import emulator_error, error_shares
from ..model.line_grid import Surface, surface_layout
from ..model.model import Model, make_model
from ..model.residual import make_residual, some_pixels, strengths_of
from ..model.short_axes import borrow
from ..recipe import JointFit, Recipe
from ..runtime.progress import Progress, silent
from .archive import Archive, software_versions
from .windows import WindowFits

_SMALL = 8.0
"""How much more error at the nodes a small model has."""


def build(archive: Archive, progress: Progress = silent, *, small: bool = False) -> Model:
    """The model of a finished archive: lines, residual and error model.

    Parameters
    ----------
    small : bool
        Trade accuracy for size: the residual leaves eight times the error at the nodes.

    Raises
    ------
    ArchiveError
        The archive lacks nodes, or is damaged.
    """
    recipe = archive.recipe
    if small and recipe.residual is not None:
        recipe = recipe.replace(residual=_SMALL * recipe.residual.tolerance)
    nodes = archive.nodes
    if nodes.size == 0:
        raise ArchiveError(f"no node of {archive.path} could be cloned; there is nothing to build.")
    axes = archive.axes
    complete = fill_holes(coordinates(axes), archive.box_index[nodes])
    flux = _fluxes(archive, nodes, progress)
    surface, own = _lines(archive, nodes, complete)
    residual = None
    if recipe.residual is not None:
        count = functions_with_residual(surface, recipe, own.shape[1])
        smooth, place = surface.smoothed(count), box_place(axes, archive.box_index[nodes])
        at_nodes = box_functions(axes, recipe, own)[place]
        lines = _line_flux(archive.wavelength, smooth, at_nodes, recipe, progress)
        residual = make_residual(lines, flux, complete, recipe.residual.tolerance)
    meta = {
        "library": archive.meta["library"],
        "fingerprint": archive.meta["fingerprint"],
        "versions": {"clone": archive.meta["versions"], "build": software_versions()},
        "nodes": archive.labels[nodes].tolist(),
        "holes": _holes(archive, nodes),
    }
    strengths = _strengths(flux, complete, axes)
    rates = borrow(axes, strengths) if recipe.interpolation == "spline" else {}
    model = make_model(
        archive.wavelength, axes, surface, residual, recipe, meta, rates=rates, own=own
    )
    for name, with_rest in (("node_rms", True), ("node_lines_rms", False)):
        meta[name] = _node_errors(model, archive.labels[nodes], flux, with_rest, progress)
    meta["error_shares"] = error_shares(model, strengths)
    progress("error model", 0, 1)
    modes = emulator_error(model, meta["error_shares"])
    progress("error model", 1, 1)
    return replace(model, error_modes=modes)


def _holes(archive: Archive, nodes: NDArray[np.int64]) -> list[list[float]]:
    """Labels of the nodes of the box that there are no clones of."""
    axes = archive.axes
    box = np.stack(np.meshgrid(*axes.values(), indexing="ij"), axis=-1).reshape(-1, len(axes))
    absent = np.setdiff1d(np.arange(len(box)), box_place(axes, archive.box_index[nodes]))
    return box[absent].tolist()


def _fluxes(archive: Archive, nodes: NDArray[np.int64], progress: Progress) -> NDArray[np.float32]:
    """Spectra of the nodes in units of the continuum, (N, P)."""
    flux = np.empty((nodes.size, archive.wavelength.size), np.float32)
    for n, i in enumerate(nodes):
        flux[n] = archive[int(i)].flux
        progress("read", n + 1, nodes.size)
    return flux


def _strengths(
    flux: NDArray[np.float32],
    complete: NDArray[np.float64],
    axes: Mapping[str, NDArray[np.float64]],
) -> NDArray[np.float64]:
    """`emulator.strength` of the whole box at some pixels, one dimension for each label."""
    values = complete @ strengths_of(flux[:, some_pixels(flux.shape[1])])
    return values.reshape(*(len(axis) for axis in axes.values()), -1)


def _lines(
    archive: Archive, nodes: NDArray[np.int64], complete: NDArray[np.float64]
) -> tuple[Surface, NDArray[np.float64]]:
    """The lines, and the library's own functions at the nodes of the box, (box, K')."""
    recipe = archive.recipe
    if isinstance(recipe.fit, JointFit):
        joint = WindowFits(archive)
        return joint.surface(recipe.fit.rounds).rounded(), rounded(complete @ joint.own)
    reference, tables = _line_tables([archive.clone(int(i)).lines for i in nodes], recipe)
    box = np.tensordot(complete.astype(np.float32), tables, axes=1)
    base = np.zeros((reference.size, 4), np.float32)
    shape = box[:, :, [0, 2, 3]]
    surface = Surface(reference, base, box[:, :, 1], shape, profile=recipe.profile)
    return surface, np.empty((len(complete), 0))


def _line_tables(
    lines: Sequence[Lines], recipe: Recipe
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """References (C,) of the lines that nodes share, and their parameters (N, C, 4).

    Where a node lacks a line its ln area is the `missing_ln_area` of the recipe, and its other
    parameters are the means over the nodes that have it. (The original fills all four.)
    """
    reference, places = equal_lines(lines)
    tables = np.full((len(lines), reference.size, 4), np.nan, np.float32)
    for table, node, place in zip(tables, lines, places, strict=True):
        table[place] = node.params
    mean = np.nanmean(tables, axis=0)
    mean[:, 1] = recipe.single.missing_ln_area
    return reference, np.where(np.isnan(tables), mean, tables)


def _line_flux(
    wavelength: NDArray[np.float64],
    surface: Surface,
    at_nodes: NDArray[np.float64],
    recipe: Recipe,
    progress: Progress,
) -> NDArray[np.float32]:
    """What the lines alone render at the nodes, (N, P)."""
    layout = surface_layout(wavelength, surface, at_nodes, recipe)

    @jax.jit
    def render(params: Array) -> Array:
        depth = optical_depth(params, layout, recipe.composition)
        return transmitted(depth, recipe.composition)

    flux = np.empty((len(at_nodes), wavelength.size), np.float32)
    for n, node in enumerate(at_nodes):
        flux[n] = render(jnp.asarray(surface.at(node[None])[0]))
        progress("residual", n + 1, len(at_nodes))
    return flux


def _node_errors(
    model: Model,
    labels: NDArray[np.float64],
    flux: NDArray[np.float32],
    residual: bool,
    progress: Progress,
) -> list[float]:
    """rms over the pixels of model minus library, at every node."""
    errors = []
    for point, truth in zip(labels, flux, strict=True):
        given = dict(zip(model.label_names, point, strict=True))
        difference = np.asarray(model.flux(**given, residual=residual)) - truth
        errors.append(float(np.sqrt(np.mean(difference.astype(np.float64) ** 2))))
        progress("check", len(errors), len(labels))
    return errors
