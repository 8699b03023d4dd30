"""Media and nominal resolving powers of spectrographs whose pipelines write them into no file.

Only spectrographs with one resolution for each mode are listed. That of a slit spectrograph depends
on its width, so it is fitted unless it is stated.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from astropy.io import fits

from . import headers


@dataclass(frozen=True)
class Instrument:
    """Properties of the one-dimensional spectra of an instrument's pipeline."""

    medium: str
    """Medium of the wavelengths."""
    resolution: dict[str, float] = field(default_factory=dict)
    """Nominal resolving power by mode (`ESO INS MODE`); "" for all other modes."""


_WHOLE = 100_000
"""Fewest pixels of a spectrum of these instruments; s1d of HARPS has 313,000."""
_INSTRUMENTS = {
    # Mayor et al. 2003, Messenger 114, 20; EGGS: HARPS user manual 2.1, section 2
    "HARPS": Instrument("air", {"": 115_000.0, "EGGS": 80_000.0}),
    # Cosentino et al. 2012, Proc. SPIE 8446, 84461V
    "HARPN": Instrument("air", {"": 115_000.0}),
    "HARPS-N": Instrument("air", {"": 115_000.0}),
    # Kaufer et al. 1999, Messenger 95, 8
    "FEROS": Instrument("air", {"": 48_000.0}),
    # Pepe et al. 2021, A&A 645, A96
    "ESPRESSO": Instrument(
        "vacuum", {"SINGLEHR": 138_000.0, "SINGLEUHR": 190_000.0, "MULTIMR": 72_500.0}
    ),
    # Bouchy et al. 2025, A&A 700, A10
    "NIRPS": Instrument("vacuum", {"HA": 88_000.0, "HE": 75_200.0}),
    # Phase 3 release descriptions of ESO; slit or setup decides on the resolution
    "UVES": Instrument("air"),
    "XSHOOTER": Instrument("air"),
    "SHOOT": Instrument("air"),
    "GIRAFFE": Instrument("air"),
}


def instrument_of(header: fits.Header) -> str:
    """Return the name of the instrument in upper case; empty if a header states none."""
    return str(headers.card(header, "INSTRUME") or "").upper()


def usual_medium(header: fits.Header) -> str | None:
    """Return the medium of the wavelengths of an instrument's pipeline, or None if not known."""
    found = _INSTRUMENTS.get(instrument_of(header))
    return None if found is None else found.medium


def nominal_resolution(header: fits.Header, pixels: int) -> float | None:
    """Return the nominal resolving power of an instrument in its mode, or None if not known.

    It is that of a whole spectrum. One of fewer pixels may be simulated, or resampled.
    """
    found = _INSTRUMENTS.get(instrument_of(header))
    if found is None or pixels < _WHOLE:
        return None
    mode = str(headers.card(header, "ESO INS MODE") or "").upper()
    return found.resolution.get(mode, found.resolution.get(""))
