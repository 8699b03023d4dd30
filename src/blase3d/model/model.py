"""The model of a library: its spectrum as a function of the labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import is_
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from ..errors import InputError, LabelError
from ..lines.lines import Lines
from ..parameters import FITTED, LIMB_DARKENING, parameter
from ..recipe import Recipe
from ..runtime.arrays import DEFAULT_FLOATING_POINT
from ..runtime.moved import warn_of_former
from ..runtime.notebook import html_table
from ..runtime.precision import in_float32
from ..runtime.units import SPEED_OF_LIGHT
from ..runtime.with_units import in_parameter_unit, in_unit
from ..spectra.broaden import Pixels, log_grid, pixel_widths, pixels_of
from .arguments import check_label, check_observation, check_wavelengths
from .evaluate import AnyResidual, ForwardModel, evaluate, line_params
from .grid_basis import functions_with_residual, grid_basis
from .instrument import Broadening, observe
from .interpolation import Transition, make_interpolation
from .line_calibration import LineCalibration
from .line_grid import LineGrid, line_grid_layout
from .mismatch import Mismatch
from .model_windows import StoredWindows, cut_pixels, whole

_SAME_PIXEL = 1e-6
"""Largest difference (Å) of wavelengths of the same pixel."""
_ROUNDING = 2e-7
"""Relative rounding of float32, in which traced labels come."""
_SAME_LABEL = 1e-5
"""Relative difference of values of a label that are the same."""
_GRAIN, _SPARE = 2048, 16
"""Cuts of a model begin and end at multiples of so many pixels, with so many to spare."""
_COARSEST = 32_768
"""Pixels of a coarse cut that is not halved: it would not be worth its compilation."""
_FASTEST, _BROADEST = 1000.0, 600.0
"""Velocities (km/s) by which a range is extended: for a radial velocity that is not known yet, and
for broadening."""
_READ = ("line_grid", "residual", "error_modes", "calibration")
"""Fields of a model that its windows have."""


def _renamed(old: str, new: str) -> property:
    """An attribute of `Model` under its former name."""

    def get(model: Model) -> Any:
        warn_of_former(f"Model.{old} is now Model.{new}")
        return getattr(model, new)

    return property(get, doc=f"The former name of `{new}`.")


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A library as a function of its labels.

    A model is a pytree of the arrays of `forward`: it can be an argument of a compiled function.
    Another model of the same pixels, axes, recipe and number of lines, such as a calibrated one,
    needs no new compilation. Inside the function it has `flux` and `bounds`, but neither lines nor
    error modes, and is not cut to the wavelengths: cut it before, with `part`.

    Attributes
    ----------
    wavelength : (P,) float64
        Pixels of the model, Å in vacuum.
    axes : dict
        Values of each label at the nodes of the box.
    line_grid : LineGrid
        The C lines over the grid.
    recipe : Recipe
        The settings it was made with.
    meta : dict
        Library with its citation, versions, units, nodes.
    residual : PcaResidual, WindowedResidual or None
        Correction of the flux by what the lines leave at the nodes.
    error_modes : (K, P) float32
        Expected error between the nodes: its covariance over pixels is the sum of the outer
        products of these modes (`interpolation_error`). No rows where no error is stated.
    cross_derivatives : dict
        For labels of few values, the coefficients of their next derivative in those along the
        other labels (`short_axes`).
    data_basis : (box, K') or None
        Functions over the grid from the library's own spectra (`grid_basis`).
    calibration : LineCalibration or None
        Changes of the lines that observed stars taught, and lines that were added; `line_grid`
        includes them.
    """

    wavelength: NDArray[np.float64]
    axes: Mapping[str, NDArray[np.float64]]
    line_grid: LineGrid
    recipe: Recipe
    meta: Mapping[str, Any] = field(default_factory=dict)
    residual: AnyResidual | None = field(default_factory=lambda: None)
    error_modes: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    cross_derivatives: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    data_basis: NDArray[np.floating] | None = None
    calibration: LineCalibration | None = field(default_factory=lambda: None)

    @classmethod
    def of_windows(cls, frame: Mapping[str, Any], stored: StoredWindows) -> Model:
        """Return a model whose lines, residual and error modes are read when they are needed.

        A cut, such as `part` and `flux` at given wavelengths make, reads its windows alone.

        Parameters
        ----------
        frame : dict
            All other fields of a model, by name.
        stored : StoredWindows
            The windows on disk.
        """
        model = object.__new__(cls)
        vars(model).update(frame, _stored=stored)
        return model

    @property
    def stored(self) -> StoredWindows | None:
        """The windows on disk, if they are read when they are needed."""
        return vars(self).get("_stored")

    if not TYPE_CHECKING:  # names of attributes are still checked

        def __getattr__(self, name):
            """Read all windows when one of their fields is first needed."""
            stored = vars(self).get("_stored")
            if stored is None or name not in _READ:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            model = whole(self, stored)
            vars(self).update({field: getattr(model, field) for field in _READ})
            return vars(self)[name]

    def __repr__(self) -> str:
        axes = (f"{name} {low:g} to {high:g}" for name, (low, high) in self.bounds.items())
        return (
            f"<Model of {len(self.wavelength)} pixels from {self.wavelength[0]:.6g} to "
            f"{self.wavelength[-1]:.6g} Å, {len(self.reference)} lines, {', '.join(axes)}>"
        )

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        rows = {
            "wavelength": f"{self.wavelength[0]:.2f} to {self.wavelength[-1]:.2f} Å in vacuum",
            "pixels": f"{len(self.wavelength)}",
            "lines": f"{len(self.reference)}",
            "recipe": self.recipe.name,
        }
        for name, axis in self.axes.items():
            values = f"{axis[0]:g} to {axis[-1]:g} ({axis.size} values)"
            rows[parameter(name).heading] = values
        return html_table(f"Model of {library_name(self)}", rows)

    def __post_init__(self) -> None:
        if not self.error_modes.size:
            none = np.empty((0, self.wavelength.size), np.float32)
            object.__setattr__(self, "error_modes", none)

    @property
    def reference(self) -> NDArray[np.float64]:
        """Wavelengths that name the lines (Å, vacuum), (C,)."""
        return self.line_grid.reference if self.stored is None else self.stored.reference

    @property
    def transitions(self) -> dict[str, Transition]:
        """Labels along which the library passes from one relation to another, with the ends."""
        library = self.meta.get("library")
        found = library.get("transitions", {}) if isinstance(library, Mapping) else {}
        return {name: (float(low), float(high)) for name, (low, high) in found.items()}

    @cached_property
    def basis(self) -> NDArray[np.float64]:
        """The functions that lines follow, at the nodes of the box, (box, K)."""
        return grid_basis(self.axes, self.recipe, self.data_basis)

    @cached_property
    def forward(self) -> ForwardModel:
        """The arrays that turn labels into flux, made when they are first needed."""
        with jax.ensure_compile_time_eval():  # they stay, also if this is being traced
            return self._make_forward()

    @DEFAULT_FLOATING_POINT
    @in_float32
    def _make_forward(self) -> ForwardModel:
        lines, ln = self.line_grid, log_grid(self.wavelength)
        data_count = 0 if self.data_basis is None else self.data_basis.shape[1]
        smooth_count = len(lines.area)
        if self.residual is not None:
            smooth_count = functions_with_residual(lines, self.recipe, data_count)
        to_log = np.interp(np.exp(ln), self.wavelength, np.arange(self.wavelength.size))
        return ForwardModel(
            make_interpolation(
                self.axes,
                self.recipe.interpolation,
                self.cross_derivatives,
                transitions=self.transitions,
            ),
            jax.device_put(np.asarray(self.basis, np.float32)),
            jax.device_put(lines.base),
            jax.device_put(lines.area),
            jax.device_put(lines.shape),
            self.residual,
            line_grid_layout(self.wavelength, lines, self.basis, self.recipe),
            jax.device_put(np.asarray(to_log - np.floor(to_log), np.float32)),
            jax.device_put(np.asarray(np.floor(to_log), np.int32)),
            smooth_count,
            lines.root,
            self.recipe.composition,
            SPEED_OF_LIGHT * float(ln[-1] - ln[0]) / (ln.size - 1),
        )

    @property
    def mismatch(self) -> Mismatch | None:
        """Differences of real stars from the library, if the model is calibrated."""
        return None if self.calibration is None else self.calibration.mismatch

    @property
    def lines_of_stars(self) -> bool:
        """Whether lines were changed or added as observed stars taught."""
        return self.calibration is not None and self.calibration.changes_lines

    def uncalibrated(self) -> Model:
        """Return the model with the lines of its library."""
        if self.calibration is None:
            return self
        lines = self.calibration.applied(self.line_grid, -1.0).take(self.calibration.of_library)
        meta = {name: value for name, value in self.meta.items() if name != "calibration"}
        return replace(self, line_grid=lines, calibration=None, meta=meta)

    def with_library_lines(self) -> Model:
        """Return the model with the lines of its library, and all else of a calibrated one.

        Lines that were added absorb nothing, so that the layout of lines and the compiled code
        are those of the model. It is made once, for all stars.
        """
        if (known := self.calibration) is None:
            return self
        if self not in _OF_LIBRARY:
            library = self.with_lines(known.removed(self.line_grid))
            library = replace(library, calibration=known.unchanged).with_forward(library.forward)
            _OF_LIBRARY[self] = library
        return _OF_LIBRARY[self]

    def with_lines(self, line_grid: LineGrid) -> Model:
        """Return the model with slightly other parameters of its lines.

        The lines keep their layout, and so their compiled code; `dataclasses.replace` makes a new
        one.
        """
        forward = replace(
            self.forward,
            base=jax.device_put(line_grid.base),
            area=jax.device_put(line_grid.area),
            shape=jax.device_put(line_grid.shape),
        )
        return replace(self, line_grid=line_grid).with_forward(forward)

    def with_forward(self, forward: ForwardModel) -> Model:
        """Return the model with its flux computed by other arrays."""
        model = replace(self)
        model.__dict__["forward"] = forward  # the cached property
        return model

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
        resolution: ArrayLike | Callable[[NDArray[np.float64]], ArrayLike] | None = None,
        wavelength: ArrayLike | None = None,
        residual: bool = True,
        vmac: ArrayLike | None = None,
        limb_darkening: ArrayLike = LIMB_DARKENING,
        integrate: bool = False,
        dilution: ArrayLike | None = None,
        **labels: ArrayLike,
    ) -> Array:
        """Return the flux in units of the continuum at given labels; works in jit, grad and vmap.

        All values may be astropy Quantities, such as `teff=5800 * u.K`; they are converted.

        Parameters
        ----------
        rv, vsini : float, optional
            km/s; `rv` is positive when receding.
        resolution : float, (Q,) array or function, optional
            λ/Δλ of the instrument: one for all, one for each of `wavelength`, or a function of
            the wavelength (Å); None for none.
        wavelength : (Q,) array, optional
            Å in vacuum; the pixels of the model if None. Beyond the range of the model its last
            pixel is repeated. Traced wavelengths are rounded to float32, that is by 0.02 km/s.
        residual : bool
            Whether the lines are corrected by the model's residual.
        vmac : float, optional
            Radial–tangential macroturbulence, km/s.
        limb_darkening : float
            Linear coefficient of the rotation kernel.
        integrate : bool
            Average the flux over pixels that touch midway between the wavelengths, instead of
            sampling it. The wavelengths cannot be traced then.
        dilution : float, optional
            Fraction d of light without lines: the flux F becomes (1 − d) F + d. It is negative
            where too much was subtracted.
        **labels : float
            One value for every label of the model, e.g. teff (K), logg (cgs), feh (dex). Beyond
            the library, a traced label makes the flux NaN, since a compiled function cannot raise
            an error; in a likelihood, take `jnp.where(jnp.isfinite(value), value, -jnp.inf)`.

        Returns
        -------
        (Q,) or (P,) float32

        Raises
        ------
        LabelError
            A label is missing, unknown, or outside the library.

        Examples
        --------
        >>> import jax
        >>> import blase3d as b3
        >>> model = b3.load_model("model.zip")
        >>> flux = model.flux(teff=5772, logg=4.44, feh=0.0, rv=12.0, vsini=2.0)
        >>> flux.shape == model.wavelength.shape
        True
        >>> slope = jax.jacfwd(lambda teff: model.flux(teff=teff, logg=4.44, feh=0.0))(5772.0)
        >>> slope.shape == flux.shape
        True
        """
        vector = self.label_vector(**labels)
        wavelength = in_unit(wavelength, "Angstrom", "wavelengths")
        given = {
            "rv": rv,
            "vsini": vsini,
            "vmac": vmac,
            "resolution": resolution,
            "dilution": dilution,
            "limb_darkening": limb_darkening,
        }
        values = {name: in_parameter_unit(name, value) for name, value in given.items()}
        effects = (wavelength, *(value for name, value in values.items() if name in FITTED))
        if all(effect is None for effect in effects) and not integrate:
            return _evaluate(self.forward, vector, residual=residual)
        at = self.wavelength if wavelength is None else wavelength
        if wavelength is not None:  # those of the model are known
            check_wavelengths(wavelength, integrate)
        check_observation(values, at)
        part = self
        if not isinstance(at, jax.core.Tracer) and np.size(at):
            # light of other wavelengths does not reach the observation
            broad = _BROADEST * any(effect is not None for effect in (vsini, resolution, vmac))
            part = self.part(float(np.min(at)), float(np.max(at)), _fastest(values["rv"]) + broad)
        values |= labels
        pixels = part.detector_pixels(np.asarray(at, np.float64)) if integrate else None
        broadening = jax.tree.map(jnp.float32, part.broadening(values, at, pixels))
        whole, fraction = part.split_log_pixels(at)
        return _observe(part.forward, vector, fraction, broadening, whole=whole, residual=residual)

    def part(
        self, low: float, high: float, velocity: float = 0.0, *, coarse: bool = False
    ) -> Model:
        """Return the model cut to a range of wavelengths, which is as much faster to evaluate.

        Cuts are kept: ranges that are nearly equal have the same one.

        Parameters
        ----------
        low, high : float
            Range, Å.
        velocity : float
            km/s by which the light in it may be shifted or broadened.
        coarse : bool
            Few cuts, for ranges that change often, since each cut is compiled once. The model is
            halved as long as a half has the range; the halves of a level overlap by half of
            their length, so that every range half as long lies in one.
        """
        if "meta" not in vars(self):  # an argument of a compiled function
            return self
        margin, size = 1.0 + velocity / SPEED_OF_LIGHT, self.wavelength.size
        first = max(int(np.searchsorted(self.wavelength, low / margin)) - _SPARE, 0)
        last = min(int(np.searchsorted(self.wavelength, high * margin)) + _SPARE, size)
        span = _coarse_span(first, last, size) if coarse else _fine_span(first, last, size)
        if span[1] - span[0] >= size or span[1] - span[0] < 2:
            return self
        cuts = _CUTS.setdefault(self, {})
        if span not in cuts:
            with jax.ensure_compile_time_eval():  # its arrays stay, also if this is being traced
                cuts[span] = cut_pixels(self, slice(*span))
        return cuts[span]

    def broadening(
        self, values: Mapping[str, Any], wavelength: ArrayLike, pixels: Pixels | None = None
    ) -> Broadening:
        """Return the broadening of an observation at wavelengths (Q,) in Å.

        Parameters
        ----------
        values : dict
            Parameters by name, as `Model.flux` takes them, labels included.
        wavelength : (Q,)
            Å, in vacuum.
        pixels : Pixels, optional
            Detector pixels over which the flux is averaged.
        """
        resolution = self.log_resolution(values.get("resolution"), wavelength)
        return Broadening.of({**values, "resolution": resolution}, pixels)

    def detector_pixels(self, wavelength: NDArray[np.float64]) -> Pixels:
        """Return pixels that touch midway between wavelengths (Q,) in Å."""
        return pixels_of(pixel_widths(wavelength), self.forward.velocity_step)

    def log_resolution(
        self,
        resolution: ArrayLike | Callable[[NDArray[np.float64]], ArrayLike] | None,
        wavelength: ArrayLike,
    ) -> ArrayLike | None:
        """Return a resolution as `Broadening` has it.

        One that is given at wavelengths (Q,), or as a function of them, is interpolated to the
        model's steps in ln λ, (M,).
        """
        if resolution is None or not (callable(resolution) or np.ndim(resolution)):
            return resolution
        first, steps = float(np.log(self.wavelength[0])), np.arange(self.forward.to_log.size)
        grid = np.exp(first + steps * self.forward.velocity_step / SPEED_OF_LIGHT)
        if callable(resolution):
            return jnp.asarray(in_parameter_unit("resolution", resolution(grid)), jnp.float32)
        return jnp.interp(grid, jnp.asarray(wavelength), jnp.asarray(resolution))

    def log_pixels(self, wavelength: ArrayLike) -> Array:
        """Return the fractional pixels, on the model's steps in ln λ, of wavelengths (Q,) in Å."""
        return jnp.asarray(self._log_pixels(wavelength), jnp.float32)

    def split_log_pixels(self, wavelength: ArrayLike) -> tuple[Array, Array]:
        """Return `log_pixels` as whole pixels, int32, and fractions, float32.

        They are exact on long spectra, where a sum in float32 would not be.
        """
        pixel = self._log_pixels(wavelength)
        floor = jnp.floor if isinstance(pixel, jax.core.Tracer) else np.floor
        whole = floor(pixel)
        # JAX would compile a cast for each number of pixels
        parts = whole.astype(np.int32), (pixel - whole).astype(np.float32)
        return jax.device_put(parts)

    def _log_pixels(self, wavelength: ArrayLike) -> Any:
        """The same in float64, unless the wavelengths are traced."""
        low = float(self.wavelength[0])
        if isinstance(wavelength, jax.core.Tracer):  # float32 holds the difference exactly
            head = float(np.float32(low))
            ln: Any = jnp.log1p(((wavelength - head) - (low - head)) / low)
        else:
            ln = np.log(np.asarray(wavelength, np.float64) / low)
        return ln * (SPEED_OF_LIGHT / self.forward.velocity_step)

    def native_pixels(self, wavelength: NDArray[np.float64]) -> slice | None:
        """Return the pixels of the model at these wavelengths (Q,), None if they are others."""
        first = int(np.searchsorted(self.wavelength, wavelength[0] - _SAME_PIXEL))
        pixels = slice(first, first + wavelength.size)
        native = self.wavelength[pixels]
        same = native.shape == wavelength.shape and np.allclose(
            native, wavelength, rtol=0, atol=_SAME_PIXEL
        )
        return pixels if same else None

    def label_vector(self, **labels: ArrayLike) -> Array:
        """Return labels by name as one vector (L,), checked against the range of the library.

        Traced labels cannot be checked: one beyond the range becomes NaN.
        """
        names = self.label_names
        if set(labels) != set(names):
            raise LabelError(
                f"got the labels {', '.join(labels) or 'none'}, expected {', '.join(names)}; "
                "give each of these once."
            )
        values = {name: in_parameter_unit(name, value) for name, value in labels.items()}
        for name, value in values.items():
            low, high = self.bounds[name]
            check_label(name, value)
            if isinstance(value, jax.core.Tracer):
                values[name] = _nan_beyond(value, low, high)
            elif not low <= np.asarray(value) <= high:  # no operation of JAX, which is traced
                raise LabelError(
                    f"got {name}={labels[name]}, outside the library ({low:g} to {high:g}); "
                    "choose a value inside, or a model of a wider library."
                )
        return jnp.stack([jnp.asarray(values[name], jnp.float32) for name in names])

    def near_hole(self, **labels: float) -> bool:
        """Whether a corner of the cell around these labels is a node missing from the library.

        The model is extrapolated from other nodes there.
        """
        holes = self._holes
        near = np.ones(len(holes), bool)
        for column, (name, axis) in zip(holes.T, self.axes.items(), strict=True):
            above = int(np.searchsorted(axis, labels[name]))
            around = axis[max(above - 1, 0) : above + 1]
            corners = np.atleast_1d(labels[name] if labels[name] in around else around)
            away = np.abs(column[:, None] - corners)
            near &= (away <= _SAME_LABEL * np.abs(corners) + 1e-8).any(axis=1)
        return bool(near.any())

    @cached_property
    def _holes(self) -> NDArray[np.float64]:
        """Labels (H, L) of the nodes missing from the library."""
        return np.reshape(self.meta.get("holes", ()), (-1, len(self.axes))).astype(np.float64)

    def lines(self, **labels: float) -> Lines:
        """Return the lines at given labels."""
        params = _line_params(self.forward, self.label_vector(**labels))
        return Lines(self.reference, np.asarray(params), self.recipe.profile)

    emulator = _renamed("emulator", "forward")
    places = _renamed("places", "log_pixels")
    split_places = _renamed("split_places", "split_log_pixels")
    own_pixels = _renamed("own_pixels", "native_pixels")
    line_spread = _renamed("line_spread", "log_resolution")
    pixels = _renamed("pixels", "detector_pixels")


def _nan_beyond(value: Array, low: float, high: float) -> Array:
    """A traced label, NaN if it lies beyond its range by more than the rounding of float32."""
    room = _ROUNDING * max(abs(low), abs(high))
    return jnp.where((value >= low - room) & (value <= high + room), value, jnp.nan)


def _fine_span(first: int, last: int, size: int) -> tuple[int, int]:
    """The pixels from `first` to `last`, rounded outwards."""
    return first // _GRAIN * _GRAIN, min(-(-last // _GRAIN) * _GRAIN, size)


def _coarse_span(first: int, last: int, size: int) -> tuple[int, int]:
    """The smallest span of repeated halving with the pixels from `first` to `last`."""
    span, length = (0, size), size
    while length > _COARSEST and 2 * (last - first) <= (length := length // 2):
        start = first // (length // 2) * (length // 2)
        span = start, min(start + length, size)
    return span


def _fastest(rv: ArrayLike | None) -> float:
    """The largest radial velocity (km/s) that `rv` can have."""
    if rv is None:
        return 0.0
    return _FASTEST if isinstance(rv, jax.core.Tracer) else float(np.max(np.abs(rv)))


@dataclass(frozen=True, eq=False)
class _Static:
    """A model without its arrays: equal for models whose compiled functions can be shared."""

    model: Model

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Static):
            return False
        one, two = self.model, other.model
        return one is two or (
            one.recipe == two.recipe
            and one.label_names == two.label_names
            and np.array_equal(one.wavelength, two.wavelength)
            and all(map(np.array_equal, one.axes.values(), two.axes.values()))
        )

    def __hash__(self) -> int:
        model = self.model
        return hash((model.label_names, model.wavelength.size, float(model.wavelength[0])))


def _flatten(model: Model) -> tuple[tuple[ForwardModel], _Static]:
    return (model.forward,), _Static(model)


def _unflatten(static: _Static, children: tuple[ForwardModel]) -> Model:
    """The model itself, if its arrays are; otherwise one of these arrays, which has a flux only."""
    (forward,), model = children, static.model
    arrays, others = jax.tree.leaves(model.forward), jax.tree.leaves(forward)
    if len(arrays) == len(others) and all(map(is_, arrays, others)):
        return model
    bare = object.__new__(Model)
    known = {name: getattr(model, name) for name in ("wavelength", "axes", "recipe")}
    bare.__dict__.update(known, forward=forward)
    return bare


jax.tree_util.register_pytree_node(Model, _flatten, _unflatten)

_CUTS: WeakKeyDictionary[Model, dict[tuple[int, int], Model]] = WeakKeyDictionary()
_OF_LIBRARY: WeakKeyDictionary[Model, Model] = WeakKeyDictionary()
_evaluate = in_float32(jax.jit(evaluate, static_argnames="residual"))
_observe = in_float32(jax.jit(observe, static_argnames="residual"))
_line_params = jax.jit(line_params)


def library_name(model: Model) -> str:
    """Return the name of the library of a model."""
    library = model.meta.get("library", {})
    name = library.get("library") if isinstance(library, Mapping) else library
    return str(name or "a library without a name")


def check_overlap(model: Model, wavelength: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which wavelengths (P,) lie within the model, or raise InputError if none does."""
    low, high = model.wavelength[[0, -1]]
    inside = (wavelength >= low) & (wavelength <= high)
    if not inside.any():
        raise InputError(
            f"the spectrum covers {wavelength[0]:.0f}–{wavelength[-1]:.0f} Å and the model "
            f"{low:.0f}–{high:.0f} Å, which do not overlap; use a model of that range."
        )
    return inside
