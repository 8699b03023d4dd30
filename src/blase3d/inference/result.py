"""What an inference returns."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, MissingExtra
from .problem import Options

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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

    @classmethod
    def of(cls, draws: NDArray[np.float64]) -> Estimate:
        """Median, standard deviation and quantiles of draws of any shape."""
        q16, q50, q84 = (float(q) for q in np.quantile(draws, [0.158655, 0.5, 0.841345]))
        return cls(q50, float(np.std(draws)), q16, q50, q84)


@dataclass(frozen=True, eq=False, repr=False)
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
        gradient, gp or posterior.
    seconds : float
        Wall time.
    flags : tuple of str
        What speaks against the answer, in words; empty if nothing does.
    n_pixels, n_masked : int
        Pixels used and pixels ignored.
    wavelength, flux, model, error : (Q,)
        The pixels used, in the frame and units of the observation.
    weight : (Q,)
        Their weights: one, and less for outliers.
    jitter : float
        The additional error that was found, in units of the continuum.
    draws : (chains, draws, K) or None
        Of the free parameters, from `posterior`.
    diagnostics : dict
        Of these: r_hat and ess of every parameter, and the share that diverged.
    continuum : (Q,) or None
        The fitted continuum, in the unit of `flux`; None where it is not known.
    order : (Q,) int or None
        The echelle order of each pixel used; None without orders.
    pixel_resolution : (Q,) or None
        λ/Δλ at each pixel used, at the answer, if it varies along the spectrum.
    masked : (M,)
        Wavelengths (Å) of the pixels that were masked: the `n_masked` of them, if known.
    options : Options or None
        The options of `infer`; None where they are not known.
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
    weight: NDArray[np.float64] | None = None
    jitter: float = 0.0
    draws: NDArray[np.float64] | None = None
    diagnostics: dict[str, Any] = field(default_factory=dict)
    continuum: NDArray[np.float64] | None = None
    order: NDArray[np.int64] | None = None
    pixel_resolution: NDArray[np.float64] | None = None
    masked: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    options: Options | None = None

    def __str__(self) -> str:
        """The labels in one line, with the number of flags."""
        found = (f"{name} {one.value:.6g} ± {one.sigma:.2g}" for name, one in self.labels.items())
        return f"{', '.join(found)} ({self.method}, flags: {len(self.flags)})"

    def __repr__(self) -> str:
        return f"<Inference: {self}>"

    @property
    def posterior(self) -> dict[str, NDArray[np.float64]]:
        """Draws (chains, draws) of every free parameter (InputError if there are none)."""
        if self.draws is None:
            raise InputError(
                f"the method {self.method} makes no draws, expected posterior; infer with that."
            )
        return {name: self.draws[..., k] for k, name in enumerate(self.names)}

    def plot(self, window: tuple[float, float] | None = None) -> Figure:
        """Draw spectrum, model and residual in units of the continuum, order by order.

        Parameters
        ----------
        window : (low, high), optional
            Range of wavelengths (Å); all pixels if None.

        Returns
        -------
        matplotlib.figure.Figure
            `figure.savefig("star.pdf")` writes it.

        Raises
        ------
        InputError
            No pixel lies in the window.
        """
        from .plots import plot_inference

        return plot_inference(self, window)

    def to_arviz(self) -> Any:
        """The draws as ArviZ has them: InferenceData of ArviZ 0.x, a DataTree of 1.x.

        Raises
        ------
        InputError
            There are no draws.
        MissingExtra
            ArviZ is not installed.
        """
        draws = self.posterior
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it announces its own next version
                import arviz
        except ImportError:
            raise MissingExtra("arviz", "posterior", "ArviZ output") from None
        if int(arviz.__version__.split(".")[0]) < 1:
            return arviz.from_dict(posterior=draws)
        return arviz.from_dict({"posterior": draws})

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
            **self._sampled(),
            "seconds": round(self.seconds, 3),
            "flags": list(self.flags),
            "pixels": self.n_pixels,
            "masked": self.n_masked,
        }

    def _sampled(self) -> dict[str, Any]:
        if self.draws is None:
            return {}
        return {"draws": list(self.draws.shape[:2]), **self.diagnostics}


def finite(value: float) -> float | None:
    """The number, or None where JSON has none for it."""
    return float(value) if np.isfinite(value) else None
