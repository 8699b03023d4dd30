"""Is anything lost, or done twice, when clone, build and infer are killed at random moments?

    python benchmarks/kills.py --kills 50 --workers 2 --json kills.json

A toy library is cloned, built by windows, and used on a stack of stars, again and again. At a
random moment of each run, SIGKILL goes to the command with its workers, or to one of them alone,
which the command has to survive. What was finished at that moment must remain as it is, to the
byte and date of its files, and the model and the labels must be those of a run without a kill.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from astropy.table import Table

from blase3d.errors import ArchiveError
from blase3d.fitting.archive import Archive, open_archive
from blase3d.libraries import write_grid
from blase3d.libraries.toy import toy_flux, toy_grid
from blase3d.model.identity import model_checksum
from blase3d.model.model_file import load_model
from blase3d.recipe import DEFAULT

AXES = {"teff": (5000.0, 5500.0, 6000.0), "logg": (4.0, 5.0), "feh": (-0.5, 0.5)}
RECIPE = DEFAULT.replace(name="tiny", rounds=1, epochs=4, window=400, margin=50)
COMMAND = (
    "from blase3d.model import model_windows; model_windows.WINDOW = 267; "
    "from blase3d.cli import main; main()"
)
"""`blase3d` with windows of 267 pixels in models, three of them here."""
STARS = 60
Finished = dict[str, tuple[int, bytes]]
"""Date and content, by name."""


@dataclass(frozen=True)
class Stage:
    """A command."""

    name: str
    words: tuple[str, ...]

    def start(self, folder: Path, workers: int) -> subprocess.Popen[str]:
        """Start it in a process group of its own."""
        words = [sys.executable, "-c", COMMAND, *self.words, "--workers", str(workers)]
        return subprocess.Popen(
            words,
            cwd=folder,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


STAGES = (
    Stage("clone", ("clone", "grid.npz", "-o", "clones", "--recipe", "recipe.json")),
    Stage("build", ("build", "clones", "-o", "model.zip")),
    Stage("infer", ("infer", "stars.npz", "--model", "model.zip", "-o", "table.ecsv")),
)


def prepare(folder: Path) -> None:
    """Write library, recipe and stars."""
    folder.mkdir()
    grid = toy_grid(AXES).cut(8480.0, 8496.0)
    write_grid(grid, folder / "grid.npz")
    (folder / "recipe.json").write_text(RECIPE.to_json())
    rng, wave = np.random.default_rng(1), grid.wavelength
    labels = rng.uniform((5100.0, 4.1, -0.4), (5900.0, 4.9, 0.4), (STARS, 3))
    flux = np.stack([toy_flux(row, wave) for row in labels])
    flux += rng.normal(0.0, 0.01, flux.shape)
    meta = json.dumps({"medium": "vacuum", "resolution": 1e5})
    error = np.full_like(flux, 0.01)
    np.savez(folder / "stars.npz", wavelength=wave, flux=flux, error=error, meta=meta)


def finished(folder: Path) -> Finished:
    """What is finished in a folder: nodes, windows, and lines of results."""
    found: Finished = {}
    rows = folder / "table.ecsv.rows"
    if rows.exists():
        lines = rows.read_bytes().split(b"\n")[:-1]
        found = {f"star {k}": (0, line) for k, line in enumerate(lines)}
    try:
        archive = open_archive(folder / "clones")
    except ArchiveError:
        return found
    for name in groups(archive):
        for file in (archive.path / name).rglob("*"):
            if file.is_file() and ".partial" not in file.name and "error_modes" not in file.parts:
                found[str(file)] = file.stat().st_mtime_ns, file.read_bytes()
    return found


def groups(archive: Archive) -> list[str]:
    """Groups of an archive that are finished."""
    nodes = [f"nodes/{i}" for i in range(len(archive)) if archive.is_done(i)]
    fits = [
        f"rounds/{path.parent.name}/{path.name}"
        for path in archive.path.glob("rounds/*/[0-9]*")
        if archive.window(int(path.name), int(path.parent.name)) is not None
    ]
    built = [f"{path.parent.name}/{path.name}" for path in archive.path.glob("built/*/[0-9]*")]
    return nodes + fits + [f"built/{name}" for name in built if archive.has_built(name)]


def run(stage: Stage, folder: Path, workers: int) -> float:
    """Run a stage to its end; its seconds."""
    start = time.perf_counter()
    process = stage.start(folder, workers)
    finish(stage, process)
    return time.perf_counter() - start


def finish(stage: Stage, process: subprocess.Popen[str]) -> None:
    """Wait for a command, which must succeed."""
    _, err = process.communicate()
    if process.returncode:
        raise SystemExit(f"{stage.name} ended with status {process.returncode}:\n{err[-2000:]}")


def kill(process: subprocess.Popen[str], rng: np.random.Generator) -> str:
    """Kill a command with its workers, or one of these; which."""
    found = psutil.Process(process.pid).children(recursive=True)
    workers = [child for child in found if "spawn_main" in " ".join(child.cmdline())]
    if workers and rng.random() < 0.5:
        workers[rng.integers(len(workers))].kill()
        return "worker"
    os.killpg(process.pid, signal.SIGKILL)
    return "command"


def disturbed(
    stage: Stage, folder: Path, workers: int, seconds: dict[str, float], rng: np.random.Generator
) -> dict[str, object] | None:
    """Run a stage that is killed at a random moment of its `seconds`; None if it ended before, and
    these are set to that time, so that later moments are earlier."""
    moment = rng.uniform(0.0, seconds[stage.name])
    process, before = stage.start(folder, workers), finished(folder)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        which = kill(process, rng)
        if which == "worker":
            finish(stage, process)
        process.communicate()
        after = finished(folder)
        if stage.name == "infer" and which == "worker":  # the lines have become the table
            before = {name: row for name, row in before.items() if not name.startswith("star ")}
        lost = [name for name, row in before.items() if after.get(name) != row]
        return {"stage": stage.name, "killed": which, "finished": len(after), "lost": lost}
    finish(stage, process)
    seconds[stage.name] = moment
    return None


def results(folder: Path) -> tuple[str, np.ndarray]:
    """Checksum of the model, and the labels of the stars in order of their names."""
    table = Table.read(folder / "table.ecsv")
    labels = np.stack([np.asarray(table[name], float) for name in (*AXES, "rv")], axis=1)
    return model_checksum(load_model(folder / "model.zip")), labels[np.argsort(table["spectrum"])]


def main() -> None:
    """Kill, compare and print; with --json write every kill too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rng, rows, chains = np.random.default_rng(args.seed), [], 0
    with tempfile.TemporaryDirectory() as name:
        quiet = Path(name) / "quiet"
        prepare(quiet)
        seconds = {stage.name: run(stage, quiet, args.workers) for stage in STAGES}
        expected = results(quiet)
        while len(rows) < args.kills:
            folder = Path(name) / str(chains)
            prepare(folder)
            for stage in STAGES:
                ended = False
                while not ended and len(rows) < args.kills:
                    row = disturbed(stage, folder, args.workers, seconds, rng)
                    ended = row is None or row["killed"] == "worker"
                    if row is not None:
                        rows.append(row)
                        print(*row.values(), flush=True)
                if not ended:
                    run(stage, folder, args.workers)
            found, chains = results(folder), chains + 1
            same = found[0] == expected[0] and np.array_equal(found[1], expected[1])
            print(f"chain {chains}: the results are {'the same' if same else 'others'}", flush=True)
            if not same:
                raise SystemExit("the results of a disturbed run differ")
    lost = sum(bool(row["lost"]) for row in rows)
    for stage in STAGES:
        of_stage = [row["killed"] for row in rows if row["stage"] == stage.name]
        print(stage.name, *(f"{of_stage.count(k)} {k}s" for k in ("command", "worker")))
    print(f"{len(rows)} kills in {chains} chains; something was lost after {lost}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
