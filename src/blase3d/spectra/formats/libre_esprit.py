"""Spectra of Libre-ESpRIT, the pipeline of ESPaDOnS and NARVAL: text (.s), or images of the CFHT.

A text has two lines, `***Reduced spectrum of 'HD 1234'` and the numbers of rows and of columns
after the wavelength, then echelle orders one after the other, which overlap. Wavelengths are in nm
in air, in the heliocentric frame. Columns are intensity and error; or intensity, Stokes parameter,
two null spectra and error; or star, star and sky, sky, and the error of each.

The archive of the CFHT has them as rows of one image (`1234567i.fits`, `1234567p.fits`), several
times: normalised and not, with wavelengths corrected by telluric lines and without. Cards `COL1`,
`COL2`, ... name the rows. The first ones are read, which are normalised and corrected.

References: Donati et al. (1997, MNRAS 291, 658); CFHT, "Reduced data" of ESPaDOnS.
"""

from __future__ import annotations

import re

import numpy as np

from ...errors import SpectrumError
from . import headers
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader
from .text_parser import parse_table

_TITLE = re.compile(r"^\s*\*\*\*\s*Reduced spectrum of\s*(.*)$", re.IGNORECASE)
_ERROR = {2: 2, 5: 5, 6: 4}
"""Column with the error of the intensity, by the number of columns after the wavelength."""
_SHORTEST = 100.0
"""Least wavelength, nm; profiles of mean lines have velocities in the first column instead."""
_REDDEST = 1100.0
"""End of the detector, nm; spectra beyond are of SPIRou, whose wavelengths are in vacuum."""


def _read(file: SpectrumFile) -> RawSpectrum:
    title, counts, rows = file.text.split("\n", 2)
    table = parse_table(rows)
    columns = list(table.columns.values())
    wavelength = np.asarray(columns[0], np.float64)
    _check(counts, wavelength, file)
    arrays = {"wavelength": wavelength * 10.0, "flux": columns[1]}
    if error := _ERROR.get(len(columns) - 1):
        arrays["error"] = columns[error]
    found = _TITLE.match(title)
    star = found[1].strip().strip("'").strip() if found else ""
    meta = {"frame": "heliocentric", **({"object": star} if star else {})}
    return RawSpectrum(arrays, "air" if wavelength.max() < _REDDEST else None, None, meta)


def _check(counts: str, wavelength: np.ndarray, file: SpectrumFile) -> None:
    """Raise `SpectrumError` for a file cut short, and for a profile over velocity."""
    declared = counts.split()
    if declared and declared[0].isdigit() and int(declared[0]) != len(wavelength):
        raise SpectrumError(
            f"{file.path} has {len(wavelength)} rows, expected {declared[0]} as it declares: it is "
            "cut short; copy it again."
        )
    if not np.nanmedian(wavelength) > _SHORTEST:
        raise SpectrumError(
            f"{file.path} has a first column from {wavelength.min():g} to {wavelength.max():g}, as "
            "a mean line over velocity has; expected wavelengths in nm."
        )


def _names(file: SpectrumFile) -> list[str]:
    """Names of the rows of an image, in small letters, up to the second row of wavelengths."""
    rows = file.header.get("NAXIS2", 0)
    names = [str(headers.card(file.header, f"COL{k}") or "").lower() for k in range(1, rows + 1)]
    again = (k for k, name in enumerate(names) if k and name.startswith("wave"))
    return names[: next(again, rows)]


def _is_image(file: SpectrumFile) -> bool:
    if not file.is_fits or file.header.get("NAXIS") != 2:
        return False
    return file.header["NAXIS2"] > 1 and _names(file)[0].startswith("wave")


def _read_image(file: SpectrumFile) -> RawSpectrum:
    rows, names = np.asarray(file.hdus[0].data, np.float64), _names(file)
    arrays = {"wavelength": rows[0] * 10.0, "flux": rows[1]}
    if (error := next((k for k, n in enumerate(names) if n.startswith("error")), None)) is not None:
        arrays["error"] = rows[error]
    medium = "air" if rows[0].max() < _REDDEST else None
    meta = {**headers.describe(file.header), "frame": "heliocentric"}
    return RawSpectrum(arrays, medium, None, meta)


LIBRE_ESPRIT = SpectrumReader(
    "libre-esprit",
    "a text of Libre-ESpRIT (ESPaDOnS, NARVAL)",
    lambda file: _TITLE.match(file.text[:200].partition("\n")[0]) is not None,
    _read,
)
LIBRE_ESPRIT_IMAGE = SpectrumReader(
    "libre-esprit-image",
    "an image of Libre-ESpRIT, from the archive of the CFHT (ESPaDOnS)",
    _is_image,
    _read_image,
)
