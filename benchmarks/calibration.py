"""Calibration: labels of stars that were left out, and changes of lines that are known.

    python benchmarks/calibration.py real --model vis.zip --json calibration.json
    python benchmarks/calibration.py simulated --model opt.zip

`real` calibrates a model with the stars of `stars.ecsv` that lie within it. Each star is then
inferred, with default settings, by the model as it is and as the other stars calibrate it. Printed
are the errors against the literature, their mean and scatter over dwarfs and subgiants from 4800 to
6500 K, each star counted once, the range of the Sun over spectrographs, and the share of the labels
within their intervals; with `--sections N`, of N windows of each spectrum, with `--range`, between
two wavelengths, and with `--snr`, with noise added, whose stated errors `--errors` multiplies. What
the other stars teach follows from the sums of all of them; with `--again`, they are calibrated
again without the star, which takes several times as long.

`simulated` takes stars from the model with lines changed at random by known amounts, labels of the
literature with errors, and noise. It compares changes found with true ones for lines of several
depths, their errors with those stated, and the labels of the stars left out. With `--wrong N`, the
model that is calibrated is without N of the lines, and has N others that no star shows: printed is
how many are found, with which wavelengths and strengths, and how much the others are weakened. With
`--change 0`, no line is wrong, and what is gained is chance.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import blase3d as b3
from blase3d.analysis.calibration import Calibrated, KnownStar, calibrate, read_known_stars
from blase3d.analysis.calibration.changes import with_changes
from blase3d.analysis.calibration.trial import gain_of
from blase3d.analysis.line_table import main_components
from blase3d.model.line_grid import joined
from blase3d.runtime.units import SPEED_OF_LIGHT
from blase3d.spectra.spectrum import cut

STARS = Path(__file__).parent / "stars.ecsv"
DWARFS = {"teff": (4800.0, 6500.0), "logg": (3.5, 5.0)}
ERRORS = {"teff": 30.0, "logg": 0.03, "feh": 0.03}
FEWEST = 300
"""Usable pixels of a section, at least."""
RESOLUTION, SNR = 60_000.0, 150.0
DEPTHS = ((0.01, 0.05), (0.05, 0.15), (0.15, 0.4), (0.4, 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description="Does calibration help stars left out?")
    parser.add_argument("what", choices=["real", "simulated"])
    parser.add_argument("--model", type=Path, required=True, help="made by blase3d build")
    parser.add_argument("--table", type=Path, default=STARS, help="stars of known labels")
    parser.add_argument("--sections", type=int, default=1, help="windows of each spectrum")
    parser.add_argument("--range", type=float, nargs=2, help="Å in vacuum; only these pixels")
    parser.add_argument("--snr", type=float, help="of a pixel at the median flux; noise is added")
    parser.add_argument("--errors", type=float, default=1.0, help="factor of the stated errors")
    parser.add_argument("--again", action="store_true", help="calibrate again without each star")
    parser.add_argument("--save", type=Path, help="calibrated model")
    parser.add_argument("--stars", type=int, default=6, help="simulated stars")
    parser.add_argument("--change", type=float, default=1.0, help="factor of changes of lines")
    parser.add_argument("--wrong", type=int, default=0, help="lines left out, and lines too many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    model = b3.load_model(args.model, calibrated=False)
    start = time.process_time()
    if args.what == "real":
        known = read_known_stars(args.table, model.label_names)
        found = calibrate(known, model)
        limits = args.range or tuple(model.wavelength[[0, -1]])
        taught = partial(calibrated_again, known, found) if args.again else found.model_without
        noise = args.snr and (args.snr, args.errors)
        windows = partial(windows_of, limits, args.sections, noise)
        rows = [*left_out(known, found, cache(taught), windows)]
        print_real(rows, model.label_names)
    else:
        known, truth = simulated(model, args.stars, args.seed, args.change)
        wrong, lost, spurious = with_wrong_lines(model, args.wrong, args.seed)
        found = calibrate(known, wrong)
        rows = recovered(found, truth, model)
        print_simulated(rows, found)
        if args.wrong:
            print_wrong(found, with_changes(model, in_angstroms(truth, model)), lost, spurious)
    added = " with added lines" if found.best.added else ""
    seconds = time.process_time() - start
    print(
        f"factor {found.best.times:g}{added}; gain {gain_of(found.trials):.1%}; {seconds:.0f} s CPU"
    )
    print(f"{found.proposal.added.sum()} lines missing; slopes {found.proposal.fit.slope_scale:g}")
    if args.save is not None:
        b3.save_model(found.model, args.save)
    if args.json is not None:
        args.json.write_text(json.dumps({"rows": rows, **found.to_dict()}, indent=1))


def calibrated_again(known: list[KnownStar], found: Calibrated, star: str) -> b3.Model:
    """The model that a calibration without a star gives, with the factor chosen with all stars."""
    others = calibrate([one for one in known if one.star != star], found.model)
    return others.proposal.calibrated(found.best, others.model.mismatch)


def left_out(
    known: list[KnownStar],
    found: Calibrated,
    without: Callable[[str], b3.Model],
    windows: Callable[[b3.Spectrum], Iterator[b3.Spectrum]],
) -> list[dict[str, Any]]:
    """Labels of every window of the spectra by the model as it is, and as the other stars
    calibrate it."""
    rows = []
    for one in known:
        if one.name in found.left_aside:
            continue
        models = found.model.uncalibrated(), without(one.star)
        given = {"resolution": one.fixed["resolution"]} if "resolution" in one.fixed else {}
        for window in windows(one.read()):
            answers = [b3.infer(window, model, fixed=given) for model in models]
            rows.append(
                {
                    "star": one.star,
                    "file": Path(one.name).name,
                    "range": window.wavelength[[0, -1]].tolist(),
                    "literature": one.labels,
                    "before": {n: (e.value, e.sigma) for n, e in answers[0].labels.items()},
                    "after": {n: (e.value, e.sigma) for n, e in answers[1].labels.items()},
                }
            )
    return rows


def windows_of(
    limits: tuple[float, float],
    count: int,
    noise: tuple[float, float] | None,
    spectrum: b3.Spectrum,
) -> Iterator[b3.Spectrum]:
    """The spectrum in windows between two wavelengths; those of few pixels are left out."""
    for low, high in pairwise(np.linspace(*limits, count + 1)):
        inside = (spectrum.wavelength >= low) & (spectrum.wavelength <= high)
        if (inside & spectrum.good).sum() > FEWEST:
            window = cut(spectrum, inside)
            yield noisy(window, *noise) if noise else window


def noisy(spectrum: b3.Spectrum, snr: float, factor: float) -> b3.Spectrum:
    """The spectrum with photon noise added, as much as it has less than this S/N asks for, and its
    errors times a factor."""
    level = np.median(spectrum.flux[spectrum.good])
    error = level / snr * np.sqrt(np.clip(spectrum.flux / level, 0.05, 2.0))
    stated = np.zeros(error.size) if spectrum.error is None else spectrum.error
    stated = np.where(spectrum.good, stated, 0.0)
    more = np.sqrt(np.clip(error**2 - stated**2, 0.0, None))
    flux = spectrum.flux + more * np.random.default_rng(1).normal(size=more.size)
    return replace(spectrum, flux=flux, error=factor * np.maximum(error, stated))


def print_real(rows: list[dict[str, Any]], names: tuple[str, ...]) -> None:
    table = Table(title="label − literature: as it is → calibrated by the other stars")
    for column in ("star", "file", *names):
        table.add_column(column)
    for row in rows:
        cells = []
        for name in names:
            known = row["literature"].get(name)
            pair = [row[when][name][0] for when in ("before", "after")]
            digits = 0 if name == "teff" else 2
            cells.append(
                "" if known is None else " → ".join(f"{v - known[0]:+.{digits}f}" for v in pair)
            )
        table.add_row(row["star"], row["file"], *cells)
    Console(width=130).print(table)
    for when in ("before", "after"):
        for name in names:
            errors = errors_by_star(rows, name, when)
            if errors:
                means = [np.mean(v) for v in errors.values()]
                print(
                    f"{when}: {name}: mean {np.mean(means):+.3f}, scatter {np.std(means):.3f} of "
                    f"{len(means)} stars; range over spectra of one star at most "
                    f"{max(np.ptp(v) for v in errors.values()):.3f}"
                )

    for when in ("before", "after"):
        pulls = np.abs([pull for row in rows for pull in pulls_of(row, when)])
        inner, outer = np.mean(pulls < 1.0), np.mean(pulls < 1.96)
        print(f"{when}: {inner:.0%} within 68 %, {outer:.0%} within 95 % intervals, {pulls.size}")


def pulls_of(row: dict[str, Any], when: str) -> Iterator[float]:
    """Label errors over their standard deviations, errors of the literature included."""
    for name, (known, error) in row["literature"].items():
        value, sigma = row[when].get(name, (np.nan, np.nan))
        if np.isfinite(sigma):
            yield (value - known) / np.hypot(sigma, error)


def errors_by_star(rows: list[dict[str, Any]], name: str, when: str) -> dict[str, list[float]]:
    errors = defaultdict(list)
    for row in rows:
        known = row["literature"]
        inside = all(low <= known[n][0] <= high for n, (low, high) in DWARFS.items() if n in known)
        if inside and name in known:
            errors[row["star"]].append(row[when][name][0] - known[name][0])
    return errors


def simulated(
    model: b3.Model, count: int, seed: int, change: float
) -> tuple[list[KnownStar], np.ndarray]:
    """Stars of changed lines, and the changes (C, 3) in ln, km/s and ln: random, times `change`."""
    rng = np.random.default_rng(seed)
    typical = change * np.array([0.2, 0.15, 0.05])
    truth = rng.standard_t(4, size=(model.reference.size, 3)) * typical
    middle = {name: 0.5 * (low + high) for name, (low, high) in model.bounds.items()}
    truth = truth[main_components(model.lines(**middle))]  # components change together
    changed = with_changes(model, in_angstroms(truth, model))
    stars = []
    for k in range(count):
        labels = {
            n: rng.uniform(low + 0.15 * (high - low), high - 0.15 * (high - low))
            for n, (low, high) in model.bounds.items()
        }
        flux = np.asarray(changed.flux(**labels, rv=5.0, vmac=3.0, resolution=RESOLUTION))
        noisy = flux.astype(float) + rng.normal(size=flux.size) / SNR
        error = np.full(flux.size, 1.0 / SNR)
        spectrum = b3.Spectrum(model.wavelength, noisy, error=error, resolution=RESOLUTION)
        errors = {n: ERRORS.get(n, 0.03) for n in labels}
        known = {n: (v + rng.normal() * errors[n], errors[n]) for n, v in labels.items()}
        stars.append(KnownStar(f"star {k}", spectrum, known, {"vsini": 0.0, "vmac": 3.0}))
    return stars, truth


def in_angstroms(changes: np.ndarray, model: b3.Model) -> np.ndarray:
    return changes * np.stack(np.broadcast_arrays(1.0, model.reference / SPEED_OF_LIGHT, 1.0), 1)


def with_wrong_lines(
    model: b3.Model, count: int, seed: int
) -> tuple[b3.Model, np.ndarray, np.ndarray]:
    """The model without some lines and with as many others at random wavelengths, the indices of
    the former and the references of the latter."""
    rng = np.random.default_rng(seed + 100)
    lines = model.lines(**{n: 0.5 * (low + high) for n, (low, high) in model.bounds.items()})
    depth, main = lines.central_depth(model.recipe.composition), main_components(lines)
    usual = np.flatnonzero((main == np.arange(len(main))) & (depth > 0.03) & (depth < 0.5))
    lost, copied = np.split(rng.permutation(usual)[: 2 * count], 2)
    at = np.sort(rng.uniform(*model.wavelength[[50, -50]], count))
    spurious = replace(model.line_grid.take(copied), reference=at)
    kept = model.line_grid.take(~np.isin(main, lost))
    return replace(model, line_grid=joined([kept, spurious])), np.sort(lost), at


def print_wrong(found: Calibrated, truth: b3.Model, lost: np.ndarray, spurious: np.ndarray) -> None:
    """Lines found again, and lines too many."""
    full = found.proposed
    known = full.calibration
    added, removed = ~known.of_library, np.isin(full.reference, spurious)
    corners = list(
        product(*([0.8 * a + 0.2 * b, 0.2 * a + 0.8 * b] for a, b in truth.bounds.values()))
    )
    pairs = [
        [m.lines(**dict(zip(truth.bounds, c, strict=True))) for m in (truth, full)] for c in corners
    ]
    right, got = (np.array([pair[k].center for pair in pairs]).mean(axis=0) for k in (0, 1))
    if added.any():
        off = np.abs(right[lost][:, None] - got[added])
        near, which = off.min(axis=1) < 0.05, np.flatnonzero(added)[off.argmin(axis=1)]
        ratio = np.array([pair[1].ln_area[which] - pair[0].ln_area[lost] for pair in pairs])[
            :, near
        ]
        shift = off.min(axis=1)[near] / right[lost][near] * SPEED_OF_LIGHT
        wide = (np.abs(right[:, None] - got[added]) < 0.05).any(axis=0)
        shift, error = np.sqrt(np.mean(shift**2)), np.median(np.abs(ratio))
        print(f"lost lines: {near.sum()} of {lost.size} found; centres to {shift:.2f} km/s (rms)")
        print(f"their ln area: median {np.median(ratio):+.2f}, median error {error:.2f}")
        print(f"{added.sum()} lines added, {(~wide).sum()} of them where no line is")
    change = known.changes[removed & (known.stars > 0), 0]
    print(
        f"lines too many: {change.size} of {spurious.size} constrained, ln area changed by "
        f"{np.median(change):+.2f} in the median; {np.mean(change < -1.0):.0%} by less than -1"
    )


def recovered(found: Calibrated, truth: np.ndarray, model: b3.Model) -> list[dict[str, Any]]:
    """Changes found, in full, against true ones, for lines of several depths."""
    model_of = found.proposed
    changes, sigma, stars = found.proposal.lines(found.proposal.in_full)
    position = np.searchsorted(model.reference, model_of.reference).clip(0, len(truth) - 1)
    same = model.reference[position] == model_of.reference
    truth = truth[position]
    depth = model_of.lines(**found.reference_labels).central_depth(model.recipe.composition)
    rows = []
    for low, high in DEPTHS:
        chosen = (depth >= low) & (depth < high) & (stars > 0) & same
        row: dict[str, Any] = {"depth": (low, high), "lines": int(chosen.sum())}
        for k, name in enumerate(("strength", "shift", "width")):
            true, got = truth[chosen, k], changes[chosen, k]
            pull = (got - true) / sigma[chosen, k]
            row[name] = {
                "correlation": float(np.corrcoef(true, got)[0, 1]),
                "rms_left": float(np.sqrt(np.mean((got - true) ** 2) / np.mean(true**2))),
                "within_one_sigma": float(np.mean(np.abs(pull) < 1.0)),
            }
        rows.append(row)
    return rows


def print_simulated(rows: list[dict[str, Any]], found: Calibrated) -> None:
    table = Table(title="correlation with the true change (rms left; share within one sigma)")
    for column in ("depth", "lines", "strength", "shift", "width"):
        table.add_column(column, justify="right")
    for row in rows:
        cells = [
            f"{x['correlation']:.2f} ({x['rms_left']:.2f}; {x['within_one_sigma']:.2f})"
            for x in (row[name] for name in ("strength", "shift", "width"))
        ]
        table.add_row(f"{row['depth'][0]}–{row['depth'][1]}", str(row["lines"]), *cells)
    console = Console(width=130)
    console.print(table)
    for trial in found.trials:
        how = f"times {trial.times:g}{', added lines' * trial.added}"
        print(f"{how}: misfit {trial.misfit:.3f}, label error {trial.label_error:.2f} left out")


if __name__ == "__main__":
    main()
