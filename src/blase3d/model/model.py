"""The model: a library as a function of its labels, with all that is known of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from ..errors import InputError, LabelError
from ..lines.lines import Lines
from ..parameters import LIMB_DARKENING
from ..recipe import Recipe
from ..spectra.broaden import Pixels, log_grid, pixel_widths, pixels_of
from ..units import SPEED_OF_LIGHT
from .evaluate import Emulator, Residual, emulate, line_params
from .grid_basis import box_functions, functions_with_residual
from .instrument import Broadening, observe
from .interpolation import make_manifold
from .line_grid import Surface, farthest, surface_layout

_SAME_PIXEL = 1e-6
"""Wavelengths this close (Å) are of one pixel."""
_GRAIN, _SPARE = 2048, 4
"""Parts of a model begin and end at multiples of so many pixels, with so many to spare."""
_FASTEST, _BROADEST = 1000.0, 600.0
"""Velocity (km/s) that is taken where it is not known yet, and where spectra are broadened."""


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
        resolution: ArrayLike | Callable[[NDArray[np.float64]], ArrayLike] | None = None,
        wavelength: ArrayLike | None = None,
        residual: bool = True,
        vmac: ArrayLike | None = None,
        limb_darkening: ArrayLike = LIMB_DARKENING,
        integrate: bool = False,
        **labels: ArrayLike,
    ) -> Array:
        """Flux in units of the continuum at given labels; works in jit, grad and vmap.

        Parameters
        ----------
        rv, vsini : float, optional
            km/s; `rv` is positive when receding.
        resolution : float, (Q,) array or function, optional
            λ/Δλ of the instrument: one for all, one for each of `wavelength`, or a function of
            the wavelength (Å); None for none.
        wavelength : (Q,) array, optional
            Where the flux is wanted, Å in vacuum; the model's own pixels if None. Beyond the
            range of the model the flux of its last pixel goes on.
        residual : bool
            False: the lines alone.
        vmac : float, optional
            Radial–tangential macroturbulence, km/s.
        limb_darkening : float
            Linear coefficient of the rotation kernel.
        integrate : bool
            Average the flux over pixels that touch midway between the wavelengths, instead of
            giving it at the wavelengths. These then need to be known numbers.
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
        effects = (rv, vsini, resolution, wavelength, vmac)
        if all(effect is None for effect in effects) and not integrate:
            return _emulate(self.emulator, vector, residual=residual)
        at = self.wavelength if wavelength is None else wavelength
        part = self
        if not isinstance(at, jax.core.Tracer) and np.size(at):
            # only what can be seen at these wavelengths is evaluated
            broad = _BROADEST * any(effect is not None for effect in (vsini, resolution, vmac))
            part = self.part(float(np.min(at)), float(np.max(at)), _fastest(rv) + broad)
        values = {
            **labels,
            "rv": rv,
            "vsini": vsini,
            "vmac": vmac,
            "resolution": resolution,
            "limb_darkening": limb_darkening,
        }
        pixels = part.pixels(np.asarray(at, np.float64)) if integrate else None
        broadening = part.broadening(values, at, pixels)
        return _observe(part.emulator, vector, part.places(at), broadening, residual=residual)

    def part(self, low: float, high: float, velocity: float = 0.0) -> Model:
        """The model of what moves into the range from `low` to `high` (Å) at up to `velocity`
        (km/s): evaluating it costs a part. Parts of nearly equal range are one, kept here."""
        margin = 1.0 + velocity / SPEED_OF_LIGHT
        start = np.searchsorted(self.wavelength, low / margin) - _SPARE
        stop = np.searchsorted(self.wavelength, high * margin) + _SPARE
        first = max(int(start) // _GRAIN * _GRAIN, 0)
        last = min(-(-int(stop) // _GRAIN) * _GRAIN, self.wavelength.size)
        if last - first >= self.wavelength.size or last - first < 2:
            return self
        parts = _PARTS.setdefault(self, {})
        if (first, last) not in parts:
            with jax.ensure_compile_time_eval():  # its arrays stay, also if this is being traced
                parts[first, last] = _cut(self, slice(first, last))
        return parts[first, last]

    def broadening(
        self, values: Mapping[str, Any], wavelength: ArrayLike, pixels: Pixels | None = None
    ) -> Broadening:
        """The broadening of an observation at wavelengths (Q,) in Å.

        Parameters
        ----------
        values : dict
            Parameters by name, as `Model.flux` takes them, labels included.
        wavelength : (Q,)
            Å, in vacuum.
        pixels : Pixels, optional
            Detector pixels over which the flux is averaged.
        """
        resolution = self.line_spread(values.get("resolution"), wavelength)
        return Broadening.of({**values, "resolution": resolution}, pixels)

    def pixels(self, wavelength: NDArray[np.float64]) -> Pixels:
        """Pixels that touch midway between wavelengths (Q,) in Å."""
        return pixels_of(pixel_widths(wavelength), self.emulator.velocity_step)

    def line_spread(
        self,
        resolution: ArrayLike | Callable[[NDArray[np.float64]], ArrayLike] | None,
        wavelength: ArrayLike,
    ) -> ArrayLike | None:
        """A resolution as `Broadening` has it: given at wavelengths (Q,), or as a function of them,
        it is taken to the model's steps in ln λ, (M,)."""
        if resolution is None or not (callable(resolution) or np.ndim(resolution)):
            return resolution
        first, steps = float(np.log(self.wavelength[0])), np.arange(self.emulator.to_log.size)
        grid = np.exp(first + steps * self.emulator.velocity_step / SPEED_OF_LIGHT)
        if callable(resolution):
            return jnp.asarray(resolution(grid), jnp.float32)
        return jnp.interp(grid, jnp.asarray(wavelength), jnp.asarray(resolution))

    def places(self, wavelength: ArrayLike) -> Array:
        """Fractional pixels, on the model's steps in ln λ, of wavelengths (Q,) in Å."""
        ln: Any
        if isinstance(wavelength, jax.core.Tracer):
            ln = jnp.log(wavelength)
        else:  # in float64, as long as the wavelengths are known
            ln = np.log(np.asarray(wavelength, np.float64))
        first, step = float(np.log(self.wavelength[0])), self.emulator.velocity_step
        return jnp.asarray((ln - first) * (SPEED_OF_LIGHT / step), jnp.float32)

    def split_places(self, wavelength: NDArray[np.float64]) -> tuple[Array, Array]:
        """The same as whole pixels, int32, and what remains, float32: exact on long spectra."""
        ln = np.log(wavelength) - float(np.log(self.wavelength[0]))
        place = ln * (SPEED_OF_LIGHT / self.emulator.velocity_step)
        whole = np.floor(place)
        return jnp.asarray(whole, jnp.int32), jnp.asarray(place - whole, jnp.float32)

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

    def near_hole(self, **labels: float) -> bool:
        """Whether a corner of the cell that labels are in is a node that the library lacks: there
        the model is filled in from further away."""
        corners = []
        for name, axis in self.axes.items():
            above = int(np.searchsorted(axis, labels[name]))
            around = axis[max(above - 1, 0) : above + 1]
            corners.append([labels[name]] if labels[name] in around else around)
        return any(
            all(np.isclose(at, near).any() for at, near in zip(hole, corners, strict=True))
            for hole in self.meta.get("holes", ())
        )

    def lines(self, **labels: float) -> Lines:
        """The lines at given labels."""
        params = _line_params(self.emulator, self.label_vector(**labels))
        return Lines(self.reference, np.asarray(params), self.recipe.profile)


def _fastest(rv: ArrayLike | None) -> float:
    """The largest velocity (km/s) that may be meant."""
    if rv is None:
        return 0.0
    return _FASTEST if isinstance(rv, jax.core.Tracer) else float(np.max(np.abs(rv)))


def surface_of(reference: NDArray[np.float64], emulator: Emulator) -> Surface:
    """The lines of an emulator, of which `reference` (C,) are the names."""
    base, area, shape = (np.asarray(p) for p in (emulator.base, emulator.area, emulator.shape))
    return Surface(reference, base, area, shape, emulator.root, emulator.layout.profile)


def rates_of(model: Model) -> dict[str, NDArray[np.float32]]:
    """The rates of the labels that borrow from the others, by label."""
    terms = model.emulator.manifold.borrowed
    return {model.label_names[term.axis]: np.asarray(term.rates) for term in terms}


def own_of(model: Model) -> NDArray[np.float32]:
    """The library's own functions at the nodes of the box, (box, K')."""
    emulator = model.emulator
    return np.asarray(emulator.modes)[:, emulator.modes.shape[1] - emulator.own :]


def _cut(model: Model, pixels: slice) -> Model:
    """The model of some of its pixels, with the lines that reach them."""
    rest, surface = model.emulator.residual, surface_of(model.reference, model.emulator)
    wavelength = model.wavelength[pixels]
    far = farthest(surface, np.asarray(model.emulator.modes), model.recipe)
    reaching = (model.reference + far > wavelength[0]) & (model.reference - far < wavelength[-1])
    residual = None
    if rest is not None:
        residual = Residual(rest.nodes, rest.pixels[:, pixels], rest.scale[pixels])
    return make_model(
        wavelength,
        model.axes,
        surface.take(reaching),
        residual,
        model.recipe,
        model.meta,
        model.error_modes[:, pixels],
        rates_of(model),
        own_of(model),
    )


_PARTS: WeakKeyDictionary[Model, dict[tuple[int, int], Model]] = WeakKeyDictionary()
_emulate = jax.jit(emulate, static_argnames="residual")
_observe = jax.jit(observe, static_argnames="residual")
_line_params = jax.jit(line_params)


def make_model(
    wavelength: NDArray[np.float64],
    axes: Mapping[str, NDArray[np.float64]],
    surface: Surface,
    residual: Residual | None,
    recipe: Recipe,
    meta: Mapping[str, Any],
    error_modes: NDArray[np.float32] | None = None,
    rates: Mapping[str, NDArray[np.floating]] | None = None,
    own: NDArray[np.floating] | None = None,
) -> Model:
    """A model from its lines and its residual at the nodes of the box, the rates of labels that
    borrow from the others (`manifold.Borrowed`), and the library's own functions (box, K')."""
    if error_modes is None:
        error_modes = np.empty((0, wavelength.size), np.float32)
    modes = box_functions(axes, recipe, own)
    own_count = 0 if own is None else own.shape[1]
    with_rest = len(surface.area)
    if residual is not None:
        with_rest = functions_with_residual(surface, recipe, own_count)
    ln = log_grid(wavelength)
    emulator = Emulator(
        make_manifold(axes, recipe.interpolation, rates),
        jnp.asarray(modes, jnp.float32),
        jnp.asarray(surface.base),
        jnp.asarray(surface.area),
        jnp.asarray(surface.shape),
        residual,
        surface_layout(wavelength, surface, modes, recipe),
        jnp.asarray(np.interp(np.exp(ln), wavelength, np.arange(wavelength.size)), jnp.float32),
        with_rest,
        own_count,
        surface.root,
        recipe.composition,
        SPEED_OF_LIGHT * float(ln[-1] - ln[0]) / (ln.size - 1),
    )
    return Model(wavelength, dict(axes), surface.reference, emulator, recipe, meta, error_modes)


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
