"""A first radial velocity, by cross-correlation with models of several labels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from ..continuum import chebyshev_basis
from ..units import SPEED_OF_LIGHT
from .problem import Problem


def first_velocity(problem: Problem, labels: Iterable[dict[str, float]]) -> float:
    """The velocity (km/s) at which the spectrum resembles one of the models most.

    On equal steps in ln λ a shift is a velocity (Tonry & Davis 1979, AJ 84, 1511). Spectrum and
    model are compared as departures from smooth polynomials; the model is not broadened, which
    widens the peak but does not move it.
    """
    prior = problem.free["rv"]
    model, step = problem.model, problem.model.emulator.velocity_step
    ln = np.log(model.wavelength[0]) + np.arange(model.emulator.to_log.size) * step / SPEED_OF_LIGHT
    data = _departure(problem, ln)
    count = next_fast_len(2 * ln.size, real=True)
    velocity = np.fft.fftfreq(count, 1.0 / (count * step))
    velocity = SPEED_OF_LIGHT * np.expm1(velocity / SPEED_OF_LIGHT)
    allowed = (velocity >= prior.low) & (velocity <= prior.high)
    spectrum = rfft(data, count)
    best, found = -np.inf, float(np.clip(0.0, prior.low, prior.high))
    for point in labels:
        template = np.asarray(model.flux(wavelength=np.exp(ln), residual=True, **point), np.float64)
        template -= template.mean()
        correlation = irfft(spectrum * np.conj(rfft(template, count)), count)
        correlation = np.where(allowed, correlation / np.linalg.norm(template), -np.inf)
        peak = int(correlation.argmax())
        if correlation[peak] > best:
            best, found = float(correlation[peak]), float(velocity[peak])
    return found


def _departure(problem: Problem, ln: NDArray[np.float64]) -> NDArray[np.float64]:
    """The spectrum over a smooth polynomial, minus one, at ln λ; zero where there is none."""
    spectrum = problem.spectrum
    good = spectrum.good
    wavelength, flux = spectrum.wavelength[good], spectrum.flux[good]
    basis = chebyshev_basis(wavelength, max(problem.continuum_degree, 0))
    smooth = basis @ np.linalg.lstsq(basis, flux, rcond=None)[0]
    # a noisy pixel, or a polynomial near zero, must not outweigh the rest
    departure = np.clip(flux / np.where(smooth > 0.0, smooth, np.inf) - 1.0, -1.0, 1.0)
    sampled = np.interp(ln, np.log(wavelength), departure, left=0.0, right=0.0)
    gap = np.interp(ln, np.log(spectrum.wavelength), spectrum.mask.astype(float)) > 0.5
    return np.where(gap, 0.0, sampled)
