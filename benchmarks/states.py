"""State dictionaries of the original code: accuracy and speed of their import.

    python benchmarks/states.py --data ../shared/data --json states.json
    python benchmarks/states.py --archive

For each real file, over the lines that were fitted: the largest difference from a sum in which
every line is taken at every pixel (at one pixel in forty); what the same sum loses with lines cut
off at half of 6,000 pixels from their centres; and the rms by which lines of ours miss the
original's flux, as imported and with area and widths kept as they are.

`--full` also asks how lines of neighbouring nodes find each other: 36 nodes of `turbo-cat` are
cloned each by itself (the `paper` recipe), models are built of these clones with lines of equal
detected centres and with lines matched within a tolerance, and compared to spectra between the
nodes, over the same continuum.

`--archive` writes a mock of the published archive, 1,314 files of lines whose parameters are
formulas of the labels, and takes it all the way by the command line: import, build, a spectrum, and
a star with noise that is no node. Every stage is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blase3d import build, clone
from blase3d.fitting.archive import Archive, create_archive
from blase3d.fitting.original.folder import native_wavelength
from blase3d.fitting.original.importer import CLUSTER_WIDTH, STATES_RECIPE
from blase3d.fitting.original.state_lines import at_shared, shared_lines, to_lines
from blase3d.fitting.original.states import (
    ORIGINAL_FWHM,
    State,
    original_flux,
    read_state,
)
from blase3d.fitting.single_node import Clone
from blase3d.libraries import open_grid
from blase3d.libraries.fetch.listing import Box
from blase3d.libraries.grid import Grid, grid_of
from blase3d.lines.lines import Lines
from blase3d.recipe import PAPER, Recipe
from blase3d.spectra.continuum import normalise
from blase3d.spectra.formats import read_spectrum, write_spectrum
from blase3d.spectra.spectrum import Spectrum
from commands import measured

Floats = NDArray[np.float64]
THIN = 40
WAVE = (8094.0, 12797.0)
"""Å: where the lines of the two files were fitted."""


def rms(difference: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(difference, dtype=np.float64))))


def brute_force(state: State, wave: Floats, window: int = 0) -> Floats:
    """Every line at every pixel, or (with a window) within so many pixels around its centre."""
    area, sigma, gamma = (np.exp(v) for v in (state.ln_area, state.ln_sigma, state.ln_gamma))
    depth = np.zeros_like(wave)
    for k, (center, eta) in enumerate(zip(state.center, state.mixing, strict=True)):
        x = wave - center
        half = 0.5 * window * (0.01 if center < 10_000 else 0.02) if window else np.inf
        lorentz = eta * gamma[k] / np.pi / (gamma[k] ** 2 + x**2)
        gauss = (1 - eta) / sigma[k] / np.sqrt(2 * np.pi) * np.exp(-0.5 * (x / sigma[k]) ** 2)
        line = np.clip(area[k] * (lorentz + gauss), 0.0, 1.0 - 1e-9)
        depth -= np.where(np.abs(x) <= half, np.log1p(-line), 0.0)
    return np.asarray(np.exp(-depth))


def common_width_flux(center: Floats, params: Floats, wave: Floats) -> Floats:
    """Π(1 − aV) of our profile, in float64; params (n, 3): ln area, ln sigma, ln gamma."""
    flux = np.ones_like(wave)
    area, sigma, gamma = np.exp(params).T
    gauss_width, lorentz_width = ORIGINAL_FWHM * sigma, 2.0 * gamma
    weights = (1.0, 2.69269, 2.42843, 4.47163, 0.07842, 1.0)
    f = sum(c * gauss_width ** (5 - n) * lorentz_width**n for n, c in enumerate(weights)) ** 0.2
    ratio = lorentz_width / f
    eta = 1.36603 * ratio - 0.47719 * ratio**2 + 0.11116 * ratio**3
    for k in range(center.size):
        u2 = (2.0 * (wave - center[k]) / f[k]) ** 2
        lorentz = 2.0 / np.pi / (1.0 + u2)
        gauss = 2.0 * np.sqrt(np.log(2.0) / np.pi) * np.exp(-np.log(2.0) * u2)
        line = area[k] * (eta[k] * lorentz + (1.0 - eta[k]) * gauss) / f[k]
        flux *= 1.0 - np.minimum(line, 1.0 - 1e-6)
    return flux


def of_file(path: Path) -> dict[str, Any]:
    state, wave = read_state(path).at_rest(), native_wavelength(*WAVE)
    start = time.perf_counter()
    flux = original_flux(state, wave)
    seconds = time.perf_counter() - start
    thin, exact = wave[::THIN], flux[::THIN]
    ours = to_lines(state)
    kept = np.column_stack([state.ln_area, state.ln_sigma, state.ln_gamma])
    closest = ours.params[:, 1:].astype(np.float64)
    return {
        "file": path.name,
        "lines": len(state),
        "seconds": seconds,
        "from_brute_force_max": float(np.abs(brute_force(state, thin) - exact).max()),
        "cut_at_6000_pixels_rms": rms(brute_force(state, thin, 6000) - exact),
        "our_lines_rms": rms(common_width_flux(ours.center, closest, thin) - exact),
        "parameters_kept_rms": rms(common_width_flux(state.center, kept, thin) - exact),
    }


def rearchived(nodes: Archive, lines: list[Lines], recipe: Recipe, path: Path) -> Archive:
    """The spectra of an archive with other lines."""
    flux = np.stack([nodes[i].flux for i in range(len(nodes))])
    grid = grid_of(nodes.wavelength, nodes.labels, nodes.label_names, flux)
    archive = create_archive(path, grid, recipe)
    for i, (own, target) in enumerate(zip(lines, flux, strict=True)):
        archive.write(i, Clone(lines=own, flux=target, target=target, misfit=0.0))
    return archive


def between_nodes(data: Path, folder: Path) -> list[dict[str, Any]]:
    """rms between the nodes, lines alone, of both ways to say which lines are one."""
    box, wave = {"teff": (5250, 6000), "logg": (4, 5), "feh": (-0.5, 0.5)}, (8450, 8850)
    grid = open_grid(data / "turbo-cat.npz").select(**box).cut(*wave)
    held: Grid = open_grid(data / "turbo-cat-offgrid.npz").select(**box).cut(*wave)
    nodes = clone(grid, folder / "paper.zarr", PAPER)
    lines = [nodes.clone(i).lines for i in range(len(nodes))]
    shared = shared_lines(lines, CLUSTER_WIDTH)
    matched = [at_shared(own, shared, CLUSTER_WIDTH) for own in lines]
    equal = STATES_RECIPE.replace(name="equality", interpolation="linear")
    truth = [normalise(held[i], PAPER, held.labels_of(i)["teff"]).flux for i in range(len(held))]
    rows = []
    for name, recipe, own in (("equality", equal, lines), ("matched", STATES_RECIPE, matched)):
        model = build(rearchived(nodes, own, recipe, folder / f"{name}.zarr"))
        found = [
            np.asarray(model.flux(**held.labels_of(i), residual=False)) for i in range(len(held))
        ]
        errors = [rms(one - other) for one, other in zip(found, truth, strict=True)]
        misfit = float(np.median([nodes.clone(i).misfit for i in range(len(nodes))]))
        rows.append(
            {
                "lines": name,
                "count": len(model.reference),
                "clones_rms_median": misfit,
                "between_nodes_rms_median": float(np.median(errors)),
            }
        )
    return rows


# --- an archive of the published size ----------------------------------------------------------

MOCK = (8400.0, 8500.0)
"""Å, with about as many lines as the real files have there."""
MOCK_LINES = 250
STAR = {"teff": 5730.0, "logg": 4.2, "feh": -0.2}
STAR_SNR = 200.0
_TO_AREA = 0.5 * np.log(2.0 * np.pi)
"""ln of the area of a Gaussian of depth and sigma 1."""


def mock_state(teff: float, logg: float, feh: float, least_depth: float = 0.005) -> State:
    """The lines at any labels, less those that are too shallow to be detected.

    With x = ln(Teff/5500), g = log g − 4.5, and a strength that saturates in the depth:

        ln strength = ln s₀ + T x − 1.5 x² + G g + Z [Fe/H],   depth = 0.9 (1 − exp(−strength))
    """
    rng = np.random.default_rng(4)
    center = np.linspace(*MOCK, MOCK_LINES) + rng.uniform(-0.15, 0.15, MOCK_LINES)
    start, metal = rng.uniform((np.log(0.005), 0.6), (np.log(2.0), 1.1), (MOCK_LINES, 2)).T
    hot, high, drift = rng.normal((-1.0, 0.0, 0.0), (1.5, 0.1, 0.003), (MOCK_LINES, 3)).T
    x, g = np.log(teff / 5500.0), logg - 4.5
    depth = 0.9 * -np.expm1(-np.exp(start + hot * x - 1.5 * x**2 + high * g + metal * feh))
    ln_sigma, ln_gamma = np.log(0.06) + 0.5 * x, np.log(0.04) + 0.3 * g
    seen = depth > least_depth
    center, ln_area = (center + drift * x)[seen], np.log(depth[seen]) + ln_sigma + _TO_AREA
    same = np.ones(center.size)
    return State(center, ln_area, ln_sigma * same, ln_gamma * same, np.round(center, 2))


def write_state(path: Path, state: State) -> None:
    """A file in the form in which PyTorch keeps a dictionary of tensors."""
    arrays = {"lam_centers": state.center, "pre_line_centers": state.detected}
    arrays |= {"amplitudes": state.ln_area, "radial_velocity": np.zeros(1)}
    arrays |= {"sigma_widths": state.ln_sigma, "gamma_widths": state.ln_gamma}
    with zipfile.ZipFile(path, "w") as file:
        for k, array in enumerate(arrays.values()):
            file.writestr(f"a/data/{k}", array.astype("<f8").tobytes())
        file.writestr("a/data.pkl", program({name: v.size for name, v in arrays.items()}))


def program(sizes: dict[str, int]) -> bytes:
    """The pickle that says which tensors there are, by the number of their elements."""

    def text(word: str) -> bytes:
        return b"X" + struct.pack("<I", len(word)) + word.encode()

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    ordered = b"ccollections\nOrderedDict\n)R"
    pairs = b""
    for k, (name, size) in enumerate(sizes.items()):
        kind = b"ctorch\nDoubleStorage\n"
        words = (text("storage"), kind, text(str(k)), text("cpu"), number(size))
        storage = b"(" + b"".join(words) + b"tQ"
        shape = number(0) + b"(" + number(size) + b"t(" + number(1) + b"t"
        rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n"
        pairs += text(name) + rebuild + b"(" + storage + shape + b"\x89" + ordered + b"tR"
    return b"\x80\x02" + ordered + b"(" + pairs + b"u."


def of_archive(folder: Path) -> list[dict[str, Any]]:
    """From 1,314 files to a star, by the command line; a row for each stage."""
    box = Box(teff=(2300, 12000), logg=(2, 6), feh=(-0.5, 0))
    (folder / "states").mkdir()
    counts = []
    for node in box.nodes():
        state = mock_state(node["teff"], node["logg"], node["feh"])
        name = "T{teff:.0f}G{logg:.1f}Z{feh:.1f}.pt".format(**node)
        write_state(folder / "states" / name, state)
        counts.append(len(state))
    clones, model, star = folder / "clones.zarr", folder / "model.zip", folder / "star.npz"
    wave = native_wavelength(*MOCK)
    truth = original_flux(mock_state(**STAR, least_depth=1e-9), wave)
    noise = np.random.default_rng(0).normal(0.0, 1.0 / STAR_SNR, wave.size)
    error = np.full(wave.size, 1.0 / STAR_SNR)
    write_spectrum(Spectrum(wave, truth + noise, error, meta={"medium": "vacuum"}), star)
    span = f"{MOCK[0]:g}:{MOCK[1]:g}"
    known = ("--fix", "resolution=inf", "--fix", "vsini=0", "--json")
    labels = [word for name, value in STAR.items() for word in (f"--{name}", value)]
    rows = [
        measured(*words)
        for words in (
            ("import", "import-states", folder / "states", "-o", clones, "--wave", span),
            ("build", "build", clones, "-o", model),
            ("synth", "synth", model, *labels, "-o", folder / "made.npz"),
            ("infer", "infer", star, "--model", model, *known),
        )
    ]
    (answer,) = json.loads(rows[-1][1])
    made = read_spectrum(folder / "made.npz").flux
    facts = {"files": len(counts), "lines_mean": float(np.mean(counts)), "pixels": wave.size}
    facts |= {"model_mb": model.stat().st_size / 1e6, "star_rms": rms(made - truth)}
    for name, found in answer["labels"].items():
        facts |= {f"{name}_off": found["value"] - STAR[name], f"{name}_sigma": found["sigma"]}
    return [*(row for row, _ in rows), facts]


def of_data(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """The real files, and with `--full` the matching of lines."""
    files = sorted((arguments.data / "original").glob("*.pt"))
    if not files:
        sys.exit(f"There is no .pt file in {arguments.data / 'original'}: give --data.")
    matching = between_nodes(arguments.data, folder) if arguments.full else []
    return [of_file(path) for path in files] + matching


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--full", action="store_true", help="matching of lines too (2 minutes)")
    parser.add_argument("--archive", action="store_true", help="the mock of 1,314 files alone")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = of_archive(Path(folder)) if arguments.archive else of_data(arguments, Path(folder))
    for row in rows:
        print(
            "  ".join(
                f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()
            )
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
