"""Options that several commands share, each defined once, and the values they stand for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from ..inference.methods import METHODS
from ..parameters import parameter

if TYPE_CHECKING:
    from ..inference.prior import Prior

    class Method(StrEnum):
        """Inference methods."""

        gradient = "gradient"

else:
    Method = StrEnum("Method", {name: name for name in METHODS})


class Medium(StrEnum):
    """Media in which wavelengths are given."""

    air = "air"
    vacuum = "vacuum"


def _parameter_option(name: str, note: str = "") -> Any:
    """An option for the value of a star's parameter: its title and unit as the help."""
    row = parameter(name)
    return typer.Option(help=", ".join(filter(None, (row.title, row.unit, note))) + ".")


# Values of a star's parameters.
Teff = Annotated[float | None, _parameter_option("teff")]
Logg = Annotated[float | None, _parameter_option("logg")]
Feh = Annotated[float | None, _parameter_option("feh")]
Label = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="Any other label; repeatable.")
]
Rv = Annotated[float | None, _parameter_option("rv", "positive when receding")]
Vsini = Annotated[float | None, _parameter_option("vsini")]
Vmac = Annotated[float | None, _parameter_option("vmac")]
Resolution = Annotated[float | None, _parameter_option("resolution")]

# Fits of a star.
Fix = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="Fixed parameter, e.g. logg=4.4; repeatable."),
]
PriorOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prior",
        metavar="NAME=PRIOR",
        help="Prior: LO:HI (uniform) or MEAN+-SIGMA (normal); repeatable.",
    ),
]
SpectrumResolution = Annotated[
    float | None,
    typer.Option(
        "--resolution",
        help=f"{parameter('resolution').title}; inf: no instrumental broadening. "
        "Default: from the file, else fitted.",
    ),
]
Continuum = Annotated[
    int | None,
    typer.Option(
        help="Degree of the continuum polynomial; -1: the spectrum is normalised. Default: 3, and "
        "one more for every 100 Å."
    ),
]
Telluric = Annotated[
    bool | None,
    typer.Option(
        "--telluric/--no-telluric",
        help="Mask telluric bands. Default: if the file names a telescope.",
    ),
]
MethodOption = Annotated[Method, typer.Option("--method", help="Inference method.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Random seed.")]

# Input and output.
ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Model: a name (blase3d models), or a file.")
]
OptionalModel = Annotated[
    Path | None,
    typer.Argument(
        metavar="[MODEL]",
        help="Model: a name (blase3d models), or a file. Default: the installed model that covers "
        "the wavelengths.",
    ),
]
ClonesOutput = Annotated[
    str, typer.Option("-o", "--output", help="Archive of clones to write: folder or URL.")
]
GridOutput = Annotated[
    Path | None, typer.Option("-o", "--output", help="Grid file to write: .npz or .zarr.")
]
MediumOption = Annotated[
    Medium | None,
    typer.Option("--medium", help="Medium of the wavelengths, where the file does not state it."),
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="ROLE=NAME,...",
        help="Columns that are not recognised, by name or number: "
        "wavelength=lam,flux=2,error=sd (or ivar, mask, order, ...).",
    ),
]
Unit = Annotated[
    str | None,
    typer.Option("--unit", help="Unit of the wavelengths, where the file does not state it."),
]
Source = Annotated[
    str | None,
    typer.Option("--source", metavar="NAME", help="Spectrum to read in a file of several."),
]
Wavelengths = Annotated[
    Path | None,
    typer.Option("--wavelengths", help="FITS file with the wavelengths of an image without them."),
]
Wave = Annotated[
    str | None, typer.Option("--wave", metavar="LO:HI", help="Wavelength range, Å in vacuum.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Workers = Annotated[int, typer.Option(help="Number of processes; 0: one per core.")]
Scheduler = Annotated[
    str | None, typer.Option(help="Address of a Dask scheduler, instead of --workers.")
]


def parse_range(text: str, option: str) -> tuple[float, float]:
    """LO:HI as two numbers.

    Raises
    ------
    InputError
        The text has another form, or LO is not below HI.

    Examples
    --------
    >>> parse_range("8400:8900", "--wave")
    (8400.0, 8900.0)
    """
    match = re.fullmatch(r"\s*([-+.\deE]+)\s*:\s*([-+.\deE]+)\s*", text)
    try:
        low, high = (float(end) for end in match.groups()) if match else (math.nan, math.nan)
    except ValueError:
        low, high = math.nan, math.nan
    if not low < high:
        raise InputError(f"got {option} {text}, expected LO:HI with LO below HI, e.g. 8400:8900.")
    return low, high


def parse_reading(
    medium: str | None,
    columns: str | None,
    unit: str | None,
    source: str | None,
    wavelengths: Path | None = None,
) -> dict[str, Any]:
    """The arguments of `read_spectrum`, from the options.

    Raises
    ------
    InputError
        The columns have another form than ROLE=NAME,ROLE=NAME.

    Examples
    --------
    >>> parse_reading("air", "flux=counts", None, None)["columns"]
    {'flux': 'counts'}
    """
    from ..inference.prior import parse_assignments

    named = None if columns is None else parse_assignments(columns.split(","))
    reading = {"medium": medium, "columns": named, "unit": unit, "source": source}
    return {**reading, "wavelengths": wavelengths}


def parse_labels(
    names: tuple[str, ...], extra: list[str] | None, *, partial: bool = False, **given: float | None
) -> dict[str, float]:
    """Labels of a model by name, from --teff, --logg, --feh and --label.

    Raises
    ------
    InputError
        A label is missing (unless `partial`), unknown, or given twice.
    """
    labels = {name: value for name, value in given.items() if value is not None}
    more = parse_fixed(extra)
    if twice := sorted(set(labels) & set(more)):
        raise InputError(f"got --label {twice[0]}=… and --{twice[0]}; give one of them.")
    labels |= more
    unknown = sorted(set(labels) - set(names))
    missing = [] if partial else sorted(set(names) - set(labels))
    if unknown or missing:
        faults = [f"unknown: {name}" for name in unknown] + [f"missing: {name}" for name in missing]
        raise InputError(
            f"this model has the labels {', '.join(names)} ({'; '.join(faults)}); "
            "give each of them once (--label NAME=VALUE)."
        )
    return labels


def parse_fixed(texts: list[str] | None) -> dict[str, float]:
    """NAME=VALUE strings as numbers by name."""
    from ..inference.prior import parse_assignments, parse_number

    return {name: parse_number(text) for name, text in parse_assignments(texts or []).items()}


def fit_constraints(
    fix: list[str] | None, prior: list[str] | None, resolution: float | None
) -> dict[str, Any]:
    """The arguments `priors` and `fixed` of `infer` and `tune`, from the options."""
    from ..inference.prior import parse_assignments, parse_prior

    priors: dict[str, Prior] = {
        name: parse_prior(text) for name, text in parse_assignments(prior or []).items()
    }
    fixed = parse_fixed(fix)
    if resolution is not None:
        refuse_both("--resolution", "resolution", {"--fix": fixed, "--prior": priors})
        fixed["resolution"] = resolution
    return {"priors": priors, "fixed": fixed}


def refuse_both(option: str, name: str, given: Mapping[str, Mapping[str, object]]) -> None:
    """Raise InputError if --fix or --prior names a parameter that an option of its own sets too."""
    for other, named in given.items():
        if name in named:
            raise InputError(f"got {option} and {other} {name}=…; give one of them.")
