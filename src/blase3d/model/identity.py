"""The identity of a model: its library, and a checksum of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from .model import Model, library_name
from .model_windows import pixel_bounds, windows_in

_WAVELENGTH_STEP = 1e-7
"""Resolution of wavelengths in model files, Å."""


def model_checksum(model: Model) -> str:
    """Return the SHA-256 (hexadecimal) of recipe, labels, wavelengths, lines and residual.

    It is equal for a model and for every copy of its file, on every machine.
    """
    if model not in _KNOWN:
        _KNOWN[model] = _checksum(model)
    return _KNOWN[model]


_KNOWN: WeakKeyDictionary[Model, str] = WeakKeyDictionary()


def _checksum(model: Model) -> str:
    if model.stored is not None:
        return model.stored.checksum
    if pixel_bounds(model).size > 2:
        return checksum_of(model, map(window_checksum, windows_in(model)))
    return _digest(model, [_whole_wavelength(model), model.reference, *_content(model)])


def checksum_of(model: Model, windows: Iterable[str]) -> str:
    """Return the checksum of a model from those of its windows."""
    header = _digest(model, [_whole_wavelength(model), model.reference])
    return hashlib.sha256("".join([header, *windows]).encode()).hexdigest()


def window_checksum(window: Model) -> str:
    """Return the checksum of the lines and the residual of a window."""
    total = hashlib.sha256()
    _add(total, _content(window))
    return total.hexdigest()


def _whole_wavelength(model: Model) -> NDArray[np.int64]:
    return np.round(model.wavelength / _WAVELENGTH_STEP).astype(np.int64)


def _content(model: Model) -> list[Any]:
    lines, residual = model.line_grid, model.residual
    arrays: list[Any] = [lines.base, lines.area, lines.shape]
    for window in () if residual is None else residual.windows:
        arrays += [window.nodes, window.pixels, window.scale]
    return arrays


def _digest(model: Model, arrays: list[Any]) -> str:
    total = hashlib.sha256(model.recipe.to_json().encode())
    for name in model.axes:
        total.update(name.encode())
    _add(total, [*arrays, *model.axes.values()])
    return total.hexdigest()


def _add(total: Any, arrays: Iterable[Any]) -> None:
    for values in arrays:
        plain = np.ascontiguousarray(np.asarray(values)) + 0  # no negative zeros
        total.update(f"{plain.shape}".encode())
        total.update(plain.astype(plain.dtype.newbyteorder("<")).tobytes())


def identity(model: Model) -> dict[str, Any]:
    """Return what identifies a model: checksum, library and its fingerprint, recipe, versions.

    All values are plain, as JSON has them.
    """
    return {
        "checksum": model_checksum(model),
        "library": library_name(model),
        "fingerprint": model.meta.get("fingerprint"),
        "recipe": model.recipe.name,
        "bounds": {name: list(ends) for name, ends in model.bounds.items()},
        "wavelength": [float(model.wavelength[0]), float(model.wavelength[-1])],
        "versions": dict(model.meta.get("versions", {})),
    }
