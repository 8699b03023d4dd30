"""Broadening of spectra: rotation, macroturbulence, instrumental line spread, pixels.

All of these are convolutions in velocity, so they act on pixels of equal steps in ln λ. Kernels are
multiplied in Fourier space, in closed form. The result is exact for widths below a pixel, conserves
equivalent width and is differentiable in the widths.

A line spread that varies along the spectrum is not a convolution. Light of wavelength λ₀ is spread
with the width σ(λ₀), which conserves equivalent width for any σ(λ). The transform of the Gaussian
is interpolated in ln σ between `_WIDTHS` Chebyshev points from the smallest to the largest width,
so the result is a sum of that many convolutions, each of the spectrum times a weight. The error of
the flux is 1e-6 if the largest width is twice the smallest, 1e-4 at five times, 1e-3 at ten times.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from scipy.special import j1, jv

from ..parameters import LIMB_DARKENING
from ..runtime.arrays import Floats, Integers
from ..runtime.units import FWHM_PER_SIGMA, SPEED_OF_LIGHT

_STEP = 0.25
"""Step of the table of the rotation kernel's transform, in its dimensionless argument: cubic
polynomials between steps are right to 1.3e-6."""
_LARGEST = 4000.0
"""Largest argument of the table; the transform is below 1e-5 there."""
_WIDTHS = 8
"""Number of widths between which a varying line spread is interpolated."""
_UNIFORM = 2e-3
"""Pixel widths that differ by less than this fraction count as equal."""
_POINTS = 2
"""Quadrature points per step in ln λ, in addition to one, for the mean flux of a pixel."""
_REACH = 12
"""Pixels on each side from which `sample` takes derivatives."""
_WINDOW = 3.0
"""Standard deviation (pixels) of the Gaussian window of the derivatives. A wider one follows
narrower lines, but 3e-4 is left of it at `_REACH`."""
_BLOCK = 32
"""Pixels whose polynomials are one product with a matrix: three times faster than sums over
neighbours (`benchmarks/sampling.py`)."""


def log_grid(wavelength: Floats) -> Floats:
    """Return ln λ in equal steps over the range of `wavelength` (Å), at most its finest step."""
    ln = np.log(wavelength)
    count = next_fast_len(int(np.ceil((ln[-1] - ln[0]) / np.diff(ln).min())) + 1, real=True)
    return np.linspace(ln[0], ln[-1], count)


def broaden(
    flux: Array,
    velocity_step: float,
    vsini: ArrayLike,
    resolution: ArrayLike | None,
    *,
    vmac: ArrayLike | None = None,
    limb_darkening: ArrayLike = LIMB_DARKENING,
    pixel: ArrayLike | None = None,
) -> Array:
    """Return the flux (M,), on equal steps in ln λ, broadened by the star and the instrument.

    Parameters
    ----------
    flux : (M,)
        In units of the continuum.
    velocity_step : float
        Step of the pixels, km/s.
    vsini : float
        Projected rotational velocity, km/s; zero does not change the flux.
    resolution : float, (M,) or None
        λ/Δλ, with Δλ the full width at half maximum of a Gaussian, for all pixels or for each
        pixel; None for no instrument.
    vmac : float, optional
        Radial–tangential macroturbulence ζ, km/s (`macroturbulence`).
    limb_darkening : float
        Linear coefficient of the rotation kernel, 0 to 1.
    pixel : float, optional
        Width of the detector's pixels, km/s, over which the flux is averaged.

    Notes
    -----
    Beyond its ends, the spectrum is assumed to be continuum.
    """
    count = flux.shape[0]
    padded = next_fast_len(count + count // 8 + 64, real=True)
    frequency = jnp.asarray(np.fft.rfftfreq(padded, velocity_step), jnp.float32)
    transfer = transfer_of(frequency, vsini, vmac, limb_darkening, pixel)
    spread = _line_spread(1.0 - flux, frequency, resolution, padded)
    return 1.0 - jnp.fft.irfft(spread * transfer, padded)[:count]


def transfer_of(
    frequency: Array,
    vsini: ArrayLike,
    vmac: ArrayLike | None = None,
    limb_darkening: ArrayLike = LIMB_DARKENING,
    pixel: ArrayLike | None = None,
) -> Array:
    """Return the Fourier transform, at `frequency` (F,) in s/km, of the broadening by star and
    pixels; the arguments are those of `broaden`."""
    transfer = _rotation(2.0 * jnp.pi * frequency * jnp.asarray(vsini), limb_darkening)
    if vmac is not None:
        transfer = transfer * macroturbulence(frequency, vmac)
    if pixel is not None:
        transfer = transfer * jnp.sinc(frequency * jnp.asarray(pixel))
    return transfer


def macroturbulence(frequency: Array, vmac: ArrayLike) -> Array:
    """Return the Fourier transform, at `frequency` (F,) in s/km, of the radial–tangential kernel.

    Half of the surface moves radially, half tangentially, both with Gaussian velocities of
    dispersion ζ/√2 (Gray 2005, eq. 17.6; no limb darkening). The kernel is the mean over the disc,
    2μ dμ, of Gaussians exp(−v²/ζ²μ²) and exp(−v²/ζ²(1−μ²)), whose transforms are exp(−aμ²) and
    exp(−a(1−μ²)) with a = (πζ × frequency)²; both have the mean (1 − exp(−a))/a.
    """
    a = (jnp.pi * frequency * jnp.asarray(vmac)) ** 2
    small = a < 1e-3
    safe = jnp.where(small, 1.0, a)
    return jnp.where(small, 1.0 - a / 2.0 + a**2 / 6.0, -jnp.expm1(-safe) / safe)


def _line_spread(
    depth: Array, frequency: Array, resolution: ArrayLike | None, padded: int
) -> Array:
    """Fourier transform (F,) of a line depth (M,), spread by the instrument."""
    if resolution is None:
        return jnp.fft.rfft(depth, padded)
    sigma = SPEED_OF_LIGHT / FWHM_PER_SIGMA / jnp.asarray(resolution)
    if sigma.ndim == 0:
        return jnp.fft.rfft(depth, padded) * gaussian(frequency, sigma)
    ln = jnp.log(sigma)
    low, high = jnp.min(ln) - 1e-3, jnp.max(ln) + 1e-3
    nodes = np.cos(np.pi * (np.arange(_WIDTHS) + 0.5) / _WIDTHS)
    weights = _lagrange(nodes, (2.0 * ln - low - high) / (high - low))
    widths = jnp.exp(0.5 * (low + high) + 0.5 * (high - low) * jnp.asarray(nodes))
    transforms = jnp.fft.rfft(weights * depth, padded)
    return jnp.sum(transforms * jax.vmap(partial(gaussian, frequency))(widths), axis=0)


def gaussian(frequency: Array, sigma: ArrayLike) -> Array:
    """Return the Fourier transform, at `frequency` (F,) in s/km, of a Gaussian of standard
    deviation `sigma` (km/s)."""
    return jnp.exp(-0.5 * (2.0 * jnp.pi * frequency * jnp.asarray(sigma)) ** 2)


def _lagrange(nodes: Floats, x: Array) -> Array:
    """Lagrange polynomials (K, M) of `nodes` (K,) at x (M,); their sum is one."""
    rows = []
    for k, node in enumerate(nodes):
        others = np.delete(nodes, k)
        factors = (x - jnp.asarray(others)[:, None]) / jnp.asarray(node - others)[:, None]
        rows.append(jnp.prod(factors, axis=0))
    return jnp.stack(rows)


def _rotation(argument: Array, limb_darkening: ArrayLike) -> Array:
    """Fourier transform of the rotation kernel at u = 2π v sin i × frequency.

    Gray (2005, eq. 18.14) with x = Δv / v sin i: 2(1−ε)√(1−x²) + πε(1−x²)/2, over π(1−ε/3).
    √(1−x²) transforms to π J₁(u)/u and 1−x² to 4(sin u − u cos u)/u³.
    """
    eps = jnp.asarray(limb_darkening)
    disc, darkening = _table_lookup(jnp.asarray(_rotation_table()), argument).T
    return ((1.0 - eps) * disc + eps * (2.0 / 3.0) * darkening) / (1.0 - eps / 3.0)


@cache
def _rotation_table() -> NDArray[np.float32]:
    """Cubic polynomials from each step to the next, constant terms first, of 2 J₁(u)/u and
    3 (sin u − u cos u)/u³, with their values and slopes at the steps, and the numbers of the steps,
    (U, 9)."""
    u = np.arange(1, int(_LARGEST / _STEP) + 3) * _STEP
    disc, darkening = 2.0 * j1(u) / u, 3.0 * (np.sin(u) - u * np.cos(u)) / u**3
    values = np.pad(np.stack([disc, darkening], axis=1), ((1, 0), (0, 0)), constant_values=1.0)
    slopes = np.stack([-2.0 * jv(2, u) / u, 3.0 * (np.sin(u) / u - darkening) / u], axis=1) * _STEP
    slopes = np.pad(slopes, ((1, 0), (0, 0)))
    rise, first, last = np.diff(values, axis=0), slopes[:-1], slopes[1:]
    terms = values[:-1], first, 3.0 * rise - 2.0 * first - last, first + last - 2.0 * rise
    return np.column_stack([*terms, np.arange(len(first))]).astype(np.float32)


def _table_lookup(table: Array, argument: Array) -> Array:
    """Values (F, 2) of the polynomials at arguments (F,)."""
    index = jnp.clip(argument / _STEP, 0.0, len(table) - 1.0)
    # one gather with the number of the step, as in `sample`
    rows = table[jax.lax.stop_gradient(index).astype(jnp.int32)]
    t = (index - rows[:, -1])[:, None]
    constant, slope, bend, turn = jnp.split(rows[:, :-1], 4, axis=1)
    return constant + t * (slope + t * (bend + t * turn))


@partial(jax.jit, inline=True)
def sample(flux: Array, index: Array, whole: Array | None = None) -> Array:
    """Return the flux (M,) at fractional pixels `index` (P,), by quintic Hermite interpolation.

    Between two pixels it is the polynomial of degree 5 that has the flux and its first two
    derivatives at both, so it is exact at pixels and twice differentiable everywhere. `whole` (P,),
    int32, is added to `index`: float32 cannot hold a large sum to a thousandth of a pixel. Beyond
    the ends, the last value is used.

    A compiler may compute `index` twice, with roundings on either side of a pixel. The number of
    the pixel is therefore gathered with its polynomial, and t is the distance from that pixel.
    """
    last = flux.shape[0] - 1
    left = jnp.floor(jax.lax.stop_gradient(index)).astype(jnp.int32)
    left = left if whole is None else left + whole
    # one gather of rows: stacked gathers are wrong under vmap (XLA on CPU, JAX 0.10), and slower
    rows = numbered(_between_pixels(flux))[jnp.clip(left, 0, last)]
    pixel = rows[..., 6]
    t = index - (pixel if whole is None else pixel - whole)
    t = jnp.where(((pixel == 0) & (t < 0.0)) | (pixel == last), 0.0, t)
    value = rows[..., 5]
    for power in range(4, -1, -1):
        value = value * t + rows[..., power]
    return value


def numbered(rows: Array) -> Array:
    """Return `rows` (M, N) with a last column of their numbers, exact below 2²⁴ in float32."""
    return jnp.column_stack([rows, jnp.arange(rows.shape[0], dtype=rows.dtype)])


def _between_pixels(flux: Array) -> Array:
    """Coefficients (M, 6) of the polynomials from each pixel to the next, constant term first."""
    count = -(-flux.shape[0] // _BLOCK)
    padded = _extended(flux)
    blocks = jnp.pad(padded, (0, (count + 1) * _BLOCK - padded.shape[0])).reshape(-1, _BLOCK)
    matrix = jnp.asarray(_hermite_matrix(), flux.dtype)
    windows = jnp.concatenate([blocks[:-1], blocks[1:]], axis=1)[:, : matrix.shape[0]]
    return jnp.matmul(windows, matrix, precision="highest").reshape(-1, 6)


@cache
def _hermite_matrix() -> Floats:
    """Coefficients of the polynomials of a block by the flux in it and around it,
    (_BLOCK + 1 + 2 _REACH, 6 _BLOCK)."""
    count = _BLOCK + 1
    f = np.eye(count, count + 2 * _REACH, _REACH)
    slope, bend = np.zeros_like(f), np.zeros_like(f)
    k = np.arange(1, _REACH + 1)
    # derivatives of the sinc function under a window (Wei 1999, J. Chem. Phys. 110, 8930), scaled
    # to be exact for parabolas
    sinc = (-1.0) ** (k + 1) / k * np.exp(-0.5 * (k / _WINDOW) ** 2)
    first, second = sinc / np.sum(2.0 * sinc * k), sinc / k / np.sum(sinc * k)
    for step, of_slope, of_bend in zip(k, first, second, strict=True):
        ahead, behind = np.roll(f, step, axis=1), np.roll(f, -step, axis=1)
        slope += of_slope * (ahead - behind)
        bend += of_bend * (ahead + behind - 2.0 * f)
    f0, d0, s0 = f[:-1], slope[:-1], bend[:-1]
    rise, d1, s1 = f[1:] - f0, slope[1:], bend[1:]
    cubic = 10.0 * rise - 6.0 * d0 - 4.0 * d1 - 1.5 * s0 + 0.5 * s1
    quartic = -15.0 * rise + 8.0 * d0 + 7.0 * d1 + 1.5 * s0 - s1
    quintic = 6.0 * rise - 3.0 * (d0 + d1) - 0.5 * (s0 - s1)
    terms = np.stack([f0, d0, 0.5 * s0, cubic, quartic, quintic], axis=1)
    return terms.reshape(6 * _BLOCK, -1).T


def _extended(flux: Array) -> Array:
    """The flux (M,) with `_REACH` pixels before and one more after it, on the parabolas through the
    three pixels at either end."""
    if flux.shape[0] < 3:
        return jnp.pad(flux, (_REACH, _REACH + 1), mode="edge")
    steps = np.arange(1, _REACH + 2)
    after = _parabola(flux[-1], flux[-2], flux[-3], steps)
    before = _parabola(flux[0], flux[1], flux[2], steps[_REACH - 1 :: -1])
    return jnp.concatenate([before, flux, after])


def _parabola(end: Array, second: Array, third: Array, steps: Integers) -> Array:
    """Values `steps` pixels beyond the end, on the parabola through three pixels."""
    bend = end - 2.0 * second + third
    return end + steps * (end - second) + 0.5 * steps * (steps + 1) * bend


@partial(jax.tree_util.register_dataclass, data_fields=("width",), meta_fields=("points",))
@dataclass(frozen=True, eq=False)
class Pixels:
    """Pixels over which the flux is averaged.

    If `points` is 0, all have the same `width` (), km/s. Otherwise `width` (Q,) is in steps in
    ln λ, and the flux is averaged over `points` quadrature points.
    """

    width: Array
    points: int

    @property
    def uniform(self) -> Array | None:
        """The common width, km/s, for `broaden`; None if widths differ."""
        return self.width if self.points == 0 else None


def pixels_of(width: Floats, velocity_step: float) -> Pixels:
    """Return pixels of widths (Q,), km/s, on steps of `velocity_step` (km/s)."""
    if np.ptp(width) <= _UNIFORM * width.max():
        return Pixels(jnp.asarray(width.mean(), jnp.float32), 0)
    steps = width / velocity_step
    points = 1 + int(np.ceil(_POINTS * steps.max()))
    return Pixels(jnp.asarray(steps, jnp.float32), points)


def pixel_widths(wavelength: Floats) -> Floats:
    """Return widths (Q,), km/s, of contiguous pixels at wavelengths (Q,), increasing."""
    ln = np.log(wavelength)
    edges = np.concatenate([[1.5 * ln[0] - 0.5 * ln[1]], 0.5 * (ln[1:] + ln[:-1])])
    edges = np.append(edges, 1.5 * ln[-1] - 0.5 * ln[-2])
    return SPEED_OF_LIGHT * np.diff(edges)


def sample_mean(flux: Array, index: Array, pixels: Pixels, whole: Array | None = None) -> Array:
    """Return the flux (M,) averaged over pixels around `index` (P,), as in `sample`.

    The interpolated flux is integrated by Gauss–Legendre quadrature. Pixels of equal width are
    averaged in `broaden`, and only sampled here.
    """
    if pixels.points == 0:
        return sample(flux, index, whole)
    x, w = np.polynomial.legendre.leggauss(pixels.points)
    points = index + 0.5 * jnp.asarray(x, index.dtype)[:, None] * pixels.width
    base = None if whole is None else jnp.broadcast_to(whole, points.shape).ravel()
    values = sample(flux, points.ravel(), base).reshape(points.shape)
    return jnp.asarray(0.5 * w, values.dtype) @ values
