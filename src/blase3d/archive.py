"""Clones on disk: a Zarr group in a folder that describes itself.

    CLONES/                 attributes: format, recipe, versions, library, labels, fingerprint
    ├── wavelength          (P,) Å, vacuum
    ├── labels              (N, L)
    ├── nodes/17/           attributes, written last: misfit, flags; or why it failed
    │   ├── flux            (P,) the node's spectrum in units of the continuum
    │   ├── reference       (lines,) Å, vacuum: of a node that was cloned by itself
    │   └── params          (lines, 4) in the order of `lines.PARAMETERS`
    └── rounds/2/0/         joint recipes: the lines of one window after one round;
        │                   attributes, written last: nodes
        ├── reference, base, area, shape    as in `surface.Surface`
        └── squares         (N,) summed squared misfit of each node, in the window

Every chunk carries a CRC-32C sum and is written under another name first. What is there is done
only when its attributes say so and all of it can be read. Nothing that is done is written again,
so that two farms can work on one archive.
"""

from __future__ import annotations

import shutil
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from types import EllipsisType
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from .cloning import Clone
from .errors import ArchiveError, MissingExtra
from .files import plain
from .grid import Grid
from .lines import Lines
from .recipe import Recipe, recipe_from_json
from .surface import Surface

FORMAT = "blase3d-clones"
VERSION = 2


@dataclass(frozen=True, eq=False)
class Node:
    """What the archive keeps of one node: labels (L,), its normalised flux (P,), its lines (of a
    recipe that clones nodes by themselves), misfit and flags."""

    labels: NDArray[np.float64]
    flux: NDArray[np.float32]
    lines: Lines | None
    misfit: float
    flags: tuple[str, ...]


class Archive:
    """Clones of the nodes of a grid. Made by `create_archive` or `open_archive`."""

    def __init__(self, group: zarr.Group, path: str | Path):
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
    def axes(self) -> dict[str, NDArray[np.float64]]:
        """Values of each label over all nodes, those that could not be cloned included."""
        return dict(self._grid.axes)

    @property
    def box_index(self) -> NDArray[np.int64]:
        """Place of every node on the axes, (N, L)."""
        return self._grid.box_index

    @cached_property
    def _grid(self) -> Grid:
        return Grid(self.wavelength, self.labels, self.label_names, _no_spectra)

    def __getitem__(self, i: int) -> Node:
        """The clone of node i (ArchiveError if it is not there, or damaged)."""
        group, attributes = self._group_of(f"nodes/{i}")
        if "misfit" not in attributes:
            raise ArchiveError(
                f"node {i} of {self.path} has not been cloned; run blase3d clone again to finish."
            )
        lines = None
        if self.recipe.catalogue != "joint":
            lines = Lines(read_array(group, "reference"), read_array(group, "params"))
        flux = read_array(group, "flux")
        flags = tuple(attributes["flags"])
        return Node(self.labels[i], flux, lines, attributes["misfit"] or np.nan, flags)

    def _group_of(self, name: str) -> tuple[Any, dict[str, Any]]:
        """A group and its attributes, empty where there is none."""
        try:
            group = self._group[name]
            return group, dict(group.attrs)
        except (KeyError, ValueError, OSError):
            return None, {}

    def is_done(self, i: int) -> bool:
        """Whether node i is there, undamaged."""
        try:
            self[i]
        except ArchiveError:
            return False
        return True

    def write(self, i: int, clone: Clone) -> None:
        """Keep the clone of node i; it counts as done only once all of it is written."""
        name = self._mended(f"nodes/{i}")
        if clone.lines is not None:
            write_array(self._group, f"{name}/reference", clone.lines.reference)
            write_array(self._group, f"{name}/params", clone.lines.params)
        write_array(self._group, f"{name}/flux", clone.target, chunk=_FLUX_CHUNK)
        misfit = clone.misfit if np.isfinite(clone.misfit) else None
        self._say(name, {"misfit": misfit, "flags": list(clone.flags)})

    def write_failed(self, i: int, reason: str) -> None:
        """Keep why node i could not be cloned: `build` then takes it for a hole of the grid."""
        self._say(self._mended(f"nodes/{i}"), {"failed": reason})

    def _say(self, name: str, attributes: dict[str, Any]) -> None:
        """Give a group its attributes, at one stroke."""
        self._group.require_group(name).attrs.put(attributes)

    def _mended(self, name: str) -> str:
        """The name of a group that is sound, or not there: one of damaged metadata is removed."""
        try:
            self._group.get(name)
        except Exception:  # as many kinds as ways to damage a file
            self._group.create_group(name, overwrite=True)
        return name

    @property
    def failed(self) -> dict[int, str]:
        """Nodes that could not be cloned, and why."""
        found = {i: self._group_of(f"nodes/{i}")[1].get("failed") for i in range(len(self))}
        return {i: reason for i, reason in found.items() if reason is not None}

    @property
    def nodes(self) -> NDArray[np.int64]:
        """Indices of the nodes that could be cloned, (N,)."""
        return np.setdiff1d(np.arange(len(self)), list(self.failed))

    def flux_part(self, i: int, pixels: slice) -> NDArray[np.float32]:
        """The flux of node i in some pixels."""
        group, _ = self._group_of(f"nodes/{i}")
        if group is None:
            raise ArchiveError(f"node {i} of {self.path} has gone; run blase3d clone again.")
        return read_array(group, "flux", pixels)

    def window(self, number: int, round_number: int) -> tuple[Surface, NDArray[np.float64]] | None:
        """Lines and summed squared misfits (N,) of a window after a round; None if not done."""
        group, attributes = self._group_of(f"rounds/{round_number}/{number}")
        if "nodes" not in attributes:
            return None
        try:
            surface = Surface(**{name: read_array(group, name) for name in _SURFACE})
            return surface, read_array(group, "squares")
        except ArchiveError:
            return None

    def write_window(
        self, number: int, round_number: int, surface: Surface, squares: NDArray[np.float64]
    ) -> None:
        """Keep the lines of a window after a round."""
        name = self._mended(f"rounds/{round_number}/{number}")
        for part in _SURFACE:
            write_array(self._group, f"{name}/{part}", getattr(surface, part))
        write_array(self._group, f"{name}/squares", squares)
        self._say(name, {"nodes": len(squares)})


_SURFACE = ("reference", "base", "area", "shape")
_FLUX_CHUNK = 1 << 14
"""Pixels a chunk of a node's flux, so that a window can be read without the rest."""


def _no_spectra(i: int) -> Any:
    raise ArchiveError(f"an archive has no library spectrum of node {i}; open the grid.")


def create_archive(path: str | Path, grid: Grid, recipe: Recipe) -> Archive:
    """A new archive for the clones of `grid`, or the one at `path` if it is of the same work.

    `path` is a folder, or the address of a bucket as fsspec takes it, e.g. `s3://bucket/clones`.

    Raises
    ------
    ArchiveError
        There is something else at `path`.
    """
    place = _place(path)
    if not _present(place):
        _create(place, grid, recipe)
    archive = open_archive(place)
    if archive.recipe != recipe or archive.meta["fingerprint"] != grid.fingerprint():
        raise ArchiveError(
            f"{path} holds clones of another grid, range or recipe ({archive.recipe.name}); "
            "choose another name or remove it."
        )
    return archive


def _place(path: str | Path) -> str | Path:
    """A folder, or an address."""
    return path if "://" in str(path) else Path(path)


def _present(place: str | Path) -> bool:
    if isinstance(place, Path):
        return place.exists() and (not place.is_dir() or any(place.iterdir()))
    try:
        return "format" in zarr.open_group(_store(place, "r"), mode="r").attrs
    except FileNotFoundError:
        return False


def _store(place: str | Path, mode: Literal["r", "r+"]) -> Any:
    """What zarr takes for a folder, a zip file or an address."""
    if isinstance(place, Path):
        return zarr.storage.ZipStore(place, mode="r") if place.is_file() else place
    try:
        return zarr.storage.FsspecStore.from_url(place, read_only=mode == "r")
    except ImportError as error:
        raise MissingExtra(error.name or "fsspec", "cloud", f"the archive {place}") from None


def _create(place: str | Path, grid: Grid, recipe: Recipe) -> None:
    """A folder appears whole or not at all, also if two farms create it at once."""
    if not isinstance(place, Path):
        _describe(zarr.create_group(_store(place, "r+")), grid, recipe)
        return
    partial = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        _describe(zarr.create_group(partial), grid, recipe)
        with suppress(OSError):  # another farm was faster
            partial.rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _describe(group: zarr.Group, grid: Grid, recipe: Recipe) -> None:
    """Write what is known before any node is cloned."""
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


def open_archive(path: str | Path) -> Archive:
    """The archive at `path`, a folder or an address.

    Raises
    ------
    ArchiveError
        It does not exist, is something else, is damaged, or is of another version.
    """
    place = _place(path)
    group = open_zarr(place, FORMAT, VERSION, "blase3d clone")
    try:
        return Archive(group, place)
    except (KeyError, TypeError) as error:
        raise ArchiveError(
            f"{path} lacks {error}, which every clone archive has; it is damaged: clone again."
        ) from None


def open_zarr(path: str | Path, form: str, latest: int, maker: str) -> zarr.Group:
    """The Zarr group at `path` (folder, zip or address) if it says that it is of this format."""
    if isinstance(path, Path) and not path.exists():
        raise ArchiveError(f"{path} does not exist; make it with {maker}.")
    mode: Literal["r", "r+"] = "r" if isinstance(path, Path) and path.is_file() else "r+"
    try:
        group = zarr.open_group(_store(path, mode), mode=mode)
        found, number = group.attrs.get("format"), group.attrs.get("version")
    except MissingExtra:
        raise
    except Exception as error:  # zarr and zipfile raise a dozen kinds for what is not theirs
        raise ArchiveError(
            f"{path} cannot be opened as a {form} file ({type(error).__name__}); "
            f"it is damaged or foreign: make it anew with {maker}."
        ) from None
    if found != form:
        raise ArchiveError(
            f"{path} is of the format {found!r}, expected {form!r}; make one with {maker}."
        )
    if number != latest:
        later = isinstance(number, int) and number > latest
        cure = "upgrade blase3d" if later else f"make it anew with {maker}"
        raise ArchiveError(
            f"{path} has format version {number!r}, this blase3d reads {latest}; {cure}."
        )
    return group


def read_array(group: zarr.Group, name: str, part: slice | EllipsisType = ...) -> NDArray[Any]:
    """An array or part of it; damage is told by the checksum of its chunks."""
    try:
        array: Any = group[name]
        missing = array.nchunks_initialized < array.nchunks
        values = np.asarray(array[part])
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


def write_array(
    group: zarr.Group, name: str, values: NDArray[Any], chunk: int | None = None
) -> None:
    """Write an array as one chunk, or in chunks of so many rows: compressed, with a checksum
    behind the compression.

    One that is there already is filled anew, not removed: another farm may be reading it, or
    writing the same.
    """
    rows = values.shape[:1] if chunk is None else (min(chunk, len(values)),)
    array = _array_of(
        group,
        name,
        shape=values.shape,
        chunks=tuple(max(n, 1) for n in (*rows, *values.shape[1:])),
        dtype=values.dtype,
        compressors=[_COMPRESSOR, Crc32cCodec()],
        config={"write_empty_chunks": True},
    )
    if values.size:
        array[...] = values


def _array_of(group: zarr.Group, name: str, **form: Any) -> zarr.Array[Any]:
    """The array of that name and form, made if need be."""
    try:
        return group.create_array(name, **form)
    except Exception:  # it is there, or what is there is damaged
        with suppress(Exception):
            found: Any = group[name]
            if all(getattr(found, key) == form[key] for key in ("shape", "chunks", "dtype")):
                return found
    return group.create_array(name, overwrite=True, **form)


_COMPRESSOR = BloscCodec(cname="zstd", clevel=7, shuffle="bitshuffle")


def software_versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    return {name: version(name) for name in ("blase3d", "jax", "numpy", "scipy", "zarr")}
