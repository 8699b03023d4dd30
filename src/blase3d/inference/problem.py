"""The problem that every method solves: the data, the model, and which parameters are free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, SpectrumError
from ..model.model import Model, check_overlap
from ..parameters import FITTED, LIMB_DARKENING, parameter
from ..spectra.spectrum import Spectrum, cut
from ..spectra.telluric import telluric_bands
from .prior import Prior

_LEAST_PIXELS = 20
_SPARE = 3
"""An order with fewer usable pixels than so many times the terms of its continuum is left out."""


@dataclass(frozen=True)
class Options:
    """What is assumed about the data.

    Attributes
    ----------
    continuum_degree : int
        Degree of the polynomial, one for every order, that the continuum may deviate by; −1: the
        spectrum is normalised.
    robust : bool
        Give less weight to pixels that no model comes near.
    jitter : bool
        Find an additional error, the same part of the continuum at every pixel, that brings
        chi-square to its expectation, instead of scaling the errors.
    integrate : bool
        The pixels average the flux over their widths, instead of sampling it.
    limb_darkening : float
        Linear coefficient of the rotation kernel.
    telluric : bool or None
        Mask the bands of the Earth's atmosphere; None: if the file tells of a telescope.
    """

    continuum_degree: int = 3
    robust: bool = True
    jitter: bool = False
    integrate: bool = False
    limb_darkening: float = LIMB_DARKENING
    telluric: bool | None = None

    def __post_init__(self) -> None:
        if not -1 <= self.continuum_degree <= 30:
            raise InputError(
                f"got a continuum of degree {self.continuum_degree}, expected −1 (none) to 30; "
                "choose one of these."
            )
        low, high = parameter("limb_darkening").range
        if not low <= self.limb_darkening <= high:
            raise InputError(
                f"got a limb darkening of {self.limb_darkening:g}, expected {low:g} to {high:g}; "
                "correct it."
            )


@dataclass(frozen=True, eq=False)
class Problem:
    """One spectrum and one model.

    Attributes
    ----------
    model : Model
        The model.
    spectrum : Spectrum
        The observation, cut to the model.
    free : dict of Prior
        Free parameters in the order of θ.
    fixed : dict of float
        The others.
    options : Options
        What is assumed about the data.
    notices : tuple of str
        What was done to the spectrum.
    """

    model: Model
    spectrum: Spectrum
    free: dict[str, Prior]
    fixed: dict[str, float]
    options: Options = field(default_factory=Options)
    notices: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the free parameters."""
        return tuple(self.free)

    @property
    def lower(self) -> NDArray[np.float64]:
        """Lower bounds of θ."""
        return np.array([prior.low for prior in self.free.values()])

    @property
    def upper(self) -> NDArray[np.float64]:
        """Upper bounds of θ."""
        return np.array([prior.high for prior in self.free.values()])

    @property
    def floor(self) -> NDArray[np.float64]:
        """Smallest θ (K,) at which the model is evaluated."""
        return np.array([parameter(name).floor for name in self.free])

    @property
    def continuum_terms(self) -> int:
        """Free coefficients of the continuum, of all orders together."""
        orders = 1 if self.spectrum.order is None else np.unique(self.spectrum.order).size
        return orders * (self.options.continuum_degree + 1)

    def parameters(self, theta: NDArray[np.float64]) -> dict[str, float]:
        """All parameters by name at θ (K,)."""
        return {**self.fixed, **dict(zip(self.names, map(float, theta), strict=True))}

    @property
    def precision(self) -> NDArray[np.float64]:
        """Inverse variances (K,) of the normal priors."""
        return np.array([prior.sigma**-2.0 for prior in self.free.values()])

    def prior_chi2(self, theta: NDArray[np.float64]) -> float:
        """What the normal priors add to chi-square at θ (K,)."""
        pairs = zip(theta, self.free.values(), strict=True)
        return sum(((value - prior.mean) / prior.sigma) ** 2 for value, prior in pairs)


def make_problem(
    spectrum: Spectrum,
    model: Model,
    priors: Mapping[str, Prior] | None = None,
    fixed: Mapping[str, float] | None = None,
    options: Options | None = None,
) -> Problem:
    """The problem of finding the labels of `spectrum` with `model`.

    Velocity and rotation are free unless fixed. The resolution is the spectrum's own; a spectrum
    that states none has it fitted, with the rotation then taken as zero unless a prior frees it.
    Macroturbulence is zero unless a prior frees it. A label of which the library has one value has
    this value.

    Raises
    ------
    InputError
        No overlap, an unknown name, or a value outside what is possible.
    """
    priors, fixed, options = dict(priors or {}), dict(fixed or {}), options or Options()
    ranges = {**model.bounds, **{name: parameter(name).range for name in FITTED}}
    _check_names(priors, fixed, ranges)
    fixed = _with_assumed(fixed, spectrum, model, set(priors))
    free = {
        name: priors.get(name, Prior(-np.inf, np.inf)).within(*bounds)
        for name, bounds in ranges.items()
        if name not in fixed
    }
    part, notices = _overlap(spectrum, model)
    part, more = _without_bands(part, options)
    part = _with_full_orders(part, options)
    low, high = (float(end) for end in part.wavelength[[0, -1]])
    seen = model.part(low, high, _fastest(free, fixed) + parameter("vsini").high)
    return Problem(seen, part, free, fixed, options, _corrected(part) + notices + more)


def _with_assumed(
    fixed: dict[str, float], spectrum: Spectrum, model: Model, free: set[str]
) -> dict[str, float]:
    """The fixed parameters, and those that are taken as known unless a prior sets them `free`."""
    assumed = {name: low for name, (low, high) in model.bounds.items() if low == high}
    for name in FITTED:
        if (value := parameter(name).assumed) is not None:
            assumed[name] = value
    if spectrum.resolution is not None:
        assumed["resolution"] = float(np.clip(spectrum.resolution, *parameter("resolution").range))
    known = {name: value for name, value in assumed.items() if name not in free} | fixed
    if "resolution" not in known and "vsini" not in free:
        known.setdefault("vsini", 0.0)
    return known


def _fastest(free: Mapping[str, Prior], fixed: Mapping[str, float]) -> float:
    """The largest radial velocity (km/s) that may come up."""
    if "rv" in fixed:
        return abs(fixed["rv"])
    return max(abs(free["rv"].low), abs(free["rv"].high))


def _check_names(
    priors: Mapping[str, Prior],
    fixed: Mapping[str, float],
    ranges: Mapping[str, tuple[float, float]],
) -> None:
    for name in (*priors, *fixed):
        if name not in ranges:
            raise InputError(
                f"got the parameter {name}, expected one of {', '.join(ranges)}; correct the name."
            )
    if both := set(priors) & set(fixed):
        raise InputError(
            f"got a prior on {', '.join(sorted(both))} and a fixed value too; give one of them."
        )
    for name, value in fixed.items():
        low, high = ranges[name]
        if not (low <= value <= high or value == parameter(name).neutral):
            raise InputError(
                f"got {name}={value:g}, expected {low:g} to {high:g}; choose a value inside."
            )


def _corrected(spectrum: Spectrum) -> tuple[str, ...]:
    velocity = spectrum.meta.get("barycentric_correction")
    if not isinstance(velocity, float):
        return ()
    return (f"wavelengths corrected to the barycentre by {velocity:+.2f} km/s",)


def _overlap(spectrum: Spectrum, model: Model) -> tuple[Spectrum, tuple[str, ...]]:
    inside = check_overlap(model, spectrum.wavelength)
    _check_count((inside & spectrum.good).sum(), "lie within the model")
    if not spectrum.flux[inside & spectrum.good].any():
        raise SpectrumError(
            "the flux is zero at every usable pixel within the model, expected a star; give "
            "another spectrum."
        )
    if inside.all():
        return spectrum, ()
    low, high = spectrum.wavelength[inside][[0, -1]]
    notice = f"cut to the range of the model, {low:.1f}–{high:.1f} Å"
    return cut(spectrum, inside), (notice,)


def _check_count(count: int, where: str) -> None:
    if not count > _LEAST_PIXELS:
        raise SpectrumError(
            f"only {count} usable pixels {where}, expected more than {_LEAST_PIXELS}; "
            "use a longer spectrum or another model."
        )


def _without_bands(spectrum: Spectrum, options: Options) -> tuple[Spectrum, tuple[str, ...]]:
    """The spectrum with the bands of the Earth's atmosphere masked, where that is wanted."""
    wanted = options.telluric
    if wanted is None:
        wanted = bool(spectrum.meta.get("telescope"))
    inside = telluric_bands(spectrum) & spectrum.good if wanted else np.zeros(len(spectrum), bool)
    if not inside.any():
        return spectrum, ()
    _check_count((spectrum.good & ~inside).sum(), "lie outside the telluric bands")
    notice = f"{int(inside.sum())} pixels in telluric bands masked"
    return replace(spectrum, mask=spectrum.mask | inside), (notice,)


def _with_full_orders(spectrum: Spectrum, options: Options) -> Spectrum:
    """The spectrum without orders that have too few usable pixels for a continuum."""
    if spectrum.order is None:
        return spectrum
    names, place = np.unique(spectrum.order, return_inverse=True)
    count = np.bincount(place, spectrum.good)
    enough = count >= max(_SPARE * (options.continuum_degree + 1), 2)
    if not enough.any():
        raise SpectrumError(
            f"none of the {names.size} orders has enough usable pixels for a continuum of degree "
            f"{options.continuum_degree}; lower the degree or use a longer spectrum."
        )
    return spectrum if enough.all() else cut(spectrum, enough[place])
