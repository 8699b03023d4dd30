"""Damaged and hostile files, and a small set of sound ones to damage."""

from __future__ import annotations

import json
import os
import resource
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from toy_models import model_of

from blase3d.fitting.archive import create_archive
from blase3d.fitting.single_node import Clone
from blase3d.libraries import write_grid
from blase3d.libraries.toy import toy_flux, toy_grid, toy_lines, toy_spectrum
from blase3d.model.model_file import save_model
from blase3d.recipe import SINGLE
from blase3d.spectra.formats import write_spectrum
from blase3d.spectra.spectrum import Spectrum

AXES = {"teff": (5500.0, 6000.0), "logg": (4.0, 4.5), "feh": (0.0,)}
TRUTH = {"teff": 5730.0, "logg": 4.3, "feh": 0.0}
LABELS = ["--teff", "5730", "--logg", "4.3", "--feh", "0"]
META = {"node_rms": [1e-4] * 4, "node_lines_rms": [1e-3] * 4, "library": {"library": "toy"}}


@dataclass(frozen=True)
class World:
    """A folder with a grid (two formats), its clones, a model and a star."""

    folder: Path

    @property
    def grid(self) -> Path:
        return self.folder / "grid.npz"

    @property
    def zarr(self) -> Path:
        return self.folder / "grid.zarr"

    @property
    def clones(self) -> Path:
        return self.folder / "clones.zarr"

    @property
    def model(self) -> Path:
        return self.folder / "model.zip"

    @property
    def star(self) -> Path:
        return self.folder / "star.npz"


def make_world(folder: Path) -> World:
    """Files of the toy universe whose clones are the true lines: nothing is fitted."""
    world = World(folder)
    grid = toy_grid(AXES)
    write_grid(grid, world.grid)
    write_grid(grid, world.zarr)
    archive = create_archive(world.clones, grid, SINGLE)
    for i, labels in enumerate(grid.labels):
        archive.write(i, clone_of(labels, grid.wavelength))
    save_model(model_of(grid, rest=np.zeros((4, grid.wavelength.size)), meta=META), world.model)
    exact = toy_spectrum(**TRUTH)
    star = Spectrum(exact.wavelength, exact.flux, exact.flux / 200, resolution=1e6)
    write_spectrum(star, world.star)
    return world


def clone_of(labels: Any, wavelength: Any) -> Clone:
    """The clone of a node with its true lines."""
    lines = toy_lines(labels)
    flux = toy_flux(labels, wavelength).astype(np.float32)
    return Clone(flux, lines, flux, 1e-3)


# --- files that are changed ---------------------------------------------------------------------


def npz(source: Path, path: Path, drop: tuple[str, ...] = (), **changes: Any) -> Path:
    """Write an .npz file without the arrays `drop`, and with others changed."""
    with np.load(source) as arrays:
        kept = {name: arrays[name] for name in arrays.files if name not in drop}
    np.savez(path, **{**kept, **changes})
    return path


def with_meta(source: Path, path: Path, **changes: Any) -> Path:
    """Write an .npz file with changed meta."""
    with np.load(source) as arrays:
        meta = json.loads(str(arrays["meta"]))
    return npz(source, path, meta=np.array(json.dumps({**meta, **changes})))


def rezipped(source: Path, path: Path, changes: dict[str, bytes | None], deflate: int = 0) -> Path:
    """Write a zip file with members changed, added or (None) removed."""
    method = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", method) as new:
        for name in old.namelist():
            if name not in changes:
                new.writestr(name, old.read(name))
        for name, content in changes.items():
            if content is not None:
                new.writestr(name, content)
    return path


def header(kind: str, shape: tuple[int, ...], data: bytes = b"") -> bytes:
    """An .npy member that declares this shape, followed by any data."""
    stream = BytesIO()
    declared = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, declared)
    return stream.getvalue() + data


def edited(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a JSON file."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def shaped(shape: list[int], chunks: list[int]) -> Callable[[dict[str, Any]], None]:
    """Return a change that declares a shape in the metadata of a Zarr array."""

    def change(content: dict[str, Any]) -> None:
        content["shape"] = shape
        content["chunk_grid"]["configuration"]["chunk_shape"] = chunks

    return change


def copied(folder: Path, to: Path) -> Path:
    """Copy a folder, to damage the copy."""
    shutil.copytree(folder, to)
    return to


class Harmful:
    """Unpickling it would make a folder."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def snapshot(folder: Path) -> dict[str, bytes]:
    """The content of every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Limit the size of files of this process: a write beyond it fails as on a full disk.

    The error is EFBIG instead of ENOSPC; filling a disk needs the right to mount one.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
