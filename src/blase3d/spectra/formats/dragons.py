"""One-dimensional spectra of DRAGONS, the pipeline of Gemini, such as those of GHOST.

There are images `SCI`, `VAR` and `DQ` for each spectrum, with EXTVER 1, 2, ...; a sky that was
subtracted comes after the star. The header has linear wavelengths, which are an approximation where
it says so (FITS-WCS); the exact ones are a gWCS, as ASDF text in the table `WCS` of that EXTVER.
Those of GHOST are in vacuum, and barycentric by default. For other instruments the type WAVE does
not mean vacuum, since DRAGONS has written it for all wavelengths.
Code and tutorials: https://github.com/GeminiDRSoftware/DRAGONS
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from astropy.io import fits

from ...errors import SpectrumError
from . import headers
from .columns import in_angstrom
from .quantities import to_error
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader

_TEXT = "gWCS"
"""The column with the lines of the ASDF text."""
_ELSEWHERE = ("source:", "$ref")
"""Words of ASDF for content of other files, which DRAGONS does not write."""


def _spectra(file: SpectrumFile) -> dict[str, dict[str, Any]]:
    """HDUs by name, of each spectrum by its EXTVER."""
    found: dict[str, dict[str, Any]] = {}
    for hdu in file.hdus if file.is_fits else ():
        found.setdefault(str(hdu.ver), {}).setdefault(hdu.name.strip().upper(), hdu)
    return {version: hdus for version, hdus in found.items() if _is_spectrum(hdus)}


def _is_spectrum(hdus: dict[str, Any]) -> bool:
    flux, table = hdus.get("SCI"), hdus.get("WCS")
    if flux is None or not isinstance(table, fits.TableHDU):
        return False
    return bool(flux.is_image) and len(flux.shape) == 1 and table.columns.names == [_TEXT]


def _read(file: SpectrumFile) -> RawSpectrum:
    spectra = _spectra(file)
    hdus = spectra[file.chosen(list(spectra))]
    flux = np.asarray(hdus["SCI"].data, np.float64)
    values, unit, kind = _wavelengths(hdus["WCS"], flux.size)
    arrays: dict[str, Any] = {"wavelength": in_angstrom(values, unit, file.path), "flux": flux}
    if "VAR" in hdus:
        arrays["error"] = to_error(hdus["VAR"].data, "variance")
    if "DQ" in hdus:
        arrays["mask"] = np.asarray(hdus["DQ"].data) != 0
    meta = headers.describe(file.header, hdus["SCI"].header)
    if meta.get("instrument") != "GHOST":
        return RawSpectrum(arrays, "air" if kind == "AWAV" else None, None, meta)
    guess = "wavelengths are barycentric, as DRAGONS writes those of GHOST by default"
    return RawSpectrum(arrays, "vacuum", None, {**meta, "frame": "barycentric"}, (guess,))


def _wavelengths(table: Any, pixels: int) -> tuple[Any, str, str]:
    """Wavelengths of pixels, their unit, and the name of their axis."""
    import asdf  # specutils needs it, with gwcs; takes seconds

    text = "\n".join(str(line) for line in table.data[_TEXT])
    if any(word in text for word in _ELSEWHERE):
        raise SpectrumError("the wavelengths are in another file; expected them in this one.")
    with asdf.open(io.BytesIO(text.encode())) as file:
        wcs = file["wcs"]
        values = wcs(np.arange(float(pixels)), with_bounding_box=False)
        frame = wcs.output_frame
    return getattr(values, "value", values), str(frame.unit[0]), str(frame.axes_names[0])


DRAGONS = SpectrumReader(
    "dragons", "a spectrum of DRAGONS (Gemini)", lambda file: bool(_spectra(file)), _read
)
