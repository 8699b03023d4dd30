"""Uploaded spectra: read like files, with stricter limits.

A browser sends a name and bytes. The bytes are written to a temporary folder, under a name of ours,
and read from there. Errors become one sentence with the name that the browser sent.
"""

from __future__ import annotations

import zipfile
from base64 import b64decode
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from ...errors import Blase3dError, SpectrumError
from ...runtime.files import first_line
from ...spectra.formats import read_spectrum
from ...spectra.spectrum import Spectrum

LARGEST = 64_000_000
"""Largest file accepted, bytes."""
_UNPACKED = 8
"""Largest unpacked size of a packed file, in units of `LARGEST`."""
_ENDINGS = (
    *(".npz", ".ecsv", ".csv", ".fits", ".fit", ".fts"),
    *(".tsv", ".txt", ".dat", ".asc", ".s", ".vot", ".xml"),
)
_PACKED = (b"\x1f\x8b", b"BZh", b"PK", b"\xfd7zXZ", b"\x1f\x9d")
"""First bytes of compressed files, which may unpack to any size."""
_LONGEST_NAME = 80


def read_upload(
    name: str, content: bytes, medium: str | None = None, largest: int = LARGEST
) -> Spectrum:
    """Read the spectrum in an uploaded file; `medium` is for files that do not state it.

    Raises
    ------
    Blase3dError
        It is too large, of an unknown format, damaged, or its medium is unknown.
    """
    shown, ending = _named(name)
    _check_size(shown, ending, content, largest)
    with TemporaryDirectory(prefix="blase3d-") as folder:
        path = Path(folder) / f"spectrum{ending}"
        path.write_bytes(content)
        try:
            return _read(path, medium)
        except Blase3dError as fault:
            raise SpectrumError(str(fault).replace(str(path), shown)) from None
        except Exception as fault:  # readers of other packages, on bytes that may be hostile
            said = first_line(fault).replace(str(path), shown)
            raise SpectrumError(
                f"{shown} cannot be read ({said}): it is damaged; make or copy it again."
            ) from None


def decoded(data: Mapping[str, Any], largest: int = LARGEST) -> tuple[str, bytes, str | None]:
    """Name, content and medium of a file as a page sends it: columns of one value, in base64.

    Raises
    ------
    SpectrumError
        The data have another form, or are too large.
    """
    try:
        name, text, medium = (str(data[key][0]) for key in ("name", "content", "medium"))
    except (LookupError, TypeError):
        raise SpectrumError("no file arrived, expected one; choose it again.") from None
    shown, _ = _named(name)
    if len(text) * 3 // 4 > largest + 3:
        raise too_large(shown, len(text) * 3 // 4, largest)
    try:
        return name, b64decode(text, validate=True), medium or None
    except ValueError:
        raise SpectrumError(f"{shown} did not arrive whole; choose it again.") from None


def _named(name: str) -> tuple[str, str]:
    """A name without folders and unprintable characters, for messages, and its ending."""
    plain = "".join(c for c in PurePosixPath(name.replace("\\", "/")).name if c.isprintable())
    ending = PurePosixPath(plain).suffix.lower()
    shown = plain if len(plain) <= _LONGEST_NAME else f"{plain[:_LONGEST_NAME]}…"
    if ending not in _ENDINGS:
        raise SpectrumError(
            f"{shown or 'The file'} has an unknown ending; expected one of {', '.join(_ENDINGS)}."
        )
    return shown, ending


def _check_size(shown: str, ending: str, content: bytes, largest: int) -> None:
    """Raise SpectrumError for a file that is too large, as it is or unpacked."""
    if len(content) > largest:
        raise too_large(shown, len(content), largest)
    if ending == ".npz":
        try:
            with zipfile.ZipFile(BytesIO(content)) as archive:
                size = sum(member.file_size for member in archive.infolist())
        except Exception:  # damaged; the reader raises a better message
            return
        if size > _UNPACKED * largest:
            most = _UNPACKED * largest
            raise SpectrumError(
                f"{shown} unpacks to {size / 1e6:,.0f} MB, expected {most / 1e6:,.0f} MB at the "
                "most; cut it to the range that you need."
            )
    elif content.startswith(_PACKED):
        raise SpectrumError(f"{shown} is compressed, expected {ending}; decompress it first.")


def too_large(shown: str, size: int, largest: int) -> SpectrumError:
    """The error for a file that is too large."""
    return SpectrumError(
        f"{shown} has {size / 1e6:,.1f} MB, expected {largest / 1e6:,.0f} MB at the most; cut it "
        "to the range that you need, or give it on the command line."
    )


def _read(path: Path, medium: str | None) -> Spectrum:
    try:
        return read_spectrum(path, medium=medium)
    except SpectrumError:
        if medium is not None:
            raise
        try:
            read_spectrum(path, medium="vacuum")
        except Blase3dError:
            pass
        else:  # only the medium was missing
            raise SpectrumError(
                f"{path} does not state whether its wavelengths are in air or vacuum; choose "
                "one above, and upload it again."
            ) from None
        raise
