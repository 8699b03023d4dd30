"""Models by name: those in the package, and those of the user.

Packaged models are the files `packaged/NAME.zip` beside this module; all of them go into the wheel.
Those of the user are in the folder `models` of the platform's data folder, or in the folder that
the environment variable BLASE3D_MODELS names. Only the metadata of a file is read here, without
JAX and Zarr, so that many models are listed quickly.
"""

from __future__ import annotations

import json
import math
import os
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import platformdirs

from ..errors import ArchiveError, InputError
from ..runtime.files import first_line

MODELS_VARIABLE = "BLASE3D_MODELS"
"""Environment variable with the path of the user's folder of models."""
OF_LIBRARY = "-library"
"""Ending of the name of a calibrated model with which its library's own lines are asked for."""
_ENDING = ".zip"
_LARGEST_META = 2**26
"""Bytes of the largest metadata of a model: a thousand times those of a large library."""


@dataclass(frozen=True)
class InstalledModel:
    """A model that is known by its name.

    Attributes
    ----------
    name : str
        Name, as `--model` and `load_model` take it.
    path : Path
        Its file.
    library : str
        Name of the library.
    wavelength : (float, float)
        First and last wavelength, Å in vacuum.
    axes : dict
        Values of each label at the nodes.
    size : int
        Bytes of the file.
    accuracy : dict
        Errors at the nodes and at held-out spectra, as `blase3d validate --json` has them; empty if
        the model states none.
    citation : tuple of str
        Works to cite.
    calibrated : bool
        Whether its lines were corrected by stars: `NAME-library` has them uncorrected.
    """

    name: str
    path: Path
    library: str
    wavelength: tuple[float, float]
    axes: Mapping[str, list[float]]
    size: int
    accuracy: Mapping[str, Any]
    citation: tuple[str, ...]
    calibrated: bool = False

    @property
    def coverage(self) -> str:
        """Name and range, in words."""
        return f"{self.name} {self.wavelength[0]:.0f}–{self.wavelength[1]:.0f} Å"

    def to_dict(self) -> dict[str, Any]:
        """The record for JSON."""
        return {
            "name": self.name,
            "path": str(self.path),
            "library": self.library,
            "wavelength": list(self.wavelength),
            "axes": dict(self.axes),
            "bytes": self.size,
            "calibrated": self.calibrated,
            "accuracy": dict(self.accuracy),
        }


def packaged_folder() -> Path:
    """Return the folder of the models in the package."""
    return Path(str(files(__package__) / "packaged"))


def user_models_folder() -> Path:
    """Return the folder of the user's models: BLASE3D_MODELS, or that of the platform."""
    stated = os.environ.get(MODELS_VARIABLE)
    folder = Path(stated) if stated else platformdirs.user_data_path("blase3d") / "models"
    return folder.expanduser()


def _paths() -> dict[str, Path]:
    """Files of the models by name, in alphabetical order; the user's replace those packaged."""
    found: dict[str, Path] = {}
    for folder in (packaged_folder(), user_models_folder()):
        found |= {path.name.removesuffix(_ENDING): path for path in folder.glob(f"[!.]*{_ENDING}")}
    return dict(sorted(found.items()))


def installed_models() -> list[InstalledModel]:
    """Return the models that are known by name. A file that cannot be read is left out, warned of.

    Examples
    --------
    >>> from blase3d.model.installed import installed_models
    >>> models = [model.coverage for model in installed_models()]
    """
    found = []
    for name, path in _paths().items():
        try:
            found.append(_described(name, path))
        except InputError as error:
            warnings.warn(str(error), stacklevel=2)
    return found


def calibrated_name(given: str | Path) -> str | None:
    """Return the name of the calibrated model of `NAME-library`, unless that is a model itself."""
    name = str(given).removesuffix(OF_LIBRARY)
    if name == str(given) or Path(given).exists():
        return None
    known = _paths()
    return name if name in known and str(given) not in known else None


def model_path(given: str | Path) -> Path:
    """Return the file of a model that is given by its path or its name.

    A file is preferred to a name, and a name to a folder. `NAME-library`, with which `load_model`
    leaves off the calibration of an installed model, is returned as it is.

    Raises
    ------
    ArchiveError
        There is neither.
    """
    path = Path(given)
    if path.is_file() or calibrated_name(given) is not None:
        return path
    found = _paths().get(str(given), path)
    if not found.exists():
        raise ArchiveError(
            f"model {given} does not exist; expected a file, as blase3d build makes it, or "
            f"{_listed(_paths())}."
        )
    return found


def is_model(given: str | Path) -> bool:
    """Return whether this is the name or the file of a model, and not, say, a spectrum."""
    try:
        _attributes(model_path(calibrated_name(given) or given))
    except (*_DAMAGE, InputError, RecursionError):
        return False
    return True


def _listed(names: Iterable[str]) -> str:
    known = ", ".join(names)
    return f"a name: {known} (blase3d models)" if known else "a name (none is installed)"


def model_covering(low: float, high: float, installed: Sequence[InstalledModel]) -> InstalledModel:
    """Return the installed model that covers most of a range of wavelengths (Å, vacuum).

    Raises
    ------
    InputError
        None covers any of it, or several would do, as for an infinite range.
    """
    shared = {m.name: min(high, m.wavelength[1]) - max(low, m.wavelength[0]) for m in installed}
    found = [m for m in installed if shared[m.name] >= 0]
    if not found:
        raise no_model(f"{low:g}–{high:g} Å", installed)
    if len(found) > 1 and math.isinf(high - low):
        raise InputError(f"got no model, expected {_listed(shared)}; name one of them.")
    return max(found, key=lambda m: shared[m.name])


def no_model(what: str, installed: Iterable[InstalledModel]) -> InputError:
    """Return the error that no installed model covers a range."""
    known = ", ".join(model.coverage for model in installed) or "none"
    return InputError(
        f"no installed model covers {what} (installed: {known}); give the file of one that "
        "does, or make a model of this range: docs/models.md, Which model for my spectrum."
    )


def install_path(name: str) -> Path:
    """Return the file that a model is to be written to, so that it is known as `name`.

    Its folder is made.

    Raises
    ------
    InputError
        The name cannot be that of a file, or is that of a packaged model.
    """
    if not re.fullmatch(r"\w[\w.+-]*", name) or name.endswith(_ENDING):
        raise InputError(
            f"got the name {name!r}, expected letters, digits, '_', '-', '+' or '.' without the "
            "ending .zip; choose another."
        )
    if (packaged_folder() / f"{name}{_ENDING}").exists():
        raise InputError(f"got {name}, the name of a packaged model; choose another.")
    folder = user_models_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}{_ENDING}"


def _described(name: str, path: Path) -> InstalledModel:
    """The record of a model file, from its metadata."""
    try:
        attributes = _attributes(path)
        meta, axes = attributes["meta"], attributes["axes"]
        library = meta.get("library", {})
        library = library if isinstance(library, Mapping) else {"library": library}
        cited = meta.get("citation") or library.get("citation") or []
        return InstalledModel(
            name,
            path,
            str(library.get("library") or "a library without a name"),
            _range(path, attributes),
            {str(label): [float(value) for value in values] for label, values in axes.items()},
            path.stat().st_size,
            dict(meta.get("accuracy") or {}),
            (cited,) if isinstance(cited, str) else tuple(map(str, cited)),
            "calibration" in meta,
        )
    except (*_DAMAGE, RecursionError) as error:
        raise ArchiveError(
            f"{path} is not a model of blase3D ({first_line(error)}); remove it, or make it again "
            "with blase3d build."
        ) from None


_DAMAGE = (
    *(zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError),
    *(AttributeError, KeyError, TypeError, ValueError),
)
"""Exceptions of zipfile, JSON and our own look-ups on damaged files."""


def _attributes(path: Path) -> dict[str, Any]:
    """The attributes of the Zarr group in a model file."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("zarr.json")
        if entry.file_size > _LARGEST_META:
            raise ValueError(f"metadata of {entry.file_size} bytes")
        attributes: dict[str, Any] = json.loads(archive.read(entry))["attributes"]
    if attributes["format"] != "blase3d-model":
        raise ValueError(f"its format is {attributes['format']!r}")
    return attributes


def _range(path: Path, attributes: dict[str, Any]) -> tuple[float, float]:
    """First and last wavelength (Å); files of earlier versions state the last in an array only."""
    if "range" in attributes:
        low, high = map(float, attributes["range"])
        return low, high
    from .model_file import model_wavelengths

    wavelength = model_wavelengths(path)
    return float(wavelength[0]), float(wavelength[-1])
