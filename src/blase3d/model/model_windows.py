"""Windows of wavelength of a model: what a large model consists of, and how it is read by them.

A window has the pixels between two bounds, the lines whose references lie there, the residual and
the error modes of its pixels. A small model has one window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..runtime.arrays import Floats, Integers
from .evaluate import joined_residual
from .line_calibration import LineCalibration
from .line_grid import joined, largest_reach

if TYPE_CHECKING:
    import zarr

    from .model import Model

WINDOW = 1 << 14
"""Pixels of a window: a chunk of a spectrum in an archive of clones."""
OpenWindow = Callable[[int], AbstractContextManager["zarr.Group"]]
"""Opens the group of a window by its number."""


@dataclass(frozen=True, eq=False)
class StoredWindows:
    """The W windows of a model on disk.

    Attributes
    ----------
    pixels, lines : (W + 1,)
        First pixel and line of every window, and the numbers of all pixels and lines.
    ends : (W, 2)
        Å between which the lines of every window absorb.
    reference : (C,)
        Wavelengths that name the lines of the model, Å.
    checksum : str
        Of the model (`identity.model_checksum`).
    open : callable
        A context with the group of a window, by its number.
    read : callable
        Returns a window by its number, as a model of its pixels and lines; with False, its lines
        alone.
    """

    pixels: Integers
    lines: Integers
    ends: Floats
    reference: Floats
    checksum: str
    open: OpenWindow
    read: Callable[[int, bool], Model]


def window_bounds(n_pixels: int) -> Integers:
    """Return the first pixel of every window, and the number of pixels, (W + 1,)."""
    count = max(round(n_pixels / WINDOW), 1)
    return np.append(np.arange(count) * WINDOW, n_pixels)


def pixel_bounds(model: Model) -> Integers:
    """Return the bounds (W + 1,) of the windows of a model, in pixels."""
    if model.stored is not None:
        return model.stored.pixels
    if model.residual is None:
        return window_bounds(model.wavelength.size)
    return np.cumsum([0, *(window.size for window in model.residual.windows)])


def line_bounds(reference: Floats, wavelength: Floats, pixels: Integers) -> Integers:
    """Return the bounds (W + 1,) of windows in lines (C,), which are in order of wavelength.

    Lines beyond either end of the spectrum are those of its first and last window.
    """
    inner = np.searchsorted(reference, wavelength[pixels[1:-1]])
    return np.concatenate([[0], inner, [reference.size]])


def line_ends(model: Model, lines: Integers) -> Floats:
    """Return the wavelengths (W, 2) in Å between which the lines of every window absorb.

    `lines` (W + 1,) are the bounds of the windows in lines.
    """
    reach = largest_reach(model.line_grid, model.basis, model.recipe)
    low, high = model.reference - reach, model.reference + reach
    return np.array(
        [[low[i:j].min(), high[i:j].max()] if i < j else [0.0, 0.0] for i, j in pairwise(lines)]
    )


def windows_in(model: Model) -> Iterator[Model]:
    """Yield the windows of a model, each as a model of its pixels and lines."""
    pixels = pixel_bounds(model)
    lines = line_bounds(model.reference, model.wavelength, pixels)
    for k in range(pixels.size - 1):
        yield _taken(model, slice(*pixels[k : k + 2]), np.arange(*lines[k : k + 2]))


def cut_pixels(model: Model, pixels: slice, reach: Floats | None = None) -> Model:
    """Return the model on some of its pixels, with the lines that reach them.

    `reach` (C,) is how far each line reaches, Å, if it is known (`line_grid.largest_reach`).
    """
    if model.stored is not None and "line_grid" not in vars(model):
        first, section = _read_pixels(model, model.stored, pixels)
        return cut_pixels(section, slice(pixels.start - first, pixels.stop - first))
    lines, wavelength = model.line_grid, model.wavelength[pixels]
    far = largest_reach(lines, model.basis, model.recipe) if reach is None else reach
    reaching = (lines.reference + far > wavelength[0]) & (lines.reference - far < wavelength[-1])
    return _taken(model, pixels, reaching)


def whole(model: Model, stored: StoredWindows) -> Model:
    """Return a model with all of its windows in memory."""
    return _read_pixels(model, stored, slice(0, model.wavelength.size))[1]


def _taken(model: Model, pixels: slice, lines: NDArray[np.int64] | NDArray[np.bool_]) -> Model:
    residual, calibration = model.residual, model.calibration
    return replace(
        model,
        wavelength=model.wavelength[pixels],
        line_grid=model.line_grid.take(lines),
        residual=None if residual is None else residual.take(pixels),
        error_modes=model.error_modes[:, pixels],
        calibration=None if calibration is None else calibration.take(lines),
    )


def _read_pixels(model: Model, stored: StoredWindows, pixels: slice) -> tuple[int, Model]:
    """Return the windows of these pixels as one model, with the lines of other windows that reach
    in, and its first pixel."""
    low, high = model.wavelength[[pixels.start, pixels.stop - 1]]
    core = (stored.pixels[1:] > pixels.start) & (stored.pixels[:-1] < pixels.stop)
    reaching = (stored.ends[:, 1] > low) & (stored.ends[:, 0] < high)
    numbers = np.flatnonzero(core | reaching)
    found = {k: stored.read(int(k), bool(core[k])) for k in numbers}
    cores = [found[k] for k in np.flatnonzero(core)]
    return int(stored.pixels[core.argmax()]), _joined(list(found.values()), cores)


def _joined(windows: Sequence[Model], cores: Sequence[Model]) -> Model:
    """Return the model of the pixels of the cores and the lines of all windows."""
    residuals = [core.residual for core in cores if core.residual is not None]
    return replace(
        cores[0],
        wavelength=np.concatenate([core.wavelength for core in cores]),
        line_grid=joined([window.line_grid for window in windows]),
        residual=joined_residual(residuals) if residuals else None,
        error_modes=np.concatenate([core.error_modes for core in cores], axis=1),
        calibration=_joined_calibration([window.calibration for window in windows]),
    )


def _joined_calibration(windows: Sequence[LineCalibration | None]) -> LineCalibration | None:
    known = [window for window in windows if window is not None]
    if not known:
        return None
    first, added = known[0], [~one.of_library for one in known]
    areas = [one.area for one in known if one.area is not None]
    return LineCalibration(
        np.concatenate([one.changes for one in known]),
        np.concatenate([one.sigma for one in known]),
        np.concatenate([one.stars for one in known]),
        first.mismatch,
        None if first.added is None else np.concatenate(added),
        np.concatenate(areas, axis=1) if areas else None,
    )
