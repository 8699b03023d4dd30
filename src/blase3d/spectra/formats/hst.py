"""Extracted spectra (x1d) of STIS and COS on the Hubble Space Telescope.

A table `SCI` has a row of vectors for each echelle order (SPORDER) or segment: WAVELENGTH, FLUX,
ERROR, and DQ, of whose bits SDQFLAGS in the header has the serious ones. A file of several
exposures has a table for each. HELCORR says whether wavelengths are heliocentric. They are in
vacuum (https://hst-docs.stsci.edu: STIS Instrument Handbook, section 13.2; COS Instrument Handbook,
section 1.5).
"""

from __future__ import annotations

from typing import Any

from astropy.io import fits

from . import headers, quantities
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader
from .survey import column_names, table_columns

_COLUMNS = {"wavelength", "flux", "error", "dq"}
_INSTRUMENTS = ("STIS", "COS")


def _tables(file: SpectrumFile) -> dict[str, Any]:
    """The tables of exposures, by their numbers from 1."""
    if not file.is_fits or headers.card(file.header, "TELESCOP") != "HST":
        return {}
    if headers.card(file.header, "INSTRUME") not in _INSTRUMENTS:
        return {}
    found = [hdu for hdu in file.hdus if column_names(hdu) >= _COLUMNS]
    return {str(number): hdu for number, hdu in enumerate(found, 1)}


def _read(file: SpectrumFile) -> RawSpectrum:
    tables = _tables(file)
    hdu = tables[file.chosen(list(tables))]
    columns = table_columns(hdu)
    arrays = {name: columns[name] for name in ("wavelength", "flux", "error")}
    arrays["mask"] = quantities.bits(columns["dq"], _serious(hdu.header, file.header))
    if len(hdu.data) > 1 and "sporder" in columns:
        arrays["order"] = columns["sporder"]
    meta = headers.describe(file.header, hdu.header)
    done = headers.card(file.header, "HELCORR") == "COMPLETE"
    meta["frame"] = "heliocentric" if done else "observatory"
    return RawSpectrum(arrays, "vacuum", None, meta)


def _serious(*cards: fits.Header) -> int:
    """The bits of serious flags; all of them where the headers do not say."""
    stated = (headers.number(header, "SDQFLAGS") for header in cards)
    return next((int(flags) for flags in stated if flags is not None), -1)


HST = SpectrumReader(
    "hst", "an extracted spectrum of STIS or COS (x1d)", lambda file: bool(_tables(file)), _read
)
