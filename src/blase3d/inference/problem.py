"""The problem that a method solves: the data, the model, and which parameters are free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import InputError, SpectrumError
from ..model.model import Model, check_overlap
from ..parameters import FITTED, LIMB_DARKENING, parameter
from ..runtime.arrays import Floats
from ..spectra.cleaning import LARGEST_FLUX, dead_pixels, without_data
from ..spectra.formats.in_memory import as_spectrum
from ..spectra.spectrum import Spectrum, cut
from ..spectra.telluric import telluric_bands
from .noise import NOISE_MODELS
from .noise.noise import NoiseModel
from .prior import Prior, fixed_value, prior_on

FEWEST_PIXELS = 20
"""Usable pixels must be more than this: a fit has up to ten parameters."""
_FAINTEST = 1e-100
"""No flux is smaller, in any unit; squares of smaller ones are rounded to zero."""
_PER_TERM = 3
"""Usable pixels per term of the continuum, below which an order is left out."""
_DEGREE, _PER_DEGREE, _LARGEST_DEGREE = 3, 100.0, 20
"""Default degree of the continuum of an order: 3 and one for every 100 Å, at most 20. Spectra of
the Sun by two pipelines of HARPS differ by 50 K, 0.10 and 0.03 over 1350 Å with degree 3, and by
10 K, 0.02 and 0.00 with degree 16."""
SCATTERED_LIGHT = Prior(0.0, 0.95, mean=0.0, sigma=0.03)
"""Prior of a dilution of which nothing is said: a few per cent in most spectrographs. The spectrum
of the Moon by APF has 0.032 with a standard deviation of 0.02, and 0.033 with 0.04."""
BLAZE_DEGREE = 6
"""Default degree of the continuum of orders that include the blaze. For an A0 star by HPF, reduced
chi-square is 29 with degree 3, 3.9 with 6, 3.5 with 8 (docs/hpf.md)."""
_OBSERVED = ("telescope", "instrument", "date", "ra")
"""Keys of meta, any of which says that a spectrum was observed."""
_IN_SPACE = ("euclid", "fuse", "gaia", "hst", "iue", "jwst", "spitzer")
"""Beginnings of the names of telescopes without an atmosphere above them."""


@dataclass(frozen=True)
class Options:
    """Assumptions about the data.

    Attributes
    ----------
    continuum_degree : int or None
        Degree of the continuum polynomial of each order; −1: the spectrum is normalised. None: 3
        and one more for every 100 Å of an order, at most 20; 6 where the flux includes the blaze
        (`meta["blaze"]` of the spectrum).
    robust : bool
        Reduce the weight of outliers.
    jitter : bool
        Fit an additional error, the same fraction of the continuum at every pixel, instead of
        scaling the errors. Short for noise="jitter".
    integrate : bool
        Average the flux over the widths of the pixels, instead of sampling it.
    limb_darkening : float
        Linear coefficient of the rotation kernel.
    telluric : bool or None
        Mask the bands of the Earth's atmosphere; None: if the file names a telescope on the ground.
    noise : str
        Noise model, one of `NOISE_MODELS`.
    """

    continuum_degree: int | None = None
    robust: bool = True
    jitter: bool = False
    integrate: bool = False
    limb_darkening: float = LIMB_DARKENING
    telluric: bool | None = None
    noise: str = "scaled"

    def __post_init__(self) -> None:
        degree = self.continuum_degree
        whole = isinstance(degree, int | np.integer)
        if degree is not None and not (whole and -1 <= degree <= 30):
            raise InputError(
                f"got a continuum of degree {degree!r}, expected −1 (none) to 30; choose one of "
                "these."
            )
        low, high = parameter("limb_darkening").range
        if not low <= self.limb_darkening <= high:
            raise InputError(
                f"got a limb darkening of {self.limb_darkening:g}, expected {low:g} to {high:g}; "
                "correct it."
            )
        if self.noise not in NOISE_MODELS:
            raise InputError(
                f"got the noise model {self.noise!r}, expected one of {', '.join(NOISE_MODELS)}; "
                "choose one."
            )
        if self.jitter and self.noise not in ("scaled", "jitter"):
            raise InputError(f"got jitter with the noise model {self.noise}; choose one of them.")

    @property
    def degree(self) -> int:
        """Degree of the continuum; where none is given, that of a short order."""
        return _DEGREE if self.continuum_degree is None else self.continuum_degree

    @property
    def noise_model(self) -> NoiseModel:
        """The noise model."""
        return NOISE_MODELS["jitter" if self.jitter else self.noise]


class FreeParameters:
    """Free parameters with their priors, in the order of θ, and fixed ones.

    Attributes
    ----------
    free : dict of Prior
        Free parameters in the order of θ.
    fixed : dict of float
        Fixed parameters.
    """

    free: dict[str, Prior]
    fixed: dict[str, float]

    @property
    def axes(self) -> Mapping[str, Floats]:
        """Values of each label at the nodes of the library."""
        raise NotImplementedError

    @property
    def calibrated(self) -> bool:
        """Whether the mismatch of the model with real stars is known."""
        raise NotImplementedError

    @property
    def lines_of_stars(self) -> bool:
        """Whether the lines are those that real stars taught."""
        raise NotImplementedError

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Range of each label in the library."""
        return {name: (float(axis[0]), float(axis[-1])) for name, axis in self.axes.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the free parameters."""
        return tuple(self.free)

    @property
    def lower(self) -> Floats:
        """Lower bounds of θ."""
        return np.array([prior.low for prior in self.free.values()])

    @property
    def upper(self) -> Floats:
        """Upper bounds of θ."""
        return np.array([prior.high for prior in self.free.values()])

    @property
    def floor(self) -> Floats:
        """Smallest θ (K,) at which the model is evaluated."""
        return np.array([parameter(name).floor for name in self.free])

    def parameters(self, theta: Floats) -> dict[str, float]:
        """All parameters by name at θ (K,)."""
        return {**self.fixed, **dict(zip(self.names, map(float, theta), strict=True))}

    @property
    def precision(self) -> Floats:
        """Inverse variances (K,) of the normal priors."""
        return np.array([prior.sigma**-2.0 for prior in self.free.values()])

    def prior_chi2(self, theta: Floats) -> float:
        """Contribution of the normal priors to chi-square at θ (K,)."""
        pairs = zip(theta, self.free.values(), strict=True)
        return sum(((value - prior.mean) / prior.sigma) ** 2 for value, prior in pairs)


@dataclass(frozen=True, eq=False)
class Problem(FreeParameters):
    """A spectrum and a model to compare it with.

    Attributes
    ----------
    model : Model
        The model, cut to the spectrum.
    spectrum : Spectrum
        The observation, cut to the model.
    free : dict of Prior
        Free parameters in the order of θ.
    fixed : dict of float
        Fixed parameters.
    options : Options
        Assumptions about the data.
    messages : tuple of str
        Changes that were made to the spectrum, in words.
    dilution_assumed : bool
        Whether nothing was said of the dilution: it is zero unless a method frees it.
    """

    model: Model
    spectrum: Spectrum
    free: dict[str, Prior]
    fixed: dict[str, float]
    options: Options = field(default_factory=Options)
    messages: tuple[str, ...] = ()
    dilution_assumed: bool = False

    @property
    def axes(self) -> Mapping[str, Floats]:
        """Values of each label at the nodes of the library."""
        return self.model.axes

    @property
    def calibrated(self) -> bool:
        """Whether the mismatch of the model with real stars is known."""
        return self.model.mismatch is not None

    @property
    def lines_of_stars(self) -> bool:
        """Whether the lines are those that real stars taught."""
        return self.model.lines_of_stars

    @property
    def with_light_without_lines(self) -> Problem:
        """The problem with a dilution that is free, from zero upwards."""
        fixed = {name: value for name, value in self.fixed.items() if name != "dilution"}
        return replace(self, free={**self.free, "dilution": SCATTERED_LIGHT}, fixed=fixed)

    @property
    def continuum_terms(self) -> int:
        """Number of coefficients of the continuum, of all orders together."""
        orders = 1 if self.spectrum.order is None else np.unique(self.spectrum.order).size
        return orders * (self.options.degree + 1)


def make_problem(
    spectrum: Spectrum,
    model: Model,
    priors: Mapping[str, Any] | None = None,
    fixed: Mapping[str, Any] | None = None,
    options: Options | None = None,
) -> Problem:
    """Return the problem of inferring the labels of `spectrum` with `model`.

    Velocity and rotation are free unless fixed. The resolution is that of the spectrum; if the
    spectrum states none, it is fitted, and the rotation is then zero unless a prior frees it.
    Macroturbulence and dilution are zero unless a prior frees them; a method may free a dilution of
    which nothing was said. A label with one value in the library is fixed.

    Raises
    ------
    InputError
        No overlap, an unknown name, or an impossible value.
    """
    spectrum, options = as_spectrum(spectrum), options or Options()
    _check_kinds(model, priors, fixed)
    priors = {name: prior_on(name, given) for name, given in (priors or {}).items()}
    fixed = {name: fixed_value(name, given) for name, given in (fixed or {}).items()}
    ranges = {**model.bounds, **{name: parameter(name).range for name in FITTED}}
    check_names(priors, fixed, ranges)
    assumed = "dilution" not in priors | fixed
    fixed = with_assumed(fixed, spectrum, model, set(priors))
    free = {
        name: priors.get(name, Prior(-np.inf, np.inf)).within(*bounds)
        for name, bounds in ranges.items()
        if name not in fixed
    }
    notices = _frame(spectrum) if "rv" in free else ()
    spectrum, messages = _overlap(spectrum, model)
    spectrum, empty = _without_padding(spectrum)
    spectrum, bands = _without_bands(spectrum, options)
    options, blaze = _with_degree(spectrum, options)
    spectrum = _with_full_orders(spectrum, options)
    low, high = (float(end) for end in spectrum.wavelength[[0, -1]])
    section = model.part(low, high, _fastest(free, fixed) + parameter("vsini").high)
    messages = (*notices, *messages, *empty, *bands, *blaze)
    return Problem(section, spectrum, free, fixed, options, messages, assumed)


def _check_kinds(model: object, priors: object, fixed: object) -> None:
    if not isinstance(model, Model):
        raise InputError(f"got the model {model!r}, expected a Model; read it with load_model.")
    for kind, given in (("priors", priors), ("fixed", fixed)):
        if not isinstance(given, Mapping | None):
            raise InputError(
                f"got {kind}={given!r}, expected a dict by name of the parameter; give one."
            )


def with_assumed(
    fixed: dict[str, float], spectrum: Spectrum, model: Model, free: set[str]
) -> dict[str, float]:
    """Return the fixed parameters, and those that have an assumed value unless a prior frees
    them."""
    assumed = {name: low for name, (low, high) in model.bounds.items() if low == high}
    for name in FITTED:
        if (value := parameter(name).assumed) is not None:
            assumed[name] = value
    if spectrum.resolution is not None and "resolution" not in free | fixed.keys():
        assumed["resolution"] = _stated_resolution(spectrum.resolution)
    known = {name: value for name, value in assumed.items() if name not in free} | fixed
    if "resolution" not in known and "vsini" not in free:
        known.setdefault("vsini", 0.0)
    return known


def _stated_resolution(resolution: float) -> float:
    """The resolution of a spectrum; above the range of the fit, lines are as narrow as at its
    end."""
    low, high = parameter("resolution").range
    if resolution < low:
        raise SpectrumError(
            f"the spectrum states the resolution {resolution:g}, expected {low:g} or more; "
            "correct it (--resolution), or fit it with a prior (--prior resolution=LO:HI)."
        )
    return min(float(resolution), high)


def _fastest(free: Mapping[str, Prior], fixed: Mapping[str, float]) -> float:
    """Largest radial velocity (km/s) that is possible."""
    if "rv" in fixed:
        return abs(fixed["rv"])
    return max(abs(free["rv"].low), abs(free["rv"].high))


def check_names(
    priors: Mapping[str, Prior],
    fixed: Mapping[str, float],
    ranges: Mapping[str, tuple[float, float]],
) -> None:
    """Raise InputError for a name without a range, a fixed value outside its range, and a name with
    both a prior and a fixed value."""
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


def _frame(spectrum: Spectrum) -> tuple[str, ...]:
    """The notice that wavelengths were corrected for a velocity, or were not."""
    meta = spectrum.meta
    velocity, frame = meta.get("barycentric_correction"), meta.get("frame")
    if frame == "star":
        return ("wavelengths shifted to rest in the file: rv is what remains",)
    if isinstance(velocity, float):
        return (f"wavelengths corrected to the barycentre by {velocity:+.2f} km/s",)
    if frame == "observatory":
        return ("velocity relative to the observatory, not corrected to the barycentre",)
    if frame is None and any(meta.get(name) for name in _OBSERVED):
        return ("velocity perhaps not corrected to the barycentre: the file does not say",)
    return ()


def _overlap(spectrum: Spectrum, model: Model) -> tuple[Spectrum, tuple[str, ...]]:
    """The spectrum cut to the model, with a notice if anything was cut."""
    inside = check_overlap(model, spectrum.wavelength)
    _check_count((inside & spectrum.good).sum(), "lie within the model")
    _check_level(spectrum.flux[inside & spectrum.good])
    if inside.all():
        return spectrum, ()
    low, high = spectrum.wavelength[inside][[0, -1]]
    notice = f"cut to the range of the model, {low:.1f}–{high:.1f} Å"
    return cut(spectrum, inside), (notice,)


def _check_level(flux: Floats) -> None:
    if not flux.any():
        raise SpectrumError(
            "the flux is zero at every usable pixel within the model, expected a star; give "
            "another spectrum."
        )
    level = np.abs(flux[flux != 0.0])
    if level.max() < _FAINTEST or level.min() > LARGEST_FLUX:
        raise SpectrumError(
            f"the flux is {np.median(level):.3g} at the median, expected {_FAINTEST:g} to "
            f"{LARGEST_FLUX:g}; multiply flux and errors by a factor."
        )


def _check_count(count: int, where: str) -> None:
    if not count > FEWEST_PIXELS:
        raise SpectrumError(
            f"only {count} usable pixels {where}, expected more than {FEWEST_PIXELS}; "
            "use a longer spectrum or another model."
        )


def _without_padding(spectrum: Spectrum) -> tuple[Spectrum, tuple[str, ...]]:
    """The spectrum without pixels that have no data, and a notice if there are any."""
    flux = spectrum.flux
    empty = (without_data(flux, spectrum.order) | dead_pixels(flux)) & spectrum.good
    if not empty.any():
        return spectrum, ()
    _check_count((spectrum.good & ~empty).sum(), "have data")
    count = int(empty.sum())
    pixels = "1 pixel" if count == 1 else f"{count} pixels"
    notice = f"{pixels} without data masked: zeros, repeated values or fillers"
    return replace(spectrum, mask=spectrum.mask | empty), (notice,)


def _without_bands(spectrum: Spectrum, options: Options) -> tuple[Spectrum, tuple[str, ...]]:
    """The spectrum with telluric bands masked, if wanted, and a notice if any pixel is."""
    wanted = options.telluric
    if wanted is None:
        telescope = str(spectrum.meta.get("telescope") or "")
        wanted = bool(telescope) and not telescope.lower().startswith(_IN_SPACE)
    inside = telluric_bands(spectrum) & spectrum.good if wanted else np.zeros(len(spectrum), bool)
    if not inside.any():
        return spectrum, ()
    _check_count((spectrum.good & ~inside).sum(), "lie outside the telluric bands")
    notice = f"{int(inside.sum())} pixels in telluric bands masked"
    return replace(spectrum, mask=spectrum.mask | inside), (notice,)


def _with_degree(spectrum: Spectrum, options: Options) -> tuple[Options, tuple[str, ...]]:
    """The options with the degree of the continuum, and a notice of it if the flux includes the
    blaze."""
    if options.continuum_degree is not None:
        return options, ()
    if spectrum.meta.get("blaze") == "included":
        notice = f"continuum of degree {BLAZE_DEGREE}: the flux includes the blaze"
        return replace(options, continuum_degree=BLAZE_DEGREE), (notice,)
    orders = 1 if spectrum.order is None else np.unique(spectrum.order).size
    span = float(np.ptp(spectrum.wavelength)) / orders
    degree = min(_DEGREE + int(span / _PER_DEGREE), _LARGEST_DEGREE)
    return replace(options, continuum_degree=degree), ()


def _with_full_orders(spectrum: Spectrum, options: Options) -> Spectrum:
    """The spectrum without the orders that have too few usable pixels for a continuum."""
    if spectrum.order is None:
        return spectrum
    names, index = np.unique(spectrum.order, return_inverse=True)
    count = np.bincount(index, spectrum.good)
    enough = count >= max(_PER_TERM * (options.degree + 1), 2)
    if not enough.any():
        raise SpectrumError(
            f"none of the {names.size} orders has enough usable pixels for a continuum of degree "
            f"{options.degree}; lower the degree or use a longer spectrum."
        )
    return spectrum if enough.all() else cut(spectrum, enough[index])
