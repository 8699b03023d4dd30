"""Identification: the fraction of strong lines that are identified, and how often wrongly.

    python benchmarks/identify.py --model model.zip --teff 5772 4300 --out identify.json

For each temperature (the other labels: log g 4.44, [Fe/H] 0, or as near as the model goes) and for
the lines whose depth, each by itself, is above 0.2:

- *identified*, and *sure*: one species has odds above 0.5, and above 0.9;
- *by chance*: the same with every wavelength of the list moved by a few Å, so that every
  identification is a wrong one (the broad lines of Ca II and H I are left out of the list for it,
  since they reach that far);
- *missing*: with the lines of one element left out of the list, what comes out for the lines
  that were that element's: unidentified, as it should, or wrong. This is what molecules do, which
  the list does not hold;
- *known*: lines of textbooks (Moore, Minnaert & Houtgast 1966, The Solar Spectrum) within the
  model: of the components within 0.05 Å of each, the deepest; of hydrogen, from 5000 K on,
  the deepest of the broad ones within 0.4 Å, where there is one of 0.05 or more. They are used
  nowhere but here.

The JSON lists the lines that are not identified, too.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import blase3d as b3
from blase3d.analysis.identify import UNIDENTIFIED, Identification, identify
from blase3d.analysis.identify.transitions import SYMBOLS, Atoms, load_atoms
from blase3d.lines.lines import Lines
from blase3d.runtime.units import vacuum_to_air

STRONG, SURE = 0.2, 0.9
MOVES = (3.3, -4.7, 6.1, -7.9)
ELEMENTS = ("Ti", "Si", "Mg", "Ni", "Cr", "Al")
BROAD = (SYMBOLS.index("H") + 1, 1), (SYMBOLS.index("Ca") + 1, 2)
USUAL = {"logg": 4.44, "feh": 0.0}
KNOWN = {
    "Ca II": (8498.02, 8542.09, 8662.14),
    "Mg I": (8806.76, 8736.02),
    "Fe I": (
        *(8468.41, 8514.07, 8515.11, 8526.67, 8582.26, 8611.80, 8621.60, 8674.75, 8688.62),
        *(8699.45, 8757.19, 8763.97, 8793.34, 8824.22, 8838.43, 8846.74, 8866.93),
        *(6136.62, 6137.69, 6191.56, 6230.72, 6252.56, 6265.13, 6151.62, 6173.34, 6200.31),
    ),
    "Ti I": (8412.36, 8426.51, 8434.96, 8435.65, 8675.37, 6126.22, 6258.10, 6261.10),
    "Si I": (8556.78, 8648.46, 8728.01, 8742.45, 8752.01, 10827.09, 6155.13, 6237.32),
    "Al I": (8772.87, 8773.90),
    "Ni I": (8862.55, 6108.12, 6175.37, 6176.81),
    "Ca I": (6122.22, 6162.17, 6169.56, 6102.72),
    "Na I": (8183.26, 8194.82, 6154.23, 6160.75),
    "H I": (
        *(8545.38, 8598.39, 8665.02, 8750.47, 8862.78, 9014.91, 9229.01),
        *(9545.97, 10049.37, 10938.09, 12818.08),
    ),
}
WITHIN, WITHIN_HYDROGEN = 0.05, 0.4
"""Å."""
BROAD_WIDTH, SEEN = 0.5, 0.05
"""Å and depth from which a component near a line of hydrogen counts as one of it."""
COOL, HOT = 5000.0, 8500.0
"""K from which hydrogen counts, and from which metals do not."""


def main() -> None:
    parser = argparse.ArgumentParser(description="How many lines are identified.")
    parser.add_argument("--model", type=Path, required=True, help="made by blase3d build")
    parser.add_argument("--teff", type=float, nargs="+", default=[5772.0])
    parser.add_argument("--out", type=Path, help="JSON")
    args = parser.parse_args()
    model, atoms = b3.load_model(args.model), load_atoms()
    document = {"model": str(args.model), "lines": len(model.reference), "stars": []}
    for teff in args.teff:
        document["stars"].append(judged(model, atoms, teff))
    print_table(document["stars"])
    if args.out is not None:
        args.out.write_text(json.dumps(document, indent=1))


def judged(model: b3.Model, atoms: Atoms, teff: float) -> dict[str, Any]:
    usual = {"teff": teff, **USUAL}
    labels = {
        name: float(np.clip(usual.get(name, np.mean(ends)), *ends))
        for name, ends in model.bounds.items()
    }
    lines = model.lines(**labels)
    depth = lines.central_depth(model.recipe.composition)
    strong = np.flatnonzero(depth > STRONG)
    start = time.perf_counter()
    found = identify(model, labels, model.reference[strong], atoms=atoms)
    seconds = time.perf_counter() - start
    return {
        "labels": labels,
        "strong": int(strong.size),
        "seconds": seconds,
        "identified": share(found, 0.5),
        "sure": share(found, SURE),
        "blends": float(np.mean([one.blend for one in found])),
        "by_chance": by_chance(model, labels, strong, atoms),
        "missing": missing(model, labels, strong, atoms, found),
        "unidentified": unidentified(lines.take(strong), depth[strong], found),
        "known": known(model, labels, atoms, teff),
    }


def share(found: list[Identification], odds: float) -> float:
    """Part of lines of which one species has odds above this."""
    return float(np.mean([species_odds(one) > odds for one in found]))


def species_odds(one: Identification) -> float:
    """The largest odds of a single species."""
    single = [o for name, o in one.species.items() if name != UNIDENTIFIED and "+" not in name]
    return max(single, default=0.0)


def unidentified(
    lines: Lines, depth: np.ndarray, found: list[Identification]
) -> list[dict[str, float]]:
    """Wavelength in air (Å) and depth of each line without a name."""
    air = vacuum_to_air(lines.center)
    nameless = [k for k, one in enumerate(found) if species_odds(one) <= 0.5]
    return [{"air": float(air[k]), "depth": float(depth[k])} for k in nameless]


def by_chance(
    model: b3.Model, labels: dict[str, float], strong: np.ndarray, atoms: Atoms
) -> dict[str, float]:
    lines = atoms.transitions
    sharp = np.ones(len(lines), bool)
    for element, stage in BROAD:
        sharp &= (lines.element != element) | (lines.stage != stage)
    lines, names = lines.take(sharp), model.reference[strong]
    moved = [
        identify(
            model,
            labels,
            names,
            atoms=replace(atoms, transitions=replace(lines, wavelength=lines.wavelength + move)),
        )
        for move in MOVES
    ]
    return {
        "identified": float(np.mean([share(found, 0.5) for found in moved])),
        "sure": float(np.mean([share(found, SURE) for found in moved])),
    }


def missing(
    model: b3.Model,
    labels: dict[str, float],
    strong: np.ndarray,
    atoms: Atoms,
    found: list[Identification],
) -> dict[str, int]:
    count = {"lines": 0, "unidentified": 0, "wrong": 0, "wrong_and_sure": 0}
    lines = atoms.transitions
    for symbol in ELEMENTS:
        theirs = [i for i, one in enumerate(found) if one.best.split()[0] == symbol]
        if not theirs:
            continue
        others = lines.take(lines.element != SYMBOLS.index(symbol) + 1)
        without = identify(
            model,
            labels,
            model.reference[strong[theirs]],
            atoms=replace(atoms, transitions=others),
        )
        odds = np.array([species_odds(one) for one in without])
        count["lines"] += len(theirs)
        count["unidentified"] += int((odds <= 0.5).sum())
        count["wrong"] += int((odds > 0.5).sum())
        count["wrong_and_sure"] += int((odds > SURE).sum())
    return count


def known(
    model: b3.Model, labels: dict[str, float], atoms: Atoms, teff: float
) -> list[dict[str, Any]]:
    lines = model.lines(**labels)
    depth = lines.central_depth(model.recipe.composition)
    rows = []
    for species, wavelengths in KNOWN.items():
        hydrogen = species == "H I"
        if (labels["teff"] < COOL) if hydrogen else (teff > HOT and species != "Ca II"):
            continue
        for wavelength in wavelengths:
            near = components(lines, depth, wavelength, hydrogen)
            if not near.size:
                continue
            deepest = near[np.argmax(depth[near])]
            (one,) = identify(model, labels, model.reference[[deepest]], atoms=atoms)
            odds = one.species.get(species, 0.0)
            rows.append(
                {"species": species, "air": wavelength, "depth": float(depth[deepest]),
                 "found": one.best, "odds": odds, "right": one.best == species}
            )  # fmt: skip
    return rows


def components(lines: Lines, depth: np.ndarray, air: float, hydrogen: bool) -> np.ndarray:
    """Indices of the lines of a model that may be a textbook line."""
    away = np.abs(vacuum_to_air(lines.center) - air)
    if not hydrogen:
        return np.flatnonzero(away < WITHIN)
    width = lines.fwhm
    broad = (np.asarray(width) > BROAD_WIDTH) & (depth > SEEN)
    return np.flatnonzero(broad & (away < WITHIN_HYDROGEN))


def print_table(stars: list[dict[str, Any]]) -> None:
    table = Table(title=f"lines deeper than {STRONG}")
    for column in (
        *("Teff", "lines", "identified", "sure", "by chance", "sure by chance"),
        *("left out: wrong", "known: right", "s"),
    ):
        table.add_column(column, justify="right")
    for star in stars:
        gone, told = star["missing"], star["known"]
        table.add_row(
            f"{star['labels']['teff']:g}",
            f"{star['strong']}",
            f"{star['identified']:.1%}",
            f"{star['sure']:.1%}",
            f"{star['by_chance']['identified']:.1%}",
            f"{star['by_chance']['sure']:.1%}",
            f"{gone['wrong']} of {gone['lines']}",
            f"{sum(row['right'] for row in told)} of {len(told)}",
            f"{star['seconds']:.1f}",
        )
    Console(width=130).print(table)
    for star in stars:
        for row in star["known"]:
            if not row["right"]:
                print(f"{star['labels']['teff']:g} K: {row['species']} {row['air']:.2f} came out "
                      f"as {row['found']}, odds {row['odds']:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
