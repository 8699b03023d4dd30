"""Grid files: an .npz file, or a Zarr group with one chunk per node.

Both have wavelength (P,) in Å, labels (N, L), label_names (L,), flux (N, P) float32, optional
continuum (N, P) and meta (JSON). In a Zarr group, label_names and meta are attributes, every chunk
has a CRC-32C sum, and SHA-256 sums of the nodes give a fingerprint without reading them.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import GridError
from ..runtime.arrays import Floats
from ..runtime.files import (
    check_array,
    first_line,
    load_npz,
    parse_meta,
    plain,
    refuse_links,
    replacing,
    require_writable,
    settle_medium,
    settle_version,
    to_angstrom,
    to_vacuum,
)
from ..runtime.progress import Progress, silent
from .grid import Grid, NodeArrays, arrays_digest, check_form, check_kind, grid_of

FORMAT = "blase3d-grid"
VERSION = 1
"""Version of the files that are written. Files of others state none, and are read too."""
ARRAYS = ("wavelength", "labels", "flux")
COPIED = 1 << 16
"""Bytes copied at a time."""
NO_FLAGS: Mapping[str, object] = {}


@dataclass(frozen=True)
class _Flags:
    """Flags of nodes by their index, as in the meta of a file."""

    by_node: Mapping[str, Mapping[str, object]]

    def __call__(self, i: int) -> Mapping[str, object]:
        return self.by_node.get(str(i), NO_FLAGS)


def read_npz(path: str | Path, medium: str | None = None) -> Grid:
    """Read a grid from an .npz file into memory."""
    path = Path(path)
    arrays = load_npz(path, GridError)
    _require(arrays, ("label_names",), path)
    meta, flags = _settled_meta(arrays.get("meta"), medium, path)
    with _naming(path):
        return grid_of(
            _pixels(arrays["wavelength"], meta, path),
            arrays["labels"],
            _names(arrays["label_names"]),
            arrays["flux"],
            arrays.get("continuum"),
            meta,
            flags,
        )


def _check_transitions(found: object, path: Path) -> None:
    """Raise `GridError` unless transitions are two increasing numbers for each label."""
    try:
        pairs = dict(found or {}).values()  # type: ignore[call-overload]
        good = all(-np.inf < float(low) < float(high) < np.inf for low, high in pairs)
    except (TypeError, ValueError):
        good = False
    if not good:
        raise GridError(
            f"{path} has the transitions {found!r}, expected two increasing "
            "values for each label; correct or remove them."
        )


def _require(found: Any, more: tuple[str, ...], path: Path) -> None:
    if missing := [name for name in (*ARRAYS, *more) if name not in found]:
        raise GridError(
            f"{path} has no {' and no '.join(missing)}, expected wavelength, labels, label_names, "
            "flux, optional continuum, and meta."
        )


def _names(names: Any) -> tuple[str, ...]:
    each = np.ravel(np.asarray(names)).tolist()
    return tuple(n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in each)


def _pixels(wavelength: NDArray[Any], meta: dict[str, Any], path: Path) -> Floats:
    """Wavelengths in Å in vacuum. Removes their unit and medium from `meta`."""
    check_kind("wavelength", wavelength.dtype)
    angstrom = to_angstrom(wavelength, meta.pop("wavelength_unit", None), path, GridError)
    return to_vacuum(angstrom, meta.pop("medium_found"))


def _settled_meta(
    raw: object, medium: str | None, path: Path
) -> tuple[dict[str, Any], _Flags | None]:
    """Meta with medium vacuum and `medium_found`, that of the file; and the flags of nodes."""
    meta = {} if raw is None else parse_meta(raw, path, GridError)
    settle_version(meta, FORMAT, VERSION, path, GridError)
    found = settle_medium(meta.get("medium"), medium, path, GridError)
    _check_transitions(meta.get("transitions"), path)
    flags = meta.pop("node_flags", None)
    if found == "air":
        meta["converted_from"] = "air"
    meta.update(medium="vacuum", medium_found=found)
    if not flags:
        return meta, None
    if not isinstance(flags, dict) or not all(isinstance(f, dict) for f in flags.values()):
        raise GridError(f"{path} has node_flags that are no JSON objects; correct or remove them.")
    return meta, _Flags(flags)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in errors about its content."""
    try:
        yield
    except GridError as fault:
        raise GridError(f"{path}: {fault}") from fault
    except (TypeError, ValueError) as fault:
        raise GridError(
            f"{path} has arrays that are not numeric ({first_line(fault)}); make it again."
        ) from fault


# --- Zarr --------------------------------------------------------------------------------------


def is_zarr(path: Path) -> bool:
    """Whether a path is a folder with zarr.json, or a .zip file with one."""
    if path.is_dir():
        return (path / "zarr.json").is_file()
    if path.suffix.lower() != ".zip" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "zarr.json" in archive.namelist()


def read_zarr(path: str | Path, medium: str | None = None) -> Grid:
    """Open a grid in a Zarr group, folder or .zip file; nodes are read on demand."""
    path = Path(path)
    if path.is_dir():
        refuse_links(path, GridError)
    with _zarr_group(path) as group:
        attributes = dict(group.attrs)
        _require(group, (), path)
        if not attributes.get("complete", True):
            raise GridError(f"{path} is incomplete; make it again.")
        wavelength, labels = (_small(group, name, path) for name in ("wavelength", "labels"))
        names = attributes.get("label_names")
        names = _small(group, "label_names", path) if names is None else names
        spectra = {name: group[name] for name in ("flux", "continuum") if name in group}
        sums = _stored_sums(group, len(labels))
    meta, flags = _settled_meta(attributes.get("meta"), medium, path)
    with _naming(path):
        check_kind("labels", labels.dtype)
        pixels = _pixels(wavelength, meta, path)
        read = _ZarrReader(path, "continuum" in spectra)
        grid = Grid(pixels, labels, _names(names), read, meta, flags, sums)
        for name, array in spectra.items():
            check_form(grid, name, array)
    return grid


def _small(group: Any, name: str, path: Path) -> NDArray[Any]:
    """Read a whole array."""
    check_array(group[name], f"{name} of {path}", GridError)
    return np.asarray(group[name][:])


@contextmanager
def _zarr_group(path: Path) -> Iterator[Any]:
    """The Zarr group at `path`, open for reading; any failure is a `GridError`."""
    import zarr  # takes half a second: only if needed
    from zarr.storage import LocalStore, ZipStore

    try:
        store = LocalStore(path, read_only=True) if path.is_dir() else ZipStore(path, mode="r")
        with store:
            yield zarr.open_group(store, mode="r", zarr_format=3)
    except GridError:
        raise
    except Exception as failure:  # codecs and stores raise many kinds
        raise GridError(
            f"{path} cannot be read as a Zarr group ({first_line(failure)}): it is damaged or "
            "incomplete; make or copy it again."
        ) from failure


@dataclass(frozen=True)
class _ZarrReader:
    path: Path
    has_continuum: bool

    def __call__(self, i: int) -> NodeArrays:
        with _zarr_group(self.path) as group:
            return group["flux"][i], group["continuum"][i] if self.has_continuum else None


@dataclass(frozen=True)
class _Sums:
    sums: tuple[str, ...]

    def __call__(self, i: int) -> str:
        return self.sums[i]


def _stored_sums(group: Any, count: int) -> Callable[[int], str] | None:
    if "sha256" not in group or group["sha256"].shape != (count, 32):
        return None
    return _Sums(tuple(row.tobytes().hex() for row in group["sha256"][:]))


# --- writing -----------------------------------------------------------------------------------


def write_grid(grid: Grid, path: str | Path, progress: Progress = silent) -> None:
    """Write a grid to an .npz or .zarr file, by the ending of its name.

    A failure keeps the previous file. Nodes are not checked, so that a bad one does not
    prevent writing the others. `progress` is called with the stage, the nodes done and all.
    """
    path = Path(path)
    require_writable_grid(path)
    write = _write_npz if path.suffix.lower() == ".npz" else _write_zarr
    with replacing(path, _is_grid) as partial:
        write(grid, partial, progress)


def require_writable_grid(path: Path) -> None:
    """Raise `InputError` unless `write_grid` could write to this path. Call it before long work."""
    if path.suffix.lower() not in (".npz", ".zarr"):
        raise GridError(f"got output {path}, expected one that ends in .npz or .zarr.")
    require_writable(path, _is_grid)


def _is_grid(path: Path) -> bool:
    """Whether a folder was written by `write_grid`, and may be replaced."""
    return path.suffix.lower() == ".zarr" and (path / "flux" / "zarr.json").is_file()


def _meta(grid: Grid) -> dict[str, Any]:
    meta = {**grid.meta, "medium": "vacuum", "wavelength_unit": "Angstrom"}
    meta |= {"format": FORMAT, "version": VERSION}
    if grid.flags is not None:
        flags = {str(i): dict(grid.flags(i)) for i in range(len(grid))}
        meta["node_flags"] = {node: flag for node, flag in flags.items() if flag}
    return dict(plain(meta))


def _node(grid: Grid, i: int, has_continuum: bool) -> NodeArrays:
    """Flux and continuum of a node, as float32."""
    flux, continuum = grid.read(i)
    if (continuum is not None) != has_continuum:
        raise GridError(
            f"some nodes have a continuum and some have none (node {grid.describe(i)} differs "
            "from the first); give all nodes one, or none."
        )
    kept = None if continuum is None else np.asarray(continuum, dtype=np.float32)
    return np.asarray(flux, dtype=np.float32), kept


def _has_continuum(grid: Grid) -> bool:
    return grid.read(0)[1] is not None


def _write_npz(grid: Grid, path: Path, progress: Progress) -> None:
    """Write node by node. Continua wait in a temporary file: a zip file takes one member a time."""
    has_continuum = _has_continuum(grid)
    shape = (len(grid), len(grid.wavelength))
    small = {
        "wavelength": grid.wavelength,
        "labels": grid.labels,
        "label_names": np.array(grid.label_names),
        "meta": np.array(json.dumps(_meta(grid))),
    }
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        tempfile.TemporaryFile(dir=path.parent) as waiting,
    ):
        for name, array in small.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        with _float_member(archive, "flux", shape) as member:
            for i in range(len(grid)):
                flux, continuum = _node(grid, i, has_continuum)
                member.write(np.ascontiguousarray(flux, dtype="<f4").tobytes())
                if continuum is not None:
                    waiting.write(np.ascontiguousarray(continuum, dtype="<f4").tobytes())
                progress("write", i + 1, len(grid))
        if has_continuum:
            waiting.seek(0)
            with _float_member(archive, "continuum", shape) as member:
                shutil.copyfileobj(waiting, member, COPIED)


@contextmanager
def _float_member(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> Iterator[Any]:
    """A member of an .npz file, open for the float32 values of an array of this shape."""
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, header)
        yield member


def _write_zarr(grid: Grid, path: Path, progress: Progress) -> None:
    import zarr
    from zarr.storage import LocalStore

    has_continuum = _has_continuum(grid)
    shape = (len(grid), len(grid.wavelength))
    with LocalStore(path) as store:
        group = zarr.create_group(store, attributes={"complete": False})
        _create(group, "wavelength", grid.wavelength.shape, "float64")[:] = grid.wavelength
        _create(group, "labels", grid.labels.shape, "float64")[:] = grid.labels
        flux = _create(group, "flux", shape, "float32", (1, shape[1]))
        continuum = None
        if has_continuum:
            continuum = _create(group, "continuum", shape, "float32", (1, shape[1]))
        sums = np.zeros((len(grid), 32), dtype=np.uint8)
        for i in range(len(grid)):
            sums[i] = _put(_node(grid, i, has_continuum), i, flux, continuum)
            progress("write", i + 1, len(grid))
        _create(group, "sha256", sums.shape, "uint8")[:] = sums
        names = list(grid.label_names)
        group.attrs.update({"label_names": names, "meta": _meta(grid), "complete": True})


def _put(node: NodeArrays, i: int, flux: Any, continuum: Any) -> NDArray[np.uint8]:
    """Write one node; return its SHA-256 sum."""
    flux[i] = node[0]
    if continuum is not None:
        continuum[i] = node[1]
    return np.frombuffer(bytes.fromhex(arrays_digest(*node)), dtype=np.uint8)


def _create(
    group: Any, name: str, shape: tuple[int, ...], dtype: str, chunks: tuple[int, ...] | None = None
) -> Any:
    """A compressed array with checksums, all of whose chunks are written."""
    from zarr.codecs import Crc32cCodec, ZstdCodec

    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=shape if chunks is None else chunks,
        compressors=[ZstdCodec(level=5), Crc32cCodec()],
        # A missing chunk is read as fill values; NaN makes it an error.
        fill_value=np.nan if dtype.startswith("float") else 0,
        config={"write_empty_chunks": True},
    )


def is_npz(path: Path) -> bool:
    """Whether a path is an .npz file, by its ending."""
    return path.is_file() and path.suffix.lower() == ".npz"
