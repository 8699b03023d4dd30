"""Spectra of SOPHIE and ELODIE, as the archive of the Observatoire de Haute-Provence serves them.

- SOPHIE, one spectrum (s1d): an image `S1D_A`, in the frame of the barycentre. `S1D_B` is the other
  fibre.
- SOPHIE, echelle orders (e2ds): images `E2DS_A`, `WAVE_A` (Å) and `BLAZE_A`, in the frame of the
  observatory; `OHP DRS BERV` (km/s) brings them to the barycentre.
- ELODIE, one spectrum (s1d): images `INTENSITY` and `NOISE`, in the frame of the observatory, with
  `BERV` (km/s).

Wavelengths are in air. References: http://atlas.obs-hp.fr/sophie and /elodie; Moultaka et al. 2004,
PASP 116, 693.
"""

from __future__ import annotations

from dataclasses import replace

from . import headers
from .echelle import has_images, image, is_instrument, raw_orders
from .fits import FITS_IMAGE
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader

RESOLUTION = {"HR": 75_000.0, "HE": 39_000.0}
"""Nominal resolving power of SOPHIE by fibre (Bouchy et al. 2009, A&A 505, 853)."""


def _is_spectrum(file: SpectrumFile) -> bool:
    if not file.is_fits or file.header.get("NAXIS") != 1 or not FITS_IMAGE.matches(file):
        return False
    return any(is_instrument(file, name) for name in ("SOPHIE", "ELODIE"))


def _read_spectrum(file: SpectrumFile) -> RawSpectrum:
    raw = FITS_IMAGE.read(file)
    velocity, meta = _correction(file), dict(raw.meta)
    meta.pop("berv", None)
    wavelength = raw.arrays["wavelength"]
    if is_instrument(file, "ELODIE") and velocity is not None:
        wavelength = headers.shifted(wavelength, velocity)
    known = is_instrument(file, "SOPHIE") or velocity is not None
    meta["frame"] = "barycentric" if known else "observatory"
    if velocity is not None:
        meta["barycentric_correction"] = velocity
    arrays = {**raw.arrays, "wavelength": wavelength}
    return replace(raw, arrays=arrays, meta=meta, likely_medium="air")


def _correction(file: SpectrumFile) -> float | None:
    return headers.number(file.header, "OHP DRS BERV", "BERV")


def _read_orders(file: SpectrumFile) -> RawSpectrum:
    fibre = str(headers.card(file.header, "OHP INS FIBER") or "").upper()
    return raw_orders(
        (file.header,),
        image(file, "WAVE_A"),
        image(file, "E2DS_A"),
        None,
        blaze=image(file, "BLAZE_A"),
        blazed=True,
        velocity=_correction(file),
        resolution=RESOLUTION.get(fibre),
        medium="air",
    )


SOPHIE_E2DS = SpectrumReader(
    "sophie-e2ds",
    "echelle orders of SOPHIE (e2ds)",
    lambda file: has_images(file, "E2DS_A", "WAVE_A"),
    _read_orders,
)
OHP_SPECTRUM = SpectrumReader(
    "ohp-image",
    "a spectrum of SOPHIE or ELODIE (s1d)",
    _is_spectrum,
    _read_spectrum,
)
