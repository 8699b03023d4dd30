"""A spectrum of a star beside its prediction: residuals, errors, and what moves the prediction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import nnls

from ...inference.likelihood.forward import predict
from ...inference.likelihood.likelihood import Likelihood
from ...model.model import Model
from ...model.model_windows import cut_pixels
from ...runtime.arrays import Bools, Floats, Integers
from ...runtime.units import SIGMA_PER_MAD, SPEED_OF_LIGHT
from ...spectra.broaden import broaden
from .changes import in_angstroms, with_changes

ACTIVE = (3934.78, 3969.59, 4862.69, 5891.58, 5897.56, 6564.61, 8500.36, 8544.44, 8664.52)
"""Vacuum wavelengths (Å) of lines whose cores form in chromospheres, far from LTE: Ca II H and K,
Hβ, Na D, Hα, the Ca II triplet."""
_CORE = 40.0
"""Half-width of their cores, km/s: no weight."""
_TAILS = 4.0
"""Degrees of freedom of Student's t, whose weights outliers get: lines missing in the library."""
_BINS = np.array([0.0, 0.03, 0.08, 0.2, 0.4, 0.7, 1.0])
"""Edges of the absorption by which the misfit is estimated."""
_FEWEST = 30
"""Pixels of a bin, at least."""
_LEAST_ERROR = 1e-3
"""Least error of a pixel, in units of the continuum."""
_LARGEST_STEP = {"rv": 5.0, "vsini": 4.0, "vmac": 4.0, "resolution": 2e4}
"""Largest change of a parameter in one step of a fit (km/s) ..."""
_SHARE = 0.25
"""... and that of a label, relative to its range."""
_KERNEL = 2048
"""Pixels of the broadening kernel, in the model's steps in ln λ."""


_flux = jax.jit(predict, static_argnames="form")


@dataclass(frozen=True, eq=False)
class Observation:
    """A spectrum with a prediction for it. Q pixels are used.

    Attributes
    ----------
    star : str
        Name of the star: spectra of one star share it.
    likelihood : Likelihood
        The data and the forward model, cut to each other. Its errors are not used.
    lines : (C',)
        Index, among the lines of the whole model, of each line of the cut model.
    theta : (K,)
        Free parameters.
    """

    star: str
    likelihood: Likelihood
    lines: Integers
    theta: Floats

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the free parameters."""
        return self.likelihood.problem.names

    @property
    def model(self) -> Model:
        """The model, cut to the spectrum."""
        return self.likelihood.problem.model

    @cached_property
    def used(self) -> Bools:
        """(P,) Whether a pixel is used."""
        return self.likelihood.problem.spectrum.good

    @cached_property
    def positions(self) -> Integers:
        """Index (Q,) of the pixels in padded arrays."""
        return self.likelihood.layout.index[self.used]

    @cached_property
    def wavelength(self) -> Floats:
        """Wavelengths (Q,) of the pixels, Å."""
        return self.likelihood.problem.spectrum.wavelength[self.used]

    @cached_property
    def flux(self) -> Floats:
        """Observed flux (Q,), in units of the computation."""
        return self.likelihood.problem.spectrum.flux[self.used] / self.likelihood.unit

    @cached_property
    def basis(self) -> Floats:
        """Functions (Q, B) whose sum is the continuum."""
        functions = np.asarray(self.likelihood.data.basis, np.float64)  # (O, D, L)
        orders, terms, length = functions.shape
        order, at = self.positions // length, self.positions % length
        basis = np.zeros((self.positions.size, orders, terms))
        basis[np.arange(len(basis)), order] = functions[order, :, at]
        return basis.reshape(len(basis), -1)

    @cached_property
    def noise(self) -> Floats:
        """Errors (Q,) of the pixels by noise alone, in units of the computation: those stated, or
        from differences of neighbours."""
        spectrum = self.likelihood.problem.spectrum
        if spectrum.error is not None:
            return spectrum.error[self.used] / self.likelihood.unit
        bend = np.diff(self.flux, 2) / np.sqrt(6.0)
        level = SIGMA_PER_MAD * float(np.median(np.abs(bend))) if bend.size else 0.0
        return np.full(self.flux.size, max(level, 1e-6))

    def parameters(self) -> dict[str, float]:
        """Every parameter by name."""
        return self.likelihood.problem.parameters(self.theta)

    def labels(self) -> dict[str, float]:
        """The labels by name."""
        values = self.parameters()
        return {name: values[name] for name in self.model.label_names}

    def at(self, theta: Floats) -> Observation:
        """The observation with other parameters, within their bounds."""
        problem = self.likelihood.problem
        return replace(self, theta=np.clip(theta, problem.lower, problem.upper))

    def depths(self) -> Floats:
        """Central depths (C',) of the lines."""
        return self.model.lines(**self.labels()).central_depth(self.model.recipe.composition)

    def wings(self, distance: float) -> Floats:
        """Depths (C',) of the lines at a distance (Å) from their centres."""
        lines = self.model.lines(**self.labels())
        composition = self.model.recipe.composition
        return 1.0 - lines.alone(lines.center[:, None] + distance, composition)[:, 0]

    def model_with(self, changes: Floats) -> Model:
        """The cut model with lines of the whole model changed by (C, 3)."""
        return with_changes(self.model, in_angstroms(changes, self.model.reference, self.lines))

    def predicted(self, changes: Floats) -> Predicted:
        """The prediction with lines of the whole model changed by (C, 3)."""
        model = self.model_with(changes)
        problem = replace(self.likelihood.problem, model=model)
        found = replace(self.likelihood, problem=problem).predicted(self.theta)
        flux, slopes = (
            np.asarray(a, np.float64)[..., self.positions] for a in (found.flux, found.slopes)
        )
        return Predicted(self, model, flux, slopes)

    def flux_with(self, changes: Floats) -> Floats:
        """The flux (Q,), in units of the continuum, with lines of the whole model changed by
        (C, 3)."""
        problem = replace(self.likelihood.problem, model=self.model_with(changes))
        likelihood = replace(self.likelihood, problem=problem)
        found = _flux(*likelihood.arguments(self.theta), likelihood.form)
        return np.asarray(found, np.float64)[self.positions]

    def on(self, model: Model) -> Observation:
        """The observation beside another model on the same pixels, with other lines."""
        first = int(np.searchsorted(model.wavelength, self.model.wavelength[0]))
        section = cut_pixels(model, slice(first, first + self.model.wavelength.size))
        problem = replace(self.likelihood.problem, model=section)
        likelihood = replace(self.likelihood, problem=problem)
        return replace(self, likelihood=likelihood, lines=line_numbers(model, section))

    def kernel(self) -> tuple[Floats, Floats]:
        """Velocities (km/s), increasing, and the broadening of a line without width at them."""
        values, forward = self.parameters(), self.model.forward
        pulse = jnp.ones(_KERNEL).at[_KERNEL // 2].set(0.0)
        spread = broaden(
            pulse,
            forward.velocity_step,
            values.get("vsini", 0.0),
            None if not np.isfinite(values.get("resolution", np.inf)) else values["resolution"],
            vmac=values.get("vmac", 0.0),
            limb_darkening=self.likelihood.problem.options.limb_darkening,
        )
        velocity = (np.arange(_KERNEL, dtype=np.float64) - _KERNEL // 2) * forward.velocity_step
        return velocity, 1.0 - np.asarray(spread, np.float64)

    def rest_wavelength(self) -> Floats:
        """Wavelengths (Q,) in the frame of the star, Å."""
        return self.wavelength / (1.0 + self.parameters().get("rv", 0.0) / SPEED_OF_LIGHT)


@dataclass(frozen=True, eq=False)
class Predicted:
    """A prediction of an observation.

    Attributes
    ----------
    observation : Observation
        The observation.
    model : Model
        The cut model with its lines changed.
    flux, slopes : (Q,), (K, Q)
        The flux in units of the continuum, and its derivatives by the free parameters.
    """

    observation: Observation
    model: Model
    flux: Floats
    slopes: Floats

    def continuum(self, weight: Floats) -> Floats:
        """Best coefficients (B,) of the continuum with weights (Q,)."""
        columns = self.observation.basis * self.flux[:, None]
        normal = columns.T @ (columns * weight[:, None])
        normal += 1e-9 * np.trace(normal) / max(len(normal), 1) * np.eye(len(normal))
        found = np.linalg.solve(normal, columns.T @ (weight * self.observation.flux))
        return np.asarray(found, np.float64)

    def level(self, coefficients: Floats) -> Floats:
        """The continuum (Q,) of coefficients (B,); one for a normalised spectrum."""
        basis = self.observation.basis
        return basis @ coefficients if basis.shape[1] else np.ones(len(basis))


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of pixels.

    Attributes
    ----------
    weight : (Q,)
        Inverse variances.
    tails : (Q,)
        Factors of outliers in them, above zero.
    floor, slope : float
        Misfit where nothing absorbs, and its increase with the absorption.
    """

    weight: Floats
    tails: Floats
    floor: float
    slope: float

    @property
    def without_tails(self) -> Floats:
        """Inverse variances (Q,) in which outliers count like other pixels."""
        return self.weight / self.tails


def weights_of(prediction: Predicted, repeated: int, width: float) -> Weights:
    """Return the weights of the pixels at a prediction.

    The variance of a pixel is that of noise and of misfit, a² + b² (1 − F)², with a and b from the
    residuals. Misfit is the same for all pixels of a line, of a width (Å), and for all spectra of a
    star, of which there are `repeated`: as many times is its variance counted. Outliers get the
    weights of Student's t, and active cores none.
    """
    observation = prediction.observation
    start = 1.0 / observation.noise**2
    level = np.abs(prediction.level(_robust_continuum(prediction, start)))
    level = np.maximum(level, 1e-3 * np.median(level))
    left = observation.flux / level - prediction.flux
    noise = np.maximum(observation.noise / level, _LEAST_ERROR)
    absorbed = np.clip(1.0 - prediction.flux, 0.0, 1.0)
    floor, slope = _misfit(left, noise, absorbed)
    misfit = floor**2 + (slope * absorbed) ** 2
    distance = left**2 / (noise**2 + misfit)
    step = np.median(np.diff(np.sort(observation.wavelength)))
    count = repeated * max(width / step, 1.0)
    robust = (_TAILS + 1.0) / (_TAILS + distance)
    weight = robust / (noise**2 + count * misfit) / level**2
    weight = weight * ~_in_active_core(observation.rest_wavelength())
    return Weights(weight, robust, floor, slope)


def _robust_continuum(prediction: Predicted, weight: Floats) -> Floats:
    """Coefficients of the continuum, with less weight for outliers of a first fit."""
    observation = prediction.observation
    found = prediction.continuum(weight)
    left = observation.flux - prediction.level(found) * prediction.flux
    scale = max(float(np.median(left**2)) * SIGMA_PER_MAD**2, 1e-12)
    return prediction.continuum(weight / (1.0 + left**2 / (_TAILS * scale)))


def _misfit(left: Floats, noise: Floats, absorbed: Floats) -> tuple[float, float]:
    """The a and b of the misfit, from residuals, noise and absorption (Q,)."""
    group = np.digitize(absorbed, _BINS[1:-1])
    rows, excess = [], []
    for k in range(len(_BINS) - 1):
        chosen = group == k
        if chosen.sum() >= _FEWEST:
            scatter = (SIGMA_PER_MAD * float(np.median(np.abs(left[chosen])))) ** 2
            size = 1.0 / scatter  # equal relative errors
            rows.append([size, size * float(np.median(absorbed[chosen] ** 2))])
            excess.append(size * max(scatter - float(np.median(noise[chosen] ** 2)), 0.0))
    if not rows:
        return 0.0, 0.0
    found, _ = nnls(np.array(rows), np.array(excess))
    return float(np.sqrt(found[0])), float(np.sqrt(found[1]))


def _in_active_core(wavelength: Floats) -> Bools:
    velocity = np.abs(wavelength[:, None] / np.array(ACTIVE) - 1.0) * SPEED_OF_LIGHT
    return (velocity < _CORE).any(axis=1)


def line_numbers(model: Model, section: Model) -> Integers:
    """Return the index, among the lines of a model, of each line of its cut `section`."""
    known: dict[bytes, int] = {}
    for number, key in enumerate(_keys(model)):
        known.setdefault(key, number)
    return np.array([known[key] for key in _keys(section)], np.int64)


def _keys(model: Model) -> list[bytes]:
    lines = model.line_grid
    both = np.column_stack([lines.reference, lines.base.astype(np.float64)])
    return [row.tobytes() for row in both]


def of_same_labels(observations: Sequence[Observation]) -> tuple[Observation, ...]:
    """Return the observations with the mean labels of each star: changes of labels are shared by
    its spectra, and unknown labels were fitted to each by itself."""
    labels: dict[str, list[Floats]] = defaultdict(list)
    for one in observations:
        labels[one.star].append(np.array(list(one.labels().values())))
    names = observations[0].model.label_names
    means = {
        star: dict(zip(names, np.mean(rows, axis=0), strict=True)) for star, rows in labels.items()
    }

    def theta(one: Observation) -> Floats:
        own = zip(one.names, one.theta, strict=True)
        return np.array([means[one.star].get(name, value) for name, value in own])

    return tuple(one.at(theta(one)) for one in observations)


def fitted_alone(
    observation: Observation, changes: Floats, weight: Floats, start: Predicted, steps: int = 4
) -> tuple[Observation, Floats]:
    """Return the observation at its best parameters with lines changed by (C, 3), and its residuals
    (Q,), for weights (Q,).

    The derivatives are those of `start`, a prediction nearby: only the flux is computed again.
    """
    scale = np.sqrt(weight)
    level = start.level(start.continuum(weight))
    moved = start.slopes.T * level[:, None]
    columns = np.column_stack([moved, observation.basis * start.flux[:, None]])
    largest = _largest_steps(observation)

    def left(at: Observation) -> Floats:
        found = replace(start, observation=at, flux=at.flux_with(changes))
        return at.flux - found.level(found.continuum(weight)) * found.flux

    residual = left(observation)
    for _ in range(steps):
        step = damped_step(columns * scale[:, None], residual * scale)[: largest.size]
        observation = observation.at(observation.theta + np.clip(step, -largest, largest))
        residual = left(observation)
    return observation, residual


def _largest_steps(observation: Observation) -> Floats:
    """Largest change (K,) of each parameter in one step."""
    problem = observation.likelihood.problem
    ranges = _SHARE * (problem.upper - problem.lower)
    return np.array(
        [
            _LARGEST_STEP.get(name, size)
            for name, size in zip(observation.names, ranges, strict=True)
        ]
    )


def damped_step(columns: Floats, left: Floats) -> Floats:
    """Return the least-squares step for columns (Q, K), stable where columns nearly vanish."""
    size = np.maximum(np.sqrt(np.sum(columns**2, axis=0)), 1e-12)
    scaled = columns / size
    normal = scaled.T @ scaled + 1e-6 * np.eye(len(size))
    return np.linalg.solve(normal, scaled.T @ left) / size
