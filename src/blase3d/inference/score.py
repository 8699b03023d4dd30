"""Score tests: whether an effect that a fit leaves out would improve it significantly.

With r and x the residuals and the change of the flux by an effect, both over the errors of the
pixels and without their components along the continuum and the derivatives by the free parameters,
the best amplitude of the effect is

    a = x·r/x·x,    variance max(s² x·x, Σ (x·l)²)/(x·x)²,

with l = r − a x the remaining residuals, s² their mean square, and the sum over segments of the
spectrum (White 1982, Econometrica 50, 1): neighbouring residuals are wrong together where the model
is wrong. To first order this is the fit with one more free parameter, at the cost of two products.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..runtime.arrays import Floats, Integers, Singles, as_slice, median, symmetric_inverse
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
    """The best amplitude of an effect, with its standard deviation, and the fraction of the squares
    of the residuals that it takes away."""

    value: float
    sigma: float
    share: float

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
    basis : (D, Q) float32
        Polynomials of the continuum.
    columns : list of (D, q), (D, D)
        Polynomials of the continuum of each order, over the errors, and the inverse of their
        products.
    axes : (K, Q)
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
    basis: Singles
    columns: list[tuple[Floats, Floats]]
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
        if not len(self.basis):
            left = data - self.continuum * weight
        else:
            columns = _columns(self.basis * weight, self.order)
            left = _without(columns, self.order, data[None])[0]
        return float(left @ left) / self.solution.likelihood.freedom()

    def on_pixels(self, values: Floats) -> Floats:
        """Values (O·Q,) of the padded pixels at the used pixels (Q,)."""
        index = self.solution.likelihood.layout.index
        return np.asarray(values, np.float64)[index][self.used]

    def directions(self, changes: Floats) -> Floats:
        """Changes (N, Q) of the flux, in units of the continuum, as directions."""
        return self._projected(changes * (self.continuum * self.weight))

    def _projected(self, rows: Floats) -> Floats:
        return _without(self.columns, self.order, rows - (rows @ self.axes.T) @ self.axes)

    def amplitudes(self, changes: Floats) -> list[Amplitude | None]:
        """The best amplitudes of changes (N, Q) of the flux, in units of the continuum; None for
        one that cannot be distinguished from the continuum and the free parameters."""
        whole = changes * (self.continuum * self.weight)
        rows = self._projected(whole)
        squares, lengths = (np.einsum("nq,nq->n", each, each) for each in (rows, whole))
        known = squares > _INDEPENDENT * lengths
        values = rows @ self.left / np.where(known, squares, 1.0)
        whole_squares = float(self.left @ self.left)
        taken = values**2 * squares
        scatter = (whole_squares - taken) / max(self.left.size - len(self.axes), 1)
        segment = np.arange(self.left.size) * _SEGMENTS // self.left.size
        begins = np.flatnonzero(np.diff(segment, prepend=-1))
        scores = np.add.reduceat(rows * (self.left - values[:, None] * rows), begins, axis=1)
        variance = np.maximum(scatter * squares, np.einsum("ns,ns->n", scores, scores))
        sigmas = np.maximum(np.sqrt(variance) / np.where(known, squares, 1.0), 1e-30)
        shares = taken / max(whole_squares, 1e-30)
        return [
            Amplitude(float(value), float(sigma), float(share)) if one else None
            for value, sigma, share, one in zip(values, sigmas, shares, known, strict=True)
        ]

    def with_effect(self, change: Floats) -> Residuals:
        """The residuals after a fit with this effect as well."""
        row = self.directions(change[None])[0]
        row = row / np.sqrt(row @ row)
        axes = np.concatenate([self.axes, row[None]])
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
    basis = np.moveaxis(np.asarray(likelihood.data.basis), 0, 1)
    basis = basis.reshape(-1, likelihood.layout.size)[:, as_slice(index)]
    columns = _columns(basis * (weight * flux), order)
    slopes = np.asarray(solution.fit.prediction.slopes)[~solution.at_bound][:, as_slice(index)]
    axes = _orthonormal(_without(columns, order, slopes * (continuum * weight)))
    blank = np.zeros(used.size)
    found = Residuals(
        solution, used, weight, flux, continuum, raw, blank, order, basis, columns, axes
    )
    clipped = np.clip(raw, -limit, limit)
    return replace(found, left=found._projected(clipped[None])[0])


def _columns(rows: Floats, order: Integers) -> list[tuple[Floats, Floats]]:
    """Rows (N, q) of the continuum of each order, and the inverses (N, N) of their products."""
    parts = [rows[:, chosen] for chosen in _orders(order)]
    return [(part, symmetric_inverse(part @ part.T, rcond=_INDEPENDENT**2)) for part in parts]


def _orders(order: Integers) -> list[Any]:
    """Indices of the pixels of each order."""
    count = int(order.max()) + 1
    return [slice(None)] if count == 1 else [order == number for number in range(count)]


def _orthonormal(rows: Floats) -> Floats:
    """An orthonormal basis (N', Q) of the space of rows (N, Q)."""
    # of long rows, their products are ten times faster to decompose
    products = rows @ rows.T
    length = np.sqrt(np.diag(products))
    known = length > 0.0
    if not known.any():
        return rows[:0]
    scale = 1.0 / length[known]
    squares, vectors = np.linalg.eigh(products[np.ix_(known, known)] * np.outer(scale, scale))
    chosen = squares > _INDEPENDENT**2 * squares[-1]
    mixed = np.zeros((int(chosen.sum()), len(rows)))
    mixed[:, known] = (vectors[:, chosen] / np.sqrt(squares[chosen])).T * scale
    return np.asarray(mixed @ rows)


def _without(columns: list[tuple[Floats, Floats]], order: Integers, rows: Floats) -> Floats:
    """Rows (N, Q) without the continuum."""
    left = rows.copy()
    for chosen, (part, inverse) in zip(_orders(order), columns, strict=True):
        left[:, chosen] -= (left[:, chosen] @ part.T @ inverse) @ part
    return left
