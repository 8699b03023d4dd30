"""Models of known lines, for tests that need one without a fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from blase3d.libraries.toy import LINES, toy_grid, toy_lines
from blase3d.model.evaluate import PcaResidual
from blase3d.model.line_calibration import LineCalibration
from blase3d.model.line_grid import LineGrid
from blase3d.model.mismatch import Mismatch
from blase3d.model.model import Model
from blase3d.model.residual import node_steps, scale_number, scale_of
from blase3d.recipe import DEFAULT, SINGLE

NODEWISE = SINGLE.replace(name="nodewise", composition="sum", missing_ln_area=-1000.0)
"""Lines with parameters at each node, interpolated; they compose as in the toy universe."""

# Tests that clone the same grid by the same recipe share compiled code.
SMALL = {"teff": (5000.0, 5500.0, 6000.0), "logg": (4.0, 5.0), "feh": (-0.5, 0.5)}
TINY = DEFAULT.replace(name="tiny", rounds=1, epochs=4, window=400, margin=50)
"""Two windows, two rounds, few steps: for clones that need not be good."""
NARROW = {"teff": (5500.0, 5750.0, 6000.0), "logg": (4.25, 4.75), "feh": (-0.25, 0.25)}
QUICK = DEFAULT.replace(name="quick", area_root=0, epochs=40, rounds=0)
"""For clones of `NARROW` that are good to a few 1e-3."""


def small_grid():
    """Return twelve nodes of 800 pixels, for `TINY`."""
    return toy_grid(SMALL).cut(8480.0, 8496.0)


def nodewise_surface(params):
    """Return toy lines with the parameters `params` (box, C, 4) at the nodes of a box."""
    params = np.asarray(params, np.float32)
    base = np.zeros(params.shape[1:], np.float32)
    return LineGrid(LINES[:, 0], base, params[:, :, 1], params[:, :, [0, 2, 3]])


def true_params(grid):
    """Return the parameters (N, C, 4) of the toy lines at the nodes of a grid."""
    return np.stack([toy_lines(labels).params for labels in grid.labels])


def whole_residual(nodes, pixels, step):
    """Return a residual of `nodes` (N, R) and `pixels` (R, P), rounded as in a model file."""
    scale = scale_of(scale_number(np.full(pixels.shape[1], step)))
    whole = np.round(pixels / scale).astype(np.float32)
    steps = node_steps(whole)
    return PcaResidual((np.round(nodes / steps) * steps).astype(np.float32), whole, scale)


def model_of(grid, params=None, rest=None, meta=None, recipe=NODEWISE, rates=None):
    """A model of a grid that is a full box: its lines (the true ones if None), and the `rest`
    (N, P) in `opacity_root` that they do not express; with `rates`, cross derivatives."""
    surface = nodewise_surface(true_params(grid) if params is None else params)
    residual = None
    if rest is not None:
        residual = whole_residual(np.eye(len(grid)), np.asarray(rest), step=1e-6)
    else:
        recipe = recipe.replace(residual=None)
    return Model(
        grid.wavelength,
        grid.axes,
        surface,
        recipe,
        meta or {},
        residual,
        cross_derivatives=rates or {},
    )


def with_mismatch(model, variance):
    """Return a model with the lines of its library, and a mismatch with stars at the knots."""
    count = len(model.reference)
    mismatch = Mismatch(model.wavelength[[0, -1]], variance.astype(np.float32))
    zeros = np.zeros((count, 3), np.float32)
    calibration = LineCalibration(zeros, zeros, np.zeros(count, np.int32), mismatch)
    return replace(model, calibration=calibration)
