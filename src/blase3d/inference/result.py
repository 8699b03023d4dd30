"""What an inference returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Estimate:
    """A value with its standard deviation and quantiles, in the unit of the quantity."""

    value: float
    sigma: float
    q16: float
    q50: float
    q84: float

    @classmethod
    def normal(cls, value: float, sigma: float) -> Estimate:
        """Mean and quantiles of a normal distribution."""
        return cls(value, sigma, value - sigma, value, value + sigma)


@dataclass(frozen=True, eq=False)
class Inference:
    """The labels of a star.

    Attributes
    ----------
    labels : dict of Estimate
        The labels of the library: teff (K), logg (dex of cm/s²), feh (dex), ...
    nuisance : dict of Estimate
        rv and vsini (km/s), resolution (λ/Δλ), as far as they were fitted.
    fixed : dict of float
        Parameters that were held, rotation and instrument included.
    names : tuple of str
        Order of the free parameters in `covariance`.
    covariance : (K, K)
        Of the free parameters, in their units.
    chi2_red : float
        Reduced chi-square; NaN if the spectrum states no errors.
    method : str
        gradient or gp.
    seconds : float
        Wall time.
    flags : tuple of str
        What speaks against the answer, in words; empty if nothing does.
    n_pixels, n_masked : int
        Pixels used and pixels ignored.
    wavelength, flux, model, error : (Q,)
        The pixels used, in the frame and units of the observation.
    """

    labels: dict[str, Estimate]
    nuisance: dict[str, Estimate]
    fixed: dict[str, float]
    names: tuple[str, ...]
    covariance: NDArray[np.float64]
    chi2_red: float
    method: str
    seconds: float
    flags: tuple[str, ...]
    n_pixels: int
    n_masked: int
    wavelength: NDArray[np.float64]
    flux: NDArray[np.float64]
    model: NDArray[np.float64]
    error: NDArray[np.float64]

    def to_dict(self) -> dict[str, Any]:
        """The numbers, without spectra, as they go into JSON (NaN becomes None)."""

        def plain(estimates: dict[str, Estimate]) -> dict[str, dict[str, float | None]]:
            return {
                name: {key: finite(value) for key, value in vars(estimate).items()}
                for name, estimate in estimates.items()
            }

        return {
            "labels": plain(self.labels),
            "nuisance": plain(self.nuisance),
            "chi2_red": finite(self.chi2_red),
            "method": self.method,
            "seconds": round(self.seconds, 3),
            "flags": list(self.flags),
            "pixels": self.n_pixels,
            "masked": self.n_masked,
        }


def finite(value: float) -> float | None:
    """The number, or None where JSON has none for it."""
    return float(value) if np.isfinite(value) else None
