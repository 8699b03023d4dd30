"""The table of many inferences, as `blase3d infer --output` writes it. Columns are added here.

A row is a dictionary of plain values by column. Numbers that are missing are NaN in the table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..parameters import FITTED, parameter
from .flag_bits import flag_bits

if TYPE_CHECKING:
    from astropy.table import QTable, Table

    from .result import Inference

FORMAT = "blase3d-inferences"
VERSION = 1
Row = dict[str, Any]
_SIGMA = "_sigma"
_COUNTS = ("pixels", "masked")
"""Columns of integers, 0 where there is no answer."""


def flat_row(answer: Mapping[str, Any]) -> Row:
    """Return the row of a star, from `Inference.to_dict()` and the name of the `spectrum`; or from
    `error`, the reason why there is no answer. Other entries become columns of their own."""
    estimates = {**answer.get("labels", {}), **answer.get("nuisance", {})}
    row: Row = {"spectrum": answer["spectrum"]}
    for name, estimate in estimates.items():
        row |= {name: estimate["value"], f"{name}{_SIGMA}": estimate["sigma"]}
    flags = answer.get("flags", [])
    row |= {"flags": "; ".join(flags), "flag_bits": flag_bits(flags)}
    left_out = {"labels", "nuisance", "windows", *row}
    return row | {name: value for name, value in answer.items() if name not in left_out}


def parameters_in(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the names of the parameters that any row has: labels, then those of observation."""
    found = dict.fromkeys(
        name.removesuffix(_SIGMA) for row in rows for name in row if name.endswith(_SIGMA)
    )
    return tuple(sorted(found, key=_rank))


def _rank(name: str) -> int:
    """Labels first, then the parameters of the observation in their order, then numbered ones."""
    if name in FITTED:
        return 1 + FITTED.index(name)
    return 0 if name.rpartition("_")[0] not in FITTED else 1 + len(FITTED)


def table_of_rows(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], more: Sequence[str] = ()
) -> Table:
    """Return rows as an astropy table, with columns for these parameters and further numbers."""
    from astropy.table import Table

    numbers = [column for name in names for column in (name, f"{name}{_SIGMA}")]
    columns: dict[str, list[Any]] = {"spectrum": [row["spectrum"] for row in rows]}
    for column in (*numbers, "chi2_red", "chi2_stated", "rms"):
        columns[column] = [_number(row.get(column)) for row in rows]
    columns["flags"] = [row.get("flags", "") for row in rows]
    columns["flag_bits"] = [row.get("flag_bits", 0) for row in rows]
    columns["error"] = [row.get("error", "") for row in rows]
    columns["model"] = [row.get("model", "") for row in rows]
    columns |= {name: [row.get(name, 0) for row in rows] for name in _COUNTS}
    columns |= {name: [_number(row.get(name)) for row in rows] for name in ("seconds", *more)}
    table = Table(columns, meta={"format": FORMAT, "version": VERSION})
    for column in numbers:
        if unit := parameter(column.removesuffix(_SIGMA)).table_unit:
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
    about = {"format": FORMAT, "version": VERSION, "model": dict(inference.model_identity)}
    table = QTable(meta=about)
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
