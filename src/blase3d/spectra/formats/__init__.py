"""Spectra in files: readers of many formats, and writers of .npz, .ecsv, .csv and .fits.

Columns of the files that are written, and of most that are read, are wavelength, flux and, where
known, error (one standard deviation), mask (true: ignore), continuum, order (number of the echelle
order) and pixel_resolution (λ/Δλ at each pixel). Wavelengths without a unit are in Å. A medium that
the file does not state must be given.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import SpectrumError
from ...runtime.arrays import DEFAULT_FLOATING_POINT
from ...runtime.families import Family
from ...runtime.files import (
    LARGEST_SPECTRUM,
    MEDIA,
    check_size,
    replacing,
    require_file,
    require_writable,
    settle_medium,
    settle_version,
)
from ...runtime.with_units import in_unit
from ..spectrum import Spectrum
from .apero import APERO
from .apogee import APOGEE_STAR, APOGEE_VISIT
from .by_specutils import SPECUTILS
from .carmenes import CARMENES
from .columns import ROLES
from .crires import CRIRES
from .desi import DESI
from .dragons import DRAGONS
from .e2ds import HARPS_E2DS
from .echelle_images import ECHELLE_CUBE, ECHELLE_IMAGES, MAKEE, ORDERS_OF_FLUX
from .eprv import EPRV
from .eso import ESO_IMAGE, ESO_PRODUCT
from .espresso import ESPRESSO_S1D, ESPRESSO_S2D
from .expres import EXPRES
from .fits import FITS_IMAGE, FITS_TABLE, write_fits
from .gaia_rvs import GAIA_RVS
from .galah import GALAH
from .hpf import HPF
from .hst import HST
from .igrins import IGRINS
from .in_memory import as_spectrum
from .kpf import KPF
from .lamost import LAMOST
from .libre_esprit import LIBRE_ESPRIT, LIBRE_ESPRIT_IMAGE
from .mastar import MASTAR
from .mwm import MWM
from .neid import NEID
from .npz import NPZ, write_npz
from .nres import NRES
from .ohp import OHP_SPECTRUM, SOPHIE_E2DS
from .pypeit import PYPEIT, PYPEIT_COADD
from .rave import RAVE
from .raw import RawSpectrum, sentences, spectrum_of
from .reader import GROUP, SpectrumFile, SpectrumReader
from .sdss import SDSS, SDSS_IMAGE, SDSS_PLATE
from .specmatch import SPECMATCH
from .stack import is_stack, open_stack
from .tables import TEXT, write_csv, write_ecsv
from .votable import VOTABLE
from .written import FORMAT, VERSION

__all__ = [
    "RawSpectrum",
    "SpectrumFile",
    "SpectrumReader",
    "read_spectrum",
    "require_writable_spectrum",
    "write_spectrum",
]

READERS = Family(
    SpectrumReader,
    "spectrum",
    GROUP,
    SpectrumError,
    members=(
        *(NPZ, HPF, CARMENES, NEID, KPF, EPRV, EXPRES, APERO, IGRINS, NRES),
        *(GAIA_RVS, LIBRE_ESPRIT, LIBRE_ESPRIT_IMAGE, SOPHIE_E2DS, OHP_SPECTRUM),
        *(LAMOST, SDSS, SDSS_IMAGE, SDSS_PLATE, MWM, MASTAR, DESI),
        *(APOGEE_STAR, APOGEE_VISIT, GALAH, RAVE),
        *(ESPRESSO_S1D, ESPRESSO_S2D, ESO_PRODUCT, ESO_IMAGE, HARPS_E2DS),
        *(CRIRES, PYPEIT, PYPEIT_COADD, HST, DRAGONS, SPECMATCH, MAKEE),
    ),
    fallback=(
        *(VOTABLE, TEXT, ECHELLE_IMAGES, ECHELLE_CUBE),
        *(FITS_TABLE, FITS_IMAGE, ORDERS_OF_FLUX, SPECUTILS),
    ),
    summary="an .npz file, a FITS file, a VOTable or a table in text; the formats are listed in "
    "docs/formats.md",
)
"""Spectrum readers, in the order in which they are tried: those of one format, those of installed
packages, those of any table or image, and those of specutils."""
_LOG = logging.getLogger(__name__)
_WRITERS = {"npz": write_npz, "ecsv": write_ecsv, "csv": write_csv, "fits": write_fits}


@DEFAULT_FLOATING_POINT
def read_spectrum(
    path: Any,
    medium: str | None = None,
    resolution: float | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    unit: str | None = None,
    wavelengths: str | Path | None = None,
    source: str | None = None,
) -> Spectrum:
    """Read a spectrum, in whatever format of `READERS` it is.

    Parameters
    ----------
    path
        The file. Its content decides how it is read, not its name; it may be compressed. Or a
        specutils.Spectrum or an astropy table, which is converted.
    medium
        "air" or "vacuum", for a file that does not state it. Air wavelengths are converted to
        vacuum (`runtime.units.air_to_vacuum`). A file that states its medium is read by that, with
        a warning if it is another one.
    resolution
        Resolving power λ/Δλ; replaces what the file states.
    columns
        Names of columns of a table, or their numbers from 1, by `wavelength`, `flux`, `error`,
        `ivar`, `mask`, ..., where they are not recognised.
    unit
        Unit of the wavelengths, for a table that states none.
    wavelengths
        FITS file with the wavelengths of an image that has none. One beside the file is found if
        there is only one.
    source
        Name or identifier of the spectrum to read, in a file of several.

    Returns
    -------
    Spectrum
        Its `meta` has, where known, the `object`, `telescope`, `instrument`, `date`, `frame`
        ("barycentric", "heliocentric", "observatory" or "star") and `barycentric_correction`
        (km/s, contained in the wavelengths); the name of the `reader`; and as lists of sentences
        what was `guessed`, and `notes`.

    Raises
    ------
    SpectrumError
        The file does not exist, is in no known format, is damaged, or states no medium.

    Warns
    -----
    UserWarning
        A checksum is wrong, or the medium is not that of the file.

    Examples
    --------
    >>> import blase3d as b3
    >>> star = b3.read_spectrum("star.npz")
    >>> star.resolution
    100000.0
    """
    if not isinstance(path, str | Path):
        return as_spectrum(path, medium, resolution, columns=columns, unit=unit)
    path = Path(path)
    require_file(path, SpectrumError)
    if path.stat().st_size > LARGEST_SPECTRUM and is_stack(path):
        row = open_stack(path, medium, unit).one(source).raw
        return spectrum_of(row, str(row.medium), in_unit(resolution, "", "the resolution"))
    check_size(path.stat().st_size, str(path), SpectrumError, LARGEST_SPECTRUM)
    other = None if wavelengths is None else Path(wavelengths)
    with SpectrumFile(path, columns, unit, other, source) as file:
        reader = _reader_of(file)
        with READERS.naming(reader, path), _named(path):
            raw = reader.read(file)
    if source is not None and not file.has_several:
        raise SpectrumError(f"{path} has one spectrum; leave out the source {source}.")
    own = raw.meta.get("format") == FORMAT
    settle_version(raw.meta, FORMAT, VERSION, path, SpectrumError)
    _LOG.info("%s is read by %s", path, reader.name)
    raw = raw if medium else _with_likely_medium(raw)
    found = _settled_medium(raw.medium, medium, file)
    for note in file.notes:
        warnings.warn(f"{path}: {note}", stacklevel=2)
    if file.notes:
        raw.meta["notes"] = [*file.notes, *sentences(raw.meta, "notes")]
    if not own:
        raw.meta.setdefault("reader", reader.name)
    with _named(path):
        stated = in_unit(resolution, "", "the resolution")
        return spectrum_of(raw, found, stated, clean=not own)


def _reader_of(file: SpectrumFile) -> SpectrumReader:
    """The reader of a file; one of any table if the user names columns, and that of images without
    wavelengths if the user names these."""
    if file.wavelengths is not None:
        if ORDERS_OF_FLUX.matches(file):
            return ORDERS_OF_FLUX
        raise SpectrumError(f"{file.path} is no FITS image; leave out the file of wavelengths.")
    if not file.columns:
        try:
            return READERS.choose(file, file.path)
        except SpectrumError as fault:
            if (kind := file.other_kind) is None:
                raise
            raise SpectrumError(f"{file.path} is {kind}, expected a spectrum.") from fault
    if unknown := sorted(set(file.columns) - set(ROLES)):
        raise SpectrumError(f"got columns {unknown[0]}=..., expected {', '.join(ROLES)}.")
    for reader in (NPZ, VOTABLE, TEXT, FITS_TABLE):
        if reader.matches(file):
            return reader
    names = ", ".join(f"{role}={name}" for role, name in file.columns.items())
    raise SpectrumError(f"{file.path} has no table with columns {names}; correct the names.")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Begin messages that do not name the file with its name."""
    try:
        yield
    except SpectrumError as fault:
        if str(path) in str(fault):
            raise
        raise SpectrumError(f"{path}: {fault}") from fault


def _with_likely_medium(raw: RawSpectrum) -> RawSpectrum:
    """The content of a file, with the medium that its pipeline writes if the file states none."""
    if raw.medium is not None or raw.likely_medium is None:
        return raw
    sentence = (
        f"wavelengths are in {raw.likely_medium}, as by the pipeline; the file states no medium"
    )
    return replace(raw, medium=raw.likely_medium, guessed=(*raw.guessed, sentence))


def _settled_medium(stated: object, asked: str | None, file: SpectrumFile) -> str:
    """The medium of a file: as it states, else as the user does."""
    known = str(stated).strip().lower()
    if asked in MEDIA and known in MEDIA and asked != known:
        file.notes.append(f"the file states wavelengths in {known}; {asked} is not used")
        asked = None
    return settle_medium(stated, asked, file.path, SpectrumError)


@DEFAULT_FLOATING_POINT
def write_spectrum(spectrum: Spectrum, path: str | Path) -> None:
    """Write a spectrum to an .npz, .ecsv, .csv or .fits file, by the ending of its name.

    A failure keeps the previous file.

    Examples
    --------
    >>> import blase3d as b3
    >>> b3.write_spectrum(b3.Spectrum([5000.0, 5001.0], [1.0, 0.9]), "two-pixels.ecsv")
    """
    path = Path(path)
    require_writable_spectrum(path)
    with replacing(path) as partial:
        _WRITERS[_ending(path)](spectrum, partial)


def require_writable_spectrum(path: Path) -> None:
    """Raise `SpectrumError` unless `write_spectrum` could write to this path."""
    if _ending(path) not in _WRITERS:
        known = ", ".join(f".{name}" for name in _WRITERS)
        raise SpectrumError(f"{path} has no ending that is known; expected one of {known}.")
    require_writable(path)


def _ending(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")
