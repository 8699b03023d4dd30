"""Choice of the model of a command that names none, reported on stderr."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .support import err

if TYPE_CHECKING:
    from ..spectra.spectrum import Spectrum

Row = dict[str, Any]


def chosen_model(given: Path | None, low: float = -math.inf, high: float = math.inf) -> Path:
    """Return the file of the model that is given, or of the one that covers a range (Å)."""
    from ..model.installed import installed_models, model_covering, model_path

    if given is not None:
        return model_path(given)
    found = model_covering(low, high, installed_models())
    err.print(f"model: {found.coverage}", highlight=False)
    return found.path


def model_of_spectrum(
    given: Path | None, name: str, spectrum: Spectrum, settings: Mapping[str, Any]
) -> Path:
    """Return the file of the model that is given, or of the best one for a spectrum."""
    from ..model.installed import model_path

    if given is not None:
        return model_path(given)
    first, *others = models_of_spectrum(name, spectrum, settings)
    if others:
        unused = ", ".join(path.stem for path in others)
        err.print(f"{name}: {first.stem} alone is used, not {unused}", highlight=False)
    return first


def models_of_spectrum(
    name: str, spectrum: Spectrum, settings: Mapping[str, Any]
) -> tuple[Path, ...]:
    """Return the files of the models for a spectrum, the one with the most pixels first."""
    from ..analysis.selection import select
    from ..model.installed import installed_models

    found = select(spectrum, installed_models(), settings)
    for reason in found.reasons:
        err.print(f"{name}: {reason}", highlight=False)
    return tuple(model.path for model in found.models)
