"""How often is a fault flagged, and how often is a good star?

    python benchmarks/flags.py --model opt.zip --stars 100 --json flags.json

Stars are simulated from a model, at labels between its nodes. Good ones have S/N 30 to 300, a
resolution of 5,000, 20,000, 50,000 or 100,000 and v sin i of 0 to 50 km/s; those with a fault S/N
100, 20,000 or 50,000, and 0 to 10 km/s. The table has the fraction of stars of each fault that are
flagged by the flag of that fault, and by any severe flag, and of those with a label wrong by more
than 3 sigma and no flag that is a doubt; below it are the good stars with such a flag (false
alarms), and the time of the checks over that of the rest of the inference.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import blase3d as b3
from blase3d.inference import single
from blase3d.runtime.units import SPEED_OF_LIGHT, vacuum_to_air
from blase3d.views.flag_advice import advice

Floats = NDArray[np.float64]
SAMPLING = 3.0
"""Pixels per resolution element."""


@dataclass(frozen=True)
class Star:
    """A star: its labels and observation, and the random numbers that it is made with."""

    model: b3.Model
    labels: dict[str, float]
    rv: float
    vsini: float
    resolution: float
    snr: float
    rng: np.random.Generator

    @property
    def wavelength(self) -> Floats:
        """Pixels (Q,), Å."""
        low, high = self.model.wavelength[[0, -1]] * [1.002, 0.998]
        return np.exp(np.arange(np.log(low), np.log(high), 1.0 / self.resolution / SAMPLING))

    def flux(self, **changes: float) -> Floats:
        """Flux (Q,), with other labels or velocities."""
        values = {**self.labels, "rv": self.rv, "vsini": self.vsini or None, **changes}
        given = {"resolution": self.resolution, "wavelength": self.wavelength}
        return np.asarray(self.model.flux(**{**given, **values}), np.float64)

    def observed(self, flux: Floats) -> b3.Spectrum:
        """The spectrum (Q,) of this flux, with noise."""
        error = np.full(flux.size, 1.0 / self.snr)
        noise = self.rng.normal(size=flux.size)
        return b3.Spectrum(self.wavelength, flux + error * noise, error, resolution=self.resolution)


def random_star(model: b3.Model, seed: int, good: bool) -> Star:
    """Return a star at random labels, not near the edges."""
    rng = np.random.default_rng(seed)
    labels = {
        name: float(low + (high - low) * rng.uniform(0.15, 0.85))
        for name, (low, high) in model.bounds.items()
    }
    snr = float(np.exp(rng.uniform(np.log(30.0), np.log(300.0)))) if good else 100.0
    vsini = float(rng.uniform(0.0, 50.0 if good else 10.0))
    resolution = float(rng.choice([5e3, 2e4, 5e4, 1e5] if good else [2e4, 5e4]))
    return Star(model, labels, float(rng.uniform(-50.0, 50.0)), vsini, resolution, snr, rng)


def companion(star: Star) -> b3.Spectrum:
    """30 % of the light from the coolest star, 60 km/s apart."""
    cool = {"teff": star.model.bounds["teff"][0]} if "teff" in star.labels else {}
    return star.observed(0.7 * star.flux() + 0.3 * star.flux(rv=star.rv + 60.0, **cool))


def sky(star: Star) -> b3.Spectrum:
    """5 % of the light subtracted as sky."""
    return star.observed((star.flux() - 0.05) / 0.95)


def veiled(star: Star) -> b3.Spectrum:
    """20 % of the light without lines."""
    return star.observed(0.8 * star.flux() + 0.2)


def too_low(star: Star) -> b3.Spectrum:
    """The resolution stated twice too low, of a slow rotator."""
    slow = replace(star, vsini=min(star.vsini, 2.0))
    return replace(slow.observed(slow.flux()), resolution=star.resolution / 2.0)


def padded(star: Star) -> b3.Spectrum:
    """Zeros at the ends, a gap of −999, and dead pixels."""
    spectrum = star.observed(star.flux())
    flux = spectrum.flux.copy()
    count = flux.size
    flux[: count // 20] = flux[-count // 30 :] = 0.0
    flux[count // 2 : count // 2 + 20] = -999.0
    flux[star.rng.integers(0, count, 10)] = 0.0
    return replace(spectrum, flux=flux)


def large_errors(star: Star) -> b3.Spectrum:
    """Errors stated three times too large."""
    spectrum = star.observed(star.flux())
    return replace(spectrum, error=3.0 * spectrum.error)


def small_errors(star: Star) -> b3.Spectrum:
    """Errors stated three times too small."""
    spectrum = star.observed(star.flux())
    return replace(spectrum, error=spectrum.error / 3.0)


def emission(star: Star) -> b3.Spectrum:
    """An emission line of 30 km/s, half as high as the continuum."""
    center = star.rng.choice(star.wavelength[200:-200])
    distance = (star.wavelength / center - 1.0) * SPEED_OF_LIGHT
    return star.observed(star.flux() + 0.5 * np.exp(-0.5 * (distance / 15.0) ** 2))


def fringed(star: Star) -> b3.Spectrum:
    """A fringe of 10 % and 1.5 Å."""
    fringe = 1.0 + 0.1 * np.sin(2.0 * np.pi * star.wavelength / 1.5)
    return star.observed(star.flux() * fringe)


def air(star: Star) -> b3.Spectrum:
    """Wavelengths in air, taken for those in vacuum."""
    spectrum = star.observed(star.flux(rv=star.rv / 2.0))
    return replace(spectrum, wavelength=vacuum_to_air(spectrum.wavelength))


FAULTS: dict[str, tuple[Callable[[Star], b3.Spectrum], str]] = {
    "a companion, 30 % of the light": (companion, "second star"),
    "5 % of sky over-subtracted": (sky, "deeper than any labels"),
    "20 % veiling": (veiled, "shallower than any labels"),
    "resolution twice too low": (too_low, "narrower than a resolution"),
    "padding, −999, dead pixels": (padded, "without data masked"),
    "errors three times too large": (large_errors, "times too large"),
    "errors three times too small": (small_errors, "times too small"),
    "an emission line": (emission, "emission over the continuum"),
    "a fringe of 10 %": (fringed, "poor fit"),
    "air taken for vacuum": (air, "air taken for vacuum"),
}
"""Faults, and the phrase of the flag of each."""


def main() -> None:
    args = parse_arguments()
    model = b3.load_model(args.model)
    clock = Clock()
    document: dict[str, Any] = {"stars": args.stars}
    good = [random_star(model, seed, True) for seed in range(args.stars)]
    rows = [judged(star, star.observed(star.flux())) for star in good]
    document["false alarms"] = dict(Counter(f for row in rows for f in row["doubts"]))
    document["good stars flagged"] = float(np.mean([bool(row["doubts"]) for row in rows]))
    document["time of the checks"] = clock.share()
    document["detected"] = {}
    for name, (fault, phrase) in FAULTS.items():
        stars = [random_star(model, 10_000 + seed, False) for seed in range(args.stars)]
        found = [judged(star, fault(star)) for star in stars]
        document["detected"][name] = detection(found, phrase)
    show(document)
    if args.json is not None:
        args.json.write_text(json.dumps(document, indent=1, ensure_ascii=False))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Rates of flags of good and of faulty stars.")
    parser.add_argument("--model", type=Path, required=True, help="made by blase3d build")
    parser.add_argument("--stars", type=int, default=100, help="of each kind")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    return parser.parse_args()


class Clock:
    """Time of whole inferences and of the checks in them, while it lives."""

    def __init__(self) -> None:
        self.spent = {"infer": 0.0, "checks": 0.0}
        single.flags_of = self._timed(single.flags_of, "checks")
        single.residuals_of = self._timed(single.residuals_of, "checks")
        b3.infer = self._timed(b3.infer, "infer")

    def _timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def timed(*args: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **named)
            finally:
                self.spent[name] += time.perf_counter() - start

        return timed

    def share(self) -> float:
        """Time of the checks over that of the rest of the inferences."""
        return self.spent["checks"] / (self.spent["infer"] - self.spent["checks"])


def judged(star: Star, spectrum: b3.Spectrum) -> dict[str, Any]:
    """Return the flags of a star, those that are doubts, and its largest pull of a label."""
    answer = b3.infer(spectrum, star.model)
    doubts = [f for f in answer.flags if not harmless(f)]
    severe = [f for f in doubts if (found := advice(f)) is None or found.severe]
    pulls = [
        abs(answer.labels[name].value - value) / answer.labels[name].sigma
        for name, value in star.labels.items()
        if np.isfinite(answer.labels[name].sigma)
    ]
    return {
        "flags": answer.flags,
        "doubts": [f"{f:.40}" for f in doubts],
        "severe": severe,
        "pull": max(pulls, default=0.0),
    }


def harmless(flag: str) -> bool:
    """Whether a flag is no doubt: no rotation, a noisy label, or a pixel in a million."""
    return flag == "vsini at a bound" or "not constrained" in flag or "outlying" in flag


def detection(rows: list[dict[str, Any]], phrase: str) -> dict[str, float]:
    """Return fractions of stars that are flagged, or wrong without a flag."""
    own = [any(phrase in flag for flag in row["flags"]) for row in rows]
    severe = [bool(row["severe"]) for row in rows]
    wrong = [row["pull"] > 3.0 and not row["doubts"] for row in rows]
    names = ("by its flag", "by any severe flag", "wrong by 3 sigma, not flagged")
    return {n: float(np.mean(v)) for n, v in zip(names, (own, severe, wrong), strict=True)}


def show(document: dict[str, Any]) -> None:
    table = Table(title=f"{document['stars']} stars of each kind")
    detected = document["detected"]
    for column in ("", *next(iter(detected.values()))):
        table.add_column(column, justify="right" if column else "left")
    for name, row in detected.items():
        table.add_row(name, *(f"{100 * value:.0f} %" for value in row.values()))
    console = Console()
    console.print(table)
    console.print(f"good stars flagged: {100 * document['good stars flagged']:.1f} %")
    console.print(document["false alarms"])
    console.print(f"checks: {100 * document['time of the checks']:.0f} % of the inference")


if __name__ == "__main__":
    main()
