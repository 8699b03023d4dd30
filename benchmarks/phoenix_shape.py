"""The whole chain on a library with the layout and size of PHOENIX ACES, in chunks of wavelength.

    python benchmarks/phoenix_shape.py --coarse 2 --json shape.json

A mock of the library is written in its layout and form: FITS files in folders by metallicity and
alpha, one file of wavelengths from 500 to 55,000 Å, and four labels: log g from 0 to 6, [Fe/H] from
−4 to +1, alpha only where the library has it, ragged edges and holes. A server of files takes the
place of the library's; `blase3d fetch` brings the spectra from there, and each chunk of wavelengths
is cloned, built, and used on a star that is not a node. Every stage is a process, whose time and
peak memory are printed.

Line n of the universe has, with t = (Teff − 5500)/1000, g = log g − 4.5, z = [Fe/H], a = [α/Fe],

    ln area = ln a₀ + T t + 0.1 t² + G g + Z z + A a   (A only for one line in three)

and the flux is B(λ, Teff) (1 + a slow wave) / (1 + Σ area V).
"""

from __future__ import annotations

import argparse
import http.server
import json
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from astropy.io import fits

from blase3d.libraries.readers.phoenix import ACES, WAVE_FILE, phoenix_path
from blase3d.libraries.toy import absorbed
from blase3d.recipe import DEFAULT
from blase3d.runtime.units import BOLTZMANN, PLANCK, SPEED_OF_LIGHT
from blase3d.spectra.formats import write_spectrum
from blase3d.spectra.spectrum import Spectrum
from commands import measured

STEPS = ((500, 3000, 0.1), (3000, 5000, 0.006), (5000, 10000, 0.01), (10000, 15000, 0.02),
         (15000, 25000, 0.04), (25000, 55000, 0.15))  # fmt: skip
"""From, to, step (Å): 1.56 million pixels; between 5,000 and 15,000 Å those of the library."""
CHUNKS = ((8480.0, 8520.0), (8640.0, 8680.0), (9985.0, 10025.0))
"""Å. The last holds the wavelength at which the step doubles."""
STAR = {"teff": 5620.0, "logg": 4.37, "feh": -0.35, "alpha": 0.15}
SIZES = {
    "small": (
        (5000, 5500, 6000),
        (0.0, 2.0, 3.0, 4.0, 5.0, 6.0),
        (-4.0, -2.0, -1.0, 0.0, 1.0),
        (0.0, 0.4),
    ),
    "large": (
        tuple(range(4000, 7001, 500)),
        (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
        (-4.0, -3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0),
        (0.0, 0.2, 0.4),
    ),
}
WING = 6.0
"""Å to which a line is drawn."""


# --- the universe ------------------------------------------------------------------------------


def wavelengths(coarse: float) -> np.ndarray:
    """The pixels (P,) of the library, Å in vacuum, with steps `coarse` times its own."""
    return np.concatenate([np.arange(low, high, coarse * step) for low, high, step in STEPS])


@dataclass(frozen=True)
class Universe:
    """Lines: where, and how they change with the labels."""

    centre: np.ndarray
    area: np.ndarray
    slopes: np.ndarray
    """(N, 4) by t, g, z, a."""

    def flux(self, wave: np.ndarray, teff: float, logg: float, feh: float, alpha: float):
        """Flux in erg/s/cm²/cm at `wave` (P,), Å."""
        t = (teff - 5500.0) / 1000.0
        change = self.slopes @ [t, logg - 4.5, feh, alpha] + 0.1 * t**2
        sigma, gamma = 0.07 * np.sqrt(teff / 5500.0), 0.03 * np.exp(0.3 * (logg - 4.5))
        depth = np.zeros(wave.shape)
        for centre, area, by in zip(self.centre, self.area, change, strict=True):
            low, high = np.searchsorted(wave, [centre - WING, centre + WING])
            if low < high:
                line = [[centre, np.log(area) + by, np.log(sigma), np.log(gamma)]]
                depth[low:high] += absorbed(wave[low:high], line)[0]
        wave_of_throughput = 1.0 + 0.03 * np.sin(wave / 400.0)
        return planck(wave, teff) * wave_of_throughput / (1.0 + depth)


def make_universe(count: int = 400, seed: int = 1) -> Universe:
    """Lines: a tenth of them in each chunk, the rest over all wavelengths."""
    rng = np.random.default_rng(seed)
    parts = [rng.uniform(low - 3, high + 3, count // 10) for low, high in CHUNKS]
    rest = np.exp(rng.uniform(np.log(3000), np.log(25000), count - 3 * (count // 10)))
    centre = np.sort(np.concatenate([*parts, rest]))
    alpha = np.where(np.arange(count) % 3 == 0, rng.uniform(0.5, 1.0, count), 0.0)
    by = (rng.normal(-0.5, 0.4, count), rng.normal(0.0, 0.2, count), rng.uniform(0.7, 1.1, count))
    slopes = np.stack([*by, alpha], axis=1)
    return Universe(centre, np.exp(rng.uniform(np.log(0.01), np.log(0.4), count)), slopes)


def planck(wave: np.ndarray, teff: float) -> np.ndarray:
    """π B(λ, Teff) in erg/s/cm²/cm, at λ in Å."""
    metres, c = wave * 1e-10, SPEED_OF_LIGHT * 1e3
    with np.errstate(over="ignore"):
        body = 2 * PLANCK * c**2 / metres**5 / np.expm1(PLANCK * c / (metres * BOLTZMANN * teff))
    return np.pi * body * 10.0  # W/m²/m to erg/s/cm²/cm


# --- the mock ----------------------------------------------------------------------------------


def nodes_of(size: str) -> list[tuple[float, ...]]:
    """The nodes: as ragged as the library, and one in fifty missing anywhere."""
    box = [node for node in product(*SIZES[size]) if inside_edges(*node)]
    lost = np.random.default_rng(7).choice(len(box), len(box) // 50, replace=False)
    return [node for i, node in enumerate(box) if i not in lost]


def inside_edges(teff: float, logg: float, feh: float, alpha: float) -> bool:
    """Alpha varies from [Fe/H] −3 to 0 only; the hotter a star, the fewer low gravities it has;
    the most metals come with no low gravity, the fewest not with the highest."""
    enhanced = alpha == 0.0 or -3.0 <= feh <= 0.0
    stable = logg >= max((teff - 5000.0) / 500.0, 2.0 if feh == 1.0 else 0.0)
    return enhanced and stable and (feh, logg) != (-4.0, 6.0)


def write_mock(root: Path, size: str, coarse: float) -> int:
    """Write the mock below `root`; the number of its spectra."""
    root.mkdir(parents=True)
    wave, universe = wavelengths(coarse), make_universe()
    fits.PrimaryHDU(wave).writeto(root / WAVE_FILE)
    nodes = nodes_of(size)
    for node in nodes:
        path = root / phoenix_path(*node)
        path.parent.mkdir(parents=True, exist_ok=True)
        keys = ("PHXTEFF", "PHXLOGG", "PHXM_H", "PHXALPHA")
        header = fits.Header({**dict(zip(keys, node, strict=True)), "PHXCONV": True})
        image = fits.PrimaryHDU(universe.flux(wave, *node).astype(np.float32), header)
        column = fits.Column("Fe", "E", array=[7.5 + node[2]])
        table = fits.BinTableHDU.from_columns([column], name="ABUNDANCES")
        fits.HDUList([image, table]).writeto(path)
    return len(nodes)


def write_star(path: Path, coarse: float, snr: float, seed: int) -> None:
    """The star over all chunks, with gaps between them and noise."""
    wave = wavelengths(coarse)
    wave = np.concatenate([wave[(wave > low) & (wave < high)] for low, high in CHUNKS])
    flux = make_universe().flux(wave, **STAR)
    error = flux.max() / snr * np.ones_like(flux)
    noisy = flux + error * np.random.default_rng(seed).normal(size=flux.size)
    write_spectrum(Spectrum(wave, noisy, error=error, meta={"medium": "vacuum"}), path)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of files, with listings of folders."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


# --- stages ------------------------------------------------------------------------------------


def fetched(root: Path, cache: Path) -> dict[str, object]:
    """Fetch the whole mock from a server of files."""
    handler: Callable[..., Quiet] = partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        words = ("--root", address, "--alpha=-0.2:1.2", "--cache", cache, "--yes")
        row, _ = measured("fetch", "fetch", "phoenix", *words)
        server.shutdown()
    return row


def by_chunks(
    folder: Path, library: Path, recipe: Path, workers: int, count: int
) -> list[dict[str, object]]:
    """Clone, build and infer in each of the first `count` chunks; a row for each stage."""
    rows = []
    for k, (low, high) in enumerate(CHUNKS[:count]):
        where, clones, model = f"{low:g}:{high:g}", folder / f"{k}.zarr", folder / f"{k}.zip"
        cut = ("--wave", where, "--recipe", recipe, "--workers", workers)
        row, _ = measured(f"clone {where}", "clone", library, "-o", clones, *cut)
        rows.append(row)
        row, _ = measured(f"build {where}", "build", clones, "-o", model)
        rows.append({**row, "model_mb": model.stat().st_size / 1e6})
        known = ("--fix", "resolution=inf", "--fix", "vsini=0", "--json")
        row, said = measured(
            f"infer {where}", "infer", folder / "star.npz", "--model", model, *known
        )
        (answer,) = json.loads(said)
        rows.append({**row, **{key: answer[key] for key in ("labels", "flags", "chi2_red")}})
    return rows


def show(facts: dict[str, object], rows: list[dict[str, object]]) -> None:
    """The tables."""
    print(
        "{nodes} nodes, {holes} holes, {pixels} pixels a spectrum, {library_mb:.0f} MB".format(
            **facts
        )
    )
    print(f"{'stage':22s} {'seconds':>8s} {'cpu s':>8s} {'peak MB':>8s}")
    for row in rows:
        print(f"{row['stage']:22s} {row['seconds']:8.1f} {row['cpu']:8.1f} {row['peak_mb']:8.0f}")
    print(f"\n{'star':22s} " + " ".join(f"{name}={value:g}" for name, value in STAR.items()))
    for row in rows:
        if "labels" in row:
            found = (
                f"{name}={label['value']:.4g}±{label['sigma']:.2g}"
                for name, label in row["labels"].items()
            )
            print(f"{row['stage']:22s} {' '.join(found)}  chi2 {row['chi2_red']:.2f}")
            print(*(f"{'':22s} flag: {flag}" for flag in row["flags"]), sep="\n")


def main() -> None:
    """Print the tables; with --json write the numbers too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--chunks", type=int, default=len(CHUNKS), help="how many of them")
    parser.add_argument("--coarse", type=float, default=2.0, help="1: the library's own steps")
    parser.add_argument("--rounds", type=int, default=2, help="of adding lines (default recipe: 4)")
    parser.add_argument("--epochs", type=int, default=60, help="passes a round")
    parser.add_argument("--snr", type=float, default=200.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        count = write_mock(folder / "server", args.size, args.coarse)
        written = time.perf_counter() - start
        write_star(folder / "star.npz", args.coarse, args.snr, args.seed)
        recipe = DEFAULT.replace(name="shape", rounds=args.rounds, epochs=args.epochs)
        (folder / "recipe.json").write_text(recipe.to_json())
        rows = [fetched(folder / "server", folder / "cache")]
        library = next((folder / "cache").rglob(ACES))
        row, said = measured("grid", "grid", library.parent, "--json")
        recipe_file = folder / "recipe.json"
        rows += [row, *by_chunks(folder, library.parent, recipe_file, args.workers, args.chunks)]
        grid = json.loads(said)
        size = sum(file.stat().st_size for file in (folder / "server").rglob("*.fits")) / 1e6
    facts = {"nodes": count, "holes": grid["n_holes"], "pixels": grid["pixels"]}
    facts |= {"library_mb": size, "seconds_to_write": written}
    show(facts, rows)
    if args.json:
        args.json.write_text(json.dumps({**facts, "star": STAR, "stages": rows}, indent=1))


if __name__ == "__main__":
    main()
