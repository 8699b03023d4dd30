"""Physical constants, air and vacuum wavelengths, velocities.

Wavelengths are in Å and in vacuum everywhere inside blase3D; velocities in km/s, positive when
receding. The constants are the exact SI values of 2019, unless noted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

SPEED_OF_LIGHT = 299792.458
"""km/s"""
PLANCK = 6.62607015e-34
"""J s"""
BOLTZMANN = 1.380649e-23
"""J/K"""
ELECTRONVOLT = 1.602176634e-19
"""J"""
ATOMIC_MASS = 1.66053906660e-27
"""kg (CODATA 2018)"""
FWHM_PER_SIGMA = float(2.0 * np.sqrt(2.0 * np.log(2.0)))  # a NumPy scalar would make float64 arrays
"""Full width at half maximum of a Gaussian of unit standard deviation."""
SIGMA_PER_MAD = 1.4826
"""Standard deviation over median absolute deviation, of a normal distribution."""


def refractive_index(vacuum: ArrayLike) -> NDArray[np.float64]:
    """Return the refractive index of standard air at vacuum wavelengths in Å.

    Morton (2000, ApJS 130, 403, eq. 8), after Birch & Downs (1994). Valid for 2000 Å to 10 µm.
    """
    s2 = (1e4 / np.asarray(vacuum, dtype=np.float64)) ** 2
    return 1.0 + 8.34254e-5 + 2.406147e-2 / (130.0 - s2) + 1.5998e-4 / (38.9 - s2)


def vacuum_to_air(vacuum: ArrayLike) -> NDArray[np.float64]:
    """Return the air wavelengths (Å) of vacuum wavelengths (Å), by `refractive_index`.

    Examples
    --------
    >>> round(float(vacuum_to_air(8500.36)), 3)
    8498.025
    """
    vacuum = np.asarray(vacuum, dtype=np.float64)
    return vacuum / refractive_index(vacuum)


def air_to_vacuum(air: ArrayLike) -> NDArray[np.float64]:
    """Return the vacuum wavelengths (Å) of air wavelengths (Å), the inverse of `vacuum_to_air`."""
    air = np.asarray(air, dtype=np.float64)
    vacuum = air * refractive_index(air)
    for _ in range(3):  # each round gains four digits
        vacuum = air * refractive_index(vacuum)
    return vacuum


def blackbody(wavelength: ArrayLike, teff: float) -> NDArray[np.float64]:
    """Return Planck's law B(λ, Teff), in units of its maximum over `wavelength` (Å)."""
    metres = np.asarray(wavelength, dtype=np.float64) * 1e-10
    exponent = PLANCK * SPEED_OF_LIGHT * 1e3 / (metres * BOLTZMANN * teff)
    radiance = metres**-5.0 / np.expm1(exponent)
    return radiance / radiance.max()
