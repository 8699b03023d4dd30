"""The table of many inferences, as `blase3d infer --output` writes it. Columns are added here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..parameters import FITTED, parameter

if TYPE_CHECKING:
    from astropy.table import QTable, Table

    from .result import Inference

FORMAT = "blase3d-inferences"


def table_of_inferences(
    rows: Sequence[dict[str, Any]], labels: Sequence[str], more: Sequence[str] = ()
) -> Table:
    """Return inferences as an astropy table, one row per spectrum.

    Parameters
    ----------
    rows : sequence of dict
        One for each spectrum: its name, `spectrum`, and either `Inference.to_dict()` or `error`,
        the reason why there is no answer. `model`, where it is there, is the name of the model.
    labels : sequence of str
        Names of the labels, in the order of the columns.
    more : sequence of str
        Names of further numbers in the rows, such as `odds`; they become the last columns.

    Returns
    -------
    astropy.table.Table
        Value and standard deviation (`teff`, `teff_sigma`) of each label, and of those of rv,
        vsini, vmac, resolution and dilution that were fitted in any row, with the number of a
        spectrum where they are apart; NaN where there is no number.
    """
    from astropy.table import Table

    columns: dict[str, list[Any]] = {"spectrum": [row["spectrum"] for row in rows]}
    units = {}
    numbered = dict.fromkeys(name for row in rows for name in row.get("nuisance", {}))
    for name in dict.fromkeys((*labels, *FITTED, *numbered)):
        estimates = [{**row.get("labels", {}), **row.get("nuisance", {})}.get(name) for row in rows]
        if any(estimates):
            for column, key in ((name, "value"), (f"{name}_sigma", "sigma")):
                columns[column] = [_number(estimate and estimate[key]) for estimate in estimates]
                units[column] = parameter(name).table_unit
    for name in ("chi2_red", "chi2_stated", "rms"):
        columns[name] = [_number(row.get(name)) for row in rows]
    columns["flags"] = ["; ".join(row.get("flags", [])) for row in rows]
    columns["error"] = [row.get("error", "") for row in rows]
    if any("model" in row for row in rows):
        columns["model"] = [row.get("model", "") for row in rows]
    columns |= {name: [_number(row.get(name)) for row in rows] for name in more}
    table = Table(columns, meta={"format": FORMAT, "version": 1})
    for column, unit in units.items():
        if unit:
            table[column].unit = unit
    return table


def table_of_inference(inference: Inference) -> QTable:
    """Return one inference as a table of one row, with units (`Inference.to_table`)."""
    from astropy.table import QTable
    from astropy.units import Unit

    columns: dict[str, Any] = {}
    for name, one in {**inference.labels, **inference.nuisance}.items():
        parts = {"": one.value, "_sigma": one.sigma, "_q16": one.q16, "_q84": one.q84}
        columns |= {f"{name}{ending}": (name, value) for ending, value in parts.items()}
    columns |= {
        name: (name, value) for name, value in inference.fixed.items() if name not in columns
    }
    table = QTable(meta={"format": FORMAT, "version": 1, "model": dict(inference.model_identity)})
    for column, (name, value) in columns.items():
        unit = parameter(name).table_unit
        unit = "dex" if column.endswith("_sigma") and unit.startswith("dex") else unit
        table[column] = [value] * Unit(unit) if unit else [value]
    table["chi2_red"] = [inference.chi2_red]
    table["pixels"], table["masked"] = [inference.n_pixels], [inference.n_masked]
    table["method"], table["flags"] = [inference.method], ["; ".join(inference.flags)]
    return table


def _number(value: float | None) -> float:
    return math.nan if value is None else value
