"""One-dimensional spectra of ESO: science data products (phase 3), and images of the pipelines.

A data product is a table with one row, whose cells are vectors: WAVE, FLUX, ERR and others, which
TUCD and TUTYP describe (ESO Science Data Products Standard, GEN-SPE-ESO-33000-5335, section 5). The
UCD `em.wl` means vacuum, `em.wl;obs.atmos` air. Spectra in the frame of the observatory (SPECSYS
TOPOCENT) are shifted to the barycentre by `ESO QC VRAD BARYCOR` where it is stated.

The pipelines of HARPS (s1d), UVES, FEROS and X-shooter write images with linear wavelengths in air.
Those of HARPS are in the barycentric frame (DRS user manual, 3M6-MAN-HAR-33110-0016, 4.2.7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ...runtime.arrays import Bools, Floats
from ...runtime.units import SPEED_OF_LIGHT
from . import headers, quantities
from .columns import in_angstrom
from .crires import piece_numbers
from .fits import FITS_IMAGE
from .instruments import instrument_of, nominal_resolution, usual_medium
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader

_WAVELENGTHS = ("WAVE", "WAVELENGTH", "LAMBDA", "AWAV", "WAVE_AIR", "WAVE_VAC")
_FLUXES = ("FLUX", "FLUX_REDUCED", "FLUX_EL", "FLUX_CAL", "NORM_FLUX")
"""Names of columns, the preferred first. The errors of FLUX_X are ERR_X."""
_QUALITIES = ("QUAL", "QUAL_REDUCED", "QUALITY")
_ROLES = {
    "wavelength": ("spectralaxis.value", _WAVELENGTHS),
    "flux": ("fluxaxis.value", _FLUXES),
    "error": ("fluxaxis.accuracy.staterror", ()),
    "mask": ("fluxaxis.accuracy.qualitystatus", _QUALITIES),
}
"""Ends of the utypes (IVOA Spectrum Data Model 1.1), and names, of the columns of each role."""
_HARMLESS = (1 << 20) | (1 << 21)
"""Quality bits of X-shooter that its pipeline ignores by default (`decode-bp` 2144337919 of the
user manual): incomplete nodding, negative raw counts."""
_APPLIED = ("ESO QC VRAD BARYCOR", "ESO QC BERV", "ESO DRS BERV", "TNG DRS BERV", "TNG QC BERV")
"""Keywords of the barycentric correction (km/s)."""


def correction_of(header: fits.Header) -> float | None:
    """Return the barycentric correction (km/s) that a header of ESO or TNG states, or None."""
    return headers.number(header, *_APPLIED)


def in_barycentre(
    wavelength: Floats, meta: dict[str, Any], header: fits.Header
) -> tuple[Floats, dict[str, Any]]:
    """Return wavelengths and metadata in the barycentric frame, where the header allows it.

    The frame of `meta` decides whether the correction is contained already. Spectra that IRAF's
    `dopcor` has shifted to rest are returned in that frame.
    """
    velocity = correction_of(header)
    meta = {key: value for key, value in meta.items() if key != "berv"}
    if velocity is None:
        return wavelength, meta
    if meta.get("frame") == "observatory":
        wavelength = headers.shifted(wavelength, velocity)
        meta["frame"] = "barycentric"
    if meta.get("frame") != "barycentric":
        return wavelength, {**meta, "berv": velocity}
    return wavelength, {**meta, "barycentric_correction": velocity} | _at_rest(velocity, header)


def _at_rest(velocity: float, header: fits.Header) -> dict[str, Any]:
    """Metadata of a spectrum that `dopcor` has divided by 1 + z (DOPCOR01 = 'z apertures')."""
    stated = str(headers.card(header, "DOPCOR01") or "").split()
    try:
        shift = float(stated[0])
    except (IndexError, ValueError):
        return {}
    factor = (1.0 + velocity / SPEED_OF_LIGHT) / (1.0 + shift)
    return {
        "frame": "star",
        "barycentric_correction": (factor - 1.0) * SPEED_OF_LIGHT,
        "notes": [f"IRAF's dopcor has shifted the wavelengths to rest, by z = {shift:g}"],
    }


def resolution_of(header: fits.Header, pixels: int) -> tuple[float | None, tuple[str, ...]]:
    """Return the resolving power, as stated or nominal, and a sentence if it was guessed."""
    if (stated := headers.resolution(header)) is not None:
        return stated, ()
    if (found := nominal_resolution(header, pixels)) is None:
        return None, ()
    name = instrument_of(header)
    return found, (f"resolution {found:.0f} is the nominal one of {name}; the file states none",)


def _product(file: SpectrumFile) -> Any:
    """The first table of one row that says which of its columns are wavelength and flux."""
    for hdu in file.hdus[1:]:
        if isinstance(hdu, fits.BinTableHDU) and hdu.header.get("NAXIS2") == 1 and _described(hdu):
            return hdu
    return None


def _described(hdu: fits.BinTableHDU) -> bool:
    header = hdu.header
    marks = "VOCLASS" in header or any(card.startswith(("TUCD", "TUTYP")) for card in header)
    return marks and {"wavelength", "flux"} <= set(_roles(hdu))


def _roles(hdu: fits.BinTableHDU) -> dict[str, str]:
    """Names of the columns of each role, by their names or else by their utypes."""
    known = {name.upper(): name for name in hdu.columns.names}
    utypes = {
        str(hdu.header.get(f"TUTYP{i}", "")).lower().rpartition("data.")[2]: name
        for i, name in reversed(list(enumerate(hdu.columns.names, 1)))
    }
    found = {}
    for role, (utype, names) in _ROLES.items():
        name = next((known[name] for name in names if name in known), utypes.get(utype))
        if name is not None:
            found[role] = name
    return found


def _read_product(file: SpectrumFile) -> RawSpectrum:
    hdu = _product(file)
    header, roles = hdu.header, _with_data(hdu, _roles(hdu))
    number = hdu.columns.names.index(roles["wavelength"]) + 1
    values = {role: np.ravel(hdu.data[name]) for role, name in roles.items()}
    values |= _pieces(hdu)
    unit = header.get(f"TUNIT{number}") or "Angstrom"
    meta = headers.describe(file.header, header)
    wavelength, meta = in_barycentre(
        in_angstrom(values.pop("wavelength"), unit, file.path), meta, file.header
    )
    if meta.get("frame") == "observatory":
        meta["notes"] = ["wavelengths are in the frame of the observatory, and so is the velocity"]
    arrays: dict[str, NDArray[Any]] = {"wavelength": wavelength, **values}
    if "mask" in arrays:
        arrays["mask"] = bad_quality(arrays["mask"], file.header)
    if "order" in arrays:  # pixels of orders that overlap follow each other by wavelength
        by = np.argsort(arrays["order"], kind="stable")
        arrays = {name: column[by] for name, column in arrays.items()}
    stated = headers.resolution(header)
    resolution, guessed = (stated, ()) if stated else resolution_of(file.header, wavelength.size)
    medium = _medium(str(header.get(f"TUCD{number}", "")), roles["wavelength"])
    return RawSpectrum(
        arrays, medium, resolution, meta, guessed, likely_medium=usual_medium(file.header)
    )


def _pieces(hdu: fits.BinTableHDU) -> dict[str, NDArray[Any]]:
    """The echelle orders on each detector, in products of CRIRES+."""
    if not {"ORDER", "DETEC"} <= set(hdu.columns.names):
        return {}
    order, detector = (np.ravel(hdu.data[name]) for name in ("ORDER", "DETEC"))
    return {"order": piece_numbers(order, detector)}


def _with_data(hdu: fits.BinTableHDU, roles: Mapping[str, str]) -> dict[str, str]:
    """Roles whose flux is not empty, as FLUX is where it could not be calibrated."""
    known = {name.upper(): name for name in hdu.columns.names}
    fluxes = [roles["flux"], *(known[name] for name in _FLUXES if name in known)]
    flux = next((name for name in fluxes if _has_data(hdu.data[name])), roles["flux"])
    found = {**roles, "flux": flux}
    if "FLUX" in flux.upper() and (error := known.get(flux.upper().replace("FLUX", "ERR", 1))):
        found["error"] = error
    elif flux != roles["flux"]:
        found.pop("error", None)  # it is in another unit
    return found


def _has_data(values: NDArray[Any]) -> bool:
    return bool((np.isfinite(values) & (values != 0.0)).any())


def _medium(ucd: str, name: str) -> str | None:
    if ucd.lower().startswith("em.wl"):
        return "air" if "obs.atmos" in ucd.lower() else "vacuum"
    by_name = {"AWAV": "air", "WAVE_AIR": "air", "WAVE_VAC": "vacuum"}
    return by_name.get(name.upper())


def bad_quality(quality: NDArray[Any], header: fits.Header) -> Bools:
    """Return whether pixels are bad by their quality, which is zero for a good one."""
    if instrument_of(header) in ("XSHOOTER", "SHOOT"):
        return quantities.bits(quality, ~_HARMLESS)
    return quantities.bits(quality, -1)


ESO_PRODUCT = SpectrumReader(
    "eso-phase3",
    "a science data product of ESO (one row of vectors)",
    lambda file: file.is_fits and _product(file) is not None,
    _read_product,
)


_IMAGES = ("HARPS", "HARPN", "UVES", "FEROS", "XSHOOTER", "SHOOT")
"""Instruments whose pipelines write one-dimensional images."""
_MARKS = ("ESO PRO CATG", "ESO PRO REC1 ID", "ESO DRS VERSION", "TNG DRS VERSION")
"""Keywords of files of the pipelines, by one of which the medium is known."""


def _header(file: SpectrumFile) -> fits.Header:
    """The header of the observation; in a tile-compressed file it is that of the image."""
    return next((hdu.header for hdu in file.hdus[:2] if instrument_of(hdu.header)), file.header)


def _is_image(file: SpectrumFile) -> bool:
    if not file.is_fits:
        return False
    header = _header(file)
    if instrument_of(header) not in _IMAGES or not FITS_IMAGE.matches(file):
        return False
    return _by_pipeline(header) or correction_of(header) is not None


def _by_pipeline(header: fits.Header) -> bool:
    """Whether a pipeline wrote the file, rather than a program of the user."""
    return any(mark in header for mark in _MARKS)


def _read_image(file: SpectrumFile) -> RawSpectrum:
    """The image, with the properties that its pipeline does not write."""
    header = _header(file)
    raw = FITS_IMAGE.read(file)
    meta, arrays = dict(raw.meta), dict(raw.arrays)
    if instrument_of(header) in ("HARPS", "HARPN", "FEROS"):
        meta.setdefault("frame", "barycentric")
    else:
        meta.setdefault("frame", "observatory")
    arrays["wavelength"], meta = in_barycentre(arrays["wavelength"], meta, header)
    if (quality := file.named("QUAL")) is not None:
        arrays["mask"] = bad_quality(np.ravel(quality.data), header)
    resolution, guessed = resolution_of(header, arrays["wavelength"].size)
    return replace(
        raw,
        arrays=arrays,
        resolution=resolution,
        meta=meta,
        guessed=(*raw.guessed, *guessed),
        likely_medium=usual_medium(header) if _by_pipeline(header) else None,
    )


ESO_IMAGE = SpectrumReader(
    "eso-image",
    "a spectrum of the pipelines of HARPS, UVES, FEROS or X-shooter (image)",
    _is_image,
    _read_image,
)
