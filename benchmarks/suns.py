"""How alike are spectra of the Sun, and how far do their labels differ because of it?

    python benchmarks/suns.py --model vis --json suns.json

The depth of the lines in each sharp spectrum of the Sun in `stars.ecsv` is compared with that in
the first one, without any model. In windows of 10 Å, both at a resolution of 20,000, a spectrum is
(a + b λ) (1 − s (1 − R)), with R the first one. The table has the median of s over the windows.
Scattered light makes all lines shallower by the same factor, s < 1. Labels follow without a
dilution, with the one that `infer` finds, and with 1 − s, by the model calibrated on all other
stars. That takes minutes; a model in a file that was calibrated so takes its place with
--calibrated. With --light, scattered light is added to all spectra.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter1d, percentile_filter

import blase3d as b3
from blase3d.runtime.units import FWHM_PER_SIGMA, SPEED_OF_LIGHT
from blase3d.spectra.telluric import in_bands
from stars import COMPARED, TABLE, Star, Subject, read_stars

Floats = NDArray[np.float64]
RESOLUTION, WINDOW = 20_000.0, 10.0
"""Resolution at which spectra are compared, and width (Å) of the windows."""
STEP = 1.0 / SPEED_OF_LIGHT
"""Step of ln λ: 1 km/s."""
SHIFTS = np.arange(-8.0, 8.1, 0.5) * STEP
"""Changes of ln λ that are tried in each window."""
WAYS = ("without", "fitted", "held")
"""Dilutions with which labels are inferred: zero, the best, and that of the depth of the lines."""
AROUND = 401
"""Pixels from which the continuum of a spectrum is guessed."""
EMPTY = 0.03
"""Standard deviation of the flux of the first spectrum, below which a window has too few lines."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("vis"), help="name or file")
    parser.add_argument("--calibrated", type=Path, help="a model calibrated without the Sun")
    parser.add_argument("--light", type=float, default=0.0, help="fraction of the continuum")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    suns = [star for star in read_stars(TABLE) if star.name == "Sun" and sharp(star.spectrum)]
    if args.calibrated:
        model = b3.load_model(args.calibrated)
    else:
        model = Subject(args.model, TABLE).without("Sun")
    rows = list(compared(suns, model, args.light))
    columns = ("spectrum", "windows", "depth of lines", "without dilution")
    table = Table(*columns, "fitted", "with it", "with that of the depth")
    for row in rows:
        depth, fitted = (
            f"{row[name]:.3f} ± {row[f'{name}_error']:.3f}" for name in ("depth", "dilution")
        )
        without, *others = (in_words(row[name]) for name in WAYS)
        table.add_row(row["spectrum"], str(row["windows"]), depth, without, fitted, *others)
    without, *others = (in_words(spread([row[name] for row in rows])) for name in WAYS)
    table.add_row("largest − smallest", "", "", without, "", *others)
    Console(width=150).print(table)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


def sharp(spectrum: b3.Spectrum) -> bool:
    """Whether its pixels sample lines at twice the resolution of the comparison."""
    steps = np.diff(spectrum.wavelength) / spectrum.wavelength[1:]
    return bool(np.median(steps) < 0.25 / RESOLUTION)


def compared(suns: list[Star], model: b3.Model, light: float) -> Iterator[dict[str, Any]]:
    """Depth of the lines, and labels, of each spectrum with light added to it."""
    low, high = model.wavelength[[0, -1]]
    (first,) = pieces(suns[0].spectrum, low, high)
    for sun in suns:
        spectrum = lit(sun.spectrum, light)
        depths = [d for piece in pieces(spectrum, low, high) for d in depths_of(piece, first)]
        depth = float(np.median(depths))
        without, fitted, held = (
            b3.infer(spectrum, model, fixed=sun.fixed | fixed)
            for fixed in ({"dilution": 0.0}, {}, {"dilution": 1.0 - depth})
        )
        dilution = fitted.nuisance.get("dilution")
        yield {
            "spectrum": sun.path.stem,
            "windows": len(depths),
            "depth": depth,
            "depth_error": float(1.25 * np.std(depths) / np.sqrt(len(depths))),  # of a median
            "dilution": dilution.value if dilution else 0.0,
            "dilution_error": dilution.sigma if dilution else np.nan,
            "without": labels_of(without),
            "fitted": labels_of(fitted),
            "held": labels_of(held),
        }


def lit(spectrum: b3.Spectrum, light: float) -> b3.Spectrum:
    """The spectrum with a fraction of its continuum added, as far as that is known: the flux that a
    tenth of the pixels around exceed."""
    continuum = percentile_filter(spectrum.flux, 90.0, AROUND)
    return replace(spectrum, flux=(1.0 - light) * spectrum.flux + light * continuum)


def pieces(spectrum: b3.Spectrum, low: float, high: float) -> Iterator[tuple[Floats, Floats]]:
    """ln λ in even steps and the flux at the resolution of the comparison, of every order; without
    flux where pixels are missing or a telluric band lies."""
    order = np.zeros(len(spectrum)) if spectrum.order is None else spectrum.order
    inside = spectrum.good & (spectrum.wavelength > low) & (spectrum.wavelength < high)
    for k in np.unique(order[inside]):
        here = inside & (order == k)
        wave, flux = spectrum.wavelength[here], spectrum.flux[here]
        if wave[-1] - wave[0] < WINDOW:
            continue
        even = np.arange(np.log(wave[0]), np.log(wave[-1]), STEP)
        after = np.minimum(np.searchsorted(wave, np.exp(even)), wave.size - 1)
        far = wave[after] - wave[np.maximum(after - 1, 0)] > 5.0 * np.median(np.diff(wave))
        sigma = 1.0 / RESOLUTION / FWHM_PER_SIGMA / STEP
        smooth = gaussian_filter1d(np.interp(even, np.log(wave), flux), sigma)
        yield even, np.where(far | in_bands(np.exp(even)), np.nan, smooth)


def depths_of(piece: tuple[Floats, Floats], first: tuple[Floats, Floats]) -> Iterator[float]:
    """The factor s of each window."""
    even, flux = piece
    size = WINDOW / np.exp(even.mean())
    for start in np.arange(even[0] + SHIFTS[-1], even[-1] - size - SHIFTS[-1], size):
        some = (even >= start) & (even < start + size)
        fits = [fit_of(even[some], flux[some], first, shift) for shift in SHIFTS]
        _, depth = min(fits)
        if np.isfinite(depth):
            yield depth


def fit_of(
    even: Floats, flux: Floats, first: tuple[Floats, Floats], shift: float
) -> tuple[float, float]:
    """Squares that a fit leaves, and its s; infinite where it says nothing."""
    other = np.interp(even + shift, *first, left=np.nan, right=np.nan)
    if not np.isfinite(flux + other).all() or other.std() < EMPTY:
        return np.inf, np.inf
    slope = np.linspace(-1.0, 1.0, even.size)
    terms = np.stack([np.ones_like(slope), slope, other], axis=1)
    factors, squares, *_ = np.linalg.lstsq(terms, flux, rcond=None)
    return float(squares.sum()), float(factors[2] / (factors[0] + factors[2]))


def labels_of(found: b3.Inference) -> dict[str, float]:
    """The labels that are compared."""
    return {name: found.labels[name].value for name in COMPARED if name in found.labels}


def spread(labels: list[dict[str, float]]) -> dict[str, float]:
    """Largest minus smallest of each label."""
    return {name: float(np.ptp([one[name] for one in labels])) for name in labels[0]}


def in_words(labels: dict[str, float]) -> str:
    """Labels with their decimals."""
    decimals = {name: count + 1 if count else 0 for name, count in COMPARED.items()}
    return " / ".join(f"{value:.{decimals[name]}f}" for name, value in labels.items())


if __name__ == "__main__":
    main()
