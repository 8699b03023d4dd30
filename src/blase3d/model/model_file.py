"""Models on disk: one zip file of a Zarr group, as small as its accuracy allows.

    MODEL           attributes: format, recipe, axes, range, meta
    ├── wavelength, reference, own_functions, rates_0, mismatch_ends, ...
    ├── base, area, shape, error_modes, residual_nodes, calibration_changes, ...
    ├── window_0/   instead, of a model of several windows: the arrays of the line above
    └── windows/    then, attributes: the checksum of the model; of each window the first pixel and
                    line, and the ends of the wings of its lines

Coefficients of joint recipes and the residual are whole numbers times a step. Their signs are
folded in (0, −1, 1, −2 ... become 0, 1, 2, 3 ...), so that small numbers have empty upper bytes,
which cost nothing once they are shuffled together and compressed. A residual of many nodes is in
chunks of columns, of which one is in memory at a time as a model is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import zarr
from numpy.typing import ArrayLike, NDArray

from ..errors import ArchiveError
from ..recipe import GROUPED, JointFit, Recipe, recipe_from_json
from ..runtime.arrays import DEFAULT_FLOATING_POINT, Floats, Integers, aligned_empty
from ..runtime.files import replacing
from ..runtime.rows import read_blocks, row_blocks
from ..runtime.zarr_groups import (
    ColumnBlocks,
    Format,
    read_array,
    read_columns,
    read_in_blocks,
    write_array,
)
from ..spectra.spectrum import check_increasing
from .completion import columns_at_once
from .evaluate import PcaResidual
from .grid_basis import DATA_STEP
from .identity import checksum_of, window_checksum
from .installed import calibrated_name, model_path
from .line_calibration import LineCalibration
from .line_grid import LineGrid, steps
from .mismatch import Mismatch
from .model import Model
from .model_windows import (
    OpenWindow,
    StoredWindows,
    line_bounds,
    line_ends,
    pixel_bounds,
    windows_in,
)
from .residual import Components, components_of, node_steps, scale_number, scale_of

FORMAT = Format("blase3d-model", 3, 7, "blase3d build")
"""Version 3 has no cross derivatives, versions before 5 have no data-driven basis functions, those
before 7 one window."""
_WAVELENGTH_STEP = 1e-7
"""Å: unit of the second differences in which wavelengths are stored."""
ERROR_STEP = 1e-5
"""Step of the error modes, in units of the continuum."""
_MISMATCH_STEP = 1e-4
"""Step of the mismatch with stars, as a standard deviation in units of the continuum."""
_CALIBRATION = ("changes", "sigma", "stars")
"""Fields of a calibration that are arrays over the lines."""
_AT_ONCE = 4096
"""Rows of an array that are checked at once."""
_OF_WINDOW = (
    *("base", "area", "shape", "error_modes"),
    *("residual_nodes", "residual_pixels", "residual_scale"),
    *(f"calibration_{name}" for name in (*_CALIBRATION, "added", "area")),
    *("mismatch_ends", "mismatch_deviation"),
)
"""Arrays of a window, of which it has some."""
_NO_MODES = np.empty((0, 0), np.float32)


@DEFAULT_FLOATING_POINT
def save_model(model: Model, path: str | Path) -> None:
    """Write a model as one zip file of a Zarr group, under another name first.

    Examples
    --------
    >>> import blase3d as b3
    >>> b3.save_model(b3.load_model("model.zip"), "copy.zip")
    """
    with (
        replacing(Path(path)) as partial_path,
        zarr.storage.ZipStore(partial_path, mode="w") as store,
    ):
        group = zarr.create_group(store, attributes=_attributes(model))
        _write_arrays(group, _frame_arrays(model))
        if pixel_bounds(model).size == 2:
            _write_arrays(group, window_arrays(model))
            return
        stored = model.stored
        index = _copy_windows(group, stored) if stored else _write_windows(group, model)
        group.create_group("windows", attributes=index)


def _write_arrays(group: zarr.Group, arrays: Mapping[str, NDArray[Any] | ColumnBlocks]) -> None:
    for name, values in arrays.items():
        write_array(group, name, values)


def _write_windows(group: zarr.Group, model: Model) -> dict[str, Any]:
    """Write the windows of a model in memory, and return its `window_index`."""
    checksums = []
    for k, window in enumerate(windows_in(model)):
        _write_arrays(group.create_group(f"window_{k}"), window_arrays(window))
        checksums.append(window_checksum(window.line_grid, components_of(window.residual)))
    return window_index(model, pixel_bounds(model), checksums)


def _attributes(model: Model) -> dict[str, Any]:
    several = pixel_bounds(model).size > 2
    return {
        **FORMAT.attributes,
        "version": FORMAT.latest if several else GROUPED,
        "recipe": model.recipe.to_json(),
        "axes": {name: axis.tolist() for name, axis in model.axes.items()},
        "wavelength": np.round(model.wavelength[:2] / _WAVELENGTH_STEP).astype(int).tolist(),
        "range": [float(model.wavelength[0]), float(model.wavelength[-1])],
        "units": {"wavelength": "Angstrom", "flux": "continuum"},
        "medium": "vacuum",
        "meta": dict(model.meta),
    }


def _copy_windows(group: zarr.Group, stored: StoredWindows) -> dict[str, Any]:
    """Write the windows of a model that are elsewhere on disk; return what is stored of them."""
    for k in range(stored.pixels.size - 1):
        target = group.create_group(f"window_{k}")
        with stored.open(k) as window:
            for name in filter(window.__contains__, _OF_WINDOW):
                write_array(target, name, read_in_blocks(window, name))
    return _index(stored.checksum, stored.pixels, stored.lines, stored.ends)


def window_index(model: Model, pixels: Integers, checksums: Iterable[str]) -> dict[str, Any]:
    """Return what is stored of the windows of a model, of these bounds in pixels and checksums."""
    lines = line_bounds(model.reference, model.wavelength, pixels)
    return _index(checksum_of(model, checksums), pixels, lines, line_ends(model, lines))


def _index(checksum: str, pixels: Integers, lines: Integers, ends: Floats) -> dict[str, Any]:
    bounds = {"pixels": pixels, "lines": lines, "ends": ends}
    return {"checksum": checksum, **{name: values.tolist() for name, values in bounds.items()}}


def _frame_arrays(model: Model) -> dict[str, NDArray[Any]]:
    """Return the arrays that all windows share, as they are stored."""
    whole = np.round(model.wavelength / _WAVELENGTH_STEP).astype(np.int64)
    arrays = {"wavelength": _folded(np.diff(whole, 2)), "reference": model.reference}
    for label, coefficients in model.cross_derivatives.items():
        name = _cross_derivatives_name(model.axes, label)
        arrays[name] = np.asarray(coefficients, np.float32)
    if model.data_basis is not None and model.data_basis.size:
        arrays["own_functions"] = in_steps(model.data_basis, DATA_STEP)
    return arrays


def window_arrays(window: Model) -> dict[str, NDArray[Any] | ColumnBlocks]:
    """Return the arrays of a window, or of a model that has one, as they are stored."""
    lines, known = window.line_grid, window.calibration
    arrays: dict[str, NDArray[Any] | ColumnBlocks] = {}
    if known is not None:
        lines = known.applied(lines, -1.0)  # so that it can be left out on reading
        arrays = {f"calibration_{name}": getattr(known, name) for name in _CALIBRATION}
        if known.added is not None:
            arrays["calibration_added"] = known.added.astype(np.uint8)
        if known.area is not None:
            arrays["calibration_area"] = known.area.astype(np.float32)
        if (mismatch := known.mismatch) is not None:
            arrays["mismatch_ends"] = np.asarray(mismatch.ends)
            deviation = in_steps(np.sqrt(mismatch.variance), _MISMATCH_STEP)
            arrays["mismatch_deviation"] = deviation
    arrays["base"] = base = np.asarray(lines.base, np.float32)
    for name, step in _steps(window.recipe, base).items():
        values = np.asarray(getattr(lines, name), np.float32)
        arrays[name] = values if step is None else in_steps(values, step)
    arrays["error_modes"] = in_steps(window.error_modes, ERROR_STEP)
    for components in components_of(window.residual):
        arrays |= residual_arrays(components)
    return arrays


def residual_arrays(residual: Components) -> dict[str, NDArray[Any] | ColumnBlocks]:
    """Return the arrays of the residual of a window in the box, as they are stored."""
    amplitudes, steps = residual.amplitudes, node_steps(residual.pixels)

    def nodes(some: slice) -> NDArray[np.unsignedinteger]:
        return in_steps(amplitudes[some].T, steps[some])

    def pixels(some: slice) -> NDArray[np.unsignedinteger]:
        return in_steps(residual.pixels[:, some], 1.0)

    count, box = amplitudes.shape
    return {
        "residual_nodes": _whole_columns(nodes, (box, count)),
        "residual_pixels": _whole_columns(pixels, residual.pixels.shape),
        "residual_scale": _folded(scale_number(residual.scale)),
    }


def _whole_columns(
    in_blocks: Callable[[slice], NDArray[np.unsignedinteger]], shape: tuple[int, int]
) -> ColumnBlocks:
    """Whole numbers in the smallest type that holds those of all columns; `in_blocks` returns some
    columns."""
    step = columns_at_once(shape[0])
    blocks = row_blocks(shape[1], step)
    kind = np.result_type(np.uint8, *(in_blocks(some).dtype for some in blocks))
    return ColumnBlocks(shape, kind, step, (in_blocks(some).astype(kind) for some in blocks))


def _cross_derivatives_name(axes: Mapping[str, Any], label: str) -> str:
    """Name of the array of a label, whatever characters the label has."""
    return f"rates_{list(axes).index(label)}"


def _steps(recipe: Recipe, base: NDArray[np.float32]) -> dict[str, ArrayLike | None]:
    """Steps of the coefficients of lines; None where they are stored as they are."""
    joint = isinstance(recipe.fit, JointFit)
    area, shape = steps(base, recipe.profile) if joint else (None, None)
    return {"area": area, "shape": shape}


def in_steps(values: NDArray[np.floating], step: ArrayLike) -> NDArray[np.unsignedinteger]:
    """Return values as whole numbers of steps, with their signs folded in."""
    return _folded(np.round(values / np.asarray(step, np.float64)).astype(np.int64))


def _folded(whole: NDArray[np.int64]) -> NDArray[np.unsignedinteger]:
    """Whole numbers with their signs folded in, in the smallest type that holds them."""
    folded = whole << 1
    folded ^= whole >> 63  # in place: errors of a window are many
    folded = folded.view(np.uint64)
    kind = np.min_scalar_type(int(folded.max(initial=0)))
    return folded.astype(kind.str)  # not `kind`: of two names for 64 bits, Zarr knows one


def _unfolded(folded: NDArray[np.unsignedinteger]) -> NDArray[np.signedinteger]:
    """Whole numbers, in the signed type of the same size: wider ones take five times as long."""
    return ((folded >> 1) ^ -(folded & 1)).view(f"i{folded.dtype.itemsize}")


def from_steps(folded: NDArray[np.unsignedinteger], step: ArrayLike) -> NDArray[np.float32]:
    """Return the values of `in_steps`."""
    values = np.empty(folded.shape, np.float32)
    return np.multiply(_unfolded(folded), step, out=values, dtype=np.float64, casting="same_kind")


@DEFAULT_FLOATING_POINT
def load_model(path: str | Path, *, calibrated: bool = True) -> Model:
    """The model that `save_model` wrote, by its path, or by its name in `blase3d models`.

    With `calibrated=False`, or as `NAME-library`, a calibrated model has the lines of its library,
    unchanged.

    Raises
    ------
    ArchiveError
        It does not exist, is something else, is damaged, or is of another version.

    Examples
    --------
    >>> import blase3d as b3
    >>> b3.load_model("model.zip").bounds["teff"]
    (5000.0, 6000.0)
    """
    if (name := calibrated_name(path)) is not None:
        return load_model(name, calibrated=False)
    file = model_path(path)
    with _opened(file) as group:
        model = _read(group, file)
    return model if calibrated else model.uncalibrated()


def model_wavelengths(path: Path) -> NDArray[np.float64]:
    """Return the wavelengths (P,) of a model file, Å in vacuum."""
    with _opened(path) as group:
        return _wavelengths(group.attrs["wavelength"], read_array(group, "wavelength"))  # type: ignore[arg-type]


@contextmanager
def _opened(path: Path) -> Iterator[zarr.Group]:
    group = FORMAT.open(path)
    try:
        with FORMAT.reading(path):
            yield group
    finally:
        group.store.close()


def _read(group: zarr.Group, path: Path) -> Model:
    frame = _read_frame(group)
    _check_axes(frame["axes"])
    if "windows" in group:
        index = dict(group["windows"].attrs)
        open_window = partial(_open_window, path, str(index["checksum"]))
        return model_of_windows(frame, read_array(group, "reference"), index, open_window)
    model = _read_window(group, frame, frame["wavelength"], read_array(group, "reference"))
    model.forward  # noqa: B018  raises where numbers are absurd
    return model


def model_of_windows(
    frame: dict[str, Any], reference: Floats, index: Mapping[str, Any], open_window: OpenWindow
) -> Model:
    """Return a model whose windows are read when they are needed.

    Parameters
    ----------
    frame : dict
        The fields of a model that its windows share.
    reference : (C,)
        Wavelengths that name the lines, Å.
    index : dict
        As from `window_index`.
    open_window : callable
        A context with the group of a window, by its number.
    """
    pixels, lines = (np.asarray(index[name], np.int64) for name in ("pixels", "lines"))
    ends = np.asarray(index["ends"], np.float64)
    for bounds, count in ((pixels, frame["wavelength"].size), (lines, reference.size)):
        if not (bounds[0] == 0 and bounds[-1] == count and (np.diff(bounds) >= 0).all()):
            raise ValueError("the windows do not have all pixels and lines")
    if ends.shape != (pixels.size - 1, 2) or lines.size != pixels.size:
        raise ValueError("the windows have no ends")
    read = partial(_read_stored, frame, reference, pixels, lines, open_window)
    checksum = str(index["checksum"])
    stored = StoredWindows(pixels, lines, ends, reference, checksum, open_window, read)
    return Model.of_windows(frame, stored)


@contextmanager
def _open_window(path: Path, checksum: str, number: int) -> Iterator[zarr.Group]:
    """The group of a window in a file, which must still have this model."""
    with _opened(path) as group:
        index = group.get("windows")
        if index is None or index.attrs["checksum"] != checksum:
            raise ArchiveError(f"{path} has been replaced since it was opened; load it again.")
        yield group[f"window_{number}"]  # type: ignore[misc]


@DEFAULT_FLOATING_POINT
def _read_stored(
    frame: dict[str, Any],
    reference: Floats,
    pixels: Integers,
    lines: Integers,
    open_window: OpenWindow,
    number: int,
    core: bool,
) -> Model:
    """Return a window, or without `core` its lines alone, as `StoredWindows.read`."""
    wavelength = frame["wavelength"][slice(*pixels[number : number + 2])]
    with open_window(number) as group:
        named = reference[slice(*lines[number : number + 2])]
        return _read_window(group, frame, wavelength, named, core=core)


def _read_frame(group: zarr.Group) -> dict[str, Any]:
    """Return the fields of a model that its windows share."""
    attributes: dict[str, Any] = dict(group.attrs)
    wavelength = _wavelengths(attributes["wavelength"], read_array(group, "wavelength"))
    check_increasing(wavelength, ArchiveError)
    axes = {name: np.asarray(axis) for name, axis in attributes["axes"].items()}
    data_basis = None
    if "own_functions" in group:
        data_basis = from_steps(read_array(group, "own_functions"), DATA_STEP)
    return {
        "wavelength": wavelength,
        "axes": axes,
        "recipe": recipe_from_json(attributes["recipe"], attributes["version"]),
        "meta": attributes["meta"],
        "cross_derivatives": _read_cross_derivatives(group, axes),
        "data_basis": data_basis,
    }


def _read_window(
    group: zarr.Group,
    frame: dict[str, Any],
    wavelength: Floats,
    reference: Floats,
    *,
    core: bool = True,
) -> Model:
    """Return the model of the pixels and lines in a group; without `core`, of its lines alone."""
    recipe: Recipe = frame["recipe"]
    arrays = {"reference": reference, "base": read_array(group, "base")}
    for name, step in _steps(recipe, arrays["base"]).items():
        values = read_array(group, name)
        arrays[name] = values if step is None else from_steps(values, step)
    root = recipe.fit.area_root if isinstance(recipe.fit, JointFit) else 0
    lines = LineGrid(**arrays, root=root, profile=recipe.profile)
    calibration = _read_calibration(group)
    if calibration is not None:
        changes = [(calibration.base, lines.base), (calibration.area, lines.area)]
        if any(one is not None and one.shape != of.shape for one, of in changes):
            raise ValueError("the calibration is of another number of lines")
        lines = calibration.applied(lines)
    residual = None
    if core and "residual_nodes" in group:
        residual = _read_residual(group)
    elif core and recipe.residual is not None:
        raise ValueError("the residual is missing")
    model = Model(
        **{**frame, "wavelength": wavelength},
        line_grid=lines,
        residual=residual,
        error_modes=from_steps(read_array(group, "error_modes"), ERROR_STEP) if core else _NO_MODES,
        calibration=calibration,
    )
    _check(model)
    return model


def _read_calibration(group: zarr.Group) -> LineCalibration | None:
    if "calibration_changes" not in group:
        return None
    changes, sigma, stars = (read_array(group, f"calibration_{name}") for name in _CALIBRATION)
    mismatch, added, area = None, None, None
    if "calibration_area" in group:
        area = read_array(group, "calibration_area")
    if "calibration_added" in group:
        added = read_array(group, "calibration_added").astype(bool)
    if "mismatch_ends" in group:
        deviation = from_steps(read_array(group, "mismatch_deviation"), _MISMATCH_STEP)
        mismatch = Mismatch(read_array(group, "mismatch_ends"), deviation**2)
    return LineCalibration(changes, sigma, stars, mismatch, added, area)


def _check_mismatch(mismatch: Mismatch) -> None:
    low, high = mismatch.ends
    if not (mismatch.variance.ndim == 1 and mismatch.variance.size > 1 and 0.0 < low < high):
        raise ValueError("the mismatch with stars has no knots")


def _read_cross_derivatives(
    group: zarr.Group, axes: Mapping[str, Any]
) -> dict[str, NDArray[np.float32]]:
    names = {label: _cross_derivatives_name(axes, label) for label in axes}
    return {label: read_array(group, name) for label, name in names.items() if name in group}


def _check_axes(axes: Mapping[str, Floats]) -> None:
    for name, axis in axes.items():
        if not (axis.ndim == 1 and axis.size and np.isfinite(axis).all()):
            raise ValueError(f"the values of {name} are no numbers")
        if not (np.diff(axis) > 0).all():
            raise ValueError(f"the values of {name} do not increase")


def _check(model: Model) -> None:
    """Raise ValueError unless the arrays of a model have matching shapes and finite values."""
    axes, lines, residual = model.axes, model.line_grid, model.residual
    pixels, count = model.wavelength.size, lines.reference.size
    box = math.prod(axis.size for axis in axes.values())
    if max(len(lines.area), len(lines.shape)) > box:
        raise ValueError("lines follow more functions than there are nodes")
    expected: list[tuple[Any, tuple[int, ...]]] = [
        (lines.reference, (count,)),
        (lines.base, (count, 4)),
        (lines.area, (len(lines.area), count)),
        (lines.shape, (len(lines.shape), count, 3)),
        (model.error_modes, (len(model.error_modes), pixels)),
    ]
    if model.calibration is not None:
        known = model.calibration
        expected += [(known.changes, (count, 3)), (known.sigma, (count, 3))]
        expected += [(known.stars, (count,)), (known.of_library, (count,))]
        if known.area is not None:
            expected.append((known.area, lines.area.shape))
        if known.mismatch is not None:
            _check_mismatch(known.mismatch)
    for name, coefficients in model.cross_derivatives.items():
        others = [axis.size for other, axis in axes.items() if other != name]
        expected.append((coefficients, (*others, len(others))))
    if model.data_basis is not None:
        expected.append((model.data_basis, (box, model.data_basis.shape[-1])))
    for part in () if residual is None else residual.windows:
        rank = len(part.pixels)
        shapes = [(box, rank), (rank, pixels), (pixels,)]
        expected += zip((part.nodes, part.pixels, part.scale), shapes, strict=True)
    for values, shape in expected:
        if np.shape(values) != shape:
            raise ValueError(f"an array has the shape {np.shape(values)} instead of {shape}")
        if not all(np.isfinite(some).all() for some in read_blocks(np.asarray(values), _AT_ONCE)):
            raise ValueError("an array has values that are not finite")


def _wavelengths(first: list[int], bends: NDArray[np.unsignedinteger]) -> NDArray[np.float64]:
    """Wavelengths (P,) from their first two and their second differences."""
    steps = np.cumsum(np.concatenate([[first[1] - first[0]], _unfolded(bends)]))
    return np.concatenate([[first[0]], first[0] + np.cumsum(steps)]) * _WAVELENGTH_STEP


def _read_residual(group: zarr.Group) -> PcaResidual:
    columns = read_columns(group, "residual_pixels")
    pixels = _from_columns(columns, np.ones(columns.shape[1]))
    nodes = _from_columns(read_columns(group, "residual_nodes"), node_steps(pixels))
    scale = scale_of(_unfolded(read_array(group, "residual_scale")))
    return PcaResidual(*jax.device_put((nodes, pixels, scale)))


def _from_columns(columns: ColumnBlocks, steps: Floats) -> NDArray[np.float32]:
    """Return the values of columns in whole numbers of their steps."""
    values = aligned_empty(columns.shape)
    for some, block in columns:
        values[:, some] = from_steps(block, steps[some])
    return values
