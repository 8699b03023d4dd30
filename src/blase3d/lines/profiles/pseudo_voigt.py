"""The pseudo-Voigt profile.

    V(x; f, η) = η L(x; f) + (1 − η) G(x; f)

with a Lorentzian and a Gaussian of one common full width at half maximum f (Thompson, Cox &
Hastings 1987, J. Appl. Cryst. 20, 79; Ida, Ando & Toraya 2000): within 1.3 % of the peak of the
true Voigt of standard deviation sigma and half width gamma. Its shape numbers are f (Å) and the
mixing η. Widths and x are in Å, V in 1/Å.
"""

from __future__ import annotations

from functools import partial, reduce
from operator import add

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ...runtime.units import FWHM_PER_SIGMA

_LN2 = float(np.log(2.0))
_WIDTH = (1.0, 2.69269, 2.42843, 4.47163, 0.07842, 1.0)
_MIXING = (1.36603, -0.47719, 0.11116)
_LORENTZ_PEAK = 2.0 / np.pi
_GAUSS_PEAK = 2.0 * float(np.sqrt(_LN2 / np.pi))
"""Peak of a Gaussian of unit area and unit full width at half maximum."""


@partial(jax.jit, inline=True)  # one compilation, not one for each operation
def shape(ln_sigma: Array, ln_gamma: Array) -> tuple[Array, Array]:
    """Common width f (Å) and mixing η of lines with the given ln sigma and ln gamma (ln Å).

    The polynomial is evaluated in ratios to the larger width, so that float32 neither
    overflows nor underflows in the fifth powers.
    """
    gauss, lorentz = FWHM_PER_SIGMA * jnp.exp(ln_sigma), 2.0 * jnp.exp(ln_gamma)
    larger = jnp.maximum(gauss, lorentz)
    g, q = gauss / larger, lorentz / larger
    # without zeroth powers, which JAX compiles by themselves
    mixed = (c * g ** (5 - n) * q**n for n, c in enumerate(_WIDTH[1:-1], start=1))
    total = reduce(add, (_WIDTH[0] * g**5, *mixed, _WIDTH[-1] * q**5))
    width = larger * total**0.2
    ratio = lorentz / width
    mixing = reduce(add, (c * ratio ** (n + 1) for n, c in enumerate(_MIXING)))
    return width, mixing


def columns(ln_area: Array, ln_sigma: Array, ln_gamma: Array) -> tuple[Array, Array, Array]:
    """Central values of area times Lorentzian and Gaussian of lines, and (2/f)² (1/Å²)."""
    width, mixing = shape(ln_sigma, ln_gamma)
    height = jnp.exp(ln_area) / width
    lorentz, gauss = _LORENTZ_PEAK * mixing * height, _GAUSS_PEAK * (1.0 - mixing) * height
    return lorentz, gauss, 4.0 / width**2


def full(x: Array, lorentz: Array, gauss: Array, steepness: Array) -> Array:
    """Area times V(x; f, η); the arguments broadcast."""
    u2 = steepness * x * x
    return lorentz * _fall(u2) + gauss * jnp.exp(-_LN2 * u2)


def wing(x: Array, lorentz: Array, _gauss: Array, steepness: Array) -> Array:
    """Area times η L(x; f)."""
    return lorentz * _fall(steepness * x * x)


@jax.custom_jvp
def _fall(u2: Array) -> Array:
    """1/(1 + u²), whose derivative takes no second division."""
    return 1.0 / (1.0 + u2)


_fall.defjvps(lambda tangent, fall, _: -fall * fall * tangent)


def fwhm(ln_sigma: Array, ln_gamma: Array) -> Array:
    """Full width at half maximum, Å."""
    return shape(ln_sigma, ln_gamma)[0]


def reach(
    area: NDArray[np.float64], ln_sigma: Array, ln_gamma: Array, tolerance: float
) -> NDArray[np.float64]:
    """Distance (Å) from the centre beyond which a line of this area (Å) absorbs less than
    `tolerance`, (N,).

    The Lorentzian part is below a share tol of it beyond x² = a η f / (2π tol), the Gaussian part
    where `core` ends. Each gets what the other leaves of the tolerance where it alone would end,
    but no less than half: then the sum is below it.
    """
    width, far, peak = _parts(area, ln_sigma, ln_gamma)

    def end(lorentz: NDArray[np.float64], gauss: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.maximum(np.sqrt(far / lorentz), _end_of_gauss(width, peak / gauss))

    full = np.full_like(area, tolerance)
    alone = np.maximum(end(full, full), 1e-30)
    left_by_gauss = tolerance - peak * np.exp(-_LN2 * (2.0 * alone / width) ** 2)
    left_by_lorentz = tolerance - far / alone**2
    half = 0.5 * full
    return end(np.maximum(left_by_gauss, half), np.maximum(left_by_lorentz, half))


def core(
    area: NDArray[np.float64], ln_sigma: Array, ln_gamma: Array, tolerance: float
) -> NDArray[np.float64]:
    """Distance (Å) from the centre beyond which the Gaussian part of a line of this area (Å)
    absorbs less than `tolerance`, (N,): ln 2 (2x/f)² = ln(a (1 − η) peak / tol)."""
    width, _, peak = _parts(area, ln_sigma, ln_gamma)
    return _end_of_gauss(width, peak / tolerance)


def _parts(
    area: NDArray[np.float64], ln_sigma: Array, ln_gamma: Array
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Widths (Å), far wings of the Lorentzians times x² (Å²), and peaks of the Gaussians, (N,)."""
    width, mixing = (np.asarray(v, dtype=np.float64) for v in shape(ln_sigma, ln_gamma))
    far = area * mixing * width / (2.0 * np.pi)
    return width, far, area * np.maximum(1.0 - mixing, 0.0) * _GAUSS_PEAK / width


def _end_of_gauss(width: NDArray[np.float64], contrast: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance (Å) at which Gaussians of this width have fallen from their peak by `contrast`."""
    return 0.5 * width * np.sqrt(np.log(np.maximum(contrast, 1.0)) / _LN2)
