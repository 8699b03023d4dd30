"""The reader of a spectrum format, and the file that it is given.

A new format is a module with a `SpectrumReader`, and a row in `formats.READERS`. Packages add
others by entry points of the group `blase3d.spectra`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType

from astropy.io import fits

from ...errors import SpectrumError
from ...runtime.files import LARGEST_SPECTRUM, check_size, first_line
from .columns import RawSpectrum

GROUP = "blase3d.spectra"
"""Group of the entry points of spectrum readers."""
_FITS_ENDINGS = ("fits", "fit")


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
    """A file that may hold a spectrum. A FITS file is opened once, for all readers."""

    def __init__(self, path: Path):
        self.path = path
        self._open = ExitStack()

    def __enter__(self) -> SpectrumFile:
        if self.is_fits:  # astropy only warns of a file that is damaged or cut short
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
        """The ending of the name, in lower case and without the dot."""
        return self.path.suffix.lower().removeprefix(".")

    @property
    def is_fits(self) -> bool:
        """Whether the name is that of a FITS file."""
        return self.ending in _FITS_ENDINGS

    @cached_property
    def hdus(self) -> fits.HDUList:
        """The HDUs of a FITS file. Raise `SpectrumError` if it is damaged or too large."""
        try:
            # The stream is opened here: where fits.open fails, it leaves one open.
            stream = self._open.enter_context(self.path.open("rb"))
            hdus = self._open.enter_context(fits.open(stream, memmap=False, checksum=True))
            declared = sum(hdu.size for hdu in hdus)  # more than in the file where compressed
        except Exception as failure:  # astropy raises many kinds on damaged files
            raise SpectrumError(
                f"{self.path} cannot be read as a FITS file ({first_line(failure)}): it is "
                "damaged, cut short or of another kind; make or copy it again."
            ) from failure
        check_size(declared, str(self.path), SpectrumError, LARGEST_SPECTRUM)
        return hdus


_DAMAGE = "(?s).*(truncated|corrupt|verification failed).*"
"""Warnings of astropy that mean a damaged file."""
