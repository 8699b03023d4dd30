"""Choice of the model of a command that names none, reported on stderr."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Blase3dError
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
    from ..analysis.selection import select
    from ..model.installed import installed_models, model_path

    if given is not None:
        return model_path(given)
    found = select(spectrum, installed_models(), settings)
    for reason in found.reasons:
        err.print(f"{name}: {reason}", highlight=False)
    if len(found.models) > 1:
        unused = ", ".join(model.name for model in found.models[1:])
        err.print(f"{name}: {found.models[0].name} alone is used, not {unused}", highlight=False)
    return found.models[0].path


def models_of_spectra(
    given: Path | None,
    spectra: Sequence[Path],
    reading: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> tuple[dict[Path, list[int]], dict[int, Row]]:
    """Return the indices of the spectra by the file of their model, and rows of those that have
    none, with the error."""
    if given is not None:
        return {given: list(range(len(spectra)))}, {}
    from ..spectra.formats import read_spectrum

    groups: dict[Path, list[int]] = {}
    failed: dict[int, Row] = {}
    for index, path in enumerate(spectra):
        try:
            model = model_of_spectrum(None, str(path), read_spectrum(path, **reading), settings)
            groups.setdefault(model, []).append(index)
        except Blase3dError as error:
            failed[index] = {"spectrum": str(path), "error": str(error)}
    return groups, failed
