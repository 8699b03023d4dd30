"""How much memory does each verb take, as nodes, pixels and lines grow?

    python benchmarks/memory.py --json memory.json
    python benchmarks/memory.py --only small nodes --verbs grid clone build

Libraries of the toy universe: a small one, and others that have more of one thing: nodes, pixels
(the same lines in finer steps), or lines (and pixels: the universe side by side in wavelength); and
the library that ships with the package. Every verb runs in a process of its own, whose largest
memory is kept. Clones are made by short fits: steps take time, not memory. What is known of --json
is not measured again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from commands import aside, measured

# Imports of the package stay in functions: what this process takes, its children start with.

AXES = {"teff": 3, "logg": 2, "feh": 2}
WORLDS: dict[str, dict[str, Any]] = {
    "small": {},
    "nodes": {"axes": {"teff": 6, "logg": 4, "feh": 4}},
    "pixels": {"step": 0.0025},
    "lines": {"copies": 8},
    "packaged": {},
}
"""What each library has beyond `small`: values of the labels, step (Å), copies side by side."""
RECIPE = {"rounds": 1, "epochs": 6, "steps": 60}
SPAN = 40.0
"""Å of the toy universe."""
LABELS = ("--teff", "5730", "--logg", "4.4", "--feh", "-0.1")
SHARP = ("--fix", "resolution=inf", "--fix", "vsini=0")


def main() -> None:
    """Measure what is asked for and not yet known, and print the table."""
    args = parse_arguments()
    known = json.loads(args.json.read_text()) if args.json.exists() else {}
    for name in args.only:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, Path(folder), args.verbs, known.setdefault(name, {}), args.json, known)
    print_table(known)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=WORLDS, default=list(WORLDS))
    parser.add_argument("--verbs", nargs="+", default=None, help="default: all; earlier ones first")
    parser.add_argument("--json", type=Path, default=Path("memory.json"))
    return parser.parse_args()


def measure(
    name: str,
    folder: Path,
    verbs: list[str] | None,
    rows: dict[str, Any],
    path: Path,
    known: dict[str, Any],
) -> None:
    """Rows of one library, kept in `path` as they come."""
    size = aside(make_inputs, name, folder)
    for verb, words in commands(folder).items():
        if verb in (verbs or commands(folder)):
            row, _ = measured(f"{name}, {verb}", *words)
            rows[verb] = {**size, **row}
            path.write_text(json.dumps(known, indent=1))


def commands(folder: Path) -> dict[str, tuple[object, ...]]:
    """Words of the command line by verb, in an order in which each finds its input."""
    grid, clones, model = folder / "grid.npz", folder / "clones.zarr", folder / "model.zip"
    star, states = folder / "star.npz", folder / "states"
    clone = ("clone", grid, "-o", clones, "--recipe", folder / "recipe.json", "--workers", 1)
    return {
        "grid": ("grid", grid),
        "clone": clone,
        "build": ("build", clones, "-o", model),
        "synth": ("synth", model, *LABELS, "-o", folder / "made.npz"),
        "infer": ("infer", star, "--model", model, *SHARP),
        "validate": ("validate", model),
        "lines": ("lines", model),
        "figures": ("figures", model, "-o", folder / "figures", "--nodes", 4, "--format", "png"),
        "tune": ("tune", star, "--model", model, *SHARP, "-o", folder / "tuned.zip"),
        "import-states": ("import-states", states, "-o", folder / "imported.zarr"),
    }


# Inputs, made in a process of their own


def make_inputs(name: str, folder: Path) -> dict[str, int]:
    """A library, a star, a recipe and state dictionaries in `folder`; nodes, pixels, lines."""

    from blase3d.libraries import write_grid
    from blase3d.recipe import DEFAULT
    from blase3d.spectra.formats import write_spectrum

    grid, star, lines = packaged() if name == "packaged" else toy(**WORLDS[name])
    write_grid(grid, folder / "grid.npz")
    write_spectrum(star, folder / "star.npz")
    recipe = DEFAULT.replace(name="short", **RECIPE)
    (folder / "recipe.json").write_text(recipe.to_json())
    write_states(folder / "states", len(grid))
    return {"nodes": len(grid), "pixels": len(grid.wavelength), "lines": lines}


def packaged() -> tuple[Any, Any, int]:
    """The library and the star that ship with the package; its lines are not known beforehand."""
    from blase3d.libraries.packaged import LIBRARY, noisy_star, packaged_grid

    return packaged_grid(LIBRARY), noisy_star()[0], 0


def toy(axes: dict[str, int] = AXES, step: float = 0.02, copies: int = 1) -> tuple[Any, Any, int]:
    """A library of the toy universe, a star with noise, and the number of lines."""
    from itertools import product

    import numpy as np

    from blase3d.libraries.grid import grid_of
    from blase3d.libraries.toy import AXES as LIMITS
    from blase3d.libraries.toy import LABELS as NAMES
    from blase3d.libraries.toy import LINES, META, WAVELENGTH, toy_flux
    from blase3d.spectra.spectrum import Spectrum

    wave = WAVELENGTH[0] + step * np.arange(round(SPAN * copies / step))
    folded = WAVELENGTH[0] + (wave - WAVELENGTH[0]) % SPAN
    spans = [np.linspace(LIMITS[k][0], LIMITS[k][-1], n) for k, n in axes.items()]
    nodes = np.array(list(product(*spans)))
    flux = np.array([toy_flux(dict(zip(NAMES, node, strict=False)), folded) for node in nodes])
    grid = grid_of(wave, nodes, tuple(axes), flux.astype(np.float32), np.ones_like(flux), META)
    seen = toy_flux({"teff": 5730.0, "logg": 4.4, "feh": -0.1}, folded)
    noise = np.random.default_rng(1).normal(0.0, 0.01, wave.size)
    star = Spectrum(wave, seen + noise, np.full(wave.size, 0.01))
    return grid, star, copies * len(LINES)


def write_states(folder: Path, count: int) -> None:
    """State dictionaries of so many nodes of the published archive."""
    from itertools import islice

    from blase3d.libraries.fetch.listing import Box
    from states import mock_state, write_state

    folder.mkdir()
    for node in islice(Box(teff=(4000, 7000), logg=(4, 5), feh=(-0.5, 0)).nodes(), count):
        name = "T{teff:.0f}G{logg:.1f}Z{feh:.1f}.pt".format(**node)
        write_state(folder / name, mock_state(node["teff"], node["logg"], node["feh"]))


def print_table(known: dict[str, Any]) -> None:
    """MB by verb and library."""
    names = [name for name in WORLDS if known.get(name)]
    print(" | ".join(["MB", *names]))
    for verb in commands(Path()):
        cells = (known[name].get(verb, {}).get("peak_mb") for name in names)
        print(" | ".join([verb, *("–" if cell is None else f"{cell:.0f}" for cell in cells)]))


if __name__ == "__main__":
    main()
