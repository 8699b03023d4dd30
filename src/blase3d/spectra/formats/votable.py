"""Spectra in VOTables (Ochsenbein et al., IVOA Recommendation 1.4).

Columns are recognised by their names, else by their UCDs (Preite Martinez et al., IVOA UCD1+ 1.4).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

from astropy.io import votable
from astropy.table import Table

from ...errors import SpectrumError
from ...runtime.files import first_line
from .columns import Column, from_columns, plain_column, recognised
from .headers import stated_in
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader

_UCDS = (
    ("error", re.compile(r"stat\.(error|stdev)\b.*phot|phot.*stat\.(error|stdev)\b")),
    ("wavelength", re.compile(r"^em\.wl\b(?!.*stat\.)")),
    ("flux", re.compile(r"^(phot\.flux|phot\.fluxdens|phys\.luminosity|arith\.ratio)")),
)
"""Roles by UCD, in lower case."""
_REMOTE = re.compile(r"<(\w+:)?STREAM\b[^>]*\bhref\b")
"""A table whose values are at an address, which astropy would open."""
_HEAD = 2000
"""Characters in which the root element begins."""


def is_votable(file: SpectrumFile) -> bool:
    """Return whether a file is a VOTable."""
    return re.search(r"<(\w+:)?VOTABLE\b", file.text[:_HEAD]) is not None


def tables_of(file: SpectrumFile) -> Iterator[Table]:
    """Yield the tables of a VOTable, with the values of its PARAM elements as `meta`."""
    if _REMOTE.search(file.text):
        raise SpectrumError(
            f"{file.path} refers to another file for its values; save the table with its values."
        )
    try:
        document = votable.parse(io.BytesIO(file.text.encode()), verify="ignore")
    except Exception as failure:  # the parser raises many kinds
        raise SpectrumError(
            f"{file.path} cannot be read as a VOTable ({first_line(failure)}): it is damaged or "
            "cut short; make or copy it again."
        ) from failure
    for resource in document.resources:
        for element in resource.iter_tables():
            if element.is_empty():
                continue
            table = element.to_table(use_names_over_ids=True)
            params = [*resource.params, *element.params]
            table.meta = {param.name: param.value for param in params}
            yield table


def _read(file: SpectrumFile) -> RawSpectrum:
    for table in tables_of(file):
        columns = _by_ucd(table, file)
        if {"wavelength", "flux"} <= set(recognised(columns, file)):
            return from_columns(columns, stated_in(table.meta), file)
    raise SpectrumError(
        f"{file.path} has no table with a wavelength and a flux, by the names or UCDs of its "
        "columns; name them with --columns wavelength=NAME,flux=NAME (columns=... in Python)."
    )


def _by_ucd(table: Table, file: SpectrumFile) -> dict[str, Column]:
    """The columns by name, or by role where only the UCD says what they are."""
    columns = {
        name: Column(plain_column(table[name]), str(table[name].unit or "") or None)
        for name in table.colnames
    }
    ucds = {name: str(table[name].meta.get("ucd", "")).lower() for name in columns}
    known = recognised(columns, file)
    roles: dict[str, str] = {}
    for role, pattern in _UCDS:
        free = (name for name in columns if name not in (*known.values(), *roles))
        found = next((name for name in free if pattern.search(ucds[name])), None)
        if role not in known and found is not None:
            roles[found] = role
    return {roles.get(name, name): column for name, column in columns.items()}


VOTABLE = SpectrumReader("votable", "a VOTable", is_votable, _read)
