"""The identity of a model: its library, and a checksum of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

if TYPE_CHECKING:
    from .model import Model

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
    total = hashlib.sha256(model.recipe.to_json().encode())
    lines, residual = model.line_grid, model.residual
    wavelength = np.round(model.wavelength / _WAVELENGTH_STEP).astype(np.int64)
    arrays = [wavelength, model.reference, lines.base, lines.area, lines.shape]
    if residual is not None:
        arrays += [residual.nodes, residual.pixels, residual.scale]
    for name, axis in model.axes.items():
        total.update(name.encode())
        arrays.append(axis)
    for values in arrays:
        plain = np.ascontiguousarray(np.asarray(values)) + 0  # no negative zeros
        total.update(f"{plain.shape}".encode())
        total.update(plain.astype(plain.dtype.newbyteorder("<")).tobytes())
    return total.hexdigest()


def library_name(model: Model) -> str:
    """Return the name of the library of a model."""
    library = model.meta.get("library", {})
    name = library.get("library") if isinstance(library, Mapping) else library
    return str(name or "a library without a name")


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
