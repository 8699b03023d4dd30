"""The model: labels to flux. Lines and residual follow the labels; everything is differentiable.

    labels ─► weights of the nodes ─► lines ─► optical depth + residual ─► flux ─► star, instrument

The residual, what the lines do not express, is interpolated in the space of `strength`, close to
sqrt(τ): there it is smooth over the labels. With it the model is exact at the nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import zarr
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from .archive import open_zarr, read_array, write_array
from .broaden import broaden, log_grid, sample
from .errors import ArchiveError, InputError, LabelError
from .files import replacing
from .lines import Lines
from .manifold import Manifold, make_manifold
from .recipe import Recipe, recipe_from_json
from .render import Composition, Layout, make_layout, optical_depth, reach
from .units import SPEED_OF_LIGHT

FORMAT = "blase3d-model"
VERSION = 1
_SOFT = 1e-6
"""Optical depth below which `strength` goes from a square root to a straight line."""
_SAME_PIXEL = 1e-6
"""Wavelengths this close (Å) are of one pixel."""
_ERROR_SHARE = 0.5
_MODES = 12
_CELLS = 200
"""Cells, at the most, whose middles `emulator_error` looks at."""


def strength(depth: Array) -> Array:
    """sqrt(τ) with a finite slope at zero, odd in τ."""
    return jnp.sign(depth) * (jnp.sqrt(jnp.abs(depth) + _SOFT) - _SOFT**0.5)


def depth_of_strength(value: Array) -> Array:
    """Optical depth τ: the inverse of `strength`."""
    return jnp.sign(value) * ((jnp.abs(value) + _SOFT**0.5) ** 2 - _SOFT)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("manifold", "lines", "residual", "layout", "to_log"),
    meta_fields=("composition", "velocity_step"),
)
@dataclass(frozen=True)
class Emulator:
    """The arrays that turn labels into flux: `lines` (box, C, 4) and `residual` (box, P), or
    None, at the nodes of the box; `layout` of the lines on the pixels; `to_log` (M,) the pixels,
    in fractions, that stand at equal steps of `velocity_step` (km/s) in ln λ."""

    manifold: Manifold
    lines: Array
    residual: Array | None
    layout: Layout
    to_log: Array
    composition: Composition
    velocity_step: float


def line_params(emulator: Emulator, labels: Array) -> Array:
    """Parameters (C, 4) of the lines at labels (L,)."""
    return jnp.tensordot(emulator.manifold.weights(labels), emulator.lines, axes=1)


def emulate(emulator: Emulator, labels: Array, *, residual: bool = True) -> Array:
    """Normalised flux (P,) at labels (L,) on the emulator's own pixels."""
    weights = emulator.manifold.weights(labels)
    params = jnp.tensordot(weights, emulator.lines, axes=1)
    depth = optical_depth(params, emulator.layout, emulator.composition)
    if residual and emulator.residual is not None:
        depth = depth_of_strength(strength(depth) + weights @ emulator.residual)
    return jnp.exp(-depth)


def observe(
    emulator: Emulator,
    labels: Array,
    place: Array,
    rv: ArrayLike = 0.0,
    vsini: ArrayLike | None = None,
    resolution: ArrayLike | None = None,
    *,
    residual: bool = True,
) -> Array:
    """Flux (Q,) of a moving, rotating star seen by an instrument, at `place` (Q,): fractional
    pixels of the steps in ln λ. Velocities in km/s; None leaves rotation or instrument out."""
    flux = emulate(emulator, labels, residual=residual)
    return see(emulator, flux, place, rv, vsini, resolution)


def see(
    emulator: Emulator,
    flux: Array,
    place: Array,
    rv: ArrayLike = 0.0,
    vsini: ArrayLike | None = None,
    resolution: ArrayLike | None = None,
) -> Array:
    """Flux (P,) of the model's own pixels as `observe` shows it, (Q,)."""
    flux = sample(flux, emulator.to_log)
    if vsini is not None or resolution is not None:
        flux = broaden(flux, emulator.velocity_step, 0.0 if vsini is None else vsini, resolution)
    shift = jnp.log1p(jnp.asarray(rv) / SPEED_OF_LIGHT) * SPEED_OF_LIGHT / emulator.velocity_step
    return sample(flux, place - shift)


@dataclass(frozen=True, eq=False)
class Model:
    """A library as a function of its labels.

    Attributes
    ----------
    wavelength : (P,) float64
        The model's own pixels, Å in vacuum.
    axes : dict
        Values of each label at the nodes of the box.
    reference : (C,) float64
        Wavelengths that name the lines (Å, vacuum).
    emulator : Emulator
        The arrays behind.
    recipe : Recipe
        How it was made.
    meta : dict
        Library with its citation, versions, units, nodes.
    error_modes : (K, P) float32
        The emulator's expected error: its covariance over pixels is the sum of their outer
        products (`emulator_error`). No rows where no error is stated.
    """

    wavelength: NDArray[np.float64]
    axes: Mapping[str, NDArray[np.float64]]
    reference: NDArray[np.float64]
    emulator: Emulator
    recipe: Recipe
    meta: Mapping[str, Any]
    error_modes: NDArray[np.float32]

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels, in order."""
        return tuple(self.axes)

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Range of each label."""
        return {name: (float(axis[0]), float(axis[-1])) for name, axis in self.axes.items()}

    def flux(
        self,
        *,
        rv: ArrayLike | None = None,
        vsini: ArrayLike | None = None,
        resolution: ArrayLike | None = None,
        wavelength: ArrayLike | None = None,
        residual: bool = True,
        **labels: ArrayLike,
    ) -> Array:
        """Flux in units of the continuum at given labels; works in jit, grad and vmap.

        Parameters
        ----------
        rv, vsini : float, optional
            km/s; `rv` is positive when receding.
        resolution : float, optional
            λ/Δλ of the instrument; None for none.
        wavelength : (Q,) array, optional
            Where the flux is wanted, Å in vacuum; the model's own pixels if None. Beyond the
            range of the model the flux of its last pixel goes on.
        residual : bool
            False: the lines alone.
        **labels : float
            One value for every label of the model, e.g. teff (K), logg (cgs), feh (dex).

        Returns
        -------
        (Q,) or (P,) float32

        Raises
        ------
        LabelError
            A label is missing, unknown, or outside the library.
        """
        vector = self.label_vector(**labels)
        if rv is None and vsini is None and resolution is None and wavelength is None:
            return _emulate(self.emulator, vector, residual=residual)
        place = self.places(self.wavelength if wavelength is None else wavelength)
        velocity = 0.0 if rv is None else rv
        return _observe(
            self.emulator, vector, place, velocity, vsini, resolution, residual=residual
        )

    def places(self, wavelength: ArrayLike) -> Array:
        """Fractional pixels, on the model's steps in ln λ, of wavelengths (Q,) in Å."""
        ln: Any
        if isinstance(wavelength, jax.core.Tracer):
            ln = jnp.log(wavelength)
        else:  # in float64, as long as the wavelengths are known
            ln = np.log(np.asarray(wavelength, np.float64))
        first, step = float(np.log(self.wavelength[0])), self.emulator.velocity_step
        return jnp.asarray((ln - first) * (SPEED_OF_LIGHT / step), jnp.float32)

    def own_pixels(self, wavelength: NDArray[np.float64]) -> slice | None:
        """Where these wavelengths (Q,) are among the model's own pixels; None if they are not."""
        first = int(np.searchsorted(self.wavelength, wavelength[0] - _SAME_PIXEL))
        place = slice(first, first + wavelength.size)
        own = self.wavelength[place]
        same = own.shape == wavelength.shape and np.allclose(
            own, wavelength, rtol=0, atol=_SAME_PIXEL
        )
        return place if same else None

    def label_vector(self, **labels: ArrayLike) -> Array:
        """Labels by name as one vector (L,), checked against the range of the library."""
        names = self.label_names
        if set(labels) != set(names):
            raise LabelError(
                f"got the labels {', '.join(labels) or 'none'}, expected {', '.join(names)}; "
                "give each of these once."
            )
        for name, value in labels.items():
            if isinstance(value, jax.core.Tracer):
                continue
            low, high = self.bounds[name]
            if not np.all((np.asarray(value) >= low) & (np.asarray(value) <= high)):
                raise LabelError(
                    f"got {name}={value}, outside the library ({low:g} to {high:g}); "
                    "choose a value inside, or a model of a wider library."
                )
        return jnp.stack([jnp.asarray(labels[name], jnp.float32) for name in names])

    def lines(self, **labels: float) -> Lines:
        """The lines at given labels."""
        params = _line_params(self.emulator, self.label_vector(**labels))
        return Lines(self.reference, np.asarray(params))


_emulate = jax.jit(emulate, static_argnames="residual")
_observe = jax.jit(observe, static_argnames="residual")
_line_params = jax.jit(line_params)


def make_model(
    wavelength: NDArray[np.float64],
    axes: Mapping[str, NDArray[np.float64]],
    reference: NDArray[np.float64],
    lines: NDArray[np.float32],
    residual: NDArray[np.float32] | None,
    recipe: Recipe,
    meta: Mapping[str, Any],
    error_modes: NDArray[np.float32] | None = None,
) -> Model:
    """A model from what is known at the nodes of its box: lines (box, C, 4), residual (box, P)."""
    if error_modes is None:
        error_modes = np.empty((0, wavelength.size), np.float32)
    manifold = make_manifold(list(axes.values()), recipe.manifold)
    ln = log_grid(wavelength)
    emulator = Emulator(
        manifold,
        jnp.asarray(lines),
        None if residual is None else jnp.asarray(residual),
        model_layout(wavelength, reference, lines, recipe),
        jnp.asarray(np.interp(np.exp(ln), wavelength, np.arange(wavelength.size)), jnp.float32),
        recipe.composition,
        SPEED_OF_LIGHT * float(ln[-1] - ln[0]) / (ln.size - 1),
    )
    return Model(wavelength, dict(axes), reference, emulator, recipe, meta, error_modes)


def emulator_error(model: Model) -> NDArray[np.float32]:
    """Modes (K, P) of the error that a model makes between its nodes.

    An interpolant of degree d errs by about what it differs from that of degree d − 1, or less:
    the differences in the middle of the cells, one for each label, times `_ERROR_SHARE`, are
    taken as draws of the error, and their covariance is kept as its `_MODES` strongest modes.
    Along an axis of degree 1 there is nothing to compare, so a linear manifold has no modes.
    """
    axes = list(model.axes.values())
    kind = model.recipe.manifold
    varying = [k for k, axis in enumerate(axes) if len(axis) > 2] if kind == "spline" else []
    middles = [(axis[1:] + axis[:-1]) / 2 if len(axis) > 1 else axis for axis in axes]
    cells = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1).reshape(-1, len(axes))
    cells = cells[:: -(-len(cells) // _CELLS)]
    lowered = [
        replace(model.emulator, manifold=make_manifold(axes, kind, lowered=k)) for k in varying
    ]
    draws = []
    for labels in jnp.asarray(cells if lowered else [], jnp.float32):
        best = np.asarray(_emulate(model.emulator, labels))
        draws += [best - np.asarray(_emulate(other, labels)) for other in lowered]
    if not draws:
        return np.empty((0, model.wavelength.size), np.float32)
    errors = _ERROR_SHARE * np.stack(draws) / np.sqrt(len(cells))
    _, vectors = np.linalg.eigh(errors @ errors.T)
    return (vectors[:, -_MODES:].T @ errors).astype(np.float32)


def model_layout(
    wavelength: NDArray[np.float64],
    reference: NDArray[np.float64],
    lines: NDArray[np.float32],
    recipe: Recipe,
) -> Layout:
    """The layout of lines that reach as far as at any node of lines (box, C, 4)."""
    far = np.max([reach(params, recipe.wing_tolerance) for params in lines], axis=0)
    return make_layout(wavelength, reference, far)


def save_model(model: Model, path: str | Path) -> None:
    """Write a model as one zip file of a Zarr group, under another name first."""
    with (
        replacing(Path(path)) as partial_path,
        zarr.storage.ZipStore(partial_path, mode="w") as store,
    ):
        _write(zarr.create_group(store, attributes=_attributes(model)), model)


def _attributes(model: Model) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "recipe": model.recipe.to_json(),
        "axes": {name: axis.tolist() for name, axis in model.axes.items()},
        "units": {"wavelength": "Angstrom", "flux": "continuum"},
        "medium": "vacuum",
        "meta": dict(model.meta),
    }


def _write(group: zarr.Group, model: Model) -> None:
    write_array(group, "wavelength", model.wavelength)
    write_array(group, "reference", model.reference)
    write_array(group, "lines", np.asarray(model.emulator.lines))
    write_array(group, "error_modes", model.error_modes)
    if model.emulator.residual is not None:
        write_array(group, "residual", np.asarray(model.emulator.residual))


def load_model(path: str | Path) -> Model:
    """The model that `save_model` wrote.

    Raises
    ------
    ArchiveError
        It does not exist, is something else, is damaged, or is of a later version.
    """
    path = Path(path)
    group = open_zarr(path, FORMAT, VERSION, "blase3d build")
    try:
        attributes: dict[str, Any] = dict(group.attrs)
        recipe = recipe_from_json(attributes["recipe"])
        axes = {name: np.asarray(axis) for name, axis in attributes["axes"].items()}
        names = ("wavelength", "reference", "lines", "error_modes")
        arrays = {name: read_array(group, name) for name in names}
        residual = read_array(group, "residual") if recipe.residual else None
        return make_model(
            axes=axes, residual=residual, recipe=recipe, meta=attributes["meta"], **arrays
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArchiveError(
            f"{path} is not a complete model ({type(error).__name__}: {error}); build it again."
        ) from None
    finally:
        group.store.close()


def check_overlap(model: Model, wavelength: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which wavelengths (P,) lie within the model (InputError if none does)."""
    low, high = model.wavelength[[0, -1]]
    inside = (wavelength >= low) & (wavelength <= high)
    if not inside.any():
        raise InputError(
            f"the spectrum covers {wavelength[0]:.0f}–{wavelength[-1]:.0f} Å and the model "
            f"{low:.0f}–{high:.0f} Å, which do not overlap; use a model of that range."
        )
    return inside
