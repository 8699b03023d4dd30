"""Stars of known labels: the table that lists them, and their spectra beside a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from ...errors import InputError, SpectrumError
from ...inference import Options, Prior, infer
from ...inference.likelihood.likelihood import make_likelihood
from ...inference.problem import make_problem
from ...model.model import Model
from ...parameters import FITTED
from ...runtime.files import MEDIUM_OPTION, first_line
from ...runtime.units import SPEED_OF_LIGHT
from ...runtime.with_units import in_difference_unit, in_parameter_unit
from ...spectra.formats import read_spectrum
from ...spectra.formats.in_memory import as_spectrum
from ...spectra.spectrum import Spectrum
from .observation import Observation, line_numbers
from .rebinned import rebinned

_VMAC = Prior(0.0, 12.0)
"""Macroturbulence (km/s) of a star for which the table has none."""
_OUTSIDE = 1.0
"""Errors of a label by which a star may lie beyond the model."""
_DEEP, _WIDTH = 0.05, 0.1
"""Least depth of the lines whose median width is the typical one, and the width without any, Å."""


@dataclass(frozen=True, eq=False)
class KnownStar:
    """A spectrum of a star whose labels are known.

    Attributes
    ----------
    star : str
        Name of the star: spectra of one star share it.
    spectrum : Spectrum or Path
        The observation, or its file.
    labels : dict
        Labels of the literature with their errors, by name: (value, standard deviation). Labels
        of the model that are missing here are free.
    fixed : dict
        Known vsini, vmac (km/s) and resolution.
    medium : str or None
        "air" or "vacuum", for a file that does not state it.
    """

    star: str
    spectrum: Any
    labels: dict[str, tuple[float, float]]
    fixed: dict[str, float] = field(default_factory=dict)
    medium: str | None = None

    def read(self) -> Spectrum:
        """The spectrum."""
        try:
            if self.in_file:
                return read_spectrum(self.spectrum, medium=self.medium)
            return as_spectrum(self.spectrum, self.medium)
        except SpectrumError as fault:  # stars have their media in a table, not by an option
            said = str(fault).replace(MEDIUM_OPTION, "in the column medium of the table of stars")
            raise SpectrumError(said) from fault

    @property
    def in_file(self) -> bool:
        """Whether the spectrum is read from a file."""
        return isinstance(self.spectrum, (str, Path))

    @property
    def name(self) -> str:
        """The file, or the name of the star."""
        return str(self.spectrum) if self.in_file else self.star


def read_known_stars(
    path: str | Path, labels: tuple[str, ...], folder: str | Path | None = None
) -> list[KnownStar]:
    """Read a table (ECSV or CSV) of stars.

    Its columns are `file` (in `folder`, or relative to the table), each of `labels` with its error
    (`teff`, `teff_err`, ...), and optionally `star`, `medium`, `vsini`, `vmac`, `resolution`. Cells
    that are empty or NaN are unknown. Columns that state a unit are converted, others are ignored.

    Raises
    ------
    InputError
        It cannot be read, a column is missing, or a cell has no number.
    """
    path = Path(path)
    try:
        ending = path.suffix.lower()
        table = Table.read(path, format="ascii.csv" if ending == ".csv" else "ascii.ecsv")
    except Exception as failure:  # the readers raise many kinds
        raise InputError(
            f"{path} cannot be read as a table of stars ({first_line(failure)}); expected ECSV or "
            "CSV with the columns file, teff, teff_err, ..."
        ) from None
    needed = ["file", *(name for label in labels for name in _pair(label, table))]
    if missing := [name for name in needed if name not in table.colnames]:
        raise InputError(f"{path} has no column {missing[0]}; expected {', '.join(needed)}.")
    if not len(table):
        raise InputError(f"{path} lists no star; expected one or more.")
    folder = path.parent if folder is None else Path(folder)
    stars = []
    for number, row in enumerate(table, 1):
        try:
            stars.append(_known_star(row, labels, folder))
        except InputError as fault:
            raise InputError(f"{path}, row {number}: {fault}") from None
    return stars


def _pair(label: str, table: Table) -> tuple[str, ...]:
    """Columns of a label; none if it is unknown for all stars."""
    required = label in ("teff", "logg", "feh") or label in table.colnames
    return (label, f"{label}_err") if required else ()


def _known_star(row: Any, labels: tuple[str, ...], folder: Path) -> KnownStar:
    file = _text(row, "file")
    if file is None:
        raise InputError("got no file, expected that of a spectrum; give it, or remove the row.")
    known: dict[str, tuple[float, float]] = {}
    for name in labels:
        value = _number(row, name, in_parameter_unit)
        if value is not None:
            error = _number(row, name, in_difference_unit, f"{name}_err")
            if error is None or not error > 0.0:
                raise InputError(
                    f"{file} has {name} {value:g} without a positive {name}_err; give its standard "
                    "deviation."
                )
            known[name] = value, error
    fixed = {
        name: _number(row, name, in_parameter_unit) for name in ("vsini", "vmac", "resolution")
    }
    return KnownStar(
        star=_text(row, "star") or file,
        spectrum=folder / file,
        labels=known,
        fixed={name: value for name, value in fixed.items() if value is not None},
        medium=_text(row, "medium"),
    )


def _number(
    row: Any, name: str, in_unit: Callable[[str, Any], Any], column: str | None = None
) -> float | None:
    """The number in a column, by default that of the name; None if it is unknown."""
    column = column or name
    if column not in row.colnames or np.ma.is_masked(row[column]):
        return None
    try:
        value = float(row[column])
    except ValueError:
        raise InputError(f"got {column} {row[column]}, expected a number; correct it.") from None
    if not np.isfinite(value):
        return None
    unit = row.table[column].unit
    return value if unit is None else float(in_unit(name, value * unit))


def _text(row: Any, name: str) -> str | None:
    if name not in row.colnames or np.ma.is_masked(row[name]):
        return None
    return str(row[name]).strip() or None


def observation_of(
    known: KnownStar, model: Model, options: dict[str, Any]
) -> tuple[Observation, float]:
    """Return a star beside the model with the lines of the model, and the width (Å) of a line.

    Velocity and broadening are those of a fit with the labels of the literature.

    Raises
    ------
    InputError
        The star lies outside the model, or its spectrum cannot be compared with it.
    """
    labels = _labels_inside(known, model)
    if not labels:
        raise InputError("got no label of the model, expected one or more; leave the star out.")
    middle = {name: labels.get(name, sum(ends) / 2.0) for name, ends in model.bounds.items()}
    spectrum = rebinned(known.read(), intrinsic_width(model, middle))
    settings = Options(**options)
    priors = {} if "vmac" in known.fixed else {"vmac": _VMAC}
    fixed = known.fixed | labels
    if len(set(fixed) & {*FITTED, *model.label_names}) == len(FITTED) + len(model.label_names):
        raise InputError("every parameter is fixed, expected one or more to be free; free one.")
    answer = infer(spectrum, model, priors=priors, fixed=fixed, **vars(settings))
    problem = make_problem(spectrum, model, priors, known.fixed, settings)
    values = labels | {n: e.value for n, e in {**answer.labels, **answer.nuisance}.items()}
    theta = np.array([values[name] for name in problem.names])
    likelihood = make_likelihood(problem)
    numbers = line_numbers(model, problem.model)
    observation = Observation(known.star, likelihood, numbers, theta)
    return observation, typical_width(observation)


def _labels_inside(known: KnownStar, model: Model) -> dict[str, float]:
    """The known labels, at an edge of the model where they are beyond it by less than an error."""
    found = {}
    for name, (low, high) in model.bounds.items():
        if name not in known.labels:
            continue
        value, error = known.labels[name]
        if not low - _OUTSIDE * error <= value <= high + _OUTSIDE * error:
            raise InputError(
                f"{name} {value:g} is outside the model ({low:g} to {high:g}); leave the star out."
            )
        found[name] = float(np.clip(value, low, high))
    return found


def typical_width(observation: Observation) -> float:
    """Full width (Å) of a typical line in a spectrum: intrinsic, resolution and velocities."""
    width = intrinsic_width(observation.model, observation.labels())
    values, middle = observation.parameters(), float(np.median(observation.wavelength))
    widths = [width, middle / values["resolution"]]
    widths += [middle * values[name] / SPEED_OF_LIGHT for name in ("vsini", "vmac")]
    return float(np.sqrt(np.sum(np.square(widths))))


def intrinsic_width(model: Model, labels: dict[str, float]) -> float:
    """Return the median full width (Å) of the deeper lines at some labels."""
    lines = model.lines(**labels)
    deep = lines.central_depth(model.recipe.composition) > _DEEP
    return float(np.median(lines.fwhm[deep])) if deep.any() else _WIDTH
