"""The parameters of a star: one table of names, units, ranges and first guesses.

A star has *labels*, which the library sets (teff, logg, feh, ...), and parameters of how it is
observed (rv, vsini, vmac, resolution, limb darkening), which every model knows. Whatever is said
of a parameter in general is said here, and the command line, inference, report, dashboard and
figures take it from here. A new parameter of the observation is one row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Parameter:
    """A parameter of a star.

    Attributes
    ----------
    name : str
        In Python, on the command line and in files.
    title : str
        In plain text, as the field writes it.
    symbol : str
        In figures, as Matplotlib's mathtext.
    unit : str
        In text; empty for none.
    table_unit : str
        In tables, as `astropy.units` reads it; empty for none.
    low, high : float
        The widest range. Labels have the range of their library instead.
    floor : float
        Smaller values are not distinguishable from it, and are evaluated at it.
    power : float
        The flux is nearly linear in the value to this power.
    guesses : tuple of float
        First guesses, where a search has to start from some.
    """

    name: str
    title: str
    symbol: str
    unit: str = ""
    table_unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    floor: float = -math.inf
    power: float = 1.0
    guesses: tuple[float, ...] = ()


LABELS = (
    Parameter("teff", "Teff", r"$T_\mathrm{eff}$", "K", "K"),
    Parameter("logg", "log g", r"$\log g$", "dex of cm/s²", "dex(cm/s2)"),
    Parameter("feh", "[Fe/H]", "[Fe/H]", "dex", "dex"),
    Parameter("alpha", "[α/Fe]", r"[$\alpha$/Fe]", "dex", "dex"),
)
"""Labels that libraries usually have. A library may have any others."""

OBSERVATION = (
    Parameter("rv", "Radial velocity", r"$v_\mathrm{r}$", "km/s", "km/s", -1000.0, 1000.0),
    Parameter(
        "vsini", "v sin i", r"$v\,\sin i$", "km/s", "km/s", 0.0, 300.0, 0.05, 2.0,
        (4.0, 20.0, 60.0, 150.0),
    ),
    Parameter(
        "vmac", "Macroturbulence", r"$v_\mathrm{mac}$", "km/s", "km/s", 0.0, 50.0, 0.05, 2.0,
        (3.0,),
    ),
    Parameter(
        "resolution", "Resolution λ/Δλ", r"$\lambda/\Delta\lambda$", "", "", 500.0, 1e6,
        power=-2.0, guesses=(1e5, 3e4, 1e4, 3e3),
    ),
    Parameter("limb_darkening", "Limb darkening", r"$\varepsilon$", "", "", 0.0, 1.0),
)  # fmt: skip
"""Parameters of how a star is observed."""

FITTED = ("rv", "vsini", "vmac", "resolution")
"""Parameters of the observation that can be fitted, in the order of results."""

RESERVED = frozenset(
    {parameter.name for parameter in OBSERVATION} | {"self", "wavelength", "residual", "integrate"}
)
"""Names that no label of a library can have: other arguments of `Model.flux`."""

_KNOWN = {parameter.name: parameter for parameter in (*LABELS, *OBSERVATION)}


def parameter(name: str) -> Parameter:
    """The parameter of this name. A label that is not in the table goes by its name, unitless.

    Examples
    --------
    >>> parameter("vsini").unit
    'km/s'
    >>> parameter("c_to_o").title
    'c_to_o'
    """
    return _KNOWN.get(name) or Parameter(name, name, name)
