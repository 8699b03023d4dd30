"""The answer of an inference: estimates, flags, and the fit itself."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, MissingExtra
from ..parameters import parameter
from ..runtime.arrays import Floats, Integers
from ..runtime.notebook import html_columns
from .problem import Options

if TYPE_CHECKING:
    from astropy.table import QTable
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
        """Return the estimate of a normal distribution."""
        value, sigma = float(value), float(sigma)
        return cls(value, sigma, value - sigma, value, value + sigma)

    @classmethod
    def of(cls, draws: Floats) -> Estimate:
        """Return median, standard deviation and quantiles of draws of any shape."""
        q16, q50, q84 = (float(q) for q in np.quantile(draws, [0.158655, 0.5, 0.841345]))
        return cls(q50, float(np.std(draws)), q16, q50, q84)


@dataclass(frozen=True, eq=False)
class WindowFit:
    """The fit of one window of a star: a range of a spectrum that a model covers.

    Attributes
    ----------
    spectrum, model : str
        Names of the spectrum and of the model.
    fit : Inference
        The fit of all windows, as far as it concerns this one: its labels and parameters, pixels
        and flags.
    """

    spectrum: str
    model: str
    fit: Inference

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, without spectra, as written to JSON."""
        ends = [float(end) for end in self.fit.wavelength[[0, -1]]]
        names = {"spectrum": self.spectrum, "model": self.model, "wavelength": ends}
        return {**names, **self.fit.to_dict()}


@dataclass(frozen=True, eq=False, repr=False)
class Inference:
    """The labels of a star, with what they were inferred from.

    Attributes
    ----------
    labels : dict of Estimate
        Labels of the library: teff (K), logg (dex of cm/s²), feh (dex), ...
    nuisance : dict of Estimate
        Fitted parameters of the observation: rv, vsini and vmac (km/s), resolution (λ/Δλ),
        dilution.
    fixed : dict of float
        Fixed parameters.
    names : tuple of str
        Free parameters, in the order of `covariance`.
    covariance : (K, K)
        Covariance of the free parameters, in their units.
    chi2_red : float
        Chi-square over its expectation, with all errors; NaN if the spectrum states none.
    method : str
        Name of the method.
    seconds : float
        Wall time.
    flags : tuple of str
        Reasons to doubt the answer, in words; empty if there are none.
    n_pixels, n_masked : int
        Numbers of pixels used and masked.
    wavelength, flux, model, error : (Q,)
        The pixels used, in the frame and unit of the observation.
    weight : (Q,) or None
        Their weights: one, and less for outliers.
    jitter : float
        Fitted additional error, in units of the continuum.
    draws : (chains, draws, K) or None
        Draws of the free parameters, from `posterior`.
    diagnostics : dict
        Diagnostics of the draws: r_hat and ess of each parameter, and the fraction that diverged.
    draw_stats : dict
        Statistics of each draw (chains, draws), before the draws are widened for errors of lines:
        `lp` and `log_likelihood`, relative to the solution, diverging, n_steps, acceptance_rate,
        energy. Empty without draws.
    continuum : (Q,) or None
        Fitted continuum, in the unit of the observation; None where it is not known.
    order : (Q,) int or None
        Echelle order of each pixel used; None without orders.
    pixel_resolution : (Q,) or None
        λ/Δλ at each pixel used, where it varies along the spectrum.
    masked : (M,)
        Wavelengths (Å) of the masked pixels; empty where they are not known.
    options : Options or None
        Options of `infer`; None where they are not known.
    chi2_stated : float
        Reduced chi-square with the stated errors alone, without that of the model; NaN if the
        spectrum states none.
    rms : float
        Root mean square of the residuals, in units of the continuum; outliers count less.
    model_identity : dict
        Checksum, library, recipe and versions of the model (`model/identity.py`); empty where they
        are not known. `lines` is `stars` or `library`: whose lines a calibrated model was fitted
        with.
    windows : tuple of WindowFit
        The windows of a star in several spectra or models (`infer_joint`), whose pixels are
        one after the other in the arrays above, and numbered by `order`; empty for one spectrum.
    """

    labels: dict[str, Estimate]
    nuisance: dict[str, Estimate]
    fixed: dict[str, float]
    names: tuple[str, ...]
    covariance: Floats
    chi2_red: float
    method: str
    seconds: float
    flags: tuple[str, ...]
    n_pixels: int
    n_masked: int
    wavelength: Floats
    flux: Floats
    model: Floats
    error: Floats
    weight: Floats | None = None
    jitter: float = 0.0
    draws: Floats | None = None
    diagnostics: dict[str, Any] = field(default_factory=dict)
    continuum: Floats | None = None
    order: Integers | None = None
    pixel_resolution: Floats | None = None
    masked: Floats = field(default_factory=lambda: np.empty(0))
    options: Options | None = None
    chi2_stated: float = np.nan
    rms: float = np.nan
    model_identity: dict[str, Any] = field(default_factory=dict)
    windows: tuple[WindowFit, ...] = ()
    draw_stats: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        """Labels in one line, with the number of flags."""
        found = (f"{name} {one.value:.6g} ± {one.sigma:.2g}" for name, one in self.labels.items())
        return f"{', '.join(found)} ({self.method}, flags: {len(self.flags)})"

    def __repr__(self) -> str:
        return f"<Inference: {self}>"

    def _repr_html_(self) -> str:
        """A table of the estimates with the flags, for notebooks."""
        rows = [
            (parameter(name).heading, f"{one.value:.6g}", _uncertainty(one), "")
            for name, one in {**self.labels, **self.nuisance}.items()
        ]
        rows += [
            (parameter(name).heading, f"{value:.6g}", "", "fixed")
            for name, value in self.fixed.items()
            if name not in self.labels
        ]
        about = f"{self.method}, {self.n_pixels} pixels, {self.n_masked} masked"
        if np.isfinite(self.chi2_red):
            about += f", reduced chi-square {self.chi2_red:.3g}"
        heads = ("", "value", "± 1 sigma", "")
        return html_columns(f"Inference ({about})", heads, rows, self.flags)

    def to_table(self) -> QTable:
        """Return the numbers as an astropy table of one row, with units.

        Columns are the value of every parameter (`teff`), its standard deviation (`teff_sigma`)
        and quantiles (`teff_q16`, `teff_q84`) where it was fitted, reduced chi-square, pixels,
        method and flags. `astropy.table.vstack` joins those of several stars.

        Returns
        -------
        astropy.table.QTable
            `meta` has the identity of the model.
        """
        from .table import table_of_inference

        return table_of_inference(self)

    def save(self, path: str | Path) -> None:
        """Write everything to one .npz file, from which `Inference.load` makes an equal record.

        Examples
        --------
        >>> import blase3d as b3
        >>> model = b3.load_model("model.zip")
        >>> answer = b3.infer(b3.read_spectrum("star.npz"), model, fixed={"vsini": 0.0})
        >>> answer.save("answer.npz")
        >>> b3.Inference.load("answer.npz").labels == answer.labels
        True
        """
        from .inference_file import write_inference

        write_inference(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Inference:
        """Return an inference that `save` wrote.

        Raises
        ------
        InputError
            The file is missing, damaged, of another kind or of a later version.
        """
        from .inference_file import read_inference

        return read_inference(path)

    @property
    def posterior(self) -> dict[str, Floats]:
        """Draws (chains, draws) of each free parameter (InputError if there are none)."""
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
        """Return the draws as InferenceData of ArviZ 0.x, or as a DataTree of ArviZ 1.x.

        The groups are `posterior`, `sample_stats` and `log_likelihood` (of the whole spectrum). The
        attributes of the posterior are the version, the method and the identity of the model, and
        those of its variables their units.

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
        stats = dict(self.draw_stats)
        groups: dict[str, Any] = {"posterior": draws}
        if stats:  # files of earlier versions have none
            groups["log_likelihood"] = {"spectrum": stats.pop("log_likelihood")}
            groups["sample_stats"] = stats
        with_keywords = int(arviz.__version__.split(".")[0]) < 1
        data = arviz.from_dict(**groups) if with_keywords else arviz.from_dict(groups)
        about = {"inference_library": "blase3d", "inference_library_version": version("blase3d")}
        known = [name for name in ("library", "recipe", "checksum") if name in self.model_identity]
        identity = {f"model_{name}": self.model_identity[name] for name in known}
        data["posterior"].attrs.update({**about, "method": self.method, **identity})
        for name in self.names:
            data["posterior"][name].attrs["units"] = parameter(name).table_unit
        return data

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, without spectra, as written to JSON (NaN becomes None)."""

        def plain(estimates: dict[str, Estimate]) -> dict[str, dict[str, float | None]]:
            return {
                name: {key: finite(value) for key, value in vars(estimate).items()}
                for name, estimate in estimates.items()
            }

        return {
            "labels": plain(self.labels),
            "nuisance": plain(self.nuisance),
            "chi2_red": finite(self.chi2_red),
            "chi2_stated": finite(self.chi2_stated),
            "rms": finite(self.rms),
            "method": self.method,
            **self._sampled(),
            "seconds": round(self.seconds, 3),
            "flags": list(self.flags),
            "pixels": self.n_pixels,
            "masked": self.n_masked,
            **{key: value for key, value in self.model_identity.items() if key == "lines"},
            **({"windows": [one.to_dict() for one in self.windows]} if self.windows else {}),
        }

    def _sampled(self) -> dict[str, Any]:
        if self.draws is None:
            return {}
        return {"draws": list(self.draws.shape[:2]), **self.diagnostics}


def _uncertainty(estimate: Estimate) -> str:
    """The standard deviation as text; empty if there is none."""
    return f"{estimate.sigma:.2g}" if np.isfinite(estimate.sigma) else ""


def finite(value: float) -> float | None:
    """Return the number, or None if it is not finite: JSON has no NaN."""
    return float(value) if np.isfinite(value) else None
