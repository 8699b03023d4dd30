"""Bits flipped anywhere in the files of a model and of an archive: told, or without effect.

`BLASE3D_FLIPS=5000 pytest tests/test_byte_flips.py` flips that many in each instead of a hundred.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_files import World, make_world

from blase3d.errors import ArchiveError
from blase3d.fitting.archive import Archive, open_archive
from blase3d.model.line_grid import LineGrid
from blase3d.model.model import Model
from blase3d.model.model_file import load_model
from blase3d.recipe import DEFAULT

FLIPS = int(os.environ.get("BLASE3D_FLIPS", "100"))
SEED = 20_261_125


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = make_world(tmp_path_factory.mktemp("world"))
    rng = np.random.default_rng(3)
    shapes = {"reference": (5,), "base": (5, 4), "area": (3, 5), "shape": (2, 5, 3)}
    parts = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    open_archive(made.clones).write_window(0, 1, LineGrid(**parts), np.arange(4.0))  # type: ignore[arg-type]
    return made


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """With one bit flipped, or a byte replaced, or a run of bytes lost to zeros."""
    changed = bytearray(data)
    place, kind = int(rng.integers(len(changed))), int(rng.integers(3))
    if kind == 0:
        changed[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        changed[place] = int(rng.integers(256))
    else:
        changed[place : place + 16] = bytes(len(changed[place : place + 16]))
    return bytes(changed)


# --- models --------------------------------------------------------------------------------------


def parts_of_model(model: Model) -> dict[str, Any]:
    """Everything that an answer of the model can depend on."""
    lines, rest = model.line_grid, model.residual
    assert rest is not None
    arrays = {
        "wavelength": model.wavelength,
        "reference": model.reference,
        "errors": model.error_modes,
        **{name: getattr(lines, name) for name in ("base", "area", "shape")},
        "basis": model.basis,
        **{name: getattr(rest, name) for name in ("nodes", "pixels", "scale")},
        **dict(model.axes),
    }
    said = {"recipe": model.recipe, "meta": model.meta, "labels": model.label_names}
    return {name: np.asarray(values).tobytes() for name, values in arrays.items()} | said


@pytest.mark.long
def test_a_flip_in_a_model_is_told_or_without_effect(world: World, tmp_path: Path) -> None:
    rng = np.random.default_rng(SEED)
    sound, data = parts_of_model(load_model(world.model)), world.model.read_bytes()
    told: list[str] = []
    path = tmp_path / "m.zip"
    for _ in range(FLIPS):
        path.write_bytes(flipped(data, rng))
        try:
            found = load_model(path)
        except ArchiveError as error:
            told.append(str(error))
        else:
            assert parts_of_model(found) == sound
    assert len(told) > FLIPS / 4  # many bytes of a small zip file are of no use
    assert all(str(path) in sentence for sentence in told)


# --- archives ------------------------------------------------------------------------------------


def parts_of_archive(archive: Archive) -> dict[str, Any]:
    """Everything that a model built from the archive can depend on, node by node; None of what is
    not done."""
    found: dict[str, Any] = {
        "shared": (
            archive.wavelength.tobytes(),
            archive.labels.tobytes(),
            archive.label_names,
            archive.recipe,
            archive.meta["library"],
            archive.meta["fingerprint"],
            archive.meta["versions"],
        )
    }
    for i in range(len(archive)):
        found[f"node {i}"] = node_of(archive, i)
    joint = copy(archive)
    joint.recipe = DEFAULT  # a joint fit reads windows
    window = joint.window(0, 1)
    found["window"] = None if window is None else [part.tobytes() for part in flat(window)]
    return found


def node_of(archive: Archive, i: int) -> Any:
    if not archive.is_done(i):
        return None
    node = archive.clone(i)
    arrays = (node.labels, node.flux, node.lines.reference, node.lines.params)
    return [array.tobytes() for array in arrays], node.misfit, node.flags, archive.failed.get(i)


def flat(window: tuple[LineGrid, Any]) -> Iterator[Any]:
    surface, squares = window
    yield from (surface.reference, surface.base, surface.area, surface.shape, squares)


@pytest.mark.long
def test_a_flip_in_an_archive_is_told_or_without_effect(world: World, tmp_path: Path) -> None:
    rng = np.random.default_rng(SEED + 1)
    clones = tmp_path / "c.zarr"
    shutil.copytree(world.clones, clones)
    files = sorted(path for path in clones.rglob("*") if path.is_file())
    sound = parts_of_archive(open_archive(clones))
    assert all(value is not None for value in sound.values())
    told: list[str] = []
    for _ in range(FLIPS):
        path = files[int(rng.integers(len(files)))]
        data = path.read_bytes()
        path.write_bytes(flipped(data, rng))
        try:
            found = parts_of_archive(open_archive(clones))
        except ArchiveError as error:
            told.append(str(error))
        else:
            missing = [name for name, value in found.items() if value is None]
            assert len(missing) <= 1
            assert all(value == sound[name] for name, value in found.items() if value is not None)
            told += missing
        path.write_bytes(data)
    assert len(told) > FLIPS / 4


@pytest.mark.parametrize("name", ["zarr.json", "nodes/1/zarr.json", "nodes/1/flux/zarr.json"])
@pytest.mark.long
def test_every_digit_of_the_metadata_counts(name: str, world: World, tmp_path: Path) -> None:
    """Metadata carry no checksum of Zarr's: a digit that is another digit is still JSON."""
    clones = tmp_path / "c.zarr"
    shutil.copytree(world.clones, clones)
    sound = parts_of_archive(open_archive(clones))
    path = clones / name
    data = path.read_bytes()
    digits = [k for k, byte in enumerate(data) if byte in b"0123456789"]
    for k in digits[:: max(len(digits) // 25, 1)]:
        path.write_bytes(data[:k] + (b"1" if data[k : k + 1] != b"1" else b"2") + data[k + 1 :])
        try:
            found = parts_of_archive(open_archive(clones))
        except ArchiveError:
            continue
        assert all(value == sound[part] for part, value in found.items() if value is not None)
