"""Table of the corrections of a calibration, for those who keep lists of lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table

from ...lines.lines import Lines
from ...model.model import Model
from ...runtime.arrays import Floats, Integers
from ...runtime.units import SPEED_OF_LIGHT, vacuum_to_air
from .. import identify
from ..line_table import main_lines

_FAINTEST = 0.01
"""Least central depth of the lines that are listed."""


def corrections_table(model: Model, labels: Mapping[str, float]) -> Table:
    """Return the corrections of the lines of a calibrated model that stars constrain.

    Components of a line are one row. `dlog_gf` is the change of log gf, which is that of ln area
    over ln 10. Where the extra `identify` is installed, the species is given, with the log gf of
    its list, `log_gf_listed`, and `log_gf`, which is that with the change. Of an `added` line, the
    changes are those from the list, as far as it is identified.

    Parameters
    ----------
    model : Model
        A calibrated model.
    labels : dict
        Labels at which the depth is stated, and lines are identified.
    """
    known = model.calibration
    assert known is not None
    lines, added = model.lines(**labels), ~known.of_library
    depth = lines.central_depth(model.recipe.composition)
    heads = main_lines(model, dict(labels), added) == np.arange(len(lines))
    rows = np.flatnonzero(heads & (known.stars > 0) & (depth > _FAINTEST))
    listed = _listed(model, labels, rows)
    velocity = SPEED_OF_LIGHT / model.reference[rows]
    dlog_gf, shift, width = known.changes[rows].astype(np.float64).T
    dlog_gf, shift = dlog_gf / np.log(10.0), shift * velocity
    ln_gf_err, shift_err, width_err = known.sigma[rows].astype(np.float64).T
    if added[rows].any():
        from_list = _from_list(lines, depth, rows, listed)
        dlog_gf, shift = np.where(added[rows], from_list, [dlog_gf, shift])
    columns: dict[str, Any] = {
        "wavelength": np.round(lines.center[rows], 4) * u.AA,
        "air": np.round(vacuum_to_air(lines.center[rows]), 4) * u.AA,
        "depth": np.round(depth[rows], 4),
        "added": added[rows],
        "dlog_gf": np.round(dlog_gf, 3),
        "dlog_gf_err": np.round(ln_gf_err / np.log(10.0), 3),
        "shift": np.round(shift, 3) * u.km / u.s,
        "shift_err": np.round(shift_err * velocity, 3) * u.km / u.s,
        "dln_width": np.round(np.where(added[rows], np.nan, width), 3),
        "dln_width_err": np.round(width_err, 3),
        "stars": known.stars[rows],
    }
    if listed is not None:
        names, log_gf = [one.best for one in listed], _of_best(listed, "log_gf")
        columns |= {"species": names, "log_gf_listed": np.round(log_gf, 3)}
        columns["log_gf"] = np.round(log_gf + dlog_gf, 3)
    table = Table(columns)
    table.meta["comment"] = (
        "wavelength in vacuum; dlog_gf: new minus library, relative to [Fe/H]; of added lines: new "
        "minus listed"
    )
    return table


def _listed(
    model: Model, labels: Mapping[str, float], rows: Integers
) -> list[identify.Identification] | None:
    """Identifications of the lines; None without the list."""
    if not identify.available() or not rows.size or "teff" not in model.axes:
        return None
    return identify.identify(model, labels, model.reference[rows])


def _of_best(listed: list[identify.Identification], name: str) -> Floats:
    """A number of the first candidate of each line, NaN where it is not identified."""
    first = [(one.best, one.candidates[0]) for one in listed]
    found = [getattr(each, name) if each.species == best else None for best, each in first]
    return np.array([np.nan if value is None else value for value in found])


def _from_list(
    lines: Lines, depth: Floats, rows: Integers, listed: list[identify.Identification] | None
) -> Floats:
    """log gf and velocity (km/s) of lines minus those of the list, (2, n)."""
    if listed is None:
        return np.full((2, rows.size), np.nan)
    opacity = np.log(depth[rows] / np.maximum(1.0 - depth[rows], 1e-6))
    log_gf = (opacity - _of_best(listed, "ln_opacity")) / np.log(10.0)
    wavelength = _of_best(listed, "wavelength")
    return np.stack([log_gf, (lines.center[rows] / wavelength - 1.0) * SPEED_OF_LIGHT])
