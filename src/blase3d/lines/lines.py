"""Absorption lines as arrays, one entry per line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from ..errors import ArchiveError
from ..recipe import DEFAULT, Composition
from ..runtime.units import FWHM_PER_SIGMA
from .compositions import COMPOSITIONS
from .profiles import PROFILES

PARAMETERS = ("shift", "ln_area", "ln_sigma", "ln_gamma")
"""Columns of an array of line parameters, in order."""

NO_AREA = -200.0
"""ln area that underflows to an area of zero in float32."""
DEFAULT_PROFILE = DEFAULT.profile


@dataclass(frozen=True, eq=False)
class Lines:
    """N absorption lines.

    Attributes
    ----------
    reference : (N,) float64
        Wavelength that names the line: that of its detection, or of the catalogue (Å, vacuum).
        It is separate from `shift` so that the shift can be float32.
    params : (N, 4) float32
        Columns of `PARAMETERS`: shift of the centre from `reference` (Å), ln of the area (ln Å),
        ln of the Gaussian standard deviation and of the Lorentzian half width (ln Å).
    profile : str
        Name of their profile (`profiles.PROFILES`).

    Raises
    ------
    ArchiveError
        The shapes of the arrays do not match.
    """

    reference: NDArray[np.float64]
    params: NDArray[np.float32]
    profile: str = DEFAULT_PROFILE

    def __post_init__(self) -> None:
        reference = np.asarray(self.reference, dtype=np.float64)
        params = np.asarray(self.params, dtype=np.float32)
        if reference.ndim != 1 or params.shape != (reference.size, len(PARAMETERS)):
            raise ArchiveError(
                f"lines need (N,) references and (N, 4) parameters, got {reference.shape} and "
                f"{params.shape}; the record they come from is damaged."
            )
        object.__setattr__(self, "reference", reference)
        object.__setattr__(self, "params", params)

    def __len__(self) -> int:
        return self.reference.size

    @property
    def center(self) -> NDArray[np.float64]:
        """Tuned centres (Å, vacuum), (N,)."""
        return self.reference + self.params[:, 0]

    @property
    def ln_area(self) -> NDArray[np.float32]:
        """ln of the area, ln Å, (N,)."""
        return self.params[:, 1]

    @property
    def sigma(self) -> NDArray[np.float32]:
        """Gaussian standard deviations, Å, (N,)."""
        return np.exp(self.params[:, 2])

    @property
    def gamma(self) -> NDArray[np.float32]:
        """Lorentzian half widths at half maximum, Å, (N,)."""
        return np.exp(self.params[:, 3])

    @property
    def fwhm(self) -> NDArray[np.float64]:
        """Full widths at half maximum, Å, (N,)."""
        return fwhm(self.params, self.profile)

    def central_depth(self, composition: Composition = "sum") -> NDArray[np.float64]:
        """Return the central depth of each line by itself, in units of the continuum, (N,)."""
        return 1.0 - self.alone(self.center[:, None], composition)[:, 0]

    def depth_at(self, wavelength: float, composition: Composition = "sum") -> float:
        """Return the depth of all lines together at a wavelength (Å), in units of the continuum."""
        x = jnp.asarray(wavelength - self.center[:, None], jnp.float32)
        return 1.0 - float(_together(self.params, x, self.profile, composition)[0])

    def alone(
        self, wavelength: NDArray[np.float64], composition: Composition = "sum"
    ) -> NDArray[np.float64]:
        """Return the flux (N, P) of each line by itself, in units of the continuum.

        `wavelength` (P,), or (N, P), is in Å.
        """
        x = jnp.asarray(wavelength - self.center[:, None], jnp.float32)
        return np.asarray(_alone(self.params, x, self.profile, composition), np.float64)

    def take(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> Lines:
        """Return the lines at these indices or of this mask, in that order."""
        return replace(self, reference=self.reference[which], params=self.params[which])

    def merged(self, other: Lines) -> Lines:
        """Return both sets of lines, in order of reference."""
        reference = np.concatenate([self.reference, other.reference])
        order = np.argsort(reference, kind="stable")
        params = np.concatenate([self.params, other.params])
        return replace(self, reference=reference[order], params=params[order])


def fwhm(params: NDArray[np.floating], profile: str = DEFAULT_PROFILE) -> NDArray[np.float64]:
    """Return the full widths at half maximum (Å) of lines of these parameters (N, 4), (N,)."""
    columns = (jax.device_put(params[:, k]) for k in (2, 3))
    widths = PROFILES[profile].fwhm(*columns)
    return np.asarray(widths, np.float64)


@partial(jax.jit, static_argnums=(2, 3))
def _alone(params: Array, x: Array, profile: str, composition: Composition) -> Array:
    """Flux (N, P) of single lines (N, 4) at distances x (N, P) from their centres, Å."""
    return COMPOSITIONS[composition].flux(_depths(params, x, profile, composition))


@partial(jax.jit, static_argnums=(2, 3))
def _together(params: Array, x: Array, profile: str, composition: Composition) -> Array:
    """Flux (P,) of lines (N, 4) at distances x (N, P) from their centres, Å."""
    depth = _depths(params, x, profile, composition).sum(axis=0)
    return COMPOSITIONS[composition].flux(depth)


def _depths(params: Array, x: Array, profile: str, composition: Composition) -> Array:
    """Depths (N, P) that lines (N, 4) contribute at distances x (N, P) from their centres, Å."""
    columns = PROFILES[profile].columns(params[:, 1:2], params[:, 2:3], params[:, 3:])
    return COMPOSITIONS[composition].depth(PROFILES[profile].full(x, *columns))


def first_guess(reference: ArrayLike, depth: ArrayLike, fwhm: ArrayLike) -> Lines:
    """Return lines of given centre (Å), central depth (0–1) and full width at half depth (Å).

    The Gaussian and the Lorentzian contribute about equally to the FWHM. The area is that of a
    Gaussian of this FWHM and central optical depth −ln(1 − depth).
    """
    fwhm = np.asarray(fwhm, dtype=np.float64)
    depth = np.clip(np.asarray(depth, dtype=np.float64), 1e-6, 0.98)
    area = -np.log1p(-depth) * fwhm * np.sqrt(np.pi / np.log(2.0)) / 2.0
    sigma, gamma = 0.7 * fwhm / FWHM_PER_SIGMA, 0.25 * fwhm
    columns = [np.zeros_like(fwhm), np.log(area), np.log(sigma), np.log(gamma)]
    return Lines(np.asarray(reference, dtype=np.float64), np.stack(columns, axis=1))


def padded(params: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return parameters (`count`, 4) or more, padded with lines without area.

    Similar numbers of lines then share one compilation.
    """
    more = max(count - len(params), 0)
    blank = np.zeros((more, len(PARAMETERS)), np.float32)
    blank[:, 1] = NO_AREA
    return np.concatenate([params, blank])
