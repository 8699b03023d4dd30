"""The identity of a model: its library, and a checksum of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..runtime.rows import row_blocks
from .line_grid import LineGrid
from .model import Model, library_name
from .model_windows import pixel_bounds, windows_in
from .residual import Components, components_of

_WAVELENGTH_STEP = 1e-7
"""Resolution of wavelengths in model files, Å."""
_AT_ONCE = 1 << 18
"""Values that are summed at once."""


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
        windows = windows_in(model)
        return checksum_of(
            model, (window_checksum(one.line_grid, components_of(one.residual)) for one in windows)
        )
    total = _begun(model)
    _add_content(total, model.line_grid, components_of(model.residual))
    return _ended(total, model)


def checksum_of(model: Model, windows: Iterable[str]) -> str:
    """Return the checksum of a model from those of its windows."""
    header = _ended(_begun(model), model)
    return hashlib.sha256("".join([header, *windows]).encode()).hexdigest()


def window_checksum(lines: LineGrid, residual: Iterable[Components]) -> str:
    """Return the checksum of the lines and the residual of a window."""
    total = hashlib.sha256()
    _add_content(total, lines, residual)
    return str(total.hexdigest())


def _whole_wavelength(model: Model) -> NDArray[np.int64]:
    return np.round(model.wavelength / _WAVELENGTH_STEP).astype(np.int64)


def _begun(model: Model) -> Any:
    """The checksum of what a model is before its lines."""
    total = hashlib.sha256(model.recipe.to_json().encode())
    for name in model.axes:
        total.update(name.encode())
    _add(total, _whole_wavelength(model), model.reference)
    return total


def _ended(total: Any, model: Model) -> str:
    _add(total, *model.axes.values())
    return str(total.hexdigest())


def _add_content(total: Any, lines: LineGrid, residual: Iterable[Components]) -> None:
    _add(total, lines.base, lines.area, lines.shape)
    for part in residual:
        count, box = part.amplitudes.shape
        total.update(f"{(box, count)}".encode())
        for nodes in row_blocks(box, max(_AT_ONCE // max(count, 1), 1)):
            _add_values(total, part.amplitudes[:, nodes].T)
        _add(total, part.pixels, part.scale)


def _add(total: Any, *arrays: Any) -> None:
    for values in map(np.asarray, arrays):
        total.update(f"{values.shape}".encode())
        for rows in row_blocks(len(values), max(_AT_ONCE * len(values) // max(values.size, 1), 1)):
            _add_values(total, values[rows])


def _add_values(total: Any, values: NDArray[Any]) -> None:
    plain = np.ascontiguousarray(values) + 0  # no negative zeros
    total.update(plain.astype(plain.dtype.newbyteorder("<"), copy=False).tobytes())


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
