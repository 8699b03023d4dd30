"""Effects that a fit leaves out: light without lines, resolution, a second star, activity, sky.

Each is tested by its score (`score.py`). The most significant is taken first, and the others are
tested with it included, so that one fault is not reported under several names. Thresholds are
calibrated on simulated stars (`benchmarks/flags.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import gaussian_filter1d

from ..runtime.arrays import Floats, median
from ..runtime.units import FWHM_PER_SIGMA, SPEED_OF_LIGHT, refractive_index
from ..spectra.telluric import telluric_bands
from .score import Amplitude, Residuals
from .solution import Solution

_SIGNIFICANT = 5.0
"""Amplitude, in standard deviations, from which on an effect is reported ..."""
_SIGNIFICANT_ANYWHERE = 7.0
"""... and that of a second star, whose velocity is one of about a thousand."""
_SIGNIFICANT_DEPTH = 3.5
"""... and of a dilution or of telluric bands. Few lines, or few bands, decide, so that their
scatter overstates the error: the rms amplitude in good stars is 0.9 standard deviations."""
_WRONG_MODEL, _STRICTER = 1.5, 3.0
"""Scatter of the residuals over the noise from which on the model is wrong, and the factor of the
threshold of a dilution then: weak lines of a library may be too weak together ..."""
_MOST_MISFIT = 0.15
"""... unless the dilution takes away this fraction of the squares of the residuals: errors of lines
hardly depend on depth alone."""
_LEAST_DILUTION = 0.015
"""Least fraction of light without lines that is reported: it changes [Fe/H] by about 0.02 dex."""
_MUCH_LIGHT = 0.1
"""Fraction of light without lines that no spectrograph scatters: sky, veiling, or another star."""
_LEAST_RESOLUTION = 0.2
"""Least relative change of the inverse square of the resolution: 10 % of the resolution."""
_LEAST_LIGHT = 0.01
"""Least fraction of the light of a second star, or of the continuum in the core of a line."""
_LEAST_TELLURIC = 0.005
"""Least mean depth of telluric bands, in units of the continuum."""
_FINER = 1.1
"""Ratio of resolutions between which the flux is compared."""
_FARTHEST, _NEAREST = 400.0, 15.0
"""Velocities (km/s) of a second star relative to the first."""
_WIDE = 50.0
"""Standard deviation (km/s) of a smoothing that is subtracted from the lines before velocities are
compared: wings of strong lines tell little about velocities."""
_FINEST = 0.1
"""Velocity (km/s) of the finest steps at which they are compared. Pixels of two exposures that were
sorted together may be much closer."""
_COVERED = 0.3
"""Information at a velocity, relative to the most at any, from which on it is considered."""
_PROMINENT = 1.4
"""Ratio of the correlation at the velocity of a second star to that at any other."""
_COMPARABLE = 0.5
"""Significance of a further effect relative to that of the first: smaller ones are usually what the
linear approximation of the first leaves."""
_CORE = 12.0
"""Standard deviation (km/s) of chromospheric emission in the core of a line."""
_CORE_REACH = 6.0
"""Standard deviations from the center at which the emission ends."""
_FEWEST = 5
"""Pixels within a standard deviation of the core of a line, at least."""
_ACTIVE = {
    "Ca II H and K": (3934.78, 3969.59),
    "Hβ": (4862.69,),
    "Na D": (5891.58, 5897.56),
    "Hα": (6564.61,),
    "the Ca II triplet": (8500.36, 8544.44, 8664.52),
}
"""Vacuum wavelengths (Å) of lines whose cores chromospheres fill."""
_SWAPPED = 30.0
"""Velocity (km/s) of a star, at most, for which a wrong medium is suspected without other evidence:
most stars are slower."""
_KNOWN_MEDIUM = 0.25
"""Error of the difference between the media, in units of that difference, with which it is known
from the dispersion of the refractive index."""


@dataclass(frozen=True, eq=False)
class _Effect:
    """An effect that may improve a fit.

    Attributes
    ----------
    change : (Q,)
        Change of the flux at unit amplitude, in units of the continuum.
    flag : callable
        The flag, by the amplitude.
    least : float
        Least amplitude that is reported.
    sign : int
        Sign that the amplitude must have; zero for either.
    threshold : float
        Standard deviations from which on it is significant.
    """

    change: Floats
    flag: Callable[[float], str]
    least: float
    sign: int = 0
    threshold: float = _SIGNIFICANT

    def significance(self, amplitude: Amplitude | None) -> float:
        """Standard deviations of an amplitude; zero if it is small, impossible or no signal."""
        if amplitude is None or amplitude.value * (self.sign or amplitude.value) <= 0.0:
            return 0.0
        counts = abs(amplitude.z) > self.threshold and abs(amplitude.value) > self.least
        return abs(amplitude.z) if counts else 0.0


def omitted_effects(residuals: Residuals) -> Iterator[str]:
    """Return the flags of the effects that would improve a fit, the most significant first."""
    effects = [*_dilution(residuals), *_resolution(residuals), *_telluric(residuals)]
    effects += [*_activity(residuals), *_second_star(residuals)]
    least = 0.0
    while effects:
        amplitudes = residuals.amplitudes(np.stack([effect.change for effect in effects]))
        found = [e.significance(a) for e, a in zip(effects, amplitudes, strict=True)]
        best = int(np.argmax(found))
        amplitude = amplitudes[best]
        if amplitude is None or found[best] <= least:
            return
        effect = effects.pop(best)
        yield effect.flag(amplitude.value)
        residuals = residuals.with_effect(effect.change)
        least = max(least, _COMPARABLE * found[best])


def _dilution(residuals: Residuals) -> Iterator[_Effect]:
    if "dilution" in residuals.solution.likelihood.problem.free:
        return

    def flag(value: float) -> str:
        kind = "shallower" if value > 0.0 else "deeper"
        return f"lines {kind} than any labels allow, as by a dilution of {value:+.2f}"

    change = 1.0 - residuals.flux
    strict = residuals.misfit > _WRONG_MODEL and not _explains(residuals, change)
    threshold = _SIGNIFICANT_DEPTH * (_STRICTER if strict else 1.0)
    yield _Effect(change, flag, _LEAST_DILUTION, 0, threshold)


def light_flags(best: Solution, sigma: Floats) -> Iterator[str]:
    """Return the flag of a dilution that was freed because lines are shallower with it, from the
    standard deviations (K,) of the parameters."""
    problem = best.problem
    if not problem.dilution_assumed or "dilution" not in problem.free:
        return
    at = problem.names.index("dilution")
    value = float(best.theta[at])
    if value < _LEAST_DILUTION or not value > _SIGNIFICANT_DEPTH * sigma[at]:
        return
    if value > _MUCH_LIGHT:
        yield f"lines much shallower than any labels allow: a fitted dilution of {value:+.2f}"
    else:
        yield f"light without lines fitted: a dilution of {value:+.3f}"


def _explains(residuals: Residuals, change: Floats) -> bool:
    """Whether a change of the flux takes away so much of the misfit that no wrong model is needed
    to explain it."""
    (amplitude,) = residuals.amplitudes(change[None])
    return amplitude is not None and amplitude.share > _MOST_MISFIT


def _resolution(residuals: Residuals) -> Iterator[_Effect]:
    solution = residuals.solution
    likelihood, problem = solution.likelihood, solution.likelihood.problem
    stated = problem.fixed.get("resolution", np.inf)
    moving = {n: not held for n, held in zip(problem.names, solution.at_bound, strict=True)}
    if not np.isfinite(stated) or moving.get("vsini"):
        return
    fixed = {**likelihood.fixed, "resolution": jnp.float32(stated * _FINER)}
    finer = replace(likelihood, fixed=fixed).predicted(solution.theta).flux
    change = (residuals.flux - residuals.on_pixels(np.asarray(finer))) / (1.0 - _FINER**-2)

    def flag(value: float) -> str:
        kind = "narrower" if value < 0.0 else "wider"
        return f"lines {kind} than a resolution of {stated:.6g} makes them"

    yield _Effect(change, flag, _LEAST_RESOLUTION, sign=-1 if "vsini" in moving else 0)


def _telluric(residuals: Residuals) -> Iterator[_Effect]:
    spectrum = residuals.solution.likelihood.problem.spectrum
    inside = telluric_bands(spectrum)[residuals.used]
    count = int(inside.sum())
    if count:
        flag = f"telluric lines in {count} pixels of bands that are not masked"
        change = np.where(inside, -1.0, 0.0)
        yield _Effect(change, lambda _: flag, _LEAST_TELLURIC, 1, _SIGNIFICANT_DEPTH)


def _activity(residuals: Residuals) -> Iterator[_Effect]:
    found = _values(residuals)
    width = np.hypot(_CORE, 0.5 * found["vsini"])
    width = np.hypot(width, SPEED_OF_LIGHT / FWHM_PER_SIGMA / found["resolution"])
    reach = 1.0 + width / SPEED_OF_LIGHT
    low, high = residuals.wavelength.min() / reach, residuals.wavelength.max() * reach
    for name, lines in _ACTIVE.items():
        change = np.zeros(residuals.flux.size)
        for line in lines:
            center = line * (1.0 + found["rv"] / SPEED_OF_LIGHT)
            if not low < center < high:
                continue
            ends = center * (1.0 + _CORE_REACH * width / SPEED_OF_LIGHT * np.array([-1.0, 1.0]))
            near = slice(*np.searchsorted(residuals.wavelength, ends))
            distance = (residuals.wavelength[near] / center - 1.0) * SPEED_OF_LIGHT / width
            if (np.abs(distance) < 1.0).sum() >= _FEWEST:
                change[near] += np.exp(-0.5 * distance**2)
        if change.any():
            flag = f"core of {name} filled in by {{:.2f}} of the continuum"
            yield _Effect(change, flag.format, _LEAST_LIGHT, sign=1)


def _values(residuals: Residuals) -> dict[str, float]:
    return residuals.solution.likelihood.problem.parameters(residuals.solution.theta)


# --- a second star -----------------------------------------------------------------------------


def _second_star(residuals: Residuals) -> Iterator[_Effect]:
    """The lines of the star itself at the velocity at which they fit the residuals best.

    Residuals and lines are compared on a grid of equal steps in ln λ. Where the model is wrong,
    they agree a little at many velocities: a second star has to stand out.
    """
    ln = np.log(residuals.wavelength)
    step = max(median(np.diff(ln)), _FINEST / SPEED_OF_LIGHT)
    position = np.rint((ln - ln[0]) / step).astype(np.int64)
    absorbed, scale = 1.0 - residuals.flux, residuals.weight * residuals.continuum
    count = np.bincount(position)
    lines = np.bincount(position, absorbed) / np.maximum(count, 1)
    lines -= gaussian_filter1d(lines, _WIDE / SPEED_OF_LIGHT / step)
    lines[count == 0] = 0.0
    left, scale = (row / max(np.abs(row).max(), 1e-300) for row in (residuals.left, scale))
    values = [np.bincount(position, row) for row in (-left * scale, scale**2)]
    both = _correlations(np.array(values), np.array([lines, lines**2]))
    far = min(int(np.log1p(_FARTHEST / SPEED_OF_LIGHT) / step), lines.size - 1)
    lag = np.arange(-far, far + 1)
    velocity, (score, square) = SPEED_OF_LIGHT * np.expm1(lag * step), both[:, lag]
    covered = square > _COVERED * both[1].max()
    z = np.where(covered, score / np.sqrt(np.abs(square) + 1e-30), 0.0)
    nearest = _nearest(residuals)
    z[np.abs(velocity) < nearest] = 0.0
    best = float(velocity[int(np.argmax(z))])
    elsewhere = np.abs(z[np.abs(velocity - best) > nearest]).max(initial=0.0)
    if z.max() > _PROMINENT * elsewhere:
        moved = np.interp(ln - np.log1p(best / SPEED_OF_LIGHT), ln, absorbed)
        flag = f"lines of a second star, {best:+.0f} km/s from the first"
        yield _Effect(absorbed - moved, lambda _: flag, _LEAST_LIGHT, 1, _SIGNIFICANT_ANYWHERE)


def _correlations(values: Floats, templates: Floats) -> Floats:
    """Σ values_i templates_(i − k) of rows (N, M), for lags k; negative ones count from the end."""
    count, size = values.shape
    length = next_fast_len(2 * size, real=True)
    rows = np.concatenate([values, templates]).astype(np.float32)  # in a fifth of the time
    found = rfft(rows, length)
    return np.asarray(irfft(found[:count] * np.conj(found[count:]), length), np.float64)


def _nearest(residuals: Residuals) -> float:
    """Least velocity (km/s) between two stars whose lines are distinct."""
    found = _values(residuals)
    return max(_NEAREST, found["vsini"], SPEED_OF_LIGHT / found["resolution"])


# --- air and vacuum ----------------------------------------------------------------------------


def medium_flags(residuals: Residuals) -> Iterator[str]:
    """Return the suspicion that wavelengths in air were taken for those in vacuum, or vice versa.

    That shifts the velocity by 82 to 84 km/s, which by itself is no fault. The shift depends on
    wavelength, which decides if the spectrum is long and good enough.
    """
    problem = residuals.solution.likelihood.problem
    if "rv" not in problem.names:
        return
    rv = _values(residuals)["rv"]
    shift = np.sign(rv) * SPEED_OF_LIGHT * (refractive_index(residuals.wavelength) - 1.0)
    if abs(rv - median(shift)) > 4.0 * _SWAPPED:
        return
    slopes = np.asarray(residuals.solution.fit.prediction.slopes)
    slope = residuals.on_pixels(slopes[problem.names.index("rv")])
    (found,) = residuals.amplitudes((slope * shift)[None])
    taken = "air taken for vacuum" if rv < 0.0 else "vacuum taken for air"
    message = f"velocity as of wavelengths in {taken}"
    if found is not None and found.sigma < _KNOWN_MEDIUM:
        if abs(found.value - 1.0) < 3.0 * found.sigma and found.z > _SIGNIFICANT:
            yield f"{message}, and their spacing too"
        return
    if abs(rv - median(shift)) < _SWAPPED:
        yield message
