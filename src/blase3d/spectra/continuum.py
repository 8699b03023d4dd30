"""The continuum of a spectrum: blackbody times a low-order polynomial through the peaks.

The form is that of Shankar, Gully-Santiago & Morley: S̄ = S / (B Q), with B the blackbody of Teff
and Q a polynomial through the peaks of S / B. What differs is how Q is found. Powers of raw Å are
nearly parallel (a quartic has a numerical rank of 3), so Q is expanded in Chebyshev polynomials on
[-1, 1]. And a list of peaks that gains or loses a member makes Q jump from one node of a grid to
the next, so nothing is selected: every one of a fixed set of windows gives its maximum, whose
height is a continuous function of the flux, and an asymmetric loss decides how much it counts.

With h the height of a window, Q the polynomial there and r = (h - Q) / Q, the loss is

    Σ a(r) sqrt(r² + s²),    a = `upper` above Q, 1 - `upper` below,

a quantile regression (Koenker & Bassett 1978, Econometrica 46, 33) whose kink is rounded over s.
Windows deep inside a line pull weakly, however deep they are. It is minimised by least squares
with weights that are set anew in each round.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, LabelError, SpectrumError
from ..recipe import Recipe
from ..runtime.arrays import Floats
from ..units import blackbody
from .spectrum import Spectrum

ROUNDING = 1e-3
"""s of the loss, relative to the continuum: a scatter of the peaks below this is no line."""
ROUNDS = 30
"""Rounds of reweighting; on crowded and on hot spectra 30 agree with 300 to 1e-9."""
COOLEST = 100.0
"""K; below it Planck's law underflows in the optical."""


def normalise(spectrum: Spectrum, recipe: Recipe, teff: float | None = None) -> Spectrum:
    """Return the spectrum divided by its continuum.

    By `recipe.normalisation`: if `continuum` is `library` and the spectrum has a continuum, that
    one is used. Otherwise it is fitted: the blackbody of `teff` (K; None leaves it out) times a
    polynomial of degree `continuum_degree`.

    Raises
    ------
    SpectrumError
        The continuum cannot be fitted.
    """
    settings = recipe.normalisation
    continuum = spectrum.continuum if settings.continuum == "library" else None
    if continuum is None:
        flux = np.where(spectrum.good, spectrum.flux, np.nan)
        continuum = fit_continuum(spectrum.wavelength, flux, teff, settings.continuum_degree)
    error = None if spectrum.error is None else spectrum.error / continuum
    ones = np.ones_like(continuum)
    return replace(spectrum, flux=spectrum.flux / continuum, error=error, continuum=ones)


def chebyshev_basis(
    wavelength: ArrayLike, degree: int, domain: tuple[float, float] | None = None
) -> Floats:
    """Chebyshev polynomials of the first kind, T_0 to T_degree, at `wavelength`.

    `wavelength` (P,) is in Å; `domain`, by default its own range, is mapped onto [-1, 1]. The
    result is (P, degree + 1), without units. On evenly spaced pixels its condition number stays
    below 4 up to degree 8. Raises `InputError` when `degree` is negative or the domain is empty.
    """
    wavelength = np.asarray(wavelength, dtype=np.float64)
    if degree < 0:
        raise InputError(f"The degree of a polynomial was {degree}; give 0 or more.")
    low, high = domain or (float(wavelength.min()), float(wavelength.max()))
    if not high > low:
        raise InputError(
            f"A polynomial needs a range of wavelengths, got {low:g} to {high:g} Å; "
            "give two different wavelengths, the lower first."
        )
    scaled = (2.0 * wavelength - (low + high)) / (high - low)
    return np.asarray(chebyshev.chebvander(scaled, degree), dtype=np.float64)


def fit_continuum(
    wavelength: ArrayLike,
    flux: ArrayLike,
    teff: float | None = None,
    degree: int = 4,
    *,
    windows: int = 50,
    upper: float = 0.95,
    quantile: float = 1.0,
) -> Floats:
    """Continuum (P,) of a spectrum, in the units of `flux`: blackbody times polynomial.

    `wavelength` (P,) is in Å and increasing, `flux` (P,) in any linear units; pixels that are not
    finite are ignored (set masked ones to NaN). `teff` in K gives the blackbody, of which only
    the shape counts; None leaves it out, as for an observed star of unknown Teff. `degree` 4 is
    the "5th order", five coefficients, of Shankar, Gully-Santiago & Morley.

    `windows` of equal width in wavelength each give one height: their maximum, or with `quantile`
    below 1 that quantile of their pixels. The maximum suits models; in an observed spectrum it
    rides on the noise (3 % high at S/N 100 in windows of 500 pixels), and 0.8 or 0.9 serves
    better, and passes over spikes. `upper` is the share of windows that may lie below the result.

    Multiplying `flux` by a positive constant multiplies the result by it. A line as wide as the
    spectrum cannot be told from the continuum: between merging Paschen lines the result is low.

    Raises `SpectrumError` when wavelengths and flux do not fit together, when too few windows
    hold positive flux or when the polynomial falls to zero; `LabelError` for an impossible
    `teff`; `InputError` for impossible settings.
    """
    wavelength, flux = _checked_spectrum(wavelength, flux)
    _check_settings(windows, upper, quantile)
    shape = _blackbody_shape(wavelength, teff)
    quotient = flux / shape
    basis = chebyshev_basis(wavelength, degree)
    peaks = _window_peaks(wavelength, quotient, windows, quantile)
    _check_peaks(peaks.size, windows, degree)
    scale = float(np.median(quotient[peaks]))  # so that the loss knows relative depths only
    coefficients = _fit_envelope(basis[peaks], quotient[peaks] / scale, upper)
    polynomial = basis @ coefficients
    if not polynomial.min() > 0.0:
        raise SpectrumError(
            f"The continuum of degree {degree} falls to zero within the range of the spectrum; "
            "lower the degree, or mask what is not the star."
        )
    return shape * polynomial * scale


def _window_peaks(
    wavelength: Floats, quotient: Floats, windows: int, quantile: float
) -> NDArray[np.intp]:
    """Index of the pixel of the given quantile in each window that holds positive flux."""
    # Edges depend on the wavelengths alone: the same windows for all spectra of a grid.
    edges = np.linspace(wavelength[0], wavelength[-1], windows + 1)[1:-1]
    used = np.flatnonzero(np.isfinite(quotient))
    parts = np.split(used, np.searchsorted(wavelength[used], edges))
    peaks = [part[_rank(quotient[part], quantile)] for part in parts if part.size]
    return np.array([peak for peak in peaks if quotient[peak] > 0.0], dtype=np.intp)


def _rank(values: Floats, quantile: float) -> int:
    """Index of the value with the given quantile, 1 being the maximum; linear in time."""
    if quantile == 1.0:
        return int(np.argmax(values))
    place = int(quantile * (values.size - 1))
    return int(np.argpartition(values, place)[place])


def _fit_envelope(basis: Floats, heights: Floats, upper: float) -> Floats:
    """Coefficients (D,) of the envelope of `heights` (K,), given `basis` (K, D)."""
    weights = np.ones_like(heights)
    for _ in range(ROUNDS):
        root = np.sqrt(weights)
        coefficients = np.linalg.lstsq(basis * root[:, None], heights * root, rcond=None)[0]
        # An early round may dip below zero where heights vary a lot; keep r finite there.
        envelope = np.maximum(basis @ coefficients, 1e-3)
        residual = (heights - envelope) / envelope
        side = np.where(residual > 0.0, upper, 1.0 - upper)
        weights = side / (np.hypot(residual, ROUNDING) * envelope**2)
    return np.asarray(coefficients, dtype=np.float64)


def _blackbody_shape(wavelength: Floats, teff: float | None) -> Floats:
    if teff is None:
        return np.ones_like(wavelength)
    if not COOLEST <= teff < np.inf:
        raise LabelError(
            f"Teff for the blackbody was {teff:g} K; give {COOLEST:g} K or more, "
            "or None to leave the blackbody out."
        )
    return blackbody(wavelength, teff)


def _checked_spectrum(wavelength: ArrayLike, flux: ArrayLike) -> tuple[Floats, Floats]:
    wavelength = np.asarray(wavelength, dtype=np.float64)
    flux = np.asarray(flux, dtype=np.float64)
    if wavelength.ndim != 1 or wavelength.shape != flux.shape:
        raise SpectrumError(
            f"Got wavelengths of shape {wavelength.shape} and flux of shape {flux.shape}; "
            "a continuum needs two one-dimensional arrays of equal length."
        )
    if wavelength.size < 2 or not (
        np.isfinite(wavelength).all() and wavelength[0] > 0.0 and np.all(np.diff(wavelength) > 0.0)
    ):
        raise SpectrumError(
            "The wavelengths are not two or more positive, increasing numbers; "
            "sort the pixels by wavelength and drop repeated ones."
        )
    return wavelength, flux


def _check_settings(windows: int, upper: float, quantile: float) -> None:
    if windows < 1 or not 0.0 < upper < 1.0 or not 0.0 < quantile <= 1.0:
        raise InputError(
            f"Got windows = {windows}, upper = {upper:g}, quantile = {quantile:g}; expected one "
            "window or more, upper between 0 and 1, and quantile above 0 and at most 1."
        )


def _check_peaks(found: int, windows: int, degree: int) -> None:
    if found == 0:
        raise SpectrumError(
            "No pixel of the flux is finite and positive, so there is no continuum to fit; "
            "check the flux and its mask."
        )
    if found < degree + 1:
        raise SpectrumError(
            f"Only {found} of {windows} windows hold finite, positive flux, and a continuum of "
            f"degree {degree} needs {degree + 1}; lower the degree or use a wider spectrum."
        )
