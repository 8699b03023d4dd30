"""Optical spectra of SDSS, phases I to V, with SEGUE, BOSS and eBOSS.

Data models: `spec-*.fits`, full and lite,
https://data.sdss.org/datamodel/files/BOSS_SPECTRO_REDUX/RUN2D/spectra/PLATE4/spec.html;
`spSpec-*.fit`, https://classic.sdss.org/dr7/dm/flatFiles/spSpec.php; `spPlate-*.fits`,
https://data.sdss.org/datamodel/files/BOSS_SPECTRO_REDUX/RUN2D/PLATE4/spPlate.html. Wavelengths are
in vacuum and heliocentric, since SDSS-V barycentric.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ...runtime.arrays import Floats
from .headers import card, describe, number
from .quantities import bits, to_error
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader
from .survey import column_names, mentions, picked, resolution_of, table_columns

BAD = (0, 1, 2, 3, 16, 17, 18, 21, 22, 23, 25, 26, 27, 28)
"""Bits of SPPIXMASK that make a pixel unusable: NOPLUG, BADTRACE, BADFLAT, BADARC, NEARBADPIXEL,
LOWFLAT, FULLREJECT, CROSSTALK, NOSKY, BRIGHTSKY, COMBINEREJ, BADFLUXFACTOR, BADSKYCHI, REDMONSTER.
The others concern a whole spectrum (4 to 12), lose some of the light (PARTIALREJECT), are corrected
for (SCATTEREDLIGHT) or are obsolete (NODATA).
https://www.sdss3.org/dr10/algorithms/bitmask_sppixmask.php"""
_SPEC_ONLY = {"and_mask", "or_mask", "wdisp", "wresl"}
_PLUGMAP = 5
"""Index of the table of fibres in spPlate, after flux, inverse variance, two masks and widths."""
_ROWS = 4
"""Rows of a spSpec image that are used: flux, flux minus continuum, error, mask."""


def _table(file: SpectrumFile) -> Any:
    """The coadded spectrum of a `spec` file, its first table; None in other files."""
    if not file.is_fits:
        return None
    for hdu in file.hdus:
        names = column_names(hdu)
        if names >= {"loglam", "flux", "ivar"} and (names & _SPEC_ONLY or _is_sdss(file.header)):
            return hdu
    return None


def _is_sdss(header: fits.Header) -> bool:
    return mentions(header, "SDSS", ("TELESCOP", "ORIGIN", "SURVEY"))


def _read_table(file: SpectrumFile) -> RawSpectrum:
    columns = table_columns(_table(file))
    loglam = np.asarray(columns["loglam"], np.float64)
    arrays: dict[str, NDArray[Any]] = {
        "wavelength": 10.0**loglam,
        "flux": columns["flux"],
        "error": to_error(columns["ivar"], "ivar"),
    }
    if masks := [columns[name] for name in ("and_mask", "mask", "or_mask") if name in columns]:
        arrays["mask"] = bits(masks[0], BAD)
    if "wdisp" in columns:
        _add_resolution(arrays, columns["wdisp"], float(np.median(np.abs(np.diff(loglam)))))
    return RawSpectrum(arrays, "vacuum", None, _observation(file.header))


def _image_rows(file: SpectrumFile) -> int:
    """The number of rows of an image with the wavelengths of SDSS; 0 in other files."""
    if not file.is_fits or not {"COEFF0", "COEFF1"} <= set(file.header):
        return 0
    two = file.header["NAXIS"] == 2 and _is_sdss(file.header)
    return int(file.header["NAXIS2"]) if two else 0


def _is_image(file: SpectrumFile) -> bool:
    return _ROWS <= _image_rows(file) <= _ROWS + 2 and file.named("PLUGMAP") is None


def _read_image(file: SpectrumFile) -> RawSpectrum:
    rows = file.hdus[0].data
    arrays = {
        "wavelength": _wavelength(file.header),
        "flux": rows[0],
        "error": to_error(rows[2], "error"),
        "mask": bits(rows[3], BAD),
    }
    return RawSpectrum(arrays, "vacuum", None, _observation(file.header))


def _is_plate(file: SpectrumFile) -> bool:
    return _image_rows(file) > 0 and len(file.hdus) > _PLUGMAP and not _is_image(file)


def _read_plate(file: SpectrumFile) -> RawSpectrum:
    plugged = file.hdus[_PLUGMAP].data
    row = picked(file, plugged["FIBERID"])[0]
    flux, ivar, mask, _, width = (file.hdus[i].data[row] for i in range(_PLUGMAP))
    wavelength = _wavelength(file.header)
    arrays = {
        "wavelength": wavelength,
        "flux": flux,
        "error": to_error(ivar, "ivar"),
        "mask": bits(mask, BAD),
    }
    _add_resolution(arrays, width, file.header["COEFF1"])
    fiber = {"FIBERID": plugged["FIBERID"][row]}
    fiber |= {f"PLUG_{name}": plugged[name][row] for name in ("RA", "DEC") if name in plugged.names}
    header = file.header.copy()
    header.update(fiber)
    return RawSpectrum(arrays, "vacuum", None, _observation(header))


def _wavelength(header: fits.Header) -> Floats:
    pixel = np.arange(header["NAXIS1"])
    return np.asarray(10.0 ** (header["COEFF0"] + header["COEFF1"] * pixel))


def _add_resolution(arrays: dict[str, NDArray[Any]], width: NDArray[Any], step: float) -> None:
    """Add λ/Δλ from standard deviations in pixels of `step` dex."""
    sigma = arrays["wavelength"] * (np.log(10.0) * step) * width
    if (resolution := resolution_of(sigma, arrays["wavelength"])) is not None:
        arrays["pixel_resolution"] = resolution


def _observation(header: fits.Header) -> dict[str, Any]:
    """Metadata of the star. RA and DEC are those of the telescope, so others come first."""
    meta = {"telescope": "SDSS 2.5-M", **describe(header)}
    meta["frame"] = "barycentric" if _phase_five(header) else "heliocentric"
    for key, cards in (("ra", ("PLUG_RA", "RAOBJ")), ("dec", ("PLUG_DEC", "DECOBJ"))):
        if (found := number(header, *cards)) is not None:
            meta[key] = found
    if (velocity := number(header, "HELIO_RV")) is not None:
        meta["barycentric_correction"] = velocity
    plate, fiber = number(header, "PLATEID"), number(header, "FIBERID")
    if plate is not None and fiber is not None:
        meta["object"] = f"{plate:04.0f}-{number(header, 'MJD') or 0:05.0f}-{fiber:04.0f}"
    return meta


def _phase_five(header: fits.Header) -> bool:
    return str(card(header, "VERS2D", "RUN2D")).startswith("v6")


SDSS = SpectrumReader(
    "sdss",
    "an SDSS spec file, full or lite",
    lambda file: _table(file) is not None,
    _read_table,
)
SDSS_IMAGE = SpectrumReader("sdss-image", "an SDSS spSpec image", _is_image, _read_image)
SDSS_PLATE = SpectrumReader("sdss-plate", "an SDSS spPlate file", _is_plate, _read_plate)
