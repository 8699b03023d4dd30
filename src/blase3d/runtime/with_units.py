"""Values with units (astropy Quantities, table columns) as plain numbers, never stripped of them.

astropy is imported when a value has a unit; plain numbers and traced arrays pass unchanged.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..parameters import parameter


def has_unit(value: object) -> bool:
    """Whether a value states a unit."""
    return getattr(value, "unit", None) is not None


def in_unit(
    value: Any, unit: Any, name: str, error: type[InputError] = InputError, difference: bool = False
) -> Any:
    """Return the value in `unit`, as a plain number or array; unchanged if it states no unit.

    Raise `error` if it has another kind of unit. Lengths, frequencies and wavenumbers are
    converted into each other, and temperatures from degrees Celsius, unless the value is a
    difference of two. Masked values become NaN.
    """
    if not has_unit(value):
        return value
    from astropy import units

    wanted = units.Unit(unit)
    ways = [] if difference else units.spectral() + units.temperature()
    try:
        found = units.Quantity(_unmasked(value), value.unit, subok=True)
        plain = found.to_value(wanted, ways)
    except (units.UnitsError, TypeError, ValueError) as failure:
        got, expected = (one.to_string() or "no unit" for one in (units.Unit(value.unit), wanted))
        raise error(f"got {name} in {got}, expected {expected}; convert it.") from failure
    return float(plain) if np.ndim(plain) == 0 else np.asarray(plain)


def _unmasked(value: Any) -> Any:
    """Plain numbers, NaN where they are masked."""
    if isinstance(value, np.ma.MaskedArray):  # a column of a table
        return np.ma.filled(value.astype(np.float64), np.nan)
    if hasattr(value, "unmasked"):
        return np.where(value.mask, np.nan, value.unmasked.value)
    return getattr(value, "value", value)


def in_parameter_unit(name: str, value: Any) -> Any:
    """Return a value of a parameter of a star in its unit (`parameters.py`).

    log g may be in dex(cm/s²), in dex or an acceleration. Raise InputError for another kind.
    """
    return in_unit(value, _unit_for(name, value), name)


def in_difference_unit(name: str, value: Any) -> Any:
    """Return a difference of two values of a parameter, such as a standard deviation."""
    return in_unit(value, _unit_for(name, value), f"the sigma of {name}", difference=True)


def _unit_for(name: str, value: Any) -> str:
    unit = parameter(name).table_unit
    of_logarithm = has_unit(value) and str(value.unit) == "dex" and unit.startswith("dex(")
    return "dex" if of_logarithm else unit
