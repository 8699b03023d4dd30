"""Validation of a model: its errors at the nodes and, separately, at held-out spectra.

Flux errors are the rms over pixels of model minus library, in units of the continuum. Label errors
are those of labels inferred from the held-out spectra, with the labels as the only unknowns.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..errors import ArchiveError, InputError, LabelError
from ..inference import Method, infer
from ..inference.result import Estimate
from ..libraries.grid import Grid, same_labels
from ..model.model import Model, check_overlap
from ..runtime.arrays import DEFAULT_FLOATING_POINT, Floats
from ..runtime.progress import Progress, silent
from ..runtime.seed import check_seed
from ..spectra.continuum import normalise
from ..spectra.spectrum import Spectrum, cut

_TIMED = 11
"""Number of evaluations of the model that are timed; their median counts."""
_INTERVALS = {"68": 1.0, "95": 1.96}
"""Intervals whose coverage is measured: per cent, and width in units of the 68 % interval."""


@dataclass(frozen=True)
class NodeErrors:
    """rms flux errors over the n nodes, with and without the residual of the model."""

    flux_rms_median: float
    flux_rms_worst: float
    lines_only_rms_median: float
    lines_only_rms_worst: float
    n: int


@dataclass(frozen=True)
class LabelErrors:
    """Errors (inferred minus true) of one label over the held-out spectra, in its unit.

    They are the mean and the median of the absolute errors, and the standard deviation.
    """

    mean_abs: float
    median_abs: float
    std: float


@dataclass(frozen=True)
class HoldoutErrors:
    """rms flux errors over the n held-out spectra, and errors of their inferred labels."""

    flux_rms_median: float
    flux_rms_p95: float
    lines_only_rms_median: float
    labels: dict[str, LabelErrors]
    n: int


@dataclass(frozen=True)
class Validation:
    """The errors, size and speed of a model.

    Attributes
    ----------
    nodes : NodeErrors
        Errors at the nodes of the library.
    holdout : HoldoutErrors or None
        Errors at the held-out spectra, if any were given.
    lines : int
        Number of lines.
    bytes : int
        Size of the file, or of the arrays if the path is unknown.
    seconds_per_spectrum : float
        Median wall time of `Model.flux` at new labels over the whole range, compiled.
    seconds_per_inference : float or None
        Median wall time of an inference, compiled.
    coverage : dict or None
        With noise: for each label, the fraction of the held-out spectra whose true value lies in
        the 68 % and 95 % intervals. A label at a bound has no interval and counts as missed.
    n_outside, n_at_nodes : int
        Held-out spectra that were left out: outside the labels of the model, and at its nodes.
    """

    nodes: NodeErrors
    holdout: HoldoutErrors | None
    lines: int
    bytes: int
    seconds_per_spectrum: float
    seconds_per_inference: float | None
    coverage: dict[str, dict[str, float]] | None
    n_outside: int
    n_at_nodes: int

    def to_dict(self) -> dict[str, Any]:
        """The numbers, for JSON; `coverage` only with noise."""
        numbers = asdict(self)
        for name in ("n_outside", "n_at_nodes"):
            del numbers[name]
        if self.coverage is None:
            del numbers["coverage"]
        return numbers


@DEFAULT_FLOATING_POINT
def validate(
    model: Model,
    holdout: Grid | None,
    *,
    nodes: Grid | None = None,
    snr: float | None = None,
    method: Method = "gradient",
    seed: int = 0,
    path: str | Path | None = None,
    progress: Progress = silent,
) -> Validation:
    """Measure the errors of a model at its nodes and at held-out spectra.

    Parameters
    ----------
    model : Model
        The model.
    holdout : Grid or None
        Spectra that the model was not made from. Those outside its labels, or at its nodes, are
        left out. They are divided by the continuum of their file if there is one, and otherwise by
        one fitted as in the recipe of the model.
    nodes : Grid, optional
        The library, to compute the errors at the nodes again; by default those stored by `build`
        are returned.
    snr : float, optional
        Signal-to-noise ratio per pixel at the continuum, of noise added before the inference; None
        for noise-free spectra without stated errors.
    method : str
        Inference method.
    seed : int
        Seed of the noise, of the labels at which the model is timed, and of the method.
    path : path, optional
        File of the model, for its size.
    progress : callable
        Progress callback.

    Raises
    ------
    InputError
        The seed or the signal-to-noise ratio is impossible.
    ArchiveError
        The model stores no errors at nodes, and no library was given.
    LabelError
        No held-out spectrum can be used, or it has other labels than the model.
    """
    check_seed(seed)
    if snr is not None and not 0.0 < snr < np.inf:
        raise InputError(
            f"got a signal-to-noise ratio of {snr:g}, expected a positive number; correct it."
        )
    model = model.uncalibrated()  # spectra of the library have its lines
    of_nodes = _stored_nodes(model) if nodes is None else _nodes(model, nodes, progress)
    chosen = HeldOutChoice((), 0, 0)
    of_holdout = seconds = coverage = None
    if holdout is not None:
        chosen = choose_held_out(model, holdout, _nodes_of(model))
        stars = list(_inferred(model, holdout, chosen.index, snr, method, seed, progress))
        of_holdout = _holdout_errors(stars, model.label_names)
        seconds = float(np.median([star.seconds for star in stars]))
        coverage = None if snr is None else _coverage(stars, model.label_names)
    return Validation(
        nodes=of_nodes,
        holdout=of_holdout,
        lines=int(model.reference.size),
        bytes=_array_bytes(model) if path is None else _file_bytes(Path(path)),
        seconds_per_spectrum=_seconds_per_spectrum(model, seed),
        seconds_per_inference=seconds,
        coverage=coverage,
        n_outside=chosen.n_outside,
        n_at_nodes=chosen.n_at_nodes,
    )


def _stored_nodes(model: Model) -> NodeErrors:
    if not {"node_rms", "node_lines_rms"} <= set(model.meta):
        raise ArchiveError(
            "the model does not state its errors at the nodes; build it again, or give the library."
        )
    return _node_errors(model.meta["node_rms"], model.meta["node_lines_rms"])


def _nodes(model: Model, grid: Grid, progress: Progress) -> NodeErrors:
    """Errors at the nodes of the library, normalised as for cloning."""
    rows = []
    for i in range(len(grid)):
        spectrum = _inside(model, normalise(grid[i], model.recipe, grid.labels_of(i).get("teff")))
        rows.append(_flux_rms(model, spectrum, grid.labels_of(i)))
        progress("nodes", i + 1, len(grid))
    flux, lines = zip(*rows, strict=True)
    return _node_errors(flux, lines)


def _node_errors(flux: Any, lines: Any) -> NodeErrors:
    return NodeErrors(
        flux_rms_median=float(np.median(flux)),
        flux_rms_worst=float(np.max(flux)),
        lines_only_rms_median=float(np.median(lines)),
        lines_only_rms_worst=float(np.max(lines)),
        n=len(flux),
    )


@dataclass(frozen=True)
class HeldOutChoice:
    """Indices of the held-out spectra to use, and numbers of those left out."""

    index: tuple[int, ...]
    n_outside: int
    n_at_nodes: int


def _nodes_of(model: Model) -> Floats:
    """Labels (N, L) of the nodes of a model; empty if it does not store them."""
    nodes = np.asarray(model.meta.get("nodes", []), np.float64)
    return nodes.reshape(-1, len(model.label_names))


def choose_held_out(model: Model, grid: Grid, nodes: Floats) -> HeldOutChoice:
    """Choose the spectra within the labels of a model that are not at its nodes (N, L).

    Raises
    ------
    LabelError
        The grid has other labels, or none of its spectra can be used.
    """
    names = model.label_names
    if set(grid.label_names) != set(names):
        raise LabelError(
            f"got held-out spectra of the labels {', '.join(grid.label_names)}, expected "
            f"{', '.join(names)}; use spectra of the model's labels."
        )
    labels = grid.labels[:, [grid.label_names.index(name) for name in names]]
    low, high = np.array(list(model.bounds.values())).T
    inside = ((labels >= low) & (labels <= high)).all(axis=1)
    span = np.where(high > low, high - low, 1.0)
    at_node = np.array([same_labels(nodes, row, span).any() for row in labels])
    index = tuple(np.flatnonzero(inside & ~at_node).tolist())
    if not index:
        raise LabelError(
            f"none of the {len(grid)} held-out spectra can be used: {int((~inside).sum())} lie "
            f"outside the labels of the model and {int((inside & at_node).sum())} at its nodes; "
            "use others, or a model of a wider library."
        )
    return HeldOutChoice(index, int((~inside).sum()), int((inside & at_node).sum()))


@dataclass(frozen=True)
class _InferredStar:
    """One held-out spectrum: true labels, flux errors and inferred labels."""

    truth: dict[str, float]
    flux_rms: float
    lines_rms: float
    labels: dict[str, Estimate]
    seconds: float


def _inferred(
    model: Model,
    grid: Grid,
    index: tuple[int, ...],
    snr: float | None,
    method: Method,
    seed: int,
    progress: Progress,
) -> Iterator[_InferredStar]:
    fixed = {"rv": 0.0, "vsini": 0.0, "resolution": np.inf}
    recipe = model.recipe.replace(continuum="library")
    rng = np.random.default_rng(seed)
    for done, i in enumerate(index):
        truth = grid.labels_of(i)
        spectrum = _inside(model, normalise(grid[i], recipe, truth.get("teff")))
        errors = _flux_rms(model, spectrum, truth)
        observed = _observed(spectrum, snr, rng)
        for _ in range(2 if done == 0 else 1):  # the first run compiles
            answer = infer(
                observed, model, fixed=fixed, continuum_degree=-1, method=method, seed=seed
            )
        yield _InferredStar(truth, *errors, answer.labels, answer.seconds)
        progress("held-out", done + 1, len(index))


def _inside(model: Model, spectrum: Spectrum) -> Spectrum:
    return cut(spectrum, check_overlap(model, spectrum.wavelength))


def _observed(spectrum: Spectrum, snr: float | None, rng: np.random.Generator) -> Spectrum:
    """The spectrum without stated errors, or with noise and errors of 1/snr of the continuum."""
    if snr is None:
        return replace(spectrum, error=None)
    noise = rng.normal(0.0, 1.0 / snr, len(spectrum))
    return replace(spectrum, flux=spectrum.flux + noise, error=np.full(len(spectrum), 1.0 / snr))


def _flux_rms(model: Model, spectrum: Spectrum, labels: dict[str, float]) -> tuple[float, float]:
    """rms over pixels of model minus spectrum, with and without the residual of the model."""
    native = model.native_pixels(spectrum.wavelength)
    wavelength = spectrum.wavelength if native is None else None
    pixels = slice(None) if native is None else native

    def rms(residual: bool) -> float:
        flux = model.flux(wavelength=wavelength, residual=residual, integrate=False, **labels)
        difference = np.asarray(flux, np.float64)[pixels] - spectrum.flux
        return float(np.sqrt(np.mean(difference[spectrum.good] ** 2)))

    return rms(True), rms(False)


def _holdout_errors(stars: list[_InferredStar], names: tuple[str, ...]) -> HoldoutErrors:
    flux = [star.flux_rms for star in stars]
    return HoldoutErrors(
        flux_rms_median=float(np.median(flux)),
        flux_rms_p95=float(np.percentile(flux, 95)),
        lines_only_rms_median=float(np.median([star.lines_rms for star in stars])),
        labels={name: _label_errors(stars, name) for name in names},
        n=len(stars),
    )


def _label_errors(stars: list[_InferredStar], name: str) -> LabelErrors:
    error = np.array([star.labels[name].value - star.truth[name] for star in stars])
    size = np.abs(error)
    return LabelErrors(float(size.mean()), float(np.median(size)), float(error.std()))


def _coverage(stars: list[_InferredStar], names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    def covered(name: str, width: float) -> float:
        hits = [_in_interval(star.truth[name], star.labels[name], width) for star in stars]
        return float(np.mean(hits))

    return {
        name: {level: covered(name, width) for level, width in _INTERVALS.items()} for name in names
    }


def _in_interval(truth: float, found: Estimate, width: float) -> bool:
    low = found.q50 - width * (found.q50 - found.q16)
    high = found.q50 + width * (found.q84 - found.q50)
    return low <= truth <= high


def _seconds_per_spectrum(model: Model, seed: int) -> float:
    rng = np.random.default_rng(seed)
    low, high = np.array(list(model.bounds.values())).T
    seconds = []
    for labels in rng.uniform(low, high, (_TIMED + 1, low.size)):
        named = dict(zip(model.label_names, np.clip(labels, low, high).tolist(), strict=True))
        start = time.perf_counter()
        model.flux(**named).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))


def _array_bytes(model: Model) -> int:
    arrays = jax.tree_util.tree_leaves(model.forward)
    return sum(int(array.nbytes) for array in (*arrays, model.wavelength, model.reference))


def _file_bytes(path: Path) -> int:
    if not path.exists():
        raise ArchiveError(f"there is no model at {path}; check the name.")
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
