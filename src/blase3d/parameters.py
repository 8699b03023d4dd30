"""Parameters of a star: one table of names, units, ranges and defaults.

A star has *labels*, which the library sets (teff, logg, feh, ...), and *parameters of the
observation*, which every model has (rv, vsini, vmac, resolution, dilution, limb darkening). Command
line, inference, report, dashboard and figures take titles, units, ranges and defaults from here. A
new parameter of the observation is one row here, and its effect on the flux in
`model/instrument.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Parameter:
    """A parameter of a star.

    Attributes
    ----------
    name : str
        Name in Python, on the command line and in files.
    title : str
        Name in plain text.
    symbol : str
        Name in figures, in Matplotlib's mathtext.
    unit : str
        Unit in text; empty for none.
    table_unit : str
        Unit in tables, as `astropy.units` reads it; empty for none.
    low, high : float
        Widest range. Labels have the range of their library instead.
    floor : float
        Smaller values cannot be distinguished from this one, and are evaluated at it.
    power : float
        Exponent p such that the flux is nearly linear in value**p.
    guesses : tuple of float
        First guesses of a search.
    neutral : float or None
        Value without effect on the spectrum.
    assumed : float or None
        Value of a star of which nothing is said; None: inference fits the parameter.
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
    neutral: float | None = None
    assumed: float | None = None

    @property
    def range(self) -> tuple[float, float]:
        """Widest range, (low, high)."""
        return self.low, self.high

    @property
    def short_unit(self) -> str:
        """The unit as one word, for axes and tables: `dex` for log g."""
        return self.unit.split(" ")[0]

    @property
    def heading(self) -> str:
        """Title and unit, for tables: `Teff (K)`."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


LABELS = (
    Parameter("teff", "Teff", r"$T_\mathrm{eff}$", "K", "K"),
    Parameter("logg", "log g", r"$\log g$", "dex of cm/s²", "dex(cm/s2)"),
    Parameter("feh", "[Fe/H]", "[Fe/H]", "dex", "dex"),
    Parameter("alpha", "[α/Fe]", r"[$\alpha$/Fe]", "dex", "dex"),
)
"""Labels that libraries usually have. A library may have any others."""

LIMB_DARKENING = 0.6
"""Linear coefficient of the rotation kernel, the customary value (Gray 2005, ch. 18)."""

OBSERVATION = (
    Parameter(
        "rv", "Radial velocity", r"$v_\mathrm{r}$", "km/s", "km/s",
        low=-1000.0, high=1000.0, neutral=0.0,
    ),
    Parameter(
        "vsini", "v sin i", r"$v\,\sin i$", "km/s", "km/s",
        low=0.0, high=300.0, floor=0.05, power=2.0, guesses=(4.0, 20.0, 60.0, 150.0), neutral=0.0,
    ),
    Parameter(
        "vmac", "Macroturbulence", r"$v_\mathrm{mac}$", "km/s", "km/s",
        low=0.0, high=50.0, floor=0.05, power=2.0, guesses=(3.0,), neutral=0.0, assumed=0.0,
    ),
    Parameter(
        "resolution", "Resolution λ/Δλ", r"$\lambda/\Delta\lambda$",
        low=500.0, high=1e6, power=-2.0, guesses=(1e5, 3e4, 1e4, 3e3), neutral=math.inf,
    ),
    Parameter(
        "dilution", "Dilution", "$d$",
        low=-0.5, high=0.95, guesses=(0.0,), neutral=0.0, assumed=0.0,
    ),
    Parameter(
        "limb_darkening", "Limb darkening", r"$\varepsilon$",
        low=0.0, high=1.0, assumed=LIMB_DARKENING,
    ),
)  # fmt: skip
"""Parameters of the observation. The line profile is even in vsini and vmac, and their slope
vanishes at zero: it is their squares, and the inverse square of the resolution, that add up to
the variance of a line. The dilution d makes lines shallower, F to (1 − d) F + d: it is positive for
light without lines (veiling, scattered light, sky that was not subtracted), and negative where too
much sky was subtracted."""

FITTED = ("rv", "vsini", "vmac", "resolution", "dilution")
"""Parameters of the observation that inference can fit, in the order of results."""

RESERVED = frozenset(
    {parameter.name for parameter in OBSERVATION} | {"self", "wavelength", "residual", "integrate"}
)
"""Names that no label of a library can have: other arguments of `Model.flux`."""

_BY_NAME = {parameter.name: parameter for parameter in (*LABELS, *OBSERVATION)}


def parameter(name: str) -> Parameter:
    """Return the parameter of this name; a label that is not in the table has no unit.

    A parameter of the observation may have the number of a spectrum: `rv_2`.

    Examples
    --------
    >>> parameter("vsini").unit
    'km/s'
    >>> parameter("c_to_o").title
    'c_to_o'
    """
    base, _, number = name.rpartition("_")
    if base in FITTED and number.isdecimal():
        row = _BY_NAME[base]
        return replace(row, name=name, title=f"{row.title}, spectrum {number}")
    return _BY_NAME.get(name) or Parameter(name, name, name.replace("$", r"\$"))
