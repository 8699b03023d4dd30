"""Build a model from the archive of a cloned grid.

The lines come from the archive; the residual corrects what they leave at its nodes; the error modes
estimate the error between nodes, by leaving nodes out (`build_windows`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArchiveError
from ..lines.catalogue import equal_lines
from ..lines.lines import Lines
from ..model.grid_basis import rounded
from ..model.interpolation_error import error_shares
from ..model.line_grid import LineGrid
from ..model.model import Model
from ..model.model_windows import window_bounds
from ..model.residual import opacity_roots, pixel_sample
from ..model.short_axes import fit_cross_derivatives
from ..recipe import JointFit, Recipe
from ..runtime.arrays import DEFAULT_FLOATING_POINT, Floats
from ..runtime.precision import in_float32
from ..runtime.progress import Progress, silent
from ..runtime.rows import read_blocks
from .archive import Archive, flux_rows, software_versions
from .build_windows import BuildNodes, build_at_once, build_by_windows
from .windows import WindowFits

_LOG = logging.getLogger(__name__)

_SMALL = 8.0
"""Tolerance of the residual of a small model, relative to that of the recipe."""


@in_float32
@DEFAULT_FLOATING_POINT
def build(
    archive: Archive,
    progress: Progress = silent,
    *,
    small: bool = False,
    executor: Executor | None = None,
) -> Model:
    """Build the model of a finished archive.

    Spectra of more than 24,000 pixels are built by windows of 16,384. The windows are stored in
    the archive, and the model reads them when they are needed.

    Parameters
    ----------
    archive : Archive
        Made by `clone`.
    progress : callable
        Called with the stage, the steps done and the steps in all.
    small : bool
        Trade accuracy for size: the residual leaves eight times the error at the nodes.
    executor : Executor, optional
        Builds the windows; by default this process.

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
    nodes = _nodes(archive)
    lines, data_basis = _lines(archive, nodes)
    _LOG.info("%d lines from %s at %d nodes", len(lines.reference), archive.path, len(nodes.index))
    bounds = window_bounds(archive.wavelength.size)
    sample = pixel_sample(archive.wavelength.size, len(data_basis))  # of the whole box
    if bounds.size == 2:
        flux = flux_rows(archive, nodes.index, slice(None), progress)
        some = np.concatenate([rows[:, sample] for rows in read_blocks(flux)])
        frame = _frame(archive, recipe, nodes, lines, data_basis, some)
        return build_at_once(frame, nodes, flux, progress)
    some = flux_rows(archive, nodes.index, sample, progress)[:]
    frame = _frame(archive, recipe, nodes, lines, data_basis, some)
    return build_by_windows(archive, frame, nodes, bounds, executor, progress)


def _frame(
    archive: Archive,
    recipe: Recipe,
    nodes: BuildNodes,
    lines: LineGrid,
    data_basis: Floats,
    flux: NDArray[np.float32],
) -> Model:
    """Return the model without residual, from its lines and the flux (N, P) of the nodes at some
    pixels."""
    roots = _roots(nodes, flux)
    spline = recipe.interpolation == "spline"
    frame = Model(
        archive.wavelength,
        nodes.axes,
        lines,
        recipe,
        _meta(archive, nodes),
        cross_derivatives=fit_cross_derivatives(nodes.axes, roots) if spline else {},
        data_basis=data_basis,
    )
    return replace(frame, meta={**frame.meta, "error_shares": error_shares(frame, roots)})


def _small(recipe: Recipe) -> Recipe:
    if recipe.residual is None:
        return recipe
    return recipe.replace(residual=_SMALL * recipe.residual.tolerance)


def _nodes(archive: Archive) -> BuildNodes:
    index = archive.nodes
    if index.size == 0:
        raise ArchiveError(f"no node of {archive.path} could be cloned; there is nothing to build.")
    return BuildNodes(archive.axes, index, archive.labels[index], archive.box_index[index])


def _roots(nodes: BuildNodes, flux: NDArray[np.float32]) -> Floats:
    """Return `model.evaluate.opacity_root` of the box, one dimension for each label, from the flux
    (N, P) of the nodes at some pixels."""
    values = nodes.complete @ opacity_roots(flux)
    return values.reshape(*(axis.size for axis in nodes.axes.values()), -1)


def _lines(archive: Archive, nodes: BuildNodes) -> tuple[LineGrid, Floats]:
    """Return the lines, and the data-driven basis functions at the nodes of the box, (box, K')."""
    recipe = archive.recipe
    if isinstance(recipe.fit, JointFit):
        fits = WindowFits(archive)
        lines = fits.lines(recipe.fit.rounds).rounded()
        data_basis = nodes.complete @ fits.data_basis
        return lines, rounded(data_basis)
    reference, tables = _line_tables([archive.clone(int(i)).lines for i in nodes.index], recipe)
    box = (nodes.complete @ tables.astype(np.float64)).astype(np.float32)
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


def _meta(archive: Archive, nodes: BuildNodes) -> dict[str, Any]:
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
