"""Stacks of spectra on common pixels: an .npz file, a Zarr group (version 3), a table of MaStar.

They have `wavelength` (P,), `flux` (N, P), `error` (N, P), and optionally `mask` (N, P; true:
ignore), `name` (N,), `resolution` (one number, or N) or `pixel_resolution` (N, P), and `meta`
(JSON, in Zarr an attribute) with `medium` and, where known, `resolution` and `wavelength_unit`.
Tables of MaStar (`mastar.py`) have their own columns. Rows are read one block after the other, so
that the file may be larger than the memory.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ...errors import SpectrumError
from ...runtime.arrays import Floats
from ...runtime.files import check_size, first_line, parse_meta, refuse_links, settle_medium
from ..spectrum import Spectrum
from . import mastar
from .columns import in_angstrom
from .raw import RawSpectrum, spectrum_of
from .reader import FITS_BEGINS, chosen_name

_BLOCK = 2**22
"""Pixels that are read at once."""
_LARGE = ("flux", "error", "mask", "pixel_resolution")
_HEADERS = (np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0)
_MOST_SMALL = 2**30
"""Bytes of wavelengths or names, at most."""


@dataclass(frozen=True, eq=False)
class StackRow:
    """One spectrum of a stack: its name and its content."""

    name: str
    raw: RawSpectrum

    def read(self, **_: Any) -> Spectrum:
        """Return the spectrum."""
        return spectrum_of(self.raw, str(self.raw.medium), None)


@dataclass(frozen=True, eq=False)
class Stack:
    """Spectra on common pixels.

    Attributes
    ----------
    path : Path
        The file, or folder.
    wavelength : (P,)
        Å, in the medium of the file.
    names : tuple of str
        Name of each spectrum; without names in the file, their numbers from 0.
    resolution : (N,) or None
        Resolving power of each spectrum, where known.
    meta : dict
        The medium, and whatever else the file states.
    has_errors : bool
        Whether it has errors.
    """

    path: Path
    wavelength: Floats
    names: tuple[str, ...]
    resolution: Floats | None
    meta: Mapping[str, Any]
    has_errors: bool

    def blocks(self) -> Iterator[tuple[slice, dict[str, NDArray[Any]]]]:
        """Yield the rows (n, P) of flux, error and mask, with their indices, in blocks."""
        with _reading(self.path), _opened(self.path) as arrays:
            large = {name: arrays.rows(name) for name in _LARGE if name in arrays}
            size = max(_BLOCK // len(self.wavelength), 1)
            for start in range(0, len(self.names), size):
                span = slice(start, min(start + size, len(self.names)))
                yield span, {name: rows(span) for name, rows in large.items()}

    def one(self, name: str | None) -> StackRow:
        """Return the spectrum of a name. Raise `SpectrumError` if there is none."""
        chosen = chosen_name(self.path, self.names, name)
        return next(row for row in self.rows() if row.name == chosen)

    def rows(self) -> Iterator[StackRow]:
        """Yield the spectra."""
        meta = {key: value for key, value in self.meta.items() if key != "medium"}
        for span, arrays in self.blocks():
            for i in range(span.start, span.stop):
                columns = {"wavelength": self.wavelength}
                row = {name: values[i - span.start] for name, values in arrays.items()}
                resolution = None if self.resolution is None else self.resolution[i]
                raw = RawSpectrum(columns | row, self.meta["medium"], resolution, meta)
                yield StackRow(self.names[i], raw)


def is_stack(path: Path) -> bool:
    """Return whether a file has spectra on common pixels, and is no library."""
    if path.is_dir() and not (path / "zarr.json").is_file():
        return False
    try:
        with _opened(path) as arrays:
            shape = arrays.shape("flux") if "flux" in arrays else ()
            several = len(shape) == 2 and len(arrays.shape("wavelength")) == 1
            return several and shape[0] > 1 and "labels" not in arrays
    except Exception:  # of many kinds; the file is read as a spectrum, which says what is wrong
        return False


def open_stack(path: Path, medium: str | None = None, unit: str | None = None) -> Stack:
    """Open a stack; medium and unit of the wavelengths are needed where it does not state them.

    Raises
    ------
    SpectrumError
        It is damaged, its arrays do not match, or it states no medium.
    """
    with _reading(path), _opened(path) as arrays:
        count, pixels = arrays.shape("flux")
        for name in _LARGE:
            if name in arrays and arrays.shape(name) != (count, pixels):
                raise SpectrumError(
                    f"{path} has {name} of shape {arrays.shape(name)}, expected "
                    f"{(count, pixels)} as the flux; correct it."
                )
        meta = parse_meta(arrays.meta(), path, SpectrumError)
        wavelength = arrays.small("wavelength")
        if wavelength.shape != (pixels,):
            raise SpectrumError(
                f"{path} has {wavelength.size} wavelengths and {pixels} pixels; correct it."
            )
        unit = meta.pop("wavelength_unit", None) or unit or "Angstrom"
        meta["medium"] = settle_medium(meta.get("medium"), medium, path, SpectrumError)
        has_errors = "error" in arrays
        names = arrays.small("name") if "name" in arrays else np.arange(count)
        stated = (
            arrays.small("resolution") if "resolution" in arrays else meta.pop("resolution", None)
        )
        if "pixel_resolution" in arrays:
            stated = None
    resolution = None if stated is None else np.broadcast_to(np.asarray(stated, float), (count,))
    angstrom = in_angstrom(wavelength, unit, path)
    return Stack(path, angstrom, _distinct(names, count, path), resolution, meta, has_errors)


def _distinct(names: NDArray[Any], count: int, path: Path) -> tuple[str, ...]:
    found = tuple(n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in names)
    if len(found) != count or len(set(found)) < count:
        raise SpectrumError(
            f"{path} has {len(set(found))} different names for {count} spectra; give each its own."
        )
    return found


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn any failure while a stack is read into a `SpectrumError`."""
    try:
        yield
    except SpectrumError:
        raise
    except Exception as failure:  # as many kinds as there are ways to damage a file
        raise SpectrumError(
            f"{path} cannot be read as a stack of spectra ({first_line(failure)}): expected "
            "wavelength (P,), flux (N, P), error (N, P); make or copy it again."
        ) from failure


@contextmanager
def _opened(path: Path) -> Iterator[_Npz | _Zarr | _MaStar]:
    with ExitStack() as opened:
        if path.is_dir():
            refuse_links(path, SpectrumError)
            yield _Zarr(path)
        elif _is_fits(path):
            yield _MaStar(path, opened)
        else:
            yield _Npz(opened.enter_context(zipfile.ZipFile(path)), opened)


def _is_fits(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(FITS_BEGINS)) == FITS_BEGINS


class _Npz:
    """Arrays of an .npz file; large ones are unpacked row by row, in order."""

    def __init__(self, archive: zipfile.ZipFile, opened: ExitStack):
        self.archive, self.opened = archive, opened

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self.archive.namelist()

    def _begun(self, name: str) -> tuple[Any, tuple[int, ...], np.dtype[Any], bool]:
        """The stream of an array at its first number, its shape and type, and whether it is stored
        by columns."""
        stream = self.opened.enter_context(self.archive.open(f"{name}.npy"))
        old = np.lib.format.read_magic(stream) == (1, 0)
        read_header = _HEADERS[0 if old else 1]
        shape, by_columns, dtype = read_header(stream)
        if dtype.hasobject:
            raise ValueError(f"{name} is not an array of plain values")
        return stream, shape, dtype, by_columns and len(shape) > 1

    def shape(self, name: str) -> tuple[int, ...]:
        return self._begun(name)[1]

    def small(self, name: str, most: int | None = _MOST_SMALL) -> NDArray[Any]:
        stream, shape, dtype, by_columns = self._begun(name)
        size = int(np.prod(shape)) * dtype.itemsize
        check_size(size, name, SpectrumError, most)
        values = np.frombuffer(stream.read(size), dtype)
        return values.reshape(shape, order="F" if by_columns else "C")

    def meta(self) -> Any:
        return self.small("meta") if "meta" in self else {}

    def rows(self, name: str) -> Any:
        """A function that returns the next rows; each is asked for once, in order. An array that is
        stored by columns is read as a whole."""
        stream, shape, dtype, by_columns = self._begun(name)
        if by_columns:
            whole = self.small(name, None)
            return lambda span: whole[span]

        def take(span: slice) -> NDArray[Any]:
            count = span.stop - span.start
            content = stream.read(count * shape[1] * dtype.itemsize)
            return np.frombuffer(content, dtype).reshape(count, shape[1])

        return take


class _Zarr:
    """Arrays of a Zarr group."""

    def __init__(self, path: Path):
        import zarr  # takes half a second

        self.group = zarr.open_group(path, mode="r", zarr_format=3)

    def __contains__(self, name: str) -> bool:
        return name in self.group

    def shape(self, name: str) -> tuple[int, ...]:
        array: Any = self.group[name]
        return tuple(array.shape)

    def small(self, name: str) -> NDArray[Any]:
        array: Any = self.group[name]
        check_size(array.nbytes, name, SpectrumError, _MOST_SMALL)
        return np.asarray(array[...])

    def meta(self) -> Any:
        return self.group.attrs.get("meta", {})

    def rows(self, name: str) -> Any:
        return lambda span: np.asarray(self.group[name][span])


class _MaStar:
    """Columns of a table of MaStar, as arrays of a stack."""

    def __init__(self, path: Path, opened: ExitStack):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # rows that are missing are noticed when they are read
            hdus = opened.enter_context(fits.open(path, memmap=True))
            self.hdu = mastar.spectra_in(hdus)
        if self.hdu is None:
            raise ValueError("the file has no table of MaStar")
        self.columns = mastar.columns_in(self.hdu)

    def __contains__(self, name: str) -> bool:
        return name in (*self.columns, "wavelength", "name")

    def shape(self, name: str) -> tuple[int, ...]:
        pixels = mastar.wavelength_of(self.hdu).shape
        return pixels if name == "wavelength" else (len(self.hdu.data), *pixels)

    def small(self, name: str) -> NDArray[Any]:
        if name == "wavelength":
            return mastar.wavelength_of(self.hdu)
        return np.array(mastar.names_of(self.hdu))

    def meta(self) -> Any:
        return {**mastar.META, "medium": "vacuum"}

    def rows(self, name: str) -> Any:
        def take(span: slice) -> NDArray[Any]:
            if not mastar.has_common_pixels(self.hdu, span):
                raise ValueError("rows differ in their wavelengths")
            return mastar.column_of(self.hdu, name, span)

        return take
