"""The reader of a spectrum format, and the file that it is given.

A new format is a module with a `SpectrumReader`, and a row in `formats.READERS`. Packages add
others by entry points of the group `blase3d.spectra`.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from astropy.io import fits

from ...errors import SpectrumError
from ...runtime.files import LARGEST_SPECTRUM, check_size, first_line
from .raw import RawSpectrum

GROUP = "blase3d.spectra"
"""Group of the entry points of spectrum readers."""
_COMPRESSED: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
"""First bytes of compressed files, and what unpacks them."""
_WEB_PAGE = "a web page, perhaps the message of a server"
_OTHER_KINDS = {
    b"<!doctype html": _WEB_PAGE,
    b"<html": _WEB_PAGE,
    b"<head": _WEB_PAGE,
    b"\x89png": "an image (PNG)",
    b"\xff\xd8\xff": "an image (JPEG)",
    b"%pdf": "a PDF document",
    b"\x1f\x9d": "packed by compress (.Z), which is not read",
    b"\x89hdf": "an HDF5 file, which is not read",
    b"\x93numpy": "an array of NumPy without names (.npy)",
    b"\x80\x04\x95": "a pickle, which is not read since it may run code",
    b"{": "JSON, which is not read",
}
"""First bytes, in lower case, of files that people take for spectra."""
_PACKED_ENDINGS = ("gz", "bz2", "xz", "fz")
_MOST_UNPACKED = 100
"""Bytes that a byte of a compressed file may unpack to, beyond `_ALWAYS_UNPACKED`."""
_ALWAYS_UNPACKED = 2**26
"""Bytes that any compressed file may unpack to."""
_BLOCK = 2880
"""Bytes of a block of a FITS file."""
FITS_BEGINS = b"SIMPLE  ="
"""The first bytes of a FITS file."""
_FIRST_NAMES = 5
"""Names of spectra that a message lists."""
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r\f\x1a"))
"""Bytes that texts do not have; 1A ends files of MS-DOS."""


@dataclass(frozen=True)
class SpectrumReader:
    """A reader of one format of spectrum files."""

    name: str
    """Lower-case name."""
    what: str
    """The files that it recognises, in words that follow "expected"."""
    matches: Callable[[SpectrumFile], bool]
    """Whether a file is of this format. Cheap; for FITS files, by their headers."""
    read: Callable[[SpectrumFile], RawSpectrum]
    """Read the file. Whatever it raises becomes a `SpectrumError` that names the file."""


class SpectrumFile:
    """A file that may hold a spectrum, opened once for all readers.

    Its kind is that of its content, whatever its name; compressed files are unpacked.

    Parameters
    ----------
    path
        The file.
    columns
        Names of the columns to read, by `wavelength`, `flux`, `error`, ..., for those that cannot
        be recognised.
    unit
        Unit of the wavelengths, for a file that states none.
    wavelengths
        Another file with the wavelengths, for an image without.
    source
        Name of one of several spectra.
    """

    def __init__(
        self,
        path: Path,
        columns: Mapping[str, str] | None = None,
        unit: str | None = None,
        wavelengths: Path | None = None,
        source: str | None = None,
    ):
        self.path = path
        self.wavelengths = wavelengths
        self.columns = {role: str(name) for role, name in (columns or {}).items()}
        self.unit = unit
        self.source = None if source is None else str(source)
        self.has_several = False
        """Whether a reader has asked for one of several spectra."""
        self.notes: list[str] = []
        """Sentences that the user should read, such as one on a stale checksum."""
        self._open = ExitStack()

    def __enter__(self) -> SpectrumFile:
        # Astropy reads HDUs when they are used, and warns of what is wrong with them.
        self._open.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message=_DAMAGE)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    @property
    def ending(self) -> str:
        """The ending of the name, in lower case, without the dot and without `.gz` and the like."""
        endings = [ending.lower().removeprefix(".") for ending in self.path.suffixes]
        return next((ending for ending in endings[::-1] if ending not in _PACKED_ENDINGS), "")

    @property
    def is_fits(self) -> bool:
        """Whether the content is that of a FITS file."""
        return self._head.startswith(FITS_BEGINS)

    @property
    def is_zip(self) -> bool:
        """Whether the content is that of a zip file, as .npz files are."""
        return self._head.startswith((b"PK\x03\x04", b"PK\x05\x06"))

    @property
    def other_kind(self) -> str | None:
        """The kind of a file that has no spectrum for blase3D, in words; None if not known."""
        head = self._head.lstrip().lower()
        if not head:
            return "empty"
        return next((kind for start, kind in _OTHER_KINDS.items() if head.startswith(start)), None)

    @cached_property
    def text(self) -> str:
        """The decoded text, with lines that end in a line feed; empty for a binary file.

        UTF-8, UTF-16 with a byte order mark, or else Latin-1.
        """
        if self.is_fits or self.is_zip:
            return ""
        content = self.stream.read().rstrip(b"\x1a")
        self.stream.seek(0)
        return _decoded(content).replace("\r\n", "\n").replace("\r", "\n")

    @cached_property
    def stream(self) -> IO[bytes]:
        """The content, unpacked. Raise `SpectrumError` if it is damaged or too large."""
        stream = self._open.enter_context(self.path.open("rb"))
        head = stream.read(6)
        stream.seek(0)
        for magic, unpacker in _COMPRESSED.items():
            if head.startswith(magic):
                return self._unpacked(unpacker(stream))
        return stream

    @cached_property
    def _head(self) -> bytes:
        head = self.stream.read(16)
        self.stream.seek(0)
        return head

    def _unpacked(self, packed: IO[bytes]) -> IO[bytes]:
        size = _MOST_UNPACKED * self.path.stat().st_size
        most = min(LARGEST_SPECTRUM, max(_ALWAYS_UNPACKED, size))
        try:
            content = packed.read(most + 1)
        except (EOFError, OSError, ValueError, lzma.LZMAError, zlib.error) as failure:
            raise SpectrumError(
                f"{self.path} cannot be unpacked ({first_line(failure)}): it is damaged or cut "
                "short; make or copy it again."
            ) from failure
        if len(content) > most:
            raise SpectrumError(
                f"{self.path} unpacks to more than {most / 1e9:.3g} GB, expected a spectrum; "
                "unpack and check it."
            )
        return io.BytesIO(content)

    @property
    def header(self) -> fits.Header:
        """The primary header of a FITS file."""
        return self.hdus[0].header

    def named(self, *names: str) -> Any:
        """Return the HDU with the first of these names (EXTNAME) that is present, or None."""
        by_name: dict[str, Any] = {}
        for hdu in self.hdus:
            by_name.setdefault(hdu.name.strip().upper(), hdu)
        return next((by_name[name] for name in map(str.upper, names) if name in by_name), None)

    def chosen(self, names: Sequence[str]) -> str:
        """Return the name of the spectrum to read, among those of a file.

        Raise `SpectrumError` if there are several and the user chose none of them.
        """
        self.has_several = True
        return chosen_name(self.path, names, self.source)

    @cached_property
    def hdus(self) -> fits.HDUList:
        """The HDUs of a FITS file. Raise `SpectrumError` if it is damaged or too large.

        A checksum that is not right is noted: many pipelines change a file after they summed it.
        Only in a file that blase3D wrote does it mean damage.
        """
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                hdus = self._opened()
                declared = sum(hdu.size for hdu in hdus)  # more than in the file where compressed
            messages = [str(warning.message) for warning in caught]
            check_size(declared, str(self.path), SpectrumError, LARGEST_SPECTRUM)
            self._judge(hdus, messages)
        except SpectrumError:
            raise
        except Exception as failure:  # astropy raises many kinds on damaged files
            raise SpectrumError(
                f"{self.path} cannot be read as a FITS file ({first_line(failure)}): it is "
                "damaged, cut short or of another kind; make or copy it again."
            ) from failure
        return hdus

    def _opened(self) -> fits.HDUList:
        try:
            hdus = fits.open(self.stream, memmap=False, checksum=True)
            len(hdus)  # reads all headers
        except (ValueError, TypeError):  # a checksum that is no number
            self.stream.seek(0)
            hdus = fits.open(self.stream, memmap=False)
            self.notes.append(_STALE)
        return self._open.enter_context(hdus)

    def _judge(self, hdus: fits.HDUList, messages: list[str]) -> None:
        """Raise ValueError for warnings that mean damage; note a wrong checksum."""
        if wrong := [message for message in messages if "verification failed" in message]:
            if any(map(_is_own, hdus)):
                raise ValueError(wrong[0])
            self.notes.append(_STALE)
        for message in messages:
            if "corrupt" in message or ("truncated" in message and not _only_padding(hdus)):
                raise ValueError(message)
        if any(hdu.header.get("ZTABLE") is True for hdu in hdus):
            raise SpectrumError(
                f"{self.path} has a table compressed by fpack, expected a plain one; unpack it "
                "with funpack."
            )


_STALE = "the checksum in the header is not that of the data, as in files changed after writing"
_DAMAGE = "(?s).*(truncated|corrupt).*"
"""Warnings of astropy that mean a damaged file."""


def chosen_name(path: Path, names: Sequence[str], source: str | None) -> str:
    """Return the name of the spectrum to read, among those of a file, by what the user chose.

    Raise `SpectrumError` if there are several and the user chose none of them.
    """
    if source in names:
        return str(source)
    if len(names) == 1 and source is None:
        return names[0]
    first = ", ".join(names[:_FIRST_NAMES]) + (", ..." if len(names) > _FIRST_NAMES else "")
    wanted = "" if source is None else f", none is {source}"
    raise SpectrumError(
        f"{path} has {len(names)} spectra ({first}){wanted}; choose one of them with "
        "--source NAME (source=... in Python)."
    )


def _is_own(hdu: Any) -> bool:
    """Whether blase3D wrote an HDU; even if one of its marks is damaged."""
    marks = ("B3META" in hdu.header, "MEDIUM" in hdu.header, hdu.name == "SPECTRUM")
    return sum(marks) >= 2


def _only_padding(hdus: fits.HDUList) -> bool:
    """Whether a file that is shorter than declared only misses the end of its last block."""
    last = hdus[-1].fileinfo()
    missing = last["datLoc"] + last["datSpan"] - hdus[-1]._file.size
    return 0 < missing < _BLOCK and missing <= last["datSpan"] - hdus[-1].size


def _decoded(content: bytes) -> str:
    """The text of a file, or nothing if it is none."""
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if not marked and content.translate(None, _CONTROL) != content:
        return ""
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "latin-1"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return ""
