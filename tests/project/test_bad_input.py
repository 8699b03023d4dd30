"""Bad input of every kind: one sentence that says what is wrong, status 1 or 2, nothing lost.

Each row of the tables says what is fed to whom, which words the sentence has, and the exit status.
"""

from __future__ import annotations

import builtins
import gzip
import json
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from bad_files import (
    LABELS,
    Harmful,
    World,
    copied,
    edited,
    header,
    largest_file,
    make_world,
    npz,
    rezipped,
    shaped,
    snapshot,
    with_meta,
)
from cli_runner import Done

import blase3d as b3
from blase3d import cli
from blase3d.runtime import files

PRECIOUS = b"an answer of last year"
DEEP = "[" * 100_000
LAUGHS = "\n".join(
    [
        "# %ECSV 1.0",
        "# ---",
        "# datatype:",
        "# - {name: wavelength, datatype: float64}",
        "# - {name: flux, datatype: float64}",
        "# meta:",
        "#   medium: vacuum",
        "#   a: &a [x, x, x, x, x, x, x, x, x]",
        *(
            f"#   {new}: &{new} [{', '.join([f'*{old}'] * 9)}]"
            for old, new in zip("abcdefghi", "bcdefghij", strict=True)
        ),
        "# schema: astropy-2.0",
        "wavelength flux",
        "8490.0 1.0",
        "8491.0 1.0\n",
    ]
)


Words = Sequence[str | Path]
Feed = Callable[[World, Path], Words]
Run = Callable[[Words], Done]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def run(run: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(files, "memory", lambda: 2**30)  # on a large machine too
    return lambda words: run(*words)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with outputs of last year, which no failure may touch."""
    for name in ("out.npz", "out.zip", "out.ecsv"):
        (tmp_path / name).write_bytes(PRECIOUS)
    (tmp_path / "full.npz").mkdir()
    (tmp_path / "full.npz" / "thesis.txt").write_bytes(PRECIOUS)
    return tmp_path


def untouched(place: Path) -> bool:
    found = snapshot(place)
    names = ("out.npz", "out.zip", "out.ecsv", "full.npz/thesis.txt")
    partial = [name for name in found if name.endswith((".partial", ".old"))]
    return all(found[name] == PRECIOUS for name in names) and not partial


# --- writers of one bad file, which return the words of a command --------------------------------


def to_grid(make: Callable[[World, Path], Path]) -> Feed:
    return lambda w, t: ["grid", make(w, t / "bad.npz"), "-o", t / "out.npz"]


def empty(path: Path) -> Path:
    path.mkdir()
    return path


def to_infer(make: Callable[[World, Path], Path], *more: str) -> Feed:
    return lambda w, t: ["infer", make(w, t / "bad.npz"), "--model", w.model, *more]


def text(name: str, content: str | bytes, *more: str) -> Feed:
    def words(w: World, t: Path) -> Words:
        (t / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return ["infer", t / name, "--model", w.model, *more]

    return words


def recipe(content: str) -> Feed:
    def words(w: World, t: Path) -> Words:
        (t / "r.json").write_text(content)
        return ["clone", w.grid, "-o", t / "c.zarr", "--recipe", t / "r.json", "--workers", "1"]

    return words


def pickled(mark: Path) -> bytes:
    stream = BytesIO()
    np.save(stream, np.array([Harmful(mark)], dtype=object), allow_pickle=True)
    return stream.getvalue()


def bomb(w: World, path: Path) -> Path:
    """A member of 3 GB in a file of 3 MB."""
    import zipfile

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("flux.npy", "w") as member:
            member.write(header("<f8", (1, 3 * 2**27)))
        archive.writestr("wavelength.npy", header("<f8", (2,), bytes(16)))
    data = bytearray(path.read_bytes())
    where = data.rindex(b"PK\x01\x02", 0, data.rindex(b"PK\x01\x02"))
    data[where + 24 : where + 28] = (3 * 2**30).to_bytes(4, "little")  # as the directory has it
    path.write_bytes(data)
    return path


def bad_zarr(name: str, shape: list[int], chunks: list[int]) -> Feed:
    def words(w: World, t: Path) -> Words:
        edited(copied(w.zarr, t / "g.zarr") / name / "zarr.json", shaped(shape, chunks))
        return ["grid", t / "g.zarr"]

    return words


def bad_clones(name: str, change: Callable[[dict[str, Any]], None]) -> Feed:
    def words(w: World, t: Path) -> Words:
        edited(copied(w.clones, t / "c.zarr") / name, change)
        return ["build", t / "c.zarr", "-o", t / "out.zip"]

    return words


def bad_model(name: str, change: Callable[[dict[str, Any]], None]) -> Feed:
    """A model with a file of metadata changed, and the sums of the zip file right."""

    def words(w: World, t: Path) -> Words:
        import zipfile

        with zipfile.ZipFile(w.model) as archive:
            content = json.loads(archive.read(name))
        change(content)
        path = rezipped(w.model, t / "bad.zip", {name: json.dumps(content).encode()})
        return ["synth", path, *LABELS, "-o", t / "out.npz"]

    return words


def attribute(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["attributes"].update({name: value})


def version_2(w: World, t: Path) -> Words:
    """A Zarr group of version 2, whose arrays may be pickles."""
    folder = t / "v2.zarr"
    folder.mkdir()
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    said = {"format": "blase3d-clones", "version": 3, "recipe": "{}", "label_names": ["teff"]}
    (folder / ".zattrs").write_text(json.dumps(said))
    return ["build", folder, "-o", t / "out.zip"]


def unreadable(w: World, t: Path) -> Words:
    """An archive whose description is cut short."""
    clones = copied(w.clones, t / "c.zarr")
    whole = (clones / "zarr.json").read_bytes()
    (clones / "zarr.json").write_bytes(whole[: len(whole) // 2])
    return ["clone", w.grid, "-o", clones, "--recipe", "single", "--workers", "1"]


def linked(w: World, t: Path) -> Words:
    """Clones whose nodes are a link to a folder of ours."""
    clones = copied(w.clones, t / "c.zarr")
    (clones / "nodes" / "9").symlink_to(t / "full.npz")
    return ["clone", w.grid, "-o", clones, "--recipe", "single", "--workers", "1"]


def countless(w: World, t: Path) -> Words:
    """A table of spectra whose common pixels would fill any memory."""
    (t / "library.csv").write_text("file,teff\na.csv,5000\nb.csv,6000\n")
    (t / "library.json").write_text('{"medium": "vacuum", "wave": [1, 1e4], "step": 1e-9}')
    for name in ("a.csv", "b.csv"):
        (t / name).write_text("wavelength,flux\n8490,1\n8491,1\n")
    return ["grid", t]


def image(**cards: object) -> Feed:
    """A FITS image with some cards of its header changed after the fact."""

    def words(w: World, t: Path) -> Words:
        hdu = fits.PrimaryHDU(np.ones(100, np.float32))
        given = {"CRVAL1": 8490.0, "CDELT1": 0.02, "CTYPE1": "WAVE", "CUNIT1": "Angstrom"}
        for key, value in {**given, **cards}.items():
            hdu.header[key] = value
        hdu.writeto(t / "star.fits")
        return ["infer", t / "star.fits", "--model", w.model]

    return words


def huge_image(w: World, t: Path) -> Words:
    """A compressed FITS image that unpacks to little and declares 12 GB."""
    hdu = fits.PrimaryHDU(np.ones(100, np.float32))
    raw = hdu.header.copy()
    raw["NAXIS1"] = 3_000_000_000
    raw["CRVAL1"], raw["CDELT1"], raw["CTYPE1"] = 8490.0, 0.02, "WAVE"
    content = raw.tostring().encode() + bytes(2880)
    (t / "star.fits").write_bytes(gzip.compress(content))
    return ["infer", t / "star.fits", "--model", w.model]


def infer(*more: str) -> Feed:
    return lambda w, t: ["infer", w.star, "--model", w.model, *more]


def synth(*more: str | Path) -> Feed:
    return lambda w, t: ["synth", w.model, *LABELS, "-o", t / "out.npz", *more]


# --- the table: what is fed, to whom; words of the sentence; status ------------------------------

TABLE: dict[str, tuple[Feed, str, int]] = {
    # grid: what is no library
    "grid: nothing there": (lambda w, t: ["grid", t / "no.npz"], "no.npz|check the name", 1),
    "grid: an empty file": (
        to_grid(lambda w, p: (p.write_bytes(b"") and p) or p),
        "no .npz file|again",
        1,
    ),
    "grid: text": (to_grid(lambda w, p: p.write_text("no") and p), "no .npz file", 1),
    "grid: half a file": (
        to_grid(lambda w, p: p.write_bytes(w.grid.read_bytes()[:9000]) and p),
        "cut short",
        1,
    ),
    "grid: a pickle": (
        to_grid(lambda w, p: p.write_bytes(pickle.dumps(Harmful(p.parent / "ran"))) and p),
        "no .npz file",
        1,
    ),
    "grid: a pickle in an .npz": (
        to_grid(lambda w, p: rezipped(w.grid, p, {"meta.npy": pickled(p.parent / "ran")})),
        "allow_pickle=False|damaged",
        1,
    ),
    "grid: a spectrum": (to_grid(lambda w, p: w.star), "no labels|label_names", 1),
    "grid: a model": (lambda w, t: ["grid", w.model], "no labels and no flux", 1),
    "grid: clones": (lambda w, t: ["grid", w.clones], "no flux", 1),
    # grid: huge
    "grid: a header of terabytes": (
        to_grid(lambda w, p: rezipped(w.grid, p, {"flux.npy": header("<f4", (8, 10**12))})),
        "damaged|again",
        1,
    ),
    "grid: a bomb": (to_grid(bomb), "declares 3.22 GB|expected at most 1.07 GB", 1),
    "grid: an absurd shape": (bad_zarr("flux", [4, 10**13], [1, 10**13]), "shape|expected", 1),
    "grid: absurd wavelengths": (bad_zarr("wavelength", [10**13], [10**13]), "GB|damaged", 1),
    "grid: chunks without number": (bad_zarr("wavelength", [10**8], [1]), "chunks|damaged", 1),
    "grid: chunks of nothing": (bad_zarr("wavelength", [2001], [0]), "damaged|again", 1),
    # grid: labels, units, media, values
    "grid: labels that are text": (
        to_grid(lambda w, p: npz(w.grid, p, labels=np.full((4, 3), "hot"))),
        "labels|expected real numbers",
        1,
    ),
    "grid: labels that are infinite": (
        to_grid(lambda w, p: npz(w.grid, p, labels=np.full((4, 3), np.inf))),
        "teff=inf|finite",
        1,
    ),
    "grid: complex fluxes": (
        to_grid(lambda w, p: npz(w.grid, p, flux=np.ones((4, 2001), complex))),
        "complex128|expected real numbers",
        1,
    ),
    "grid: raw bytes as fluxes": (
        to_grid(lambda w, p: npz(w.grid, p, flux=np.zeros((4, 2001), "V4"))),
        "expected real numbers",
        1,
    ),
    "grid: a label called rv": (
        to_grid(lambda w, p: npz(w.grid, p, label_names=np.array(["teff", "logg", "rv"]))),
        "'rv'|choose another",
        1,
    ),
    "grid: a label without name": (
        to_grid(lambda w, p: npz(w.grid, p, label_names=np.array(["teff", "logg", ""]))),
        "label name ''",
        1,
    ),
    "grid: a label of control codes": (
        to_grid(lambda w, p: npz(w.grid, p, label_names=np.array(["teff", "logg", "\x1b[2J"]))),
        "can be printed",
        1,
    ),
    "grid: two labels too few": (
        to_grid(lambda w, p: npz(w.grid, p, label_names=np.array(["teff"]))),
        "labels have shape|(N, 1)",
        1,
    ),
    "grid: wavelengths in kg": (
        to_grid(lambda w, p: with_meta(w.grid, p, wavelength_unit="kg")),
        "'kg'|unit of length",
        1,
    ),
    "grid: wavelengths in water": (
        to_grid(lambda w, p: with_meta(w.grid, p, medium="water")),
        "'water'|air or vacuum",
        1,
    ),
    "grid: air that is vacuum": (
        lambda w, t: ["grid", w.grid, "--medium", "air"],
        "states wavelengths in vacuum",
        1,
    ),
    "grid: one wavelength": (
        to_grid(
            lambda w, p: npz(
                w.grid, p, drop=("continuum",), wavelength=np.array([8500.0]), flux=np.ones((4, 1))
            )
        ),
        "1 wavelengths|two or more",
        1,
    ),
    "grid: wavelengths of light years": (
        to_grid(lambda w, p: npz(w.grid, p, wavelength=np.linspace(1e20, 2e20, 2001))),
        "expected two or more, in Å",
        1,
    ),
    "grid: meta without end": (
        to_grid(lambda w, p: npz(w.grid, p, meta=np.array(DEEP))),
        "not a JSON object",
        1,
    ),
    "grid: flags that are a list": (
        to_grid(lambda w, p: with_meta(w.grid, p, node_flags=[1, 2])),
        "node_flags",
        1,
    ),
    "grid: a later version": (
        to_grid(lambda w, p: with_meta(w.grid, p, version=99)),
        "version 99|upgrade blase3d",
        1,
    ),
    "grid: a table of countless pixels": (countless, "step of 1e-09|100000000 pixels", 1),
    "grid: an unknown source": (
        lambda w, t: ["grid", w.grid, "--source", "magic"],
        "'magic'|expected one of",
        1,
    ),
    "grid: a range of NaN": (lambda w, t: ["grid", w.grid, "--wave", "nan:nan"], "LO:HI", 1),
    "grid: nowhere to write": (
        lambda w, t: ["grid", w.grid, "-o", t / "none" / "g.npz"],
        "no folder|make it",
        1,
    ),
    "grid: over clones": (
        lambda w, t: ["grid", w.grid, "-o", copied(w.clones, t / "c.zarr")],
        "would be lost",
        1,
    ),
    # fetch
    "fetch: an unknown library": (lambda w, t: ["fetch", "magic"], "magic", 2),
    "fetch: a name that is no grid": (
        lambda w, t: ["fetch", "phoenix", "-o", t / "g.txt", "--dry-run"],
        ".npz or .zarr",
        1,
    ),
    "fetch: a range upside down": (
        lambda w, t: ["fetch", "phoenix", "--teff", "6000:5000", "--dry-run"],
        "--teff|LO",
        1,
    ),
    "fetch: no connections": (
        lambda w, t: ["fetch", "phoenix", "--connections", "0"],
        "--connections",
        2,
    ),
    # clone: recipes
    "clone: an unknown recipe": (
        lambda w, t: ["clone", w.grid, "-o", t / "c.zarr", "--recipe", "papre"],
        "'papre'|no file|default, single, paper|correct the path",
        1,
    ),
    "clone: a recipe of nothing": (recipe(""), "not JSON", 1),
    "clone: a recipe without end": (recipe(DEEP), "not JSON", 1),
    "clone: an unknown setting": (recipe('{"epoch": 5}'), "['epoch']|remove or rename", 1),
    "clone: epochs below one": (recipe('{"epochs": 0}'), "epochs=0|1 to", 1),
    "clone: true epochs": (recipe('{"epochs": true}'), "epochs=True|whole number", 1),
    "clone: a rate of NaN": (recipe('{"learning_rate": NaN}'), "learning_rate=nan", 1),
    "clone: a window of nothing": (recipe('{"window": 0}'), "window=0|2 to", 1),
    "clone: an unknown catalogue": (recipe('{"catalogue": "x"}'), "'x'|equality, joint", 1),
    "clone: rounds without number": (recipe('{"rounds": 1000000000}'), "0 to 100", 1),
    # clone: where to
    "clone: over a grid": (
        lambda w, t: ["clone", w.grid, "-o", w.zarr, "--workers", "1"],
        "grid.zarr exists and is no archive of clones|give another name",
        1,
    ),
    "clone: into a folder of ours": (
        lambda w, t: ["clone", w.grid, "-o", t / "full.npz", "--workers", "1"],
        "full.npz exists and is no archive of clones|give another name",
        1,
    ),
    "clone: over a file of ours": (
        lambda w, t: ["clone", w.grid, "-o", w.model, "--workers", "1"],
        "no archive of clones|give another name",
        1,
    ),
    "clone: into a damaged archive": (unreadable, "damaged or foreign", 1),
    "clone: to an unknown address": (
        lambda w, t: ["clone", w.grid, "-o", "foo://bar/c", "--workers", "1"],
        "foo://bar/c",
        1,
    ),
    "clone: links out of the folder": (linked, "the link nodes/9", 1),
    "clone: workers below none": (
        lambda w, t: ["clone", w.grid, "-o", t / "c.zarr", "--workers", "-1"],
        "-1 workers",
        1,
    ),
    "clone: no output": (lambda w, t: ["clone", w.grid], "--output", 2),
    # build
    "build: nothing there": (
        lambda w, t: ["build", t / "no.zarr", "-o", t / "out.zip"],
        "does not exist|blase3d clone",
        1,
    ),
    "build: a grid": (lambda w, t: ["build", w.zarr, "-o", t / "out.zip"], "None|blase3d clone", 1),
    "build: over its clones": (
        lambda w, t: ["build", c := copied(w.clones, t / "c.zarr"), "-o", c],
        "would be lost|another name",
        1,
    ),
    "build: over the folder that we are in": (
        lambda w, t: ["build", w.clones, "-o", "."],
        "expected the name of a file",
        1,
    ),
    "build: a pickle's version of Zarr": (version_2, "damaged or foreign", 1),
    "build: a later version": (
        bad_clones("zarr.json", attribute("version", 99)),
        "version 99|upgrade blase3d",
        1,
    ),
    "build: an old version": (
        bad_clones("zarr.json", attribute("version", 1)),
        "version 1|blase3d clone",
        1,
    ),
    "build: other settings than were used": (
        bad_clones("zarr.json", attribute("recipe", "{}")),
        "damaged description",
        1,
    ),
    "build: a node of petabytes": (
        bad_clones("nodes/1/flux/zarr.json", shaped([10**15], [10**15])),
        "another shape or type|again",
        1,
    ),
    "build: a node cut short": (
        bad_clones("nodes/1/flux/zarr.json", shaped([2000], [2001])),
        "another shape or type",
        1,
    ),
    "build: a misfit made better": (
        bad_clones("nodes/1/zarr.json", attribute("misfit", 0.0)),
        "node 1|clone again",
        1,
    ),
    # models
    "synth: nothing there": (
        lambda w, t: ["synth", t / "no.zip", *LABELS, "-o", t / "out.npz"],
        "does not exist|blase3d build",
        1,
    ),
    "synth: clones as a model": (
        lambda w, t: ["synth", w.clones, *LABELS, "-o", t / "out.npz"],
        "'blase3d-clones'|blase3d build",
        1,
    ),
    "synth: a model of an empty file": (
        lambda w, t: ["synth", t / "full.npz" / "thesis.txt", *LABELS, "-o", t / "out.npz"],
        "damaged or foreign",
        1,
    ),
    "synth: a later model": (
        bad_model("zarr.json", attribute("version", 99)),
        "version 99|upgrade",
        1,
    ),
    "synth: an older model": (
        bad_model("zarr.json", attribute("version", 2)),
        "version 2|blase3d build",
        1,
    ),
    "synth: axes of NaN": (
        bad_model("zarr.json", attribute("axes", {"teff": [float("nan")]})),
        "not a complete blase3d-model file|blase3d build",
        1,
    ),
    "synth: axes that fall": (
        bad_model("zarr.json", lambda c: c["attributes"]["axes"]["teff"].reverse()),
        "do not increase",
        1,
    ),
    "synth: wavelengths of nothing": (
        bad_model("zarr.json", attribute("wavelength", [0, 0])),
        "wavelengths",
        1,
    ),
    "synth: a part of petabytes": (
        bad_model("area/zarr.json", shaped([10**15], [10**15])),
        "GB|damaged",
        1,
    ),
    "synth: a part too short": (
        bad_model("reference/zarr.json", shaped([20], [26])),
        "not a complete blase3d-model|shape",
        1,
    ),
    "synth: a bomb": (
        lambda w, t: [
            "synth",
            rezipped(w.model, t / "b.zip", {"base/c/0/1": bytes(60_000_000)}, deflate=1),
            *LABELS,
            "-o",
            t / "out.npz",
        ],
        "GB|damaged",
        1,
    ),
    # synth: options
    "synth: labels outside": (synth("--teff", "9000"), "teff=9000|5500 to 6000", 1),
    "synth: labels of NaN": (synth("--teff", "nan"), "teff=nan", 1),
    "synth: a label twice": (synth("--label", "teff=5700"), "teff|give one", 1),
    "synth: an unknown label": (synth("--label", "mass=1"), "unknown: mass", 1),
    "synth: faster than light": (synth("--rv", "400000"), "speed of light", 1),
    "synth: a velocity of NaN": (synth("--rv", "nan"), "rv nan", 1),
    "synth: rotation without end": (synth("--vsini", "1e9"), "up to 300", 1),
    "synth: a resolution of nothing": (synth("--resolution", "0"), "positive", 1),
    "synth: no such range": (synth("--wave", "5000:6000"), "no pixel|8480", 1),
    "synth: an unknown ending": (
        lambda w, t: ["synth", w.model, *LABELS, "-o", t / "s.txt"],
        "no ending that is known|.npz",
        1,
    ),
    "synth: over a folder": (
        lambda w, t: ["synth", w.model, *LABELS, "-o", t / "full.npz"],
        "would be lost",
        1,
    ),
    "synth: a number that is a word": (synth("--teff", "hot"), "--teff", 2),
    # infer: spectra
    "infer: nothing there": (to_infer(lambda w, p: p), "no file|check the name", 1),
    "infer: a folder": (
        lambda w, t: ["infer", empty(t / "e"), "--model", w.model],
        "folder|a file",
        1,
    ),
    "infer: an unknown kind": (text("star.dat", "1 2"), "no spectrum in a known format", 1),
    "infer: an empty table": (text("s.csv", ""), "no lines of numbers", 1),
    "infer: bytes": (text("s.csv", b"\xff\xfe\0"), "cannot be read as a table", 1),
    "infer: words": (text("s.csv", "wavelength,flux\na,b\n"), "no lines of numbers", 1),
    "infer: no medium": (text("s.csv", "wavelength,flux\n8490,1\n8491,1\n"), "--medium", 1),
    "infer: infinite wavelengths": (
        text("s.csv", "# medium: vacuum\nwavelength,flux\ninf,1\n"),
        "inf at pixel 0",
        1,
    ),
    "infer: nothing but NaN": (
        text("s.csv", "# medium: vacuum\nwavelength,flux\n8490,nan\n8491,nan\n"),
        "all 2 pixels",
        1,
    ),
    "infer: orders without number": (
        text("s.csv", "# medium: vacuum\nwavelength,flux,order\n8490,1,1e300\n"),
        "has fractions",
        1,
    ),
    "infer: meta without end": (
        text("s.csv", f"# medium: vacuum\n# meta: {DEEP}\nwavelength,flux\n8490,1\n"),
        "not a JSON object",
        1,
    ),
    "infer: a header that unfolds": (text("s.ecsv", LAUGHS), "100000 entries", 1),
    "infer: Python in YAML": (
        text(
            "s.ecsv",
            LAUGHS.replace("#   medium: vacuum", "#   x: !!python/object/apply:os.mkdir [ran]"),
        ),
        "cannot be read as a table",
        1,
    ),
    "infer: a pickle in an .npz": (
        to_infer(lambda w, p: rezipped(w.star, p, {"meta.npy": pickled(p.parent / "ran")})),
        "allow_pickle=False",
        1,
    ),
    "infer: a bomb": (to_infer(bomb), "declares 3.22 GB|1.07 GB", 1),
    "infer: complex fluxes": (
        to_infer(lambda w, p: npz(w.star, p, flux=np.ones(2001, complex))),
        "not numeric",
        1,
    ),
    "infer: a later version": (
        to_infer(lambda w, p: with_meta(w.star, p, version=99)),
        "version 99|upgrade",
        1,
    ),
    "infer: a grid": (to_infer(lambda w, p: w.grid), "4 spectra|expected one", 1),
    "infer: another range": (
        to_infer(lambda w, p: npz(w.star, p, wavelength=np.linspace(6000, 6100, 2001))),
        "do not overlap",
        1,
    ),
    "infer: FITS in kg": (image(CUNIT1="kg"), "'kg'|unit of length", 1),
    "infer: FITS of no step": (image(CDELT1=0.0), "twice", 1),
    "infer: FITS that is text": (text("s.fits", "SIMPLE  =  T"), "FITS file|again", 1),
    "infer: FITS of 12 GB": (huge_image, "declares 12 GB", 1),
    # spectrum
    "spectrum: nothing there": (lambda w, t: ["spectrum", t / "absent"], "no file|check", 1),
    "spectrum: a picture of no kind": (
        lambda w, t: ["spectrum", w.star, "-o", t / "star.txt"],
        "picture|.png",
        1,
    ),
    "spectrum: a role of no kind": (
        lambda w, t: ["spectrum", w.star, "--columns", "fluxes=a"],
        "got columns fluxes|expected wavelength, flux",
        1,
    ),
    "spectrum: columns that a file has not": (
        lambda w, t: ["spectrum", w.star, "--columns", "flux=a"],
        "has no column a, it has wavelength|give the name",
        1,
    ),
    # infer: options
    "infer: a seed below zero": (infer("--seed", "-1"), "--seed", 2),
    "infer: an unknown method": (infer("--method", "magic"), "magic", 2),
    "infer: an unknown option": (infer("--magic"), "--magic", 2),
    "infer: a degree without end": (infer("--continuum", "31"), "degree 31|30", 1),
    "infer: a resolution of NaN": (infer("--resolution", "nan"), "resolution=nan", 1),
    "infer: a label fixed at NaN": (infer("--fix", "teff=nan"), "teff=nan", 1),
    "infer: a prior that is no range": (infer("--prior", "teff=1-2"), "LO:HI", 1),
    "infer: a prior outside": (infer("--prior", "teff=1:2"), "leaves nothing", 1),
    "infer: a resolution twice": (
        infer("--resolution", "80000", "--fix", "resolution=90000"),
        "--resolution and --fix resolution=…|give one",
        1,
    ),
    "infer: a resolution with a prior": (
        infer("--resolution", "80000", "--prior", "resolution=70000:90000"),
        "--resolution and --prior resolution=…|give one",
        1,
    ),
    "infer: a guess with a prior": (
        infer("--teff-guess", "5500", "--prior", "teff=5000:6000"),
        "--teff-guess and --prior teff=…|give one",
        1,
    ),
    "infer: an unknown parameter": (infer("--fix", "mass=1"), "mass|correct the name", 1),
    "infer: a table of an unknown format": (
        lambda w, t: ["infer", w.star, "--model", w.model, "-o", t / "answers.xlsx"],
        "answers.xlsx|.ecsv, .fits or .parquet|give one",
        1,
    ),
    "infer: a table over a folder": (
        lambda w, t: ["infer", w.star, "--model", w.model, "-o", t / "full.npz"],
        "would be lost",
        1,
    ),
    "infer: a report nowhere": (
        lambda w, t: ["infer", w.star, "--model", w.model, "--report", t / "no" / "r.html"],
        "no folder",
        1,
    ),
    "infer: one model twice": (
        lambda w, t: ["infer", w.star, "--model", w.model, "--model", w.model],
        "same model twice",
        1,
    ),
    # the others
    "build: a name of no file": (
        lambda w, t: ["build", w.clones, "--install", "a/b"],
        "'a/b'|expected letters",
        1,
    ),
    "build: nothing to write": (lambda w, t: ["build", w.clones], "-o|--install", 2),
    "models: a model": (lambda w, t: ["models", w.model], "unexpected", 2),
    "validate: a name of no model": (
        lambda w, t: ["validate", "sun"],
        "model sun does not exist|blase3d models|rvs, vis",
        1,
    ),
    "validate: noise of nothing": (
        lambda w, t: ["validate", w.model, "--snr", "0"],
        "signal-to-noise ratio of 0",
        1,
    ),
    "validate: a seed below zero": (
        lambda w, t: ["validate", w.model, "--seed", "-1"],
        "--seed",
        2,
    ),
    "validate: a holdout of no medium": (
        lambda w, t: ["validate", w.model, "--holdout", with_meta(w.grid, t / "h.npz", medium="")],
        "--medium air",
        1,
    ),
    "validate: a medium that the holdout contradicts": (
        lambda w, t: ["validate", w.model, "--holdout", w.grid, "--medium", "air"],
        "states wavelengths in vacuum",
        1,
    ),
    "validate: a holdout of other labels": (
        lambda w, t: [
            "validate",
            w.model,
            "--holdout",
            npz(w.grid, t / "h.npz", label_names=np.array(["a", "b", "c"])),
        ],
        "labels",
        1,
    ),
    "lines: less than one": (lambda w, t: ["lines", w.model, "--count", "0"], "one or more", 1),
    "lines: near no line of the model": (
        lambda w, t: ["lines", w.model, "--near", "5000"],
        "got lines near 5000 Å, outside the model",
        1,
    ),
    "lines: near NaN": (lambda w, t: ["lines", w.model, "--near", "nan"], "near nan", 1),
    "figures: a file as folder": (
        lambda w, t: ["figures", w.model, "-o", t / "out.npz"],
        "is a file|folder",
        1,
    ),
    "figures: an unknown figure": (
        lambda w, t: ["figures", w.model, "-o", t / "f", "--only", "x"],
        "figure x|expected one of",
        1,
    ),
    "figures: a depth of NaN": (
        lambda w, t: ["figures", w.model, "-o", t / "f", "--depth", "nan"],
        "depth of nan",
        1,
    ),
    "figures: one label of a map": (
        lambda w, t: ["figures", w.model, "-o", t / "f", "--over", "teff"],
        "two labels",
        1,
    ),
    "calibrate: no table": (
        lambda w, t: ["calibrate", t / "stars.ecsv", "--model", w.model, "-o", t / "m.zip"],
        "table of stars|file, teff",
        1,
    ),
    "calibrate: over the table of stars": (
        lambda w, t: ["calibrate", t / "out.ecsv", "--model", w.model, "-o", t / "out.ecsv"],
        "one would be lost|another name",
        1,
    ),
    "calibrate: a model over its table": (
        lambda w, t: ["calibrate", w.star, "--model", w.model, "-o", t / "m", "--table", t / "m"],
        "one would be lost",
        1,
    ),
    "tune: over the spectrum": (
        lambda w, t: ["tune", t / "out.npz", "--model", w.model, "-o", t / "out.npz"],
        "one would be lost|another name",
        1,
    ),
    "tune: a template over the spectrum": (
        lambda w, t: ["tune", t / "out.npz", "-o", t / "m", "--template", t / "out.npz"],
        "one would be lost",
        1,
    ),
    "tune: over a folder": (
        lambda w, t: ["tune", w.star, "--model", w.model, "-o", t / "full.npz"],
        "would be lost",
        1,
    ),
    "tune: a template of no kind": (
        lambda w, t: ["tune", w.star, "--model", w.model, "-o", t / "m", "--template", t / "x"],
        "no ending that is known",
        1,
    ),
    "import-states: no folder": (
        lambda w, t: ["import-states", t / "no", "-o", t / "c.zarr"],
        "no folder",
        1,
    ),
    "import-states: nothing in it": (
        lambda w, t: ["import-states", t / "full.npz", "-o", t / "c.zarr"],
        "no .pt",
        1,
    ),
    "import-states: a pickle": (
        lambda w, t: [
            (t / "full.npz" / "T5800G4.5.pt").write_bytes(pickle.dumps(Harmful(t / "ran")))
            and "import-states",
            t / "full.npz",
            "-o",
            t / "c.zarr",
        ],
        "no zip archive",
        1,
    ),
    "demo: a file as folder": (
        lambda w, t: ["demo", "--out", t / "out.npz"],
        "out.npz is a file|give another name",
        1,
    ),
    "an unknown verb": (lambda w, t: ["nonsense"], "nonsense", 2),
}


@pytest.mark.parametrize("row", TABLE)
def test_bad_input(row: str, world: World, place: Path, run: Run) -> None:
    feed, words, status = TABLE[row]
    command = feed(world, place)
    before = snapshot(world.folder)
    done = run(command)
    assert done.status == status, done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    for word in words.split("|"):
        assert word in done.err
    if status == 1:
        assert "unexpected" not in done.err
        assert done.err.strip().endswith(".")
    assert snapshot(world.folder) == before
    assert untouched(place)
    assert not (place / "ran").exists(), "a pickle was run"


def test_text_of_files_is_no_markup(world: World, place: Path, run: Run) -> None:
    names = np.array(["teff", "[/red]", "[bold]"])
    path = npz(world.grid, place / "g.npz", label_names=names)
    path = with_meta(path, place / "[link=evil]g.npz", library="[/x]\x1b[2J\x07", citation=np.nan)
    done = run(["grid", path])
    assert done.status == 0, done.err
    assert {"[/red]", "[bold]", "[/x]"} <= set(done.out.replace("[/x][2J", "[/x] ").split())
    assert "\x1b" not in done.out
    done = run(["grid", path, "--json"])
    assert json.loads(done.out)["citation"] is None


def test_a_stated_unit_of_wavelength_counts(world: World, place: Path, run: Run) -> None:
    with np.load(world.grid) as arrays:
        wavelength = arrays["wavelength"]
    path = with_meta(world.grid, place / "nm.npz", wavelength_unit="nm")
    path = npz(path, place / "g.npz", wavelength=wavelength / 10)
    np.testing.assert_allclose(b3.open_grid(path).wavelength, wavelength, rtol=1e-12)


def test_every_verb_has_rows() -> None:
    verbs = {c.name or c.callback.__name__ for c in cli.app.registered_commands}  # type: ignore[union-attr]
    tested = {row.split(":")[0] for row in TABLE}
    assert {verb.replace("_", "-") for verb in verbs} - {"explore"} <= tested
    assert len(TABLE) >= 60


# --- the same from Python ------------------------------------------------------------------------


def by_specutils(path: Path, **options: Any) -> Any:
    """A spectrum that specutils reads with the readers of blase3D."""
    import specutils

    b3.register_specutils()
    return specutils.Spectrum.read(str(path), format="blase3d", **options)


PYTHON: dict[str, tuple[Callable[[World, Path], object], str]] = {
    "open_grid": (lambda w, t: b3.open_grid(t / "out.npz"), "no .npz file"),
    "open_archive": (lambda w, t: b3.open_archive(w.zarr), "expected 'blase3d-clones'"),
    "load_model": (lambda w, t: b3.load_model(w.star), "damaged or foreign"),
    "save_model": (
        lambda w, t: b3.save_model(b3.load_model(w.model), t / "full.npz"),
        "would be lost",
    ),
    "read_spectrum": (lambda w, t: b3.read_spectrum(w.star, medium="water"), "'water'"),
    "register_specutils": (lambda w, t: by_specutils(w.star, medium="water"), "'water'"),
    "write_spectrum": (
        lambda w, t: b3.write_spectrum(b3.read_spectrum(w.star), t / "full.npz"),
        "would be lost",
    ),
    "get_recipe": (lambda w, t: b3.get_recipe("default", epoch=3), "['epoch']"),
    "Recipe": (lambda w, t: b3.DEFAULT.replace(smooth_functions=-1), "smooth_functions=-1"),
    "Spectrum": (lambda w, t: b3.Spectrum([8500.0, 8501.0], [1.0, 1j]), "not numeric"),
    "Prior": (lambda w, t: b3.Prior(2.0, 1.0), "low < high"),
    "clone": (
        lambda w, t: b3.clone(b3.open_grid(w.grid), t / "full.npz", b3.DEFAULT),
        "no archive of clones; give another name",
    ),
    "build": (
        lambda w, t: b3.build(b3.open_archive(half(w, t))),
        "has not been cloned",
    ),
    "Model.flux": (lambda w, t: b3.load_model(w.model).flux(teff=5700.0), "expected teff, logg"),
    "Model.flux, text": (lambda w, t: flux(w, teff="5700"), "got teff '5700', expected one number"),
    "Model.flux, none": (lambda w, t: flux(w, teff=None), "got teff None, expected one number"),
    "Model.flux, complex": (lambda w, t: flux(w, teff=5700 + 0j), "expected one number"),
    "Model.flux, many": (lambda w, t: flux(w, teff=[5700.0, 5800.0]), "teff of shape (2,)"),
    "Model.flux, rv": (lambda w, t: flux(w, rv=np.nan), "rv=nan"),
    "Model.flux, vsini": (lambda w, t: flux(w, vsini=-5.0), "vsini=-5.0"),
    "Model.flux, resolution": (lambda w, t: flux(w, resolution=0), "resolution=0"),
    "Model.flux, resolution below zero": (lambda w, t: flux(w, resolution=-1e4), "positive"),
    "Model.flux, resolution text": (lambda w, t: flux(w, resolution="high"), "'high'"),
    "Model.flux, resolutions": (
        lambda w, t: flux(w, resolution=np.full(3, 1e4)),
        "shape (3,)",
    ),
    "Model.flux, dilution": (lambda w, t: flux(w, dilution=2.0), "dilution=2.0"),
    "Model.flux, limb": (lambda w, t: flux(w, vsini=9.0, limb_darkening=3.0), "zero to one"),
    "Model.flux, wavelength of NaN": (
        lambda w, t: flux(w, wavelength=[8500.0, np.nan]),
        "no finite positive numbers",
    ),
    "Model.flux, wavelength of words": (
        lambda w, t: flux(w, wavelength=["red"]),
        "no finite positive numbers",
    ),
    "Model.flux, pixels in disorder": (
        lambda w, t: flux(w, wavelength=[8500.0, 8490.0], integrate=True),
        "do not increase",
    ),
    "infer, model": (lambda w, t: b3.infer(b3.read_spectrum(w.star), "vis"), "'vis'"),
    "infer, a list of fixed": (lambda w, t: answer(w, fixed=["teff"]), "fixed=['teff']"),
    "infer, a list of priors": (lambda w, t: answer(w, priors=[1]), "priors=[1]"),
    "infer_many, a name": (
        lambda w, t: next(b3.infer_many("star.npz", b3.load_model(w.model))),
        "one spectrum, 'star.npz'",
    ),
    "infer_many, workers": (
        lambda w, t: next(b3.infer_many([w.star], b3.load_model(w.model), workers="2")),
        "workers='2', expected a whole number",
    ),
    "infer_many, workers and an executor": (
        lambda w, t: next(
            b3.infer_many([w.star], b3.load_model(w.model), workers=2, executor=Executor())
        ),
        "got an executor and workers=2",
    ),
    "Spectrum, order": (
        lambda w, t: b3.Spectrum([8500.0, 8501.0], [1.0, 1.0], order=[1.0, np.nan]),
        "no whole numbers",
    ),
    "infer, method": (lambda w, t: answer(w, method="magic"), "'magic'"),
    "infer, seed": (lambda w, t: answer(w, seed=-1), "seed -1"),
    "infer, a seed in words": (
        lambda w, t: answer(w, seed="1"),
        "seed '1', expected a whole number",
    ),
    "infer, a degree in words": (lambda w, t: answer(w, continuum_degree="3"), "degree '3'"),
    "infer, half a degree": (lambda w, t: answer(w, continuum_degree=2.5), "degree 2.5"),
    "infer, draws in words": (lambda w, t: answer(w, draws="200"), "'200' draws"),
    "infer, option": (lambda w, t: answer(w, magic=1), "'magic'"),
    "infer, draws": (lambda w, t: answer(w, draws=0), "0 draws"),
    "infer, fixed": (lambda w, t: answer(w, fixed={"rv": np.nan}), "rv=nan"),
    "compare": (
        lambda w, t: b3.compare(
            b3.Spectrum(np.linspace(5000, 5100, 99), np.ones(99)),
            {name: b3.load_model(w.model) for name in "ab"},
        ),
        "no pixel of the spectrum",
    ),
    "infer_many": (
        lambda w, t: raised(next(b3.infer_many([t / "no.npz"], b3.load_model(w.model)))[1]),
        "there is no file",
    ),
    "infer_joint": (
        lambda w, t: b3.infer_joint([], b3.load_model(w.model)),
        "got no spectrum",
    ),
    "log_likelihood": (
        lambda w, t: b3.log_likelihood(
            b3.read_spectrum(w.star), b3.load_model(w.model), fixed={"mass": 1.0}
        ),
        "got the parameter mass",
    ),
}


def half(w: World, t: Path) -> Path:
    clones = copied(w.clones, t / "c.zarr")
    (clones / "nodes" / "2" / "zarr.json").write_text("{}")
    return clones


def answer(w: World, **settings: Any) -> object:
    return b3.infer(b3.read_spectrum(w.star), b3.load_model(w.model), **settings)


def flux(w: World, **changes: Any) -> object:
    labels = {"teff": 5730.0, "logg": 4.3, "feh": 0.0}
    return b3.load_model(w.model).flux(**{**labels, **changes})


def raised(error: object) -> None:
    assert isinstance(error, Exception)
    raise error


@pytest.mark.parametrize("row", PYTHON)
def test_bad_input_from_python(row: str, world: World, place: Path) -> None:
    call, word = PYTHON[row]
    with pytest.raises(b3.InputError) as caught:
        call(world, place)
    assert word in str(caught.value)
    assert untouched(place)


def test_every_public_function_has_a_row() -> None:
    functions = {name for name in b3.__all__ if name[0].islower()}
    assert functions <= {row.split(",")[0] for row in PYTHON}


# --- disks, folders and extras -------------------------------------------------------------------

WRITING: dict[str, Feed] = {
    "grid .npz": lambda w, t: ["grid", w.grid, "-o", t / "out.npz"],
    "grid .zarr": lambda w, t: ["grid", w.grid, "-o", t / "out.zarr"],
    "clone": lambda w, t: ["clone", w.grid, "-o", t / "c.zarr", "--recipe", "single"],
    "build": lambda w, t: ["build", w.clones, "-o", t / "out.zip"],
    "synth": lambda w, t: ["synth", w.model, *LABELS, "-o", t / "out.npz"],
    "synth .ecsv": lambda w, t: ["synth", w.model, *LABELS, "-o", t / "out.ecsv"],
}


@pytest.mark.parametrize("verb", ["grid .npz", "grid .zarr", "synth", "synth .ecsv"])
def test_a_full_disk_loses_nothing(
    verb: str, world: World, place: Path, run: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    command = WRITING[verb](world, place)
    run(WRITING[verb](world, tmp_path_factory.mktemp("before")))  # JAX keeps what it compiles
    with largest_file(4096):
        done = run(command)
    assert done.status == 1, done.err
    assert "File too large" in done.err
    assert "check the path and the disk" in done.err
    assert untouched(place)


@pytest.mark.parametrize("verb", [verb for verb in WRITING if verb != "clone"])
def test_a_folder_that_cannot_be_written_to(
    verb: str, world: World, place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write anywhere, so that the answer of the system is put in its mouth."""
    really = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: not mode & os.W_OK and really(p, mode))
    done = run(WRITING[verb](world, place))
    assert done.status == 1
    assert "is not writeable" in done.err
    assert untouched(place)


EXTRAS: dict[str, tuple[str, Feed, str]] = {
    "posterior": ("blackjax", infer("--method", "posterior"), "blase3d[posterior]"),
    "paper": ("skopt", infer("--method", "gp"), "blase3d[paper]"),
    "cluster": (
        "distributed",
        lambda w, t: ["clone", w.grid, "-o", t / "c.zarr", "--scheduler", "tcp://127.0.0.1:1"],
        "blase3d[cluster]",
    ),
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_missing_extra_is_named(
    extra: str, world: World, place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, feed, word = EXTRAS[extra]
    imported = builtins.__import__

    def without(name: str, *more: Any, **others: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return imported(name, *more, **others)

    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    done = run(feed(world, place))
    assert done.status == 1
    assert word in done.err
    assert untouched(place)
