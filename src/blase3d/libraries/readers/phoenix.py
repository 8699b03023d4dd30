"""The PHOENIX ACES library (Husser et al. 2013, A&A 553, A6), as a folder of its FITS files.

The layout is that of the server. One file in the root has the vacuum wavelengths of all spectra.
Labels are read from the names of the files, and checked against the headers when a node is read.
In names, zero metallicity is -0.0, and the sign before log g is that of -log g. The flux of the
files, in erg/s/cm²/cm, is converted to erg/s/cm²/Å.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ...errors import GridError, LabelError
from ...runtime.arrays import Floats
from ...runtime.files import first_line
from ..grid import Grid, NodeArrays, describe_labels, wavelength_slice
from ..reader import LibraryReader, refuse_air

ACES = "PHOENIX-ACES-AGSS-COND-2011"
WAVE_FILE = f"WAVE_{ACES}.fits"
PER_CM_TO_PER_ANGSTROM = 1e-8
LABELS = ("teff", "logg", "feh", "alpha")
HEADER_KEYS = {"teff": "PHXTEFF", "logg": "PHXLOGG", "feh": "PHXM_H", "alpha": "PHXALPHA"}
HEADER_TOLERANCE = {"teff": 0.51, "logg": 0.006, "feh": 0.051, "alpha": 0.006}
"""Half of the last digit in a name."""
META = {
    "library": "PHOENIX ACES",
    "code": "PHOENIX 16, spherical LTE atmospheres",
    "flux_unit": "erg s-1 cm-2 Angstrom-1 at the stellar surface",
    "medium": "vacuum",
    "citation": ["Husser et al. 2013, A&A 553, A6"],
    "licence": "as given by the library; cite Husser et al. 2013",
}

_NAME = re.compile(
    r"lte(?P<teff>\d{5})(?P<logg>[+-]\d\.\d\d)(?P<feh>[+-]\d\.\d)"
    rf"(?:\.Alpha=(?P<alpha>[+-]\d\.\d\d))?\.{re.escape(ACES)}-HiRes\.fits"
)


def phoenix_path(teff: float, logg: float, feh: float, alpha: float = 0.0) -> str:
    """Return the path of a spectrum's file, relative to the root of the library."""
    labels = dict(zip(LABELS, (teff, logg, feh, alpha), strict=True))
    z = _signed(feh, 1, zero="-") + (f".Alpha={_signed(alpha, 2)}" if abs(alpha) > 1e-6 else "")
    name = f"lte{round(teff):05d}{_signed(-logg, 2, zero='-')}{z}.{ACES}-HiRes.fits"
    # Other labels would silently be rounded to those of another node.
    if any(abs(labels[key] - value) > 1e-6 for key, value in labels_of_name(name).items()):
        raise LabelError(
            f"got {describe_labels(labels)} for the name of a PHOENIX file, expected integer Teff, "
            "log g and alpha in steps of 0.01 and [Fe/H] in steps of 0.1."
        )
    return f"{ACES}/Z{z}/{name}"


def _signed(value: float, digits: int, zero: str = "+") -> str:
    rounded = round(float(value), digits)
    sign = zero if rounded == 0 else "+" if rounded > 0 else "-"
    return f"{sign}{abs(rounded):.{digits}f}"


def labels_of_name(name: str) -> dict[str, float]:
    """Return the labels in the name of a file; empty if it is not a spectrum's."""
    found = _NAME.fullmatch(name)
    if found is None:
        return {}
    teff, minus_logg, feh, alpha = (float(text or 0.0) for text in found.groups())
    # Adding 0.0 turns -0.0 to 0.0.
    return dict(zip(LABELS, (teff, -minus_logg + 0.0, feh + 0.0, alpha + 0.0), strict=True))


def is_phoenix(folder: Path) -> bool:
    """Whether there is a PHOENIX spectrum in or below a folder."""
    return folder.is_dir() and next(_spectra(folder), None) is not None


def _spectra(folder: Path) -> Iterator[Path]:
    return (p for p in folder.rglob(f"lte*{ACES}-HiRes.fits") if labels_of_name(p.name))


def open_phoenix(folder: str | Path, wave: tuple[float, float] | None = None) -> Grid:
    """Open the PHOENIX files in or below `folder` as a grid; nodes are read on demand.

    `wave` cuts to a range of wavelengths (Å); only the bytes in it are read. `alpha` is a label if
    it has more than one value; otherwise its value is in meta["fixed_labels"].
    """
    folder = Path(folder)
    files = sorted(_spectra(folder))
    if not files:
        raise GridError(
            f"{folder} has no PHOENIX spectra, expected files such as {phoenix_path(5800, 4.5, 0)}."
        )
    wavelength = _read_wavelength(folder)
    start, stop = (0, len(wavelength)) if wave is None else wavelength_slice(wavelength, *wave)
    table = np.array([list(labels_of_name(file.name).values()) for file in files])
    order = np.lexsort(table.T[::-1])
    table, files = table[order], [files[i] for i in order]
    alphas = np.unique(table[:, 3])
    count = 3 if len(alphas) == 1 else 4
    meta = {**META, **({"fixed_labels": {"alpha": float(alphas[0])}} if count == 3 else {})}
    nodes = _Nodes(tuple(files), len(wavelength), start, stop)
    names = LABELS[:count]
    pixels = wavelength[start:stop]
    return Grid(pixels, table[:, :count], names, nodes, meta, nodes.flags, nodes.digest)


def _read_wavelength(folder: Path) -> Floats:
    """The wavelengths, from the file in the root, which may be below or just above `folder`."""
    above = [parent / WAVE_FILE for parent in (folder, *folder.resolve().parents[:2])]
    file = next((path for path in above if path.is_file()), None)
    file = file or next(iter(sorted(folder.rglob(WAVE_FILE))), None)
    if file is None:
        raise GridError(
            f"{folder} has no {WAVE_FILE}, which has the wavelengths of all spectra; fetch it "
            "from the root of the library and put it there."
        )
    with _primary(file) as hdu:
        return np.asarray(hdu.data, dtype=np.float64)


@contextmanager
def _primary(file: Path) -> Iterator[Any]:
    """The primary HDU of a complete FITS file."""
    try:
        with warnings.catch_warnings():
            # astropy only warns of a truncated file, which is checked below.
            warnings.simplefilter("ignore")
            with open(file, "rb") as stream, fits.open(stream, memmap=False) as hdus:
                extent = hdus.fileinfo(0)
                if hdus[0].header["NAXIS"] != 1:
                    raise ValueError(f"NAXIS is {hdus[0].header['NAXIS']}, expected 1")
                if extent["datLoc"] + extent["datSpan"] > file.stat().st_size:
                    raise ValueError("the file is cut short")
                yield hdus[0]
    except GridError:
        raise
    except Exception as failure:  # astropy raises many kinds on damaged files
        raise GridError(
            f"{file} cannot be read as a PHOENIX file ({first_line(failure)}): it is damaged or "
            "cut short; fetch it again."
        ) from failure


@dataclass(frozen=True)
class _Nodes:
    """Reader of the nodes from their files."""

    files: tuple[Path, ...]
    count: int
    """Pixels of the wavelength file, and of every spectrum."""
    start: int
    stop: int

    def __call__(self, i: int) -> NodeArrays:
        file = self.files[i]
        with _primary(file) as hdu:
            _check_header(hdu.header, file)
            if hdu.header["NAXIS1"] != self.count:
                raise GridError(
                    f"{file} has {hdu.header['NAXIS1']} pixels, expected the {self.count} of "
                    f"{WAVE_FILE}; fetch both again."
                )
            flux: NDArray[Any] = hdu.section[self.start : self.stop]
        return flux.astype(np.float32) * np.float32(PER_CM_TO_PER_ANGSTROM), None

    def flags(self, i: int) -> Mapping[str, object]:
        """Return flags of a spectrum from its header: no_convection, interpolated."""
        with _primary(self.files[i]) as hdu:
            header = hdu.header
            found = {}
            if not _truth(header.get("PHXCONV", True)):
                found["no_convection"] = True
            if _truth(header.get("INTERPOL", False)):
                found["interpolated"] = True
        return found

    def digest(self, i: int) -> str:
        """Return name and size of a file; to read its content would take too long."""
        file = self.files[i]
        try:
            return f"{file.name}:{file.stat().st_size}"
        except OSError as failure:
            raise GridError(f"{file} no longer exists; fetch it again.") from failure


def _truth(value: object) -> bool:
    """A logical value of a header, which some programs write as text."""
    return value not in (False, 0, "F", "False", "FALSE", "f")


def _check_header(header: fits.Header, file: Path) -> None:
    for label, value in labels_of_name(file.name).items():
        stated = header.get(HEADER_KEYS[label])
        if stated is None:
            continue
        if abs(float(stated) - value) > HEADER_TOLERANCE[label]:
            raise GridError(
                f"{file} has {label}={value:g} in its name but {HEADER_KEYS[label]}="
                f"{float(stated):g} in its header; fetch it again."
            )


def _open(path: Path, medium: str | None) -> Grid:
    refuse_air(path, medium, "PHOENIX")
    return open_phoenix(path)


PHOENIX = LibraryReader(
    "phoenix",
    "a folder of PHOENIX spectra",
    is_phoenix,
    _open,
    "the pixels of real files, and files written in the layout of the library",
)
