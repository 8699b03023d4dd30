"""Clones on disk: one Zarr group a node, in a folder that describes itself.

    CLONES/                 attributes: format, recipe, versions, library, labels, fingerprint
    ├── wavelength          (P,) Å, vacuum
    ├── labels              (N, L)
    ├── catalogue/          the lines that the grid shares (recipes with a catalogue)
    ├── surface/            smooth line parameters (N, lines, 4) that the current sweep starts from
    └── nodes/17/           attributes, written last: sweep, misfit, flags
        ├── reference       (lines,) Å, vacuum
        ├── params          (lines, 4) in the order of `lines.PARAMETERS`
        └── flux            (P,) the node's spectrum in units of the continuum

Every chunk carries a CRC-32C sum and is written under another name first. A node counts as done
only when its attributes say so and all of it can be read.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from .cloning import Clone
from .errors import ArchiveError
from .files import plain
from .grid import Grid
from .lines import Lines
from .recipe import Recipe, recipe_from_json

FORMAT = "blase3d-clones"
VERSION = 1


@dataclass(frozen=True, eq=False)
class Node:
    """What the archive keeps of one node: labels (L,), its lines, its normalised flux (P,)."""

    labels: NDArray[np.float64]
    lines: Lines
    flux: NDArray[np.float32]
    misfit: float
    flags: tuple[str, ...]
    sweep: int


class Archive:
    """Clones of the nodes of a grid. Made by `create_archive` or `open_archive`."""

    def __init__(self, group: zarr.Group, path: Path):
        self._group = group
        self.path = path
        self.meta: dict[str, Any] = dict(group.attrs)
        self.recipe: Recipe = recipe_from_json(self.meta["recipe"])
        self.label_names: tuple[str, ...] = tuple(self.meta["label_names"])
        self.wavelength: NDArray[np.float64] = read_array(group, "wavelength")
        self.labels: NDArray[np.float64] = read_array(group, "labels")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def _attributes(self) -> dict[str, Any]:
        return dict(self._group.attrs)

    def __getitem__(self, i: int) -> Node:
        """The clone of node i (ArchiveError if it is not there, or damaged)."""
        group: Any = None
        attributes: dict[str, Any] = {}
        with suppress(KeyError, ValueError):
            group = self._group[f"nodes/{i}"]
            attributes = dict(group.attrs)
        if attributes.get("sweep") is None:
            raise ArchiveError(
                f"node {i} of {self.path} has not been cloned; run blase3d clone again to finish."
            )
        lines = Lines(read_array(group, "reference"), read_array(group, "params"))
        flux = read_array(group, "flux")
        misfit, flags = attributes["misfit"], tuple(attributes["flags"])
        return Node(self.labels[i], lines, flux, misfit, flags, attributes["sweep"])

    def finished(self, i: int, sweep: int) -> Lines | None:
        """The lines of node i, if it is there, undamaged, from this sweep or a later one."""
        try:
            node = self[i]
        except ArchiveError:
            return None
        return node.lines if node.sweep >= sweep else None

    def is_done(self, i: int, sweep: int) -> bool:
        """Whether node i is there, undamaged, from this sweep or a later one."""
        return self.finished(i, sweep) is not None

    def write(self, i: int, clone: Clone, sweep: int) -> None:
        """Keep the clone of node i; it counts as done only once all of it is written."""
        group = self._group.require_group(f"nodes/{i}")
        group.attrs.put({})
        write_array(group, "reference", clone.lines.reference)
        write_array(group, "params", clone.lines.params)
        write_array(group, "flux", clone.target)
        group.attrs.put({"sweep": sweep, "misfit": clone.misfit, "flags": list(clone.flags)})

    @property
    def failed(self) -> dict[int, str]:
        """Nodes that could not be cloned, and why."""
        return {int(i): reason for i, reason in self._attributes.get("failed", {}).items()}

    def write_failed(self, reasons: dict[int, str]) -> None:
        """Keep why nodes could not be cloned: `build` then takes them for holes of the grid."""
        self._group.attrs.update({"failed": {str(i): reason for i, reason in reasons.items()}})

    def surface(self) -> tuple[NDArray[np.float32], int] | None:
        """Where the current sweep starts from, (N, lines, 4), and its number; None before any."""
        if "surface" not in self._group:
            return None
        group = self._group.require_group("surface")
        attributes: dict[str, Any] = dict(group.attrs)
        if "sweep" not in attributes:
            return None
        return read_array(group, "params"), attributes["sweep"]

    def write_surface(self, params: NDArray[np.float32], sweep: int) -> None:
        """Keep where a sweep starts from."""
        group = self._group.require_group("surface")
        group.attrs.put({})
        write_array(group, "params", params)
        group.attrs.put({"sweep": sweep})

    def catalogue(self) -> Lines | None:
        """The lines that the nodes share, or None while there are none."""
        if not self._attributes.get("catalogue"):
            return None
        group = self._group.require_group("catalogue")
        return Lines(read_array(group, "reference"), read_array(group, "params"))

    def write_catalogue(self, lines: Lines) -> None:
        """Keep the catalogue."""
        group = self._group.require_group("catalogue")
        write_array(group, "reference", lines.reference)
        write_array(group, "params", lines.params)
        self._group.attrs.update({"catalogue": True})


def create_archive(path: str | Path, grid: Grid, recipe: Recipe) -> Archive:
    """A new archive for the clones of `grid`, or the one at `path` if it is of the same work.

    Raises
    ------
    ArchiveError
        There is something else at `path`.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        archive = open_archive(path)
        same = archive.recipe == recipe and archive.meta["fingerprint"] == grid.fingerprint()
        if not same:
            raise ArchiveError(
                f"{path} holds clones of another grid, range or recipe "
                f"({archive.recipe.name}); choose another name or remove it."
            )
        return archive
    group = zarr.create_group(path)
    write_array(group, "wavelength", grid.wavelength)
    write_array(group, "labels", grid.labels)
    group.attrs.update(
        {
            "recipe": recipe.to_json(),
            "label_names": list(grid.label_names),
            "library": plain(grid.meta),
            "fingerprint": grid.fingerprint(),
            "versions": software_versions(),
            "units": {"wavelength": "Angstrom", "params": "Angstrom and ln(Angstrom)"},
            "medium": "vacuum",
            "format": FORMAT,
            "version": VERSION,
        }
    )
    return Archive(group, path)


def open_archive(path: str | Path) -> Archive:
    """The archive at `path`.

    Raises
    ------
    ArchiveError
        It does not exist, is something else, is damaged, or is of a later version.
    """
    path = Path(path)
    group = open_zarr(path, FORMAT, VERSION, "blase3d clone")
    try:
        return Archive(group, path)
    except (KeyError, TypeError) as error:
        raise ArchiveError(
            f"{path} lacks {error}, which every clone archive has; it is damaged: clone again."
        ) from None


def open_zarr(path: Path, form: str, latest: int, maker: str) -> zarr.Group:
    """The Zarr group at `path` (folder or zip) if it says that it is of this format."""
    if not path.exists():
        raise ArchiveError(f"{path} does not exist; make it with {maker}.")
    try:
        store = zarr.storage.ZipStore(path, mode="r") if path.is_file() else path
        group = zarr.open_group(store, mode="r" if path.is_file() else "r+")
        found, number = group.attrs.get("format"), group.attrs.get("version")
    except Exception as error:  # zarr and zipfile raise a dozen kinds for what is not theirs
        raise ArchiveError(
            f"{path} cannot be opened as a {form} file ({type(error).__name__}); "
            f"it is damaged or foreign: make it anew with {maker}."
        ) from None
    if found != form:
        raise ArchiveError(
            f"{path} is of the format {found!r}, expected {form!r}; make one with {maker}."
        )
    if not isinstance(number, int) or number > latest:
        raise ArchiveError(
            f"{path} has format version {number!r}, this blase3d reads up to {latest}; upgrade it."
        )
    return group


def read_array(group: zarr.Group, name: str) -> NDArray[Any]:
    """All of an array; damage is told by the checksum of its chunks."""
    try:
        array: Any = group[name]
        missing = array.nchunks_initialized < array.nchunks
        values = np.asarray(array[...])
    except KeyError:
        raise ArchiveError(f"{group.store_path} lacks the array {name}; make it anew.") from None
    except Exception as error:  # as many kinds as codecs
        raise ArchiveError(
            f"the array {name} of {group.store_path} is damaged ({type(error).__name__}); "
            "make the file anew."
        ) from None
    if missing and values.size:
        raise ArchiveError(f"the array {name} of {group.store_path} is incomplete; make it anew.")
    return values


def write_array(group: zarr.Group, name: str, values: NDArray[Any]) -> None:
    """Write an array as one chunk: compressed, with a checksum behind the compression."""
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=tuple(max(n, 1) for n in values.shape),
        dtype=values.dtype,
        compressors=[ZstdCodec(level=5), Crc32cCodec()],
        overwrite=True,
        config={"write_empty_chunks": True},
    )
    if values.size:
        array[...] = values


def software_versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    return {name: version(name) for name in ("blase3d", "jax", "numpy", "scipy", "zarr")}
