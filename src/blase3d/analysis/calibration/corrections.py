"""Table of the corrections of a calibration, for those who keep lists of lines."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from astropy import units as u
from astropy.table import Table

from ...model.model import Model
from ...runtime.units import SPEED_OF_LIGHT, vacuum_to_air
from .. import identify
from ..line_table import main_components

_FAINTEST = 0.01
"""Least central depth of the lines that are listed."""


def corrections_table(model: Model, labels: Mapping[str, float]) -> Table:
    """Return the corrections of the lines of a calibrated model that stars constrain.

    Components of a line are one row. `dlog_gf` is the change of log gf, which is that of ln area
    over ln 10; the species and the `log_gf` of a list are given where the extra `identify` is
    installed.

    Parameters
    ----------
    model : Model
        A calibrated model.
    labels : dict
        Labels at which the depth is stated, and lines are identified.
    """
    calibration = model.calibration
    assert calibration is not None
    lines = model.lines(**labels)
    depth = lines.central_depth(model.recipe.composition)
    heads = main_components(lines) == np.arange(len(lines))
    rows = np.flatnonzero(heads & (calibration.stars > 0) & (depth > _FAINTEST))
    center = lines.center[rows]
    change, sigma = calibration.changes[rows], calibration.sigma[rows]
    velocity = SPEED_OF_LIGHT / model.reference[rows]
    columns = {
        "wavelength": np.round(center, 4) * u.AA,
        "air": np.round(vacuum_to_air(center), 4) * u.AA,
        "depth": np.round(depth[rows], 4),
        "dlog_gf": np.round(change[:, 0] / np.log(10.0), 3),
        "dlog_gf_err": np.round(sigma[:, 0] / np.log(10.0), 3),
        "shift": np.round(change[:, 1] * velocity, 3) * u.km / u.s,
        "shift_err": np.round(sigma[:, 1] * velocity, 3) * u.km / u.s,
        "dln_width": np.round(change[:, 2], 3),
        "dln_width_err": np.round(sigma[:, 2], 3),
        "stars": calibration.stars[rows],
    }
    species, log_gf = _identified(model, labels, rows)
    known = {"species": species, "log_gf_listed": log_gf} if species else {}
    table = Table({**columns, **known})
    table.meta["comment"] = "wavelength in vacuum; dlog_gf: new minus library, relative to [Fe/H]"
    return table


def _identified(
    model: Model, labels: Mapping[str, float], rows: np.ndarray
) -> tuple[list[str], list[float]]:
    """Species of the lines and their log gf in the list; nothing without it."""
    if not identify.available() or not rows.size:
        return [], []
    found = identify.identify(model, labels, model.reference[rows])
    first = [one.candidates[0] for one in found]
    log_gf = [
        np.nan if candidate.log_gf is None or one.best != candidate.species else candidate.log_gf
        for one, candidate in zip(found, first, strict=True)
    ]
    return [one.best for one in found], log_gf
