"""The Sonora libraries of substellar atmospheres: Bobcat, Cholla, Diamondback and Elf Owl.

    library        file names                                columns (Elf Owl: variables)
    Bobcat         sp_t1000g316nc_m0.0[_co0.5]               µm, erg/s/cm²/Hz
    Cholla         950K_1780g_logkzz2.spec                   µm, W/m²/m
    Diamondback    t1000g316f2_m+0.5_co1.0.spec, f2 or nc    µm, W/m²/m
    Elf Owl        spectra_logzz_4.0_teff_750.0_grav_178.0_mh_0.0_co_1.0.nc
                                                             wavelength µm, flux erg/s/cm²/cm

Marley et al. (2021), Karalidi et al. (2021), Morley et al. (2024), Mukherjee et al. (2024). File
names have the gravity in m/s², truncated to integers; log g (cgs) is the nearest multiple of 0.25.
Wavelengths are in vacuum, from long to short, below two or more header lines. [M/H] is `feh`, C/O
in solar units is `co`, log Kzz (cm²/s) is `logkzz`. The label of the clouds is `inv_fsed`, 1/f_sed,
to which their optical depth is nearly proportional (Ackerman & Marley 2001); it is 0 without clouds
(nc). Nodes of Cholla begin at 0.3 or at 1 µm: cut them at 1 µm.

Tested with files written to the published description, not with the libraries themselves. Elf Owl
is in netCDF files, classic ones or, with the extra `netcdf`, HDF5 ones.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import GridError, MissingExtra
from ...runtime.arrays import Floats
from ...runtime.files import first_line
from ...runtime.units import SPEED_OF_LIGHT
from ..grid import Grid
from ..reader import LibraryReader, refuse_air
from .spectrum_files import Columns, HoldsFiles, files_below, grid_of_files, increasing
from .text import numbers

ANGSTROM_PER_MICRON = 1e4
HEADER_LINES = 2
ORDER = ("teff", "logg", "feh", "co", "logkzz", "inv_fsed")
"""Order of the labels."""
TESTED = "files written to the published description"
_END = r"(?:\.(?:spec|dat|txt))?(?:\.gz)?"


@dataclass(frozen=True)
class _Library:
    """One of the libraries: its file names and the content of its files."""

    name: str
    form: str
    """Pattern of file names, with a group for each label (g: gravity in m/s²)."""
    example: str
    unit: str
    """Unit of the flux: Hz (erg/s/cm²/Hz), m (W/m²/m) or cm (erg/s/cm²/cm)."""
    citation: str

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(self.form)

    def labels(self, name: str) -> dict[str, float]:
        """Return the labels in the name of a file."""
        found = self.pattern.fullmatch(name)
        texts = {} if found is None else found.groupdict()
        labels = dict(_label(key, text) for key, text in texts.items())
        return {name: labels[name] for name in sorted(labels, key=ORDER.index)}

    def open(self, path: Path, medium: str | None) -> Grid:
        """Open the files in or below a folder as a grid."""
        refuse_air(path, medium, self.name)
        labelled = [(file, self.labels(file.name)) for file in files_below(path, self.pattern)]
        if not labelled:
            raise GridError(f"{path} has no {self.name} spectra, expected {self.example}.")
        meta = {
            "library": self.name,
            "flux_unit": "erg s-1 cm-2 Angstrom-1",
            "citation": [self.citation],
            "licence": "as given by the library; cite its paper",
        }
        read = _ReadText(self.unit) if self.unit != "cm" else read_netcdf
        return grid_of_files(labelled, read, meta, ORDER[2:])

    def reader(self) -> LibraryReader:
        """Return the reader of the library."""
        what = f"a folder of {self.name} spectra ({self.example})"
        name = self.name.lower().replace(" ", "-")
        return LibraryReader(name, what, HoldsFiles(self.pattern), self.open, TESTED)


def _label(key: str, text: str | None) -> tuple[str, float]:
    """Label and value of a group in the name; a missing group has the solar value."""
    if key == "g":
        return "logg", round(4.0 * (math.log10(float(text or "nan")) + 2.0)) / 4.0
    if key == "fsed":
        return "inv_fsed", 0.0 if text == "nc" else 1.0 / float(text[1:] if text else "nan")
    return key, float({"co": 1.0, "feh": 0.0}.get(key, "nan") if text is None else text)


@dataclass(frozen=True)
class _ReadText:
    unit: str

    def __call__(self, path: Path) -> Columns:
        micron, flux = numbers(path, (0, 1), HEADER_LINES)
        wavelength = micron * ANGSTROM_PER_MICRON
        return Columns(*increasing(wavelength, per_angstrom(flux, wavelength, self.unit)))


def per_angstrom(flux: Floats, wavelength: Floats, unit: str) -> Floats:
    """Convert flux (n,) per Hz, in W/m² per m, or per cm to erg/s/cm²/Å; wavelength in Å."""
    if unit == "Hz":
        return flux * (SPEED_OF_LIGHT * 1e13) / wavelength**2
    return flux * {"m": 1e3 * 1e-10, "cm": 1e-8}[unit]


def read_netcdf(path: Path) -> Columns:
    """Read the variables wavelength (µm) and flux (erg/s/cm²/cm) of a netCDF file."""
    try:
        with open(path, "rb") as stream:
            read = _classic if stream.read(3) == b"CDF" else _hdf5
        micron, flux = read(path)
    except MissingExtra:
        raise
    except Exception as failure:  # both libraries raise many kinds on damaged files
        raise GridError(
            f"{path} cannot be read as a netCDF file with wavelength and flux "
            f"({first_line(failure)}): it is damaged or cut short; copy it again."
        ) from failure
    wavelength = micron * ANGSTROM_PER_MICRON
    return Columns(*increasing(wavelength, per_angstrom(flux, wavelength, "cm")))


def _classic(path: Path) -> list[Floats]:
    from scipy.io import netcdf_file

    with netcdf_file(path, mmap=False) as file:
        return [_vector(file.variables[name][:]) for name in ("wavelength", "flux")]


def _hdf5(path: Path) -> list[Floats]:
    try:
        import h5py
    except ImportError as failure:
        raise MissingExtra("h5py", "netcdf", "Reading netCDF files of the HDF5 kind") from failure
    with h5py.File(path, "r") as file:
        return [_vector(file[name][:]) for name in ("wavelength", "flux")]


def _vector(values: Any) -> Floats:
    return np.array(values, dtype=np.float64).ravel()


_NUMBER, _SIGNED = r"\d+(?:\.\d+)?", r"[+-]?\d+(?:\.\d+)?"
BOBCAT = _Library(
    "Sonora Bobcat",
    rf"sp_t(?P<teff>\d+)g(?P<g>\d+)nc_m(?P<feh>{_SIGNED})(?:_co(?P<co>{_NUMBER}))?{_END}",
    "sp_t1000g316nc_m0.0",
    "Hz",
    "Marley et al. 2021, ApJ 920, 85",
).reader()
CHOLLA = _Library(
    "Sonora Cholla",
    rf"(?P<teff>\d+)K_(?P<g>\d+)g_logkzz(?P<logkzz>\d+){_END}",
    "950K_1780g_logkzz2.spec",
    "m",
    "Karalidi et al. 2021, ApJ 923, 269",
).reader()
DIAMONDBACK = _Library(
    "Sonora Diamondback",
    rf"t(?P<teff>\d+)g(?P<g>\d+)(?P<fsed>f\d+|nc)_m(?P<feh>{_SIGNED})_co(?P<co>{_NUMBER}){_END}",
    "t1000g316f2_m0.0_co1.0.spec",
    "m",
    "Morley et al. 2024, ApJ 975, 59",
).reader()
ELF_OWL = _Library(
    "Sonora Elf Owl",
    rf"spectra_logzz_(?P<logkzz>{_NUMBER})_teff_(?P<teff>{_NUMBER})_grav_(?P<g>{_NUMBER})"
    rf"_mh_(?P<feh>{_SIGNED})_co_(?P<co>{_NUMBER})\.nc",
    "spectra_logzz_4.0_teff_750.0_grav_178.0_mh_0.0_co_1.0.nc",
    "cm",
    "Mukherjee et al. 2024, ApJ 963, 73",
).reader()
