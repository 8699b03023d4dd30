"""Clones on disk: a Zarr group in a folder that describes itself.

    CLONES/                 attributes: format, recipe, constants, versions, library, label names,
    │                       fingerprint
    ├── wavelength          (P,) Å, vacuum
    ├── labels              (N, L)
    ├── nodes/17/           attributes, written last: misfit, flags; or why it failed
    │   ├── flux            (P,) the node's spectrum in units of the continuum
    │   ├── reference       (lines,) Å, vacuum: of a node that was fitted by itself
    │   └── params          (lines, 4) in the order of `lines.PARAMETERS`
    ├── functions/          joint fits: data-driven basis functions; attributes, written last
    │   └── own             (N, K') at the nodes that could be cloned
    ├── rounds/2/0/         joint fits: the lines of one window after one round;
    │   │                   attributes, written last: nodes
    │   ├── reference, base, area, shape    as in `model.line_grid`
    │   └── squares         (N,) summed squared misfit of each node, in the window
    └── built/1a2b3c/0/     a window of a model that is built by windows (`model.model_file`)

Every chunk has a CRC-32C checksum and is written under a temporary name first. The attributes of a
group have a checksum too, and give the shapes and types of its arrays (`forms`), whose metadata
have none. A node or window counts as done only if its attributes are there and all of it can be
read. Nothing that is done is written again, so that several processes can share an archive.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from ..errors import ArchiveError
from ..libraries.grid import Grid
from ..lines.lines import Lines
from ..model.line_grid import LineGrid
from ..recipe import GROUPED, JointFit, Recipe, recipe_from_json
from ..runtime.arrays import Floats, Integers
from ..runtime.files import plain
from ..runtime.progress import Progress, silent
from ..runtime.rows import Rows, empty_rows
from ..runtime.zarr_groups import (
    ColumnBlocks,
    Format,
    check_whole,
    read_array,
    store_of,
    write_array,
)
from .constants import are_those_of, constants
from .single_node import Clone

FORMAT = Format("blase3d-clones", 2, GROUPED, "blase3d clone")
SEALED = 3
"""First version with checksums and forms in the attributes."""


@dataclass(frozen=True, eq=False)
class NodeSpectrum:
    """Labels (L,) and normalised flux (P,) of a node."""

    labels: Floats
    flux: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class NodeClone(NodeSpectrum):
    """A node that was fitted by itself: its lines too, their misfit, and flags (see `Clone`)."""

    lines: Lines
    misfit: float
    flags: tuple[str, ...]


class Archive:
    """Clones of the nodes of a grid, as `open_archive` returns them."""

    def __init__(self, group: zarr.Group, path: str | Path):
        self._group = group
        self.path = path
        self.meta: dict[str, Any] = dict(group.attrs)
        self._sealed: bool = self.meta["version"] >= SEALED
        if not self._is_sound(self.meta):
            raise ArchiveError(f"{path} has a damaged description (zarr.json); clone again.")
        self.recipe: Recipe = recipe_from_json(self.meta["recipe"], self.meta["version"])
        self.label_names: tuple[str, ...] = tuple(self.meta["label_names"])
        self.wavelength: Floats = _read(group, self.meta, "wavelength")
        self.labels: Floats = _read(group, self.meta, "labels")
        _ = self._grid  # checks the labels

    def _is_sound(self, attributes: Mapping[str, Any]) -> bool:
        """Whether attributes are as written; those of old versions have no checksum."""
        if "sum" not in attributes:
            return not self._sealed
        return bool(attributes["sum"] == _sum(attributes))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def axes(self) -> dict[str, Floats]:
        """Values of each label over all nodes, including those that could not be cloned."""
        return dict(self._grid.axes)

    @property
    def box_index(self) -> NDArray[np.int64]:
        """Index of every node along each axis, (N, L)."""
        return self._grid.box_index

    @cached_property
    def _grid(self) -> Grid:
        return Grid(self.wavelength, self.labels, self.label_names, _no_spectra)

    def __getitem__(self, i: int) -> NodeSpectrum:
        """Return the spectrum of node i, as a `NodeClone` if the recipe fits each node by itself.

        Raises
        ------
        ArchiveError
            The node has not been cloned, or is damaged.
        """
        group, attributes = self._node(i)
        flux = _read(group, attributes, "flux")
        if isinstance(self.recipe.fit, JointFit):
            return NodeSpectrum(self.labels[i], flux)
        reference, params = (_read(group, attributes, part) for part in ("reference", "params"))
        lines = Lines(reference, params, self.recipe.profile)
        misfit = np.nan if attributes["misfit"] is None else attributes["misfit"]
        return NodeClone(self.labels[i], flux, lines, misfit, tuple(attributes["flags"]))

    def clone(self, i: int) -> NodeClone:
        """Return node i of a recipe that fits each node by itself.

        Raises
        ------
        ArchiveError
            As above, or all nodes were fitted at once.
        """
        node = self[i]
        if not isinstance(node, NodeClone):
            raise ArchiveError(
                f"got node {i} of {self.path}, whose lines are fitted to all nodes at once, "
                "expected one that was fitted by itself; build the model."
            )
        return node

    def _node(self, i: int) -> tuple[Any, dict[str, Any]]:
        """Return the group of a node that was cloned, and its attributes."""
        group, attributes = self._group_of(f"nodes/{i}")
        if "misfit" not in attributes:
            raise ArchiveError(
                f"node {i} of {self.path} has not been cloned; run blase3d clone again to finish."
            )
        return group, attributes

    def _group_of(self, name: str) -> tuple[Any, dict[str, Any]]:
        """Return a group and its attributes; none where there is no group, or it is damaged."""
        try:
            group = self._group[name]
            attributes = dict(group.attrs)
        except Exception:  # a damaged file can raise almost anything
            return None, {}
        return group, attributes if self._is_sound(attributes) else {}

    def is_done(self, i: int) -> bool:
        """Whether node i is there and undamaged."""
        try:
            self[i]
        except ArchiveError:
            return False
        return True

    def write(self, i: int, clone: Clone) -> None:
        """Write the clone of node i."""
        arrays: dict[str, NDArray[Any]] = {
            "reference": clone.lines.reference,
            "params": clone.lines.params,
            "flux": clone.target,
        }
        misfit = clone.misfit if np.isfinite(clone.misfit) else None
        self._write(f"nodes/{i}", arrays, misfit=misfit, flags=list(clone.flags))

    def write_spectrum(self, i: int, flux: NDArray[np.float32]) -> None:
        """Write the normalised flux (P,) of node i of a joint fit."""
        self._write(f"nodes/{i}", {"flux": flux}, misfit=None, flags=[])

    def write_failed(self, i: int, reason: str) -> None:
        """Write why node i could not be cloned: `build` treats it as a hole of the grid."""
        self._write(f"nodes/{i}", {}, failed=reason)

    def _write(
        self, name: str, arrays: Mapping[str, NDArray[Any] | ColumnBlocks], **attributes: Any
    ) -> None:
        """Write the arrays of a group, then its attributes with their checksum, in one step: it
        counts as done only once it has these. Damaged metadata are removed first."""
        try:
            self._group.get(name)
        except Exception:  # a damaged file can raise almost anything
            self._group.create_group(name, overwrite=True)
        forms = {
            part: write_array(self._group, f"{name}/{part}", values, _CHUNKS.get(part))
            for part, values in arrays.items()
        }
        attributes |= {"forms": forms} if forms else {}
        self._group.require_group(name).attrs.put({**attributes, "sum": _sum(attributes)})

    @property
    def failed(self) -> dict[int, str]:
        """Indices of nodes that could not be cloned, and the reasons."""
        found = {i: self._group_of(f"nodes/{i}")[1].get("failed") for i in range(len(self))}
        return {i: reason for i, reason in found.items() if reason is not None}

    @property
    def nodes(self) -> NDArray[np.int64]:
        """Indices of the nodes that could be cloned, (N,)."""
        return np.setdiff1d(np.arange(len(self)), list(self.failed))

    def flux_part(self, i: int, pixels: slice) -> NDArray[np.float32]:
        """Return the flux of node i in some pixels."""
        group, attributes = self._node(i)
        return _read(group, attributes, "flux", pixels)

    def data_basis(self) -> Floats | None:
        """Return the data-driven basis functions (N, K'); None if they have not been found."""
        group, attributes = self._group_of("functions")
        if "forms" not in attributes:
            return None
        try:
            return _read(group, attributes, "own")
        except ArchiveError:
            return None

    def write_data_basis(self, basis: Floats) -> None:
        """Write the data-driven basis functions (N, K')."""
        self._write("functions", {"own": basis})

    def window(self, number: int, round_number: int) -> tuple[LineGrid, Floats] | None:
        """Return lines and summed squared misfits (N,) of a window after a round, or None."""
        group, attributes = self._group_of(f"rounds/{round_number}/{number}")
        if "nodes" not in attributes:
            return None
        try:
            parts = {name: _read(group, attributes, name) for name in _SURFACE}
            root = self.recipe.joint.area_root
            lines = LineGrid(**parts, root=root, profile=self.recipe.profile)
            return lines, _read(group, attributes, "squares")
        except ArchiveError:
            return None

    def has_built(self, name: str) -> bool:
        """Whether a window has been built, and is undamaged."""
        group, attributes = self._group_of(f"built/{name}")
        try:
            for array, form in attributes["forms"].items():
                check_whole(group, array, form)
        except (ArchiveError, KeyError):
            return False
        return True

    def built(self, name: str) -> zarr.Group:
        """Return the group of a window that has been built."""
        try:
            group: zarr.Group = self._group[f"built/{name}"]  # type: ignore[assignment]
        except KeyError:
            raise ArchiveError(
                f"{self.path} has no window {name}, expected one that was built; let workers write "
                "to this folder, and run blase3d build again."
            ) from None
        return group

    @contextmanager
    def open_built(self, name: str, number: int) -> Iterator[zarr.Group]:
        """Open the group of a window of the model of this name."""
        with FORMAT.reading(self.path):
            yield self.built(f"{name}/{number}")

    def write_built(self, name: str, arrays: Mapping[str, NDArray[Any] | ColumnBlocks]) -> None:
        """Write a window that has been built."""
        self._write(f"built/{name}", arrays)

    def write_window(
        self, number: int, round_number: int, lines: LineGrid, squares: Floats
    ) -> None:
        """Write the lines of a window after a round."""
        arrays = {part: getattr(lines, part) for part in _SURFACE} | {"squares": squares}
        self._write(f"rounds/{round_number}/{number}", arrays, nodes=len(squares))


def flux_rows(
    archive: Archive, nodes: Integers, pixels: slice, progress: Progress = silent
) -> Rows:
    """Return the flux of some nodes in some pixels, (N, P)."""
    flux = empty_rows(nodes.size, len(range(*pixels.indices(archive.wavelength.size))))
    for n, i in enumerate(nodes):
        flux[n : n + 1] = archive.flux_part(int(i), pixels)
        progress("read", n + 1, nodes.size)
    return flux


_SURFACE = ("reference", "base", "area", "shape")
_CHUNKS = {"flux": 1 << 14}
"""Rows of the chunks of arrays that are read in part: pixels of a node's flux, for a window."""


def _sum(attributes: Mapping[str, Any]) -> str:
    """Return the checksum of attributes, without their `sum`."""
    summed = {name: value for name, value in attributes.items() if name != "sum"}
    return hashlib.sha256(json.dumps(summed, sort_keys=True).encode()).hexdigest()


def _read(
    group: zarr.Group,
    attributes: Mapping[str, Any],
    name: str,
    pixels: slice = slice(None),
) -> NDArray[Any]:
    """Return an array, or some of its pixels, in the form given by the attributes of its group."""
    if "sum" in attributes:
        return read_array(group, name, pixels, attributes["forms"].get(name, []))
    return read_array(group, name, pixels)


def _no_spectra(i: int) -> Any:
    raise ArchiveError(f"an archive does not have the library spectrum of node {i}; open the grid.")


def create_archive(path: str | Path, grid: Grid, recipe: Recipe) -> Archive:
    """Create the archive for the clones of `grid`, or open it if it has been begun.

    Parameters
    ----------
    path : str or Path
        A folder, or an address in the form of fsspec, e.g. `s3://bucket/clones`.
    grid : Grid
        The library.
    recipe : Recipe
        Settings.

    Raises
    ------
    ArchiveError
        There is something else at `path`, or clones of another grid, recipe or with other
        constants.
    """
    location = _location(path)
    if not _exists(location):
        _create(location, grid, recipe)
    elif _is_foreign(location):
        raise ArchiveError(f"{path} exists and is no archive of clones; give another name.")
    archive = open_archive(location)
    if archive.recipe != recipe or archive.meta["fingerprint"] != grid.fingerprint():
        raise ArchiveError(
            f"{path} holds clones of another grid, range or recipe "
            f"({_differences(archive, grid, recipe)}); choose another name or remove it."
        )
    joint = isinstance(recipe.fit, JointFit)
    if not are_those_of(archive.meta.get("constants"), joint):
        raise ArchiveError(
            f"{path} was made by a version whose fits have other constants; finish it with that "
            "version, or choose another name or remove it."
        )
    return archive


def _differences(archive: Archive, grid: Grid, recipe: Recipe) -> str:
    """Differences of the origin of an archive from a grid and a recipe, in words."""
    there, now = _facts(archive, archive.recipe), _facts(grid, recipe)
    names = [name for name in there | now if there.get(name) != now.get(name)]
    each = (f"{name} {there.get(name)} there, {now.get(name)} now" for name in names)
    return "; ".join(each) or "labels or spectra differ"


def _facts(nodes: Archive | Grid, recipe: Recipe) -> dict[str, object]:
    """Extent of a grid and settings of a recipe by name."""
    wave = nodes.wavelength
    facts: dict[str, object] = {"nodes": len(nodes), "labels": ", ".join(nodes.label_names)}
    facts |= {"pixels": wave.size, "range": f"{wave[0]:g}–{wave[-1]:g} Å"}
    for name, value in json.loads(recipe.to_json()).items():
        facts |= value if isinstance(value, dict) else {name: value}
    return facts


def _location(path: str | Path) -> str | Path:
    """Return a folder as Path, an address as it is."""
    return path if "://" in str(path) else Path(path)


def _exists(location: str | Path) -> bool:
    if isinstance(location, Path):
        return location.exists() and (not location.is_dir() or any(location.iterdir()))
    try:
        return "format" in zarr.open_group(store_of(location, "r"), mode="r", zarr_format=3).attrs
    except FileNotFoundError:
        return False


def _is_foreign(location: str | Path) -> bool:
    """Whether what exists is no archive, not even a damaged one."""
    if isinstance(location, Path) and not (location / "zarr.json").is_file():
        return True
    try:
        group = zarr.open_group(store_of(location, "r"), mode="r", zarr_format=3)
        return group.attrs.get("format") != FORMAT.name
    except Exception:  # zarr raises many kinds on damaged files
        return False


def _create(location: str | Path, grid: Grid, recipe: Recipe) -> None:
    """Create an archive; a folder appears complete, even if two processes create it at once."""
    if not isinstance(location, Path):
        _write_description(zarr.create_group(store_of(location, "r+")), grid, recipe)
        return
    partial = location.with_name(f".{location.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        _write_description(zarr.create_group(partial), grid, recipe)
        with suppress(OSError):  # another process was faster
            partial.rename(location)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_description(group: zarr.Group, grid: Grid, recipe: Recipe) -> None:
    """Write what is known before any node is cloned."""
    arrays = {"wavelength": grid.wavelength, "labels": grid.labels}
    attributes = {
        "forms": {name: write_array(group, name, values) for name, values in arrays.items()},
        "recipe": recipe.to_json(),
        "constants": constants(),
        "label_names": list(grid.label_names),
        "library": plain(grid.meta),
        "fingerprint": grid.fingerprint(),
        "versions": software_versions(),
        "units": {"wavelength": "Angstrom", "params": "Angstrom and ln(Angstrom)"},
        "medium": "vacuum",
        **FORMAT.attributes,
    }
    group.attrs.update({**attributes, "sum": _sum(attributes)})


def open_archive(path: str | Path) -> Archive:
    """Open the archive at `path`, a folder or an address.

    Raises
    ------
    ArchiveError
        It does not exist, is something else, is damaged, or has another version.
    """
    location = _location(path)
    group = FORMAT.open(location)
    with FORMAT.reading(path):
        return Archive(group, location)


def software_versions() -> dict[str, str]:
    """Return the versions of the software that results depend on."""
    return {name: version(name) for name in ("blase3d", "jax", "numpy", "scipy", "zarr")}
