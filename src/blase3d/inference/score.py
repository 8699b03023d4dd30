"""Score tests: whether an effect that a fit leaves out would improve it significantly.

The residuals count over the errors of the pixels. With r and x the
residuals and the change of the flux by an effect, both over the errors and without their components
along the continuum and the derivatives by the free parameters, the best amplitude of the effect is

    a = x·r/x·x,    variance max(s² x·x, Σ (x·l)²)/(x·x)²,

with l = r − a x the remaining residuals, s² their mean square, and the sum over segments of the
spectrum (White 1982, Econometrica 50, 1): neighbouring residuals are wrong together where the model
is wrong. To first order this is the fit with one more free parameter, at the cost of two products.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..runtime.arrays import Bools, Floats, Integers, median
from ..runtime.units import SIGMA_PER_MAD
from .noise.noise import OUTLIER
from .solution import Solution

_SEGMENTS = 64
"""Segments whose scatter gives the variance; each has several lines."""
_FAINT = 0.01
"""Smallest continuum to divide by, in units of its median."""
_INDEPENDENT = 1e-4
"""Length of a direction, relative to its length before projection, below which it is one of the
others: float32 rounding."""


@dataclass(frozen=True, eq=False)
class Amplitude:
    """The best amplitude of an effect, with its standard deviation."""

    value: float
    sigma: float

    @property
    def z(self) -> float:
        """Value over standard deviation."""
        return self.value / self.sigma


@dataclass(frozen=True, eq=False)
class Residuals:
    """Residuals of a fit on the used pixels (Q,), over the errors of the pixels.

    Attributes
    ----------
    solution : Solution
        The fit.
    used : (Q,)
        Indices of the pixels in the spectrum.
    weight : (Q,)
        Inverse errors: those stated, or the scatter.
    flux, continuum : (Q,)
        Fitted flux in units of the continuum, and the continuum.
    raw : (Q,)
        Data minus fit, over the errors.
    left : (Q,)
        The same, clipped, without continuum and free parameters.
    order : (Q,)
        Index of the echelle order.
    basis : (Q, D)
        Polynomials of the continuum.
    columns : list of (q, D)
        Orthonormal columns of the continuum of each order.
    axes : (Q, K)
        Orthonormal directions of the free parameters, without the continuum.
    """

    solution: Solution
    used: Integers
    weight: Floats
    flux: Floats
    continuum: Floats
    raw: Floats
    left: Floats
    order: Integers
    basis: Floats
    columns: list[Floats]
    axes: Floats

    @property
    def wavelength(self) -> Floats:
        """Wavelengths (Q,), Å."""
        return self.solution.likelihood.problem.spectrum.wavelength[self.used]

    @cached_property
    def observed(self) -> Floats:
        """Observed flux (Q,) in units of the continuum."""
        least = _FAINT * median(np.abs(self.continuum))
        level = np.where(np.abs(self.continuum) > least, self.continuum, max(least, 1e-300))
        return self.flux + self.raw / (self.weight * level)

    @property
    def robust(self) -> Floats:
        """Weights (Q,): one, and less for outliers."""
        return self.solution.likelihood.errors.noise.robust[self.used]

    @cached_property
    def chi2(self) -> float:
        """Reduced chi-square with the errors of the pixels alone."""
        return float(self.robust @ self.raw**2) / self.solution.likelihood.freedom()

    @cached_property
    def rms(self) -> float:
        """Root mean square of the residuals in units of the continuum, outliers reduced."""
        return float(np.sqrt(np.mean(self.robust * (self.observed - self.flux) ** 2)))

    @property
    def full_rms(self) -> float:
        """The same with outliers at full weight."""
        return float(np.sqrt(np.mean((self.observed - self.flux) ** 2)))

    @cached_property
    def pixel_scatter(self) -> float:
        """Scatter between neighbouring pixels, in their errors, where the flux is near the
        continuum: third differences, to which errors of the model contribute little."""
        raw, used, absorbed = self.raw, self.used, 1.0 - self.flux
        near = (used[3:] - used[:-3] == 3) & (self.order[3:] == self.order[:-3])
        if not near.any():
            return 0.0
        depth = np.max([absorbed[k : k + near.size] for k in range(4)], axis=0)
        near &= depth <= median(depth[near])
        third = np.diff(raw, 3)[near] / np.sqrt(20.0)
        return SIGMA_PER_MAD * median(np.abs(third))

    @cached_property
    def misfit(self) -> float:
        """Scatter of the residuals over that between neighbouring pixels: one for white noise."""
        scatter = float(np.sqrt(np.mean(self.robust * self.raw**2)))
        return scatter / max(self.pixel_scatter, 1e-30)

    @property
    def flat_chi2(self) -> float:
        """Reduced chi-square of the continuum alone, without lines."""
        weight = self.weight * np.sqrt(self.robust)
        data = self.observed * self.continuum * weight
        if self.basis.shape[1] == 0:
            left = data - self.continuum * weight
        else:
            columns = _columns(self.basis * weight[:, None], self.order)
            left = _without(columns, self.order, data)
        return float(left @ left) / self.solution.likelihood.freedom()

    def on_pixels(self, values: Floats) -> Floats:
        """Values (O·Q,) of the padded pixels at the used pixels (Q,)."""
        index = self.solution.likelihood.layout.index
        return np.asarray(values, np.float64)[index][self.used]

    def direction(self, change: Floats) -> Floats:
        """A change (Q,) of the flux, in units of the continuum, as a direction."""
        return self._projected(change * self.continuum * self.weight)

    def _projected(self, row: Floats) -> Floats:
        for _ in range(2):  # twice, for rounding
            row = row - self.axes @ (self.axes.T @ row)
            row = _without(self.columns, self.order, row)
        return row

    def amplitude(self, change: Floats) -> Amplitude | None:
        """The best amplitude of a change (Q,) of the flux, in units of the continuum; None if it
        cannot be distinguished from the continuum and the free parameters."""
        row = self.direction(change)
        square = float(row @ row)
        if square <= _INDEPENDENT * float(np.sum((change * self.continuum * self.weight) ** 2)):
            return None
        value = float(row @ self.left) / square
        left = self.left - value * row
        scatter = float(left @ left) / max(left.size - self.axes.shape[1], 1)
        segment = np.arange(left.size) * _SEGMENTS // left.size
        scores = np.bincount(segment, row * left)
        variance = max(scatter * square, float(scores @ scores))
        return Amplitude(value, max(np.sqrt(variance) / square, 1e-30))

    def with_effect(self, change: Floats) -> Residuals:
        """The residuals after a fit with this effect as well."""
        row = self.direction(change)
        row = row / np.sqrt(row @ row)
        axes = np.column_stack([self.axes, row])
        return replace(self, axes=axes, left=self.left - row * (row @ self.left))


def residuals_of(solution: Solution) -> Residuals:
    """Return the residuals of a solution."""
    likelihood = solution.likelihood
    spectrum, noise = likelihood.problem.spectrum, likelihood.errors.noise
    used = np.flatnonzero(spectrum.good)
    continuum = solution.fitted.continuum[used]
    weight = 1.0 / (noise.error * noise.factor)[used]
    raw = (spectrum.flux - solution.fitted.flux)[used] * weight
    index = likelihood.layout.index[used]
    flux = np.asarray(solution.fit.prediction.flux, np.float64)[index]
    order = likelihood.layout.order[used]
    limit = OUTLIER * max(SIGMA_PER_MAD * median(np.abs(raw)), 1e-30)
    basis = np.moveaxis(np.asarray(likelihood.data.basis, np.float64), 1, 2)
    basis = basis.reshape(likelihood.layout.size, -1)[index]
    columns = _columns(basis * (weight * flux)[:, None], order)
    slopes = np.asarray(solution.fit.prediction.slopes, np.float64)[:, index] * continuum * weight
    rows = [_without(columns, order, row) for row in slopes[_moving(solution)]]
    axes = _orthonormal(np.reshape(rows, (len(rows), used.size)).T)
    blank = np.zeros(used.size)
    found = Residuals(
        solution, used, weight, flux, continuum, raw, blank, order, basis, columns, axes
    )
    return replace(found, left=found._projected(np.clip(raw, -limit, limit)))


def _moving(solution: Solution) -> Bools:
    """Parameters (K,) that are free and not held by a bound."""
    return ~solution.at_bound


def _columns(rows: Floats, order: Integers) -> list[Floats]:
    """Orthonormal columns of the continuum of each order."""
    return [_orthonormal(rows[order == number]) for number in range(order.max() + 1)]


def _orthonormal(columns: Floats) -> Floats:
    """An orthonormal basis (Q, N') of the space of columns (Q, N)."""
    length = np.sqrt(np.sum(columns**2, axis=0))
    columns = columns[:, length > 0.0] / length[length > 0.0]
    if not columns.size:
        return np.zeros((len(columns), 0))
    # of tall columns, their products are ten times faster to decompose
    squares, vectors = np.linalg.eigh(columns.T @ columns)
    chosen = squares > _INDEPENDENT**2 * squares[-1]
    return np.asarray(columns @ (vectors[:, chosen] / np.sqrt(squares[chosen])))


def _without(columns: list[Floats], order: Integers, row: Floats) -> Floats:
    """A row (Q,) without the continuum."""
    left = row.copy()
    for number, basis in enumerate(columns):
        chosen = order == number if len(columns) > 1 else slice(None)
        left[chosen] -= basis @ (basis.T @ row[chosen])
    return left
