"""One model over the shape of PHOENIX ACES, from the server to a star.

    python benchmarks/phoenix_shape.py --fraction 0.2 --folder shape --json shape.json

A mock of the library is written in its layout, form and size: FITS files in folders by metallicity
and alpha, and one file of wavelengths from 500 to 55,000 Å. A server of files takes the place of
the library's. `blase3d fetch` brings the spectra from there, and whole windows of 16,384 pixels, a
given fraction of those from 8038 to 12849 Å, are cloned and built into one model, which is used on
a star that is not a node. Every stage is a process, whose time and peak memory are printed. A
stage whose numbers are in the folder is not run again, and `clone` and `build` continue.

Lines belong to families: atoms, ions, four molecules that set in at their temperatures, lines of
hot stars, and the Paschen series. With t = 5040 K/Teff, g = log g − 4.5, z = [Fe/H], a = [α/Fe],

    ln area = ln a₀ + 2.3 χ (1 − t) + G g + Z z + A a − s((Teff − T₁)/w₁) − s((T₀ − Teff)/w₀)

where s(x) = ln(1 + eˣ), and the flux is B(λ, Teff) (1 + a slow wave) / (1 + Σ area V). Outside
the windows it is the continuum.

With --narrow, the files of the mock have the pixels of the windows alone, so that a library of
every node of PHOENIX (`--shape full`) fits on a disk.
"""

from __future__ import annotations

import argparse
import http.server
import json
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path

import numpy as np

from commands import aside, measured

STEPS = ((500, 3000, 0.1), (3000, 5000, 0.006), (5000, 10000, 0.01), (10000, 15000, 0.02),
         (15000, 25000, 0.04), (25000, 55000, 0.15))  # fmt: skip
"""From, to, step (Å): 1.56 million pixels; between 5,000 and 15,000 Å those of the library."""
RANGE = 8038.0, 12849.0
"""Å. The range of the paper, 338,650 pixels."""
MIDDLE = 10_000.0
"""Å around which windows are taken: the step doubles there."""
WINDOW = 16_384
"""Pixels of a window of a model."""
Node = tuple[float, ...]
SHAPES: dict[str, tuple[tuple[float, ...], ...]] = {
    "paper": (
        (*range(2300, 7001, 100), *range(7200, 12001, 200)),
        tuple(np.arange(2.0, 6.1, 0.5).tolist()),
        (-0.5, 0.0),
        (0.0,),
    ),
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
    "full": (
        (*range(2300, 7001, 100), *range(7200, 12001, 200)),
        tuple(np.arange(0.0, 6.1, 0.5).tolist()),
        (-4.0, -3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0),
        (-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2),
    ),
}
HOLES = {(7200.0, 2.0, -0.5, 0.0), (8600.0, 4.5, -0.5, 0.0)}
"""Nodes of the paper's box that the library does not have."""
STAR = {"teff": 5620.0, "logg": 4.37, "feh": -0.35, "alpha": 0.15}
"""A star between the nodes; without alpha where the library has none."""
PART = 2_000
"""Pixels of a short spectrum of it, 40 Å in the middle."""
REACH = 1e-5
"""Depth to which a line is drawn."""


# --- the universe ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """Lines that appear and vanish together.

    Strongest and typical ln area (Å), excitation χ (eV), mass (u) and ln gamma (Å) are ranges;
    `rise` and `fall` are T₀, w₀ and T₁, w₁ in K; `metals` Z, `gravity` G and `alpha` A as above.
    """

    count: int
    excitation: tuple[float, float]
    mass: float
    rise: tuple[float, float] = (-1e5, 1e3)
    fall: tuple[float, float] = (1e6, 1e3)
    metals: tuple[float, float] = (0.7, 1.1)
    gravity: tuple[float, float] = (-0.1, 0.2)
    alpha: float = 0.0
    faintest: float = -6.5


FAMILIES = {
    "atoms": Family(12_000, (0.0, 6.0), 56.0, fall=(6500.0, 650.0), alpha=0.3),
    "ions": Family(600, (1.0, 4.0), 56.0, (4500.0, 500.0), (9500.0, 700.0), gravity=(-0.5, 0.0)),
    "hot": Family(100, (0.0, 1.0), 4.0, (10_500.0, 500.0), metals=(0.0, 0.2)),
    "CN": Family(9_000, (0.0, 0.5), 26.0, fall=(5000.0, 250.0), metals=(1.0, 2.0)),
    "TiO": Family(12_000, (0.0, 0.3), 64.0, fall=(3900.0, 150.0), metals=(1.0, 2.0), alpha=0.5),
    "FeH": Family(5_000, (0.0, 0.3), 57.0, fall=(3500.0, 200.0), gravity=(0.2, 0.5)),
    "H2O": Family(25_000, (0.0, 0.5), 18.0, fall=(3000.0, 120.0), metals=(0.5, 1.0)),
}
PASCHEN = range(5, 25)
"""Upper levels."""


@dataclass(frozen=True)
class Universe:
    """Lines: centre (Å) and, by row, what their parameters follow, (N,) each."""

    centre: np.ndarray
    rows: dict[str, np.ndarray]

    def params(self, teff: float, logg: float, feh: float, alpha: float = 0.0) -> np.ndarray:
        """Shift, ln area, ln sigma and ln gamma, (N, 4)."""
        rows, gravity = self.rows, logg - 4.5
        ln_area = rows["ln_area"] + 2.3 * rows["excitation"] * (1.0 - 5040.0 / teff)
        ln_area += rows["gravity"] * gravity + rows["metals"] * feh + rows["alpha"] * alpha
        ln_area -= np.logaddexp(0.0, (teff - rows["fall"]) / rows["fall_width"])
        ln_area -= np.logaddexp(0.0, (rows["rise"] - teff) / rows["rise_width"])
        velocity = np.sqrt(8.314e-3 * teff / rows["mass"] + 1.1)  # km/s
        ln_gamma = rows["ln_gamma"] + rows["pressure"] * gravity
        sigma = self.centre * velocity / 299792.458
        return np.stack([np.zeros_like(sigma), ln_area, np.log(sigma), ln_gamma], axis=1)


def make_universe(seed: int = 1) -> Universe:
    """The lines of all families, from a little before `RANGE` to a little after."""
    rng = np.random.default_rng(seed)
    centre, rows = [], []
    for family in FAMILIES.values():
        n = family.count
        centre.append(rng.uniform(RANGE[0] - 20.0, RANGE[1] + 20.0, n))
        rows.append(
            {
                "ln_area": np.minimum(family.faintest + rng.exponential(1.2, n), -0.5),
                "excitation": rng.uniform(*family.excitation, n),
                "metals": rng.uniform(*family.metals, n),
                "gravity": rng.uniform(*family.gravity, n),
                "alpha": family.alpha * (rng.random(n) < 0.3),
                "mass": np.full(n, family.mass),
                "ln_gamma": rng.normal(np.log(0.012), 0.3, n),
                "pressure": np.full(n, 0.3),
            }
            | _of_family(family, n)
        )
    upper = np.array(PASCHEN, float)
    centre.append(1e8 / (109677.58 * (1.0 / 9.0 - 1.0 / upper**2)))
    n, series = upper.size, Family(0, (0.0, 0.0), 1.0, (8000.0, 700.0), (12_500.0, 1500.0))
    fixed = {"excitation": 0.0, "metals": 0.0, "gravity": 0.1, "alpha": 0.0, "mass": 1.0}
    fixed |= {"ln_gamma": np.log(3.0), "pressure": 0.6}
    rows.append(
        {name: np.full(n, value) for name, value in fixed.items()}
        | {"ln_area": 2.3 - np.log(upper / 5.0)}
        | _of_family(series, n)
    )
    together = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    order = np.argsort(np.concatenate(centre))
    return Universe(
        np.concatenate(centre)[order], {name: values[order] for name, values in together.items()}
    )


def _of_family(family: Family, n: int) -> dict[str, np.ndarray]:
    """Temperatures at which lines appear and vanish, (n,) each."""
    names = ("rise", "rise_width", "fall", "fall_width")
    return {
        name: np.full(n, value)
        for name, value in zip(names, (*family.rise, *family.fall), strict=True)
    }


class Painter:
    """Draws spectra on pixels (P,), Å."""

    def __init__(self, wavelength: np.ndarray, nodes: list[Node]):
        import jax

        from blase3d.lines.render import make_layout, reach, render

        self.wavelength, universe = wavelength, make_universe()
        some = [universe.params(*node) for node in nodes[:: max(len(nodes) // 100, 1)]]
        far = np.max([reach(params, REACH) for params in some], axis=0)
        low, high = universe.centre - far, universe.centre + far
        seen = (high > wavelength[0]) & (low < wavelength[-1])
        rows = {name: values[seen] for name, values in universe.rows.items()}
        self.universe = Universe(universe.centre[seen], rows)
        layout = make_layout(wavelength, self.universe.centre, far[seen])
        self._render = jax.jit(lambda params: render(params, layout, "opacity"))

    def transmitted(self, node: Node) -> np.ndarray:
        """Flux in units of the continuum."""
        return np.asarray(self._render(self.universe.params(*node).astype(np.float32)))


def continuum(wave: np.ndarray, teff: float) -> np.ndarray:
    """π B(λ, Teff), times a slow wave, in erg/s/cm²/cm at λ in Å."""
    from blase3d.runtime.units import BOLTZMANN, PLANCK, SPEED_OF_LIGHT

    metres, c = wave * 1e-10, SPEED_OF_LIGHT * 1e3
    with np.errstate(over="ignore"):
        body = 2 * PLANCK * c**2 / metres**5 / np.expm1(PLANCK * c / (metres * BOLTZMANN * teff))
    return np.pi * body * 10.0 * (1.0 + 0.03 * np.sin(wave / 400.0))  # W/m²/m to erg/s/cm²/cm


# --- the mock ----------------------------------------------------------------------------------


def library_pixels() -> np.ndarray:
    """The pixels (P,) of the library, Å in vacuum."""
    return np.concatenate([np.arange(low, high, step) for low, high, step in STEPS])


def taken_pixels(wave: np.ndarray, fraction: float) -> slice:
    """Whole windows, a fraction of those in `RANGE`, around `MIDDLE`; with 1, the whole range."""
    first, stop = np.searchsorted(wave, RANGE)
    if fraction >= 1.0:
        return slice(int(first), int(stop))
    count = max(round(fraction * (stop - first) / WINDOW), 1) * WINDOW
    start = np.clip(np.searchsorted(wave, MIDDLE) - count // 2, first, stop - count)
    return slice(int(start), int(start + count))


def nodes_of(shape: str) -> list[Node]:
    """The nodes: the paper's box without its holes, or as ragged as the library, and one in fifty
    missing anywhere."""
    box = list(product(*SHAPES[shape]))
    if shape == "paper":
        return [node for node in box if node not in HOLES]
    box = [node for node in box if inside_edges(*node)]
    lost = np.random.default_rng(7).choice(len(box), len(box) // 50, replace=False)
    return [node for i, node in enumerate(box) if i not in lost]


def inside_edges(teff: float, logg: float, feh: float, alpha: float) -> bool:
    """Alpha varies from 3500 to 8000 K and from [Fe/H] −3 to 0 only; the hotter a star, the fewer
    low gravities it has; the most metals come with no low gravity, the fewest not with the
    highest."""
    enhanced = alpha == 0.0 or (-3.0 <= feh <= 0.0 and 3500.0 <= teff <= 8000.0)
    lowest = min((teff - 5000.0) / 500.0, 4.0)
    stable = logg >= max(lowest, 2.0 if feh == 1.0 else 0.0)
    return enhanced and stable and (feh, logg) != (-4.0, 6.0)


def star_of(shape: str) -> dict[str, float]:
    """The labels of the star."""
    varying = len(SHAPES[shape][3]) > 1
    return {name: value for name, value in STAR.items() if varying or name != "alpha"}


def write_mock(
    root: Path, folder: Path, shape: str, fraction: float, narrow: bool, snr: float
) -> dict[str, float]:
    """Write the mock below `root`, and the star with noise into a folder; the numbers of both."""
    from astropy.io import fits

    from blase3d.libraries.readers.phoenix import WAVE_FILE, phoenix_path
    from blase3d.lines.detect import detect
    from blase3d.spectra.formats import write_spectrum
    from blase3d.spectra.spectrum import Spectrum

    wave, nodes = library_pixels(), nodes_of(shape)
    pixels = taken_pixels(wave, fraction)
    if narrow:
        wave, pixels = wave[pixels], slice(0, pixels.stop - pixels.start)
    painter, counts = Painter(wave[pixels], nodes), []
    clear = lru_cache(maxsize=1)(partial(continuum, wave))
    root.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(wave).writeto(root / WAVE_FILE, overwrite=True)
    for node in nodes:
        lines = painter.transmitted(node)
        counts.append(len(detect(wave[pixels], lines.astype(float), 0.005, 4)))
        path = root / phoenix_path(*node)
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        flux = clear(node[0]).copy()
        flux[pixels] *= lines
        keys = ("PHXTEFF", "PHXLOGG", "PHXM_H", "PHXALPHA")
        header = fits.Header({**dict(zip(keys, node, strict=True)), "PHXCONV": True})
        column = fits.Column("Fe", "E", array=[7.5 + node[2]])
        table = fits.BinTableHDU.from_columns([column], name="ABUNDANCES")
        image = fits.PrimaryHDU(flux.astype(np.float32), header)
        fits.HDUList([image, table]).writeto(path.with_suffix(".part"), overwrite=True)
        path.with_suffix(".part").rename(path)
    labels = tuple(star_of(shape).values())
    flux = continuum(wave[pixels], labels[0]) * painter.transmitted(labels)
    error = flux.max() / snr * np.ones_like(flux)
    noisy = flux + error * np.random.default_rng(0).normal(size=flux.size)
    whole = Spectrum(wave[pixels], noisy, error=error, meta={"medium": "vacuum"})
    write_spectrum(whole, folder / "star.npz")
    middle = slice((pixels.stop - pixels.start) // 2, None)
    part = Spectrum(*(values[middle][:PART] for values in (whole.wavelength, noisy, error)))
    write_spectrum(replace(part, meta=whole.meta), folder / "part.npz")
    size = sum(file.stat().st_size for file in root.rglob("*.fits")) / 1e9
    low, high = float(wave[pixels][0]), float(wave[pixels][-1])
    return {
        **{"nodes": len(nodes), "pixels": pixels.stop - pixels.start, "low": low, "high": high},
        **{"library_gb": size, "lines_min": min(counts), "lines_max": max(counts)},
        "lines_mean": float(np.mean(counts)),
    }


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of files, with listings of folders."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


# --- stages ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """Stages whose numbers are stored in a folder as they are done."""

    folder: Path

    def done(self, stage: str, work: Callable[[], dict[str, object]]) -> dict[str, object]:
        """Numbers of a stage, which is run if they are not stored."""
        path = self.folder / "stages.json"
        rows = json.loads(path.read_text()) if path.exists() else {}
        if stage not in rows:
            rows[stage] = work()
            path.write_text(json.dumps(rows, indent=1))
        return rows[stage]

    def command(self, stage: str, *words: object) -> dict[str, object]:
        """Run a command as a stage; with its output if that is JSON."""
        return self.done(stage, lambda: self._measured(stage, *words))

    def _measured(self, stage: str, *words: object) -> dict[str, object]:
        row, said = measured(stage, *words)
        return row | ({"output": json.loads(said)} if "--json" in words else {})


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


def option_words(labels: dict[str, float]) -> list[object]:
    """Labels as options of a command."""
    words = {"alpha": ["--label", f"alpha={labels.get('alpha')}"]}
    return [word for k, value in labels.items() for word in words.get(k, [f"--{k}", value])]


def size_of(path: Path) -> float:
    """MB of a file or folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def stages(run: Run, args: argparse.Namespace) -> dict[str, dict[str, object]]:
    """All stages, from the server to the star."""
    folder = run.folder
    root, cache = folder / "server", folder / "cache"
    mock = (write_mock, root, folder, args.shape, args.fraction, args.narrow, args.snr)
    facts = run.done("mock", lambda: aside(*mock))
    rows: dict[str, dict[str, object]] = {"mock": facts}
    rows["fetch"] = run.done("fetch", lambda: fetched(root, cache))
    library, clones, model = cache / "phoenix", folder / "clones.zarr", folder / "model.zip"
    rows["grid"] = run.command("grid", "grid", library, "--json")
    where = f"{facts['low'] - 0.004}:{facts['high'] + 0.004}"
    done = ("--recipe", args.recipe, "--workers", args.workers)
    rows["clone"] = run.command("clone", "clone", library, "-o", clones, "--wave", where, *done)
    rows["build"] = run.command("build", "build", clones, "-o", model, "--workers", args.workers)
    labels = option_words(star_of(args.shape))
    made, middle = ("-o", folder / "made.npz"), 0.5 * (facts["low"] + facts["high"])
    part = f"{middle:g}:{middle + 40:g}"
    known = ("--model", model, "--fix", "resolution=inf", "--fix", "vsini=0", "--json")
    rows["synth"] = run.command("synth", "synth", model, *labels, *made)
    rows["synth 40 Å"] = run.command("synth 40 Å", "synth", model, *labels, "--wave", part, *made)
    rows["lines 10 Å"] = run.command(
        "lines 10 Å", "lines", model, *labels, "--near", middle, "--json"
    )
    rows["validate"] = run.command("validate", "validate", model, "--json")
    rows["infer 40 Å"] = run.command("infer 40 Å", "infer", folder / "part.npz", *known)
    rows["infer"] = run.command("infer", "infer", folder / "star.npz", *known)
    facts["clones_mb"], facts["model_mb"] = size_of(clones), size_of(model)
    return rows


def show(rows: dict[str, dict[str, object]], shape: str) -> None:
    """The tables."""
    facts = rows["mock"]
    print(
        "{nodes} nodes, {pixels} pixels from {low:.0f} to {high:.0f} Å, of a library of "
        "{library_gb:.1f} GB; {lines_min} to {lines_max} lines a node, {lines_mean:.0f} on "
        "average; clones {clones_mb:.0f} MB, model {model_mb:.1f} MB".format(**facts)
    )
    each = facts["nodes"] * facts["pixels"]
    print(f"{'stage':12s} {'seconds':>8s} {'cpu s':>8s} {'peak MB':>8s} µs/node/pixel")
    for name, row in rows.items():
        if "cpu" in row:
            numbers = f"{row['seconds']:8.1f} {row['cpu']:8.1f} {row['peak_mb']:8.0f}"
            print(f"{name:12s} {numbers} {1e6 * row['cpu'] / each:6.2f}")
    print("\nstar", *(f"{name}={value:g}" for name, value in star_of(shape).items()))
    for stage in ("infer 40 Å", "infer"):
        (answer,) = rows[stage]["output"]
        found = (f"{k}={v['value']:.5g}±{v['sigma']:.2g}" for k, v in answer["labels"].items())
        print(f"{stage:12s}", *found, f"chi2 {answer['chi2_red']:.2f}", *answer["flags"])


def main() -> None:
    """Print the tables; with --json write the numbers too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="paper")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the windows")
    parser.add_argument("--narrow", action="store_true", help="no pixels beside the windows")
    parser.add_argument("--recipe", default="default", help="as of blase3d clone")
    parser.add_argument("--snr", type=float, default=200.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to work, and to continue")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = args.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        rows = stages(Run(folder), args)
    show(rows, args.shape)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
