"""Build a model from the archive of a cloned grid.

The lines come from the archive; the residual corrects what they leave at its nodes; the error modes
estimate the error between nodes, by leaving nodes out.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ..errors import ArchiveError
from ..lines.catalogue import equal_lines
from ..lines.lines import Lines
from ..lines.render import optical_depth, transmitted
from ..model.evaluate import PcaResidual
from ..model.grid_basis import functions_with_residual, grid_basis, rounded
from ..model.interpolation import box_number, coordinates, fill_holes
from ..model.interpolation_error import error_shares, make_error_modes
from ..model.line_grid import LineGrid, line_grid_layout
from ..model.model import Model
from ..model.residual import make_residual, opacity_roots, pixel_sample
from ..model.short_axes import fit_cross_derivatives
from ..recipe import JointFit, Recipe
from ..runtime.arrays import DEFAULT_FLOATING_POINT, Floats, Integers
from ..runtime.precision import in_float32
from ..runtime.progress import Progress, silent
from .archive import Archive, software_versions
from .windows import WindowFits

_LOG = logging.getLogger(__name__)

_SMALL = 8.0
"""Tolerance of the residual of a small model, relative to that of the recipe."""


@in_float32
@DEFAULT_FLOATING_POINT
def build(archive: Archive, progress: Progress = silent, *, small: bool = False) -> Model:
    """Build the model of a finished archive.

    Parameters
    ----------
    archive : Archive
        Made by `clone`.
    progress : callable
        Called with the stage, the steps done and the steps in all.
    small : bool
        Trade accuracy for size: the residual leaves eight times the error at the nodes.

    Raises
    ------
    ArchiveError
        The archive is not finished, or damaged.

    Examples
    --------
    >>> import blase3d as b3
    >>> grid = b3.open_grid("library.npz").cut(8495, 8501)
    >>> recipe = b3.get_recipe("default", rounds=0, epochs=5)
    >>> model = b3.build(b3.clone(grid, "to-build.zarr", recipe))
    >>> model.label_names
    ('teff', 'logg', 'feh')
    """
    recipe = _small(archive.recipe) if small else archive.recipe
    nodes = _read_nodes(archive, progress)
    lines, data_basis = _lines(archive, nodes)
    _LOG.info("%d lines from %s at %d nodes", len(lines.reference), archive.path, len(nodes.index))
    residual = _residual(lines, data_basis, nodes, recipe, progress)
    spline = recipe.interpolation == "spline"
    model = Model(
        nodes.wavelength,
        nodes.axes,
        lines,
        recipe,
        _meta(archive, nodes),
        residual,
        cross_derivatives=fit_cross_derivatives(nodes.axes, nodes.opacity_roots) if spline else {},
        data_basis=data_basis,
    )
    return _with_errors(model, nodes, progress)


def _small(recipe: Recipe) -> Recipe:
    if recipe.residual is None:
        return recipe
    return recipe.replace(residual=_SMALL * recipe.residual.tolerance)


@dataclass(frozen=True, eq=False)
class _Nodes:
    """The N nodes that were cloned.

    Attributes
    ----------
    wavelength : (P,)
    axes : dict
        Values of each label.
    index : (N,)
        In the archive.
    labels : (N, L)
    place : (N,)
        In the box of all combinations of label values, last label fastest.
    complete : (box, N)
        Takes values at the nodes to values in the whole box.
    flux : (N, P)
        In units of the continuum.
    """

    wavelength: Floats
    axes: dict[str, Floats]
    index: Integers
    labels: Floats
    place: Integers
    complete: Floats
    flux: NDArray[np.float32]

    @cached_property
    def opacity_roots(self) -> Floats:
        """`model.evaluate.opacity_root` of the box at some pixels, one dimension for each label."""
        pixels = pixel_sample(self.flux.shape[1])
        values = self.complete @ opacity_roots(self.flux[:, pixels])
        return values.reshape(*(axis.size for axis in self.axes.values()), -1)


def _read_nodes(archive: Archive, progress: Progress) -> _Nodes:
    index, axes = archive.nodes, archive.axes
    if index.size == 0:
        raise ArchiveError(f"no node of {archive.path} could be cloned; there is nothing to build.")
    box_index = archive.box_index[index]
    flux = np.empty((index.size, archive.wavelength.size), np.float32)
    for n, i in enumerate(index):
        flux[n] = archive[int(i)].flux
        progress("read", n + 1, index.size)
    return _Nodes(
        archive.wavelength,
        axes,
        index,
        archive.labels[index],
        box_number(axes, box_index),
        fill_holes(coordinates(axes), box_index),
        flux,
    )


def _lines(archive: Archive, nodes: _Nodes) -> tuple[LineGrid, Floats]:
    """Return the lines, and the data-driven basis functions at the nodes of the box, (box, K')."""
    recipe = archive.recipe
    if isinstance(recipe.fit, JointFit):
        fits = WindowFits(archive)
        lines = fits.lines(recipe.fit.rounds).rounded()
        return lines, rounded(nodes.complete @ fits.data_basis)
    reference, tables = _line_tables([archive.clone(int(i)).lines for i in nodes.index], recipe)
    box = np.tensordot(nodes.complete.astype(np.float32), tables, axes=1)
    base = np.zeros((reference.size, 4), np.float32)
    shape = box[:, :, [0, 2, 3]]
    lines = LineGrid(reference, base, box[:, :, 1], shape, profile=recipe.profile)
    return lines, np.empty((len(box), 0))


def _line_tables(lines: Sequence[Lines], recipe: Recipe) -> tuple[Floats, NDArray[np.float32]]:
    """Return references (C,) of the lines that nodes share, and their parameters (N, C, 4).

    A line that a node does not have gets the recipe's `missing_ln_area`, and its other parameters
    are their means over the nodes that have it. (The original fills all four.)
    """
    reference, places = equal_lines(lines)
    tables = np.full((len(lines), reference.size, 4), np.nan, np.float32)
    for table, node, place in zip(tables, lines, places, strict=True):
        table[place] = node.params
    mean = np.nanmean(tables, axis=0)
    mean[:, 1] = recipe.single.missing_ln_area
    return reference, np.where(np.isnan(tables), mean, tables)


def _residual(
    lines: LineGrid, data_basis: Floats, nodes: _Nodes, recipe: Recipe, progress: Progress
) -> PcaResidual | None:
    """Return the residual of the lines at the nodes, if the recipe has one."""
    if recipe.residual is None:
        return None
    smooth = lines.smoothed(functions_with_residual(lines, recipe, data_basis.shape[1]))
    basis = grid_basis(nodes.axes, recipe, data_basis)[nodes.place]
    flux = _line_flux(nodes.wavelength, smooth, basis, recipe, progress)
    return make_residual(flux, nodes.flux, nodes.complete, recipe.residual.tolerance)


def _line_flux(
    wavelength: Floats, lines: LineGrid, basis: Floats, recipe: Recipe, progress: Progress
) -> NDArray[np.float32]:
    """Return the flux (N, P) of the lines alone where the basis functions are `basis` (N, K)."""
    layout = line_grid_layout(wavelength, lines, basis, recipe)

    @jax.jit
    def render(params: Array) -> Array:
        depth = optical_depth(params, layout, recipe.composition)
        return transmitted(depth, recipe.composition)

    flux = np.empty((len(basis), wavelength.size), np.float32)
    for n, node in enumerate(basis):
        flux[n] = render(jnp.asarray(lines.at(node[None])[0]))
        progress("residual", n + 1, len(basis))
    return flux


def _meta(archive: Archive, nodes: _Nodes) -> dict[str, object]:
    """Return the origin of a model: library, versions, nodes and holes."""
    axes = nodes.axes.values()
    box = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    return {
        "library": archive.meta["library"],
        "fingerprint": archive.meta["fingerprint"],
        "versions": {"clone": archive.meta["versions"], "build": software_versions()},
        "nodes": nodes.labels.tolist(),
        "holes": np.delete(box, nodes.place, axis=0).tolist(),
    }


def _with_errors(model: Model, nodes: _Nodes, progress: Progress) -> Model:
    """Return the model with its errors at the nodes and between them."""
    meta = {
        **model.meta,
        "node_rms": _node_errors(model, nodes, True, progress),
        "node_lines_rms": _node_errors(model, nodes, False, progress),
        "error_shares": error_shares(model, nodes.opacity_roots),
    }
    progress("error model", 0, 1)
    modes = make_error_modes(model, meta["error_shares"])
    progress("error model", 1, 1)
    return replace(model, meta=meta, error_modes=modes).with_forward(model.forward)


def _node_errors(model: Model, nodes: _Nodes, residual: bool, progress: Progress) -> list[float]:
    """Return the rms over the pixels of model minus library, at every node."""
    errors = []
    for point, truth in zip(nodes.labels, nodes.flux, strict=True):
        labels = dict(zip(model.label_names, point, strict=True))
        difference = np.asarray(model.flux(**labels, residual=residual)) - truth
        errors.append(float(np.sqrt(np.mean(difference.astype(np.float64) ** 2))))
        progress("check", len(errors), len(nodes.labels))
    return errors
