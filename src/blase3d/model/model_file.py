"""Models on disk: one zip file of a Zarr group, as small as its accuracy allows.

Coefficients of joint recipes and the residual are whole numbers times a step. Their signs are
folded in (0, −1, 1, −2 ... become 0, 1, 2, 3 ...), so that small numbers have empty upper bytes,
which cost nothing once they are shuffled together and compressed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import zarr
from numpy.typing import ArrayLike, NDArray

from ..errors import ArchiveError
from ..recipe import GROUPED, JointFit, Recipe, recipe_from_json
from ..runtime.arrays import DEFAULT_FLOATING_POINT
from ..runtime.files import replacing
from ..runtime.zarr_groups import Format, read_array, write_array
from ..spectra.spectrum import check_wavelength
from .evaluate import PcaResidual
from .grid_basis import DATA_STEP
from .installed import model_path
from .line_calibration import LineCalibration
from .line_grid import LineGrid, steps
from .mismatch import Mismatch
from .model import Model
from .residual import node_steps, scale_number, scale_of

FORMAT = Format("blase3d-model", 3, GROUPED, "blase3d build")
"""Version 3 has no cross derivatives, versions before 5 have no data-driven basis functions."""
_WAVELENGTH_STEP = 1e-7
"""Å: unit of the second differences in which wavelengths are stored."""
_ERROR_STEP = 1e-5
"""Step of the error modes, in units of the continuum."""
_MISMATCH_STEP = 1e-4
"""Step of the mismatch with stars, as a standard deviation in units of the continuum."""


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
        _write(zarr.create_group(store, attributes=_attributes(model)), model)


def _attributes(model: Model) -> dict[str, Any]:
    return {
        **FORMAT.attributes,
        "recipe": model.recipe.to_json(),
        "axes": {name: axis.tolist() for name, axis in model.axes.items()},
        "wavelength": np.round(model.wavelength[:2] / _WAVELENGTH_STEP).astype(int).tolist(),
        "range": [float(model.wavelength[0]), float(model.wavelength[-1])],
        "units": {"wavelength": "Angstrom", "flux": "continuum"},
        "medium": "vacuum",
        "meta": dict(model.meta),
    }


def _write(group: zarr.Group, model: Model) -> None:
    whole = np.round(model.wavelength / _WAVELENGTH_STEP).astype(np.int64)
    write_array(group, "wavelength", _folded(np.diff(whole, 2)))
    write_array(group, "reference", model.reference)
    lines, residual = model.line_grid, model.residual
    base = lines.base
    if model.calibration is not None:
        base = base - model.calibration.base  # so that it can be left out on reading
        write_array(group, "calibration_changes", model.calibration.changes)
        write_array(group, "calibration_sigma", model.calibration.sigma)
        write_array(group, "calibration_stars", model.calibration.stars)
        if (mismatch := model.calibration.mismatch) is not None:
            write_array(group, "mismatch_ends", mismatch.ends)
            deviation = _coded(np.sqrt(mismatch.variance), _MISMATCH_STEP)
            write_array(group, "mismatch_deviation", deviation)
    write_array(group, "base", np.asarray(base, np.float32))
    for name, step in _steps(model.recipe, base).items():
        values = np.asarray(getattr(lines, name), np.float32)
        write_array(group, name, values if step is None else _coded(values, step))
    write_array(group, "error_modes", _coded(model.error_modes, _ERROR_STEP))
    for label, coefficients in model.cross_derivatives.items():
        values = np.asarray(coefficients, np.float32)
        write_array(group, _cross_derivatives_name(model.axes, label), values)
    if model.data_basis is not None and model.data_basis.size:
        write_array(group, "own_functions", _coded(model.data_basis, DATA_STEP))
    if residual is not None:
        pixels = np.asarray(residual.pixels)
        nodes = _coded(np.asarray(residual.nodes), node_steps(pixels))
        write_array(group, "residual_nodes", nodes)
        write_array(group, "residual_pixels", _coded(pixels, 1.0))
        write_array(group, "residual_scale", _folded(scale_number(np.asarray(residual.scale))))


def _cross_derivatives_name(axes: Mapping[str, Any], label: str) -> str:
    """Name of the array of a label, whatever characters the label has."""
    return f"rates_{list(axes).index(label)}"


def _steps(recipe: Recipe, base: NDArray[np.float32]) -> dict[str, ArrayLike | None]:
    """Steps of the coefficients of lines; None where they are stored as they are."""
    joint = isinstance(recipe.fit, JointFit)
    area, shape = steps(base, recipe.profile) if joint else (None, None)
    return {"area": area, "shape": shape}


def _coded(values: NDArray[np.floating], step: ArrayLike) -> NDArray[np.unsignedinteger]:
    return _folded(np.round(values / np.asarray(step, np.float64)).astype(np.int64))


def _folded(whole: NDArray[np.int64]) -> NDArray[np.unsignedinteger]:
    """Whole numbers with their signs folded in, in the smallest type that holds them."""
    folded = np.where(whole < 0, -2 * whole - 1, 2 * whole).astype(np.uint64)
    kind = np.min_scalar_type(int(folded.max(initial=0)))
    return folded.astype(kind.str)  # not `kind`: of two names for 64 bits, Zarr knows one


def _unfolded(folded: NDArray[np.unsignedinteger]) -> NDArray[np.int64]:
    wide = folded.astype(np.int64)
    return np.where(wide % 2 == 1, -(wide + 1) // 2, wide // 2)


def _decoded(folded: NDArray[np.unsignedinteger], step: ArrayLike) -> NDArray[np.float32]:
    return (_unfolded(folded) * np.asarray(step, np.float64)).astype(np.float32)


@DEFAULT_FLOATING_POINT
def load_model(path: str | Path, *, calibrated: bool = True) -> Model:
    """The model that `save_model` wrote, by its path, or by its name in `blase3d models`.

    With `calibrated=False` a calibrated model has the lines of its library, unchanged.

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
    with _opened(model_path(path)) as group:
        model = _read(group, dict(group.attrs))
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


def _read(group: zarr.Group, attributes: dict[str, Any]) -> Model:
    recipe = recipe_from_json(attributes["recipe"], attributes["version"])
    axes = {name: np.asarray(axis) for name, axis in attributes["axes"].items()}
    arrays = {name: read_array(group, name) for name in ("reference", "base")}
    for name, step in _steps(recipe, arrays["base"]).items():
        values = read_array(group, name)
        arrays[name] = values if step is None else _decoded(values, step)
    residual = _read_residual(group) if "residual_nodes" in group else None
    if residual is None and recipe.residual is not None:
        raise ValueError("the residual is missing")
    wavelength = _wavelengths(attributes["wavelength"], read_array(group, "wavelength"))
    check_wavelength(wavelength, ArchiveError)
    root = recipe.fit.area_root if isinstance(recipe.fit, JointFit) else 0
    data_basis = None
    if "own_functions" in group:
        data_basis = _decoded(read_array(group, "own_functions"), DATA_STEP)
    calibration = _read_calibration(group)
    if calibration is not None:
        if calibration.base.shape != arrays["base"].shape:
            raise ValueError("the calibration is of another number of lines")
        arrays["base"] = arrays["base"] + calibration.base
    model = Model(
        wavelength,
        axes,
        LineGrid(**arrays, root=root, profile=recipe.profile),
        recipe,
        attributes["meta"],
        residual,
        _decoded(read_array(group, "error_modes"), _ERROR_STEP),
        _read_cross_derivatives(group, axes),
        data_basis,
        calibration,
    )
    _check(model)
    model.forward  # noqa: B018  raises where numbers are absurd
    return model


def _read_calibration(group: zarr.Group) -> LineCalibration | None:
    if "calibration_changes" not in group:
        return None
    names = ("changes", "sigma", "stars")
    changes, sigma, stars = (read_array(group, f"calibration_{name}") for name in names)
    mismatch = None
    if "mismatch_ends" in group:
        deviation = _decoded(read_array(group, "mismatch_deviation"), _MISMATCH_STEP)
        mismatch = Mismatch(read_array(group, "mismatch_ends"), deviation**2)
    return LineCalibration(changes, sigma, stars, mismatch)


def _check_mismatch(mismatch: Mismatch) -> None:
    low, high = mismatch.ends
    if not (mismatch.variance.ndim == 1 and mismatch.variance.size > 1 and 0.0 < low < high):
        raise ValueError("the mismatch with stars has no knots")


def _read_cross_derivatives(
    group: zarr.Group, axes: Mapping[str, Any]
) -> dict[str, NDArray[np.float32]]:
    names = {label: _cross_derivatives_name(axes, label) for label in axes}
    return {label: read_array(group, name) for label, name in names.items() if name in group}


def _check(model: Model) -> None:
    """Raise ValueError unless the arrays of a model have matching shapes and finite values."""
    axes, lines, residual = model.axes, model.line_grid, model.residual
    for name, axis in axes.items():
        if not (axis.ndim == 1 and axis.size and np.isfinite(axis).all()):
            raise ValueError(f"the values of {name} are no numbers")
        if not (np.diff(axis) > 0).all():
            raise ValueError(f"the values of {name} do not increase")
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
        expected.append((known.stars, (count,)))
        if known.mismatch is not None:
            _check_mismatch(known.mismatch)
    for name, coefficients in model.cross_derivatives.items():
        others = [axis.size for other, axis in axes.items() if other != name]
        expected.append((coefficients, (*others, len(others))))
    if model.data_basis is not None:
        expected.append((model.data_basis, (box, model.data_basis.shape[-1])))
    if residual is not None:
        rank = len(residual.pixels)
        shapes = [(box, rank), (rank, pixels), (pixels,)]
        expected += zip((residual.nodes, residual.pixels, residual.scale), shapes, strict=True)
    for values, shape in expected:
        if np.shape(values) != shape:
            raise ValueError(f"an array has the shape {np.shape(values)} instead of {shape}")
        if not np.isfinite(values).all():
            raise ValueError("an array has values that are not finite")


def _wavelengths(first: list[int], bends: NDArray[np.unsignedinteger]) -> NDArray[np.float64]:
    """Wavelengths (P,) from their first two and their second differences."""
    steps = np.cumsum(np.concatenate([[first[1] - first[0]], _unfolded(bends)]))
    return np.concatenate([[first[0]], first[0] + np.cumsum(steps)]) * _WAVELENGTH_STEP


def _read_residual(group: zarr.Group) -> PcaResidual:
    pixels = _decoded(read_array(group, "residual_pixels"), 1.0)
    nodes = _decoded(read_array(group, "residual_nodes"), node_steps(pixels))
    scale = scale_of(_unfolded(read_array(group, "residual_scale")))
    return PcaResidual(jnp.asarray(nodes), jnp.asarray(pixels), jnp.asarray(scale))
