"""Spectra that are given to the page: read as files are, and trusted less.

A browser sends a name and bytes. The bytes are read from a folder that is removed again, under a
name that is ours; what goes wrong becomes one sentence with the name that was given.
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
"""Bytes of the largest file that is taken."""
_UNPACKED = 8
"""What a packed file may unpack to, in units of the largest."""
_ENDINGS = (".npz", ".ecsv", ".csv", ".fits", ".fit")
_PACKED = (b"\x1f\x8b", b"BZh", b"PK", b"\xfd7zXZ", b"\x1f\x9d")
"""First bytes of files that unpack to any size."""
_LONGEST_NAME = 80


def read_upload(
    name: str, content: bytes, medium: str | None = None, largest: int = LARGEST
) -> Spectrum:
    """The spectrum in an uploaded file; `medium` where it does not say.

    Raises
    ------
    Blase3dError
        It is too large, of another kind, damaged, or does not say its medium.
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
    """Name, content and medium as a page sends them: columns of one value, the content in base64.

    Raises
    ------
    SpectrumError
        They are something else, or too large.
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
    """A name as it is shown, without folders or unprintable characters, and its ending."""
    plain = "".join(c for c in PurePosixPath(name.replace("\\", "/")).name if c.isprintable())
    ending = PurePosixPath(plain).suffix.lower()
    shown = plain if len(plain) <= _LONGEST_NAME else f"{plain[:_LONGEST_NAME]}…"
    if ending not in _ENDINGS:
        raise SpectrumError(
            f"{shown or 'The file'} has no ending that is known; expected one of "
            f"{', '.join(_ENDINGS)}."
        )
    return shown, ending


def _check_size(shown: str, ending: str, content: bytes, largest: int) -> None:
    """Refuse what is too large, as it is or unpacked."""
    if len(content) > largest:
        raise too_large(shown, len(content), largest)
    if ending == ".npz":
        try:
            with zipfile.ZipFile(BytesIO(content)) as archive:
                size = sum(member.file_size for member in archive.infolist())
        except Exception:  # damaged: the reader says how
            return
        if size > _UNPACKED * largest:
            most = _UNPACKED * largest
            raise SpectrumError(
                f"{shown} unpacks to {size / 1e6:,.0f} MB, expected {most / 1e6:,.0f} MB at the "
                "most; cut it to the range that is needed."
            )
    elif content.startswith(_PACKED):
        raise SpectrumError(f"{shown} is packed, expected {ending} as it is; unpack it first.")


def too_large(shown: str, size: int, largest: int) -> SpectrumError:
    """The sentence for a file of too many bytes."""
    return SpectrumError(
        f"{shown} has {size / 1e6:,.1f} MB, expected {largest / 1e6:,.0f} MB at the most; cut it "
        "to the range that is needed, or give it on the command line."
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
                f"{path} does not say whether its wavelengths are in air or vacuum: choose which "
                "above, and give it again."
            ) from None
        raise
