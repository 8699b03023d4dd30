"""Inferences on disk: one .npz file of plain arrays, and all else as JSON. Nothing is pickled."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..runtime.files import LARGEST_SPECTRUM, check_version, load_npz, plain, replacing
from .problem import Options
from .result import Estimate, Inference, WindowFit

FORMAT = "blase3d-inference"
VERSION = 3
"""2: with the windows of a star in several spectra. 3: with statistics of each draw."""
_STATS = "draw_stats."
"""Beginning of the names of arrays with statistics of draws."""
_RECORD = "record"
"""Name of the array that holds the JSON text."""
_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
"""Numbers that JSON does not have, by the words for them."""
_TUPLES = ("names", "flags", "windows")


def write_inference(inference: Inference, path: str | Path) -> None:
    """Write an inference, under another name first. A failure keeps the previous file."""
    record, arrays = _taken_apart(inference)
    record["windows"] = []
    for k, window in enumerate(inference.windows):
        fit, of_window = _taken_apart(window.fit)
        names = {"spectrum": window.spectrum, "model": window.model}
        record["windows"].append({**names, "fit": {**fit, "windows": []}})
        arrays |= {f"{k}.{name}": values for name, values in of_window.items()}
    text = json.dumps({"format": FORMAT, "version": VERSION, **record}, allow_nan=False)
    arrays[_RECORD] = np.array(text)
    with replacing(Path(path)) as partial, open(partial, "wb") as stream:
        np.savez_compressed(stream, **arrays)


def _taken_apart(inference: Inference) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values for JSON, and arrays, by name, but for the windows."""
    values = {one.name: getattr(inference, one.name) for one in fields(inference)}
    del values["windows"], values["draw_stats"]
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    record = {name: _worded(value) for name, value in values.items() if name not in arrays}
    stats = {_STATS + name: value for name, value in inference.draw_stats.items()}
    return record, arrays | stats


def read_inference(path: str | Path) -> Inference:
    """Return an inference from its file.

    Raise InputError if the file is missing, damaged, of another kind or of a later version.
    """
    path = Path(path)
    arrays = load_npz(path, InputError, LARGEST_SPECTRUM)
    try:
        record = json.loads(str(arrays.pop(_RECORD)))
        form, version = record.pop("format"), record.pop("version")
    except (KeyError, TypeError, ValueError, AttributeError):
        form = version = None
    if form != FORMAT:
        raise InputError(
            f"{path} is no inference of blase3D, expected a file that Inference.save wrote; "
            "give another."
        )
    check_version(version, range(1, VERSION + 1), path, "Inference.save", InputError)
    try:
        found = _made(_numbered(record), arrays)
    except (KeyError, TypeError, ValueError, AttributeError, InputError) as failure:
        raise InputError(
            f"{path} is damaged ({type(failure).__name__}: {failure}); save the inference again, "
            "or copy the file again."
        ) from failure
    return found


def _made(record: dict[str, Any], arrays: dict[str, Any]) -> Inference:
    windows = []
    for k, window in enumerate(record.pop("windows", [])):  # version 1 has none
        names = [name for name in arrays if name.startswith(f"{k}.")]
        of_window = {name.partition(".")[2]: arrays.pop(name) for name in names}
        fit = _one_made(window.pop("fit"), of_window)
        windows.append(WindowFit(**window, fit=fit))
    return _one_made({**record, "windows": windows}, arrays)


def _one_made(record: dict[str, Any], arrays: dict[str, Any]) -> Inference:
    for group in ("labels", "nuisance"):
        record[group] = {name: Estimate(**one) for name, one in record[group].items()}
    for name in _TUPLES:
        record[name] = tuple(record[name])
    if record["options"] is not None:
        record["options"] = Options(**record["options"])
    stats = {name: arrays.pop(name) for name in [*arrays] if name.startswith(_STATS)}
    record["draw_stats"] = {name.removeprefix(_STATS): one for name, one in stats.items()}
    found = Inference(**record, **arrays)
    count, pixels = len(found.names), len(found.wavelength)
    per_pixel = (found.flux, found.model, found.error, found.weight, found.continuum, found.order)
    if found.covariance.shape != (count, count):
        raise ValueError(f"a covariance of shape {found.covariance.shape}")
    if any(values is not None and values.shape != (pixels,) for values in per_pixel):
        raise ValueError("arrays of different lengths")
    return found


def _worded(value: Any) -> Any:
    """A value for JSON: records as objects, and numbers that are not finite as words."""
    if hasattr(value, "__dataclass_fields__"):
        return {one.name: _worded(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, dict):
        return {str(name): _worded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_worded(one) for one in value]
    value = plain(value) if isinstance(value, np.generic) else value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return plain(value)


def _numbered(value: Any) -> Any:
    """The inverse of `_worded`, but for records."""
    if isinstance(value, dict):
        return {name: _numbered(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_numbered(one) for one in value]
    return _SPECIAL.get(value, value) if isinstance(value, str) else value
